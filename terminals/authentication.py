"""Who calls at the terminal doors."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from backoffice.api.authentication import BearerAuthentication, register_kind
from backoffice.api.views import ApiView
from backoffice.credentials import Credential
from organizations.models import Organization
from terminals.models import TerminalToken
from terminals.tokens import TokenState, find_token_state, note_first_use


def find_valid_token(credential: Credential, moment: datetime) -> TokenState | None:
    """Return the state of a terminal's token that has not ended, for the doors of other callers."""
    state = find_token_state(credential)
    return state if state and state.refusal(moment, organization_is_active=True) is None else None


register_kind(TerminalToken.KIND, find_valid_token)


class TerminalAuthentication(BearerAuthentication):
    """Tokens of terminals; `request.auth` is the `TokenState`."""

    kind = TerminalToken.KIND

    def find(self, credential: Credential, moment: datetime) -> object:
        # A token that has ended is known here: its bearer is told why, not just "unknown".
        return find_token_state(credential) if credential.kind == self.kind else super().find(credential, moment)

    def admit(self, principal: TokenState, request: Request, moment: datetime) -> None:
        is_active = Organization.objects.filter(pk=principal.organization_id, is_active=True).exists()
        refusal = principal.refusal(moment, organization_is_active=is_active)
        if refusal is not None:
            raise refusal
        if not principal.is_used:
            note_first_use(principal.pk, moment)


class IsTerminal(BasePermission):
    """Lets only a caller with a terminal's token in."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.auth, TokenState)


class TerminalDoor(ApiView):
    """A door that only a terminal's token opens."""

    authentication_classes = (TerminalAuthentication,)
    permission_classes = (IsTerminal,)

    @property
    def token(self) -> TokenState:
        """The token of the caller, whom the permission has established."""
        return cast(TokenState, self.request.auth)
