"""The documents of the calling terminal, for requests that the edge passes on to Django, and its reports.

The answers are those of `routing/answers.py`, byte for byte; what Django adds is the check of
credentials that are not in memory yet, and the words for those that are wrong.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpResponse
from django.urls import path
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from backoffice.api.parsing import ReportParser
from backoffice.api.serializers import StrictSerializer
from backoffice.rate_limits import DEVICE_REPORTS_PER_MINUTE, Limit
from backoffice.refusals import Unavailable
from routing import events_stream
from routing.answers import LONGEST_WAIT_S, WAITING_DOORS, Asked, answer, wait_asked
from routing.document import Door
from routing.events_stream import Held
from routing.store import store
from servers.models import KEY_LENGTH, ServerStatus, ServerType
from services.models import RoutingType
from terminals.authentication import IsTerminal, TerminalAuthentication, TerminalDoor
from terminals.reports import Told
from terminals.tokens import TokenState

MOST_OBSERVED = 1_000
HEARTBEATS = Limit("terminal-heartbeats", DEVICE_REPORTS_PER_MINUTE, 60, "This terminal reports too often.")

CONDITIONAL = [
    OpenApiParameter("If-None-Match", str, OpenApiParameter.HEADER, description="Entity tags the terminal holds."),
    *(
        OpenApiParameter(name, str, OpenApiParameter.HEADER, response=[200, 304], description=meaning)
        for name, meaning in (
            ("ETag", "Tag of the document; the gzip form has the suffix `-gzip`."),
            ("X-Booster-Revision", "Revision of the configuration this answer was made from."),
            ("X-Booster-Stale", "Seconds since the revision could last be checked; absent while it can."),
        )
    ),
]


class OrganizationShape(serializers.Serializer[Any]):
    code = serializers.CharField()
    name = serializers.CharField()
    path = serializers.ListField(child=serializers.CharField(), help_text="Codes from the client down.")


class PreferencesShape(serializers.Serializer[Any]):
    ping_interval_ms = serializers.IntegerField()
    token_refresh_interval_ms = serializers.IntegerField()
    token_max_age_ms = serializers.IntegerField()
    request_retries = serializers.IntegerField()
    request_timeout_s = serializers.IntegerField()
    poll_interval_s = serializers.IntegerField()


class ServerShape(serializers.Serializer[Any]):
    key = serializers.CharField()
    name = serializers.CharField()
    url = serializers.CharField()
    type = serializers.ChoiceField(ServerType.choices)
    priority = serializers.IntegerField()
    all_services = serializers.BooleanField()
    services = serializers.ListField(child=serializers.CharField())


class ServiceShape(serializers.Serializer[Any]):
    name = serializers.CharField()
    routing_type = serializers.ChoiceField(RoutingType.choices)
    transactional = serializers.BooleanField()
    timeout_s = serializers.IntegerField(allow_null=True)


class ConfigurationShape(serializers.Serializer[Any]):
    format = serializers.IntegerField()
    organization = OrganizationShape()
    multi_server = serializers.BooleanField()
    preferences = PreferencesShape()
    servers = ServerShape(many=True, help_text="In calling order.")
    services = ServiceShape(many=True, help_text="By name.")
    boosters = serializers.ListField(child=serializers.CharField())


class StatusOfServerShape(serializers.Serializer[Any]):
    key = serializers.CharField()
    status = serializers.ChoiceField(ServerStatus.choices)
    since = serializers.DateTimeField(allow_null=True)


class StatusShape(serializers.Serializer[Any]):
    format = serializers.IntegerField()
    servers = StatusOfServerShape(many=True, help_text="In calling order.")


class WebposServerShape(serializers.Serializer[Any]):
    name = serializers.CharField()
    address = serializers.CharField()
    online = serializers.BooleanField()
    priority = serializers.IntegerField()
    allServices = serializers.BooleanField()
    mainServer = serializers.BooleanField()
    currentServer = serializers.BooleanField()
    services = serializers.ListField(child=serializers.CharField())


class WebposServiceShape(serializers.Serializer[Any]):
    name = serializers.CharField()
    type = serializers.ChoiceField(["Failover", "Broadcast", "Ping", "Transaction"])
    defaultTimeout = serializers.IntegerField(required=False)
    timeout = serializers.IntegerField(required=False)


class WebposShape(serializers.Serializer[Any]):
    servers = WebposServerShape(many=True)
    services = WebposServiceShape(many=True)
    permissions = serializers.DictField(help_text="Preferences under the names the Web POS knows them by.")


class DocumentView(APIView):
    """One of the three documents; the terminal's token decides whose."""

    authentication_classes = (TerminalAuthentication,)
    permission_classes = (IsTerminal,)
    problems: ClassVar[dict[str, tuple[int, ...]]] = {"get": (410, 429)}
    door: ClassVar[Door]

    def _answer(self, request: Request) -> HttpResponse:
        token: TokenState = request.auth  # type: ignore[assignment]  # what TerminalAuthentication leaves there
        if self.door in WAITING_DOORS:
            wait_asked(request.META.get("QUERY_STRING", ""))  # refused alike; who is not in memory yet does not wait
        snapshot = store.current()
        moment = timezone.now()
        asked = Asked(
            request.path,
            request.headers.get("Origin", ""),
            request.headers.get("Accept-Encoding", ""),
            request.headers.get("If-None-Match", ""),
            is_head=request.method == "HEAD",
        )
        given = answer(snapshot, snapshot.tokens.get(token.token_id, token), self.door, asked, moment=moment)
        if given.status in (200, 304):
            held = snapshot.revision if self.door is Door.CONFIGURATION else None
            store.note_poll(token, moment, held)
        response = HttpResponse(given.body, status=given.status)
        del response["Content-Type"]
        for name, value in given.headers:
            response[name.decode()] = value.decode()
        return response


WAIT = OpenApiParameter(
    "wait",
    int,
    OpenApiParameter.QUERY,
    description=f"Hold a 304 for so many seconds, 1 to {LONGEST_WAIT_S}, or until the document changes.",
)


class ConfigurationView(DocumentView):
    """Which servers to call for which service.

    Answers 200 with the configuration, or 304 without a body when `If-None-Match` names it. A
    preference that is off leaves `servers` empty: the store then works in the standard way.
    """

    door = Door.CONFIGURATION

    @extend_schema(parameters=[*CONDITIONAL, WAIT], responses={200: ConfigurationShape, 304: OpenApiTypes.NONE})
    def get(self, request: Request) -> HttpResponse:
        return self._answer(request)


class StatusView(DocumentView):
    """In what state the servers of the configuration are, in calling order, and since when."""

    door = Door.STATUS

    @extend_schema(parameters=[*CONDITIONAL, WAIT], responses={200: StatusShape, 304: OpenApiTypes.NONE})
    def get(self, request: Request) -> HttpResponse:
        return self._answer(request)


class WebposView(DocumentView):
    """The configuration in the shape that an unmodified Openbravo Web POS reads."""

    door = Door.WEBPOS

    @extend_schema(parameters=CONDITIONAL, responses={200: WebposShape, 304: OpenApiTypes.NONE})
    def get(self, request: Request) -> HttpResponse:
        return self._answer(request)


EVENT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "What the terminal holds with this event, for `Last-Event-ID`."},
        "event": {"type": "string", "enum": [Door.CONFIGURATION.value, Door.STATUS.value]},
        "data": {"type": "string", "description": "The document, as JSON in one line."},
    },
}
"""One server-sent event; a serializer cannot have a member named `data`."""


class EventsView(TerminalDoor):
    """Stream the configuration and the status as server-sent events, first as they are, then with each change.

    Events `configuration` and `status` carry the document; `Last-Event-ID` begins with what is new.
    """

    problems: ClassVar[dict[str, tuple[int, ...]]] = {"get": (410, 429)}

    @extend_schema(
        parameters=[OpenApiParameter("Last-Event-ID", str, OpenApiParameter.HEADER)],
        responses={(200, "text/event-stream"): EVENT},
    )
    def get(self, request: Request) -> HttpResponse:
        """Answer what the edge does not know yet with the present documents alone: the caller comes again."""
        snapshot = store.current()
        organization = snapshot.organization_of(self.token)
        if organization is None:
            raise Unavailable("The terminal's store is not known here yet.", retry_after_s=1)
        news, _ = events_stream.events(snapshot, organization, Held.of(request.headers.get("Last-Event-ID", "")))
        response = HttpResponse(events_stream.RETRY + news)
        for name, value in events_stream.headers("", frozenset()):
            response[name.decode()] = value.decode()
        return response


class ReachShape(StrictSerializer):
    key = serializers.CharField(max_length=KEY_LENGTH, help_text="Key of a server of the configuration.")
    reachable = serializers.BooleanField()


class TerminalHeartbeatRequest(StrictSerializer):
    revision = serializers.IntegerField(
        min_value=0, max_value=2**63 - 1, required=False, help_text="`X-Booster-Revision` of the configuration in use."
    )
    queue_length = serializers.IntegerField(
        min_value=0, max_value=2**31 - 1, help_text="Transactions it has not delivered yet."
    )
    software = serializers.CharField(max_length=60, allow_blank=True, help_text="Name and version of its software.")
    observed: serializers.ListSerializer[Any] = serializers.ListSerializer(
        child=ReachShape(), max_length=MOST_OBSERVED, help_text=f"Servers it called, at most {MOST_OBSERVED}."
    )


class TerminalHeartbeatAnswer(serializers.Serializer[Any]):
    next_interval_s = serializers.IntegerField(help_text="When to report again, in seconds.")
    revision = serializers.IntegerField(help_text="Present revision of the configuration.")


class TerminalHeartbeatView(TerminalDoor):
    """Report what the calling terminal has and sees.

    What it says of servers is kept and shown, and never changes their state; keys that are not in its
    configuration are ignored. Written within seconds, together with what other terminals report. 429
    more than 60 reports in a minute.
    """

    parser_classes = (ReportParser,)
    problems: ClassVar[dict[str, tuple[int, ...]]] = {"post": (410, 429)}

    def check_throttles(self, request: Request) -> None:
        """Count the report against its terminal before it is read, so that a flood hurts its sender alone."""
        HEARTBEATS.count(self.token.terminal_id, timezone.now())

    @extend_schema(request=TerminalHeartbeatRequest, responses={200: TerminalHeartbeatAnswer})
    def post(self, request: Request) -> Response:
        form = TerminalHeartbeatRequest(data=request.data)
        form.is_valid(raise_exception=True)
        told, token = form.validated_data, self.token
        moment = timezone.now()
        snapshot = store.recent()
        organization = snapshot.organization_of(token)
        if organization is None:
            raise Unavailable("The terminal's store is not known here yet.", retry_after_s=1)
        served_by = {server.key.lower(): server.key for server in snapshot.landscape.terminal_servers(organization)}
        observed = ((served_by.get(row["key"].lower()), row["reachable"]) for row in told["observed"])
        store.note_poll(token, moment, told.get("revision"))
        store.reports.told(
            token.terminal_id,
            Told(moment, told["queue_length"], told["software"]),
            {key: is_reachable for key, is_reachable in observed if key is not None},
        )
        interval = snapshot.landscape.preference("poll_interval_s", organization)
        return Response({"next_interval_s": interval.value, "revision": snapshot.revision})


urlpatterns = [
    *(
        path(f"{view.door}{slash}", view.as_view(), name=f"terminal-{view.door}" if not slash else None)
        for view in (ConfigurationView, StatusView, WebposView)
        for slash in ("", "/")
    ),
    path("events", EventsView.as_view(), name="terminal-events"),
    path("events/", EventsView.as_view()),
    path("heartbeat", TerminalHeartbeatView.as_view(), name="terminal-heartbeat"),
    path("heartbeat/", TerminalHeartbeatView.as_view()),
]
