"""Tokens that are rolled, replaced and revoked."""

from datetime import UTC, datetime, timedelta

import pytest

from backoffice.credentials import parse_credential
from terminals.models import TerminalToken
from terminals.tokens import find_token_state, issue_token, note_first_use, revoke_terminal, roll_token
from tests.factories import make_terminal, make_tree

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


@pytest.fixture
def terminal():
    return make_terminal("LY-1", make_tree(ACME=None, LYON="ACME")["LYON"])


def refusal_of(credential, moment=NOON, *, organization_is_active=True):
    refusal = find_token_state(credential).refusal(moment, organization_is_active=organization_is_active)
    return refusal and refusal.type


def test_a_replaced_token_stays_valid_for_ten_minutes_and_not_longer(terminal):
    old = issue_token(terminal, NOON)

    roll_token(terminal.pk, NOON)

    assert refusal_of(old, NOON + timedelta(minutes=10)) is None
    assert refusal_of(old, NOON + timedelta(minutes=10, seconds=1)) == "/problems/terminal-revoked"


def test_a_replaced_token_ends_when_its_successor_is_first_used(terminal):
    old = issue_token(terminal, NOON)
    new = roll_token(terminal.pk, NOON)

    note_first_use(find_token_state(new).pk, NOON + timedelta(minutes=1))

    assert (refusal_of(old), refusal_of(new)) == ("/problems/terminal-revoked", None)


def test_rolling_again_after_a_lost_answer_does_not_lengthen_the_old_tokens_time(terminal):
    old = issue_token(terminal, NOON)
    roll_token(terminal.pk, NOON)
    newest = roll_token(terminal.pk, NOON + timedelta(minutes=9))

    assert refusal_of(old, NOON + timedelta(minutes=11)) == "/problems/terminal-revoked"
    assert refusal_of(newest, NOON + timedelta(days=300)) is None


def test_the_first_use_of_an_undelivered_token_does_not_end_its_successor(terminal):
    issue_token(terminal, NOON)
    lost = roll_token(terminal.pk, NOON)
    newest = roll_token(terminal.pk, NOON)

    note_first_use(find_token_state(lost).pk, NOON)

    assert refusal_of(newest) is None


def test_revocation_ends_every_token_at_once(terminal):
    tokens = [issue_token(terminal, NOON), roll_token(terminal.pk, NOON)]

    revoked = revoke_terminal(terminal.pk, NOON)

    assert (revoked, [refusal_of(token) for token in tokens]) == (2, ["/problems/terminal-revoked"] * 2)


def test_an_inactive_terminal_and_an_inactive_store_are_refused_with_their_own_reason(terminal):
    token = issue_token(terminal, NOON)

    assert refusal_of(token, organization_is_active=False) == "/problems/organization-inactive"
    terminal.is_active = False
    terminal.save()
    assert refusal_of(token) == "/problems/terminal-inactive"


def test_a_token_is_found_by_its_id_only_with_its_secret(terminal):
    token = issue_token(terminal, NOON)
    forged = parse_credential(f"bst_terminal_{token.id}.{'A' * 43}")

    assert find_token_state(token).terminal_key == "LY-1"
    assert find_token_state(forged) is None
    assert TerminalToken.objects.get().digest != token.secret
