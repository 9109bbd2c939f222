"""The background work of watching: see the modules it calls."""

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from fleet import pruning, unseen
from fleet.probing import prober
from fleet.watch import watch as watch_all


@shared_task
def watch() -> int:
    return watch_all(timezone.now())


@shared_task
def probe() -> int:
    return prober.run()


@shared_task
def watch_terminals() -> int:
    return unseen.watch_terminals(timezone.now())


@shared_task
def prune_history() -> int:
    pruned = pruning.prune_history(timezone.now(), settings.BOOSTER_HISTORY_DAYS)
    return pruned.transitions + pruned.incidents
