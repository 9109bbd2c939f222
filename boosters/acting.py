"""Scheduled tasks run by right of acting: with the term they were emitted in, or not at all."""

from __future__ import annotations

from typing import Any

import structlog
from celery import Task
from django.conf import settings

from boosters.beat import HEADER
from boosters.fence import fenced
from boosters.lease import NoLongerActing, Right, present_right
from boosters.node import own_role
from boosters.parameters import Role
from boosters.slots import begin_run, from_header

logger = structlog.get_logger(__name__)


class ActingTask(Task[Any, Any]):
    """Every task of the back office; what the schedule names is done once per slot and fenced by its term.

    What counts is the right it was emitted by, whichever node's worker runs it. One that was started
    by hand runs by the right that is in force at present, and not at all when there is none.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.name not in scheduled() or (self.request.called_directly and own_role() is Role.SINGLE):
            return self.run(*args, **kwargs)
        right = self._right()
        if right is None:
            logger.info("task-dropped", task=self.name, reason="its right has passed on or its slot has run")
            return None
        try:
            with fenced(right):
                return self.run(*args, **kwargs)
        except NoLongerActing as refusal:
            logger.warning("task-stopped", task=self.name, reason=str(refusal))
            return None

    def _right(self) -> Right | None:
        header = (self.request.headers or {}).get(HEADER)
        if header is None:
            return present_right()
        slot = from_header(header)
        return slot.right if begin_run(slot) else None


def scheduled() -> set[str]:
    """Return the names of the tasks that the schedule emits."""
    return {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
