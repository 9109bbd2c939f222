"""The pages "Fleet", of one server and of one store, inside the windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime, timedelta
from functools import wraps
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_POST

from backoffice.look import actor_of
from backoffice.visibility import visible
from fleet.frames import fleet_frame, server_frame, store_frame, store_rows
from fleet.gather import MAY_LOOK, Fleet, Scope, gather, observed_of, scope_of, tills_of
from fleet.live import events
from fleet.maintenance import windows
from fleet.models import Incident, Maintenance
from fleet.picture import LEGEND, WORDS, Cell, Group, State
from fleet.reachability import summary, unreachable_by
from fleet.states import RETIRED, try_again
from organizations.models import Organization, OrganizationKind
from servers.history import PERIODS_DAYS, steps_of, uptimes_of
from servers.models import MobileServer, StatusTransition
from servers.scope import may_change_server
from servers.status import Status
from servers.uptime import Bucket, heartbeat_bar

TRANSITIONS_PER_PAGE = 25
SHOWN_INCIDENTS = 10
SHOWN_MAINTENANCE = 10
BAR_SPAN = timedelta(hours=24)
BAR_BUCKETS = 96

Page = Callable[..., HttpResponse]


def _page(page: Page) -> Page:
    """Show a page inside the windows, to those who may see mobile servers."""

    @wraps(page)
    def allowed(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.has_perm(MAY_LOOK):
            raise PermissionDenied
        return page(request, *args, **kwargs)

    return admin.site.admin_view(allowed)


def _render(request: HttpRequest, template: str, title: str, subject: dict[str, Any], **context: Any) -> HttpResponse:
    request.current_app = admin.site.name
    everything = {**admin.site.each_context(request), "title": title, "subject": urlencode(subject), **context}
    return TemplateResponse(request, f"fleet/{template}.html", everything)


def _scope(request: HttpRequest) -> Scope:
    scope = scope_of(request.user)
    if scope is None:
        raise PermissionDenied
    return scope


# --- The fleet -----------------------------------------------------------------------------------


@_page
def fleet_page(request: HttpRequest) -> HttpResponse:
    """Show every store's cell and every main server; `q` and `state` narrow the cells."""
    q = request.GET.get("q", "").strip()
    chosen = request.GET.get("state", "")
    scope = _scope(request)
    fleet = gather(timezone.now())
    frame = fleet_frame(fleet, scope)
    drawn = scope.of(fleet.picture)
    groups = [_group(group, frame.parts, q.casefold(), chosen) for group in drawn.groups]
    return _render(
        request,
        "fleet",
        "Fleet",
        {"page": "fleet"},
        seen=frame.digest,
        q=q,
        chosen=chosen if chosen in set(State) else "",
        banners=frame.parts["fleet-banners"],
        chips=[
            {"state": state, "look": look, "tally": frame.parts[f"count-{state}"]} for state, look in LEGEND.items()
        ],
        mains=[frame.parts[f"server-{row.key}"] for row in drawn.mains],
        groups=groups,
        is_nothing=bool(groups) and not any(group["is_shown"] for group in groups),
        is_standard=bool(drawn.cells) and not fleet.landscape.is_multi_server_enabled,
        is_unseen=bool(drawn.mains) and not any(known.has_proved for known in fleet.known.values()),
    )


def _group(group: Group, parts: Any, q: str, state: str) -> dict[str, Any]:
    cells = []
    for cell in group.cells:
        text = f"{cell.name} {cell.code} {group.title} {group.code}".casefold()
        is_shown = q in text and state in ("", cell.state)
        cells.append({"html": parts[f"store-{cell.code}"], "text": text, "is_shown": is_shown})
    return {
        "code": group.code,
        "title": group.title,
        "tally": parts[f"group-{group.code}"],
        "cells": cells,
        "is_shown": any(cell["is_shown"] for cell in cells),
    }


# --- One server ----------------------------------------------------------------------------------


@_page
def server_page(request: HttpRequest, server_id: int) -> HttpResponse:
    """Show one server: how it is, how it was, who saw what, and what it reports."""
    scope = _scope(request)
    moment = timezone.now()
    server = visible(MobileServer, request.user).select_related("client", "report").filter(pk=server_id).first()
    fleet = gather(moment)
    if server is None or server.key not in fleet.known:
        raise Http404
    observed = observed_of([server.pk], moment).get(server.pk, "")
    frame = server_frame(fleet, server.key, getattr(server, "report", None), observed)
    transitions = Paginator(StatusTransition.objects.filter(server=server), TRANSITIONS_PER_PAGE)
    return _render(
        request,
        "server",
        server.name,
        {"server": server.pk},
        seen=frame.digest,
        server=server,
        known=fleet.known[server.key],
        banners=frame.parts["fleet-banners"],
        standing=frame.parts["standing"],
        report=frame.parts["report"],
        bar=_bar(server, moment),
        uptimes=_uptimes(server, moment),
        transitions=transitions.get_page(request.GET.get("page")),
        incidents=Incident.objects.filter(server=server)[:SHOWN_INCIDENTS],
        moment=moment,
        maintenance=_maintenance([server.key], fleet)[:SHOWN_MAINTENANCE],
        observers=_observers(server, scope, moment),
        stores=_stores(server, scope, fleet),
        may_try=server.is_active and fleet.known[server.key].status is not Status.ONLINE and _may_try(request, server),
        may_maintain=request.user.has_perm("fleet.add_maintenance"),
    )


def _may_try(request: HttpRequest, server: MobileServer) -> bool:
    return request.user.has_perm("servers.change_mobileserver") and may_change_server(request.user, server)


@_page
@require_POST
def try_online(request: HttpRequest, server_id: int) -> HttpResponse:
    """Let a server that answers come back now, without the wait since its last attempt."""
    server = get_object_or_404(visible(MobileServer, request.user), pk=server_id)
    if not _may_try(request, server):
        raise PermissionDenied
    if try_again(server, timezone.now(), actor_of(request)):
        messages.success(request, f"{server} goes online as soon as it answers and is ready.")
    else:
        messages.info(request, f"{server} need not wait: it is online already, or goes online as soon as it answers.")
    return HttpResponseRedirect(reverse("fleet:server", args=[server.pk]))


def _bar(server: MobileServer, moment: datetime) -> list[dict[str, Any]]:
    """Return the last day in quarters of an hour, worst state each; nothing is known of what was not watched."""
    steps = steps_of([server.pk], moment - BAR_SPAN)[server.pk]
    last = None if server.is_active else StatusTransition.objects.filter(server=server).order_by("-at", "-pk").first()
    until = last.at if last is not None and last.cause == RETIRED else moment
    buckets = heartbeat_bar(steps, moment - BAR_SPAN, moment, BAR_BUCKETS)
    return [_segment(bucket if bucket.start < until else replace(bucket, worst=None)) for bucket in buckets]


def _uptimes(server: MobileServer, moment: datetime) -> list[tuple[str, float | None]]:
    """Return, for each period, how much of it the server was online, in percent; maintenance not counted."""
    excluded = windows(moment - timedelta(days=max(PERIODS_DAYS)), moment, [server.pk])
    shares = uptimes_of([server.pk], moment, excluded)[server.pk]
    # Rounded down: 100 % means without a gap.
    return [
        ("24 hours" if days == 1 else f"{days} days", None if share is None else math.floor(share * 10_000) / 100)
        for days, share in shares.items()
    ]


def _segment(bucket: Bucket) -> dict[str, Any]:
    states = {
        None: State.STANDARD,
        Status.ONLINE: State.OK,
        Status.OFFLINE: State.DOWN,
    }
    return {
        "start": bucket.start,
        "state": states.get(bucket.worst, State.TRANSITION),
        "word": "Nothing known" if bucket.worst is None else WORDS[bucket.worst],
    }


def _maintenance(keys: Collection[str], fleet: Fleet) -> Any:
    """Return what is planned or going on for servers of these keys, soonest first."""
    codes: set[str] = set()
    for key in keys:
        server = fleet.landscape.servers.get(key)
        if server is not None:
            codes.add(server.client)
            codes.update(
                code
                for row in server.organizations
                if row.is_active and not server.all_organizations and row.target in fleet.landscape.organizations
                for code in fleet.landscape.lineage(row.target)
            )
    about = Q(server__key__in=keys) | Q(organization__code__in=codes)
    planned = Maintenance.objects.filter(about, ends_at__gt=fleet.moment)
    return planned.select_related("server", "organization", "created_by").order_by("starts_at", "pk")


def _observers(server: MobileServer, scope: Scope, moment: datetime) -> dict[str, Any]:
    """Return what tills say, by store, and what servers say one by one, as far as they may be seen."""
    said = summary([server.pk], moment).get(server.pk, ()) if scope.with_terminals else ()
    places = Organization.objects.filter(pk__in=[view.organization_id for view in said]).order_by()
    codes = dict(places.values_list("pk", "code"))
    views = [(view, codes[view.organization_id]) for view in said if scope.has_store(codes[view.organization_id])]
    rows = unreachable_by([server.pk], moment).get(server.pk, ())
    return {
        "stores": [
            {
                "view": view,
                "code": code,
                "tills": [
                    row
                    for row in rows
                    if row.observing_terminal and row.observing_terminal.organization_id == view.organization_id
                ],
            }
            for view, code in sorted(views, key=lambda pair: -pair[0].unreachable)
        ],
        "servers": [row for row in rows if row.observing_server and scope.has_server(row.observing_server.key)],
    }


def _stores(server: MobileServer, scope: Scope, fleet: Fleet) -> list[Cell]:
    """Return the cells of the stores that the server serves, as far as they may be seen."""
    routed = fleet.landscape.servers.get(server.key)
    served = set(fleet.landscape.stores_served_by(routed)) if routed is not None else set()
    return [cell for cell in scope.of(fleet.picture).cells if cell.code in served]


# --- One store -----------------------------------------------------------------------------------


@_page
def store_page(request: HttpRequest, code: str) -> HttpResponse:
    """Show one store: its servers in calling order, its terminals, what is open and planned."""
    scope = _scope(request)
    moment = timezone.now()
    fleet = gather(moment)
    found = fleet.landscape.organizations.get(code)
    if found is None or found.kind != OrganizationKind.STORE or not scope.has_store(code):
        raise Http404
    tills = tills_of([code], scope, moment)[code]
    frame = store_frame(fleet, code, scope, tills)
    rows = store_rows(fleet, code, scope)
    return _render(
        request,
        "store",
        found.name,
        {"store": code},
        seen=frame.digest,
        store=found,
        path=[fleet.landscape.organizations[step] for step in fleet.landscape.path(code)],
        organization_id=Organization.objects.filter(code=code).values_list("pk", flat=True).first(),
        banners=frame.parts["fleet-banners"],
        now=frame.parts["store-now"],
        rows=[frame.parts[f"server-{row.key}"] for row in rows],
        tills=[frame.parts[f"till-{till.search_key}"] for till in tills],
        with_terminals=scope.with_terminals,
        incidents=Incident.objects.filter(
            Q(server__key__in=[row.key for row in rows]) | Q(terminal__in=[till.pk for till in tills]), closed_at=None
        ).select_related("server", "terminal"),
        moment=moment,
        maintenance=_maintenance([row.key for row in rows], fleet)[:SHOWN_MAINTENANCE],
        may_maintain=request.user.has_perm("fleet.add_maintenance"),
    )


urlpatterns = [
    path("", fleet_page, name="fleet"),
    path("events", events, name="events"),
    path("servers/<int:server_id>/", server_page, name="server"),
    path("servers/<int:server_id>/try-online/", try_online, name="try-online"),
    path("stores/<str:code>/", store_page, name="store"),
]
