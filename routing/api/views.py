"""What the routing does, for those who configure it: explaining a request, checking the landscape."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from backoffice.api.parsing import query_error
from backoffice.api.views import ApiView
from backoffice.visibility import visible
from routing.audit import audit
from routing.checks import LEVELS
from routing.explain import explain
from routing.store import store
from servers.models import MobileServer, ServerType
from services.models import RoutingType
from terminals.models import Terminal


class FindingShape(serializers.Serializer[Any]):
    rule = serializers.CharField(help_text="K1 to K19.")
    level = serializers.ChoiceField(LEVELS)
    organization = serializers.CharField(allow_null=True, help_text="Code; null when it is about none.")
    server = serializers.CharField(allow_null=True, help_text="Mobile server key.")
    service = serializers.CharField(allow_null=True, help_text="Name.")
    message = serializers.CharField(help_text="What is wrong and what to do.")


class ServerExplanationShape(serializers.Serializer[Any]):
    key = serializers.CharField(source="server.key")
    name = serializers.CharField(source="server.name")
    type = serializers.ChoiceField(ServerType.choices, source="server.server_type")
    url = serializers.CharField(source="server.url")
    priority = serializers.IntegerField(source="server.priority")
    provides = serializers.BooleanField(help_text="Is called for this request.")
    rule = serializers.CharField(help_text="The rule that decided: N1, N2, N3, N5 or N6.")
    reason = serializers.CharField()


class ExplanationShape(serializers.Serializer[Any]):
    terminal = serializers.CharField()
    organization = serializers.CharField(help_text="Code of its store.")
    request = serializers.CharField()
    service = serializers.CharField(help_text="The winning service; Generic where none matches.")
    matched = serializers.BooleanField()
    routing_type = serializers.ChoiceField(RoutingType.choices)
    transactional = serializers.BooleanField()
    timeout_s = serializers.IntegerField(allow_null=True)
    multi_server = serializers.BooleanField(help_text="Enabled, and the store has servers.")
    rule = serializers.CharField()
    reason = serializers.CharField(help_text="Why this service won.")
    servers = ServerExplanationShape(many=True, help_text="Those of the terminal, in calling order.")
    others = ServerExplanationShape(many=True, help_text="The client's other servers, which the terminal is not told.")


class ExplainView(ApiView):
    """Tell which servers a terminal calls for a request, and why.

    Query: `terminal` (search key), `request` (the path or text that the terminal calls with).
    """

    query = {"get": ("terminal", "request")}
    rights = ("terminals.view_terminal", "servers.view_mobileserver")
    problems: ClassVar[dict[str, tuple[int, ...]]] = {"get": (404,)}

    @extend_schema(
        operation_id="routing_explain",
        parameters=[
            OpenApiParameter("terminal", str, required=True, description="Search key of a terminal."),
            OpenApiParameter("request", str, required=True, description="What it calls, such as a path."),
        ],
        responses=ExplanationShape,
    )
    def get(self, request: Request) -> Response:
        for name in ("terminal", "request"):
            if not request.query_params.get(name):
                raise query_error(name, "required", f"{name} must be given.")
        terminals = visible(Terminal, request.user).select_related("organization")
        terminal = terminals.filter(search_key=request.query_params["terminal"]).first()
        landscape = store.current().landscape
        if terminal is None or terminal.organization.code not in landscape.organizations:
            raise Http404
        explanation = explain(landscape, terminal.organization.code, request.query_params["request"])
        seen = set(visible(MobileServer, request.user).values_list("key", flat=True))
        shown = [told for told in explanation.servers if told.server.key in seen]
        shape = ExplanationShape(
            {
                "terminal": terminal.search_key,
                "organization": explanation.organization,
                "request": explanation.request,
                "service": explanation.service.name,
                "matched": explanation.is_matched,
                "routing_type": explanation.service.routing_type,
                "transactional": explanation.service.is_transactional,
                "timeout_s": explanation.service.effective_timeout_s,
                "multi_server": explanation.is_multi_server,
                "rule": explanation.rule,
                "reason": explanation.reason,
                "servers": [told for told in shown if told.is_selected],
                "others": [told for told in shown if not told.is_selected],
            }
        )
        return Response(shape.data)


class ChecksView(ApiView):
    """List what the rules K1 to K19 find in the configuration, as far as the caller may see it."""

    rights = ("servers.view_mobileserver",)

    @extend_schema(operation_id="routing_checks", responses=FindingShape(many=True))
    def get(self, request: Request) -> Response:
        return Response(FindingShape(audit(request.user), many=True).data)
