"""The window "POS terminals", with activation codes and revocation."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache

from backoffice.look import (
    REFUSALS,
    CsvWindow,
    OrganizationFilter,
    action,
    actor_of,
    display,
    refusal_errors,
    select_input,
)
from terminals.activation import create_activation_code
from terminals.models import Terminal
from terminals.rows import TerminalRows
from terminals.tokens import revoke_terminal
from terminals.writing import terminal_write

HOUR_S = 3600


class ActivatedFilter(admin.SimpleListFilter):
    title = "activated"
    parameter_name = "activated"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Activated"), ("no", "Not yet activated")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Terminal]) -> QuerySet[Terminal]:
        return queryset.filter(activated_at__isnull=self.value() == "no") if self.value() else queryset


class ActivationForm(forms.Form):
    valid_for_s = forms.TypedChoiceField(
        label="Valid for",
        coerce=int,
        initial=24 * HOUR_S,
        choices=[
            (HOUR_S, "1 hour"),
            (24 * HOUR_S, "1 day"),
            (7 * 24 * HOUR_S, "1 week"),
            (30 * 24 * HOUR_S, "30 days"),
        ],
        widget=select_input,
    )


@admin.register(Terminal)
class TerminalWindow(CsvWindow):
    resource_classes: ClassVar[list[Any]] = [TerminalRows]
    list_display = (
        "search_key",
        "name",
        "organization",
        "is_active",
        "activated_at",
        "last_seen_at",
        "queue_length",
        "software",
    )
    list_filter = ("is_active", ActivatedFilter, ("organization", OrganizationFilter))
    list_select_related = ("organization", "report")
    search_fields = ("search_key", "name", "organization__path", "organization__code")
    search_help_text = "Search by key, name or store"
    autocomplete_fields = ("organization",)
    readonly_fields = (
        "activated_at",
        "last_seen_at",
        "software",
        "configuration_revision",
        "reported_at",
        "queue_length",
    )
    fieldsets = (
        (None, {"fields": (("search_key", "name"), "organization", "is_active")}),
        (
            "What it reports",
            {
                "fields": (
                    ("activated_at", "last_seen_at", "reported_at"),
                    ("software", "configuration_revision", "queue_length"),
                )
            },
        ),
    )
    actions_detail = ("fleet_status", "activation_code", "revoke")

    def lock(self) -> AbstractContextManager[None]:
        return terminal_write()

    def get_fieldsets(self, request: HttpRequest, obj: Terminal | None = None) -> Any:
        return self.fieldsets if obj else self.fieldsets[:1]

    @display(description="Last seen", ordering="report__last_seen_at")
    def last_seen_at(self, terminal: Terminal) -> Any:
        return _report(terminal, "last_seen_at")

    @display(description="Software", ordering="report__software")
    def software(self, terminal: Terminal) -> Any:
        return _report(terminal, "software")

    @display(description="Configuration revision")
    def configuration_revision(self, terminal: Terminal) -> Any:
        return _report(terminal, "revision")

    @display(description="Last report of its own")
    def reported_at(self, terminal: Terminal) -> Any:
        return _report(terminal, "reported_at")

    @display(description="Not delivered", ordering="report__queue_length")
    def queue_length(self, terminal: Terminal) -> Any:
        """Return how many transactions wait at the terminal, as it said last."""
        return _report(terminal, "queue_length")

    @action(description="Status of its store", icon="monitor_heart", permissions=["look_at_fleet"])
    def fleet_status(self, request: HttpRequest, object_id: str) -> HttpResponse:
        terminal = self.visible_object(request, object_id)
        return HttpResponseRedirect(reverse("fleet:store", args=[terminal.organization.code]))

    @action(description="Activation code", icon="qr_code_2", permissions=["change"])
    def activation_code(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Make a one-time code and show it, as text and as QR code, this once."""
        return never_cache(self._activation_code)(request, object_id)

    def _activation_code(self, request: HttpRequest, object_id: str) -> HttpResponse:
        terminal = self.visible_object(request, object_id, change=True)
        form = ActivationForm(request.POST or None)
        context: dict[str, Any] = {"form": form, "terminal": terminal, "original": terminal}
        if request.method == "POST" and form.is_valid():
            try:
                context["issued"] = create_activation_code(
                    terminal,
                    valid_for=timedelta(seconds=form.cleaned_data["valid_for_s"]),
                    moment=timezone.now(),
                    actor=actor_of(request),
                )
            except REFUSALS as refusal:
                for _, message in refusal_errors(refusal):
                    form.add_error(None, message)
        return self.render_page(request, "terminals/activation.html", f"Activation code: {terminal}", **context)

    @action(description="Revoke", icon="block", permissions=["change"])
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """End the terminal's tokens once that is confirmed."""
        terminal = self.visible_object(request, object_id, change=True)
        if request.method == "POST":
            revoke_terminal(terminal.pk, timezone.now(), actor=actor_of(request))
            messages.success(request, f"{terminal} is revoked: it needs a new activation code.")
            return HttpResponseRedirect(self.window_url("change", terminal.pk))
        return self.render_page(
            request, "terminals/revoke.html", f"Revoke {terminal}", terminal=terminal, original=terminal
        )


def _report(terminal: Terminal, name: str) -> Any:
    value = getattr(getattr(terminal, "report", None), name, None)
    return None if value == "" else value
