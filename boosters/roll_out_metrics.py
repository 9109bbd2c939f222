"""Patches and roll-outs in Prometheus' words: two queries, however many there are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.db.models import Count
from prometheus_client.core import Metric

from boosters.patch_models import RollOut, RollOutState, RollOutTarget, TargetState
from boosters.rolling import ROLL_OUTS_OVER
from fleet.metrics import gauge


def collect(moment: datetime) -> Iterator[Metric]:
    """Yield how many roll-outs, and servers of those that are not over, are in which state."""
    states = dict(RollOut.objects.order_by().values_list("state").annotate(Count("pk")))
    yield gauge(
        "booster_roll_outs", "Roll-outs by state.", ["state"], [([name], states.get(name, 0)) for name in RollOutState]
    )
    unended = RollOutTarget.objects.exclude(roll_out__state__in=ROLL_OUTS_OVER).order_by()
    counted = dict(unended.values_list("state").annotate(Count("pk")))
    yield gauge(
        "booster_roll_out_servers",
        "Servers of the roll-outs that are not over, by state.",
        ["state"],
        [([name], counted.get(name, 0)) for name in TargetState],
    )
