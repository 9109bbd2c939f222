"""The scheduler of every node: emits only while its node acts, and each slot once.

The slots lie on multiples of a task's interval, by the database's clock, so that the schedules of
two nodes, or of one that was started again, agree on which run is which.
"""

from __future__ import annotations

import copy
import time
from datetime import datetime
from typing import Any, cast

import structlog
from celery.beat import ScheduleEntry, Scheduler
from celery.schedules import schedstate
from django.db import DatabaseError, connection

from boosters.keeping import Keeper
from boosters.lease import NoLongerActing, acting_right, database_moment
from boosters.node import own_queue, own_role
from boosters.parameters import Role
from boosters.slots import Slot, claim_slot

logger = structlog.get_logger(__name__)

HEADER = "booster_slot"
AFTER_S = 0.02
"""How long after the begin of a slot it is claimed, so that the clocks' last digits do not matter."""
_offset = {"s": 0.0}


def now_s() -> float:
    """Return the time by the database's clock, as far as this process knows it, in seconds."""
    return time.time() + _offset["s"]


class SlotEntry(ScheduleEntry):
    """A task that is due at each multiple of its interval."""

    @property
    def every_s(self) -> float:
        return float(cast(Any, self.schedule).run_every.total_seconds())

    def is_due(self) -> Any:
        """Return whether a slot has begun since the last run, and in how many seconds the next one does."""
        last = cast(datetime, self.last_run_at)
        now, every_s = now_s(), self.every_s
        is_new = now // every_s > (last.timestamp() + _offset["s"]) // every_s
        return schedstate(is_due=is_new, next=every_s - now % every_s + AFTER_S)


class ActingScheduler(Scheduler):
    """Beat's scheduler on a Booster node; keeps the node's right to act as well."""

    Entry = SlotEntry
    keeper: Keeper | None = None

    def setup_schedule(self) -> None:
        super().setup_schedule()
        if own_role() is not Role.SINGLE:
            self.keeper = Keeper()
            self.keeper.start()

    def apply_async(self, entry: ScheduleEntry, producer: Any = None, advance: bool = True, **kwargs: Any) -> Any:
        """Emit the task with its slot and term, or nothing where this node does not act or the slot is taken."""
        slot = self._claim(cast(SlotEntry, entry))
        if slot is None:
            return None
        told = copy.copy(entry)
        told.options = {**(entry.options or {}), "headers": {HEADER: slot.as_header()}, "queue": own_queue()}
        return super().apply_async(told, producer=producer, advance=False, **kwargs)

    def close(self) -> None:
        if self.keeper is not None:
            self.keeper.stop()
            self.keeper = None
        super().close()

    _is_away = False

    def _claim(self, entry: SlotEntry) -> Slot | None:
        try:
            if not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()
            right = acting_right()
            if right is None:
                return None
            slot = claim_slot(str(entry.task), entry.every_s, right)
            _offset["s"] = database_moment().timestamp() - time.time()
        except NoLongerActing:
            return None
        except DatabaseError as error:
            connection.close()
            if not self._is_away:
                logger.warning("slots-not-claimed", error=type(error).__name__)
            self._is_away = True
            return None
        self._is_away = False
        return slot
