"""What one would write first: a REST framework view that finds the token and builds the document, each time anew."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.urls import path
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from backoffice.credentials import is_secret, parse_credential
from preferences.models import PreferenceValue
from servers.models import MobileServer
from services.models import MobileService
from terminals.models import TerminalToken

PATH = "/plain/configuration"


class ServerSerializer(serializers.ModelSerializer[MobileServer]):
    type = serializers.CharField(source="server_type")
    services = serializers.SerializerMethodField()

    class Meta:
        model = MobileServer
        fields = ("key", "name", "url", "type", "priority", "all_services", "services")

    def get_services(self, server: MobileServer) -> list[str]:
        return [] if server.all_services else sorted(row.service.name for row in server.services_by_server.all())


class ServiceSerializer(serializers.ModelSerializer[MobileService]):
    transactional = serializers.BooleanField(source="is_transactional")

    class Meta:
        model = MobileService
        fields = ("name", "routing_type", "transactional", "timeout_s")


class PlainAuthentication(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[Any, TerminalToken]:
        credential = parse_credential(request.headers.get("Authorization", "").removeprefix("Bearer "))
        token = (
            TerminalToken.objects.select_related("terminal__organization").filter(token_id=credential.id).first()
            if credential
            else None
        )
        if token is None or credential is None or not is_secret(credential.secret, token.digest):
            raise AuthenticationFailed
        return token.terminal, token


class PlainView(APIView):
    authentication_classes = (PlainAuthentication,)
    permission_classes = (AllowAny,)

    def get(self, request: Request) -> Response:
        organization = request.auth.terminal.organization
        lineage = list(organization.lineage())
        servers = (
            MobileServer.objects.filter(client=lineage[0], is_active=True)
            .filter(Q(all_organizations=True) | Q(organizations_by_server__organization__in=lineage))
            .distinct()
            .order_by("priority", "name", "key")
            .prefetch_related("services_by_server__service")
        )
        preferences = {row.key: row.value for row in PreferenceValue.objects.filter(organization=None)}
        return Response(
            {
                "format": 1,
                "organization": {"code": organization.code, "name": organization.name},
                "multi_server": preferences.get("multi_server_enabled") == "Y",
                "preferences": preferences,
                "servers": ServerSerializer(servers, many=True).data,
                "services": ServiceSerializer(MobileService.objects.order_by("name"), many=True).data,
            }
        )


urlpatterns = [path(PATH.lstrip("/"), PlainView.as_view())]
