from datetime import UTC, datetime, timedelta

import pytest

from servers.history import count_up, prune, steps_of, transitions_ever, uptimes_of
from servers.models import ServerState, StatusTransition
from servers.status import Status
from servers.uptime import Interval, Step
from tests.factories import make_organization, make_server

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, tzinfo=UTC)
ON, TOFF, OFF, TON = (
    Status.ONLINE,
    Status.TRANSITION_TO_OFFLINE,
    Status.OFFLINE,
    Status.TRANSITION_TO_ONLINE,
)


def ago(**span):
    return NOW - timedelta(**span)


def went(server, to_status, at, from_status=OFF):
    return StatusTransition.objects.create(
        server=server,
        server_key=server.key if server else "gone",
        from_status=from_status,
        to_status=to_status,
        at=at,
        cause="It answers.",
        observer="agent",
    )


@pytest.fixture
def server():
    return make_server("central", client=make_organization("ACME"))


def proved(server, at):
    ServerState.objects.create(server=server, status=ON, since=at, cause="It is ready.", proved_at=at)


def test_uptimes_are_told_for_a_day_a_week_a_month_and_a_quarter(server):
    proved(server, ago(days=200))
    went(server, ON, ago(days=200))
    went(server, OFF, ago(days=9))
    went(server, ON, ago(days=6, hours=12))
    went(server, OFF, ago(hours=6))
    went(server, ON, ago(hours=3))

    assert uptimes_of([server.pk], NOW) == {
        server.pk: {
            1: 21 / 24,
            7: (6.5 - 3 / 24) / 7,
            30: (30 - 2.5 - 3 / 24) / 30,
            90: (90 - 2.5 - 3 / 24) / 90,
        }
    }


def test_maintenance_and_the_time_before_the_first_proof_do_not_count(server):
    proved(server, ago(days=2))
    went(server, TON, ago(days=3))
    went(server, OFF, ago(days=3))
    went(server, ON, ago(days=2))
    went(server, OFF, ago(hours=12))

    maintenance = {server.pk: [Interval(ago(hours=12), ago(hours=6))]}

    assert uptimes_of([server.pk], NOW, maintenance) == {server.pk: {1: 12 / 18, 7: 36 / 42, 30: 36 / 42, 90: 36 / 42}}


def test_a_server_that_never_proved_itself_has_no_uptime(server):
    went(server, TON, ago(days=3))

    assert uptimes_of([server.pk, 4711], NOW) == {
        server.pk: dict.fromkeys((1, 7, 30, 90)),
        4711: dict.fromkeys((1, 7, 30, 90)),
    }


def test_steps_hold_those_of_the_time_and_the_last_before_in_their_order(server):
    other = make_server("other", client=server.client)
    went(server, ON, ago(days=5))
    went(server, TOFF, ago(days=4))
    went(server, TON, ago(days=4))
    went(server, ON, ago(days=2))
    went(other, ON, ago(days=9))

    assert steps_of([server.pk, other.pk], ago(days=2)) == {
        server.pk: [Step(ago(days=4), TON), Step(ago(days=2), ON)],
        other.pk: [Step(ago(days=9), ON)],
    }


@pytest.mark.parametrize("servers", [1, 3])
def test_uptimes_take_two_queries_for_any_number_of_servers(django_assert_num_queries, servers):
    client = make_organization("ACME")
    made = [make_server(client=client) for _ in range(servers)]
    for server in made:
        proved(server, ago(days=1))
        went(server, ON, ago(days=1))

    with django_assert_num_queries(2):
        found = uptimes_of([server.pk for server in made], NOW)

    assert found == {server.pk: dict.fromkeys((1, 7, 30, 90), 1.0) for server in made}


def test_pruning_keeps_the_last_of_each_server_and_changes_no_uptime(server):
    other = make_server("other", client=server.client)
    proved(server, ago(days=300))
    kept = [
        went(other, ON, ago(days=300)),
        went(server, ON, ago(days=100)),
        went(server, OFF, ago(days=92)),
        went(server, ON, ago(days=20)),
        went(None, ON, ago(days=20)),
    ]
    for gone in (
        went(server, OFF, ago(days=299)),
        went(server, TON, ago(days=100, seconds=1)),
        went(None, ON, ago(days=300)),
    ):
        gone.save()
    kept.remove(next(row for row in kept if row.at == ago(days=100)))
    before = uptimes_of([server.pk], NOW)

    pruned = [prune(ago(days=91)), prune(ago(days=91))]

    assert pruned == [4, 0]
    assert set(StatusTransition.objects.all()) == set(kept)
    assert uptimes_of([server.pk], NOW) == before


def test_of_transitions_of_one_moment_the_last_written_is_kept(server):
    went(server, TON, ago(days=300))
    last = went(server, ON, ago(days=300))

    prune(ago(days=91))

    assert list(StatusTransition.objects.all()) == [last]


def test_the_number_of_changes_never_falls(server):
    for days in (300, 200, 100, 1):
        went(server, ON, ago(days=days))
        went(server, OFF, ago(days=days))
    counted = {ON: 4, TOFF: 0, OFF: 4, TON: 0}
    assert transitions_ever() == counted

    prune(ago(days=150))
    count_up(ago(hours=1))
    count_up(ago(days=9))
    went(server, ON, ago(minutes=1))
    prune(ago(days=91))

    assert StatusTransition.objects.count() == 4
    assert transitions_ever() == counted | {ON: 5}
