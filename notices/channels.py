"""Channels: saving one, its secret, and trying it out."""

from __future__ import annotations

import secrets
from datetime import datetime
from uuid import uuid4

from django.db import transaction

from accounts.models import User
from accounts.scope import is_limited
from backoffice.refusals import Forbidden, Invalid
from events.log import record
from notices.delivery import LEASE, attempt
from notices.kinds import TEST
from notices.models import Channel, Delivery, DeliveryAttempt, Notice
from notices.sealing import seal


class NoSecret(Invalid):
    title = "Only webhooks have a secret"


def save_channel(channel: Channel, *, actor: User) -> str:
    """Check and save a channel; return the secret that a webhook got when it had none, to be shown once.

    Raises ValidationError for what cannot be delivered to, Forbidden when somebody who administers only
    a part of the tree would be told of all of it.
    """
    if channel.organization_id is None and is_limited(actor):
        raise Forbidden("Only whoever administers the whole tree makes channels for all notices.")
    channel.full_clean()
    secret = ""
    if not channel.is_webhook:
        channel.sealed_secret = ""
    elif not channel.sealed_secret:
        secret = _give_secret(channel)
    channel.save()
    return secret


def roll_secret(channel: Channel, moment: datetime, *, actor: User | None = None) -> str:
    """Give a webhook a new secret and return it, to be shown once; the former one is no longer used."""
    if not channel.is_webhook:
        raise NoSecret("An e-mail channel has no secret.")
    with transaction.atomic():
        secret = _give_secret(channel)
        channel.save(update_fields=["sealed_secret"])
        record(
            "notice-channel-secret-rolled",
            moment=moment,
            object_type="notice-channel",
            object_key=channel.name,
            actor=actor,
        )
    return secret


def _give_secret(channel: Channel) -> str:
    secret = secrets.token_urlsafe(32)
    channel.sealed_secret = seal(secret)
    return secret


def send_test(
    channel: Channel, moment: datetime, *, actor: User | None = None, actor_name: str = ""
) -> DeliveryAttempt:
    """Send a test notice through a channel at once, active or not, and return how that went; it is not repeated."""
    with transaction.atomic():
        event = record(
            "notice-channel-tested",
            moment=moment,
            object_type="notice-channel",
            object_key=channel.name,
            actor=actor,
            actor_name=actor_name,
        )
        notice = Notice.objects.create(
            at=moment,
            kind=TEST,
            key=f"test:{uuid4()}",
            subject=f"Test of the notice channel {channel.name}",
            text=f"{event.actor_name or 'Somebody'} sent this to see whether notices arrive. Nothing has happened.",
            organization=channel.organization,
            data={"channel": channel.name},
        )
        # Claimed from the start: no round sends it too, unless this process dies first.
        delivery = Delivery.objects.create(notice=notice, channel=channel, attempts=1, next_attempt_at=moment + LEASE)
    return attempt(delivery, moment, is_last=True)
