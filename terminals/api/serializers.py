from typing import Any

from rest_framework import serializers

from backoffice.api.serializers import OrganizationField, RefField, StrictModelSerializer, StrictSerializer
from organizations.models import OrganizationKind
from terminals.activation import DEFAULT_VALIDITY, LONGEST_VALIDITY, SHORTEST_VALIDITY
from terminals.models import Terminal


class TerminalSerializer(StrictModelSerializer):
    organization = OrganizationField(OrganizationKind.STORE, help_text="Code or id of its store.")
    organization_ref = RefField("organizations", "code", source="organization")
    last_seen_at = serializers.DateTimeField(
        source="report.last_seen_at", read_only=True, default=None, allow_null=True
    )
    software = serializers.CharField(source="report.software", read_only=True, default="")
    revision = serializers.IntegerField(
        source="report.revision",
        read_only=True,
        default=None,
        allow_null=True,
        help_text="Configuration revision it holds.",
    )
    reported_at = serializers.DateTimeField(
        source="report.reported_at",
        read_only=True,
        default=None,
        allow_null=True,
        help_text="When it last sent a report of its own.",
    )
    queue_length = serializers.IntegerField(
        source="report.queue_length",
        read_only=True,
        default=None,
        allow_null=True,
        help_text="Transactions it had not delivered then.",
    )

    class Meta:
        model = Terminal
        fields = (
            "id",
            "search_key",
            "name",
            "organization",
            "organization_ref",
            "is_active",
            "activated_at",
            "last_seen_at",
            "software",
            "revision",
            "reported_at",
            "queue_length",
        )
        read_only_fields = ("activated_at",)


class ActivationCodeRequestSerializer(StrictSerializer):
    valid_for_s = serializers.IntegerField(
        default=int(DEFAULT_VALIDITY.total_seconds()),
        min_value=int(SHORTEST_VALIDITY.total_seconds()),
        max_value=int(LONGEST_VALIDITY.total_seconds()),
        help_text="How long the code can be used.",
    )


class ActivationCodeSerializer(serializers.Serializer[Any]):
    """A one-time code, shown this once."""

    code = serializers.CharField()
    expires_at = serializers.DateTimeField()
    qr = serializers.CharField(help_text="The code as a QR picture: a data URI with an SVG.")
