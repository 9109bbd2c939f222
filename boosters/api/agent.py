"""The doors of the calling agent."""

from __future__ import annotations

from typing import Any, cast

from django.urls import path
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.status import HTTP_201_CREATED

from backoffice.api.views import ApiView
from boosters.authentication import AgentAuthentication, IsAgent
from servers.agent_tokens import issue_agent_token, note_first_use
from servers.models import AgentToken


class RolledAgentToken(serializers.Serializer[Any]):
    token = serializers.CharField(help_text="Shown this once; the old one ends when this one is first used.")


class AgentDoor(ApiView):
    """A door that only an agent's token opens."""

    authentication_classes = (AgentAuthentication,)
    permission_classes = (IsAgent,)

    @property
    def token(self) -> AgentToken:
        """The token of the caller, whom the permission has established, with its server."""
        return cast(AgentToken, self.request.auth)


class AgentTokenView(AgentDoor):
    """Roll the calling agent's token: the old one stays valid until the new one is first used, at most 10 minutes."""

    @extend_schema(request=None, responses={201: RolledAgentToken})
    def post(self, request: Request) -> Response:
        moment = timezone.now()
        note_first_use(self.token, moment)
        server = self.token.server
        rolled = issue_agent_token(server.pk, moment, actor_name=server.key)
        return Response({"token": rolled.text}, status=HTTP_201_CREATED)


urlpatterns = [
    path("token", AgentTokenView.as_view(), name="agent-token"),
    path("token/", AgentTokenView.as_view()),
]
