"""The licence over REST, for superusers."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from backoffice.api.parsing import query_flag
from backoffice.api.permissions import ModelRights
from backoffice.api.serializers import StrictSerializer
from backoffice.api.views import DRY_RUN_HEADER, ApiView
from backoffice.refusals import Forbidden
from licensing.files import License
from licensing.installation import Standing, standing, upload
from licensing.rules import State, headline
from licensing.usage import present_usage


class SuperusersOnly(ModelRights):
    def has_permission(self, request: Request, view: Any) -> bool:
        allowed = super().has_permission(request, view)
        if not request.user.is_superuser:
            raise Forbidden("Only superusers see and replace the licence.")
        return allowed


class LimitsShape(serializers.Serializer[Any]):
    """How many there may be for one more to be added; null: as many as you like."""

    servers = serializers.IntegerField(allow_null=True)
    main_servers = serializers.IntegerField(allow_null=True)
    store_servers = serializers.IntegerField(allow_null=True)
    terminals = serializers.IntegerField(allow_null=True)


class UsageShape(serializers.Serializer[Any]):
    servers = serializers.IntegerField()
    main_servers = serializers.IntegerField()
    store_servers = serializers.IntegerField()
    terminals = serializers.IntegerField()


class LicenseShape(serializers.Serializer[Any]):
    id = serializers.CharField()
    customer = serializers.CharField()
    type = serializers.CharField()
    servers = serializers.IntegerField(allow_null=True)
    terminals = serializers.IntegerField(allow_null=True)
    features = serializers.ListField(child=serializers.CharField())
    issued_at = serializers.DateTimeField()
    not_before = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    grace_days = serializers.IntegerField()
    installation = serializers.CharField(allow_null=True, help_text="The only installation it is for.")
    key_id = serializers.CharField(help_text="The vendor's key it is signed with.")
    other = serializers.DictField(help_text="What the vendor signed that this version does not know.")


class StandingShape(serializers.Serializer[Any]):
    state = serializers.ChoiceField([state.value for state in State])
    headline = serializers.CharField(help_text="The state with its date, for people.")
    reason = serializers.CharField(help_text="Why the stored licence is not valid; else empty.")
    since = serializers.DateTimeField(allow_null=True)
    until = serializers.DateTimeField(allow_null=True)
    days_left = serializers.IntegerField(allow_null=True)
    installation_id = serializers.UUIDField()
    clock_warning = serializers.CharField(help_text="Set when the clock was set back by more than an hour.")
    limits = LimitsShape()
    usage = UsageShape()
    license = LicenseShape(allow_null=True)
    next_license = LicenseShape(allow_null=True, help_text="Becomes active by itself when it begins.")
    changes = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="What the upload changes; only in its answer."
    )


class UploadSerializer(StrictSerializer):
    license = serializers.CharField(trim_whitespace=False, help_text="The text of the .lic file.")
    file_name = serializers.CharField(default="", allow_blank=True, max_length=200)
    confirm_older = serializers.BooleanField(default=False, help_text="Replace a licence that was issued later.")


class LicenseView(ApiView):
    """The licence, the trial, limits and usage.

    POST takes the text of a licence file; with `dry_run` it only says what would change. Problems: 400
    for a file that is refused, `errors[0].code` being `not_a_license`, `too_large`, `unknown_key`,
    `wrong_signature`, `other_installation` or `expired`; 409 for one older than what it would replace.
    Whatever is refused leaves the stored licence as it is.
    """

    permission_classes = (SuperusersOnly,)
    query = {"post": ("dry_run",)}
    problems: ClassVar[dict[str, tuple[int, ...]]] = {"post": (409,)}

    @extend_schema(operation_id="license_retrieve", responses=StandingShape)
    def get(self, request: Request) -> Response:
        return Response(shape_of(standing()))

    @extend_schema(
        operation_id="license_upload",
        parameters=[OpenApiParameter("dry_run", bool, description="Say what would change, and change nothing.")],
        request=UploadSerializer,
        responses=StandingShape,
    )
    def post(self, request: Request) -> Response:
        form = UploadSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        is_dry = query_flag(request, "dry_run")
        change = upload(
            form.validated_data["license"].encode(errors="replace"),
            file_name=form.validated_data["file_name"],
            actor=request.user,  # type: ignore[arg-type] # the permission has seen to that
            confirm_older=form.validated_data["confirm_older"],
            dry_run=is_dry,
        )
        answer = Response({**shape_of(standing()), "changes": list(change.lines)})
        if is_dry:
            answer[DRY_RUN_HEADER] = "true"
        return answer


def shape_of(where: Standing) -> dict[str, Any]:
    status = where.status
    told = {
        "state": status.state.value,
        "headline": headline(status),
        "reason": status.reason,
        "since": status.since,
        "until": status.until,
        "days_left": where.days_left,
        "installation_id": where.installation_id,
        "clock_warning": where.clock_warning,
        "limits": status.limits,
        "usage": present_usage(),
        "license": where.present if isinstance(where.present, License) else None,
        "next_license": where.upcoming if isinstance(where.upcoming, License) else None,
    }
    return dict(StandingShape(told).data)
