"""Outages: opened and closed to fit the servers' states, whoever changed them (OMF-16).

`settle` says what should be and makes it so: it may run at any time, twice, and in several workers at
once. A transition that ended before anybody looked leaves no incident; the history has it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from fleet.maintenance import in_maintenance
from fleet.models import Incident, IncidentKind
from servers.models import ServerReport, ServerState, ServerStatus, StatusTransition

UNKNOWN_CAUSE = "It is not online."


def settle(moment: datetime, server_ids: Collection[int] | None = None) -> None:
    """Open and close incidents so that they fit the states, of the given servers or of all.

    A server that had proved itself, is active, not online and not in maintenance has exactly one open
    incident, opened when it left online; one that is online or inactive has none. Maintenance opens
    none and leaves an open one open. Two queries when nothing changes.
    """
    _close(moment, server_ids)
    _open(moment, server_ids)


def _open(moment: datetime, server_ids: Collection[int] | None) -> None:
    lost = list(_lost(server_ids).order_by("pk").values_list("pk", flat=True))
    if not lost:
        return
    alarming = set(lost) - in_maintenance(moment, lost)
    if not alarming:
        return
    departures = StatusTransition.objects.filter(
        server=OuterRef("pk"), from_status=ServerStatus.ONLINE, at__lte=OuterRef("since")
    ).order_by("-at", "-pk")
    with transaction.atomic():
        # Held until the incident stands: a server that comes back meanwhile finds it and closes it. What
        # another worker holds is left to it, or to the next look.
        states = (
            _lost(alarming)
            .select_for_update(skip_locked=True, of=("self",))
            .order_by("pk")
            .annotate(left_at=Subquery(departures.values("at")[:1]), left_for=Subquery(departures.values("cause")[:1]))
        )
        Incident.objects.bulk_create(
            [
                Incident(
                    kind=IncidentKind.SERVER,
                    server_id=state.pk,
                    opened_at=state.left_at or state.since or moment,
                    cause=state.left_for or state.cause or UNKNOWN_CAUSE,
                )
                for state in states
            ],
            ignore_conflicts=True,
        )


def _lost(server_ids: Collection[int] | None) -> QuerySet[ServerState]:
    """Return the states of the servers that should have an open incident, maintenance aside, and have none."""
    lost = (
        ServerState.objects.filter(server__is_active=True, proved_at__isnull=False)
        .exclude(status=ServerStatus.ONLINE)
        .exclude(Exists(Incident.objects.filter(server=OuterRef("pk"), closed_at__isnull=True)))
    )
    return lost if server_ids is None else lost.filter(pk__in=server_ids)


def _close(moment: datetime, server_ids: Collection[int] | None) -> None:
    over = Incident.objects.filter(kind=IncidentKind.SERVER, closed_at__isnull=True).filter(
        Q(server__state__status=ServerStatus.ONLINE) | Q(server__is_active=False)
    )
    if server_ids is not None:
        over = over.filter(server__in=server_ids)
    rows = over.order_by("pk").values_list(
        "pk", "opened_at", "server__is_active", "server__state__since", "server__state__cause"
    )
    for pk, opened_at, is_active, since, cause in rows:
        closed_at, why = (since or moment, cause) if is_active else (moment, "The server is not active any more.")
        close(Incident.objects.filter(pk=pk), max(opened_at, closed_at), why)


def close(incidents: QuerySet[Incident], moment: datetime, cause: str) -> int:
    """Close those of the incidents that are still open; return how many."""
    return incidents.filter(closed_at__isnull=True).update(closed_at=moment, closing_cause=cause)


def open_for_the_booster(moment: datetime, cause: str) -> Incident:
    """Open the incident that says that the Booster cannot reach anything. None may be open."""
    return Incident.objects.create(kind=IncidentKind.BOOSTER, opened_at=moment, cause=cause)


def open_booster_incident() -> Incident | None:
    return Incident.objects.filter(kind=IncidentKind.BOOSTER, closed_at__isnull=True).first()


def settle_booster(moment: datetime) -> None:
    """Close the incident of the Booster itself once any server was seen again. One query when there is none."""
    isolated = open_booster_incident()
    if isolated is None:
        return
    seen = _seen_after(isolated.opened_at)
    if seen is not None:
        close(Incident.objects.filter(pk=isolated.pk), max(seen, isolated.opened_at), "Servers can be reached again.")


def _seen_after(moment: datetime) -> datetime | None:
    """Return when an active server was first known to be seen after `moment`."""
    seen = ServerReport.objects.filter(server__is_active=True).filter(Q(ready_at__gt=moment) | Q(unready_at__gt=moment))
    times: Iterable[datetime] = (
        at for row in seen.values_list("ready_at", "unready_at")[:1000] for at in row if at is not None and at > moment
    )
    return min(times, default=None)
