"""Forgetting what no limit counts any more."""

from celery import shared_task
from django.utils import timezone

from terminals.activation import prune_failed_activations


@shared_task
def prune_activations() -> int:
    return prune_failed_activations(timezone.now())
