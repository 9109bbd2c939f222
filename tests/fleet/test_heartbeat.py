"""What an agent's reports do."""

from datetime import UTC, datetime, timedelta

import pytest
from django.apps import apps
from django.db import OperationalError
from django.utils import timezone

from fleet.models import Incident, Pulse, Reachability
from organizations.tree import update_organization
from preferences.models import PreferenceValue
from routing import revision
from routing.store import store
from servers.agent_tokens import issue_agent_token
from servers.models import AgentToken, MobileServer, ServerReport, ServerState, StatusTransition
from tests.factories import make_organization, make_server, make_tree

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
HEARTBEAT = "/api/v1/agent/heartbeat"
REPORT = {
    "key": "lyonbox",
    "software_version": "26.2",
    "modules": [{"name": "org.example.pos", "version": "3.1"}],
    "ready": True,
    "pending": 0,
    "host_name": "lyon-1",
    "os": "Debian 13",
    "observed": [],
}


@pytest.fixture(autouse=True)
def _noon(time_machine):
    time_machine.move_to(NOON, tick=False)


@pytest.fixture
def acme():
    return make_organization("ACME")


@pytest.fixture
def server(acme):
    return make_server("LyonBox", client=acme)


@pytest.fixture
def token(server):
    return issue_agent_token(server.pk, NOON).text


@pytest.fixture
def report(api_client, token):
    """Return a function that sends a report of the agent, and the answer to it."""

    def send(**changes):
        return api_client.post(HEARTBEAT, REPORT | changes, HTTP_AUTHORIZATION=f"Bearer {token}")

    return send


def everything():
    """Return every row of what a report could leave a trace in."""
    watched = [*apps.get_app_config("servers").get_models(), *apps.get_app_config("fleet").get_models()]
    watched += apps.get_app_config("events").get_models()
    return {model.__name__: sorted(map(repr, model._default_manager.values())) for model in watched}


def test_a_first_report_of_a_ready_server_takes_it_online_and_keeps_what_it_told(report, server):
    """OMF-14"""
    answer = report()

    stored = ServerReport.objects.values().get()
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "online", "since": "2026-11-27T12:00:00Z", "next_interval_s": 30, "todo": []},
    )
    assert stored == {
        "server_id": server.pk,
        "ready_at": NOON,
        "unready_at": None,
        "unready_cause": "",
        "failed_at": None,
        "failure_cause": "",
        "bad_since": None,
        "successes": 1,
        "failures": 0,
        "attempted_at": None,
        "last_seen_at": NOON,
        "reported_at": NOON,
        "software_version": "26.2",
        "modules": [{"name": "org.example.pos", "version": "3.1"}],
        "pending": 0,
        "host_name": "lyon-1",
        "os": "Debian 13",
        "address": "127.0.0.1",
        "clock_offset_s": None,
        "probed_at": None,
        "next_probe_at": None,
        "probe_took_ms": None,
    }
    told = StatusTransition.objects.order_by("pk").values_list("to_status", "observer")
    assert list(told) == [("transition_to_online", "agent"), ("online", "agent")]
    assert AgentToken.objects.get().first_used_at == NOON


def test_a_steady_report_takes_two_queries_and_moves_no_revision(report, time_machine, django_assert_num_queries):
    report()
    store.refresh()
    before = revision.numbers()
    time_machine.shift(30)

    with django_assert_num_queries(2) as captured:  # the token with all it needs, and the report
        answer = report(pending=3)

    assert answer.json()["status"] == "online"
    assert [query["sql"].split()[0] for query in captured] == ["SELECT", "UPDATE"]
    assert revision.numbers() == before
    assert ServerReport.objects.values_list("last_seen_at", "pending").get() == (NOON + timedelta(seconds=30), 3)


def test_a_steady_report_on_others_takes_three_queries_and_moves_no_revision(
    report, acme, time_machine, django_assert_num_queries
):
    observed = [{"key": make_server(client=acme).key, "reachable": number % 2 == 0} for number in range(20)]
    report(observed=observed)
    store.refresh()
    before = revision.numbers()
    time_machine.shift(30)

    with django_assert_num_queries(3) as captured:
        report(observed=observed)

    assert [query["sql"].split()[0] for query in captured] == ["SELECT", "UPDATE", "INSERT"]
    assert revision.numbers() == before


def test_a_report_on_the_way_back_costs_no_more(report, time_machine, django_assert_num_queries):
    report(ready=False)
    store.refresh()
    time_machine.shift(10)

    with django_assert_num_queries(2):
        answer = report(ready=False)

    assert answer.json()["status"] == "transition_to_online"


def test_a_wait_does_not_end_while_the_booster_was_away(report, time_machine):
    report(ready=False)
    time_machine.shift(3_600)
    report(ready=False)
    begun = StatusTransition.objects.count()
    Pulse.objects.bulk_create(Pulse(name=name, since=NOON, at=timezone.now()) for name in ("receiver", "watcher"))

    report(ready=False)

    latest = StatusTransition.objects.order_by("pk")[1]
    assert begun == 1
    assert (latest.to_status, latest.cause) == (
        "offline",
        "Not ready within 100 s. Its agent reports that it is not ready.",
    )


def test_the_return_of_a_server_closes_its_incident_with_it(report, server, time_machine):
    report()
    lost = NOON + timedelta(minutes=2)
    ServerState.objects.update(status="offline", since=lost, cause="No heartbeat for 90 s.")
    incident = Incident.objects.create(server=server, opened_at=lost, cause="No heartbeat for 90 s.")
    time_machine.shift(600)

    answer = report()

    incident.refresh_from_db()
    assert (answer.json()["status"], incident.closed_at) == ("online", NOON + timedelta(seconds=600))


def test_a_server_that_is_not_ready_is_asked_to_prepare_and_to_report_soon(report, time_machine):
    first = report(ready=False, pending=12).json()
    time_machine.shift(10)
    second = report(ready=False, cause="The payment hook waits.").json()
    cause = ServerReport.objects.get().unready_cause
    time_machine.shift(10)
    third = report().json()

    waiting = {"status": "transition_to_online", "since": "2026-11-27T12:00:00Z", "next_interval_s": 10}
    assert first == second == {**waiting, "todo": [{"action": "prepare"}]}
    assert third == {"status": "online", "since": "2026-11-27T12:00:20Z", "next_interval_s": 30, "todo": []}
    assert cause == "The payment hook waits."


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"pending": 12}, "12 transactions pending."),
        ({"pending": 1}, "1 transaction pending."),
        ({"pending": 0}, "Its agent reports that it is not ready."),
        ({"pending": 12, "cause": "Migrating."}, "Migrating."),
    ],
)
def test_a_server_that_is_not_ready_says_why(report, changes, cause):
    report(ready=False, **changes)

    assert ServerReport.objects.get().unready_cause == cause


def test_the_interval_is_the_preference_of_the_servers_place(report):
    PreferenceValue.objects.create(key="heartbeat_interval_s", value="7")

    assert (report(ready=False).json()["next_interval_s"], report().json()["next_interval_s"]) == (7, 7)


@pytest.mark.parametrize(
    ("sent_at", "offset_s", "todo"),
    [
        ("2026-11-27T12:01:00Z", 60, []),
        ("2026-11-27T11:58:59Z", -61, [{"action": "set_clock"}]),
        ("2026-11-27T17:00:00.400Z", 18_000, [{"action": "set_clock"}]),
        ("0001-01-01T00:00:00Z", -(2**31 - 1), [{"action": "set_clock"}]),
        ("9999-12-31T23:59:59Z", 2**31 - 1, [{"action": "set_clock"}]),
    ],
)
def test_a_clock_that_is_off_is_kept_to_be_shown_and_does_not_matter(report, time_machine, sent_at, offset_s, todo):
    report(sent_at="2026-11-27T12:00:00Z")
    time_machine.move_to(NOON, tick=False)

    answer = report(sent_at=sent_at).json()

    stored = ServerReport.objects.get()
    assert (answer["status"], answer["todo"], stored.clock_offset_s) == ("online", todo, offset_s)
    assert (stored.ready_at, stored.last_seen_at, stored.reported_at) == (NOON, NOON, NOON)
    assert StatusTransition.objects.count() == 2


@pytest.mark.parametrize("credential", ["unknown", "forged", "inactive", "mismatched", "deleted"])
def test_a_report_with_an_unknown_inactive_or_mismatched_key_leaves_no_trace(api_client, acme, server, credential):
    """OMF-15"""
    make_server("other", client=acme, key="other")
    token = issue_agent_token(server.pk, NOON).text
    body = REPORT | {"observed": [{"key": "other", "reachable": False}]}
    if credential == "unknown":
        token = f"bst_agent_{'a' * 16}.{'A' * 43}"
    elif credential == "forged":
        token = token[:-43] + "A" * 43
    elif credential == "inactive":
        MobileServer.objects.filter(pk=server.pk).update(is_active=False)
    elif credential == "mismatched":
        body |= {"key": "other"}
    else:
        server.delete()
    before = everything()

    answer = api_client.post(HEARTBEAT, body, HTTP_AUTHORIZATION=f"Bearer {token}")

    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/not-authenticated")
    assert everything() == before


MODULE = {"name": "m", "version": "1"}


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"modules": [MODULE] * 501}, "/modules"),
        ({"modules": [{"name": "m" * 121, "version": "1"}]}, "/modules/0/name"),
        ({"modules": [{"name": "m"}]}, "/modules/0/version"),
        ({"modules": [MODULE | {"x": 1}]}, "/modules/0/x"),
        ({"modules": {"m": "1"}}, "/modules"),
        ({"observed": [{"key": "k", "reachable": True}] * 1001}, "/observed"),
        ({"observed": [{"key": "k" * 33, "reachable": True}]}, "/observed/0/key"),
        ({"observed": [{"key": "k", "reachable": "perhaps"}]}, "/observed/0/reachable"),
        ({"software_version": "v" * 61}, "/software_version"),
        ({"host_name": "h" * 256}, "/host_name"),
        ({"host_name": "a\0b"}, "/host_name"),
        ({"os": "o" * 121}, "/os"),
        ({"cause": "c" * 256}, "/cause"),
        ({"pending": -1}, "/pending"),
        ({"pending": 2**31}, "/pending"),
        ({"ready": "soon"}, "/ready"),
        ({"sent_at": "yesterday"}, "/sent_at"),
        ({"status": "online"}, "/status"),
    ],
)
def test_a_malformed_report_is_refused_whole(report, changes, pointer):
    before = everything()

    answer = report(**changes)

    assert (answer.status_code, [error["pointer"] for error in answer.json()["errors"]]) == (400, [pointer])
    assert everything() == before


def test_an_oversize_report_is_refused_whole_and_one_at_the_limit_is_not(api_client, token):
    before = everything()

    def post(size):
        text = '{"software_version":"","modules":[],"ready":true,"pending":0,"host_name":"","os":"","observed":[]}'
        headers = {"HTTP_AUTHORIZATION": f"Bearer {token}"}
        return api_client.generic("POST", HEARTBEAT, text.ljust(size), "application/json", **headers)

    refused = post(256 * 1024 + 1)
    untouched = everything()
    taken = post(256 * 1024)

    assert (refused.status_code, refused.json()["type"], taken.status_code) == (413, "/problems/too-large", 200)
    assert untouched == before


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '"text"', "[" * 100_000])
def test_what_is_no_report_at_all_is_refused(api_client, token, body):
    before = everything()

    answer = api_client.generic("POST", HEARTBEAT, body, "application/json", HTTP_AUTHORIZATION=f"Bearer {token}")

    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert everything() == before


def test_the_agent_of_an_inactive_clients_server_is_heard_since_its_active_stores_are_served(acme, report):
    update_organization(acme.pk, is_active=False)

    answer = report()

    assert (answer.status_code, answer.json()["status"]) == (200, "online")


def test_a_flood_from_one_agent_is_limited_without_hurting_another(api_client, acme, report, time_machine):
    neighbour = issue_agent_token(make_server("other", client=acme, key="other").pk, NOON).text
    statuses = [report().status_code for _ in range(61)]
    before = everything()

    flooding = report(pending=99)
    untouched = everything()
    other = api_client.post(HEARTBEAT, REPORT | {"key": "other"}, HTTP_AUTHORIZATION=f"Bearer {neighbour}")
    time_machine.shift(60)

    assert statuses == [200] * 60 + [429]
    assert (flooding.status_code, flooding["Retry-After"]) == (429, "60")
    assert (untouched, other.status_code, report().status_code) == (before, 200, 200)


def test_the_report_of_a_server_that_another_worker_judged_first_answers_with_what_holds(report, server, monkeypatch):
    report()
    lost = NOON - timedelta(minutes=10)
    ServerState.objects.update(status="transition_to_offline", since=lost, cause="No heartbeat for 90 s.")

    def somebody_else_first(verdicts):
        ServerState.objects.update(status="offline", since=NOON)
        return []

    monkeypatch.setattr("fleet.states.write", somebody_else_first)

    answer = report().json()

    assert (answer["status"], answer["since"]) == ("offline", "2026-11-27T12:00:00Z")


def test_a_database_that_is_away_is_a_503_that_says_when_to_come_back(api_client, token, monkeypatch):
    def away(*args):
        raise OperationalError("the connection was closed")

    monkeypatch.setattr("boosters.authentication.AgentAuthentication.find", away)

    answer = api_client.post(HEARTBEAT, REPORT, HTTP_AUTHORIZATION=f"Bearer {token}")

    assert (answer.status_code, answer["Retry-After"], answer["Content-Type"]) == (503, "5", "application/problem+json")


def test_both_slash_forms_take_reports(api_client, token):
    answers = [
        api_client.post(path, REPORT, HTTP_AUTHORIZATION=f"Bearer {token}") for path in (HEARTBEAT, f"{HEARTBEAT}/")
    ]

    assert [answer.status_code for answer in answers] == [200, 200]


def seen():
    return list(
        Reachability.objects.order_by("server__key").values_list(
            "server__key", "observing_server__key", "is_reachable", "since", "seen_at"
        )
    )


def test_what_a_server_sees_of_its_clients_servers_is_kept_and_changes_no_state(report, acme):
    make_server("central", client=acme, key="Central")
    make_server("closed", client=acme, key="closed", is_active=False)
    make_server("foreign", client=make_tree(OTHER=None)["OTHER"], key="foreign")

    keys = ("CENTRAL", "lyonbox", "closed", "foreign", "nobody")
    answer = report(observed=[{"key": key, "reachable": False} for key in keys])

    assert (answer.status_code, seen()) == (200, [("Central", "lyonbox", False, NOON, NOON)])
    assert list(ServerState.objects.values_list("server__key", "status")) == [("lyonbox", "online")]


def test_an_observation_is_written_when_it_changes_or_is_a_minute_old(report, acme, time_machine):
    make_server("central", client=acme, key="central")
    written = []
    for after_s, is_reachable in ((0, True), (59, True), (1, True), (1, False), (30, False)):
        time_machine.shift(after_s)
        report(observed=[{"key": "central", "reachable": is_reachable}])
        written.append(seen()[0][2:])

    def at(seconds):
        return timezone.now() - timedelta(seconds=91 - seconds)

    assert written == [
        (True, NOON, NOON),
        (True, NOON, NOON),
        (True, NOON, at(60)),
        (False, at(61), at(61)),
        (False, at(61), at(61)),
    ]
