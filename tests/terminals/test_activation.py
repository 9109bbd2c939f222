"""Activation codes as rules: one-time, expiring, limited."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from backoffice.refusals import Invalid, TooManyAttempts
from events.models import Event
from terminals.activation import (
    ActivationCodeUsed,
    ActivationExpired,
    WrongActivation,
    activate,
    create_activation_code,
    prune_failed_activations,
)
from terminals.models import FailedActivation
from terminals.tokens import OrganizationInactive, TerminalInactive, revoke_terminal
from tests.factories import make_terminal, make_tree

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


@pytest.fixture
def terminal():
    return make_terminal("LY-1", make_tree(ACME=None, LYON="ACME")["LYON"])


def attempt(terminal_key, code, moment=NOON, address="10.0.0.1"):
    return activate(terminal_key, code, "pos 3.1", moment=moment, address=address)


def test_a_code_is_traded_once_however_it_is_typed(terminal):
    issued = create_activation_code(terminal, moment=NOON)

    activated = attempt("LY-1", f" {issued.code.lower().replace('-', ' ')} ")

    terminal.refresh_from_db()
    assert (activated.terminal, activated.organization) == ("LY-1", "LYON")
    assert terminal.activated_at == NOON
    assert terminal.report.software == "pos 3.1"
    with pytest.raises(ActivationCodeUsed):
        attempt("LY-1", issued.code)
    assert terminal.tokens.count() == 1


def test_a_code_holds_exactly_until_its_expiry(terminal):
    first = create_activation_code(terminal, moment=NOON, valid_for=timedelta(hours=1))

    with pytest.raises(ActivationExpired):
        attempt("LY-1", first.code, NOON + timedelta(hours=1, seconds=1))
    activated = attempt("LY-1", first.code, NOON + timedelta(hours=1))

    assert activated.terminal == "LY-1"


def test_a_new_code_voids_the_older_one(terminal):
    older = create_activation_code(terminal, moment=NOON)
    newer = create_activation_code(terminal, moment=NOON)

    with pytest.raises(WrongActivation):
        attempt("LY-1", older.code)

    assert attempt("LY-1", newer.code).terminal == "LY-1"


def test_unknown_terminal_and_wrong_code_are_refused_alike_and_counted(terminal):
    create_activation_code(terminal, moment=NOON)

    with pytest.raises(WrongActivation) as wrong:
        attempt("LY-1", "AAAA-AAAA-AAAA")
    with pytest.raises(WrongActivation) as unknown:
        attempt("NOBODY", "AAAA-AAAA-AAAA")

    assert str(wrong.value) == str(unknown.value)
    assert list(FailedActivation.objects.values_list("terminal_key", "address").order_by("pk")) == [
        ("LY-1", "10.0.0.1"),
        ("NOBODY", "10.0.0.1"),
    ]


def test_after_ten_wrong_codes_the_terminal_waits_out_the_quarter_hour(terminal):
    code = create_activation_code(terminal, moment=NOON, valid_for=timedelta(hours=1)).code
    for minute in range(10):
        with pytest.raises(WrongActivation):
            attempt("LY-1", "WRONG", NOON + timedelta(minutes=minute), f"10.0.0.{minute}")

    with pytest.raises(TooManyAttempts) as refusal:
        attempt("LY-1", code, NOON + timedelta(minutes=10), "10.0.0.99")

    assert refusal.value.retry_after_s == 5 * 60 + 1
    assert attempt("LY-1", code, NOON + timedelta(minutes=15), "10.0.0.99").terminal == "LY-1"


def test_after_a_hundred_wrong_codes_the_address_waits_but_others_do_not(terminal):
    code = create_activation_code(terminal, moment=NOON).code
    for number in range(100):
        with pytest.raises(WrongActivation):
            attempt(f"T{number}", "WRONG")

    with pytest.raises(TooManyAttempts):
        attempt("LY-1", code)

    assert attempt("LY-1", code, address="10.0.0.2").terminal == "LY-1"


def test_successes_are_not_counted(terminal):
    for _ in range(12):
        attempt("LY-1", create_activation_code(terminal, moment=NOON).code)

    assert FailedActivation.objects.count() == 0


def test_an_inactive_terminal_or_store_is_told_so_only_with_the_right_code(terminal):
    code = create_activation_code(terminal, moment=NOON).code
    terminal.is_active = False
    terminal.save()

    with pytest.raises(WrongActivation):
        attempt("LY-1", "WRONG")
    with pytest.raises(TerminalInactive):
        attempt("LY-1", code)
    terminal.is_active = True
    terminal.save()
    terminal.organization.is_active = False
    terminal.organization.save()
    with pytest.raises(OrganizationInactive):
        attempt("LY-1", code)

    assert not terminal.tokens.exists()


def test_revocation_voids_codes_and_lets_the_terminal_be_activated_again(terminal):
    attempt("LY-1", create_activation_code(terminal, moment=NOON).code)
    pending = create_activation_code(terminal, moment=NOON)

    revoked = revoke_terminal(terminal.pk, NOON)

    terminal.refresh_from_db()
    assert (revoked, terminal.activated_at) == (1, None)
    with pytest.raises(WrongActivation):
        attempt("LY-1", pending.code)
    assert attempt("LY-1", create_activation_code(terminal, moment=NOON).code).terminal == "LY-1"


@pytest.mark.parametrize("seconds", [0, 59, 30 * 86_400 + 1])
def test_a_validity_out_of_bounds_is_refused(terminal, seconds):
    with pytest.raises(Invalid) as refusal:
        create_activation_code(terminal, moment=NOON, valid_for=timedelta(seconds=seconds))

    assert [error.pointer for error in refusal.value.errors] == ["/valid_for_s"]
    assert not terminal.activation_codes.exists()


def test_neither_code_nor_token_is_kept_anywhere_in_readable_form(terminal):
    issued = create_activation_code(terminal, moment=NOON)

    activated = attempt("LY-1", issued.code)

    kept = repr(
        [list(model.values()) for model in (terminal.activation_codes, terminal.tokens, Event.objects)]
        + [issued, activated]
    )
    secret = activated.token.partition(".")[2]
    assert issued.code not in kept
    assert issued.code.replace("-", "") not in kept
    assert secret not in kept


def test_failed_attempts_are_pruned_once_the_limits_do_not_count_them(terminal):
    with pytest.raises(WrongActivation):
        attempt("LY-1", "WRONG")

    pruned = [prune_failed_activations(NOON + timedelta(minutes=minutes)) for minutes in (14, 15)]

    assert pruned == [0, 1]


@pytest.mark.django_db(transaction=True)
def test_attempts_sent_together_are_counted_one_by_one():
    make_terminal("LY-1", make_tree(ACME=None, LYON="ACME")["LYON"])
    together = 25
    ready = threading.Barrier(together)
    outcomes = []

    def guess():
        ready.wait()
        try:
            attempt("LY-1", "wrong")
        except (WrongActivation, TooManyAttempts) as refusal:
            outcomes.append(type(refusal).__name__)
        finally:
            connection.close()

    threads = [threading.Thread(target=guess) for _ in range(together)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["TooManyAttempts"] * 15 + ["WrongActivation"] * 10


def test_addresses_of_one_ipv6_network_are_counted_together(terminal):
    for number in range(100):
        with pytest.raises(WrongActivation):
            attempt(f"NO-{number}", "wrong", address=f"2001:db8::{number:x}")

    with pytest.raises(TooManyAttempts):
        attempt("LY-1", "wrong", address="2001:db8::ffff")
