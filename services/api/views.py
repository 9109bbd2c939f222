import json

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from backoffice.api.filters import ChoiceFilter, FlagFilter, TextFilter
from backoffice.api.views import Collection
from services.api.serializers import ManifestResultSerializer, ModuleSerializer, ServiceSerializer
from services.manifest import install_manifest
from services.models import MobileService, Module, RoutingType
from services.reference import delete_service


class ModuleCollection(Collection):
    """Software modules and their version.

    Problems: 409 for changing what a manifest ships outside development, and for deleting a module that
    has services.
    """

    queryset = Module.objects.order_by()
    serializer_class = ModuleSerializer
    texts_in_order = ("name",)
    filters = (
        TextFilter("name", "name", "Exactly this name."),
        FlagFilter("in_development", "In development or not."),
    )

    @extend_schema(request=OpenApiTypes.OBJECT, responses={200: ManifestResultSerializer})
    @action(detail=False, methods=["post"])
    def install(self, request: Request) -> Response:
        """Install a module from its manifest, or update it to a newer version.

        The body is the manifest. Every error in it is named; nothing is installed then. Problems: 409
        for an older version than the installed one, and for services that belong to another module.
        """
        with self.writing():
            result = install_manifest(json.dumps(request.data), actor=self.caller)
            return Response(ManifestResultSerializer(result).data)


class ServiceCollection(Collection):
    """Mobile services.

    Problems: 409 for changing more than `timeout_s` and `is_active`, adding or deleting outside a module
    in development, and for deleting a service that servers name.
    """

    queryset = MobileService.objects.select_related("module").order_by()
    serializer_class = ServiceSerializer
    texts_in_order = ("name",)
    filters = (
        TextFilter("name", "name", "Exactly this name."),
        TextFilter("module", "module__name", "Of the module with this name."),
        ChoiceFilter("routing_type", RoutingType.values, "Called this way."),
        FlagFilter("is_transactional", "Transactional or not."),
        FlagFilter("is_active", "Active or not."),
    )

    def delete_object(self, instance: MobileService) -> None:
        delete_service(instance)
