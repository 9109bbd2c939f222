"""What the machine decided is written once, by whoever comes first."""

from datetime import UTC, datetime, timedelta

import pytest

from fleet.states import Verdict, standing_of, write
from servers.models import MobileServer, ServerReport, ServerState, StatusTransition
from servers.status import Observation, Sight, Timings, judge, observe
from tests.factories import make_organization, make_server

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TIMINGS = Timings()


def make_watched(name="central"):
    server = make_server(name, client=make_organization("ACME"))
    ServerReport.objects.create(server=server, ready_at=NOW, successes=1)
    return MobileServer.objects.select_related("state", "report").get(pk=server.pk)


def verdict_on(server, moment=NOW):
    before = standing_of(server)
    after, changes = judge(before, moment, TIMINGS)
    return Verdict(server, before, after, changes, "agent")


def test_a_first_sight_writes_the_state_and_each_step_of_its_history():
    server = make_watched()

    written = write([verdict_on(server)])

    state = ServerState.objects.get()
    told = (state.status, state.since, state.cause, state.proved_at)
    assert len(written) == 1
    assert told == ("online", NOW, "It is ready.", NOW)
    history = StatusTransition.objects.order_by("pk").values_list("server_key", "from_status", "to_status", "at")
    assert list(history) == [
        ("central", "offline", "transition_to_online", NOW),
        ("central", "transition_to_online", "online", NOW),
    ]
    assert ServerReport.objects.get().attempted_at is None


def test_the_second_of_two_workers_writes_nothing():
    verdict = verdict_on(make_watched())

    assert [len(write([verdict])), len(write([verdict]))] == [1, 0]
    assert StatusTransition.objects.count() == 2


def test_a_loss_is_not_written_when_the_server_was_heard_meanwhile():
    server = make_watched()
    write([verdict_on(server)])
    server.refresh_from_db()
    late = NOW + timedelta(seconds=91)
    loss = verdict_on(MobileServer.objects.get(pk=server.pk), late)
    ServerReport.objects.update(ready_at=late)

    assert [change.to_status for change in loss.changes] == ["transition_to_offline"]
    assert write([loss]) == []
    assert ServerState.objects.get().status == "online"


def test_what_is_observed_reaches_the_machine_as_it_was_stored():
    server = make_watched()
    standing = observe(standing_of(server), Observation(Sight.FAILED, NOW + timedelta(seconds=5), "refused"), TIMINGS)

    assert (standing.failures, standing.failure_cause, standing.ready_at) == (1, "refused", NOW)
