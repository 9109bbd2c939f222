"""The doors of the calling terminal that write."""

from datetime import UTC, datetime, timedelta

import pytest

from backoffice.document_signing import signing_keys
from terminals.activation import create_activation_code
from terminals.models import FailedActivation, TerminalToken
from terminals.tokens import issue_token
from tests.factories import make_terminal, make_tree, make_user_token

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
ACTIVATE, ROLL, REVOKE = (f"/api/v1/terminal/{door}" for door in ("activate", "token", "revoke"))


@pytest.fixture(autouse=True)
def _noon(time_machine):
    time_machine.move_to(NOON, tick=False)


@pytest.fixture
def terminal():
    return make_terminal("LY-1", make_tree(ACME=None, LYON="ACME")["LYON"])


def code_for(terminal, **fields):
    return create_activation_code(terminal, moment=NOON, **fields).code


def activate(client, code, terminal="LY-1", **fields):
    return client.post(ACTIVATE, {"terminal": terminal, "code": code, "software": "3.1", **fields})


def bearer(token):
    return {"HTTP_AUTHORIZATION": f"Bearer {token}"}


def test_activation_hands_out_token_store_and_boosters(api_client, terminal):
    answer = activate(api_client, code_for(terminal))

    body = answer.json()
    assert answer.status_code == 201
    assert body == {
        "token": body["token"],
        "terminal": "LY-1",
        "organization": "LYON",
        "boosters": ["https://booster-a.example", "https://booster-b.example"],
        "signing_keys": signing_keys(),
    }
    assert body["token"].startswith("bst_terminal_")


def test_activation_refuses_a_code_after_its_expiry(api_client, terminal, time_machine):
    code = code_for(terminal, valid_for=timedelta(hours=1))
    time_machine.shift(timedelta(hours=1, seconds=1))

    answer = activate(api_client, code)

    assert (answer.status_code, answer.json()["type"]) == (410, "/problems/activation-expired")
    assert not terminal.tokens.exists()


def test_activation_refuses_a_used_code(api_client, terminal):
    code = code_for(terminal)
    activate(api_client, code)

    answer = activate(api_client, code)

    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/activation-code-used")
    assert terminal.tokens.count() == 1


def test_activation_refuses_wrong_code_and_unknown_terminal_alike(api_client, terminal):
    code = code_for(terminal)

    answers = [activate(api_client, "WRONG"), activate(api_client, code, terminal="NOBODY")]

    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].json() == answers[1].json()
    assert answers[0]["WWW-Authenticate"] == "Bearer"


def test_activation_tells_when_to_come_back_after_too_many_wrong_codes(api_client, terminal):
    for _ in range(10):
        activate(api_client, "WRONG")

    answer = activate(api_client, code_for(terminal))

    assert (answer.status_code, answer["Retry-After"]) == (429, "901")
    assert FailedActivation.objects.count() == 10


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/terminal", "/code"]),
        ({"terminal": "", "code": "X"}, ["/terminal"]),
        ({"terminal": "LY-1", "code": "X" * 41}, ["/code"]),
        ({"terminal": "LY-1", "code": "X", "software": "v" * 61}, ["/software"]),
        ({"terminal": "LY-1", "code": {"a": 1}}, ["/code"]),
    ],
)
def test_activation_names_what_is_malformed(api_client, body, pointers):
    answer = api_client.post(ACTIVATE, body)

    assert answer.status_code == 400
    assert [error["pointer"] for error in answer.json()["errors"]] == pointers


def test_a_new_code_for_an_active_terminal_replaces_its_token_once_the_new_one_is_used(api_client, terminal):
    old = activate(api_client, code_for(terminal)).json()["token"]
    new = activate(api_client, code_for(terminal)).json()["token"]

    before = api_client.post(ROLL, **bearer(old)).status_code
    api_client.get("/api/v1/terminal/configuration", **bearer(new))
    after = api_client.post(ROLL, **bearer(old))

    assert (before, after.status_code, after.json()["type"]) == (201, 410, "/problems/terminal-revoked")


def test_a_rolled_token_works_and_ends_the_old_one_on_first_use(api_client, terminal):
    old = activate(api_client, code_for(terminal)).json()["token"]

    rolled = api_client.post(ROLL, **bearer(old))
    new = rolled.json()["token"]

    statuses = [
        api_client.get("/api/v1/terminal/configuration", **bearer(token)).status_code for token in (old, new, old)
    ]
    assert (rolled.status_code, statuses) == (201, [200, 200, 410])


def test_whoever_rolls_again_and_again_is_told_to_wait_and_leaves_no_further_trace(api_client, terminal):
    token = issue_token(terminal, NOON).text
    statuses = [api_client.post(ROLL, **bearer(token)).status_code for _ in range(10)]
    before = terminal.tokens.count()

    refused = api_client.post(ROLL, **bearer(token))

    assert (statuses, refused.status_code, refused["Retry-After"]) == ([201] * 10, 429, "3600")
    assert terminal.tokens.count() == before


def test_a_terminal_revokes_itself(api_client, terminal):
    token = activate(api_client, code_for(terminal)).json()["token"]

    answer = api_client.post(REVOKE, **bearer(token))

    again = api_client.post(REVOKE, **bearer(token))
    assert (answer.status_code, answer.content) == (204, b"")
    assert (again.status_code, again.json()["type"]) == (410, "/problems/terminal-revoked")
    assert not TerminalToken.objects.filter(revoked_at__isnull=True).exists()


@pytest.mark.parametrize("door", [ROLL, REVOKE])
def test_another_kind_of_credential_does_not_open_a_terminal_door(api_client, door):
    user_token = make_user_token()

    statuses = [
        api_client.post(door, **headers).status_code
        for headers in (bearer(user_token), {}, bearer("nonsense"), {"HTTP_AUTHORIZATION": "Basic dXNlcjpwYXNz"})
    ]

    assert statuses == [403, 401, 401, 401]


@pytest.mark.parametrize("door", [ACTIVATE, ROLL, REVOKE])
def test_device_doors_have_both_slash_forms_and_know_only_post(api_client, door):
    statuses = [(api_client.post(path).status_code, api_client.get(path).status_code) for path in (door, f"{door}/")]

    assert statuses[0] == statuses[1]
    assert statuses[0][0] in (400, 401)
    assert statuses[0][1] in (401, 405)
