"""The token of the Booster Agent beside a server: made, rolled, found and revoked."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Exists, OuterRef

from backoffice import rolling_tokens
from backoffice.credentials import Credential, derived_credential, is_secret, make_credential
from events.log import record
from servers.models import AgentToken, MobileServer

if TYPE_CHECKING:
    from accounts.models import User

JOINING = "join"


def has_agent(server: str = "pk") -> Exists:
    """Return the condition that a server has an agent: a token that was used and not revoked.

    Such a server is expected to report; the others are called. `server` names the column with the
    server's primary key.
    """
    used = AgentToken.objects.filter(server=OuterRef(server), first_used_at__isnull=False, revoked_at__isnull=True)
    return Exists(used)


def issue_agent_token(
    server_id: int, moment: datetime, *, actor: User | None = None, actor_name: str = ""
) -> Credential:
    """Give a server's agent a new token, shown this once; the one it has stays valid until this one is used.

    At most 10 minutes, though. Raises MobileServer.DoesNotExist.
    """
    with transaction.atomic():
        server = MobileServer.objects.select_for_update().get(pk=server_id)
        credential = rolling_tokens.issue(server.agent_tokens, moment)
        record(
            "agent-token-made",
            moment=moment,
            object_type="server",
            object_key=server.key,
            actor=actor,
            actor_name=actor_name,
            token_id=credential.id,
        )
    return credential


def joining_token(
    server_id: int, moment: datetime, *, actor: User | None = None, actor_name: str = ""
) -> Credential | None:
    """Return the token that a server joins with: the same each time until it is first used, then None.

    None, too, where its agent was given a token in another way. Its secret follows from its id and the
    digests' key, so nothing is stored that gives it away. Raises MobileServer.DoesNotExist.
    """
    with transaction.atomic():
        server = MobileServer.objects.select_for_update().get(pk=server_id)
        present = server.agent_tokens.filter(revoked_at__isnull=True, replaced_at__isnull=True).first()
        if present is not None:
            credential = derived_credential(AgentToken.KIND, present.token_id, JOINING)
            is_open = present.first_used_at is None and is_secret(credential.secret, present.digest)
            return credential if is_open else None
        fresh = derived_credential(AgentToken.KIND, make_credential(AgentToken.KIND).id, JOINING)
        rolling_tokens.issue(server.agent_tokens, moment, fresh)
        record(
            "agent-token-made",
            moment=moment,
            object_type="server",
            object_key=server.key,
            actor=actor,
            actor_name=actor_name,
            cause="to join",
            token_id=fresh.id,
        )
    return fresh


def revoke_agent_tokens(server_id: int, moment: datetime, *, actor: User | None = None) -> int:
    """End every token of a server's agent at once; return how many were not ended before."""
    with transaction.atomic():
        server = MobileServer.objects.select_for_update().get(pk=server_id)
        revoked = rolling_tokens.revoke(server.agent_tokens, moment)
        record(
            "agent-token-revoked",
            moment=moment,
            object_type="server",
            object_key=server.key,
            actor=actor,
            tokens=revoked,
        )
    return revoked


def find_agent_token(credential: Credential, moment: datetime) -> AgentToken | None:
    """Return the valid token that `credential` spells, or None: one query, and none later for what a report needs.

    The server comes with its state and report. A token of a server that is not active is not valid.
    """
    token = (
        AgentToken.objects.select_related("server__state", "server__report")
        .filter(token_id=credential.id, server__is_active=True)
        .first()
    )
    if token is None or not is_secret(credential.secret, token.digest) or not token.is_valid(moment):
        return None
    return token


def note_first_use(token: AgentToken, moment: datetime) -> None:
    """Keep that a token was used for the first time, which ends those it replaced."""
    if token.first_used_at is None:
        with transaction.atomic():
            list(MobileServer.objects.select_for_update().filter(pk=token.server_id).values_list("pk"))
            rolling_tokens.note_first_use(AgentToken, token.pk, moment)
