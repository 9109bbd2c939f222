"""Telling: a notice and its deliveries are rows of the transaction that saw the reason for them."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

import structlog
from celery import current_app
from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
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
    data: dict[str, Any] | None = None,
) -> None:
    """Tell everybody whom it concerns, once per `key`, when the caller's transaction commits.

    `kind` must be registered. `organization` is what the notice is about: channels limited to it, or to
    what lies above it, are told; without one only channels for everything are. `data` must be plain JSON
    values and hold no secret.
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
        concerned = [channel for channel in _channels_of(organization) if not channel.kinds or kind in channel.kinds]
        Delivery.objects.bulk_create(
            Delivery(notice=notice, channel=channel, next_attempt_at=moment) for channel in concerned
        )
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


def _channels_of(organization: Organization | None) -> QuerySet[Channel]:
    concerned = Q(organization__isnull=True)
    if organization is not None:
        concerned |= Q(organization__in=organization.lineage())
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
