from typing import Any, cast

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from backoffice.api.serializers import OrganizationField, RefField, StrictModelSerializer
from backoffice.refusals import Forbidden
from preferences.models import PreferenceValue

SOURCES = ("default", "system", "organization")


class PreferenceSerializer(StrictModelSerializer):
    """A value and where it comes from; a default has no id."""

    id = serializers.IntegerField(read_only=True, allow_null=True)
    organization = OrganizationField(allow_null=True, required=False, help_text="Code or id; null for the system.")
    organization_ref = RefField("organizations", "code", source="organization", allow_null=True)
    source = serializers.SerializerMethodField(help_text="Where the value comes from.")  # type: ignore[assignment]

    class Meta:
        model = PreferenceValue
        fields = ("id", "key", "organization", "organization_ref", "value", "source")

    @extend_schema_field(serializers.ChoiceField(choices=SOURCES))
    def get_source(self, value: PreferenceValue) -> str:
        if value.pk is None:
            return "default"
        return "system" if value.organization_id is None else "organization"

    def write(self, instance: PreferenceValue, values: dict[str, Any]) -> PreferenceValue:
        self.assign(instance, values)
        if instance.organization_id is None and self.is_caller_limited:
            raise Forbidden("Only whoever administers the whole tree sets values for the whole system.")
        return cast(PreferenceValue, super().write(instance, {}))
