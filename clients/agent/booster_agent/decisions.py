"""What the agent decides, as plain functions: the time is an argument, nothing is read or written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 60.0
SHORTEST_INTERVAL_S, LONGEST_INTERVAL_S = 1.0, 3_600.0
STEADY_AFTER_S = 300.0
"""A server that ran for so long is not held to be crashing any more."""


def pause_after(failures: int) -> float:
    """Return for how many seconds to wait after so many cycles in which no Booster answered (OMF-17)."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(max(failures - 1, 0), 10))


def next_interval(told: Any, usual_s: float) -> float:
    """Return when to report again by what a Booster answered, within bounds; `usual_s` if it said nothing sensible."""
    if isinstance(told, bool) or not isinstance(told, int | float) or told != told:  # noqa: PLR0124 - NaN
        return usual_s
    return float(min(max(told, SHORTEST_INTERVAL_S), LONGEST_INTERVAL_S))


class Deed(Enum):
    """What to do about the server's process."""

    NOTHING = "nothing"
    START = "start"


@dataclass(frozen=True, slots=True)
class Supervision:
    """What is remembered of a server: how often it died soon after a start, when it was started, when to try again."""

    crashes: int = 0
    started_at: float | None = None
    start_again_at: float = 0.0


def restart_pause(crashes: int) -> float:
    """Return for how many seconds to wait before the next start, after so many deaths in a row."""
    return 0.0 if crashes <= 0 else min(LONGEST_PAUSE_S, 2.0 ** min(crashes - 1, 10))


def supervise(kept: Supervision, *, is_running: bool, now: float) -> tuple[Deed, Supervision]:
    """Return what to do about a server and what to remember; `now` is in seconds of any steady clock.

    A running server is left alone (OMF-10). One that died is started again, after a pause that grows while
    it keeps dying within five minutes of its start.
    """
    if is_running:
        if kept.crashes and kept.started_at is not None and now - kept.started_at >= STEADY_AFTER_S:
            return Deed.NOTHING, replace(kept, crashes=0)
        return Deed.NOTHING, kept
    if kept.started_at is not None:  # it ran, and is gone
        was_steady = now - kept.started_at >= STEADY_AFTER_S
        crashes = 1 if was_steady else kept.crashes + 1
        kept = Supervision(crashes, None, now + restart_pause(crashes))
    if now < kept.start_again_at:
        return Deed.NOTHING, kept
    return Deed.START, replace(kept, started_at=now)


def changed_state(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> bool:
    """Tell whether a report says something that changes the server's state, and is not to wait for its turn."""
    return before is None or any(before.get(name) != after.get(name) for name in ("ready", "software_version"))
