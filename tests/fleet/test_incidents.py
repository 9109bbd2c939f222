"""One open incident per outage, whatever happens meanwhile and whoever looks."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, connections

from fleet.incidents import settle
from fleet.models import Incident, Maintenance
from servers.models import ServerState, StatusTransition
from tests.fleet.makers import START, acme, make_probed, seconds

pytestmark = pytest.mark.django_db


def in_state(status, *, name="central", proved=True, since=START, **fields):
    server = make_probed(name, **fields)
    ServerState.objects.create(
        server=server, status=status, since=since, cause="It broke.", proved_at=since if proved else None
    )
    return server


def move(server, status, moment, cause="It broke."):
    state = ServerState.objects.get(server=server)
    StatusTransition.objects.create(
        server=server,
        server_key=server.key,
        from_status=state.status,
        to_status=status,
        at=moment,
        cause=cause,
        observer="watcher",
    )
    ServerState.objects.filter(server=server).update(status=status, since=moment, cause=cause)


def incidents():
    return list(Incident.objects.order_by("pk").values_list("opened_at", "cause", "closed_at", "closing_cause"))


def test_one_outage_is_one_incident_from_the_loss_to_the_return():
    """OMF-16"""
    server = in_state("online")
    steps = ["transition_to_offline", "offline", "transition_to_online", "offline", "transition_to_online", "online"]

    for number, status in enumerate(steps, start=1):
        move(server, status, START + seconds(number), f"Cause {number}.")
        settle(START + seconds(number + 0.5))
        settle(START + seconds(number + 0.7))

    assert incidents() == [(START + seconds(1), "Cause 1.", START + seconds(6), "Cause 6.")]


def test_the_next_loss_opens_the_next_incident():
    server = in_state("online")

    for number, status in enumerate(["transition_to_offline", "online", "transition_to_offline"], start=1):
        move(server, status, START + seconds(number))
        settle(START + seconds(number))

    assert [row[0] for row in incidents()] == [START + seconds(1), START + seconds(3)]


@pytest.mark.parametrize(
    ("status", "fields"), [("online", {}), ("offline", {"proved": False}), ("offline", {"is_active": False})]
)
def test_no_incident_opens_of_a_server_that_is_online_new_or_inactive(status, fields):
    in_state(status, **fields)

    settle(START)

    assert incidents() == []


def test_only_the_servers_asked_for_are_settled():
    first, second = in_state("offline", name="a"), in_state("offline", name="b")

    settle(START, [second.pk])

    assert [incident.server_id for incident in Incident.objects.all()] == [second.pk]
    settle(START, [])
    assert Incident.objects.count() == 1
    settle(START)
    assert set(Incident.objects.values_list("server", flat=True)) == {first.pk, second.pk}


def test_maintenance_opens_none_and_what_was_open_stays_open_until_the_return():
    before, during = in_state("online", name="before"), in_state("online", name="during")
    move(before, "offline", START + seconds(1))
    settle(START + seconds(2))
    Maintenance.objects.create(
        organization=acme(), starts_at=START + seconds(10), ends_at=START + seconds(100), reason="Cabling"
    )

    move(during, "offline", START + seconds(20))
    settle(START + seconds(20))
    while_it_lasts = [incident.server.name for incident in Incident.objects.filter(closed_at=None)]
    move(before, "online", START + seconds(50))
    settle(START + seconds(99))
    settle(START + seconds(100))

    assert while_it_lasts == ["before"]
    assert [row[:3:2] for row in incidents()] == [
        (START + seconds(1), START + seconds(50)),
        (START + seconds(20), None),
    ]


def test_settling_costs_two_queries_when_nothing_changes(django_assert_num_queries):
    for number in range(3):
        in_state("offline", name=f"lost {number}")
        in_state("online", name=f"fine {number}")
    settle(START)

    with django_assert_num_queries(2):
        settle(START + timedelta(seconds=5))


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
def test_several_workers_open_one_incident():
    for number in range(5):
        in_state("offline", name=f"lost {number}")
    barrier = threading.Barrier(4)

    def work():
        barrier.wait()
        settle(START)
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settle(START)

    assert Incident.objects.count() == 5
