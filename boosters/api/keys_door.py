"""The doors at which servers learn whose logins to believe, and tell their own key and who logged out."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

from django.http import Http404, HttpResponse
from django.urls import path
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, OpenApiTypes, extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.status import HTTP_201_CREATED, HTTP_204_NO_CONTENT

from backoffice.addresses import client_address
from backoffice.api.serializers import StrictSerializer
from backoffice.api.views import ApiView
from backoffice.rate_limits import DEVICE_REPORTS_PER_MINUTE, TOKEN_ROLLS, Limit
from boosters.api.agent_door import AgentDoor
from boosters.api.documents_door import SigningKey
from organizations.models import Organization, OrganizationKind
from routing.answers import names_tag
from routing.document import canonical_json
from routing.store import store
from servers.key_models import LONGEST_LOGIN_ID
from servers.signing_keys import key_set, live_keys, register_key, revoke_login

KEY_SETS = Limit("key-sets", DEVICE_REPORTS_PER_MINUTE, 60, "This agent asks for the keys too often.")
REVOCATIONS = Limit("login-revocations", 600, 60, "This agent ends logins too often.")
PUBLIC_KEY_SETS = Limit("public-key-sets", 120, 60, "Keys are asked for too often from this address.")
IF_NONE_MATCH = OpenApiParameter("If-None-Match", str, OpenApiParameter.HEADER, description="Tags it holds.")


class IssuerShape(serializers.Serializer[Any]):
    server = serializers.CharField(help_text="Mobile server key: the tokens' `iss`.")
    keys = SigningKey(many=True)


class RevokedShape(serializers.Serializer[Any]):
    jti = serializers.CharField()
    expires_at = serializers.DateTimeField()


class KeySetAnswer(serializers.Serializer[Any]):
    format = serializers.IntegerField()
    client = serializers.CharField()
    token_max_age_ms = serializers.IntegerField()
    issuers = IssuerShape(many=True)
    revoked = RevokedShape(many=True)


class JwksAnswer(serializers.Serializer[Any]):
    keys = SigningKey(many=True)


class KeyRequest(StrictSerializer):
    jwk = serializers.DictField(child=serializers.JSONField(), help_text="Public Ed25519 JWK, never with member `d`.")


class RevocationRequest(StrictSerializer):
    jti = serializers.RegexField(rf"^[\x21-\x7e]{{1,{LONGEST_LOGIN_ID}}}\Z", help_text="Id of the token.")
    expires_at = serializers.DateTimeField(help_text="When its age ends it anyway; kept for at most 366 days.")


class RegisteredKey(serializers.Serializer[Any]):
    kid = serializers.CharField()


def tagged(request: Request, told: dict[str, Any], content_type: str, caching: str) -> HttpResponse:
    """Return the answer with its entity tag, or 304 without a body to whoever holds it."""
    body = canonical_json(told)
    tag = hashlib.sha256(body).hexdigest()[:32]
    headers = {"ETag": f'"{tag}"', "Cache-Control": caching}
    if names_tag(request.headers.get("If-None-Match", ""), tag):
        return HttpResponse(status=304, headers=headers)
    return HttpResponse(body, content_type=content_type, headers=headers)


class AgentKeysView(AgentDoor):
    """The key set of the calling agent's client, and the door to register its own server's public key."""

    problems: ClassVar[dict[str, tuple[int, ...]]] = {"get": (429,), "post": (409, 429)}

    def check_throttles(self, request: Request) -> None:
        limit = TOKEN_ROLLS if request.method == "POST" else KEY_SETS
        limit.count(f"key-{self.token.server_id}", timezone.now())

    @extend_schema(
        operation_id="agent_keys_retrieve", parameters=[IF_NONE_MATCH], responses={200: KeySetAnswer, 304: None}
    )
    def get(self, request: Request) -> HttpResponse:
        """304 without a body when `If-None-Match` names it. Only active servers are in it; 429 above 60 a minute."""
        client = self.token.server.client
        max_age = int(store.recent().landscape.preference("token_max_age_ms", client.code).value)
        return tagged(
            request,
            key_set(client.pk, client.code, max_age, timezone.now()),
            "application/json",
            "private, no-cache",
        )

    @extend_schema(
        operation_id="agent_keys_create", request=KeyRequest, responses={200: RegisteredKey, 201: RegisteredKey}
    )
    def post(self, request: Request) -> Response:
        """200 when it is registered already; 409 when it has ended or is another server's; 429 after 10 in an hour."""
        form = KeyRequest(data=request.data)
        form.is_valid(raise_exception=True)
        server = self.token.server
        key, is_new = register_key(server.pk, form.validated_data["jwk"], timezone.now(), actor_name=server.key)
        return Response({"kid": key.key_id}, status=HTTP_201_CREATED if is_new else 200)


class AgentRevocationsView(AgentDoor):
    """End a login at every server of the calling agent's client, after a logout. 429 above 600 a minute."""

    problems: ClassVar[dict[str, tuple[int, ...]]] = {"post": (429,)}

    def check_throttles(self, request: Request) -> None:
        REVOCATIONS.count(self.token.server_id, timezone.now())

    @extend_schema(operation_id="agent_revocations_create", request=RevocationRequest, responses={204: None})
    def post(self, request: Request) -> Response:
        form = RevocationRequest(data=request.data)
        form.is_valid(raise_exception=True)
        told = form.validated_data
        revoke_login(self.token.server, told["jti"], told["expires_at"], timezone.now())
        return Response(status=HTTP_204_NO_CONTENT)


class ClientKeysView(ApiView):
    """The public keys of a client's active servers as a JWK set (RFC 7517), for anyone. 429 above 120 a minute."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    problems: ClassVar[dict[str, tuple[int, ...]]] = {"get": (404, 429)}

    def check_throttles(self, request: Request) -> None:
        PUBLIC_KEY_SETS.count(client_address(request._request), timezone.now())

    @extend_schema(
        operation_id="client_keys_retrieve",
        parameters=[IF_NONE_MATCH, OpenApiParameter("code", OpenApiTypes.STR, OpenApiParameter.PATH)],
        responses={200: JwksAnswer, 304: None},
    )
    def get(self, request: Request, code: str) -> HttpResponse:
        client = Organization.objects.filter(code=code, kind=OrganizationKind.CLIENT, is_active=True).first()
        if client is None:
            raise Http404
        keys = [key.jwk for key in live_keys(client.pk)]
        return tagged(request, {"keys": keys}, "application/json", "public, max-age=60")


agent_doors = [("keys", AgentKeysView, "agent-keys"), ("revocations", AgentRevocationsView, "agent-revocations")]
urlpatterns = [
    *(path(f"agent/{address}", view.as_view(), name=name) for address, view, name in agent_doors),
    *(path(f"agent/{address}/", view.as_view()) for address, view, _ in agent_doors),
    path("clients/<str:code>/jwks.json", ClientKeysView.as_view(), name="client-keys"),
]
