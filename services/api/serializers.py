from typing import Any

from rest_framework import serializers

from backoffice.api.serializers import (
    NaturalKeyField,
    RefField,
    StrictModelSerializer,
)
from services.models import MobileService, Module
from services.reference import save_module, save_service


class ModuleSerializer(StrictModelSerializer):
    class Meta:
        model = Module
        fields = ("id", "name", "version", "description", "in_development")

    def write(self, instance: Module, values: dict[str, Any]) -> Module:
        self.assign(instance, values)
        return save_module(instance)


class ServiceSerializer(StrictModelSerializer):
    module = NaturalKeyField("name", queryset=Module.objects.all())
    module_ref = RefField("modules", "name", source="module")

    class Meta:
        model = MobileService
        fields = (
            "id",
            "name",
            "module",
            "module_ref",
            "description",
            "routing_type",
            "is_transactional",
            "default_timeout_s",
            "timeout_s",
            "is_active",
        )

    def write(self, instance: MobileService, values: dict[str, Any]) -> MobileService:
        self.assign(instance, values)
        return save_service(instance)


class ManifestResultSerializer(serializers.Serializer[Any]):
    """What installing a manifest did; the lists name services, `updated` says what changed of each."""

    module = serializers.CharField()
    version = serializers.CharField()
    previous_version = serializers.CharField(allow_null=True, help_text="Null for a new module.")
    created = serializers.ListField(child=serializers.CharField())
    updated = serializers.DictField(child=serializers.CharField())
    deleted = serializers.ListField(child=serializers.CharField())
    withdrawn = serializers.ListField(
        child=serializers.CharField(), help_text="No longer in the module; deactivated, since servers name them."
    )
    lines = serializers.ListField(child=serializers.CharField(), help_text="All of it for people.")
