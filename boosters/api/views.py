"""The sysadmin's doors for patches, roll-outs and the version overview."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, cast

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.status import HTTP_200_OK, HTTP_201_CREATED, HTTP_204_NO_CONTENT

from accounts.models import User
from backoffice.api.filters import ChoiceFilter, TextFilter
from backoffice.api.views import ApiView, Records
from backoffice.visibility import visible
from boosters import patches, rolling
from boosters.api.serializers import (
    NewRollOutSerializer,
    PatchSerializer,
    RollOutSerializer,
    SkipSerializer,
    VersionComparison,
)
from boosters.api.streaming import NAME_HEADER, PatchParser, pieces_of
from boosters.patch_models import Patch, RollOut, RollOutState, Step
from boosters.rolling import EVERYBODY, Wave
from boosters.sending import CONTENT_TYPE
from boosters.version_overview import overview
from servers.models import MobileServer


class PatchRecords(Records):
    """The patches that are kept, the latest first.

    POST takes a patch's file as its body (`application/octet-stream`): 201 with the patch, 200 where that very
    file is kept already. Problems: 400 for a file that is refused, `errors[0].code` says why; 409 when deleting
    one that roll-outs refer to; 413 for one that is too large; 507 without room. What is refused leaves nothing.
    """

    queryset = Patch.objects.select_related("uploaded_by", "uploaded_from")
    serializer_class = PatchSerializer
    filters = (
        TextFilter("version", "version", "Leading to exactly this version."),
        TextFilter("sha256", "sha256", "With this digest."),
    )
    is_streamed = True
    problems: ClassVar[dict[str, tuple[int, ...]]] = {"post": (413, 507), "delete": (409,)}

    def get_parsers(self) -> list[Any]:
        return [PatchParser()]

    def known_query(self, method: str) -> frozenset[str]:
        return frozenset() if method in ("POST", "DELETE") else super().known_query(method)

    @extend_schema(
        parameters=[OpenApiParameter(NAME_HEADER, str, OpenApiParameter.HEADER, description="For the event log.")],
        request={CONTENT_TYPE: OpenApiTypes.BINARY},
        responses={201: PatchSerializer, 200: PatchSerializer},
    )
    def create(self, request: Request, *args: object, **kwargs: object) -> Response:
        patch, is_new = patches.upload(
            pieces_of(request),
            timezone.now(),
            actor=cast(User, request.user),
            file_name=request.headers.get(NAME_HEADER, ""),
        )
        return self.answer(patch, HTTP_201_CREATED if is_new else HTTP_200_OK)

    def destroy(self, request: Request, *args: object, **kwargs: object) -> Response:
        patches.delete(self.find(self.get_queryset()), timezone.now(), actor=cast(User, request.user))
        return Response(status=HTTP_204_NO_CONTENT)


class RollOutRecords(Records):
    """Roll-outs with their servers, the latest first; POST begins or plans one.

    Problems: 400 for waves without any active server; 403 without a licence; 409 for a server that another
    roll-out still has, and for what the present state does not allow.
    """

    queryset = RollOut.objects.select_related("patch", "created_by").prefetch_related("targets")
    serializer_class = RollOutSerializer
    filters = (
        ChoiceFilter("state", RollOutState.values, "In this state."),
        ChoiceFilter("step", Step.values, "Applying or rolling back."),
        TextFilter("version", "patch__version", "Of patches that lead to exactly this version."),
    )
    action_rights = dict.fromkeys(("pause", "resume", "cancel", "skip", "roll_back"), "change")
    problems: ClassVar[dict[str, tuple[int, ...]]] = {"post": (409,)}

    def known_query(self, method: str) -> frozenset[str]:
        return frozenset() if method == "POST" else super().known_query(method)

    @extend_schema(request=NewRollOutSerializer, responses={201: RollOutSerializer})
    def create(self, request: Request, *args: object, **kwargs: object) -> Response:
        form = NewRollOutSerializer(data=request.data, context=self.get_serializer_context())
        form.is_valid(raise_exception=True)
        told = form.validated_data
        waves = [
            Wave(
                wave["title"],
                tuple(server.pk for server in wave.get("servers", ())),
                tuple(organization.pk for organization in wave.get("organizations", ())),
                wave["everybody"],
            )
            for wave in told.get("waves", ())
        ]
        row = rolling.create(
            told["patch"],
            timezone.now(),
            waves=waves or EVERYBODY,
            because="Begun through the API.",
            actor=cast(User, request.user),
            only_in_maintenance=told["only_in_maintenance"],
            bytes_per_s=told["bytes_per_s"],
            begins_at=told["begins_at"],
        )
        return self.answer(self.get_queryset().get(pk=row.pk), HTTP_201_CREATED)

    @extend_schema(request=None, responses={200: RollOutSerializer})
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: int) -> Response:
        """Let no further server begin."""
        return self._act(rolling.pause)

    @extend_schema(request=None, responses={200: RollOutSerializer})
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: int) -> Response:
        """Go on, and try the servers that failed once more."""
        return self._act(rolling.resume)

    @extend_schema(request=None, responses={200: RollOutSerializer})
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: int) -> Response:
        """End it; a server that is being changed goes to its end."""
        return self._act(rolling.cancel)

    @extend_schema(request=SkipSerializer, responses={200: RollOutSerializer})
    @action(detail=True, methods=["post"])
    def skip(self, request: Request, pk: int) -> Response:
        """Leave one server out."""
        form = SkipSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        found = self.find(self.get_queryset())
        rolling.skip(found.pk, form.validated_data["server"], timezone.now(), cast(User, request.user))
        return self.answer(self.find(self.get_queryset()))

    @extend_schema(request=None, responses={201: RollOutSerializer})
    @action(detail=True, methods=["post"], url_path="roll-back")
    def roll_back(self, request: Request, pk: int) -> Response:
        """Take the patch back from the servers that have it by this roll-out."""
        back = rolling.roll_back(self.find(self.get_queryset()).pk, timezone.now(), cast(User, request.user))
        return self.answer(self.get_queryset().get(pk=back.pk), HTTP_201_CREATED)

    def _act(self, rule: Callable[..., RollOut]) -> Response:
        rule(self.find(self.get_queryset()).pk, timezone.now(), cast(User, self.request.user))
        return self.answer(self.find(self.get_queryset()))


class VersionOverviewView(ApiView):
    """Each active server's version and modules beside central's."""

    rights = ("servers.view_mobileserver",)

    @extend_schema(operation_id="version_overview_list", responses=VersionComparison(many=True))
    def get(self, request: Request) -> Response:
        servers = visible(MobileServer, request.user).filter(is_active=True)
        related = servers.select_related("client", "state", "report", "reported_version")
        return Response(VersionComparison(overview(related.order_by("priority", "name", "key")), many=True).data)
