"""POS terminals as rows of a CSV file."""

from typing import Any, ClassVar

from backoffice.csv_rows import Flag, Named, Rows, column
from organizations.models import Organization
from terminals.models import Terminal


class TerminalRows(Rows):
    search_key = column("search_key")
    name = column("name")
    organization = column("organization", Named(Organization, "code"))
    is_active = column("is_active", Flag())

    class Meta(Rows.Meta):
        model = Terminal
        fields: ClassVar[list[str]] = ["search_key", "name", "organization", "is_active"]
        import_id_fields: ClassVar[list[str]] = ["search_key"]

    def filter_export(self, queryset: Any, **kwargs: Any) -> Any:
        return queryset.select_related("organization")

    def write(self, instance: Terminal, is_create: bool, row: Any) -> None:
        instance.full_clean()
        instance.save()
