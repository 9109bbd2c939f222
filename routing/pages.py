"""The pages "Explain a request" and "Checks" inside the windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path

from backoffice.visibility import visible
from organizations.models import Organization
from routing.audit import audit
from routing.checks import LEVELS, Finding
from routing.explain import Explanation, explain
from routing.store import store
from servers.models import MobileServer
from services.models import MobileService, RoutingType
from terminals.models import Terminal

SHOWN = 500
SUGGESTED = 200
MAY_EXPLAIN = ("terminals.view_terminal", "servers.view_mobileserver")
MAY_CHECK = ("servers.view_mobileserver",)

Page = Callable[[HttpRequest], HttpResponse]


def _page(needed: tuple[str, ...]) -> Callable[[Page], Page]:
    """Show a page inside the windows, to those who have the rights needed."""

    def wrap(page: Page) -> Page:
        def allowed(request: HttpRequest) -> HttpResponse:
            if not request.user.has_perms(needed):
                raise PermissionDenied
            return page(request)

        return admin.site.admin_view(allowed)

    return wrap


def _render(request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
    request.current_app = admin.site.name
    return TemplateResponse(request, template, {**admin.site.each_context(request), "title": title, **context})


@_page(MAY_EXPLAIN)
def explain_page(request: HttpRequest) -> HttpResponse:
    """Answer the form's question; its address can be kept and sent to a colleague."""
    asked_terminal = request.GET.get("terminal", "").strip().replace("\0", "")
    asked_request = request.GET.get("request", "")
    terminals = visible(Terminal, request.user)
    terminal = terminals.select_related("organization").filter(search_key=asked_terminal).first()
    explanation = _explanation(terminal, asked_request) if terminal is not None and asked_request else None
    shown = set(visible(MobileServer, request.user).values_list("key", flat=True))
    explained = [server for server in explanation.servers if server.server.key in shown] if explanation else []
    return _render(
        request,
        "routing/explain.html",
        "Explain a request",
        asked_terminal=asked_terminal,
        asked_request=asked_request,
        is_unknown=bool(asked_terminal) and terminal is None,
        terminal=terminal,
        explanation=explanation,
        routing_type=RoutingType(explanation.service.routing_type).label if explanation else "",
        told=[server for server in explained if server.is_selected],
        others=[server for server in explained if not server.is_selected],
        terminals=terminals.order_by("search_key").values_list("search_key", flat=True)[:SUGGESTED],
        services=visible(MobileService, request.user).filter(is_active=True).values_list("name", flat=True),
    )


def _explanation(terminal: Terminal, request: str) -> Explanation | None:
    landscape = store.current().landscape
    code = terminal.organization.code
    return explain(landscape, code, request) if code in landscape.organizations else None


@_page(MAY_CHECK)
def checks_page(request: HttpRequest) -> HttpResponse:
    """List the findings the user may see, errors before warnings."""
    level = request.GET.get("level", "")
    found = audit(request.user)
    chosen = sorted(
        (finding for finding in found if level not in LEVELS or finding.level == level),
        key=lambda finding: LEVELS.index(finding.level),
    )
    return _render(
        request,
        "routing/checks.html",
        "Checks",
        level=level,
        counts={name: sum(finding.level == name for finding in found) for name in LEVELS},
        findings=_linked(chosen[:SHOWN], request),
        more=max(len(chosen) - SHOWN, 0),
    )


def _linked(findings: list[Finding], request: HttpRequest) -> list[dict[str, Any]]:
    """Return findings with the ids of what they name, in two queries."""
    organizations = visible(Organization, request.user).filter(
        code__in={finding.organization for finding in findings if finding.organization}
    )
    servers = visible(MobileServer, request.user).filter(
        key__in={finding.server for finding in findings if finding.server}
    )
    organization_ids = dict(organizations.order_by().values_list("code", "pk"))
    server_ids = dict(servers.order_by().values_list("key", "pk"))
    return [
        {
            "finding": finding,
            "organization_id": organization_ids.get(finding.organization),
            "server_id": server_ids.get(finding.server),
        }
        for finding in findings
    ]


urlpatterns = [
    path("explain/", explain_page, name="explain"),
    path("checks/", checks_page, name="checks"),
]
