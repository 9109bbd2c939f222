"""The question for a server's status that needs no login."""

from datetime import UTC, datetime

import pytest
from django.db import OperationalError

from routing.store import store
from servers.models import ServerState
from tests.factories import make_organization, make_server

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
URL = "/api/v1/servers/status"


def ask(client, key, url=URL, **more):
    return client.post(url, {"serverKey": key, **more})


@pytest.fixture
def acme():
    return make_organization("ACME")


@pytest.mark.parametrize(
    ("status", "code"),
    [("online", "ON"), ("transition_to_offline", "TOFF"), ("offline", "OFF"), ("transition_to_online", "TON")],
)
def test_each_state_has_its_code(api_client, acme, status, code):
    ServerState.objects.create(server=make_server("LyonBox", client=acme, key="LyonBox"), status=status)

    answer = ask(api_client, "lyonBOX")

    assert (answer.status_code, answer.json()) == (200, {"serverKey": "lyonBOX", "serverStatus": code})


def test_unknown_inactive_and_never_observed_servers_are_off_alike(api_client, acme):
    inactive = make_server("closed", client=acme, key="closed", is_active=False)
    ServerState.objects.create(server=inactive, status="online")
    make_server("new", client=acme, key="new")

    answers = [ask(api_client, key).json() for key in ("nobody", "closed", "new", "", " new", "'; --")]

    assert [answer.get("serverStatus", answer.get("type")) for answer in answers] == [
        "OFF",
        "OFF",
        "OFF",
        "/problems/invalid",
        "OFF",
        "OFF",
    ]


def test_it_is_answered_from_memory_in_both_slash_forms(api_client, acme, django_assert_num_queries):
    ServerState.objects.create(server=make_server("box", client=acme, key="box"), status="online")
    store.refresh()

    with django_assert_num_queries(0):
        answers = [ask(api_client, key, url).json() for key in ("box", "nobody") for url in (URL, f"{URL}/")]

    assert [answer["serverStatus"] for answer in answers] == ["ON", "ON", "OFF", "OFF"]


def test_it_is_answered_while_the_database_is_away(api_client, acme, monkeypatch):
    ServerState.objects.create(server=make_server("box", client=acme, key="box"), status="online")
    store.refresh()

    def away():
        raise OperationalError("the connection was closed")

    monkeypatch.setattr("routing.revision.numbers", away)
    monkeypatch.setattr(store, "_checked_at", 0.0)

    assert ask(api_client, "box").json()["serverStatus"] == "ON"


def test_what_callers_of_old_send_beside_the_key_does_not_matter(api_client):
    assert ask(api_client, "x", client_id="A", appName="B").status_code == 200


@pytest.mark.parametrize("body", [{}, {"serverKey": None}, {"serverKey": ["x"]}, {"serverKey": "k" * 256}, []])
def test_what_is_no_question_is_refused(api_client, body):
    answer = api_client.post(URL, body)

    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid")


def test_questions_are_limited_per_address(api_client, time_machine):
    time_machine.move_to(NOON, tick=False)
    statuses = [ask(api_client, "x").status_code for _ in range(121)]

    limited = ask(api_client, "x")
    elsewhere = api_client.post(URL, {"serverKey": "x"}, REMOTE_ADDR="192.0.2.9")
    time_machine.shift(60)

    assert statuses == [200] * 120 + [429]
    assert (limited.status_code, limited["Retry-After"], elsewhere.status_code) == (429, "60", 200)
    assert ask(api_client, "x").status_code == 200


def test_the_question_takes_nothing_from_the_collection(api_client):
    assert [api_client.get(url).status_code for url in (URL, "/api/v1/servers/")] == [405, 401]
