"""The background work of roll-outs: see the modules it calls."""

from celery import shared_task
from django.utils import timezone

from boosters.driver import drive


@shared_task
def drive_roll_outs() -> int:
    return drive(timezone.now())
