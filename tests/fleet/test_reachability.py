"""Who can reach whom, as terminals and servers say it."""

from datetime import UTC, datetime, timedelta

import pytest

from fleet.models import Reachability
from fleet.reachability import StoreView, summary, unreachable_by, write_of_servers, write_of_terminals
from preferences.models import PreferenceValue
from routing import revision
from routing.store import store
from servers.models import ServerState, StatusTransition
from terminals.models import Terminal, TerminalReport
from terminals.reports import Sighting, Told
from terminals.tokens import issue_token, revoke_terminal
from tests.factories import make_server, make_terminal, make_tree, make_user_token

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
HEARTBEAT = "/api/v1/terminal/heartbeat"


@pytest.fixture(autouse=True)
def _noon(time_machine):
    time_machine.move_to(NOON, tick=False)


@pytest.fixture
def tree():
    return make_tree(ACME=None, LYON="ACME", NICE="ACME", OTHER=None)


@pytest.fixture
def box(tree):
    PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
    return make_server("LyonBox", client=tree["ACME"], organizations=[tree["LYON"]], key="LyonBox")


@pytest.fixture
def till(tree):
    return make_terminal("LY-1", tree["LYON"])


@pytest.fixture
def token(till):
    return issue_token(till, NOON).text


def tell(client, token, path=HEARTBEAT, **changes):
    body = {"revision": 7, "queue_length": 3, "software": "pos 3.1", "observed": []} | changes
    return client.post(path, body, HTTP_AUTHORIZATION=f"Bearer {token}")


def told():
    names = ("terminal__search_key", "last_seen_at", "reported_at", "revision", "queue_length", "software")
    return list(TerminalReport.objects.order_by("pk").values_list(*names))


def seen():
    rows = Reachability.objects.order_by("pk")
    return list(rows.values_list("server__key", "observing_terminal__search_key", "is_reachable", "since", "seen_at"))


def test_a_terminals_report_is_answered_at_once_and_written_with_the_others(api_client, box, token):
    answer = tell(api_client, token, observed=[{"key": "LYONBOX", "reachable": False}])
    before = (told(), seen())

    store.reports.flush()

    assert (answer.status_code, answer.json()) == (200, {"next_interval_s": 60, "revision": store.snapshot.revision})
    assert before == ([], [])
    assert told() == [("LY-1", NOON, NOON, 7, 3, "pos 3.1")]
    assert seen() == [("LyonBox", "LY-1", False, NOON, NOON)]


def test_it_changes_no_state_and_moves_no_revision(api_client, box, token):
    tell(api_client, token)
    store.reports.flush()
    before = revision.numbers()

    tell(api_client, token, observed=[{"key": "LyonBox", "reachable": False}])
    store.reports.flush()

    assert (ServerState.objects.count(), StatusTransition.objects.count()) == (0, 0)
    assert revision.numbers() == before


def test_only_servers_of_the_terminals_configuration_count(api_client, tree, box, token):
    make_server("nice", client=tree["ACME"], organizations=[tree["NICE"]], key="nice")
    make_server("foreign", client=tree["OTHER"], key="foreign")
    make_server("closed", client=tree["ACME"], key="closed", is_active=False)

    keys = ("nice", "foreign", "closed", "nobody", "LyonBox")
    answer = tell(api_client, token, observed=[{"key": key, "reachable": True} for key in keys])
    store.reports.flush()

    assert (answer.status_code, seen()) == (200, [("LyonBox", "LY-1", True, NOON, NOON)])


def test_a_poll_keeps_what_the_report_told_and_a_report_without_revision_keeps_the_polls(api_client, box, token):
    headers = {"HTTP_AUTHORIZATION": f"Bearer {token}"}
    api_client.get("/api/v1/terminal/configuration", **headers)
    held = store.snapshot.revision
    body = {"queue_length": 0, "software": "", "observed": []}
    api_client.post(HEARTBEAT, body, **headers)
    api_client.get("/api/v1/terminal/status", **headers)

    store.reports.flush()

    assert told() == [("LY-1", NOON, NOON, held, 0, "")]


def test_what_could_not_be_written_is_kept_for_the_next_time(api_client, box, token, monkeypatch):
    tell(api_client, token, observed=[{"key": "LyonBox", "reachable": False}])

    def fail(sightings):
        raise OSError

    with monkeypatch.context() as broken:
        broken.setattr("terminals.reports.sighting_writers", [fail])
        with pytest.raises(OSError):
            store.reports.flush()
    store.reports.flush()

    assert (told(), len(seen())) == ([("LY-1", NOON, NOON, 7, 3, "pos 3.1")], 1)


@pytest.mark.parametrize("tills", [1, 30])
def test_a_batch_takes_the_same_statements_for_any_number_of_terminals(
    api_client, tree, box, tills, django_assert_num_queries
):
    tokens = [issue_token(make_terminal(f"T-{number}", tree["LYON"]), NOON).text for number in range(tills)]
    for token in tokens:
        tell(api_client, token)
    store.reports.flush()  # the first use of a token is written for itself
    for number, token in enumerate(tokens):
        tell(api_client, token, observed=[{"key": "LyonBox", "reachable": bool(number % 2)}])

    with django_assert_num_queries(3):  # who is still there, their reports, what they saw
        store.reports.flush()

    assert (len(told()), len(seen())) == (tills, tills)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"queue_length": -1}, "/queue_length"),
        ({"queue_length": 2**31}, "/queue_length"),
        ({"revision": -1}, "/revision"),
        ({"revision": 2**63}, "/revision"),
        ({"software": "s" * 61}, "/software"),
        ({"observed": None}, "/observed"),
        ({"observed": [{"key": "a", "reachable": True}] * 1001}, "/observed"),
        ({"observed": [{"key": "a"}]}, "/observed/0/reachable"),
        ({"state": "online"}, "/state"),
    ],
)
def test_a_malformed_report_is_refused_whole(api_client, box, token, changes, pointer):
    answer = tell(api_client, token, **changes)
    store.reports.flush()

    assert (answer.status_code, [error["pointer"] for error in answer.json()["errors"]]) == (400, [pointer])
    assert (told(), seen()) == ([], [])


def test_an_oversize_report_is_refused(api_client, token):
    body = '{"queue_length":0,"software":"","observed":[]}'.ljust(256 * 1024 + 1)

    answer = api_client.generic("POST", HEARTBEAT, body, "application/json", HTTP_AUTHORIZATION=f"Bearer {token}")

    assert (answer.status_code, answer.json()["type"]) == (413, "/problems/too-large")


def test_a_flood_of_one_terminal_is_refused_and_hurts_no_other(api_client, tree, box, token, time_machine):
    neighbour = issue_token(make_terminal("LY-2", tree["LYON"]), NOON).text

    statuses = [tell(api_client, token).status_code for _ in range(61)]
    flooding = tell(api_client, token, nonsense=1)
    other = tell(api_client, neighbour)
    time_machine.shift(60)

    assert statuses == [200] * 60 + [429]
    assert (flooding.status_code, flooding["Retry-After"]) == (429, "60")
    assert (other.status_code, tell(api_client, token).status_code) == (200, 200)


def test_a_report_is_not_lost_when_reports_are_written_in_the_middle_of_it(box, till):
    store.reports.saw(till.pk, NOON, 7)
    store.reports.flush()

    store.reports.told(till.pk, Told(NOON, 3, "pos 3.1"), {})
    store.reports.flush()

    assert told() == [("LY-1", NOON, NOON, 7, 3, "pos 3.1")]


def test_only_a_terminals_valid_token_reports(api_client, till, token):
    others = [tell(api_client, make_user_token()), tell(api_client, "nonsense")]
    revoke_terminal(till.pk, NOON)

    revoked = tell(api_client, token)
    store.reports.flush()

    assert [answer.status_code for answer in (*others, revoked)] == [403, 401, 410]
    assert told() == []


def test_the_door_answers_pages_of_active_servers_in_both_slash_forms(api_client, box, token):
    origin = {"HTTP_ORIGIN": "https://lyonbox.example"}
    allowed = "Access-Control-Allow-Origin"
    body = {"queue_length": 0, "software": "", "observed": []}

    preflight = api_client.options(HEARTBEAT, **origin)
    answers = [
        api_client.post(path, body, HTTP_AUTHORIZATION=f"Bearer {token}", **origin)
        for path in (HEARTBEAT, f"{HEARTBEAT}/")
    ]
    stranger = api_client.post(
        HEARTBEAT, body, HTTP_AUTHORIZATION=f"Bearer {token}", HTTP_ORIGIN="https://evil.example"
    )

    assert (preflight.status_code, preflight["Allow"]) == (204, "POST, OPTIONS")
    assert [(answer.status_code, answer[allowed]) for answer in answers] == [(200, "https://lyonbox.example")] * 2
    assert allowed not in stranger


def test_observers_and_servers_that_are_gone_are_left_out(tree, box, till):
    other = make_server("other", client=tree["ACME"], key="other")

    write_of_terminals([Sighting(till.pk, key, True, NOON) for key in ("LyonBox", "gone")])
    write_of_terminals([Sighting(0, "LyonBox", True, NOON)])
    write_of_servers([Sighting(other.pk, "LyonBox", False, NOON), Sighting(0, "LyonBox", False, NOON)])

    rows = Reachability.objects.order_by("pk").values_list("server", "observing_terminal", "observing_server")
    assert list(rows) == [(box.pk, till.pk, None), (box.pk, None, other.pk)]


def test_an_older_observation_does_not_overwrite_a_newer_one(box, till):
    write_of_terminals([Sighting(till.pk, "LyonBox", True, NOON)])

    write_of_terminals([Sighting(till.pk, "LyonBox", False, NOON - timedelta(seconds=1))])

    assert seen() == [("LyonBox", "LY-1", True, NOON, NOON)]


def test_more_observations_than_fit_one_statement_are_all_written(tree, box):
    tills = Terminal.objects.bulk_create(
        Terminal(search_key=f"T-{number}", name="T", organization=tree["LYON"]) for number in range(1001)
    )

    write_of_terminals([Sighting(till.pk, "LyonBox", False, NOON) for till in tills])

    assert Reachability.objects.count() == 1001


def test_the_summary_counts_by_store_what_was_said_within_ten_minutes(tree, box, django_assert_num_queries):
    tills = [make_terminal(key, tree["LYON"]) for key in ("A", "B", "C", "D")]
    nice = make_terminal("N", tree["NICE"])
    other = make_server("other", client=tree["ACME"], key="other")
    ages = (timedelta(), timedelta(minutes=10), timedelta(minutes=5), timedelta(minutes=10, seconds=1))
    write_of_terminals(
        [Sighting(till.pk, "LyonBox", till is tills[2], NOON - age) for till, age in zip(tills, ages, strict=True)]
    )
    write_of_terminals([Sighting(nice.pk, "LyonBox", True, NOON), Sighting(nice.pk, "other", False, NOON)])
    write_of_servers([Sighting(other.pk, "LyonBox", False, NOON)])

    with django_assert_num_queries(1):
        found = summary([box.pk], NOON)
    with django_assert_num_queries(1):
        doubters = unreachable_by([box.pk, other.pk], NOON)
        who = {pk: [row.observing_terminal or row.observing_server for row in rows] for pk, rows in doubters.items()}

    lyon, nice_store = StoreView(tree["LYON"].pk, "Lyon", 3, 2), StoreView(tree["NICE"].pk, "Nice", 1, 0)
    assert found == {box.pk: (lyon, nice_store)}
    assert (lyon.text, nice_store.text) == ("2 of 3 tills of Lyon", "0 of 1 till of Nice")
    assert who == {box.pk: [tills[1], tills[0], other], other.pk: [nice]}
