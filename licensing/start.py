"""The first start of the first node, from which the trial counts."""

from typing import Any

from django.db import connections

from licensing.installation import note_moment
from licensing.models import Installation


def note_start(sender: Any, using: str, **kwargs: Any) -> None:
    """Record the installation, or that it was started again; connected to post_migrate."""
    tables = connections[using].introspection.table_names()
    if {Installation._meta.db_table, "django_migrations", "events_event"} <= set(tables):
        note_moment()
