"""The doors of the calling agent for patches: its order, the file, its progress, and the patch it applied by hand."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http.response import HttpResponseBase
from django.urls import path
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.status import HTTP_200_OK, HTTP_201_CREATED, HTTP_204_NO_CONTENT

from backoffice.api.serializers import StrictSerializer
from backoffice.rate_limits import DEVICE_REPORTS_PER_MINUTE, Limit
from boosters import orders, patch_storage, sending
from boosters.api.agent_door import AgentDoor
from boosters.api.streaming import NAME_HEADER, PatchParser, pieces_of
from boosters.patches import upload
from boosters.rollout import STEPS, TIMEOUT, TargetState

ORDERS = Limit("orders", DEVICE_REPORTS_PER_MINUTE, 60, "This agent asks for its order too often.")
PROGRESS = Limit("order-progress", 2 * DEVICE_REPORTS_PER_MINUTE, 60, "This agent reports its progress too often.")
FILES = Limit("patch-files", DEVICE_REPORTS_PER_MINUTE, 60, "This agent fetches too often.")
UPLOADS = Limit("patch-uploads", 10, 3_600, "This agent uploads patches too often.")
SAYABLE = [state.value for state in (*STEPS[1:], TargetState.FAILED)]
LARGEST_NUMBER = 2**63 - 1


class OrderedPatch(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    version = serializers.CharField()
    fits_from = serializers.CharField()
    fits_to = serializers.CharField()
    size_bytes = serializers.IntegerField(help_text="Of the whole file.")
    sha256 = serializers.CharField(help_text="Of the whole file.")
    file = serializers.CharField(help_text="Where to fetch it; ranges are answered.")
    rate_bytes_per_s = serializers.IntegerField(allow_null=True, help_text="How fast; null: no limit.")


class OrderAnswer(serializers.Serializer[Any]):
    target = serializers.IntegerField(help_text="The number of the order.")
    step = serializers.ChoiceField(["apply", "roll_back"])
    patch = OrderedPatch()
    timeout_s = serializers.IntegerField(help_text="How long nothing may be heard before it counts as failed.")


class ProgressRequest(StrictSerializer):
    state = serializers.ChoiceField(SAYABLE)
    received_bytes = serializers.IntegerField(min_value=0, max_value=LARGEST_NUMBER, required=False)
    detail = serializers.CharField(max_length=500, required=False, allow_blank=True, default="")
    version = serializers.CharField(max_length=60, required=False, allow_blank=True, default="")


class ProgressAnswer(serializers.Serializer[Any]):
    go_on = serializers.BooleanField(help_text="False: stop, if nothing was applied yet.")


class UploadedPatch(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    version = serializers.CharField()
    sha256 = serializers.CharField()


class OrderView(AgentDoor):
    """Tell the calling agent what to do for a roll-out: the same until that order ends; 204 for nothing.

    429 for more than 60 questions in a minute.
    """

    def check_throttles(self, request: Request) -> None:
        ORDERS.count(self.token.server_id, timezone.now())

    @extend_schema(operation_id="agent_order_retrieve", responses={200: OrderAnswer, 204: None})
    def get(self, request: Request) -> Response:
        order = orders.order_of(self.token.server_id)
        if order is None:
            return Response(status=HTTP_204_NO_CONTENT)
        patch = order.patch
        told = {
            "target": order.target.pk,
            "step": order.step,
            "patch": {
                "id": patch.pk,
                "name": patch.name,
                "version": patch.version,
                "fits_from": patch.fits_from,
                "fits_to": patch.fits_to,
                "size_bytes": patch.size_bytes,
                "sha256": patch.sha256,
                "file": f"/api/v1/agent/patches/{patch.pk}/file",
                "rate_bytes_per_s": order.target.roll_out.bytes_per_s,
            },
            "timeout_s": int(TIMEOUT.total_seconds()),
        }
        return Response(OrderAnswer(told).data)


class ProgressView(AgentDoor):
    """Take in how the calling agent's order goes on.

    Idempotent, and never backwards. 404 for another server's order, 409 for one that a later order replaced.
    """

    problems: ClassVar[dict[str, tuple[int, ...]]] = {"post": (409,)}

    def check_throttles(self, request: Request) -> None:
        PROGRESS.count(self.token.server_id, timezone.now())

    @extend_schema(operation_id="agent_order_create", request=ProgressRequest, responses={200: ProgressAnswer})
    def post(self, request: Request, target: int) -> Response:
        form = ProgressRequest(data=request.data)
        form.is_valid(raise_exception=True)
        told = form.validated_data
        goes_on = orders.report_progress(
            self.token.server,
            target,
            told["state"],
            timezone.now(),
            received_bytes=told.get("received_bytes"),
            detail=told["detail"],
            version=told["version"],
        )
        return Response({"go_on": goes_on})


class PatchFileView(AgentDoor):
    """Send the file of the patch that the calling agent has an order for, at the rate of its roll-out.

    `Range` is answered with 206. 404 without such an order; 416 for a range beyond the file.
    """

    problems: ClassVar[dict[str, tuple[int, ...]]] = {"get": (416,)}

    def check_throttles(self, request: Request) -> None:
        FILES.count(self.token.server_id, timezone.now())

    @extend_schema(
        operation_id="agent_patches_file_retrieve",
        parameters=[OpenApiParameter("Range", str, OpenApiParameter.HEADER, description="Such as bytes=1000-")],
        responses={
            (200, sending.CONTENT_TYPE): OpenApiTypes.BINARY,
            (206, sending.CONTENT_TYPE): OpenApiResponse(OpenApiTypes.BINARY, "The part that was asked for."),
        },
    )
    def get(self, request: Request, pk: int) -> HttpResponseBase:
        order = orders.patch_for(self.token.server_id, pk)
        return sending.answer(
            request._request,
            patch_storage.local(order.patch),
            order.patch.sha256,
            caller=self.token.server_id,
            bytes_per_s=order.target.roll_out.bytes_per_s,
        )


class AgentPatchView(AgentDoor):
    """Take in the patch that was applied on the calling agent's server by hand; the body is the file.

    400 for a file that is refused, `errors[0].code` says why; 413 for one that is too large; 507 without room.
    """

    parser_classes = (PatchParser,)
    is_streamed = True
    problems: ClassVar[dict[str, tuple[int, ...]]] = {"post": (507,)}

    def check_throttles(self, request: Request) -> None:
        UPLOADS.count(self.token.server_id, timezone.now())

    @extend_schema(
        operation_id="agent_patches_create",
        request={sending.CONTENT_TYPE: OpenApiTypes.BINARY},
        responses={201: UploadedPatch, 200: UploadedPatch},
    )
    def post(self, request: Request) -> Response:
        patch, is_new = upload(
            pieces_of(request),
            timezone.now(),
            server=self.token.server,
            file_name=request.headers.get(NAME_HEADER, ""),
        )
        return Response(UploadedPatch(patch).data, status=HTTP_201_CREATED if is_new else HTTP_200_OK)


def _both(route: str, view: Any, name: str) -> list[Any]:
    return [path(route, view, name=name), path(f"{route}/", view)]


urlpatterns = [
    *_both("order", OrderView.as_view(), "agent-order"),
    *_both("order/<int:target>", ProgressView.as_view(), "agent-order-progress"),
    *_both("patches", AgentPatchView.as_view(), "agent-patches"),
    *_both("patches/<int:pk>/file", PatchFileView.as_view(), "agent-patch-file"),
]
