"""The windows "Incidents" and "Maintenance"."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone

from accounts.models import User
from backoffice.look import REFUSALS, OrganizationFilter, RecordWindow, Window, action, display, is_id, refusal_errors
from backoffice.visibility import visible
from fleet.models import Incident, Maintenance
from fleet.planning import cancel, end_now, may_change, plan


class OpenFilter(admin.SimpleListFilter):
    title = "open"
    parameter_name = "open"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Open"), ("no", "Closed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Incident]) -> QuerySet[Incident]:
        return queryset.filter(closed_at__isnull=self.value() == "yes") if self.value() else queryset


@admin.register(Incident)
class IncidentWindow(RecordWindow):
    list_display = ("opened_at", "kind", "subject", "cause", "closed_at", "closing_cause")
    list_filter = (OpenFilter, "kind")
    list_select_related = ("server", "terminal")
    search_fields = ("server__key", "server__name", "terminal__search_key", "cause")
    search_help_text = "Search by server, terminal or cause"
    date_hierarchy = "opened_at"
    fields = ("kind", "server", "terminal", ("opened_at", "closed_at"), "cause", "closing_cause", "told_at", "follows")
    readonly_fields = (
        "kind",
        "server",
        "terminal",
        "opened_at",
        "closed_at",
        "cause",
        "closing_cause",
        "told_at",
        "follows",
    )

    @display(description="About")
    def subject(self, incident: Incident) -> Any:
        return incident.server or incident.terminal


class PhaseFilter(admin.SimpleListFilter):
    title = "when"
    parameter_name = "when"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("running", "Running"), ("coming", "Coming"), ("past", "Past")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Maintenance]) -> QuerySet[Maintenance]:
        phase = self.value()
        if phase not in ("running", "coming", "past"):
            return queryset
        phased: QuerySet[Maintenance] = getattr(Maintenance.objects, phase)(timezone.now())
        return queryset.filter(pk__in=phased.order_by().values("pk"))


@admin.register(Maintenance)
class MaintenanceWindow(Window):
    list_display = ("subject", "starts_at", "ends_at", "phase", "reason", "created_by")
    list_filter = (PhaseFilter, ("organization", OrganizationFilter))
    list_select_related = ("server", "organization", "created_by")
    search_fields = ("server__key", "server__name", "organization__path", "organization__code", "reason")
    search_help_text = "Search by server, organization or reason"
    autocomplete_fields = ("server", "organization")
    readonly_fields = ("created_by",)
    fieldsets = ((None, {"fields": (("server", "organization"), "starts_at", "ends_at", "reason", "created_by")}),)
    actions_detail = ("end_now",)

    @display(description="Of")
    def subject(self, maintenance: Maintenance) -> Any:
        return maintenance.server or maintenance.organization

    @display(description="When")
    def phase(self, maintenance: Maintenance) -> str:
        return maintenance.phase(timezone.now()).title()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, obj, super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, obj, super().has_delete_permission(request, obj))

    @staticmethod
    def _may(request: HttpRequest, maintenance: Maintenance | str | None, allowed: bool) -> bool:
        if isinstance(maintenance, str):  # the buttons are asked for with the id in the address
            found = visible(Maintenance, request.user).select_related("server", "organization")
            maintenance = found.filter(pk=int(maintenance)).first() if is_id(maintenance) else None
        return allowed and (maintenance is None or may_change(cast(User, request.user), maintenance))

    def save_model(self, request: HttpRequest, obj: Maintenance, form: Any, change: bool) -> None:
        plan(obj, cast(User, request.user))

    def delete_model(self, request: HttpRequest, obj: Maintenance) -> None:
        cancel(obj, cast(User, request.user))

    @action(description="End now", icon="stop_circle", permissions=["change"])
    def end_now(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Let it end at once, when that is confirmed."""
        maintenance = self.visible_object(request, object_id, change=True)
        if request.method == "POST":
            try:
                end_now(maintenance.pk, cast(User, request.user), timezone.now())
                messages.success(request, "The maintenance has ended: what is missing is alarmed again.")
            except REFUSALS as refusal:
                for _, message in refusal_errors(refusal):
                    messages.error(request, message)
            return HttpResponseRedirect(self.window_url("change", maintenance.pk))
        return self.render_page(
            request, "fleet/end_maintenance.html", "End maintenance", maintenance=maintenance, original=maintenance
        )
