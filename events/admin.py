"""The window "Event log", read-only."""

from django.contrib import admin

from backoffice.look import RecordWindow
from events.models import Event


@admin.register(Event)
class EventWindow(RecordWindow):
    list_display = ("at", "kind", "object_type", "object_key", "actor_name", "cause")
    list_filter = ("kind", "object_type")
    search_fields = ("object_key", "actor_name", "kind", "request_id", "cause")
    search_help_text = "Search by object, actor, kind, cause or request id"
    date_hierarchy = "at"
    fields = ("at", "kind", "object_type", "object_key", "actor_name", "request_id", "cause", "data")
    readonly_fields = fields
