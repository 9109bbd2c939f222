"""Why a terminal's request goes where it goes, in words and by rule numbers.

Pure, over a `Landscape`. The rules are those of reference/openbravo, section 12, as decided in design,
section 4.
"""

from __future__ import annotations

from dataclasses import dataclass

from routing.landscape import GENERIC, ONLY, Landscape, OrganizationCode, Server, Service, covers


@dataclass(frozen=True, slots=True)
class ServerExplanation:
    """One server of the client: is it among the terminal's servers, does it get the request, and why.

    `rule` is the one that decided: N1 (multi-server is off), N2 (inactive), N3 (organizations), N5
    (services) or N6 (no service matches).
    """

    server: Server
    is_selected: bool
    provides: bool
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The winning service of a request, and every server of the client in calling order."""

    organization: OrganizationCode
    request: str
    service: Service
    is_matched: bool
    is_multi_server: bool
    rule: str
    reason: str
    servers: tuple[ServerExplanation, ...]


def explain(landscape: Landscape, organization: OrganizationCode, request: str) -> Explanation:
    """Return how a terminal of `organization` routes `request`; KeyError for an unknown organization."""
    service = landscape.match(request)
    contained = [other.name for other in landscape.active_services if other.name in request]
    client = landscape.client_of(organization)
    servers = sorted(
        (server for server in landscape.servers.values() if server.client == client),
        key=lambda server: server.calling_order,
    )
    return Explanation(
        organization=organization,
        request=request,
        service=service,
        is_matched=bool(contained),
        is_multi_server=landscape.is_multi_server(organization),
        rule="N6",
        reason=_why_matched(service, contained),
        servers=tuple(_explain_server(landscape, organization, server, service.name) for server in servers),
    )


def _why_matched(service: Service, contained: list[str]) -> str:
    others = [name for name in contained if name != service.name]
    if not contained:
        return f"No active service's name is contained in the request, so it is routed as {GENERIC}."
    if not others:
        return f"Only {service.name} is contained in the request."
    if max(map(len, others)) < len(service.name):
        return f"{service.name} is the longest of the {len(contained)} names contained in the request."
    return f"Of the longest names contained in the request, {service.name} is the alphabetically first."


def _explain_server(
    landscape: Landscape, organization: OrganizationCode, server: Server, service: str
) -> ServerExplanation:
    """Explain one server; the sentences name the first rule that stands in the way, or all that let it."""
    if not server.is_active:
        return ServerExplanation(server, False, False, "N2", "The server is inactive.")
    serves, why_serves = _why_serves(landscape, organization, server)
    if not serves:
        return ServerExplanation(server, False, False, "N3", why_serves)
    if not landscape.is_multi_server_enabled:
        reason = f"{why_serves} But multi-server is switched off, so terminals are told no server."
        return ServerExplanation(server, False, False, "N1", reason)
    provides = landscape.provides(server, service)
    rule, why_provides = _why_provides(landscape, server, service)
    return ServerExplanation(server, True, provides, rule, f"{why_serves} {why_provides}")


def _why_serves(landscape: Landscape, organization: OrganizationCode, server: Server) -> tuple[bool, str]:
    if server.all_organizations:
        return True, f"It serves all organizations of {server.client}."
    lineage = landscape.lineage(organization)
    named = {row.target: row.is_active for row in server.organizations if row.target in lineage}
    for code in lineage:
        if named.get(code) and landscape.organizations[code].is_active:
            how = "the organization itself" if code == organization else f"{code}, which {organization} lies below"
            return True, f"It is assigned to {how}."
    if named:
        return False, (
            f"Its assignment to {', '.join(sorted(named))} does not count, as the row or the organization is inactive."
        )
    return False, f"It is assigned neither to {organization} nor to an organization above it."


def _why_provides(landscape: Landscape, server: Server, service: str) -> tuple[str, str]:
    if server.all_services:
        return "N5", "It provides all services."
    defined = landscape.services.get(service)
    if defined is None or not defined.is_active:
        return "N6", f"The service {service} is not defined, so only servers with all services take the request."
    covering = sorted(
        row.target
        for row in server.services
        if row.is_active
        and row.target in landscape.services
        and landscape.services[row.target].is_active
        and covers(row.target, service)
    )
    is_only = server.defined_services == ONLY
    if covering:
        row = "it is listed" if service in covering else f"it lies below {covering[0]}, which is listed"
        if is_only:
            return "N5", f"It provides only the services defined, and provides {service}, as {row}."
        return "N5", f"It provides all services excluding those defined, and not {service}, as {row}."
    if is_only:
        return "N5", f"It provides only the services defined, and no row that counts covers {service}."
    return "N5", f"It provides all services excluding those defined, and no row that counts covers {service}."
