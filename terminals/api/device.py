"""The doors of the calling terminal that write: activate, roll the token, revoke it."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.urls import path
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.status import HTTP_201_CREATED, HTTP_204_NO_CONTENT

from backoffice.addresses import client_address
from backoffice.api.views import ApiView
from backoffice.document_signing import signing_keys
from backoffice.rate_limits import TOKEN_ROLLS
from terminals.activation import activate
from terminals.authentication import TerminalDoor
from terminals.tokens import revoke_terminal, roll_token


class ActivationRequest(serializers.Serializer[Any]):
    terminal = serializers.CharField(max_length=40, help_text="Search key of the terminal.")
    code = serializers.CharField(max_length=40, help_text="The code; case, blanks and dashes do not matter.")
    software = serializers.CharField(
        max_length=60, required=False, default="", allow_blank=True, help_text="Name and version of its software."
    )


class ActivatedTerminal(serializers.Serializer[Any]):
    token = serializers.CharField(help_text="Shown this once; sent as `Authorization: Bearer …` from now on.")
    terminal = serializers.CharField()
    organization = serializers.CharField(help_text="Code of the store.")
    boosters = serializers.ListField(child=serializers.CharField(), help_text="Addresses to poll, in calling order.")
    signing_keys = serializers.ListField(
        child=serializers.DictField(child=serializers.CharField()),
        help_text="Public keys (JWK) that check documents which did not come from a Booster itself.",
    )


class RolledToken(serializers.Serializer[Any]):
    token = serializers.CharField(help_text="Shown this once; the old one ends when this one is first used.")


class TerminalActivationView(ApiView):
    """Trade a one-time activation code for the terminal's token.

    Request: `{"terminal": str, "code": str, "software": str}`. Answer 201: `{"token": str,
    "terminal": str, "organization": str, "boosters": [url], "signing_keys": [JWK]}`; the token is shown
    this once. Problems: 400 malformed; 401 unknown terminal or wrong code, alike; 403 organization inactive; 409 code
    used already; 410 code expired or terminal inactive (no point in retrying); 429 too many wrong
    codes, `Retry-After` in seconds.
    """

    authentication_classes = ()
    permission_classes = (AllowAny,)
    problems: ClassVar[dict[str, tuple[int, ...]]] = {"post": (401, 403, 409, 410, 429)}

    @extend_schema(request=ActivationRequest, responses={201: ActivatedTerminal})
    def post(self, request: Request) -> Response:
        form = ActivationRequest(data=request.data)
        form.is_valid(raise_exception=True)
        asked = form.validated_data
        activated = activate(
            asked["terminal"],
            asked["code"],
            asked["software"],
            moment=timezone.now(),
            address=client_address(request._request),
        )
        answer = {
            "token": activated.token,
            "terminal": activated.terminal,
            "organization": activated.organization,
            "boosters": settings.BOOSTER_PUBLIC_URLS,
            "signing_keys": signing_keys(),
        }
        return Response(answer, status=HTTP_201_CREATED)


class TerminalTokenView(TerminalDoor):
    """Roll the calling terminal's token: the old one stays valid until the new one is first used,
    at most 10 minutes. 429 after 10 within an hour."""

    problems: ClassVar[dict[str, tuple[int, ...]]] = {"post": (410, 429)}

    def check_throttles(self, request: Request) -> None:
        TOKEN_ROLLS.count(f"terminal-{self.token.terminal_id}", timezone.now())

    @extend_schema(request=None, responses={201: RolledToken})
    def post(self, request: Request) -> Response:
        rolled = roll_token(self.token.terminal_id, timezone.now())
        return Response({"token": rolled.text}, status=HTTP_201_CREATED)


class TerminalRevocationView(TerminalDoor):
    """End every token of the calling terminal, for example before it is taken out of service."""

    problems: ClassVar[dict[str, tuple[int, ...]]] = {"post": (410,)}

    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request) -> Response:
        state = self.token
        revoke_terminal(
            state.terminal_id, timezone.now(), actor_name=state.terminal_key, cause="revoked by the terminal itself"
        )
        return Response(status=HTTP_204_NO_CONTENT)


urlpatterns = [
    path("activate", TerminalActivationView.as_view(), name="terminal-activate"),
    path("activate/", TerminalActivationView.as_view()),
    path("token", TerminalTokenView.as_view(), name="terminal-token"),
    path("token/", TerminalTokenView.as_view()),
    path("revoke", TerminalRevocationView.as_view(), name="terminal-revoke"),
    path("revoke/", TerminalRevocationView.as_view()),
]
