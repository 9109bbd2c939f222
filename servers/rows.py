"""Mobile servers as rows of a CSV file, each with its two tabs.

The columns `organizations` and `services` list codes and names, separated by blanks; `!` before one
marks an inactive row.
"""

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from import_export.fields import Field

from backoffice.csv_rows import Flag, Named, Rows, Whole, column, named
from backoffice.visibility import visible
from organizations.models import Organization
from servers.definition import Assignment, save_server
from servers.models import MobileServer
from servers.scope import may_change_server
from services.models import MobileService

INACTIVE = "!"


class ServerRows(Rows):
    key = column("key")
    client = column("client", Named(Organization, "code"))
    name = column("name")
    description = column("description")
    server_type = column("server_type")
    url = column("url")
    priority = column("priority", Whole())
    all_organizations = column("all_organizations", Flag())
    all_services = column("all_services", Flag())
    defined_services = column("defined_services")
    organizations = Field(column_name="organizations")
    services = Field(column_name="services")
    is_active = column("is_active", Flag())
    ping_url = column("ping_url")
    probe_interval_s = column("probe_interval_s", Whole())
    probe_timeout_s = column("probe_timeout_s", Whole())
    expected_status = column("expected_status", Whole())

    class Meta(Rows.Meta):
        model = MobileServer
        fields: ClassVar[list[str]] = [
            "client",
            "key",
            "name",
            "description",
            "server_type",
            "url",
            "priority",
            "all_organizations",
            "all_services",
            "defined_services",
            "organizations",
            "services",
            "is_active",
            "ping_url",
            "probe_interval_s",
            "probe_timeout_s",
            "expected_status",
        ]
        import_id_fields: ClassVar[list[str]] = ["key"]

    def get_queryset(self) -> Any:
        rows = ("organizations_by_server__organization", "services_by_server__service")
        return super().get_queryset().select_related("client").prefetch_related(*rows)

    def filter_export(self, queryset: Any, **kwargs: Any) -> Any:
        rows = ("organizations_by_server__organization", "services_by_server__service")
        self.seen = set(visible(Organization, self.user).values_list("pk", flat=True))
        return queryset.select_related("client").prefetch_related(*rows)

    def dehydrate_organizations(self, server: MobileServer) -> str:
        if server.pk is None:
            return ""
        seen = getattr(self, "seen", None)
        return " ".join(
            ("" if row.is_active else INACTIVE) + row.organization.code
            for row in server.organizations_by_server.all()
            if seen is None or row.organization_id in seen
        )

    def dehydrate_services(self, server: MobileServer) -> str:
        if server.pk is None:
            return ""
        return " ".join(
            ("" if row.is_active else INACTIVE) + row.service.name for row in server.services_by_server.all()
        )

    def skip_row(self, instance: Any, original: Any, row: Any, import_validation_errors: Any = None) -> bool:
        tabs_stay = all(
            name not in row or str(row[name] or "").split() == dehydrate(original).split()
            for name, dehydrate in (
                ("organizations", self.dehydrate_organizations),
                ("services", self.dehydrate_services),
            )
        )
        return tabs_stay and super().skip_row(instance, original, row, import_validation_errors)

    def write(self, instance: MobileServer, is_create: bool, row: Any) -> None:
        if not is_create and not may_change_server(self.user, instance):
            raise ValidationError("Only whoever administers the server's whole client changes the server.")
        save_server(
            instance,
            organizations=self._assignments(row, "organizations", Organization, "code"),
            services=self._assignments(row, "services", MobileService, "name"),
        )
        instance._prefetched_objects_cache = {}  # type: ignore[attr-defined] # the preview shows what is stored now

    def _assignments(self, row: Any, name: str, model: Any, key: str) -> list[Assignment] | None:
        if name not in row:
            return None
        return [
            Assignment(
                named(model, key, text.removeprefix(INACTIVE), self.user),  # type: ignore[arg-type]
                is_active=not text.startswith(INACTIVE),
            )
            for text in str(row[name] or "").split()
        ]
