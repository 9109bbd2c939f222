from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.request import Request

from backoffice.api.filters import ChoiceFilter, TreeFilter, visible_organization
from backoffice.api.parsing import query_error
from backoffice.api.views import Collection
from preferences.api.serializers import PreferenceSerializer
from preferences.effective import effective_values
from preferences.models import PreferenceValue
from preferences.registry import BY_KEY

EFFECTIVE_FOR = "effective_for"
KEY_FILTER = ChoiceFilter("key", sorted(BY_KEY), "Values of this preference.")


@extend_schema_view(
    list=extend_schema(
        parameters=[
            OpenApiParameter(
                EFFECTIVE_FOR,
                description="List every preference with the value that holds for the organization with this code "
                "(empty: for the whole system), and where that comes from.",
                allow_blank=True,
            )
        ]
    )
)
class PreferenceCollection(Collection):
    """The values that are set; deleting one returns to what is set above it, or to the default.

    Problems: 400 for an unknown key, a value out of bounds, and an organization for what is set for the
    whole system only.
    """

    queryset = PreferenceValue.objects.select_related("organization").order_by("key", "organization_id", "pk")
    serializer_class = PreferenceSerializer
    query = {"list": (EFFECTIVE_FOR,)}
    filters = (
        KEY_FILTER,
        TreeFilter("organization", "Set for the organization with this code, see scope."),
    )

    def list_objects(self, request: Request) -> QuerySet[Any] | Sequence[Any]:
        if EFFECTIVE_FOR not in request.query_params:
            return super().list_objects(request)
        for name in ("organization", "scope"):
            if name in request.query_params:
                raise query_error(name, "incompatible", f"{name} cannot be combined with {EFFECTIVE_FOR}.")
        for_system = request.query_params[EFFECTIVE_FOR] == ""
        values = effective_values(None if for_system else visible_organization(request, EFFECTIVE_FOR))
        key = KEY_FILTER.value(request) if KEY_FILTER.name in request.query_params else None
        return [value for value in values if key in (None, value.key)]
