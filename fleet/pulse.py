"""That reports are received and servers are watched without a gap, kept as two beats in the database.

What could not be received was not missed: silence and waits are counted from `watching_since`, so
that a Booster, watcher or database that was away for any time turns nothing offline when it comes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Case, F, When

from fleet.models import Pulse

RECEIVER_GAP = timedelta(seconds=20)
"""Web processes beat every 5 s (`routing.watcher`); one of them is enough."""
WATCHER_GAP = timedelta(seconds=60)


def beat(name: str, moment: datetime, gap: timedelta) -> None:
    """Note that what `name` stands for goes on; its `since` starts anew after more than `gap` without.

    One conditional statement (two more for the very first beat), so any number of processes may beat.
    A beat older than the last changes nothing.
    """
    values = {
        "since": Case(When(at__lt=moment - gap, then=moment), default=F("since")),
        "at": Case(When(at__lt=moment, then=moment), default=F("at")),
    }
    if not Pulse.objects.filter(name=name).update(**values):
        Pulse.objects.bulk_create([Pulse(name=name, since=moment, at=moment)], ignore_conflicts=True)


def receive(moment: datetime) -> None:
    """Note that this process can receive reports."""
    beat(Pulse.RECEIVER, moment, RECEIVER_GAP)


@dataclass(frozen=True, slots=True)
class Watching:
    """From when on reports were received, and servers watched, without a gap up to the moment asked for."""

    receiving_since: datetime
    watched_since: datetime

    def since(self, *, has_agent: bool) -> datetime:
        """Return from when on a server could be observed, by its agent's reports or by probing it."""
        return max(self.receiving_since, self.watched_since) if has_agent else self.watched_since


def watching(moment: datetime) -> Watching:
    """Return since when it goes on, in one query; `moment` itself for what has stopped or never began.

    What stopped counts from `moment` before its next beat says so: who comes back first, watcher or
    receiver, does not matter.
    """
    beats = {pulse.name: pulse for pulse in Pulse.objects.all()}

    def since(name: str, gap: timedelta) -> datetime:
        pulse = beats.get(name)
        return pulse.since if pulse is not None and pulse.at >= moment - gap else moment

    return Watching(since(Pulse.RECEIVER, RECEIVER_GAP), since(Pulse.WATCHER, WATCHER_GAP))
