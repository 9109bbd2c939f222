"""The heartbeat bar: a day of a server's states at a glance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from servers.status import Status

BUCKETS = 96
SPAN = timedelta(hours=24)
WORST_FIRST = (
    Status.OFFLINE,
    Status.TRANSITION_TO_OFFLINE,
    Status.TRANSITION_TO_ONLINE,
    Status.ONLINE,
)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A quarter of an hour and the worst state in it; None where nothing was known yet."""

    start: datetime
    status: Status | None


def heartbeat_bar(
    changes: Iterable[tuple[datetime, Status]], before: Status | None, moment: datetime
) -> tuple[Bucket, ...]:
    """Return the last 24 hours, oldest first, from the state `before` them and the changes since.

    `changes` are (when, to which state) in their order.
    """
    width = SPAN / BUCKETS
    start = moment - SPAN
    worst: list[Status | None] = []
    waiting = [change for change in changes if change[0] <= moment]
    present = before
    for number in range(BUCKETS):
        end = start + width * (number + 1)
        seen = [present] if present is not None else []
        while waiting and (waiting[0][0] < end or number == BUCKETS - 1):
            present = waiting.pop(0)[1]
            seen.append(present)
        worst.append(min(seen, key=WORST_FIRST.index, default=None))
    return tuple(Bucket(start + width * number, status) for number, status in enumerate(worst))
