"""Telling: a notice and its deliveries are rows of the transaction that saw the reason for them."""

from __future__ import annotations

import threading
from collections.abc import Collection
from datetime import datetime
from typing import Any

import structlog
from celery import current_app
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from kombu.exceptions import OperationalError

from events.log import record
from notices.kinds import is_known
from notices.models import Channel, Delivery, Notice
from organizations.models import Organization

logger = structlog.get_logger(__name__)

DELIVER = "notices.tasks.deliver"
KICK_EXPIRES_S = 30


def tell(
    kind: str,
    *,
    key: str,
    subject: str,
    text: str,
    moment: datetime,
    organization: Organization | None = None,
    also: Collection[Organization] = (),
    data: dict[str, Any] | None = None,
) -> None:
    """Tell everybody whom it concerns, once per `key`, when the caller's transaction commits.

    `kind` must be registered. `organization` is what the notice is about: channels limited to it, or to
    what lies above it, are told; without one only channels for everything are. Those of the organizations
    in `also`, which it concerns too, are told as well. `data` must be plain JSON values and hold no secret.
    """
    if not is_known(kind):
        raise ValueError(f"{kind} is not a registered kind of notice.")
    with transaction.atomic():
        notice, is_new = Notice.objects.get_or_create(
            key=key,
            defaults={
                "at": moment,
                "kind": kind,
                "subject": subject[:200],
                "text": text,
                "organization": organization,
                "data": data or {},
            },
        )
        if not is_new:
            return
        places = [*also, *([organization] if organization is not None else [])]
        concerned = _deliver(notice, _channels_of(places), moment)
        record(
            "notice-told",
            moment=moment,
            object_type="notice",
            object_key=key,
            cause=subject[:255],
            notice=kind,
            channels=[channel.name for channel in concerned],
        )
    if concerned:
        transaction.on_commit(deliver_soon)


def tell_also(key: str, organizations: Collection[Organization], moment: datetime) -> None:
    """Let a notice that was told go to the channels of further organizations, when the caller's transaction commits.

    Nobody is told twice, and nothing happens where there is no notice with that key.
    """
    notice = Notice.objects.filter(key=key).first()
    if notice is None:
        return
    with transaction.atomic():
        further = _channels_of(organizations).exclude(
            Exists(Delivery.objects.filter(notice=notice, channel=OuterRef("pk")))
        )
        concerned = _deliver(notice, further.filter(organization__isnull=False), moment)
    if concerned:
        transaction.on_commit(deliver_soon)


def _deliver(notice: Notice, channels: QuerySet[Channel], moment: datetime) -> list[Channel]:
    """Let a notice go to those of the channels that want its kind; return them."""
    concerned = [channel for channel in channels if not channel.kinds or notice.kind in channel.kinds]
    Delivery.objects.bulk_create(
        Delivery(notice=notice, channel=channel, next_attempt_at=moment) for channel in concerned
    )
    return concerned


def _channels_of(organizations: Collection[Organization]) -> QuerySet[Channel]:
    """Return the channels for everything, and those limited to one of the organizations or to what lies above one."""
    concerned = Q(organization__isnull=True)
    if organizations:
        inside = Organization.objects.filter(
            pk__in={organization.pk for organization in organizations},
            tree_id=OuterRef("organization__tree_id"),
            lft__gte=OuterRef("organization__lft"),
            lft__lte=OuterRef("organization__rght"),
        )
        concerned |= Q(Exists(inside))
    return Channel.objects.filter(concerned, is_active=True).order_by("pk")


_starting = threading.Lock()


def deliver_soon() -> None:
    """Start a round of deliveries at once where there are workers; without them beat does so soon anyway.

    In a thread: a broker that is away takes seconds to be given up, and whoever tells of an outage must not
    wait for it. One at a time is enough, as a round sends all that is due.
    """
    if settings.REDIS_URL and _starting.acquire(blocking=False):
        threading.Thread(target=_start_round, name="deliver-soon", daemon=True).start()


def _start_round() -> None:
    try:
        current_app.send_task(DELIVER, retry=False, expires=KICK_EXPIRES_S)
    except (OSError, OperationalError) as error:
        logger.warning("delivery-not-started", error=type(error).__name__)
    finally:
        _starting.release()
