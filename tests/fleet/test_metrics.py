"""What Prometheus reads, and who may."""

from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings as django_settings
from django.db import connection

from backoffice.api.authentication import FAILURES
from boosters.lease import acting_right
from fleet.metrics import exposition
from fleet.models import Incident, Maintenance, Pulse
from licensing.installation import standing
from routing import revision
from servers.models import ServerReport, ServerState, StatusTransition
from terminals.models import TerminalReport
from tests.factories import make_server, make_terminal, make_tree

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOKEN = "scrape-me-if-you-can"


def ago(**span):
    return NOW - timedelta(**span)


@pytest.fixture(autouse=True)
def _door(time_machine, settings):
    time_machine.move_to(NOW, tick=False)
    settings.BOOSTER_METRICS_TOKEN = TOKEN


def make_watched(name, client, status, seen, **fields):
    server = make_server(name, client=client, **fields)
    ServerState.objects.create(server=server, status=status, since=ago(hours=1), cause="It is ready.")
    ServerReport.objects.create(server=server, last_seen_at=seen)
    return server


def make_world():
    tree = make_tree(ACME=None, OSLO="ACME", OTHER=None)
    central = make_watched("central", tree["ACME"], "online", ago(seconds=12))
    box = make_watched("box", tree["ACME"], "offline", ago(hours=2), server_type="store", organizations=[tree["OSLO"]])
    make_server("new", client=tree["OTHER"])
    make_server("retired", client=tree["ACME"], is_active=False)
    ServerState.objects.filter(server=box).update(is_flapping=True)
    Maintenance.objects.create(organization=tree["OSLO"], starts_at=ago(hours=1), ends_at=ago(hours=-1), reason="Disks")
    for to_status in ("online", "transition_to_offline", "offline", "offline"):
        StatusTransition.objects.create(
            server=central,
            server_key="central",
            from_status="online",
            to_status=to_status,
            at=NOW,
            cause="Seen.",
            observer="agent",
        )
    Incident.objects.create(server=box, opened_at=NOW, cause="Gone.")
    Incident.objects.create(server=central, opened_at=ago(days=1), cause="Gone.", closed_at=NOW)
    Pulse.objects.create(name=Pulse.WATCHER, since=ago(days=1), at=ago(seconds=4))
    Pulse.objects.create(name=Pulse.RECEIVER, since=ago(days=1), at=ago(seconds=2))
    terminals = [make_terminal(f"OSLO-{number}", tree["OSLO"]) for number in range(6)]
    present = revision.numbers()["landscape"]
    for terminal, held, seen in zip(
        terminals,
        (present, present, present - 1, None, None),
        (ago(seconds=1), ago(minutes=5), ago(hours=3), ago(days=6), ago(days=7)),
        strict=False,
    ):
        TerminalReport.objects.create(terminal=terminal, revision=held, last_seen_at=seen)
    make_terminal("OSLO-9", tree["OSLO"], is_active=False)


def test_the_whole_text_of_a_small_world():
    make_world()
    numbers = revision.numbers()
    ends_in = (standing().status.until - standing().moment).total_seconds()

    text = exposition(NOW).decode()

    lines = [line for line in text.splitlines() if not line.startswith("# HELP")]
    assert lines == [
        "# TYPE booster_info gauge",
        f'booster_info{{version="{django_settings.VERSION}"}} 1.0',
        "# TYPE booster_servers gauge",
        'booster_servers{client="ACME",status="online",type="main"} 1.0',
        'booster_servers{client="ACME",status="transition_to_offline",type="main"} 0.0',
        'booster_servers{client="ACME",status="offline",type="main"} 0.0',
        'booster_servers{client="ACME",status="transition_to_online",type="main"} 0.0',
        'booster_servers{client="ACME",status="online",type="store"} 0.0',
        'booster_servers{client="ACME",status="transition_to_offline",type="store"} 0.0',
        'booster_servers{client="ACME",status="offline",type="store"} 1.0',
        'booster_servers{client="ACME",status="transition_to_online",type="store"} 0.0',
        'booster_servers{client="OTHER",status="online",type="main"} 0.0',
        'booster_servers{client="OTHER",status="transition_to_offline",type="main"} 0.0',
        'booster_servers{client="OTHER",status="offline",type="main"} 1.0',
        'booster_servers{client="OTHER",status="transition_to_online",type="main"} 0.0',
        "# TYPE booster_servers_flapping gauge",
        "booster_servers_flapping 1.0",
        "# TYPE booster_servers_in_maintenance gauge",
        "booster_servers_in_maintenance 1.0",
        "# TYPE booster_server_last_seen_age_seconds gauge",
        'booster_server_last_seen_age_seconds{server="box"} 7200.0',
        'booster_server_last_seen_age_seconds{server="central"} 12.0',
        "# TYPE booster_status_transitions_total counter",
        'booster_status_transitions_total{to="online"} 1.0',
        'booster_status_transitions_total{to="transition_to_offline"} 1.0',
        'booster_status_transitions_total{to="offline"} 2.0',
        'booster_status_transitions_total{to="transition_to_online"} 0.0',
        "# TYPE booster_incidents_open gauge",
        'booster_incidents_open{kind="server"} 1.0',
        'booster_incidents_open{kind="terminal"} 0.0',
        'booster_incidents_open{kind="booster"} 0.0',
        "# TYPE booster_watcher_lag_seconds gauge",
        "booster_watcher_lag_seconds 4.0",
        "# TYPE booster_receiver_lag_seconds gauge",
        "booster_receiver_lag_seconds 2.0",
        "# TYPE booster_terminals gauge",
        'booster_terminals{revision="current"} 2.0',
        'booster_terminals{revision="older"} 1.0',
        'booster_terminals{revision="unknown"} 3.0',
        "# TYPE booster_terminals_last_seen gauge",
        'booster_terminals_last_seen{within="5m"} 1.0',
        'booster_terminals_last_seen{within="1h"} 1.0',
        'booster_terminals_last_seen{within="1d"} 1.0',
        'booster_terminals_last_seen{within="7d"} 1.0',
        'booster_terminals_last_seen{within="longer"} 1.0',
        'booster_terminals_last_seen{within="never"} 1.0',
        "# TYPE booster_license_state gauge",
        'booster_license_state{state="trial"} 1.0',
        'booster_license_state{state="licensed"} 0.0',
        'booster_license_state{state="grace"} 0.0',
        'booster_license_state{state="expired"} 0.0',
        'booster_license_state{state="invalid"} 0.0',
        'booster_license_state{state="none"} 0.0',
        "# TYPE booster_license_state_ends_in_seconds gauge",
        f"booster_license_state_ends_in_seconds {ends_in}",
        "# TYPE booster_license_usage gauge",
        'booster_license_usage{of="main_servers"} 3.0',
        'booster_license_usage{of="store_servers"} 1.0',
        'booster_license_usage{of="servers"} 4.0',
        'booster_license_usage{of="terminals"} 7.0',
        "# TYPE booster_license_limit gauge",
        "# TYPE booster_revision gauge",
        *(f'booster_revision{{scope="{scope}"}} {float(number)}' for scope, number in sorted(numbers.items())),
        "# TYPE booster_node_acting gauge",
        'booster_node_acting{role="single"} 1.0',
        "# TYPE booster_node_age_seconds gauge",
        'booster_node_age_seconds{role="single"} 0.0',
        "# TYPE booster_lease_term gauge",
        "booster_lease_term 1.0",
        "# TYPE booster_roll_outs gauge",
        *(
            f'booster_roll_outs{{state="{state}"}} 0.0'
            for state in ("planned", "running", "paused", "done", "cancelled")
        ),
        "# TYPE booster_roll_out_servers gauge",
        *(
            f'booster_roll_out_servers{{state="{state}"}} 0.0'
            for state in (
                "waiting",
                "downloading",
                "backing_up",
                "applying",
                "restarting",
                "done",
                "failed",
                "not_applicable",
                "skipped",
            )
        ),
    ]
    assert text.count("# HELP ") == text.count("# TYPE ")


def test_an_installation_in_which_nothing_happened_yet_answers_too():
    lines = exposition(NOW).decode().splitlines()

    assert "booster_servers_flapping 0.0" in lines
    assert [line for line in lines if line.startswith(("booster_watcher_lag", "booster_servers{"))] == []


@pytest.mark.parametrize("rows", [1, 3])
def test_a_scrape_takes_the_same_queries_for_any_number_of_servers(django_assert_num_queries, rows):
    tree = make_tree(ACME=None, OSLO="ACME")
    for number in range(rows):
        server = make_watched(f"s{number}", tree["ACME"], "online", NOW)
        Maintenance.objects.create(server=server, starts_at=ago(hours=1), ends_at=ago(hours=-1), reason="Disks")
        Incident.objects.create(server=server, opened_at=NOW, cause="Gone.")
        make_terminal(f"OSLO-{number}", tree["OSLO"])
    Maintenance.objects.create(organization=tree["OSLO"], starts_at=ago(hours=1), ends_at=ago(hours=-1), reason="Disks")
    standing()
    acting_right()

    with django_assert_num_queries(16 + (3 if connection.vendor == "postgresql" else 2)):
        exposition(NOW)


# --- The door ---


def get(client, authorization=None):
    return client.get("/metrics", headers={"Authorization": authorization} if authorization else {})


def test_the_token_opens_the_door_each_time(client):
    answers = [get(client, f"Bearer {TOKEN}"), get(client, f"bearer {TOKEN} ")]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0]["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answers[0]["Cache-Control"] == "no-store"
    assert answers[0].content == answers[1].content == exposition(NOW)


@pytest.mark.parametrize("authorization", [None, "Bearer wrong-token-of-length", f"Basic {TOKEN}", TOKEN, "Bearer é"])
def test_nothing_else_does(client, authorization):
    answer = get(client, authorization)

    assert (answer.status_code, answer["WWW-Authenticate"], answer.json()["type"]) == (
        401,
        "Bearer",
        "/problems/not-authenticated",
    )


def test_a_session_of_an_administrator_does_not_either(admin_client):
    assert get(admin_client).status_code == 401


def test_there_are_no_metrics_without_a_token(client, settings):
    settings.BOOSTER_METRICS_TOKEN = ""

    assert [get(client, header).status_code for header in (None, "Bearer ", f"Bearer {TOKEN}")] == [404, 404, 404]


def test_too_many_wrong_tokens_are_answered_429_and_the_right_one_still_opens(client):
    statuses = [get(client, "Bearer wrong").status_code for _ in range(FAILURES.most)]
    refused = get(client, "Bearer wrong")
    admitted = get(client, f"Bearer {TOKEN}")

    assert set(statuses) == {401}
    assert (refused.status_code, refused["Retry-After"]) == (429, "900")
    assert admitted.status_code == 200


def test_asking_without_a_token_counts_for_nothing(client):
    for _ in range(FAILURES.most + 1):
        assert get(client).status_code == 401

    assert get(client, "Bearer wrong").status_code == 401


def test_metrics_are_only_read(client):
    assert client.post("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 405
