"""The doors of the calling agent."""

from __future__ import annotations

from typing import Any, ClassVar

from django.urls import path
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.status import HTTP_201_CREATED

from backoffice.addresses import client_address
from backoffice.api.parsing import ReportParser
from backoffice.api.serializers import StrictSerializer
from backoffice.rate_limits import DEVICE_REPORTS_PER_MINUTE, TOKEN_ROLLS, Limit
from backoffice.refusals import Unauthenticated
from boosters import orders
from boosters.api.agent_door import AgentDoor
from fleet.heartbeat import Action, Report, receive
from fleet.states import has_order
from servers.agent_tokens import issue_agent_token, note_first_use
from servers.models import KEY_LENGTH, ServerStatus

MOST_MODULES = 500
MOST_OBSERVED = 1_000
LARGEST_NUMBER = 2**31 - 1
ADDRESS_LENGTH = 45
HEARTBEATS = Limit("heartbeats", DEVICE_REPORTS_PER_MINUTE, 60, "This agent reports too often.")


class RolledAgentToken(serializers.Serializer[Any]):
    token = serializers.CharField(help_text="Shown this once; the old one ends when this one is first used.")


class ModuleReport(StrictSerializer):
    name = serializers.CharField(max_length=120)
    version = serializers.CharField(max_length=60, allow_blank=True)


class ReachReport(StrictSerializer):
    key = serializers.CharField(max_length=KEY_LENGTH, help_text="Key of another server.")
    reachable = serializers.BooleanField()


class HeartbeatRequest(StrictSerializer):
    key = serializers.CharField(
        max_length=KEY_LENGTH, required=False, help_text="Key the server is configured with; another's is refused."
    )
    software_version = serializers.CharField(max_length=60, allow_blank=True)
    modules: serializers.ListSerializer[Any] = serializers.ListSerializer(
        child=ModuleReport(), max_length=MOST_MODULES, help_text=f"At most {MOST_MODULES}."
    )
    ready = serializers.BooleanField(help_text="Whether the server is ready to work: all its hooks say so.")
    pending = serializers.IntegerField(
        min_value=0, max_value=LARGEST_NUMBER, help_text="Transactions that wait to be processed."
    )
    cause = serializers.CharField(
        max_length=255, required=False, allow_blank=True, default="", help_text="Why it is not ready."
    )
    host_name = serializers.CharField(max_length=255, allow_blank=True)
    os = serializers.CharField(max_length=120, allow_blank=True)
    observed: serializers.ListSerializer[Any] = serializers.ListSerializer(
        child=ReachReport(), max_length=MOST_OBSERVED, help_text=f"Servers it called, at most {MOST_OBSERVED}."
    )
    sent_at = serializers.DateTimeField(
        required=False, help_text="Time of the host's clock. A wrong one is shown, and changes nothing else."
    )


class HeartbeatAnswer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(ServerStatus.choices, help_text="State of the server after this report.")
    since = serializers.DateTimeField(allow_null=True)
    next_interval_s = serializers.IntegerField(help_text="When to report again, in seconds.")
    todo = serializers.ListField(
        child=serializers.DictField(child=serializers.ChoiceField([action.value for action in Action])),
        help_text='What to do: `[{"action": …}]`. An action that is not known is to be ignored.',
    )


class HeartbeatView(AgentDoor):
    """Report the state of the calling agent's server; answers with its state as the Booster sees it.

    Refused whole, and without a trace: 400 malformed; 401 unknown or ended token, inactive server, or
    the key of another server; 413 more than 256 KiB; 429 more than 60 reports in a minute.
    """

    parser_classes = (ReportParser,)
    problems: ClassVar[dict[str, tuple[int, ...]]] = {"post": (429,)}

    def check_throttles(self, request: Request) -> None:
        """Count the report against its server before it is read, so that a flood hurts its sender alone."""
        HEARTBEATS.count(self.token.server_id, timezone.now())

    @extend_schema(request=HeartbeatRequest, responses={200: HeartbeatAnswer})
    def post(self, request: Request) -> Response:
        form = HeartbeatRequest(data=request.data)
        form.is_valid(raise_exception=True)
        told = form.validated_data
        server, moment = self.token.server, timezone.now()
        if told.get("key", server.key).lower() != server.key.lower():
            raise Unauthenticated("The token belongs to a server with another key.")
        # A server whose software is being changed is not ready, whatever it says of itself (OMF-38).
        away = orders.note_report(server, told["software_version"], moment) if has_order(server) else ""
        report = Report(
            is_ready=told["ready"] and not away,
            pending=told["pending"],
            cause=away or told["cause"],
            software_version=told["software_version"],
            modules=[dict(module) for module in told["modules"]],
            host_name=told["host_name"],
            os=told["os"],
            observed={row["key"]: row["reachable"] for row in told["observed"]},
            sent_at=told.get("sent_at"),
        )
        note_first_use(self.token, moment)
        answer = receive(server, report, moment, client_address(request._request)[:ADDRESS_LENGTH])
        shown = {
            "status": answer.status,
            "since": answer.since,
            "next_interval_s": answer.next_interval_s,
            "todo": [{"action": action} for action in answer.todo],
        }
        return Response(HeartbeatAnswer(shown).data)


class AgentTokenView(AgentDoor):
    """Roll the calling agent's token: the old one stays valid until the new one is first used, at most 10 minutes.

    429 after 10 within an hour.
    """

    problems: ClassVar[dict[str, tuple[int, ...]]] = {"post": (429,)}

    def check_throttles(self, request: Request) -> None:
        TOKEN_ROLLS.count(f"server-{self.token.server_id}", timezone.now())

    @extend_schema(request=None, responses={201: RolledAgentToken})
    def post(self, request: Request) -> Response:
        moment = timezone.now()
        note_first_use(self.token, moment)
        server = self.token.server
        rolled = issue_agent_token(server.pk, moment, actor_name=server.key)
        return Response({"token": rolled.text}, status=HTTP_201_CREATED)


urlpatterns = [
    path("heartbeat", HeartbeatView.as_view(), name="agent-heartbeat"),
    path("heartbeat/", HeartbeatView.as_view()),
    path("token", AgentTokenView.as_view(), name="agent-token"),
    path("token/", AgentTokenView.as_view()),
]
