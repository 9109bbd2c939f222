"""Whoever writes terminals at the same time waits in turn: nobody waits for each other."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from licensing.installation import LicenseLimit
from licensing.rules import COMMUNITY
from terminals.activation import activate, create_activation_code
from terminals.models import Terminal
from terminals.tokens import note_first_use, revoke_terminal, roll_token
from tests.factories import make_admin, make_terminal, make_tree, make_user_token
from tests.interleaving import outcomes
from tests.licensing.makers import DAY, make_installation

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _several_writers():
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer anyway")


@pytest.fixture(autouse=True)
def _after_the_trial(monkeypatch):
    monkeypatch.setattr("licensing.rules.COMMUNITY", COMMUNITY)
    make_installation(timezone.now() - 30 * DAY)


@pytest.fixture
def store():
    return make_tree(ACME=None, OSLO="ACME")["OSLO"]


@pytest.fixture
def terminals(store):
    return [make_terminal(f"T-{number}", store) for number in range(2)]


def edit(terminal):
    terminal.name = "edited"
    terminal.save()


def test_an_edit_and_an_addition_in_one_transaction_beside_another_addition(store, terminals):
    found = outcomes(
        lambda: edit(terminals[0]), lambda: make_terminal("T-8", store), lambda: make_terminal("T-9", store)
    )

    assert found == [None, None]
    assert sorted(Terminal.objects.values_list("search_key", flat=True)) == ["T-0", "T-1", "T-8", "T-9"]


def test_the_last_place_goes_to_one_of_two_whatever_they_did_before(store, terminals):
    make_terminal("T-2", store)
    make_terminal("T-3", store)

    found = outcomes(
        lambda: edit(terminals[0]), lambda: make_terminal("T-8", store), lambda: make_terminal("T-9", store)
    )

    assert [type(each) for each in found] == [type(None), LicenseLimit]
    assert Terminal.objects.count() == 5


def patch(terminal):
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {make_user_token(make_admin('api'))}")
    assert client.patch(f"/api/v1/terminals/{terminal.pk}/", {"name": "patched"}, format="json").status_code == 200


def activate_with_a_new_code(terminal):
    code = create_activation_code(terminal, valid_for=timedelta(hours=1), moment=timezone.now())
    activate(terminal.search_key, code.code, "pos", moment=timezone.now(), address="10.0.0.1")


def use(terminal):
    note_first_use(terminal.tokens.get(token_id="second").pk, timezone.now())


MEANWHILE = {
    "patch": patch,
    "activation": activate_with_a_new_code,
    "roll": lambda terminal: roll_token(terminal.pk, timezone.now()),
    "revocation": lambda terminal: revoke_terminal(terminal.pk, timezone.now()),
    "first use": use,
}


@pytest.mark.parametrize("way", MEANWHILE)
def test_edits_of_two_in_one_transaction_beside_a_change_of_the_second(terminals, way):
    for token_id in ("first", "second"):
        terminals[1].tokens.create(token_id=token_id, digest="x", created_at=timezone.now())

    def replace_tokens():
        edit(terminals[1])
        roll_token(terminals[1].pk, timezone.now())

    found = outcomes(lambda: edit(terminals[0]), lambda: MEANWHILE[way](terminals[1]), replace_tokens)

    assert found == [None, None]
