"""What a page shows that may change by itself: pieces of HTML by the id of the element they replace.

The pages are made of these pieces, and live updates send those that changed. Pieces of equal values
are rendered once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import Any

from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from fleet.gather import Fleet, Scope
from fleet.picture import LEGEND, Cell, Known, Row, State, Till, cell_of, title_of
from routing.landscape import OrganizationCode
from servers.models import ServerReport

KEPT = 20_000
CLOCK_WARNING_S = 60
BAR_STEP_S = 900


@dataclass(frozen=True)
class Frame:
    """Pieces of HTML by element id. Where `layout` differs, the page has to be fetched anew."""

    layout: str
    parts: Mapping[str, str]

    @cached_property
    def digest(self) -> str:
        """Names what the frame shows; equal on every node."""
        return f"{_hash([self.layout])}-{_hash(text for part in self.parts.items() for text in part)}"

    def changes(self, shown: Frame) -> dict[str, str]:
        """Return the pieces that differ from those of `shown`."""
        return {name: html for name, html in self.parts.items() if shown.parts.get(name) != html}


def _hash(texts: Iterable[str]) -> str:
    summed = blake2b(digest_size=8)
    for text in texts:
        summed.update(text.encode())
        summed.update(b"\0")
    return summed.hexdigest()


# --- Pieces --------------------------------------------------------------------------------------


def _piece(template: str, **values: Any) -> SafeString:
    return SafeString(render_to_string(f"fleet/{template}.html", values).strip())


@lru_cache(KEPT)
def cell_html(cell: Cell) -> SafeString:
    return _piece("cell", cell=cell, look=LEGEND[cell.state])


@lru_cache(KEPT)
def row_html(row: Row) -> SafeString:
    return _piece("row", row=row, look=LEGEND[row.known.state])


@lru_cache(KEPT)
def tally_html(element: str, counts: tuple[tuple[State, int], ...]) -> SafeString:
    """Return the counts of a region's cells, each behind its symbol."""
    return _piece("tally", element=element, counts=[(LEGEND[state], state, count) for state, count in counts])


@lru_cache(KEPT)
def count_html(state: State, count: int) -> SafeString:
    return _piece("count", state=state, count=count)


@lru_cache(KEPT)
def standing_html(known: Known) -> SafeString:
    return _piece("standing", known=known, look=LEGEND[known.state])


@lru_cache(KEPT)
def store_html(cell: Cell) -> SafeString:
    return _piece("store_now", cell=cell, look=LEGEND[cell.state])


def banners_html(fleet: Fleet) -> SafeString:
    return _piece(
        "banners", blind_since=fleet.blind_since, is_unwatched=fleet.is_unwatched, watched_at=fleet.watched_at
    )


@lru_cache(KEPT)
def till_html(till: Till, revision: int) -> SafeString:
    return _piece("till", till=till, is_current=till.revision == revision)


def report_html(report: ServerReport | None, *, has_agent: bool) -> SafeString:
    """Return what the agent, or a probe, told last."""
    offset_s = report.clock_offset_s if report is not None else None
    return _piece(
        "report",
        report=report,
        has_agent=has_agent,
        clock_offset_s=abs(offset_s) if offset_s is not None and abs(offset_s) > CLOCK_WARNING_S else None,
        is_ahead=(offset_s or 0) > 0,
    )


# --- Pages ---------------------------------------------------------------------------------------


def fleet_frame(fleet: Fleet, scope: Scope) -> Frame:
    """Return the fleet page for those who see `scope`."""
    drawn = scope.of(fleet.picture)
    parts: dict[str, str] = {"fleet-banners": banners_html(fleet)}
    for state in State:
        parts[f"count-{state}"] = count_html(state, drawn.tally.get(state, 0))
    for row in drawn.mains:
        parts[f"server-{row.key}"] = row_html(row)
    layout = [row.key for row in drawn.mains]
    for group in drawn.groups:
        parts[f"group-{group.code}"] = tally_html(f"group-{group.code}", tuple(group.tally.items()))
        layout += ["/", group.code, group.title]
        for cell in group.cells:
            parts[f"store-{cell.code}"] = cell_html(cell)
            layout += [cell.code, cell.name]
    return Frame("\n".join(layout), parts)


def server_frame(fleet: Fleet, key: str, report: ServerReport | None, observed: str = "") -> Frame:
    """Return the page of one server, of which others say what `observed` stands for.

    Its history changes with its state, its bar with every quarter of an hour: that is the layout.
    """
    known = fleet.known[key]
    parts = {
        "fleet-banners": banners_html(fleet),
        "standing": standing_html(known),
        "report": report_html(report, has_agent=known.has_agent),
    }
    quarter = int(fleet.moment.timestamp()) // BAR_STEP_S
    told = (
        known.status,
        known.since,
        known.incident_since,
        known.in_maintenance,
        known.is_active,
        known.has_agent,
        observed,
        quarter,
    )
    return Frame(" ".join(str(value) for value in told), parts)


def store_frame(fleet: Fleet, code: OrganizationCode, scope: Scope, tills: Iterable[Till]) -> Frame:
    """Return the page of one store."""
    rows = store_rows(fleet, code, scope)
    tills = list(tills)
    parts: dict[str, str] = {
        "fleet-banners": banners_html(fleet),
        "store-now": store_html(cell_of(fleet.landscape, code, fleet.known, fleet.doubts)),
    }
    parts |= {f"server-{row.key}": row_html(row) for row in rows}
    parts |= {f"till-{till.search_key}": till_html(till, fleet.revision) for till in tills}
    layout = (
        title_of(fleet.landscape, code),
        *(f"{row.key} {row.name} {row.known.incident_since} {row.known.in_maintenance}" for row in rows),
        *(f"{till.search_key} {till.name} {till.incident_since}" for till in tills),
    )
    return Frame("\n".join(layout), parts)


def store_rows(fleet: Fleet, code: OrganizationCode, scope: Scope) -> list[Row]:
    """Return the servers that the store's terminals call, in calling order."""
    return [
        Row(server.key, server.name, fleet.known[server.key])
        for server in fleet.landscape.terminal_servers(code)
        if server.key in fleet.known and scope.has_server(server.key)
    ]
