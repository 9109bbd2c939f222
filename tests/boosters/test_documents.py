"""The documents that the agent of a store server keeps for its terminals."""

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from jwt.algorithms import OKPAlgorithm

from backoffice import signed_text
from backoffice.document_signing import JWS_TYPE, sign_document, signing_keys
from organizations.tree import update_organization
from preferences.models import PreferenceValue
from routing.store import store
from servers.agent_tokens import issue_agent_token
from terminals.tokens import issue_token, revoke_terminal
from tests.factories import make_server, make_terminal, make_tree

pytestmark = pytest.mark.django_db
PATH = "/api/v1/agent/documents"


@pytest.fixture
def tree():
    PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
    return make_tree(ACME=None, LYON="ACME", OSLO="ACME")


@pytest.fixture
def lyon(tree):
    return make_server("lyon", client=tree["ACME"], organizations=[tree["LYON"]], server_type="store")


@pytest.fixture
def token(tree):
    return issue_token(make_terminal("LY-1", tree["LYON"]), timezone.now())


def bearer(server):
    return {"HTTP_AUTHORIZATION": f"Bearer {issue_agent_token(server.pk, timezone.now()).text}"}


def fetch(client, caller, **headers):
    store.refresh()
    return client.get(PATH, headers=headers, **caller)


def terminals_in(answer):
    return {row["code"]: row["terminals"] for row in answer.json()["organizations"]}


def test_the_agent_gets_the_very_bytes_its_terminals_get_and_no_secret(api_client, lyon, token, tree):
    issue_token(make_terminal("OS-1", tree["OSLO"]), timezone.now())

    answer = fetch(api_client, bearer(lyon))

    assert answer.status_code == 200
    assert terminals_in(answer) == {"LYON": [token.id]}
    assert token.secret not in answer.content.decode()
    documents = answer.json()["organizations"][0]["documents"]
    for door in ("configuration", "status"):
        direct = api_client.get(
            f"/api/v1/terminal/{door}", HTTP_AUTHORIZATION=f"Bearer {token.text}", HTTP_ACCEPT_ENCODING="identity"
        )
        held = documents[door]
        assert held["body"].encode() == direct.content
        assert f'"{held["tag"]}"' == direct.headers["ETag"]
        assert str(held["revision"]) == direct.headers["X-Booster-Revision"]


def test_each_document_is_signed_for_its_door_store_and_bytes(api_client, lyon, token, time_machine):
    noon = datetime(2026, 11, 27, 12, tzinfo=UTC)
    time_machine.move_to(noon, tick=False)

    told = fetch(api_client, bearer(lyon)).json()

    keys = {key["kid"]: OKPAlgorithm.from_jwk(key) for key in told["signing_keys"]}
    held = told["organizations"][0]["documents"]["status"]
    payload, key_id = signed_text.read(held["signature"].encode(), keys, JWS_TYPE)
    assert json.loads(payload) == {
        "door": "status",
        "organization": "LYON",
        "revision": held["revision"],
        "sha256": hashlib.sha256(held["body"].encode()).hexdigest(),
        "iat": int(noon.timestamp()),
    }
    assert told["signing_keys"] == signing_keys()
    assert key_id == signing_keys()[0]["kid"]


def test_both_nodes_sign_with_the_same_key_and_another_secret_gives_another(settings):
    before = signing_keys()
    signed = sign_document("status", "LYON", 7, b"{}", datetime(2026, 11, 27, tzinfo=UTC))

    assert sign_document("status", "LYON", 7, b"{}", datetime(2026, 11, 27, tzinfo=UTC)) == signed
    settings.SECRET_KEY = "another secret key of fifty characters, or of a few more"
    assert signing_keys() != before
    assert "d" not in before[0]


def test_unchanged_documents_are_304_and_any_change_is_told(api_client, lyon, token, tree, time_machine):
    time_machine.move_to(timezone.now(), tick=False)
    caller = bearer(lyon)
    first = fetch(api_client, caller)
    time_machine.shift(timedelta(seconds=5))

    same = fetch(api_client, caller, if_none_match=first.headers["ETag"])
    update_organization(tree["LYON"].pk, name="Lyon Centre")
    renamed = fetch(api_client, caller, if_none_match=first.headers["ETag"])
    revoke_terminal(token_terminal(token), timezone.now())
    revoked = fetch(api_client, caller, if_none_match=renamed.headers["ETag"])

    assert (same.status_code, same.content) == (304, b"")
    assert (renamed.status_code, "Lyon Centre" in renamed.content.decode()) == (200, True)
    assert terminals_in(revoked) == {"LYON": []}


def token_terminal(token):
    from terminals.models import TerminalToken

    return TerminalToken.objects.get(token_id=token.id).terminal_id


def test_a_main_server_gets_none(api_client, tree, token):
    main = make_server("central", client=tree["ACME"])

    answer = fetch(api_client, bearer(main))

    assert (answer.status_code, answer.json()["organizations"]) == (200, [])


@pytest.mark.parametrize("stores", [1, 3])
def test_however_many_stores_it_costs_no_query_but_that_for_the_token(
    api_client, tree, django_assert_num_queries, stores
):
    extra = make_tree(**{f"S{number}": "ACME" for number in range(stores)})
    for code, organization in extra.items():
        issue_token(make_terminal(f"{code}-1", organization), timezone.now())
    server = make_server("region", client=tree["ACME"], organizations=list(extra.values()), server_type="store")
    caller = bearer(server)
    fetch(api_client, caller)

    with django_assert_num_queries(1):
        answer = api_client.get(PATH, **caller)

    assert len(answer.json()["organizations"]) == stores


def test_a_terminal_activated_meanwhile_is_among_those_told(api_client, lyon, token, tree):
    caller = bearer(lyon)
    fetch(api_client, caller)
    added = issue_token(make_terminal("LY-2", tree["LYON"]), timezone.now())

    answer = fetch(api_client, caller)

    assert terminals_in(answer) == {"LYON": sorted([token.id, added.id])}
