"""The window "Preferences": the values that are set, and what each preference means."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from accounts.scope import is_limited
from backoffice.look import OrganizationFilter, Window, display
from preferences.models import PreferenceValue
from preferences.registry import BY_KEY, DEFINITIONS, Definition, Kind, Scope


@admin.register(PreferenceValue)
class PreferenceWindow(Window):
    list_display = ("key", "organization_or_system", "value", "unit", "default")
    list_filter = ("key", ("organization", OrganizationFilter))
    list_select_related = ("organization",)
    search_fields = ("key", "value", "organization__path", "organization__code")
    autocomplete_fields = ("organization",)
    fields = ("key", "organization", "value")
    change_form_after_template = "preferences/meanings.html"
    list_after_template = "preferences/meanings.html"

    @display(description="Set for", ordering="organization__path")
    def organization_or_system(self, preference: PreferenceValue) -> str:
        return str(preference.organization) if preference.organization else "The whole system"

    @display(description="Unit")
    def unit(self, preference: PreferenceValue) -> str:
        definition = BY_KEY.get(preference.key)
        return definition.unit_name if definition else ""

    @display(description="Default")
    def default(self, preference: PreferenceValue) -> str:
        definition = BY_KEY.get(preference.key)
        return definition.spell(definition.default) if definition else ""

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        if "organization" in form.base_fields and is_limited(request.user):
            form.base_fields["organization"].required = True
        return form

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        return super().changelist_view(request, {**(extra_context or {}), "meanings": meanings()})

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        # Positional after the request: object_id, form_url, extra_context.
        kwargs["extra_context"] = {**(kwargs.get("extra_context") or {}), "meanings": meanings()}
        return super().changeform_view(request, *args[:2], **kwargs)


def meanings() -> list[dict[str, str]]:
    """Return for every preference what it is called, means, defaults to and may be, in words."""
    return [
        {
            "label": definition.label,
            "key": definition.key,
            "help": definition.help,
            "default": definition.spell(definition.default),
            "values": _values(definition),
            "scope": "System only" if definition.scope is Scope.SYSTEM else "System or organization",
        }
        for definition in DEFINITIONS
    ]


def _values(definition: Definition) -> str:
    if definition.kind is Kind.FLAG:
        return "Y or N"
    return f"{definition.minimum} to {definition.maximum} {definition.unit_name}".rstrip()
