"""The transitions of reference/openbravo 6.3, each in frozen time through the doors that write states."""

from itertools import pairwise

import pytest

from fleet.states import try_again
from preferences.models import PreferenceValue
from servers.models import ServerReport, ServerState, StatusTransition
from tests.fleet.makers import START, Clock, hear, history_of, make_probed, make_reporting, seconds, see, status_of

pytestmark = pytest.mark.django_db
ON, TOFF, OFF, TON = "online", "transition_to_offline", "offline", "transition_to_online"


@pytest.fixture
def clock(time_machine):
    return Clock(time_machine)


@pytest.fixture
def online(clock):
    """A server with an agent that is online, since the start."""
    server = make_reporting()
    hear(server)
    assert status_of(server) == ON
    return server


def steps_of(server):
    return [to for _, to in history_of(server)]


def prefer(**values):
    for key, value in values.items():
        PreferenceValue.objects.create(key=key, value=str(value))


def test_a_new_server_begins_offline_and_proves_itself_with_its_first_report(clock):
    server = make_reporting()
    clock.pass_by(600)
    assert not ServerState.objects.exists()

    hear(server)

    assert history_of(server) == [(OFF, TON), (TON, ON)]
    assert server.state.proved_at == clock.now


def test_on_to_toff_strictly_after_three_missed_beats(clock, online):
    clock.pass_by(90)
    assert status_of(online) == ON

    clock.pass_by(1)
    assert status_of(online) == TOFF


def test_on_to_toff_when_the_server_itself_says_that_it_is_not_ready(clock, online):
    clock.pass_by(30)
    hear(online, ready=False, cause="Central is offline.")
    clock.pass_by(1)

    state = ServerState.objects.get()
    assert (state.status, state.cause) == (TOFF, "Central is offline.")


@pytest.mark.parametrize(("failures", "status"), [(2, ON), (3, TOFF)])
def test_on_to_toff_when_all_tries_of_a_call_fail(clock, failures, status):
    server = make_probed()
    see(server)

    for _ in range(failures):
        clock.pass_by(60)
        see(server, failure="It answered 503 instead of 200.")
    clock.pass_by(5)

    assert status_of(server) == status


def test_a_failed_call_among_good_ones_changes_nothing(clock):
    server = make_probed()
    for failure in ["", "x", "x", "", "x", "x", ""]:
        see(server, failure=failure)
        clock.pass_by(60)

    assert steps_of(server) == [TON, ON]


def test_toff_to_off_when_the_checks_still_fail_after_the_wait(clock, online):
    clock.pass_by(95)
    assert status_of(online) == TOFF

    clock.pass_by(300)
    assert status_of(online) == TOFF
    clock.pass_by(1)
    assert status_of(online) == OFF


def test_toff_back_to_on_when_the_checks_succeed(clock, online):
    clock.pass_by(120)
    hear(online)

    assert history_of(online)[2:] == [(ON, TOFF), (TOFF, TON), (TON, ON)]


def test_off_to_on_when_the_server_reports_again_however_short_ago_it_tried(clock, online):
    prefer(failed_transition_to_online_wait_s=86_400)
    clock.pass_by(600)
    hear(online, ready=False, cause="3 transactions pending.")
    clock.pass_by(120)
    assert status_of(online) == OFF

    clock.pass_by(100)
    hear(online)  # after a silence: forced, as 6.3 has it

    assert steps_of(online)[2:] == [TOFF, OFF, TON, OFF, TON, ON]


def test_a_pre_check_that_fails_shows_no_transition(clock):
    server = make_probed()
    see(server)
    for _ in range(12):
        clock.pass_by(60)
        see(server, failure="central refused the connection.")

    assert steps_of(server) == [TON, ON, TOFF, OFF]


def test_ton_to_on_when_all_is_ready(clock, online):
    clock.pass_by(600)
    hear(online, ready=False, cause="3 transactions pending.")
    assert status_of(online) == TON

    clock.pass_by(10)
    hear(online)

    state = ServerState.objects.get()
    assert (state.status, state.cause, state.since) == (ON, "It is ready.", clock.now)


def test_ton_to_off_with_the_cause_when_the_tries_are_used_up(clock, online):
    clock.pass_by(600)
    began = clock.now
    hear(online, ready=False, cause="3 transactions pending.")

    clock.pass_by(100, each=lambda: hear(online, ready=False, cause="2 transactions pending."))
    assert status_of(online) == TON
    clock.pass_by(5, each=lambda: hear(online, ready=False, cause="1 transaction pending."))

    state = ServerState.objects.get()
    assert (state.status, state.since) == (OFF, began + seconds(105))
    assert state.cause == "Not ready within 100 s. 1 transaction pending."


def test_attempts_come_at_most_once_per_wait_counted_from_their_start(clock, online):
    clock.pass_by(600)
    clock.pass_by(
        700,
        each=lambda: hear(online, ready=False, cause="3 transactions pending.") if status_of(online) != ON else None,
    )

    begun = StatusTransition.objects.filter(to_status=TON).order_by("pk").values_list("at", flat=True)[1:]
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(begun)]
    assert gaps == [300, 300]


def test_the_administrators_button_ends_the_wait(clock, online):
    clock.pass_by(600)
    clock.pass_by(120, each=lambda: hear(online, ready=False, cause="3 transactions pending."))
    assert status_of(online) == OFF

    pressed = try_again(online, clock.now)
    clock.pass_by(5)
    hear(online)

    assert (pressed, status_of(online)) == (True, ON)
    assert try_again(online, clock.now) is False
    assert ServerReport.objects.get().attempted_at is None


def test_a_request_to_go_offline_counts_from_on_only(clock, online):
    clock.pass_by(95)
    since = ServerState.objects.get().since
    hear(online, ready=False, cause="Central is offline.")
    clock.pass_by(30, each=lambda: hear(online, ready=False, cause="Central is offline."))

    state = ServerState.objects.get()
    assert (state.status, state.since) == (TOFF, since)


def test_a_transition_without_a_worker_is_repaired_by_the_next_pass_after_any_pause(clock, online):
    clock.pass_by(95)
    clock.stand_still(86_400)

    clock.pass_by(5)
    assert status_of(online) == TOFF
    clock.pass_by(305)

    assert status_of(online) == OFF


def test_every_change_has_its_moment_cause_and_observer(clock, online):
    clock.pass_by(420)
    hear(online)

    rows = StatusTransition.objects.order_by("pk").values_list("to_status", "observer", "cause")
    assert list(rows) == [
        (TON, "agent", "It answers."),
        (ON, "agent", "It is ready."),
        (TOFF, "watcher", "No heartbeat for 90 s."),
        (OFF, "watcher", "No heartbeat for 90 s."),
        (TON, "agent", "It answers."),
        (ON, "agent", "It is ready."),
    ]
    assert ServerState.objects.get().proved_at == START
