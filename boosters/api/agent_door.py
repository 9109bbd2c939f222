"""What every door of an agent is built on."""

from __future__ import annotations

from typing import cast

from backoffice.api.views import ApiView
from boosters.authentication import AgentAuthentication, IsAgent
from servers.models import AgentToken


class AgentDoor(ApiView):
    """A door that only an agent's token opens."""

    authentication_classes = (AgentAuthentication,)
    permission_classes = (IsAgent,)

    @property
    def token(self) -> AgentToken:
        """The token of the caller, whom the permission has established, with its server."""
        return cast(AgentToken, self.request.auth)
