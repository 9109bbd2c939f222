"""Scheduled slots: each run of a task is claimed in the database before it is emitted, and once more when it runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from boosters.lease import NoLongerActing, Right, acting_write, database_moment
from boosters.models import ScheduledSlot
from boosters.parameters import Role

KEPT = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Slot:
    """A claimed run of a task, with the right it was claimed by; travels with the task as plain values."""

    id: int
    right: Right

    def as_header(self) -> list[object]:
        return [self.id, self.right.holder.value, self.right.term]


def from_header(value: list[object]) -> Slot:
    """Return the slot that `as_header` gave."""
    number, holder, term = value
    return Slot(int(str(number)), Right(Role(str(holder)), int(str(term))))


def begin_of_slot(moment: datetime, every_s: float) -> datetime:
    """Return when the slot that `moment` lies in began, for a task that runs every so many seconds."""
    return datetime.fromtimestamp(moment.timestamp() // every_s * every_s, UTC)


def claim_slot(task: str, every_s: float, right: Right) -> Slot | None:
    """Claim the present slot of `task` by the database's clock; None when it is taken already.

    Raises NoLongerActing when the right has passed on.
    """
    with acting_write(right):
        moment = database_moment()
        row, is_new = ScheduledSlot.objects.get_or_create(
            task=task,
            slot_at=begin_of_slot(moment, every_s),
            defaults={"term": right.term, "claimed_at": moment},
        )
    return Slot(row.pk, right) if is_new else None


def begin_run(slot: Slot) -> bool:
    """Note that a worker begins what was claimed; False when one began it before, or a newer term exists.

    A broker delivers anew what a worker took and did not finish: such a run has begun, and is not repeated.
    """
    try:
        with acting_write(slot.right):
            begun = ScheduledSlot.objects.filter(pk=slot.id, run_at=None).update(run_at=database_moment())
    except NoLongerActing:
        return False
    return bool(begun)


def prune_slots(before: datetime) -> int:
    """Forget the slots older than `before`; return how many."""
    return ScheduledSlot.objects.filter(slot_at__lt=before).delete()[0]
