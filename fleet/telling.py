"""Telling of outages: `fleet.grouping` decides what is one notice, this writes it down and tells it.

One worker at a time: it holds the watcher's row of `Pulse`. What was told is noted in the transaction of
the notice, so a process that dies in between tells nothing twice and forgets nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Q, Value
from django.db.models.functions import Coalesce
from django.urls import reverse

from fleet import grouping, incidents
from fleet.grouping import WINDOW, Outage, Plan, Watched
from fleet.maintenance import in_maintenance, organizations_in_maintenance
from fleet.models import Incident, IncidentKind, Pulse
from fleet.states import standing_of
from notices.outbox import tell, tell_also
from organizations.models import Organization
from servers.models import MobileServer, OrganizationByServer, ServerStatus, ServerType
from terminals.models import Terminal

KINDS = {
    "server-lost": "A server was lost",
    "server-back": "A server is back",
    "server-flapping": "A server comes and goes",
    "booster-isolated": "The Booster cannot reach anything",
    "booster-reconnected": "The Booster reaches servers again",
    "terminal-unseen": "A terminal is not seen",
    "terminal-back": "A terminal is seen again",
}
MOST_NAMED = 20
"""More than so many are counted in a notice, not named."""

UNTOLD = (
    Q(closed_at__isnull=True, told_at__isnull=True)
    | Q(closed_at__isnull=True, follows__closed_at__isnull=False)
    | Q(closed_at__isnull=False, told_at__isnull=False, told_closed_at__isnull=True)
)
"""Incidents that may have to be told, or to be noted as told."""


def tell_outages(moment: datetime) -> None:
    """Tell of lost and returned servers what is due. One query when nothing is, else a fixed number."""
    server_kinds = (IncidentKind.SERVER, IncidentKind.BOOSTER)
    if not Incident.objects.filter(UNTOLD, kind__in=server_kinds).exists():
        return
    with _alone() as is_alone:
        if not is_alone:
            return
        servers = _watched()
        rows = _rows(IncidentKind.SERVER, moment)
        flapping = {pk for pk, server in servers.items() if server.state.is_flapping}
        silenced = flapping | in_maintenance(moment)
        isolated = incidents.open_booster_incident()
        plan = grouping.plan(
            [_outage(row, row.server_id) for row in rows.values()],
            [_as_watched(server) for server in servers.values()],
            moment,
            silenced=silenced,
            booster_incident=isolated.pk if isolated else None,
        )
        if plan.isolated:
            _tell_isolation([rows[pk] for pk in sorted(plan.isolated)], moment)
        told = _apply(plan, moment)
        lost = [(rows[leader], [rows[pk] for pk in sorted(plan.tell[leader])]) for leader in told]
        joined = [(leader, [rows[pk] for pk in sorted(ids)]) for leader, ids in plan.join.items() if leader in rows]
        closed = _note_closings(server_kinds, moment)
        back = [row for row in closed if row.kind == IncidentKind.SERVER and row.server_id not in flapping]
        followers_of = _followers_of(closed)
        about = [row for row, followers in lost for row in (row, *followers)]
        about += [row for _, followers in joined for row in followers]
        about += [row for leader in back for row in (leader, *followers_of.get(leader.pk, ()))]
        places = _places_of([_server(row) for row in about])
        for row, followers in lost:
            _tell_loss(row, followers, places, moment)
        for leader, followers in joined:
            tell_also(_opened(leader), _concerned(followers, places), moment)
        for row in back:
            _tell_return(row, followers_of.get(row.pk, ()), places, moment)
        for row in closed:
            if row.kind == IncidentKind.BOOSTER:
                _tell_reconnection(row, followers_of.get(row.pk, ()), moment)


def tell_terminals(moment: datetime) -> None:
    """Tell of terminals that vanished or came back what is due. One query when nothing is."""
    if not Incident.objects.filter(UNTOLD, kind=IncidentKind.TERMINAL).exists():
        return
    with _alone() as is_alone:
        if not is_alone:
            return
        rows = _rows(IncidentKind.TERMINAL, moment)
        resting = set(organizations_in_maintenance(moment).order_by().values_list("pk", flat=True))
        isolated = incidents.open_booster_incident()
        terminals = [_terminal(row) for row in rows.values()]
        plan = grouping.plan_terminals(
            [_outage(row, row.terminal_id) for row in rows.values()],
            {terminal.pk: terminal.organization.code for terminal in terminals},
            moment,
            silenced={terminal.pk for terminal in terminals if terminal.organization_id in resting},
            booster_incident=isolated.pk if isolated else None,
        )
        for leader in _apply(plan, moment):
            _tell_unseen(rows[leader], [rows[pk] for pk in sorted(plan.tell[leader])], moment)
        closed = _note_closings((IncidentKind.TERMINAL,), moment)
        followers_of = _followers_of(closed)
        for row in closed:
            _tell_seen_again(row, followers_of.get(row.pk, ()), moment)


def tell_flapping(servers: Sequence[MobileServer], moment: datetime) -> None:
    """Tell of servers that just began to flap: one notice for those of one client."""
    if not servers:
        return
    by_client: dict[Organization, list[MobileServer]] = {}
    flapping = MobileServer.objects.filter(pk__in=[server.pk for server in servers]).select_related("client")
    for server in flapping.order_by("pk"):
        by_client.setdefault(server.client, []).append(server)
    places = _places_of([server for together in by_client.values() for server in together])
    for client, together in by_client.items():
        names = _names(server.name for server in together)
        tell(
            "server-flapping",
            key=f"server-flapping:{together[0].pk}:{moment.isoformat()}",
            subject=f"{names} comes and goes" if len(together) == 1 else f"{len(together)} servers come and go",
            text=f"{names} of {client.name} left online again and again. Further losses and returns "
            "are not told until a whole flapping window has passed without one."
            f"{_see('server', together[0].pk) if len(together) == 1 else _see('fleet')}",
            moment=moment,
            organization=client,
            also=[place for server in together for place in places[server.pk]],
            data={"servers": [server.key for server in together]},
        )


# --- What is read ---


@contextmanager
def _alone() -> Iterator[bool]:
    """Open a transaction in which no other worker tells; yields False where one does already."""
    with transaction.atomic():
        pulse = Pulse.objects.select_for_update(skip_locked=True).filter(name=Pulse.WATCHER)
        yield pulse.first() is not None


def _watched() -> dict[int, MobileServer]:
    proved = MobileServer.objects.filter(is_active=True, state__proved_at__isnull=False)
    return {server.pk: server for server in proved.select_related("state", "report", "client")}


def _as_watched(server: MobileServer) -> Watched:
    standing = standing_of(server)
    return Watched(
        id=server.pk,
        client=server.client.code,
        is_main=server.server_type == ServerType.MAIN,
        is_lost=server.state.status != ServerStatus.ONLINE,
        seen_at=standing.seen_at,
    )


def _rows(kind: IncidentKind, moment: datetime) -> dict[int, Incident]:
    """Return the incidents that are open, or may lead although they are over."""
    rows = Incident.objects.filter(kind=kind).filter(Q(closed_at__isnull=True) | Q(closed_at__gt=moment - WINDOW))
    return {
        row.pk: row for row in rows.select_related("server__client", "terminal__organization", "follows").order_by("pk")
    }


def _outage(row: Incident, subject: int | None) -> Outage:
    assert subject is not None  # noqa: S101 - a constraint of the table
    return Outage(
        id=row.pk,
        subject=subject,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        is_told=row.told_at is not None,
        follows=row.follows_id,
        leader_closed_at=row.follows.closed_at if row.follows is not None else None,
    )


def _followers_of(closed: Sequence[Incident]) -> Mapping[int, list[Incident]]:
    """Return the incidents that follow each of those that are over."""
    if not closed:
        return {}
    found: dict[int, list[Incident]] = {}
    for row in Incident.objects.filter(follows__in=closed).select_related("server__client").order_by("pk"):
        found.setdefault(row.follows_id or 0, []).append(row)
    return found


Places = Mapping[int, Sequence[Organization]]
"""By server: whose it is (the one organization that it serves, else its client), then all that it serves."""


def _places_of(servers: Sequence[MobileServer]) -> Places:
    if not servers:
        return {}
    served: dict[int, list[Organization]] = {server.pk: [] for server in servers}
    rows = OrganizationByServer.objects.filter(server__in=servers, is_active=True, server__all_organizations=False)
    for row in rows.select_related("organization").order_by("pk"):
        served[row.server_id].append(row.organization)
    return {server.pk: _place(server, served[server.pk]) for server in servers}


def _place(server: MobileServer, served: Sequence[Organization]) -> Sequence[Organization]:
    return served if len(served) == 1 else [server.client, *served]


def _concerned(rows: Iterable[Incident], places: Places) -> list[Organization]:
    return [place for row in rows for place in places[_server(row).pk]]


# --- What is written ---


def _apply(plan: Plan, moment: datetime) -> list[int]:
    """Write a plan down; return the leaders to tell of."""
    if plan.detached:
        Incident.objects.filter(pk__in=plan.detached).update(follows=None, told_at=None)
    for leader, followers in [*plan.tell.items(), *plan.join.items()]:
        if followers:
            _follow(followers, leader, moment)
    if plan.tell:
        Incident.objects.filter(pk__in=plan.tell).update(told_at=moment)
    return sorted(plan.tell)


def _follow(followers: frozenset[int], leader: int, moment: datetime) -> None:
    Incident.objects.filter(pk__in=followers).update(follows=leader, told_at=Coalesce("told_at", Value(moment)))


def _note_closings(kinds: Sequence[IncidentKind], moment: datetime) -> list[Incident]:
    """Note all told incidents that are over as told so; return those that led, for a notice."""
    over = Incident.objects.filter(
        kind__in=kinds, closed_at__isnull=False, told_at__isnull=False, told_closed_at__isnull=True
    )
    rows = list(over.select_related("server__client", "terminal__organization").order_by("pk"))
    if rows:
        Incident.objects.filter(pk__in=[row.pk for row in rows]).update(told_closed_at=moment)
    return [row for row in rows if row.follows_id is None]


def _tell_isolation(rows: Sequence[Incident], moment: datetime) -> None:
    first = min(row.opened_at for row in rows)
    isolated = incidents.open_for_the_booster(first, f"{len(rows)} servers were lost, and none was seen since.")
    _follow(frozenset(row.pk for row in rows), isolated.pk, moment)
    Incident.objects.filter(pk=isolated.pk).update(told_at=moment)
    tell(
        "booster-isolated",
        key=f"incident-opened:{isolated.pk}",
        subject="The Booster cannot reach anything",
        text=f"{len(rows)} servers were lost since {_time(first)}, and no server was seen since. The cause is "
        f"probably the Booster's own network. Terminals go on with what they know.{_see('fleet')}",
        moment=moment,
        data={"incident": isolated.pk, "opened_at": _iso(first), "servers": [_server(row).key for row in rows]},
    )


def _tell_reconnection(row: Incident, followers: Sequence[Incident], moment: datetime) -> None:
    assert row.closed_at is not None  # noqa: S101 - only closed ones are told so
    tell(
        "booster-reconnected",
        key=f"incident-closed:{row.pk}",
        subject="The Booster reaches servers again",
        text=f"Since {_time(row.closed_at)}, after {_lasted(row)}. {_still(followers, 'server')}{_see('fleet')}",
        moment=moment,
        data={"incident": row.pk, "closed_at": _iso(row.closed_at), "still_lost": _open(followers)},
    )


def _tell_loss(row: Incident, followers: Sequence[Incident], places: Places, moment: datetime) -> None:
    server = _server(row)
    with_it = f" Lost with it: {_names(_server(other).name for other in followers)}." if followers else ""
    more = f", {len(followers)} more with it" if followers else ""
    tell(
        "server-lost",
        key=_opened(row.pk),
        subject=f"{server.name} was lost{more}",
        text=f"{server.get_server_type_display()} {server.name} ({server.key}) of {server.client.name} left online "
        f"at {_time(row.opened_at)}: {row.cause}{with_it}{_see('server', server.pk)}",
        moment=moment,
        organization=places[server.pk][0],
        also=_concerned([row, *followers], places),
        data={
            "incident": row.pk,
            "server": server.key,
            "opened_at": _iso(row.opened_at),
            "cause": row.cause,
            "followers": [_server(other).key for other in followers],
        },
    )


def _tell_return(row: Incident, followers: Sequence[Incident], places: Places, moment: datetime) -> None:
    assert row.closed_at is not None  # noqa: S101 - only closed ones are told so
    server = _server(row)
    still = f" {_still(followers, 'server')}" if followers else ""
    is_back = server.is_active
    tell(
        "server-back",
        key=f"incident-closed:{row.pk}",
        subject=f"{server.name} is {'back' if is_back else 'not watched any more'}",
        text=f"{server.get_server_type_display()} {server.name} ({server.key}) of {server.client.name} is "
        f"{'online again' if is_back else 'not watched any more'} since {_time(row.closed_at)}, after {_lasted(row)}: "
        f"{row.closing_cause}{still}{_see('server', server.pk)}",
        moment=moment,
        organization=places[server.pk][0],
        also=_concerned([row, *followers], places),
        data={
            "incident": row.pk,
            "server": server.key,
            "closed_at": _iso(row.closed_at),
            "cause": row.closing_cause,
            "still_lost": _open(followers),
        },
    )


def _tell_unseen(row: Incident, followers: Sequence[Incident], moment: datetime) -> None:
    terminals = [_terminal(row), *map(_terminal, followers)]
    store = terminals[0].organization
    names = _names(terminal.search_key for terminal in terminals)
    who = f"{len(terminals)} terminals of {store.name} are" if followers else f"{names} of {store.name} is"
    tell(
        "terminal-unseen",
        key=f"incident-opened:{row.pk}",
        subject=f"{who} not seen",
        text=f"{names} of {store}: {row.cause}{_see('store', store.code)}",
        moment=moment,
        organization=store,
        data={
            "incident": row.pk,
            "organization": store.code,
            "opened_at": _iso(row.opened_at),
            "terminals": [terminal.search_key for terminal in terminals],
        },
    )


def _tell_seen_again(row: Incident, followers: Sequence[Incident], moment: datetime) -> None:
    assert row.closed_at is not None  # noqa: S101 - only closed ones are told so
    terminal = _terminal(row)
    who = f"{terminal.search_key} of {terminal.organization}"
    still = f" {_still(followers, 'terminal')}" if _open(followers) else ""
    tell(
        "terminal-back",
        key=f"incident-closed:{row.pk}",
        subject=f"{terminal.search_key} of {terminal.organization.name}: {row.closing_cause}",
        text=f"{who}, since {_time(row.closed_at)}: {row.closing_cause}{still}",
        moment=moment,
        organization=terminal.organization,
        data={
            "incident": row.pk,
            "terminal": terminal.search_key,
            "closed_at": _iso(row.closed_at),
            "still_unseen": _open(followers),
        },
    )


# --- Words ---


def _server(row: Incident) -> MobileServer:
    assert row.server is not None  # noqa: S101 - a constraint of the table
    return row.server


def _terminal(row: Incident) -> Terminal:
    assert row.terminal is not None  # noqa: S101 - a constraint of the table
    return row.terminal


def _names(names: Iterable[str]) -> str:
    listed = list(names)
    shown = ", ".join(listed[:MOST_NAMED])
    return shown if len(listed) <= MOST_NAMED else f"{shown} and {len(listed) - MOST_NAMED} more"


def _opened(incident: int) -> str:
    """Return the key of the notice that tells of an incident's opening."""
    return f"incident-opened:{incident}"


def _open(followers: Sequence[Incident]) -> int:
    return sum(1 for row in followers if row.closed_at is None)


def _see(page: str, *arguments: int | str) -> str:
    """Return where to look, as a sentence of a notice; nothing where the Booster does not know its own address."""
    if not settings.BOOSTER_PUBLIC_URLS:
        return ""
    return f" See {settings.BOOSTER_PUBLIC_URLS[0].rstrip('/')}{reverse(f'fleet:{page}', args=arguments)}"


def _still(followers: Sequence[Incident], what: str) -> str:
    count = _open(followers)
    if not count:
        return f"All {what}s lost with it are back."
    return f"{count} {what}{' lost with it is' if count == 1 else 's lost with it are'} still missing."


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _lasted(row: Incident) -> str:
    assert row.closed_at is not None  # noqa: S101 - only closed ones are told so
    seconds = int((row.closed_at - row.opened_at).total_seconds())
    hours, minutes = divmod(seconds // 60, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds} s"
