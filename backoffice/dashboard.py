"""The first page: how much there is, and what still needs a hand."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from accounts.scope import is_limited
from backoffice.visibility import visible
from boosters.pair import pair_standing
from fleet.gather import gather
from fleet.picture import LEGEND, State, word_of
from licensing.installation import standing
from licensing.rules import headline
from organizations.models import Organization
from routing.landscape import Landscape
from routing.store import store
from servers.models import MobileServer, ServerType
from services.models import MobileService
from terminals.models import Terminal

SHOWN = 10


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the dashboard's numbers to the context of the first page, as far as the user may see them."""
    snapshot = store.current()
    may = request.user.has_perm
    context["figures"] = figures(request)
    context["is_multi_server"] = snapshot.landscape.is_multi_server_enabled
    context["revision"] = snapshot.revision
    license_status = standing().status
    context["license"] = {"status": license_status, "headline": headline(license_status)}
    if may("boosters.view_boosternode"):
        context["booster_warnings"] = pair_standing().warnings
    if may("servers.view_mobileserver"):
        context["fleet"] = fleet(request)
    if may("organizations.view_organization"):
        without = stores_without_main_server(snapshot.landscape)
        seen: Any = visible(Organization, request.user)
        stores = seen.stores().active().order_by("path").values("pk", "code", "path")
        stores = [found for found in stores if found["code"] in without]
        context["without_main"] = {"count": len(stores), "shown": stores[:SHOWN]}
    if may("terminals.view_terminal"):
        waiting = visible(Terminal, request.user).filter(is_active=True, activated_at=None)
        context["not_activated"] = {
            "count": waiting.count(),
            "shown": waiting.select_related("organization").order_by("search_key")[:SHOWN],
        }
    return context


def fleet(request: HttpRequest) -> dict[str, Any]:
    """Return how many active servers the user sees in each state, and how many incidents are open."""
    seen = visible(MobileServer, request.user).filter(is_active=True)
    known = gather(timezone.now()).known
    shown = [known[key] for key in seen.order_by().values_list("key", flat=True) if key in known]
    counts = Counter(server.state for server in shown)
    return {
        "states": [
            (LEGEND[state].symbol, state, counts[state], word_of(state).lower()) for state in State if counts[state]
        ],
        "incidents": sum(server.incident_since is not None for server in shown),
        "flapping": sum(server.is_flapping for server in shown),
    }


def figures(request: HttpRequest) -> list[dict[str, Any]]:
    """Return label, number and address of each count the user may see."""
    user = request.user
    organizations: Any = visible(Organization, user)
    counted = (
        ("organizations.view_organization", "Clients", organizations.clients(), "?kind__exact=client"),
        ("organizations.view_organization", "Stores", organizations.stores(), "?kind__exact=store"),
        ("servers.view_mobileserver", "Mobile servers", visible(MobileServer, user), ""),
        ("services.view_mobileservice", "Mobile services", visible(MobileService, user), ""),
        ("terminals.view_terminal", "POS terminals", visible(Terminal, user), ""),
    )
    return [
        {
            "label": label,
            "number": objects.filter(is_active=True).count(),
            "link": reverse(f"admin:{objects.model._meta.app_label}_{objects.model._meta.model_name}_changelist")
            + query,
        }
        for right, label, objects, query in counted
        if user.has_perm(right) and not (label == "Clients" and is_limited(user))
    ]


def stores_without_main_server(landscape: Landscape) -> set[str]:
    """Return the codes of the stores whose terminals no active main server serves."""
    return {
        code
        for code, organization in landscape.organizations.items()
        if organization.kind == "store"
        and not any(server.server_type == ServerType.MAIN for server in landscape.servers_for(code))
    }
