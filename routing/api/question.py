"""The question an unmodified server asks of another: its status, by key (reference/openbravo, section 3)."""

from __future__ import annotations

from typing import Any, ClassVar

from django.urls import path
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from backoffice.addresses import client_address, counted_as
from backoffice.api.views import ApiView
from backoffice.rate_limits import Limit
from routing.store import store
from servers.status import Status

CODES = {
    Status.ONLINE: "ON",
    Status.OFFLINE: "OFF",
    Status.TRANSITION_TO_ONLINE: "TON",
    Status.TRANSITION_TO_OFFLINE: "TOFF",
}
QUESTIONS = Limit("status-questions", 120, 60, "Too many questions came from this address.")


class StatusQuestion(serializers.Serializer[Any]):
    serverKey = serializers.CharField(
        max_length=255, trim_whitespace=False, help_text="Mobile server key, whatever its case."
    )


class StatusAnswer(serializers.Serializer[Any]):
    serverKey = serializers.CharField(help_text="As it was asked for.")
    serverStatus = serializers.ChoiceField(list(CODES.values()))


class StatusQuestionView(ApiView):
    """Tell the status of a server by its key, without login; an unknown or inactive key is `OFF`.

    Answered from memory. Members beside `serverKey` are ignored: callers of old send some. Problems: 400
    malformed; 429 more than 120 questions from an address in a minute.
    """

    authentication_classes = ()
    permission_classes = (AllowAny,)
    problems: ClassVar[dict[str, tuple[int, ...]]] = {"post": (429,)}

    def check_throttles(self, request: Request) -> None:
        QUESTIONS.count(counted_as(client_address(request._request)), timezone.now())

    @extend_schema(request=StatusQuestion, responses={200: StatusAnswer})
    def post(self, request: Request) -> Response:
        form = StatusQuestion(data=request.data)
        form.is_valid(raise_exception=True)
        key = form.validated_data["serverKey"]
        return Response({"serverKey": key, "serverStatus": CODES[store.recent().status_of(key)]})


urlpatterns = [
    path("status", StatusQuestionView.as_view(), name="server-status"),
    path("status/", StatusQuestionView.as_view()),
]
