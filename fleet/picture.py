"""What the fleet page shows: every store's cell and every main server's row, as values.

Pure: a landscape and what is known of the servers in, a picture out. Color never stands alone: every
state has a symbol and a word of its own, and the legend is made of the same table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from routing.landscape import STORE, Landscape, OrganizationCode, Server
from servers.status import Status

MAIN = "main"


class State(StrEnum):
    """The states of a cell, worst first."""

    DOWN = "down"
    DEGRADED = "degraded"
    TRANSITION = "transition"
    MAINTENANCE = "maintenance"
    UNKNOWN = "unknown"
    OK = "ok"
    STANDARD = "standard"


@dataclass(frozen=True, slots=True)
class Look:
    """How a state is told: a symbol, a word, and what it means for a store."""

    symbol: str
    word: str
    meaning: str


LEGEND: Mapping[State, Look] = {
    State.DOWN: Look("✕", "Down", "no server of the store is online"),
    State.DEGRADED: Look("◐", "Degraded", "some servers are online, others are not"),
    State.TRANSITION: Look("↻", "In transition", "a server is going offline or coming back"),
    State.MAINTENANCE: Look("⚒", "Maintenance", "what is not online is being worked on"),
    State.UNKNOWN: Look("?", "Not seen yet", "no server has been online yet"),
    State.OK: Look("✓", "OK", "every server is online"),
    State.STANDARD: Look("○", "Standard way", "terminals call no mobile server"),
}


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one server; a server that was never observed has the defaults.

    `has_proved` tells whether it was ever online.
    """

    pk: int
    status: Status = Status.OFFLINE
    since: datetime | None = None
    cause: str = ""
    has_proved: bool = False
    is_flapping: bool = False
    last_seen_at: datetime | None = None
    in_maintenance: bool = False
    incident_since: datetime | None = None
    incident_cause: str = ""
    is_active: bool = True
    has_agent: bool = False

    @property
    def state(self) -> State:
        """The state of a server taken alone; nobody watches one that is not active."""
        if not self.is_active:
            return State.STANDARD
        if self.status is Status.ONLINE:
            return State.OK
        if self.in_maintenance:
            return State.MAINTENANCE
        if self.status.is_transition:
            return State.TRANSITION
        return State.DOWN if self.has_proved else State.UNKNOWN

    @property
    def word(self) -> str:
        """The state of the server itself, in a word or two."""
        if not self.is_active:
            return "Not watched"
        if self.status is Status.OFFLINE and not self.has_proved:
            return LEGEND[State.UNKNOWN].word
        return WORDS[self.status]


WORDS: Mapping[Status, str] = {
    Status.ONLINE: "Online",
    Status.TRANSITION_TO_OFFLINE: "Going offline",
    Status.OFFLINE: "Offline",
    Status.TRANSITION_TO_ONLINE: "Coming online",
}


def word_of(state: State) -> str:
    """Return the word for servers in a state; the legend's words are those for stores."""
    return {State.OK: "Online", State.DOWN: "Offline"}.get(state, LEGEND[state].word)


@dataclass(frozen=True, slots=True)
class Cell:
    """A store: its state, how many of its servers are online, and how many of its tills cannot reach one."""

    code: OrganizationCode
    name: str
    state: State
    online: int = 0
    servers: int = 0
    doubts: int = 0

    @property
    def summary(self) -> str:
        """The cell in words, for whoever cannot see it."""
        parts = [f"{self.name}: {LEGEND[self.state].word}"]
        if self.servers:
            parts.append(f"{self.online} of {self.servers} server{'' if self.servers == 1 else 's'} online")
        if self.doubts:
            parts.append(f"{self.doubts} till{'' if self.doubts == 1 else 's'} cannot reach a server")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Group:
    """The stores below one region (or directly below a client)."""

    code: OrganizationCode
    title: str
    cells: tuple[Cell, ...]

    @property
    def tally(self) -> Mapping[State, int]:
        return tally(self.cells)


@dataclass(frozen=True, slots=True)
class Row:
    """A main server."""

    key: str
    name: str
    known: Known


@dataclass(frozen=True, slots=True)
class Till:
    """What is known of a terminal. `revision` is the configuration it holds, None if it never fetched one."""

    pk: int
    search_key: str
    name: str
    is_active: bool
    is_activated: bool
    last_seen_at: datetime | None
    software: str
    revision: int | None
    queue_length: int | None
    incident_since: datetime | None = None
    unreached: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """All groups by title, all main servers in calling order."""

    groups: tuple[Group, ...]
    mains: tuple[Row, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(cell for group in self.groups for cell in group.cells)

    @property
    def tally(self) -> Mapping[State, int]:
        return tally(self.cells)

    def only(self, stores: Collection[OrganizationCode], servers: Collection[str]) -> Picture:
        """Return the picture with nothing but the given stores and servers in it."""
        groups = (
            Group(group.code, group.title, tuple(cell for cell in group.cells if cell.code in stores))
            for group in self.groups
        )
        return Picture(
            tuple(group for group in groups if group.cells), tuple(r for r in self.mains if r.key in servers)
        )


def tally(cells: Iterable[Cell]) -> Mapping[State, int]:
    """Count the cells by state, worst first, without the states that none is in."""
    counts = Counter(cell.state for cell in cells)
    return {state: counts[state] for state in State if counts[state]}


def state_of(servers: Collection[Known]) -> State:
    """Return the state of a store whose terminals call `servers`.

    Servers under maintenance that are not online are no fault of their own. A store is in transition
    while everything that ails it is on its way, and down only once nothing is.
    """
    if not servers:
        return State.STANDARD
    missing = [server for server in servers if server.status is not Status.ONLINE]
    if not missing:
        return State.OK
    if not any(server.has_proved or server.status.is_transition for server in servers):
        return State.MAINTENANCE if all(server.in_maintenance for server in servers) else State.UNKNOWN
    faults = [server for server in missing if not server.in_maintenance]
    if not faults:
        return State.MAINTENANCE
    moving = [server for server in faults if server.status.is_transition]
    if len(missing) == len(servers):
        return State.TRANSITION if moving else State.DOWN
    return State.TRANSITION if len(moving) == len(faults) else State.DEGRADED


def cell_of(
    landscape: Landscape, code: OrganizationCode, known: Mapping[str, Known], doubts: Mapping[OrganizationCode, int]
) -> Cell:
    """Return the cell of one store; `doubts` counts, by store, the tills that cannot reach a server."""
    servers = [known[server.key] for server in landscape.terminal_servers(code) if server.key in known]
    return Cell(
        code,
        landscape.organizations[code].name,
        state_of(servers),
        sum(server.status is Status.ONLINE for server in servers),
        len(servers),
        doubts.get(code, 0),
    )


def picture(
    landscape: Landscape, known: Mapping[str, Known], doubts: Mapping[OrganizationCode, int] = MappingProxyType({})
) -> Picture:
    """Return the whole fleet: the active stores by what they lie below, and the active main servers.

    A server that `known` lacks is left out: it was made or removed between two reads.
    """
    below: dict[OrganizationCode, list[Cell]] = {}
    for code, organization in landscape.organizations.items():
        if organization.kind == STORE and organization.is_active and organization.parent is not None:
            below.setdefault(organization.parent, []).append(cell_of(landscape, code, known, doubts))
    groups = (
        Group(code, title_of(landscape, code), tuple(sorted(cells, key=lambda cell: (cell.name, cell.code))))
        for code, cells in below.items()
    )
    return Picture(
        tuple(sorted(groups, key=lambda group: (group.title, group.code))),
        tuple(Row(server.key, server.name, known[server.key]) for server in main_servers(landscape, known)),
    )


def main_servers(landscape: Landscape, known: Mapping[str, Known]) -> list[Server]:
    """Return the active main servers in calling order, client by client."""
    mains = (s for s in landscape.servers.values() if s.server_type == MAIN and s.is_active and s.key in known)
    return sorted(mains, key=lambda server: (server.client, server.calling_order))


def title_of(landscape: Landscape, code: OrganizationCode) -> str:
    """Return the names from the client down to an organization."""
    return " / ".join(landscape.organizations[step].name for step in landscape.path(code))
