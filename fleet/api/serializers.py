from typing import Any, cast

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.models import User
from backoffice.api.serializers import NaturalKeyField, OrganizationField, RefField, StrictModelSerializer
from fleet.models import Incident, Maintenance
from fleet.planning import plan
from servers.history import PERIODS_DAYS
from servers.scope import visible_servers


class ServerField(NaturalKeyField):
    """A server by key or id; one the caller may not see does not exist for them."""

    def __init__(self, **options: Any) -> None:
        super().__init__("key", **options)

    def get_queryset(self) -> QuerySet[Any]:
        return visible_servers(self.context["request"].user)


class IncidentSerializer(serializers.ModelSerializer[Incident]):
    server = serializers.CharField(source="server.key", read_only=True, default=None, allow_null=True)
    server_ref = RefField("servers", "key", source="server", allow_null=True)
    terminal = serializers.CharField(source="terminal.search_key", read_only=True, default=None, allow_null=True)
    terminal_ref = RefField("terminals", "search_key", source="terminal", allow_null=True)
    follows = serializers.IntegerField(
        source="follows_id", read_only=True, allow_null=True, help_text="The incident it is told with, by its id."
    )

    class Meta:
        model = Incident
        fields = (
            "id",
            "kind",
            "server",
            "server_ref",
            "terminal",
            "terminal_ref",
            "opened_at",
            "cause",
            "closed_at",
            "closing_cause",
            "follows",
        )


class MaintenanceSerializer(StrictModelSerializer):
    """A time in which a server, or all servers assigned to an organization or below it, are worked on."""

    server = ServerField(allow_null=True, required=False, help_text="Key or id; or give an organization.")
    server_ref = RefField("servers", "key", source="server", allow_null=True)
    organization = OrganizationField(allow_null=True, required=False, help_text="Code or id; or give a server.")
    organization_ref = RefField("organizations", "code", source="organization", allow_null=True)
    created_by = serializers.CharField(
        source="created_by.username", read_only=True, default=None, allow_null=True, help_text="Who planned it."
    )
    phase = serializers.SerializerMethodField(help_text="Whether it is coming, running or past.")

    class Meta:
        model = Maintenance
        fields = (
            "id",
            "server",
            "server_ref",
            "organization",
            "organization_ref",
            "starts_at",
            "ends_at",
            "reason",
            "created_by",
            "phase",
        )

    @extend_schema_field(serializers.ChoiceField(choices=("coming", "running", "past")))
    def get_phase(self, maintenance: Maintenance) -> str:
        return maintenance.phase(timezone.now())

    def write(self, instance: Maintenance, values: dict[str, Any]) -> Maintenance:
        self.assign(instance, values)
        return plan(instance, cast(User, self.context["request"].user))


class PeriodSerializer(serializers.Serializer[Any]):
    days = serializers.ChoiceField(choices=PERIODS_DAYS)
    since = serializers.DateTimeField()
    uptime = serializers.FloatField(
        allow_null=True,
        min_value=0,
        max_value=1,
        help_text="Share of that time in which it was online, without maintenance and the time before it was "
        "online for the first time; null when nothing is left.",
    )


class UptimeSerializer(serializers.Serializer[Any]):
    server = serializers.CharField(help_text="Its key.")
    until = serializers.DateTimeField()
    periods = PeriodSerializer(many=True)
