"""A terminal's token: issued, rolled, checked and revoked. How tokens end is in `backoffice.rolling_tokens`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from backoffice import rolling_tokens
from backoffice.credentials import Credential, is_secret
from backoffice.refusals import Forbidden, Gone, Refusal
from events.log import record
from terminals.models import Terminal, TerminalToken
from terminals.writing import terminal_write

if TYPE_CHECKING:
    from accounts.models import User


class TerminalRevoked(Gone):
    type = "/problems/terminal-revoked"
    title = "This token was revoked"


class TerminalInactive(Gone):
    type = "/problems/terminal-inactive"
    title = "This terminal is not active"


class OrganizationInactive(Forbidden):
    type = "/problems/organization-inactive"
    title = "The terminal's organization is not active"


@dataclass(frozen=True, slots=True)
class TokenState:
    """What decides whether a token opens the terminal doors; kept in memory by every web process."""

    pk: int
    token_id: str
    digest: str
    terminal_id: int
    terminal_key: str
    terminal_is_active: bool
    organization_id: int
    is_used: bool = True
    replaced_at: datetime | None = None
    revoked_at: datetime | None = None

    def refusal(self, moment: datetime, *, organization_is_active: bool) -> Refusal | None:
        """Return why the bearer of this token is refused at `moment`, or None when it is not."""
        if self.revoked_at is not None:
            return TerminalRevoked("The token was revoked. Ask for a new activation code.")
        if rolling_tokens.is_outlived(self.replaced_at, moment):
            return TerminalRevoked("The token was replaced by a newer one.")
        if not self.terminal_is_active:
            return TerminalInactive(f"Terminal {self.terminal_key} is not active.")
        if not organization_is_active:
            return OrganizationInactive(f"The store of terminal {self.terminal_key} is not active.")
        return None


_COLUMNS = (
    "pk",
    "token_id",
    "digest",
    "terminal_id",
    "terminal__search_key",
    "terminal__is_active",
    "terminal__organization_id",
    "first_used_at",
    "replaced_at",
    "revoked_at",
)


def load_token_states(**condition: str) -> dict[str, TokenState]:
    """Return the state of every token (or of those that match `condition`) by id, in one query."""
    rows = TerminalToken.objects.order_by().filter(**condition).values_list(*_COLUMNS)
    states = (
        TokenState(
            pk, token_id, digest, terminal_id, key, is_active, store_id, used_at is not None, replaced_at, revoked_at
        )
        for pk, token_id, digest, terminal_id, key, is_active, store_id, used_at, replaced_at, revoked_at in rows
    )
    return {state.token_id: state for state in states}


def find_token_state(credential: Credential) -> TokenState | None:
    """Return the state of the token that `credential` spells, valid or ended, or None if unknown."""
    state = load_token_states(token_id=credential.id).get(credential.id)
    return state if state and is_secret(credential.secret, state.digest) else None


def issue_token(terminal: Terminal, moment: datetime) -> Credential:
    """Give a terminal a new token, replacing those it has; its row must be locked by the caller."""
    return rolling_tokens.issue(terminal.tokens, moment)


def roll_token(terminal_id: int, moment: datetime) -> Credential:
    """Replace a terminal's token by a new one, shown this once."""
    with terminal_write():
        terminal = Terminal.objects.select_for_update().get(pk=terminal_id)
        credential = issue_token(terminal, moment)
        record(
            "terminal-token-rolled",
            moment=moment,
            object_type="terminal",
            object_key=terminal.search_key,
            actor_name=terminal.search_key,
        )
    return credential


def note_first_use(token_pk: int, moment: datetime) -> None:
    """Keep that a token was used for the first time, and end the older ones it replaced."""
    with terminal_write():
        rolling_tokens.note_first_use(TerminalToken, token_pk, moment)


def revoke_terminal(
    terminal_id: int, moment: datetime, *, actor: User | None = None, actor_name: str = "", cause: str = ""
) -> int:
    """End every token and unused activation code of a terminal; return how many tokens were valid.

    In force on every process within 2 s. The terminal can be activated again with a new code.
    """
    with terminal_write():
        terminal = Terminal.objects.select_for_update().get(pk=terminal_id)
        revoked = rolling_tokens.revoke(terminal.tokens, moment)
        terminal.activation_codes.filter(used_at__isnull=True, voided_at__isnull=True).update(voided_at=moment)
        if terminal.activated_at is not None:
            terminal.activated_at = None
            terminal.save(update_fields=["activated_at"])
        record(
            "terminal-revoked",
            moment=moment,
            object_type="terminal",
            object_key=terminal.search_key,
            actor=actor,
            actor_name=actor_name,
            cause=cause,
            tokens=revoked,
        )
    return revoked
