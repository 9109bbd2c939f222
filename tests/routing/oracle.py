"""What the rules say, written a second time: slow, plain, and sharing no function with the landscape.

Each function takes the four lists of the configuration and asks one question. Sources: the decisions on
selection and matching, rules N1 to N6 and N11. The landscape must agree on every generated case.
"""

from __future__ import annotations


def ancestors(organizations, code):
    """Return the organization and what lies above it, for as long as the parent links make sense."""
    by_code = {organization.code: organization for organization in organizations}
    found = []
    while code in by_code and code not in found:
        found.append(code)
        code = by_code[code].parent
    return found


def is_active(organizations, code):
    return any(organization.is_active for organization in organizations if organization.code == code)


def client(organizations, code):
    """Return the client above an organization; None where a damaged link leads to none."""
    for above in ancestors(organizations, code):
        for organization in organizations:
            if organization.code == above and organization.kind == "client":
                return above
    return None


def serves(organizations, server, code):
    """Tell whether a server, by its definition, is for the terminals of an organization."""
    if not server.is_active or server.client != client(organizations, code):
        return False
    if server.all_organizations:
        return True
    for row in server.organizations:
        if row.is_active and is_active(organizations, row.target) and row.target in ancestors(organizations, code):
            return True
    return False


def selected(organizations, servers, code):
    """Return the keys of the servers for an organization in calling order."""
    chosen = [server for server in servers if serves(organizations, server, code)]
    chosen.sort(key=lambda server: server.key)
    chosen.sort(key=lambda server: server.name)
    chosen.sort(key=lambda server: server.priority)
    return [server.key for server in chosen]


def is_covered(services, server, name):
    """Tell whether a row of the tab covers the service: of that very name, or one it lies below."""
    active = [service.name for service in services if service.is_active]
    for row in server.services:
        if row.is_active and row.target in active:
            below = name.startswith((row.target + ".", row.target + "/"))
            if name == row.target or below:
                return True
    return False


def provided(services, server, name):
    """Tell whether a server provides the service of that name."""
    if server.all_services:
        return True
    if name not in [service.name for service in services if service.is_active]:
        return False
    covered = is_covered(services, server, name)
    return covered if server.defined_services == "only" else not covered


def listed(services, server):
    """Return the exact names that a server with a selection is listed with."""
    return sorted(
        service.name for service in services if service.is_active and provided(services, server, service.name)
    )


def winner(services, request):
    """Return the name of the winning service, "Generic" when none is contained in the request."""
    contained = [service.name for service in services if service.is_active and service.name in request]
    if not contained:
        return "Generic"
    longest = max(len(name) for name in contained)
    return min(name for name in contained if len(name) == longest)


def is_enabled(preferences):
    """Tell whether multi-server is on: exactly Y, for the whole system."""
    return any((row.key, row.organization, row.value) == ("multi_server_enabled", None, "Y") for row in preferences)


def handed_out(organizations, servers, preferences, code):
    """Return the keys of the servers that a terminal of the organization is given."""
    return selected(organizations, servers, code) if is_enabled(preferences) else []


def effective(organizations, preferences, bounds, key, code):
    """Return value and source of a number preference; `bounds` is (default, minimum, maximum).

    The nearest value decides, the system's comes last; where it is no number within the bounds, the
    default holds. Values of inactive organizations count for nothing.
    """
    default, minimum, maximum = bounds
    places = ancestors(organizations, code) if code is not None else []
    for place in [*(place for place in places if is_active(organizations, place)), None]:
        for row in preferences:
            if (row.key, row.organization) == (key, place):
                if row.value.isascii() and row.value.isdigit() and minimum <= int(row.value) <= maximum:
                    return int(row.value), place or "system"
                return default, "default"
    return default, "default"


def document(organizations, services, servers, preferences, code, bounds, boosters=()):
    """Return the configuration document of an organization, as plain values.

    `bounds` maps the key of every preference the document carries to (default, minimum, maximum).
    """
    by_code = {organization.code: organization for organization in organizations}
    by_key = {server.key: server for server in servers}
    keys = handed_out(organizations, servers, preferences, code)
    return {
        "format": 1,
        "organization": {
            "code": code,
            "name": by_code[code].name,
            "path": list(reversed(ancestors(organizations, code))),
        },
        "multi_server": bool(keys),
        "preferences": {key: effective(organizations, preferences, bounds[key], key, code)[0] for key in bounds},
        "servers": [
            {
                "key": key,
                "name": by_key[key].name,
                "url": by_key[key].url,
                "type": by_key[key].server_type,
                "priority": by_key[key].priority,
                "all_services": by_key[key].all_services,
                "services": [] if by_key[key].all_services else listed(services, by_key[key]),
            }
            for key in keys
        ],
        "services": [
            {
                "name": service.name,
                "routing_type": service.routing_type,
                "transactional": service.is_transactional,
                "timeout_s": service.default_timeout_s if service.timeout_s is None else service.timeout_s,
            }
            for service in sorted(services, key=lambda service: service.name)
            if service.is_active
        ],
        "boosters": list(boosters),
    }
