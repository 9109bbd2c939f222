"""The window "Event log", read-only."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from backoffice.look import Window
from events.models import Event


@admin.register(Event)
class EventWindow(Window):
    list_display = ("at", "kind", "object_type", "object_key", "actor_name", "cause")
    list_filter = ("kind", "object_type")
    search_fields = ("object_key", "actor_name", "kind", "request_id", "cause")
    search_help_text = "Search by object, actor, kind, cause or request id"
    date_hierarchy = "at"
    fields = ("at", "kind", "object_type", "object_key", "actor_name", "request_id", "cause", "data")
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
