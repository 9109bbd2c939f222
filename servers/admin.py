"""The window "Mobile servers" with its tabs."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from backoffice.look import CsvWindow, OrganizationFilter, Tab, display
from backoffice.visibility import visible
from organizations.models import Organization
from servers.definition import Assignment, key_from_name, save_server
from servers.models import MobileServer, OrganizationByServer, ServiceByServer
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
    )

    @display(description="Serves", ordering="all_organizations")
    def serves(self, server: MobileServer) -> str:
        return "All organizations" if server.all_organizations else "Those listed"

    @display(description="Provides", ordering="all_services")
    def provides(self, server: MobileServer) -> str:
        return "All services" if server.all_services else server.get_defined_services_display()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, obj, super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, obj, super().has_delete_permission(request, obj))

    @staticmethod
    def _may(request: HttpRequest, server: MobileServer | None, allowed: bool) -> bool:
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
