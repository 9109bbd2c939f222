"""The background work of the pair and of roll-outs: see the modules it calls."""

from celery import shared_task
from django.utils import timezone

from boosters import patch_storage, slots
from boosters.driver import drive
from boosters.lease import database_moment


@shared_task
def drive_roll_outs() -> int:
    return drive(timezone.now())


@shared_task
def prune_slots() -> int:
    return slots.prune_slots(database_moment() - slots.KEPT)


@shared_task
def sweep_patches() -> int:
    return patch_storage.sweep(timezone.now())
