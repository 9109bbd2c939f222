from datetime import UTC, datetime

import pytest

from accounts.scope import STORE_OPERATOR
from events.models import Event
from terminals.activation import activate
from terminals.models import ActivationCode, Terminal, TerminalReport
from tests.backoffice.api import as_user, outcome, pointers
from tests.factories import make_terminal, make_tree, make_user

pytestmark = pytest.mark.django_db
URL = "/api/v1/terminals/"
MOMENT = datetime(2026, 3, 1, 8, tzinfo=UTC)


@pytest.fixture
def tree():
    return make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", BERGEN="NORTH", SOUTH="ACME", ROME="SOUTH")


def url(terminal, action=""):
    return f"{URL}{terminal.pk}/{action}"


def activated(terminal, code):
    return activate(terminal.search_key, code, "POS 3.1", moment=MOMENT, address="192.0.2.1")


def test_create_answers_with_the_whole_representation(tree):
    answer = as_user().post(URL, {"search_key": "OSLO-1", "name": "Till 1", "organization": "OSLO"})

    terminal = Terminal.objects.get()
    oslo = tree["OSLO"].pk
    assert (answer.status_code, answer["Location"]) == (201, url(terminal))
    assert answer.json() == {
        "id": terminal.pk,
        "search_key": "OSLO-1",
        "name": "Till 1",
        "organization": "OSLO",
        "organization_ref": {"id": oslo, "url": f"/api/v1/organizations/{oslo}/", "display": "OSLO"},
        "is_active": True,
        "activated_at": None,
        "last_seen_at": None,
        "software": "",
        "revision": None,
        "reported_at": None,
        "queue_length": None,
    }


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"search_key": "OSLO-1"}, ("/search_key", "unique")),
        ({"search_key": "with blank"}, ("/search_key", "invalid_search_key")),
        ({"organization": "NORTH"}, ("/organization", "does_not_exist")),
        ({"organization": "NOWHERE"}, ("/organization", "does_not_exist")),
        ({"name": ""}, ("/name", "blank")),
        ({"token": "x"}, ("/token", "unknown_member")),
    ],
)
def test_create_refuses_and_points_at_the_member(tree, change, complaint):
    make_terminal("OSLO-1", tree["OSLO"])

    answer = as_user().post(URL, {"search_key": "OSLO-2", "name": "Till 2", "organization": "OSLO"} | change)

    assert outcome(answer) == (400, "/problems/invalid")
    assert pointers(answer) == [complaint]
    assert Terminal.objects.count() == 1


def test_reports_are_told_and_never_written(tree):
    terminal = make_terminal("OSLO-1", tree["OSLO"])
    TerminalReport.objects.create(terminal=terminal, last_seen_at=MOMENT, software="POS 3.1", revision=7)

    answer = as_user().patch(url(terminal), {"name": "Till", "software": "mine", "activated_at": None, "revision": 1})

    told = {name: answer.json()[name] for name in ("name", "last_seen_at", "software", "revision")}
    assert told == {"name": "Till", "last_seen_at": "2026-03-01T08:00:00Z", "software": "POS 3.1", "revision": 7}


def test_delete_removes_the_terminal_with_its_codes(tree):
    terminal = make_terminal("OSLO-1", tree["OSLO"])
    client = as_user()
    client.post(url(terminal, "activation-code/"))

    answer = client.delete(url(terminal))

    assert (answer.status_code, Terminal.objects.count(), ActivationCode.objects.count()) == (204, 0, 0)


def test_activation_code_activates_the_terminal(tree, time_machine):
    time_machine.move_to(MOMENT, tick=False)
    terminal = make_terminal("OSLO-1", tree["OSLO"])

    answer = as_user().post(url(terminal, "activation-code/"))

    assert answer.status_code == 201
    assert {name: answer.json()[name][:19] for name in ("expires_at", "qr")} == {
        "expires_at": "2026-03-02T08:00:00",
        "qr": "data:image/svg+xml;",
    }
    assert activated(terminal, answer.json()["code"]).terminal == "OSLO-1"
    assert Event.objects.filter(kind="activation-code-made", actor__isnull=False).count() == 1


def test_activation_code_lives_as_long_as_asked(tree, time_machine):
    time_machine.move_to(MOMENT, tick=False)
    terminal = make_terminal("OSLO-1", tree["OSLO"])

    answer = as_user().post(url(terminal, "activation-code/"), {"valid_for_s": 3600})

    assert answer.json()["expires_at"] == "2026-03-01T09:00:00Z"


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"valid_for_s": 59}, ("/valid_for_s", "min_value")),
        ({"valid_for_s": 10**30}, ("/valid_for_s", "max_value")),
        ({"valid_for_s": "long"}, ("/valid_for_s", "invalid")),
        ({"valid_for_h": 1}, ("/valid_for_h", "unknown_member")),
    ],
)
def test_activation_code_refuses_other_times(tree, body, complaint):
    terminal = make_terminal("OSLO-1", tree["OSLO"])

    answer = as_user().post(url(terminal, "activation-code/"), body)

    assert outcome(answer) == (400, "/problems/invalid")
    assert pointers(answer) == [complaint]
    assert not ActivationCode.objects.exists()


def test_dry_run_of_an_activation_code_keeps_the_older_one(tree):
    terminal = make_terminal("OSLO-1", tree["OSLO"])
    client = as_user()
    code = client.post(url(terminal, "activation-code/")).json()["code"]

    answer = client.post(url(terminal, "activation-code/?dry_run=true"))

    assert (answer.status_code, ActivationCode.objects.filter(voided_at=None).count()) == (201, 1)
    assert activated(terminal, code).organization == "OSLO"


def test_revoke_ends_tokens_and_tells_the_terminal_as_it_is_now(tree):
    terminal = make_terminal("OSLO-1", tree["OSLO"])
    client = as_user()
    activated(terminal, client.post(url(terminal, "activation-code/")).json()["code"])

    before = client.get(url(terminal)).json()["activated_at"]
    answer = client.post(url(terminal, "revoke/"))

    assert before is not None
    assert (answer.status_code, answer.json()["search_key"], answer.json()["activated_at"]) == (200, "OSLO-1", None)
    assert not terminal.tokens.filter(revoked_at=None).exists()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["OSLO-1", "ROME-1", "bergen-1"]),
        ({"search_key": "ROME-1"}, ["ROME-1"]),
        ({"name": "OSLO-1"}, ["OSLO-1"]),
        ({"is_active": "false"}, ["ROME-1"]),
        ({"organization": "NORTH", "scope": "subtree"}, ["OSLO-1", "bergen-1"]),
        ({"organization": "OSLO"}, ["OSLO-1"]),
    ],
)
def test_list_filters_and_orders_by_code_point(tree, query, found):
    make_terminal("bergen-1", tree["BERGEN"])
    make_terminal("ROME-1", tree["ROME"], is_active=False)
    make_terminal("OSLO-1", tree["OSLO"])

    answer = as_user().get(URL, query)

    assert [row["search_key"] for row in answer.json()["results"]] == found


@pytest.mark.parametrize("rows", [1, 3])
def test_list_costs_the_same_however_long(tree, rows, django_assert_num_queries):
    for number in range(rows):
        make_terminal(f"OSLO-{number}", tree["OSLO"])
    client = as_user()

    with django_assert_num_queries(4):  # token, its use, count, rows
        client.get(URL)


def test_store_operator_keeps_to_his_stores(tree):
    own, foreign = make_terminal("OSLO-1", tree["OSLO"]), make_terminal("ROME-1", tree["ROME"])
    operator = make_user(role=STORE_OPERATOR)
    operator.organizations.add(tree["NORTH"])
    client = as_user(operator)

    made = client.post(URL, {"search_key": "BERGEN-1", "name": "B", "organization": "BERGEN"})
    made_outside = client.post(URL, {"search_key": "ROME-2", "name": "R", "organization": "ROME"})
    moved_outside = client.patch(url(own), {"organization": "ROME"})

    assert made.status_code == 201
    assert client.post(url(own, "activation-code/")).status_code == 201
    assert client.post(url(own, "revoke/")).status_code == 200
    assert pointers(made_outside) == pointers(moved_outside) == [("/organization", "does_not_exist")]
    assert {
        client.get(url(foreign)).status_code,
        client.patch(url(foreign), {"name": "mine"}).status_code,
        client.delete(url(foreign)).status_code,
        client.post(url(foreign, "activation-code/")).status_code,
        client.post(url(foreign, "revoke/")).status_code,
    } == {404}
