"""The window "Booster nodes": who acts, what is missing, and practising a takeover, joining a server."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache

from accounts.models import User
from backoffice.refusals import Refusal
from backoffice.visibility import visible
from boosters.join import REMINDER, enrol, is_first_additional
from boosters.pair import pair_standing
from boosters.practice import latest, practise
from servers.models import MobileServer
from servers.scope import may_change_server

MAY_LOOK = "boosters.view_boosternode"


@never_cache
def nodes_page(request: HttpRequest) -> HttpResponse:
    """Show the nodes; what is shown brings itself up to date."""
    return _render(request, "nodes", "Booster nodes", **_standing(request))


@never_cache
def nodes_now(request: HttpRequest) -> HttpResponse:
    """Answer with the part of the page that changes."""
    return TemplateResponse(request, "boosters/nodes_now.html", _standing(request))


@never_cache
def practise_page(request: HttpRequest) -> HttpResponse:
    """Practise a takeover, when a superuser confirms it."""
    if not request.user.is_superuser:
        raise PermissionDenied
    if request.method == "POST":
        try:
            practise(actor=request.user)
            messages.success(request, "The secondary is asked to take over; below is how it goes.")
        except Refusal as refusal:
            messages.error(request, refusal.detail)
        return HttpResponseRedirect(reverse("pair:nodes"))
    return _render(request, "practise", "Practise takeover")


@never_cache
def join_page(request: HttpRequest, server_id: int) -> HttpResponse:
    """Show what the agent of a server needs to join, or give it as a file, once that is confirmed."""
    server = get_object_or_404(visible(MobileServer, request.user), pk=server_id)
    if not (request.user.has_perm("servers.change_mobileserver") and may_change_server(request.user, server)):
        raise PermissionDenied
    told: dict[str, Any] = {"server": server, "reminder": REMINDER if is_first_additional(server) else ""}
    if request.method == "POST":
        try:
            joined = enrol(server, timezone.now(), actor=cast(User, request.user))
        except Refusal as refusal:
            told["refused"] = refusal.detail
        else:
            if "download" in request.POST:
                name = f'attachment; filename="agent-{server.key}.env"'
                return HttpResponse(joined.file, content_type="text/plain", headers={"Content-Disposition": name})
            told["joined"] = joined
    return _render(request, "join", f"Join: {server}", **told)


def _standing(request: HttpRequest) -> dict[str, Any]:
    if not request.user.has_perm(MAY_LOOK):
        raise PermissionDenied
    standing = pair_standing()
    return {"standing": standing, "practice": latest(standing.lease, standing.moment)}


def _render(request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
    request.current_app = admin.site.name
    everything = {**admin.site.each_context(request), "title": title, **context}
    return TemplateResponse(request, f"boosters/{template}.html", everything)


urlpatterns = [
    path("", admin.site.admin_view(nodes_page), name="nodes"),
    path("now/", admin.site.admin_view(nodes_now), name="nodes-now"),
    path("join/<int:server_id>/", admin.site.admin_view(join_page), name="join"),
    path("practise/", admin.site.admin_view(practise_page), name="practise"),
]
