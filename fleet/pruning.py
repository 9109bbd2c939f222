"""Forgetting what was seen so long ago that nobody asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from backoffice.refusals import Invalid
from fleet.models import Incident
from servers import history


@dataclass(frozen=True, slots=True)
class Pruned:
    transitions: int
    incidents: int


def prune_history(moment: datetime, days: int) -> Pruned:
    """Forget transitions and closed incidents older than `days`; raises Invalid for too few or too many."""
    shortest, longest = settings.SHORTEST_HISTORY_DAYS, settings.LONGEST_HISTORY_DAYS
    if not shortest <= days <= longest:
        raise Invalid(f"History is kept for {shortest} to {longest} days, not {days}: uptime of 90 days is shown.")
    before = moment - timedelta(days=days)
    with transaction.atomic():
        pruned = Pruned(history.prune(before), prune_incidents(before))
        history.count_up(moment - history.COUNTED_AFTER)
    return pruned


def prune_incidents(before: datetime) -> int:
    """Forget incidents that closed before that moment; return how many.

    One that an open incident follows stays as long as that is open, which is told with it.
    """
    followed = Incident.objects.filter(closed_at__isnull=True, follows__isnull=False).values("follows")
    old = list(Incident.objects.filter(closed_at__lt=before).exclude(pk__in=followed).values_list("pk", flat=True))
    return Incident.objects.filter(pk__in=old).delete()[0]
