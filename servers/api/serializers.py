from typing import Any

from rest_framework import serializers

from backoffice.api.serializers import (
    NaturalKeyField,
    OrganizationField,
    RefField,
    RowsSerializer,
    StrictModelSerializer,
    StrictSerializer,
)
from organizations.models import OrganizationKind
from servers.definition import Assignment, save_server
from servers.models import MobileServer, ServerStatus, StatusTransition
from services.models import MobileService


class OrganizationByServerSerializer(StrictSerializer):
    organization = OrganizationField(help_text="Code or id.")
    organization_ref = RefField("organizations", "code", source="organization")
    is_active = serializers.BooleanField(default=True)

    class Meta:
        list_serializer_class = RowsSerializer


class ServiceByServerSerializer(StrictSerializer):
    service = NaturalKeyField("name", queryset=MobileService.objects.all(), help_text="Name or id.")
    service_ref = RefField("services", "name", source="service")
    is_active = serializers.BooleanField(default=True)

    class Meta:
        list_serializer_class = RowsSerializer


class ServerSerializer(StrictModelSerializer):
    """A server with its two tabs, which are written whole: rows that are not given are removed."""

    client = OrganizationField(OrganizationKind.CLIENT, help_text="Code or id.")
    client_ref = RefField("organizations", "code", source="client")
    organizations = OrganizationByServerSerializer(source="organizations_by_server", many=True, required=False)
    services = ServiceByServerSerializer(source="services_by_server", many=True, required=False)
    status = serializers.ChoiceField(
        ServerStatus.choices, source="state.status", read_only=True, default=ServerStatus.OFFLINE
    )
    status_since = serializers.DateTimeField(source="state.since", read_only=True, default=None, allow_null=True)
    status_cause = serializers.CharField(source="state.cause", read_only=True, default="")
    is_flapping = serializers.BooleanField(source="state.is_flapping", read_only=True, default=False)
    has_agent = serializers.BooleanField(read_only=True, help_text="An agent reports for it; else it is called.")
    last_seen_at = serializers.DateTimeField(
        source="report.last_seen_at", read_only=True, default=None, allow_null=True
    )

    class Meta:
        model = MobileServer
        fields = (
            "id",
            "client",
            "client_ref",
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
            "status",
            "status_since",
            "status_cause",
            "is_flapping",
            "last_seen_at",
            "has_agent",
        )

    def write(self, instance: MobileServer, values: dict[str, Any]) -> MobileServer:
        organizations = values.pop("organizations_by_server", None)
        services = values.pop("services_by_server", None)
        self.assign(instance, values)
        return save_server(
            instance,
            organizations=None if organizations is None else _assignments(organizations, "organization"),
            services=None if services is None else _assignments(services, "service"),
        )


class AgentTokenSerializer(serializers.Serializer[Any]):
    """The token of a server's agent, shown this once."""

    token = serializers.CharField(help_text="Sent by the agent as `Authorization: Bearer …`.")
    server = serializers.CharField(help_text="Key of the server.")


def _assignments(rows: list[dict[str, Any]], target: str) -> list[Assignment]:
    return [Assignment(row[target], row["is_active"]) for row in rows]


class StatusTransitionSerializer(serializers.ModelSerializer[StatusTransition]):
    server = serializers.CharField(source="server_key", read_only=True, help_text="The key it had then.")
    server_ref = RefField("servers", "key", source="server", allow_null=True)

    class Meta:
        model = StatusTransition
        fields = ("id", "server", "server_ref", "from_status", "to_status", "at", "cause", "observer")
