"""The consistency rules K1 to K19: what in a landscape will not work, and what to do about it.

Pure functions over a `Landscape` and the stores that have active terminals. Rules about a store look
at the servers its terminals are told, so they are silent while multi-server is off, and for a store
without servers, which works in the standard way. Source: reference/openbravo, section 10.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from urllib.parse import urlsplit

from preferences.registry import BY_KEY, Scope
from routing.landscape import ONLY, PING, Assignment, Landscape, OrganizationCode, Server

ERROR, WARNING = LEVELS = ("error", "warning")
MAIN = "main"

RETAIL = "org.openbravo.retail.posterminal"
CORE = "org.openbravo.mobile.core"
ORDERS = f"{RETAIL}.OrderLoader"
CASH_CLOSE = f"{RETAIL}.ProcessCashClose"
CASH_MANAGEMENT = f"{RETAIL}.ProcessCashMgmt"
CUSTOMERS = f"{RETAIL}.CustomerLoader"
CUSTOMER_ADDRESSES = f"{RETAIL}.CustomerAddrLoader"
LOGIN = f"{RETAIL}/POSLoginHandler"
TOKEN = f"{CORE}.authenticate.GetToken"
TO_LOG_IN = (LOGIN, f"{RETAIL}.service.loginutils", f"{RETAIL}.term.Terminal", f"{CORE}.context")

# Stores with the same servers have the same findings; beyond so many they are told together.
STORES_TOLD_ONE_BY_ONE = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a rule found: codes, keys and names of what it is about, None where not."""

    rule: str
    level: str
    message: str
    organization: OrganizationCode | None = None
    server: str | None = None
    service: str | None = None


@dataclass(frozen=True)
class _Examined:
    """A landscape with what several rules ask of it, worked out once."""

    landscape: Landscape

    @cached_property
    def servers(self) -> tuple[Server, ...]:
        active = (server for server in self.landscape.servers.values() if server.is_active)
        return tuple(sorted(active, key=lambda server: (server.client, server.calling_order)))

    @cached_property
    def service_names(self) -> frozenset[str]:
        return frozenset(service.name for service in self.landscape.active_services)

    @cached_property
    def selected(self) -> Mapping[str, frozenset[str]]:
        """The names of the active services that each server provides, by server key."""
        return {server.key: frozenset(self.landscape.services_of(server)) for server in self.servers}

    def provides(self, server: Server, service: str) -> bool:
        return server.all_services or service in self.selected[server.key]

    def providers(self, servers: Iterable[Server], service: str) -> frozenset[str]:
        return frozenset(server.key for server in servers if self.provides(server, service))


StoreRule = Callable[[_Examined, tuple[Server, ...]], Iterator[Finding]]
LandscapeRule = Callable[[_Examined], Iterator[Finding]]


def checks(landscape: Landscape, stores: Collection[OrganizationCode]) -> tuple[Finding, ...]:
    """Return what the rules K1 to K19 find, by rule, organization, server and service.

    `stores` are the codes of the stores that have active terminals. A finding about many stores with
    the same servers is told once, for the organization that all of them lie below.
    """
    examined = _Examined(landscape)
    alike: defaultdict[tuple[Server, ...], list[OrganizationCode]] = defaultdict(list)
    for store in stores:
        if landscape.organizations[store].is_active and (servers := landscape.terminal_servers(store)):
            alike[servers].append(store)
    findings = [finding for rule in LANDSCAPE_RULES for finding in rule(examined)]
    for servers, codes in alike.items():
        for rule in STORE_RULES:
            for finding in rule(examined, servers):
                findings.extend(_placed(finding, sorted(codes), landscape))
    return tuple(
        sorted(
            findings,
            key=lambda finding: (
                int(finding.rule[1:]),
                finding.organization or "",
                finding.server or "",
                finding.service or "",
                finding.message,
            ),
        )
    )


def _placed(finding: Finding, stores: list[OrganizationCode], landscape: Landscape) -> Iterator[Finding]:
    """Yield the finding for each of the stores, or once for all of them where they are many."""
    if len(stores) <= STORES_TOLD_ONE_BY_ONE:
        for store in stores:
            yield replace(finding, organization=store)
        return
    levels = zip(*(landscape.path(store) for store in stores), strict=False)
    shared = [codes[0] for codes in levels if len(set(codes)) == 1]
    named = ", ".join(stores[:3])
    yield replace(
        finding,
        organization=shared[-1],
        message=f"{len(stores)} stores with the same servers ({named}, …): {finding.message}",
    )


# --- Rules about the servers of one store --------------------------------------------------------


def tickets_reach_a_main_server(examined: _Examined, servers: tuple[Server, ...]) -> Iterator[Finding]:
    """K1: at least one of the store's servers is a main server and provides OrderLoader."""
    mains = [server for server in servers if server.server_type == MAIN]
    if not mains:
        yield Finding(
            "K1",
            ERROR,
            "None of the store's servers is a main server, so its tickets never count as synchronized. "
            "Assign a main server to it.",
            service=ORDERS,
        )
    elif not examined.providers(mains, ORDERS):
        yield Finding(
            "K1",
            ERROR,
            f"No main server of the store provides {ORDERS}, so its tickets never count as synchronized. "
            f"Add the service to {_names(mains)}.",
            service=ORDERS,
        )


def cash_follows_tickets(examined: _Examined, servers: tuple[Server, ...]) -> Iterator[Finding]:
    """K2, K3: whoever stores cash-ups, or cash movements, also stores tickets."""
    tickets = examined.providers(servers, ORDERS)
    for rule, service in (("K2", CASH_CLOSE), ("K3", CASH_MANAGEMENT)):
        for key in examined.providers(servers, service) - tickets:
            yield Finding(
                rule,
                ERROR,
                f"Server {key} provides {service} but not {ORDERS}: it would store cash data without the "
                "tickets they belong to. Provide both on it, or neither.",
                server=key,
                service=service,
            )


def customers_follow_tickets(examined: _Examined, servers: tuple[Server, ...]) -> Iterator[Finding]:
    """K4: tickets, customers and their addresses are stored on the same servers.

    Terminals can create customers when a service for it is active.
    """
    tickets = examined.providers(servers, ORDERS)
    for service in (CUSTOMERS, CUSTOMER_ADDRESSES):
        if service not in examined.service_names:
            continue
        for key in examined.providers(servers, service) ^ tickets:
            has, lacks = (ORDERS, service) if key in tickets else (service, ORDERS)
            yield Finding(
                "K4",
                ERROR,
                f"Server {key} provides {has} but not {lacks}: a ticket could reach a server that does not "
                "know its new customer. Provide both on it, or neither.",
                server=key,
                service=service,
            )


def every_service_has_a_provider(examined: _Examined, servers: tuple[Server, ...]) -> Iterator[Finding]:
    """K5: every active service is provided by at least one server of the store."""
    if any(server.all_services for server in servers):
        return
    provided = frozenset[str]().union(*(examined.selected[server.key] for server in servers))
    for service in examined.service_names - provided:
        yield Finding(
            "K5",
            ERROR,
            f"No server of the store provides {service}, so requests for it fail. Add it to one of "
            f"{_names(servers)}, or deactivate the service.",
            service=service,
        )


def somebody_can_log_in(examined: _Examined, servers: tuple[Server, ...]) -> Iterator[Finding]:
    """K6: at least one server provides everything a login needs."""
    if any(all(examined.provides(server, service) for service in TO_LOG_IN) for server in servers):
        return
    yield Finding(
        "K6",
        ERROR,
        f"No server of the store provides all that a login needs ({', '.join(TO_LOG_IN)}). Add these "
        f"services to one of {_names(servers)}.",
        service=LOGIN,
    )


def tokens_can_be_refreshed(examined: _Examined, servers: tuple[Server, ...]) -> Iterator[Finding]:
    """K17: the server where users log in with their password also provides GetToken."""
    first = next((server for server in servers if examined.provides(server, LOGIN)), None)
    if first is not None and not examined.provides(first, TOKEN):
        yield Finding(
            "K17",
            WARNING,
            f"Users log in on server {first.key}, which does not provide {TOKEN}: their login token is not "
            "refreshed and ends at its max age. Add the service to the server.",
            server=first.key,
            service=TOKEN,
        )


def one_scheme(examined: _Examined, servers: tuple[Server, ...]) -> Iterator[Finding]:
    """K18: all servers of a store are called with https, or all with http."""
    plain = [server for server in servers if server.url.lower().startswith("http:")]
    if plain and len(plain) < len(servers):
        yield Finding(
            "K18",
            WARNING,
            f"Some servers of the store use https, but {_names(plain)} http: browsers block such calls from "
            "a secure page. Use https for all of them.",
        )


def distinct_priorities(examined: _Examined, servers: tuple[Server, ...]) -> Iterator[Finding]:
    """K19: no two servers of a store have the same priority."""
    by_priority: defaultdict[int, list[Server]] = defaultdict(list)
    for server in servers:
        by_priority[server.priority].append(server)
    for priority, tied in by_priority.items():
        if len(tied) > 1:
            yield Finding(
                "K19",
                WARNING,
                f"Servers {_names(tied)} share priority {priority}, so their names decide which is called first. "
                "Give each a priority of its own.",
            )


# --- Rules about the landscape as a whole --------------------------------------------------------


def a_ping_service_exists(examined: _Examined) -> Iterator[Finding]:
    """K7: at least one active service is of type ping, else no offline server is found again."""
    if examined.servers and not any(service.routing_type == PING for service in examined.landscape.active_services):
        yield Finding(
            "K7",
            ERROR,
            "No active service is of type ping, so terminals never notice that a server is back. Activate "
            f"one, such as {CORE}.login.ContextInformation of the standard module.",
        )


def one_central_server(examined: _Examined) -> Iterator[Finding]:
    """K8: every client with servers has exactly one active main server to choose as central."""
    by_client: defaultdict[OrganizationCode, list[Server]] = defaultdict(list)
    for server in examined.servers:
        by_client[server.client].append(server)
    for client, servers in by_client.items():
        mains = [server for server in servers if server.server_type == MAIN]
        if not mains:
            yield Finding(
                "K8",
                ERROR,
                "The client has servers but no active main server: no transaction is ever safe. Activate one "
                "or make a server a main server.",
                organization=client,
            )
        elif len(mains) > 1:
            is_tied = len({server.priority for server in mains}) < len(mains)
            advice = "give each a priority of its own" if is_tied else f"{mains[0].key} is taken; check that it is"
            yield Finding(
                "K8",
                ERROR if is_tied else WARNING,
                f"The client has {len(mains)} active main servers ({_names(mains)})"
                f"{', some with equal priority' if is_tied else ''}, but only one can be the central server: "
                f"{advice}.",
                organization=client,
            )


def names_and_keys_are_unique(examined: _Examined) -> Iterator[Finding]:
    """K9: a server's name is unique within its client, its key everywhere, whatever the case."""
    names = Counter((server.client, server.name) for server in examined.landscape.servers.values())
    keys = Counter(key.lower() for key in examined.landscape.servers)
    for server in examined.landscape.servers.values():
        if names[server.client, server.name] > 1:
            yield Finding(
                "K9",
                ERROR,
                f"Another server of the client is also called {server.name}. Rename one of them.",
                organization=server.client,
                server=server.key,
            )
        if keys[server.key.lower()] > 1:
            yield Finding(
                "K9",
                ERROR,
                f"Another server has the key {server.key}, in upper or lower case. Change one of them.",
                organization=server.client,
                server=server.key,
            )


def addresses_work(examined: _Examined) -> Iterator[Finding]:
    """K10: every address has scheme and host, should have a context path, and is of one server only."""
    uses = Counter(server.url for server in examined.servers)
    for server in examined.servers:
        about = {"organization": server.client, "server": server.key}
        try:
            parts = urlsplit(server.url)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            is_address = False
        if not is_address:
            yield Finding(
                "K10",
                ERROR,
                f"The URL {server.url!r} is not an http or https address with a host: terminals cannot call the "
                "server. Correct it.",
                **about,
            )
        elif not parts.path.strip("/"):
            yield Finding(
                "K10",
                WARNING,
                f"The URL {server.url} has no context path. Add it, such as {server.url}/openbravo, unless the "
                "server answers at the root.",
                **about,
            )
        if uses[server.url] > 1:
            yield Finding(
                "K10",
                WARNING,
                f"Another active server also has the URL {server.url}: a fail over between them calls the "
                "same machine again. Correct one of them.",
                **about,
            )


def servers_reach_somebody(examined: _Examined) -> Iterator[Finding]:
    """K11: a server without All Organizations has an active row naming an active organization."""
    for server in examined.servers:
        if not server.all_organizations and not any(
            _organization_counts(row, examined.landscape) for row in server.organizations
        ):
            yield Finding(
                "K11",
                WARNING,
                f"Server {server.key} reaches no terminal: 'All organizations' is unticked and 'Organizations "
                "by server' has no row that counts. Add an organization.",
                organization=server.client,
                server=server.key,
            )


def servers_provide_something(examined: _Examined) -> Iterator[Finding]:
    """K12: a server with only the defined services has an active row naming an active service."""
    for server in examined.servers:
        if (
            not server.all_services
            and server.defined_services == ONLY
            and not any(row.is_active and row.target in examined.service_names for row in server.services)
        ):
            yield Finding(
                "K12",
                WARNING,
                f"Server {server.key} provides nothing: it provides only the services defined, and 'Services "
                "by server' has no row that counts. Add a service.",
                organization=server.client,
                server=server.key,
            )


def rows_count_once(examined: _Examined) -> Iterator[Finding]:
    """K13: no row is a duplicate, counts for nothing, is covered by another or of another client.

    Rows that All Organizations or All Services make idle are left alone, but for another client's.
    """
    landscape = examined.landscape
    for server in examined.servers:
        about = {"organization": server.client, "server": server.key}
        tab = "'Organizations by server'"
        counting = {row.target for row in server.organizations if _organization_counts(row, landscape)}
        for target, number in Counter(row.target for row in server.organizations).items():
            lineage = landscape.lineage(target) if target in landscape.organizations else ()
            if not lineage or lineage[-1] != server.client:
                yield Finding(
                    "K13",
                    ERROR,
                    f"{tab} of {server.key} names {target}, which does not belong to the client "
                    f"{server.client}; the row counts for nothing. Remove it.",
                    **about,
                )
            elif server.all_organizations:
                continue
            elif target not in counting:
                yield Finding(
                    "K13",
                    WARNING,
                    f"The row {target} in {tab} of {server.key} counts for nothing, as the row or the "
                    "organization is inactive. Activate or remove it.",
                    **about,
                )
            elif above := next((code for code in lineage[1:] if code in counting), None):
                yield Finding(
                    "K13",
                    WARNING,
                    f"The row {target} in {tab} of {server.key} is not needed: the row {above} already "
                    "covers it. Remove it.",
                    **about,
                )
            if number > 1:
                yield Finding("K13", WARNING, f"{tab} of {server.key} names {target} {number} times.", **about)
        if server.all_services:
            continue
        tab = "'Services by server'"
        for target, number in Counter(row.target for row in server.services).items():
            if not any(
                row.is_active and row.target == target and target in examined.service_names for row in server.services
            ):
                yield Finding(
                    "K13",
                    WARNING,
                    f"The row {target} in {tab} of {server.key} counts for nothing, as the row or the "
                    "service is inactive. Activate or remove it.",
                    service=target,
                    **about,
                )
            if number > 1:
                yield Finding(
                    "K13",
                    WARNING,
                    f"{tab} of {server.key} names {target} {number} times.",
                    service=target,
                    **about,
                )


def contained_names_behave_alike(examined: _Examined) -> Iterator[Finding]:
    """K14: a service whose name is contained in another's has its type and transactional flag."""
    services = examined.landscape.active_services
    for short in services:
        for long in services:
            if (
                short.name != long.name
                and short.name in long.name
                and (short.routing_type, short.is_transactional) != (long.routing_type, long.is_transactional)
            ):
                yield Finding(
                    "K14",
                    WARNING,
                    f"Service {short.name} is contained in {long.name} but is routed differently: without the longer "
                    "one, its requests would be routed as the shorter one's. Keep both active.",
                    service=short.name,
                )


def assigned_services_are_not_hidden(examined: _Examined) -> Iterator[Finding]:
    """K15: requests that contain an assigned service's name are not all taken away by longer ones.

    A row covers what continues its name after `.` or `/`; another longer name that contains it wins
    its requests, and the server gets them only if that name is assigned as well.
    """
    longer = {
        short: tuple(name for name in examined.service_names if short in name and short != name)
        for short in examined.service_names
    }
    for server in examined.servers:
        if server.all_services or server.defined_services != ONLY:
            continue
        for row in server.services:
            if not row.is_active or row.target not in examined.service_names:
                continue
            hiding = sorted(name for name in longer[row.target] if name not in examined.selected[server.key])
            if hiding:
                yield Finding(
                    "K15",
                    WARNING,
                    f"Server {server.key} is assigned {row.target}, but requests for {', '.join(hiding)} go "
                    "elsewhere although they contain that name. Assign these too if the server shall get "
                    "them.",
                    organization=server.client,
                    server=server.key,
                    service=row.target,
                )


def preferences_hold(examined: _Examined) -> Iterator[Finding]:
    """K16: values spell what they should, within their bounds, and tokens are refreshed in time."""
    landscape = examined.landscape
    refresh, max_age = "token_refresh_interval_ms", "token_max_age_ms"
    places: set[OrganizationCode | None] = {None}
    for (key, place), text in landscape.preferences.items():
        definition = BY_KEY.get(key)
        if definition is None or (place is not None and not landscape.organizations[place].is_active):
            continue
        if key in (refresh, max_age):
            places.add(place)
        if definition.scope is Scope.SYSTEM and place is not None:
            problem = f"{definition.label} can only be set for the whole system; the value is ignored."
        else:
            try:
                definition.parse(text)
                continue
            except ValueError as error:
                problem = f"{error} The value {text!r} is ignored and the default holds."
        yield Finding("K16", ERROR, f"{problem} Correct or remove it.", organization=place)
    for place in places:
        interval = landscape.preference(refresh, place).value
        age = landscape.preference(max_age, place).value
        if interval >= age:
            yield Finding(
                "K16",
                ERROR,
                f"Login tokens are refreshed every {interval} ms but rejected after {age} ms: users are thrown "
                f"out. Set {BY_KEY[refresh].label} below {BY_KEY[max_age].label}.",
                organization=place,
            )


STORE_RULES: tuple[StoreRule, ...] = (
    tickets_reach_a_main_server,
    cash_follows_tickets,
    customers_follow_tickets,
    every_service_has_a_provider,
    somebody_can_log_in,
    tokens_can_be_refreshed,
    one_scheme,
    distinct_priorities,
)
LANDSCAPE_RULES: tuple[LandscapeRule, ...] = (
    a_ping_service_exists,
    one_central_server,
    names_and_keys_are_unique,
    addresses_work,
    servers_reach_somebody,
    servers_provide_something,
    rows_count_once,
    contained_names_behave_alike,
    assigned_services_are_not_hidden,
    preferences_hold,
)


def _organization_counts(row: Assignment, landscape: Landscape) -> bool:
    organization = landscape.organizations.get(row.target)
    return row.is_active and organization is not None and organization.is_active


def _names(servers: Iterable[Server]) -> str:
    """Return the keys of servers for a sentence, the first few of many."""
    keys = [server.key for server in servers]
    shown = 5
    return ", ".join(keys[:shown]) + (f" and {len(keys) - shown} more" if len(keys) > shown else "")
