"""The checks on the present configuration, as far as somebody may see it."""

from __future__ import annotations

from dataclasses import replace

from django.contrib.auth.models import AnonymousUser

from accounts.models import User
from accounts.scope import is_limited, visible_organizations
from routing.checks import Finding, checks
from routing.store import store
from servers.scope import visible_servers
from terminals.models import Terminal

ABOUT_SERVICES = frozenset({"K7", "K14"})  # which everybody may see


def audit(user: User | AnonymousUser | None = None) -> tuple[Finding, ...]:
    """Return the findings about what `user` may see; of everything when nobody asks.

    For a limited user only the servers he may see are examined, and findings are kept that are about
    one of them, an organization of his, or services alone.
    """
    landscape = store.current().landscape
    stores = set(
        Terminal.objects.filter(is_active=True).order_by().values_list("organization__code", flat=True).distinct()
    )
    stores &= landscape.organizations.keys()
    if user is None or not is_limited(user):
        return checks(landscape, stores)
    organizations = set(visible_organizations(user).values_list("code", flat=True))
    servers = set(visible_servers(user).values_list("key", flat=True))
    seen = replace(landscape, servers={key: server for key, server in landscape.servers.items() if key in servers})
    return tuple(
        finding
        for finding in checks(seen, stores & organizations)
        if (finding.server in servers)
        or (finding.server is None and finding.organization in organizations)
        or (finding.server is None and finding.organization is None and finding.rule in ABOUT_SERVICES)
    )
