"""Writing to the event log."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import structlog
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser

from events.models import Event

if TYPE_CHECKING:
    from accounts.models import User

logger = structlog.get_logger(__name__)


def record(
    kind: str,
    *,
    moment: datetime,
    object_type: str = "",
    object_key: str = "",
    actor: User | AnonymousUser | None = None,
    actor_name: str = "",
    cause: str = "",
    **data: Any,
) -> Event:
    """Add one event inside the caller's transaction, and log the same line.

    `data` must be plain JSON values and must hold no secret. Actor and request id come from the
    arguments and from the request that is being answered, if any.
    """
    user = actor if isinstance(actor, get_user_model()) else None
    context = structlog.contextvars.get_contextvars()
    event = Event.objects.create(
        at=moment,
        kind=kind,
        actor=user,
        actor_name=actor_name or (user.get_username() if user else ""),
        request_id=str(context.get("request_id", "")),
        object_type=object_type,
        object_key=object_key,
        cause=cause,
        data=data,
    )
    told = {"object_type": object_type, "object_key": object_key, "actor": event.actor_name, "cause": cause}
    logger.info(kind, **{name: value for name, value in told.items() if value}, **data)
    for listener in _listeners:
        listener(event)
    return event


_listeners: list[Callable[[Event], None]] = []


def listen(listener: Callable[[Event], None]) -> None:
    """Call `listener` with every event, in the transaction that records it: for rooms above the one that tells."""
    _listeners.append(listener)


_kept: set[str] = set()


def keep(*kinds: str) -> None:
    """Keep the events of these kinds, however old they get."""
    _kept.update(kinds)


def prune(before: datetime) -> int:
    """Delete the events older than `before`, but for those to be kept; return how many."""
    return Event.objects.filter(at__lt=before).exclude(kind__in=_kept).delete()[0]
