"""The pages "Fleet", of one server and of one store, inside the windows."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import wraps
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone
from django.utils.http import urlencode

from backoffice.visibility import visible
from fleet.bar import SPAN, Bucket, heartbeat_bar
from fleet.frames import fleet_frame, server_frame, store_frame, store_rows
from fleet.gather import MAY_LOOK, Fleet, Scope, gather, scope_of, tills_of
from fleet.live import events
from fleet.models import Incident, Maintenance, Reachability
from fleet.picture import LEGEND, WORDS, Cell, Group, State
from organizations.models import Organization, OrganizationKind
from servers.models import MobileServer, StatusTransition
from servers.status import Status

TRANSITIONS_PER_PAGE = 25
SHOWN_INCIDENTS = 10
SHOWN_MAINTENANCE = 10

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
    frame = server_frame(fleet, server.key, getattr(server, "report", None))
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
        bar=_bar(server, fleet),
        transitions=transitions.get_page(request.GET.get("page")),
        incidents=Incident.objects.filter(server=server)[:SHOWN_INCIDENTS],
        moment=moment,
        maintenance=_maintenance([server.key], fleet)[:SHOWN_MAINTENANCE],
        observers=_observers(server, scope, fleet),
        stores=_stores(server, scope, fleet),
        may_change=request.user.has_perm("servers.change_mobileserver"),
        may_maintain=request.user.has_perm("fleet.add_maintenance"),
        may_see_incidents=request.user.has_perm("fleet.view_incident"),
    )


def _bar(server: MobileServer, fleet: Fleet) -> list[dict[str, Any]]:
    """Return the last day in quarters of an hour, worst state each."""
    history = StatusTransition.objects.filter(server=server)
    start = fleet.moment - SPAN
    before = history.filter(at__lt=start).order_by("-at", "-pk").values_list("to_status", flat=True).first()
    changes = history.filter(at__gte=start).order_by("at", "pk").values_list("at", "to_status")
    buckets = heartbeat_bar(
        [(at, Status(status)) for at, status in changes], Status(before) if before else None, fleet.moment
    )
    return [_segment(bucket) for bucket in buckets]


def _segment(bucket: Bucket) -> dict[str, Any]:
    states = {
        None: State.STANDARD,
        Status.ONLINE: State.OK,
        Status.OFFLINE: State.DOWN,
    }
    return {
        "start": bucket.start,
        "state": states.get(bucket.status, State.TRANSITION),
        "word": "Nothing known" if bucket.status is None else WORDS[bucket.status],
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


def _observers(server: MobileServer, scope: Scope, fleet: Fleet) -> list[dict[str, Any]]:
    """Return who said whether it reaches the server: by store for tills, one by one for servers."""
    rows = Reachability.objects.filter(server=server).select_related(
        "observing_terminal__organization", "observing_server"
    )
    tills: dict[str, dict[str, Any]] = {}
    servers = []
    for row in rows.order_by("observing_terminal__search_key", "observing_server__name"):
        if row.observing_server is not None:
            if scope.has_server(row.observing_server.key):
                servers.append({"row": row, "name": row.observing_server.name, "pk": row.observing_server_id})
            continue
        terminal = row.observing_terminal
        assert terminal is not None  # noqa: S101 - a constraint: a row has one observer
        store = terminal.organization
        if not (scope.with_terminals and terminal.is_active and scope.has_store(store.code)):
            continue
        group = tills.setdefault(store.code, {"store": store, "asked": 0, "lacking": [], "seen_at": row.seen_at})
        group["asked"] += 1
        group["seen_at"] = max(group["seen_at"], row.seen_at)
        if not row.is_reachable:
            group["lacking"].append(row)
    groups = sorted(tills.values(), key=lambda group: (-len(group["lacking"]), group["store"].name))
    return [*groups, *servers]


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
    tills = tills_of([code], scope)[code]
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
    path("stores/<str:code>/", store_page, name="store"),
]
