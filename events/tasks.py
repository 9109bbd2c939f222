"""Keeping the event log small."""

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from events.log import prune


@shared_task
def prune_events() -> int:
    return prune(timezone.now() - timedelta(days=settings.BOOSTER_EVENT_DAYS))
