"""What the pages of the fleet show, read from the database in a number of queries that does not grow."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import Count, Max, Q

from accounts.models import User
from backoffice.visibility import is_limited, visible
from fleet.maintenance import in_maintenance
from fleet.models import Incident, IncidentKind, Pulse, Reachability
from fleet.picture import Known, Picture, Till, picture
from fleet.pulse import WATCHER_GAP
from fleet.reachability import FRESH_FOR
from organizations.models import Organization
from routing.landscape import Landscape, OrganizationCode
from routing.store import store
from servers.agent_tokens import has_agent
from servers.models import MobileServer
from servers.status import Status
from terminals.models import Terminal, TerminalReport

MAY_LOOK = "servers.view_mobileserver"
MAY_SEE_TERMINALS = "terminals.view_terminal"


@dataclass(frozen=True)
class Fleet:
    """All that is known at one moment: of every server, and of the watching itself."""

    moment: datetime
    landscape: Landscape
    revision: int
    known: Mapping[str, Known]
    doubts: Mapping[OrganizationCode, int]
    watched_at: datetime | None
    blind_since: datetime | None

    @cached_property
    def picture(self) -> Picture:
        return picture(self.landscape, self.known, self.doubts)

    @property
    def is_unwatched(self) -> bool:
        """Whether the watcher has not run for long, or never."""
        return self.watched_at is None or self.moment - self.watched_at > WATCHER_GAP


def gather(moment: datetime) -> Fleet:
    """Return the fleet as it is at `moment`."""
    snapshot = store.current()
    incidents: dict[int, tuple[datetime, str]] = {}
    blind_since = None
    opened = Incident.objects.filter(closed_at=None).exclude(kind=IncidentKind.TERMINAL).order_by()
    for server_id, opened_at, cause in opened.values_list("server_id", "opened_at", "cause"):
        if server_id is None:
            blind_since = opened_at
        else:
            incidents[server_id] = (opened_at, cause)
    return Fleet(
        moment,
        snapshot.landscape,
        snapshot.revision,
        _known(incidents, in_maintenance(moment)),
        _doubts(moment),
        Pulse.objects.filter(pk=Pulse.WATCHER).values_list("at", flat=True).first(),
        blind_since,
    )


def _known(incidents: Mapping[int, tuple[datetime, str]], worked_on: Collection[int]) -> dict[str, Known]:
    rows = (
        MobileServer.objects.annotate(has_agent=has_agent())
        .order_by()
        .values_list(
            "key",
            "pk",
            "state__status",
            "state__since",
            "state__cause",
            "state__proved_at",
            "state__is_flapping",
            "report__last_seen_at",
            "is_active",
            "has_agent",
        )
    )
    found = {}
    for key, pk, status, since, cause, proved_at, is_flapping, last_seen_at, is_active, reports in rows:
        incident_since, incident_cause = incidents.get(pk, (None, ""))
        found[key] = Known(
            pk,
            Status(status) if status else Status.OFFLINE,
            since,
            cause or "",
            proved_at is not None,
            bool(is_flapping),
            last_seen_at,
            pk in worked_on,
            incident_since,
            incident_cause,
            is_active,
            reports,
        )
    return found


def observed_of(server_ids: Collection[int], moment: datetime) -> dict[int, str]:
    """Return, by server, what changes whenever what is lately said of it does: one query."""
    said = Reachability.objects.filter(server__in=server_ids, seen_at__gt=moment - FRESH_FOR).order_by()
    rows = said.values("server").annotate(
        observers=Count("pk"), unreachable=Count("pk", filter=Q(is_reachable=False)), latest=Max("since")
    )
    return {row["server"]: f"{row['observers']} {row['unreachable']} {row['latest']}" for row in rows}


def _doubts(moment: datetime) -> dict[OrganizationCode, int]:
    """Count, by store, the active tills that said lately that they cannot reach a server."""
    said = Reachability.objects.filter(
        is_reachable=False, observing_terminal__is_active=True, seen_at__gt=moment - FRESH_FOR
    )
    counted = said.order_by().values_list("observing_terminal__organization__code")
    return dict(counted.annotate(Count("observing_terminal", distinct=True)))


@dataclass(frozen=True)
class Scope:
    """What somebody may see of the fleet; None stands for everything."""

    stores: frozenset[OrganizationCode] | None
    servers: frozenset[str] | None
    with_terminals: bool

    def of(self, drawn: Picture) -> Picture:
        if self.stores is None or self.servers is None:
            return drawn
        return drawn.only(self.stores, self.servers)

    def has_store(self, code: OrganizationCode) -> bool:
        return self.stores is None or code in self.stores

    def has_server(self, key: str) -> bool:
        return self.servers is None or key in self.servers


def scope_of(user: User | AnonymousUser) -> Scope | None:
    """Return what `user` may see at present; None if he may not look at all."""
    if not (user.is_active and user.is_staff and user.has_perm(MAY_LOOK)):
        return None
    with_terminals = user.has_perm(MAY_SEE_TERMINALS)
    if not is_limited(user):
        return Scope(None, None, with_terminals)
    stores: Any = visible(Organization, user)
    return Scope(
        frozenset(stores.stores().order_by().values_list("code", flat=True)),
        frozenset(visible(MobileServer, user).order_by().values_list("key", flat=True)),
        with_terminals,
    )


def tills_of(codes: Collection[OrganizationCode], scope: Scope, moment: datetime) -> dict[OrganizationCode, list[Till]]:
    """Return the terminals of stores by the stores' codes, with what each told last: three queries."""
    found: dict[OrganizationCode, list[Till]] = {code: [] for code in codes}
    wanted = [code for code in codes if scope.with_terminals and scope.has_store(code)]
    if not wanted:
        return found
    lost = dict(
        Incident.objects.filter(closed_at=None, terminal__organization__code__in=wanted)
        .order_by()
        .values_list("terminal_id", "opened_at")
    )
    unreached: dict[int, list[str]] = {}
    said = Reachability.objects.filter(
        is_reachable=False, observing_terminal__organization__code__in=wanted, seen_at__gt=moment - FRESH_FOR
    )
    for terminal_id, name in said.order_by("server__name").values_list("observing_terminal_id", "server__name"):
        unreached.setdefault(terminal_id, []).append(name)
    for terminal in Terminal.objects.filter(organization__code__in=wanted).select_related("organization", "report"):
        report: TerminalReport | None = getattr(terminal, "report", None)
        found[terminal.organization.code].append(
            Till(
                terminal.pk,
                terminal.search_key,
                terminal.name,
                terminal.is_active,
                terminal.activated_at is not None,
                report.last_seen_at if report else None,
                report.software if report else "",
                report.revision if report else None,
                report.queue_length if report else None,
                lost.get(terminal.pk),
                tuple(unreached.get(terminal.pk, ())),
            )
        )
    return found
