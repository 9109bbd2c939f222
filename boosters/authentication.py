"""Who calls at the agent's doors."""

from __future__ import annotations

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from backoffice.api.authentication import BearerAuthentication, register_kind
from servers.agent_tokens import find_agent_token
from servers.models import AgentToken

register_kind(AgentToken.KIND, find_agent_token)


class AgentAuthentication(BearerAuthentication):
    """Tokens of agents; `request.auth` is the `AgentToken`, with its server, state and report at hand."""

    kind = AgentToken.KIND


class IsAgent(BasePermission):
    """Lets only a caller with an agent's token in."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.auth, AgentToken)
