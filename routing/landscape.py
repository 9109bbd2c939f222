"""The landscape: what is configured, as immutable values, and every selection rule as a pure function.

No Django, no database, no clock. Objects are named by their natural keys (organization codes, service
names, server keys), which are unique everywhere, so that the same configuration gives the same
answers, byte for byte, whichever database it was read from. Rules N1 to N6 of the reference with the
decisions of design, section 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from preferences.registry import BY_KEY

FAILOVER, BROADCAST, PING = "failover", "broadcast", "ping"
ONLY, ALL_EXCLUDING = "only", "all_excluding"
STORE = "store"
GENERIC = "Generic"
CONTINUATIONS = (".", "/")

OrganizationCode = str


@dataclass(frozen=True, slots=True)
class Organization:
    code: OrganizationCode
    name: str
    kind: str
    parent: OrganizationCode | None = None
    is_active: bool = True


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    routing_type: str = FAILOVER
    is_transactional: bool = False
    default_timeout_s: int | None = None
    timeout_s: int | None = None
    is_active: bool = True

    @property
    def effective_timeout_s(self) -> int | None:
        """The administrator's timeout, else the module's default, in seconds."""
        return self.timeout_s if self.timeout_s is not None else self.default_timeout_s


@dataclass(frozen=True, slots=True)
class Assignment:
    """A row of a server's tab: the organization code or service name it names, and whether it counts."""

    target: str
    is_active: bool = True


@dataclass(frozen=True, slots=True)
class Server:
    key: str
    name: str
    client: OrganizationCode
    server_type: str
    url: str
    priority: int = 10
    all_organizations: bool = True
    all_services: bool = True
    defined_services: str = ALL_EXCLUDING
    organizations: tuple[Assignment, ...] = ()
    services: tuple[Assignment, ...] = ()
    is_active: bool = True

    @property
    def calling_order(self) -> tuple[int, str, str]:
        """Sort key: lowest priority number first, then name, then key, by code point (N4)."""
        return (self.priority, self.name, self.key)


@dataclass(frozen=True, slots=True)
class PreferenceValue:
    key: str
    organization: OrganizationCode | None
    value: str


@dataclass(frozen=True, slots=True)
class Effective:
    """A preference's effective value and the organization it comes from.

    `source` is an organization code, "system" or "default".
    """

    value: int | bool
    source: str


def covers(assigned: str, service: str) -> bool:
    """Tell whether a row naming `assigned` covers `service`: itself and what lies below it.

    Below means that the name continues after a `.` or `/`, so that `…master` covers
    `…master.Product` while `…ProcessCashClose` does not cover `…ProcessCashCloseMaster`.
    Source: design, section 4.
    """
    return service == assigned or (service.startswith(assigned) and service[len(assigned) :].startswith(CONTINUATIONS))


@dataclass(frozen=True)
class Landscape:
    """Everything that decides which server a terminal calls for which service."""

    organizations: Mapping[OrganizationCode, Organization]
    services: Mapping[str, Service]
    servers: Mapping[str, Server]
    preferences: Mapping[tuple[str, OrganizationCode | None], str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        organizations: Iterable[Organization] = (),
        services: Iterable[Service] = (),
        servers: Iterable[Server] = (),
        preferences: Iterable[PreferenceValue] = (),
    ) -> Landscape:
        """Build a landscape from plain lists, in any order."""
        return cls(
            organizations={organization.code: organization for organization in organizations},
            services={service.name: service for service in services},
            servers={server.key: server for server in servers},
            preferences={(row.key, row.organization): row.value for row in preferences},
        )

    # --- The tree, walked by parent links only ---------------------------------------------------

    def lineage(self, organization: OrganizationCode) -> tuple[OrganizationCode, ...]:
        """Return the organization and its ancestors, itself first and the client last.

        A link to nowhere, or into a circle, ends the walk. KeyError for an unknown organization.
        """
        walked = [organization]
        parent = self.organizations[organization].parent
        while parent is not None and parent in self.organizations and parent not in walked:
            walked.append(parent)
            parent = self.organizations[parent].parent
        return tuple(walked)

    def client_of(self, organization: OrganizationCode) -> OrganizationCode:
        """Return the root of the organization's tree: its client (tenant)."""
        return self.lineage(organization)[-1]

    def path(self, organization: OrganizationCode) -> tuple[OrganizationCode, ...]:
        """Return the codes from the client down to the organization."""
        return self.lineage(organization)[::-1]

    @cached_property
    def children(self) -> Mapping[OrganizationCode, tuple[OrganizationCode, ...]]:
        """The codes directly below each organization."""
        below: dict[OrganizationCode, list[OrganizationCode]] = {}
        for organization in self.organizations.values():
            if organization.parent is not None:
                below.setdefault(organization.parent, []).append(organization.code)
        return {parent: tuple(sorted(codes)) for parent, codes in below.items()}

    def subtree(self, organization: OrganizationCode) -> Iterator[OrganizationCode]:
        """Yield the organization and everything below it, each once."""
        seen = {organization}
        waiting = [organization]
        while waiting:
            code = waiting.pop()
            yield code
            for child in self.children.get(code, ()):
                if child not in seen:
                    seen.add(child)
                    waiting.append(child)

    # --- Preferences -----------------------------------------------------------------------------

    def preference(self, key: str, organization: OrganizationCode | None = None) -> Effective:
        """Return the effective value of a preference for an organization (None: for the system).

        The nearest organization up the tree that sets it decides, then the system, then the
        default. Values of inactive organizations count for nothing. A value that is out of bounds
        or spells none falls back to the default (N11). KeyError for an unknown key.
        """
        lineage = self.lineage(organization) if organization is not None else ()
        active = (code for code in lineage if self.organizations[code].is_active)
        return Effective(*BY_KEY[key].decide(self.preferences, active))

    @property
    def is_multi_server_enabled(self) -> bool:
        """Whether the enabling preference is exactly Y at system level (N14)."""
        return self.preference("multi_server_enabled").value is True

    def prepare(self) -> None:
        """Build the indexes now that the first question would otherwise build."""
        _ = self._servers_by_organization, self._servers_for_everyone, self.active_services

    # --- Which servers a store's terminals may call ----------------------------------------------

    @cached_property
    def _servers_by_organization(self) -> Mapping[OrganizationCode, tuple[Server, ...]]:
        """Active servers by the active organizations that rows of theirs name."""
        found: dict[OrganizationCode, list[Server]] = {}
        for server in self.servers.values():
            if server.is_active and not server.all_organizations:
                for row in server.organizations:
                    organization = self.organizations.get(row.target)
                    if row.is_active and organization is not None and organization.is_active:
                        found.setdefault(row.target, []).append(server)
        return {code: tuple(servers) for code, servers in found.items()}

    @cached_property
    def _servers_for_everyone(self) -> Mapping[OrganizationCode, tuple[Server, ...]]:
        """Active servers with All Organizations, by client."""
        found: dict[OrganizationCode, list[Server]] = {}
        for server in self.servers.values():
            if server.is_active and server.all_organizations:
                found.setdefault(server.client, []).append(server)
        return {client: tuple(servers) for client, servers in found.items()}

    def servers_for(self, organization: OrganizationCode) -> tuple[Server, ...]:
        """Return the servers that the terminals of `organization` may call, in calling order.

        Candidates are the active servers of its client. A server assigned to an organization
        serves the whole subtree below it; with All Organizations its rows are ignored. Whether
        multi-server is enabled is not asked here.

        Source: rules N2 to N4; seed, "Mobile Server Organizations - Stores".
        """
        lineage = self.lineage(organization)
        client = lineage[-1]
        found = {server.key: server for server in self._servers_for_everyone.get(client, ())}
        for code in lineage:
            for server in self._servers_by_organization.get(code, ()):
                if server.client == client:
                    found[server.key] = server
        return tuple(sorted(found.values(), key=lambda server: server.calling_order))

    def is_multi_server(self, organization: OrganizationCode) -> bool:
        """Tell whether the organization's terminals use several servers: enabled, and one matches."""
        return self.is_multi_server_enabled and bool(self.servers_for(organization))

    def terminal_servers(self, organization: OrganizationCode) -> tuple[Server, ...]:
        """Return the servers a terminal is told: those of `servers_for`, none when disabled (N1)."""
        return self.servers_for(organization) if self.is_multi_server_enabled else ()

    def stores_served_by(self, server: Server) -> tuple[OrganizationCode, ...]:
        """Return the codes of the stores whose terminals may call `server`, sorted."""
        if not server.is_active:
            return ()
        if server.all_organizations:
            roots = {server.client}
        else:
            roots = {
                row.target
                for row in server.organizations
                if row.is_active and row.target in self.organizations and self.organizations[row.target].is_active
            }
        return tuple(
            sorted(
                {
                    code
                    for root in roots
                    if self.client_of(root) == server.client
                    for code in self.subtree(root)
                    if self.organizations[code].kind == STORE
                }
            )
        )

    # --- Which services a server provides --------------------------------------------------------

    @cached_property
    def active_services(self) -> tuple[Service, ...]:
        """The active services, by name in code point order."""
        return tuple(sorted((s for s in self.services.values() if s.is_active), key=lambda service: service.name))

    @cached_property
    def _selections(self) -> dict[tuple[str, frozenset[str]], tuple[str, ...]]:
        return {}  # servers that are restricted alike share one list

    def services_of(self, server: Server) -> tuple[str, ...]:
        """Return the exact names of the active services that `server` provides, sorted (N5).

        Inactive rows, and rows naming an inactive service, neither cover nor exclude.
        """
        if server.all_services:
            return tuple(service.name for service in self.active_services)
        rows = frozenset(
            row.target
            for row in server.services
            if row.is_active and row.target in self.services and self.services[row.target].is_active
        )
        selection = (server.defined_services, rows)
        names = self._selections.get(selection)
        if names is None:
            wanted = server.defined_services == ONLY
            names = tuple(
                service.name
                for service in self.active_services
                if any(covers(row, service.name) for row in rows) == wanted
            )
            self._selections[selection] = names
        return names

    def provides(self, server: Server, service: str) -> bool:
        """Tell whether `server` provides the service of that exact name.

        A server with All Services also takes requests that match no service; others only when a
        service called Generic is defined and selected.
        """
        return server.all_services or service in self.services_of(server)

    # --- From a request to a service and its providers -------------------------------------------

    def match(self, request: str) -> Service:
        """Return the winning service of a request: the longest name contained in it.

        Case-sensitive; of names equally long the alphabetically first wins. No match gives the
        service Generic: the defined one, or fail over without a timeout of its own (N6).
        """
        candidates = [service for service in self.active_services if service.name in request]
        if candidates:
            return min(candidates, key=lambda service: (-len(service.name), service.name))
        generic = self.services.get(GENERIC)
        return generic if generic is not None and generic.is_active else Service(GENERIC)

    def providers(self, organization: OrganizationCode, request: str) -> tuple[Server, ...]:
        """Return the servers that a terminal of `organization` may call for `request`, in order."""
        service = self.match(request).name
        return tuple(s for s in self.terminal_servers(organization) if self.provides(s, service))

    # --- What a change would do ------------------------------------------------------------------

    def with_parent(self, organization: OrganizationCode, parent: OrganizationCode | None) -> Landscape:
        """Return the landscape as it would be with `organization` moved below `parent`."""
        moved = replace(self.organizations[organization], parent=parent)
        return replace(self, organizations={**self.organizations, organization: moved})

    def changed_stores(self, other: Landscape) -> tuple[OrganizationCode, ...]:
        """Return the stores of both whose terminals would route differently in `other`, sorted."""
        shared = sorted(
            code
            for code, organization in self.organizations.items()
            if organization.kind == STORE and code in other.organizations
        )
        return tuple(code for code in shared if self._routing_of(code) != other._routing_of(code))

    def _routing_of(self, code: OrganizationCode) -> object:
        return (
            tuple((server, self.services_of(server)) for server in self.terminal_servers(code)),
            tuple(self.preference(key, code).value for key in BY_KEY),
        )
