"""Each server's version and modules beside central's: same, different, or unknown (reference openbravo, section 7).

Central of a client is its main server that comes first in calling order. Only modules that both have are
compared. What is not known is said to be unknown, with the reason, and never to be the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from boosters.versions import known
from servers.models import MobileServer, ServerStatus, ServerType


class Comparison(StrEnum):
    CENTRAL = "central"
    SAME = "same"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


WORDS = {
    Comparison.CENTRAL: "Central",
    Comparison.SAME: "Same as central",
    Comparison.DIFFERENT: "Different from central",
    Comparison.UNKNOWN: "Unknown",
}


@dataclass(frozen=True, slots=True)
class Installed:
    """What a server reports of its software; `error` says why nothing is known of it now."""

    version: str
    modules: Mapping[str, str] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True)
class ModuleDifference:
    name: str
    here: str
    central: str


@dataclass(frozen=True, slots=True)
class Compared:
    comparison: Comparison
    differences: tuple[str, ...] = ()
    modules: tuple[ModuleDifference, ...] = ()


def compare(here: Installed, central: Installed | None) -> Compared:
    """Return how a server's software stands beside central's."""
    if here.error:
        return Compared(Comparison.UNKNOWN, (here.error,))
    if not here.version:
        return Compared(Comparison.UNKNOWN, ("It has not reported its version.",))
    if central is None:
        return Compared(Comparison.UNKNOWN, ("Its client has no main server to compare with.",))
    if not central.version:
        return Compared(Comparison.UNKNOWN, ("The central server has not reported its version.",))
    differences = []
    if not _is_same(here.version, central.version):
        differences.append(f"Version {here.version}, central has {central.version}")
    modules = tuple(
        ModuleDifference(name, version, central.modules[name])
        for name, version in sorted(here.modules.items())
        if name in central.modules and central.modules[name] != version
    )
    differences += [f"{module.name} {module.here}, central has {module.central}" for module in modules]
    return Compared(Comparison.DIFFERENT if differences else Comparison.SAME, tuple(differences), modules)


def _is_same(one: str, other: str) -> bool:
    """Compare as versions where both are some, suffix included, else letter by letter."""
    return one.strip() == other.strip() or (
        (first := known(one)) is not None and (second := known(other)) is not None and str(first) == str(second)
    )


@dataclass(frozen=True, slots=True)
class Line:
    """One server of the overview."""

    pk: int
    key: str
    name: str
    client: str
    type: str
    status: str
    comparison: Comparison
    version: str
    central: str | None
    central_version: str
    differences: tuple[str, ...]
    modules: tuple[ModuleDifference, ...]
    pending: int | None
    since: datetime | None
    is_propagated: bool

    @property
    def word(self) -> str:
        return WORDS[self.comparison]

    @property
    def status_word(self) -> str:
        return ServerStatus(self.status).label


def overview(servers: Iterable[MobileServer]) -> list[Line]:
    """Return a line for each active server of `servers`; central is found among all, two queries."""
    mains = MobileServer.objects.filter(is_active=True, server_type=ServerType.MAIN).select_related("report")
    centrals: dict[int, MobileServer] = {}
    for main in mains.order_by("priority", "name", "key"):
        centrals.setdefault(main.client_id, main)
    return [_line(server, centrals.get(server.client_id)) for server in servers]


def _line(server: MobileServer, central: MobileServer | None) -> Line:
    here = _installed(server)
    there = _installed(central, is_central=True) if central is not None else None
    is_central = central is not None and central.pk == server.pk
    compared = Compared(Comparison.CENTRAL) if is_central and here.version else compare(here, there)
    state = getattr(server, "state", None)
    reported: Any = getattr(server, "reported_version", None)
    report = getattr(server, "report", None)
    return Line(
        server.pk,
        server.key,
        server.name,
        server.client.code,
        server.server_type,
        state.status if state else ServerStatus.OFFLINE.value,
        compared.comparison,
        here.version,
        central.key if central else None,
        there.version if there else "",
        compared.differences,
        compared.modules,
        report.pending if report else None,
        reported.since if reported else None,
        bool(reported and reported.is_propagated),
    )


def _installed(server: MobileServer, *, is_central: bool = False) -> Installed:
    report = getattr(server, "report", None)
    if report is None or report.reported_at is None:
        return Installed("", error="" if is_central else "No agent has reported for it yet.")
    state = None if is_central else getattr(server, "state", None)
    error = ""
    if state is not None and state.status == ServerStatus.OFFLINE:
        error = f"It cannot be reached: {state.cause or 'it is offline.'}"
    return Installed(report.software_version, _modules(report.modules), error)


def _modules(reported: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {row["name"]: row["version"] for row in reported if "name" in row and "version" in row}
