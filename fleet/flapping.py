"""Servers that come and go: flagged, told once, and calm again after a whole window without a loss."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef

from events.log import record
from fleet.maintenance import windows
from fleet.models import Incident
from fleet.states import place_of
from routing import revision
from routing.landscape import Landscape
from servers.models import MobileServer, ServerReport, ServerState, ServerStatus, StatusTransition


@dataclass(frozen=True, slots=True)
class Rule:
    """So many losses within the window are too many."""

    losses: int
    window: timedelta

    def is_flapping(self, losses: Iterable[datetime], moment: datetime, *, was_flapping: bool) -> bool:
        """Tell whether a server flaps. Once flagged, one loss within the window keeps the flag."""
        recent = sum(1 for at in losses if moment - self.window < at <= moment)
        return recent >= (1 if was_flapping else self.losses)


def settle_flapping(servers: Sequence[MobileServer], landscape: Landscape, moment: datetime) -> list[MobileServer]:
    """Set and clear the flags of `servers` (their states at hand); return those that just began to flap.

    Losses during maintenance do not count, nor those that followed another outage: they say nothing about
    the server. Two to four queries, and one per change.
    """
    rules = _rules(servers, landscape)
    if not rules:
        return []
    losses = _losses(moment - max(rule.window for rule in rules.values()), moment)
    turned: list[tuple[MobileServer, bool]] = []
    for server in servers:
        state: ServerState | None = getattr(server, "state", None)
        if state is not None and (state.is_flapping or server.pk in losses):
            seen = losses.get(server.pk, ())
            flaps = rules[server.pk].is_flapping(seen, moment, was_flapping=state.is_flapping)
            if flaps != state.is_flapping:
                turned.append((server, flaps))
    if not turned:
        return []
    with transaction.atomic():
        # Reports before states, as `states.write` locks them.
        reports = ServerReport.objects.select_for_update().filter(server__in=[server for server, _ in turned])
        list(reports.order_by("pk").values_list("pk"))
        return [
            server
            for server, flaps in turned
            if _turn(server, flaps, len(losses.get(server.pk, ())), rules[server.pk], moment) and flaps
        ]


def _turn(server: MobileServer, flaps: bool, losses: int, rule: Rule, moment: datetime) -> bool:
    """Set or clear a server's flag; return whether nobody else had done so."""
    if not ServerState.objects.filter(pk=server.pk, is_flapping=not flaps).update(is_flapping=flaps):
        return False
    revision.announce()
    record(
        "server-flapping" if flaps else "server-calm",
        moment=moment,
        object_type="mobile server",
        object_key=server.key,
        cause=f"{losses} losses within {_spelled(rule.window)}." if flaps else "",
    )
    return True


def _rules(servers: Sequence[MobileServer], landscape: Landscape) -> Mapping[int, Rule]:
    by_place: dict[str | None, Rule] = {}
    rules = {}
    for server in servers:
        defined = landscape.servers.get(server.key)
        place = place_of(defined) if defined is not None else None
        rule = by_place.get(place)
        if rule is None:
            losses = int(landscape.preference("flapping_losses", place).value)
            window = timedelta(seconds=int(landscape.preference("flapping_window_s", place).value))
            rule = by_place[place] = Rule(losses, window)
        rules[server.pk] = rule
    return rules


def _losses(start: datetime, moment: datetime) -> Mapping[int, list[datetime]]:
    """Return when servers left online since `start`, by server, but for what does not count."""
    followed = Incident.objects.filter(server=OuterRef("server"), opened_at=OuterRef("at"), follows__isnull=False)
    departures = StatusTransition.objects.filter(
        from_status=ServerStatus.ONLINE, at__gt=start, server__isnull=False
    ).exclude(Exists(followed))
    rows = list(departures.order_by("at").values_list("server_id", "at"))
    if not rows:
        return {}
    maintained = windows(start, moment)
    found: defaultdict[int, list[datetime]] = defaultdict(list)
    for server_id, at in rows:
        if not any(window.holds(at) for window in maintained.get(server_id, ())):
            found[server_id].append(at)
    return found


def _spelled(window: timedelta) -> str:
    return f"{window.total_seconds():.0f} s"
