"""Patches, roll-outs and versions on the wire."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers

from backoffice.api.serializers import NaturalKeyField, OrganizationField, RefField, StrictSerializer
from boosters.patch_models import Patch, RollOut, RollOutTarget
from boosters.rolling import MOST_WAVES
from boosters.version_overview import Comparison
from fleet.api.serializers import ServerField

MOST_NAMED = 10_000


class PatchSerializer(serializers.ModelSerializer[Patch]):
    uploaded_by = serializers.CharField(source="uploaded_by.username", read_only=True, default=None, allow_null=True)
    uploaded_from = serializers.CharField(
        source="uploaded_from.key", read_only=True, default=None, allow_null=True, help_text="Key of the server."
    )

    class Meta:
        model = Patch
        fields = (
            "id",
            "product",
            "name",
            "version",
            "fits_from",
            "fits_to",
            "size_bytes",
            "sha256",
            "apply",
            "revert",
            "notes",
            "key_id",
            "uploaded_at",
            "uploaded_by",
            "uploaded_from",
        )
        read_only_fields = fields


class TargetSerializer(serializers.ModelSerializer[RollOutTarget]):
    server = serializers.CharField(source="server_key")

    class Meta:
        model = RollOutTarget
        fields = (
            "server",
            "wave",
            "state",
            "since",
            "ordered_at",
            "heard_at",
            "detail",
            "waits_for",
            "received_bytes",
            "version_before",
        )
        read_only_fields = fields


class RollOutSerializer(serializers.ModelSerializer[RollOut]):
    patch = RefField("patches", "sha256")
    version = serializers.CharField(source="patch.version")
    created_by = serializers.CharField(source="created_by.username", default=None, allow_null=True)
    takes_back = serializers.IntegerField(source="takes_back_id", allow_null=True)
    targets = TargetSerializer(many=True)

    class Meta:
        model = RollOut
        fields = (
            "id",
            "patch",
            "version",
            "step",
            "state",
            "cause",
            "began_because",
            "waves",
            "only_in_maintenance",
            "bytes_per_s",
            "begins_at",
            "created_at",
            "created_by",
            "ended_at",
            "takes_back",
            "targets",
        )
        read_only_fields = fields


class PatchField(NaturalKeyField):
    """A patch by SHA-256 or id."""

    def __init__(self, **options: Any) -> None:
        super().__init__("sha256", **options)

    def get_queryset(self) -> QuerySet[Any]:
        return Patch.objects.all()


class WaveRequest(StrictSerializer):
    title = serializers.CharField(max_length=60)
    servers: serializers.ListSerializer[Any] = serializers.ListSerializer(
        child=ServerField(), required=False, max_length=MOST_NAMED, help_text="Keys or ids."
    )
    organizations: serializers.ListSerializer[Any] = serializers.ListSerializer(
        child=OrganizationField(),
        required=False,
        max_length=MOST_NAMED,
        help_text="Codes or ids, with what lies below.",
    )
    everybody = serializers.BooleanField(required=False, default=False, help_text="All that no wave before has.")


class NewRollOutSerializer(StrictSerializer):
    patch = PatchField(help_text="SHA-256 or id.")
    waves: serializers.ListSerializer[Any] = serializers.ListSerializer(
        child=WaveRequest(), required=False, max_length=MOST_WAVES, help_text="First to last; without any, all servers."
    )
    only_in_maintenance = serializers.BooleanField(required=False, default=False)
    bytes_per_s = serializers.IntegerField(
        required=False, allow_null=True, default=None, min_value=0, max_value=2**31 - 1, help_text="0: no limit."
    )
    begins_at = serializers.DateTimeField(required=False, allow_null=True, default=None)


class SkipSerializer(StrictSerializer):
    server = serializers.CharField(max_length=32, help_text="Key of the server to leave out.")


class ModuleComparison(serializers.Serializer[Any]):
    name = serializers.CharField()
    here = serializers.CharField()
    central = serializers.CharField()


class VersionComparison(serializers.Serializer[Any]):
    """A server's version and common modules beside central's."""

    server = serializers.CharField(source="key")
    name = serializers.CharField()
    type = serializers.CharField()
    status = serializers.CharField(help_text="State of the server.")
    version_status = serializers.ChoiceField([value.value for value in Comparison], source="comparison")
    version = serializers.CharField()
    central = serializers.CharField(allow_null=True, help_text="Key of the central server it is compared with.")
    central_version = serializers.CharField()
    differences = serializers.ListField(child=serializers.CharField(), help_text="For people.")
    modules = ModuleComparison(many=True, help_text="The modules that differ.")
    pending = serializers.IntegerField(allow_null=True)
    since = serializers.DateTimeField(allow_null=True, help_text="Since when it has reported this version.")
    is_propagated = serializers.BooleanField(help_text="Whether a roll-out brought the version.")
