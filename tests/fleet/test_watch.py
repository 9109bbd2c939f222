"""One pass over all servers: what it writes, what it costs, and that nobody writes it twice."""

import threading

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from fleet.models import Incident, Pulse
from fleet.watch import watch
from routing.store import store
from servers.models import AgentToken, ServerReport, ServerState, StatusTransition
from tests.factories import make_organization
from tests.fleet.makers import (
    START,
    Clock,
    beat_both,
    hear,
    history_of,
    make_probed,
    make_reporting,
    open_incidents,
    seconds,
    see,
    status_of,
    told,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock(time_machine):
    return Clock(time_machine)


def test_a_server_that_falls_silent_goes_offline_by_the_watcher(clock):
    """OMF-14"""
    server = make_reporting()
    hear(server)

    clock.pass_by(90)
    before = status_of(server)
    clock.pass_by(5)
    between = status_of(server)
    clock.pass_by(305)

    rows = StatusTransition.objects.filter(server=server).order_by("pk")[2:]
    assert (before, between) == ("online", "transition_to_offline")
    assert [(row.to_status, row.at, row.cause, row.observer) for row in rows] == [
        ("transition_to_offline", START + seconds(95), "No heartbeat for 90 s.", "watcher"),
        ("offline", START + seconds(400), "No heartbeat for 90 s.", "watcher"),
    ]


@pytest.mark.parametrize("hours", [0.1, 1, 24 * 30])
def test_a_booster_that_wakes_after_any_time_turns_nothing_offline(clock, hours):
    servers = [make_reporting(f"s{number}") for number in range(3)]
    for server in servers:
        hear(server)

    clock.stand_still(hours * 3600)
    watch(clock.now)
    clock.pass_by(95, hearing=servers[:2])  # heard again 5 s after waking

    assert [status_of(server) for server in servers] == ["online"] * 3
    clock.pass_by(5, hearing=servers[:2])
    assert [status_of(server) for server in servers] == ["online", "online", "transition_to_offline"]
    assert (open_incidents(), told()) == (["Server lost: s2"], [])


def test_while_nothing_can_be_received_nobody_is_silent(clock):
    server = make_reporting()
    hear(server)

    for _ in range(60):
        clock.stand_still(5)
        watch(clock.now)  # the web processes are down: only the watcher goes on

    assert status_of(server) == "online"


def test_a_wait_does_not_end_while_nobody_watches(clock):
    server = make_reporting()
    hear(server)
    clock.pass_by(100)
    assert status_of(server) == "transition_to_offline"

    clock.stand_still(3600)
    watch(clock.now)
    clock.pass_by(305)

    assert status_of(server) == "transition_to_offline"
    clock.pass_by(5)
    assert status_of(server) == "offline"


def test_probed_servers_are_lost_by_failures_and_never_by_silence(clock):
    server = make_probed()
    see(server)

    clock.pass_by(3600)
    assert status_of(server) == "online"
    for _ in range(3):
        clock.pass_by(60)
        see(server, failure="central refused the connection.")
    clock.pass_by(5)

    state = ServerState.objects.get()
    assert (state.status, state.cause) == ("transition_to_offline", "central refused the connection.")


def test_inactive_servers_are_not_watched_and_prove_themselves_anew(clock):
    server = make_reporting()
    hear(server)
    clock.pass_by(100)
    type(server).objects.filter(pk=server.pk).update(is_active=False)

    clock.pass_by(5)
    retired = ServerState.objects.get()
    incident = Incident.objects.get()
    type(server).objects.filter(pk=server.pk).update(is_active=True)
    clock.pass_by(600)

    assert (retired.status, retired.cause, retired.proved_at) == ("offline", "It is not active any more.", None)
    assert (incident.closed_at, incident.closing_cause) == (START + seconds(105), "The server is not active any more.")
    assert open_incidents() == []
    hear(server)
    assert status_of(server) == "online"


def fleet_of(number):
    client = make_organization("ACME")
    servers = [make_probed(f"s{each}", client=client) for each in range(number)]
    AgentToken.objects.bulk_create(
        AgentToken(server=server, token_id=f"t{server.pk}", digest="-", created_at=START, first_used_at=START)
        for server in servers
    )
    ServerReport.objects.bulk_create(ServerReport(server=server, ready_at=START, successes=1) for server in servers)
    ServerState.objects.bulk_create(
        ServerState(server=server, status="online", since=START, proved_at=START) for server in servers
    )
    return servers


def queries_of_a_pass(moment):
    store.current()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        changes = watch(moment)
    statements = [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]
    return len(statements), changes


@pytest.mark.parametrize("number", [3, 30])
def test_a_pass_without_changes_is_a_fixed_number_of_queries(number):
    fleet_of(number)
    beat_both(START)

    assert queries_of_a_pass(START + seconds(10)) == (10, 0)


def test_a_pass_with_changes_costs_one_query_more_for_each():
    fleet_of(30)
    beat_both(START)
    late = START + seconds(300)
    Pulse.objects.update(at=late)
    costs = {}

    for lost in (1, 3, 20):
        servers = ServerState.objects.order_by("pk").values_list("pk", flat=True)
        ServerReport.objects.update(ready_at=late - seconds(lost))
        ServerState.objects.update(status="online", since=START)
        Incident.objects.all().delete()
        StatusTransition.objects.all().delete()
        ServerReport.objects.filter(pk__in=list(servers[:lost])).update(ready_at=START)
        costs[lost] = queries_of_a_pass(late)

    assert [changes for _, changes in costs.values()] == [1, 3, 20]
    assert costs[3][0] - costs[1][0] == 2
    assert costs[20][0] - costs[1][0] == 19


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
def test_several_workers_write_every_change_once():
    servers = fleet_of(12)
    beat_both(START)
    late = START + seconds(300)
    Pulse.objects.update(at=late)
    store.current()
    barrier = threading.Barrier(4)
    changes = []

    def work():
        barrier.wait()
        changes.append(watch(late))
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(changes) == 12
    assert [history_of(server) for server in servers] == [[("online", "transition_to_offline")]] * 12
    watch(late)
    assert Incident.objects.filter(closed_at=None).count() == Incident.objects.count() == 12
