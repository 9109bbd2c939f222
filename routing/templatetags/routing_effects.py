"""What a definition comes to: shown in the windows of rooms that do not know routing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import template
from django.template import Context

from backoffice.visibility import visible
from organizations.models import Organization
from routing.landscape import Landscape
from routing.store import store
from servers.models import MobileServer

register = template.Library()


@register.inclusion_tag("routing/server_effect.html", takes_context=True)
def server_effect(context: Context, server: MobileServer) -> dict[str, Any]:
    """Show which stores a saved server serves and which services it provides."""
    landscape = store.current().landscape
    routed = landscape.servers[server.key]
    return {
        "server": server,
        "stores": _stores(context, landscape.stores_served_by(routed)),
        "services": landscape.services_of(routed) if server.is_active else (),
        "is_enabled": landscape.is_multi_server_enabled,
    }


@register.inclusion_tag("routing/rerouted_stores.html", takes_context=True)
def rerouted_stores(context: Context, organization: Organization, parent: Organization) -> dict[str, Any]:
    """Show the stores whose terminals would route differently with `organization` below `parent`."""
    landscape: Landscape = store.current().landscape
    moved = landscape.with_parent(organization.code, parent.code)
    return {"stores": _stores(context, landscape.changed_stores(moved))}


def _stores(context: Context, codes: Iterable[str]) -> list[dict[str, str]]:
    wanted = set(codes)
    seen: Any = visible(Organization, context["request"].user)
    stores = seen.stores().order_by("path").values("code", "path")
    return [found for found in stores if found["code"] in wanted]
