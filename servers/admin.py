"""The window "Mobile servers" with its tabs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.views.decorators.cache import never_cache

from backoffice.look import CsvWindow, OrganizationFilter, RecordWindow, Tab, action, actor_of, display, is_id
from backoffice.visibility import visible
from organizations.models import Organization
from organizations.tree import tree_write
from servers.agent_tokens import has_agent, issue_agent_token, revoke_agent_tokens
from servers.definition import Assignment, key_from_name, save_server
from servers.models import (
    LARGEST_CLOCK_OFFSET_S,
    MobileServer,
    OrganizationByServer,
    ServerReport,
    ServiceByServer,
    StatusTransition,
)
from servers.rows import ServerRows
from servers.scope import may_change_server


class OrganizationsTab(Tab):
    model = OrganizationByServer
    fields = ("organization", "is_active")
    autocomplete_fields = ("organization",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[OrganizationByServer]:
        seen = visible(Organization, request.user)
        return super().get_queryset(request).filter(organization__in=seen).select_related("organization")  # type: ignore[no-any-return]


class ServicesTab(Tab):
    model = ServiceByServer
    fields = ("service", "is_active")
    autocomplete_fields = ("service",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ServiceByServer]:
        return super().get_queryset(request).select_related("service")  # type: ignore[no-any-return]


class MobileServerForm(forms.ModelForm):  # type: ignore[type-arg] # Django subscripts it only for the checker
    def clean(self) -> dict[str, Any]:
        """Make an empty key from the name before the constraints see it."""
        data: dict[str, Any] = super().clean() or {}
        if not data.get("key") and "key" not in self.errors and data.get("name"):
            data["key"] = key_from_name(data["name"], MobileServer.objects.values_list("key", flat=True))
        return data


@admin.register(MobileServer)
class MobileServerWindow(CsvWindow):
    form = MobileServerForm
    resource_classes: ClassVar[list[Any]] = [ServerRows]
    list_display = (
        "name",
        "key",
        "client",
        "server_type",
        "priority",
        "serves",
        "provides",
        "is_active",
    )
    list_filter = ("server_type", "is_active", "all_organizations", "all_services", ("client", OrganizationFilter))
    list_select_related = ("client",)
    search_fields = ("name", "key", "url", "description")
    search_help_text = "Search by name, key, URL or description"
    autocomplete_fields = ("client",)
    inlines = (OrganizationsTab, ServicesTab)
    history_tabs = (OrganizationByServer, ServiceByServer)
    change_form_after_template = "servers/effect.html"
    fieldsets = (
        (None, {"fields": (("name", "key"), "description", "client", ("server_type", "priority"), "url", "is_active")}),
        ("Whom and what it serves", {"fields": ("all_organizations", "all_services", "defined_services")}),
        (
            "How it is watched without an agent",
            {"fields": ("ping_url", ("probe_interval_s", "probe_timeout_s", "expected_status"))},
        ),
        (
            "What its agent reports",
            {
                "fields": (
                    ("agent", "reported_at", "clock"),
                    ("software_version", "pending"),
                    ("host_name", "operating_system", "reported_from"),
                    "modules",
                )
            },
        ),
    )
    readonly_fields = (
        "agent",
        "reported_at",
        "clock",
        "software_version",
        "pending",
        "host_name",
        "operating_system",
        "reported_from",
        "modules",
    )
    actions_detail = ("fleet_status", "join", "agent_token", "revoke_agent")

    def get_fieldsets(self, request: HttpRequest, obj: MobileServer | None = None) -> Any:
        return self.fieldsets if obj else self.fieldsets[:-1]

    def get_queryset(self, request: HttpRequest) -> QuerySet[MobileServer]:
        return super().get_queryset(request).select_related("report").annotate(has_agent=has_agent())  # type: ignore[no-any-return]

    @display(description="Serves", ordering="all_organizations")
    def serves(self, server: MobileServer) -> str:
        return "All organizations" if server.all_organizations else "Those listed"

    @display(description="Provides", ordering="all_services")
    def provides(self, server: MobileServer) -> str:
        return "All services" if server.all_services else server.get_defined_services_display()

    @display(description="Agent", boolean=True)
    def agent(self, server: MobileServer) -> bool:
        return bool(getattr(server, "has_agent", False))

    @display(description="Last report")
    def reported_at(self, server: MobileServer) -> Any:
        return _reported(server, "reported_at")

    @display(description="Clock")
    def clock(self, server: MobileServer) -> Any:
        """Warn of a clock that is off; it changes nothing else, times are taken here."""
        offset_s = _reported(server, "clock_offset_s")
        if offset_s is None:
            return None
        if abs(offset_s) <= LARGEST_CLOCK_OFFSET_S:
            return "Right"
        direction = "ahead" if offset_s > 0 else "behind"
        return format_html('<strong class="windows-error">{} s {}: set it.</strong>', abs(offset_s), direction)

    @display(description="Software version")
    def software_version(self, server: MobileServer) -> Any:
        return _reported(server, "software_version")

    @display(description="Transactions pending")
    def pending(self, server: MobileServer) -> Any:
        return _reported(server, "pending")

    @display(description="Host")
    def host_name(self, server: MobileServer) -> Any:
        return _reported(server, "host_name")

    @display(description="Operating system")
    def operating_system(self, server: MobileServer) -> Any:
        return _reported(server, "os")

    @display(description="Reported from")
    def reported_from(self, server: MobileServer) -> Any:
        return _reported(server, "address")

    @display(description="Modules")
    def modules(self, server: MobileServer) -> Any:
        listed = _reported(server, "modules") or []
        return format_html_join(", ", "{} {}", ((module["name"], module["version"]) for module in listed)) or None

    @action(description="Status", icon="monitor_heart", permissions=["look_at_fleet"])
    def fleet_status(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(reverse("fleet:server", args=[object_id]))

    @action(description="Agent token", icon="key", permissions=["change"])
    def agent_token(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Make the agent a token and show it, this once."""
        return never_cache(self._agent_token)(request, object_id)

    def _agent_token(self, request: HttpRequest, object_id: str) -> HttpResponse:
        server = self.visible_object(request, object_id, change=True)
        context: dict[str, Any] = {"server": server, "original": server}
        if request.method == "POST":
            context["token"] = issue_agent_token(server.pk, timezone.now(), actor=actor_of(request)).text
        return self.render_page(request, "servers/agent_token.html", f"Agent token: {server}", **context)

    @action(description="Join", icon="add_link", permissions=["change"])
    def join(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(reverse("pair:join", args=[object_id]))

    @action(description="Revoke agent", icon="block", permissions=["change"])
    def revoke_agent(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """End the agent's tokens once that is confirmed."""
        server = self.visible_object(request, object_id, change=True)
        if request.method == "POST":
            revoke_agent_tokens(server.pk, timezone.now(), actor=actor_of(request))
            messages.success(request, f"The agent of {server} is revoked: it needs a new token.")
            return HttpResponseRedirect(self.window_url("change", server.pk))
        return self.render_page(
            request, "servers/revoke_agent.html", f"Revoke the agent of {server}", server=server, original=server
        )

    def lock(self) -> AbstractContextManager[None]:
        return tree_write()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, obj, super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, obj, super().has_delete_permission(request, obj))

    @staticmethod
    def _may(request: HttpRequest, server: MobileServer | str | None, allowed: bool) -> bool:
        if isinstance(server, str):  # the buttons are asked for with the id in the address
            server = MobileServer(pk=int(server)) if is_id(server) else None
        return allowed and (server is None or may_change_server(request.user, server))

    def save_model(self, request: HttpRequest, obj: MobileServer, form: Any, change: bool) -> None:
        """Nothing yet: `save_related` saves the server and its tabs as one change."""

    def save_related(self, request: HttpRequest, form: Any, formsets: list[Any], change: bool) -> None:
        rows: dict[type, list[Assignment]] = {OrganizationByServer: [], ServiceByServer: []}
        for formset in formsets:
            field = "organization" if formset.model is OrganizationByServer else "service"
            rows[formset.model] += [
                Assignment(data[field], data["is_active"])
                for data in (row.cleaned_data for row in formset.forms)
                if data.get(field) and not data.get("DELETE")
            ]
            formset.new_objects = formset.changed_objects = formset.deleted_objects = []
        server = form.instance
        if server.pk is not None:
            # Rows the user cannot see were not on the form: they stay.
            unseen = server.organizations_by_server.exclude(organization__in=visible(Organization, request.user))
            rows[OrganizationByServer] += [Assignment(row.organization, row.is_active) for row in unseen]
        save_server(server, organizations=rows[OrganizationByServer], services=rows[ServiceByServer])


def _reported(server: MobileServer, name: str) -> Any:
    report: ServerReport | None = getattr(server, "report", None)
    value = getattr(report, name, None)
    return None if value in ("", []) else value


@admin.register(StatusTransition)
class StatusTransitionWindow(RecordWindow):
    list_display = ("at", "server_key", "from_status", "to_status", "cause", "observer")
    list_filter = ("to_status", "from_status")
    search_fields = ("server_key", "cause", "observer")
    search_help_text = "Search by server key, cause or observer"
    date_hierarchy = "at"
    fields = ("at", "server_key", "server", "from_status", "to_status", "cause", "observer")
    readonly_fields = fields
