"""Who can reach whom: what terminals and servers say of servers, written sparingly and summed up.

Shown, and never a reason by itself to change a server's state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, Q, QuerySet

from fleet.models import Reachability
from servers.models import MobileServer
from terminals.models import Terminal
from terminals.reports import Sighting

FRESH_FOR = timedelta(minutes=10)
"""Older observations do not count: their observer may be switched off."""
WRITTEN_EVERY = timedelta(seconds=60)
ROWS_PER_STATEMENT = 1_000


@dataclass(frozen=True, slots=True)
class StoreView:
    """What the tills of one store say of one server: how many say anything, and how many cannot reach it."""

    organization_id: int
    organization_name: str
    tills: int
    unreachable: int

    @property
    def text(self) -> str:
        return f"{self.unreachable} of {self.tills} till{'' if self.tills == 1 else 's'} of {self.organization_name}"


def write_of_terminals(sightings: Sequence[Sighting]) -> None:
    _write(sightings, "observing_terminal_id", Terminal._meta.db_table)


def write_of_servers(sightings: Sequence[Sighting]) -> None:
    _write(sightings, "observing_server_id", MobileServer._meta.db_table)


def _write(sightings: Sequence[Sighting], column: str, observers: str) -> None:
    """Keep what was seen, where it is new or what is stored is a minute old: one statement per 1,000.

    What names no server or no observer any more is left out. An observer is named once per server.
    """
    for start in range(0, len(sightings), ROWS_PER_STATEMENT):
        rows = sightings[start : start + ROWS_PER_STATEMENT]
        values = [value for row in rows for value in (row.server_key, row.observer_id, row.is_reachable, _time(row.at))]
        oldest = _time(min(row.at for row in rows) - WRITTEN_EVERY)
        with connection.cursor() as cursor:
            cursor.execute(_statement(column, observers, len(rows)), [*values, oldest])


def _statement(column: str, observers: str, rows: int) -> str:
    """Return the SQL of one batch; both databases name the columns of VALUES alike.

    In order of the rows, so that two processes that write at once wait for each other instead of blocking.
    """
    table, servers = Reachability._meta.db_table, MobileServer._meta.db_table
    return (
        f"INSERT INTO {table} (server_id, {column}, is_reachable, since, seen_at) "
        "SELECT s.id, o.id, seen.column3, seen.column4, seen.column4 "
        f"FROM (VALUES {', '.join(['(%s, %s, %s, %s)'] * rows)}) AS seen "
        f"JOIN {servers} s ON s.key = seen.column1 JOIN {observers} o ON o.id = seen.column2 "
        "WHERE TRUE ORDER BY s.id, o.id "
        f"ON CONFLICT (server_id, {column}) DO UPDATE SET "
        f"since = CASE WHEN {table}.is_reachable <> excluded.is_reachable "
        f"THEN excluded.seen_at ELSE {table}.since END, "
        "is_reachable = excluded.is_reachable, seen_at = excluded.seen_at "
        f"WHERE {table}.seen_at < excluded.seen_at "
        f"AND ({table}.is_reachable <> excluded.is_reachable OR {table}.seen_at <= %s)"
    )


def _time(moment: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(moment)


def _fresh(server_ids: Collection[int], moment: datetime) -> QuerySet[Reachability]:
    return Reachability.objects.filter(server__in=server_ids, seen_at__gte=moment - FRESH_FOR)


def summary(server_ids: Collection[int], moment: datetime) -> dict[int, tuple[StoreView, ...]]:
    """Return what the tills of each store say of each server, by the server's id and the store's name.

    One query. Only what was said within the last 10 minutes counts.
    """
    rows = (
        _fresh(server_ids, moment)
        .filter(observing_terminal__isnull=False)
        .values_list("server_id", "observing_terminal__organization_id", "observing_terminal__organization__name")
        .annotate(tills=Count("pk"), unreachable=Count("pk", filter=Q(is_reachable=False)))
        .order_by("observing_terminal__organization__name", "observing_terminal__organization_id")
    )
    found: dict[int, list[StoreView]] = defaultdict(list)
    for server_id, organization_id, name, tills, unreachable in rows:
        found[server_id].append(StoreView(organization_id, name, tills, unreachable))
    return {server_id: tuple(views) for server_id, views in found.items()}


def unreachable_by(server_ids: Collection[int], moment: datetime) -> dict[int, tuple[Reachability, ...]]:
    """Return, by the server's id, who said within the last 10 minutes that it cannot be reached.

    One query, the observers with it, those who said so first before the others.
    """
    rows = (
        _fresh(server_ids, moment)
        .filter(is_reachable=False)
        .select_related("observing_terminal__organization", "observing_server")
        .order_by("since", "pk")
    )
    found: dict[int, list[Reachability]] = defaultdict(list)
    for row in rows:
        found[row.server_id].append(row)
    return {server_id: tuple(views) for server_id, views in found.items()}
