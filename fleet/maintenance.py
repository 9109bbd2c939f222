"""Which servers are worked on, and when: watched and shown meanwhile, not alarmed, not counted.

Maintenance of an organization covers the servers that are assigned to it or to one below it; a server
with All Organizations counts as assigned to its client. A server assigned to a region is not covered
when one store of the region is: its other stores miss it all the same. Assignments count as they are
now, also for past windows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import NamedTuple

from django.db.models import Q, QuerySet

from fleet.models import Maintenance
from organizations.models import Organization
from servers.models import MobileServer, OrganizationByServer


class Window(NamedTuple):
    """A time in maintenance, from `start` until before `end`."""

    start: datetime
    end: datetime

    def holds(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


def in_maintenance(moment: datetime, server_ids: Collection[int] | None = None) -> set[int]:
    """Return the servers (of those given, or all) in maintenance at `moment`: one query, or three."""
    running = Maintenance.objects.filter(starts_at__lte=moment, ends_at__gt=moment)
    return set(_windows(running, server_ids))


def windows(
    start: datetime, end: datetime, server_ids: Collection[int] | None = None
) -> Mapping[int, tuple[Window, ...]]:
    """Return by server when it was in maintenance between two moments, at most three queries.

    Windows are whole, not cut, in the order of their start, and may overlap.
    """
    return _windows(Maintenance.objects.filter(starts_at__lt=end, ends_at__gt=start), server_ids)


def windows_of(server: MobileServer) -> tuple[Window, ...]:
    """Return all times one server was, is or will be in maintenance."""
    return _windows(Maintenance.objects.all(), [server.pk]).get(server.pk, ())


def organizations_in_maintenance(moment: datetime) -> QuerySet[Organization]:
    """Return the organizations in maintenance at `moment`, and all below them."""
    running = Maintenance.objects.filter(starts_at__lte=moment, ends_at__gt=moment, organization__isnull=False)
    below: QuerySet[Organization] = Organization.objects.below(
        Organization.objects.filter(pk__in=running.values("organization"))
    )
    return below


def _windows(rows: QuerySet[Maintenance], server_ids: Collection[int] | None) -> dict[int, tuple[Window, ...]]:
    found: defaultdict[int, set[Window]] = defaultdict(set)
    of_organizations = []
    wanted = None if server_ids is None else set(server_ids)
    for row in rows.select_related("organization"):
        if row.server_id is None:
            of_organizations.append(row)
        elif wanted is None or row.server_id in wanted:
            found[row.server_id].add(Window(row.starts_at, row.ends_at))
    if of_organizations:
        for row, server_id in _covered(of_organizations):
            if wanted is None or server_id in wanted:
                found[server_id].add(Window(row.starts_at, row.ends_at))
    return {server_id: tuple(sorted(times)) for server_id, times in found.items()}


def _covered(rows: list[Maintenance]) -> list[tuple[Maintenance, int]]:
    """Return the servers that each maintenance of an organization covers, in two queries."""
    places = [place for row in rows if (place := row.organization) is not None]  # all have one
    inside, clients = Q(), Q()
    for place in places:
        inside |= Q(
            organization__tree_id=place.tree_id, organization__lft__gte=place.lft, organization__lft__lte=place.rght
        )
        clients |= Q(client=place)
    assigned = OrganizationByServer.objects.filter(inside, is_active=True, server__all_organizations=False)
    pairs = list(
        assigned.order_by().values_list("server_id", "organization__tree_id", "organization__lft", named=False)
    )
    whole = MobileServer.objects.filter(clients, all_organizations=True).order_by()
    by_client = list(whole.values_list("pk", "client_id"))
    covered = []
    for row, place in zip(rows, places, strict=True):
        covered += [
            (row, pk) for pk, tree_id, left in pairs if tree_id == place.tree_id and place.lft <= left <= place.rght
        ]
        covered += [(row, pk) for pk, client_id in by_client if client_id == place.pk]
    return covered
