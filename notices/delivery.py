"""Delivering: rounds that claim what is due, send it, and try again later what failed.

At least once: a sender that is killed leaves a lease that runs out, and the notice is sent again under the
same delivery id.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from accounts.models import User
from backoffice.refusals import Conflict
from events.log import record
from notices.models import Delivery, DeliveryAttempt, DeliveryState, Notice
from notices.outbox import deliver_soon
from notices.sending import Outcome, send

logger = structlog.get_logger(__name__)

# How long to wait after the first, second, … failed attempt; after one more, some 22 hours in all, it is given up.
BACK_OFF = (
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=3),
    timedelta(hours=6),
    timedelta(hours=12),
)
MOST_ATTEMPTS = len(BACK_OFF) + 1
LEASE = timedelta(minutes=2)  # well above the time one attempt can take
# A round starts nothing after this time. In the process that does everything, others wait for it.
ROUND_S = 5
BATCH = 20
INACTIVE = "The channel is not active."
NEVER_ENDED = "Every attempt was broken off."


class NotGivenUp(Conflict):
    type = "/problems/delivery-not-given-up"
    title = "Only what was given up is delivered again"


def wait_after(attempts: int) -> timedelta | None:
    """Return how long to wait after so many failed attempts; None: give up."""
    return BACK_OFF[attempts - 1] if attempts < MOST_ATTEMPTS else None


def claim(delivery: Delivery, moment: datetime) -> bool:
    """Take a due delivery for the length of the lease; tell whether nobody else was faster."""
    until = moment + LEASE
    unmoved = Delivery.objects.filter(
        pk=delivery.pk,
        state=DeliveryState.WAITING,
        attempts=delivery.attempts,
        next_attempt_at=delivery.next_attempt_at,
    )
    if unmoved.update(attempts=F("attempts") + 1, next_attempt_at=until) != 1:
        return False
    delivery.attempts += 1
    delivery.next_attempt_at = until
    return True


def attempt(delivery: Delivery, moment: datetime, *, is_last: bool = False) -> DeliveryAttempt:
    """Send a claimed delivery and write how that went; with `is_last` a failure ends it."""
    return settle(delivery, send(delivery, moment), moment, is_last=is_last)


def settle(delivery: Delivery, outcome: Outcome, moment: datetime, *, is_last: bool = False) -> DeliveryAttempt:
    """Write the outcome of an attempt, and when the next one is due, if any.

    A success counts whatever happened meanwhile. A failure decides nothing once the lease has passed to
    somebody else, who may be succeeding.
    """
    values: dict[str, object]
    rows = Delivery.objects.filter(pk=delivery.pk)
    if not outcome.error:
        values = {
            "state": DeliveryState.DELIVERED,
            "delivered_at": moment,
            "next_attempt_at": None,
            "last_error": "",
        }
    else:
        rows = rows.filter(
            state=DeliveryState.WAITING, attempts=delivery.attempts, next_attempt_at=delivery.next_attempt_at
        )
        wait = None if outcome.is_final or is_last else wait_after(delivery.attempts)
        values = {
            "state": DeliveryState.WAITING if wait else DeliveryState.GIVEN_UP,
            "next_attempt_at": moment + wait if wait else None,
            "last_error": outcome.error[:500],
        }
        logger.warning(
            "notice-not-delivered",
            delivery=str(delivery.delivery_id),
            channel=delivery.channel.name,
            error=outcome.error,
            is_given_up=wait is None,
        )
    with transaction.atomic():
        rows.update(**values)
        return DeliveryAttempt.objects.create(
            delivery=delivery,
            at=moment,
            is_success=not outcome.error,
            status=outcome.status,
            took_ms=outcome.took_ms,
            error=outcome.error[:500],
            answer=outcome.answer,
        )


def deliver_due(budget_s: float = ROUND_S) -> int:
    """Send what is due for about `budget_s`; return how many deliveries were claimed.

    After a channel's first failure its other deliveries wait for the next round: one that is dead must
    not use up the time of all.
    """
    begun = time.monotonic()
    count = 0
    failed: set[int] = set()
    while batch := list(due(timezone.now()).exclude(channel__in=failed)[:BATCH]):
        for delivery in batch:
            if time.monotonic() - begun >= budget_s:
                return count
            if delivery.channel_id in failed or not claim(delivery, timezone.now()):
                continue
            count += 1
            if not _deliver(delivery):
                failed.add(delivery.channel_id)
    return count


def due(moment: datetime) -> QuerySet[Delivery]:
    """Return what is to be sent at `moment`, the longest waiting first."""
    waiting = Delivery.objects.filter(state=DeliveryState.WAITING, next_attempt_at__lte=moment)
    return waiting.select_related("notice__organization", "channel").order_by("next_attempt_at", "pk")


def _deliver(delivery: Delivery) -> bool:
    """Send a claimed delivery unless that is pointless; return whether the channel can be used for more."""
    moment = timezone.now()
    if not delivery.channel.is_active:
        settle(delivery, Outcome(INACTIVE, is_final=True), moment)
        return True
    if delivery.attempts > MOST_ATTEMPTS:  # whoever sends it is killed each time
        settle(delivery, Outcome(NEVER_ENDED, is_final=True), moment)
        return True
    return attempt(delivery, moment).is_success


def deliver_again(delivery: Delivery, moment: datetime, *, actor: User | None = None) -> None:
    """Start over with a delivery that was given up; raises NotGivenUp for any other."""
    with transaction.atomic():
        given_up = Delivery.objects.filter(pk=delivery.pk, state=DeliveryState.GIVEN_UP)
        if given_up.update(state=DeliveryState.WAITING, attempts=0, next_attempt_at=moment) != 1:
            raise NotGivenUp("Only a delivery that was given up can be delivered again.")
        record(
            "notice-delivery-repeated",
            moment=moment,
            object_type="notice",
            object_key=delivery.notice.key,
            actor=actor,
            channel=delivery.channel.name,
        )
        transaction.on_commit(deliver_soon)


def prune(before: datetime) -> int:
    """Delete the notices older than `before`, with their deliveries; return how many notices went."""
    return Notice.objects.filter(at__lt=before).delete()[1].get("notices.Notice", 0)
