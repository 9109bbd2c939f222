"""Forgetting sessions and failed logins that are over."""

from axes.helpers import get_cool_off
from axes.models import AccessAttempt
from celery import shared_task
from django.contrib.sessions.models import Session
from django.utils import timezone


@shared_task
def prune_sessions() -> int:
    return Session.objects.filter(expire_date__lt=timezone.now()).delete()[0]


@shared_task
def prune_failed_logins() -> int:
    over = timezone.now() - get_cool_off()
    deleted: int = AccessAttempt.objects.filter(attempt_time__lt=over).delete()[0]
    return deleted
