"""The background work of watching."""

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from fleet import pruning


@shared_task
def prune_history() -> int:
    pruned = pruning.prune_history(timezone.now(), settings.BOOSTER_HISTORY_DAYS)
    return pruned.transitions + pruned.incidents
