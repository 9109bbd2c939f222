"""Delivering what is due, and forgetting what is old."""

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from notices import delivery


@shared_task
def deliver() -> int:
    return delivery.deliver_due()


@shared_task
def prune_notices() -> int:
    return delivery.prune(timezone.now() - timedelta(days=settings.BOOSTER_EVENT_DAYS))
