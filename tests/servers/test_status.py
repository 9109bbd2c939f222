"""The machine against its written table, at every edge, and against properties of any course of events."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.status import Change, Observation, Sight, Standing, Status, Timings, judge, observe

ON, TOFF, OFF, TON = (
    Status.ONLINE,
    Status.TRANSITION_TO_OFFLINE,
    Status.OFFLINE,
    Status.TRANSITION_TO_ONLINE,
)
READY, UNREADY, FAILED = Sight.READY, Sight.UNREADY, Sight.FAILED
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
CAUSES = {READY: "It answers.", UNREADY: "Its queue is full.", FAILED: "Connection refused."}
AGENT = Timings()
PROBED = Timings(is_expected_to_report=False)
ALLOWED = {(ON, TOFF), (TOFF, OFF), (TOFF, TON), (OFF, TON), (TON, ON), (TON, OFF)}


def at(seconds):
    return START + timedelta(seconds=seconds)


def seen(sight, seconds, cause=""):
    return Observation(sight, at(seconds), cause or CAUSES[sight])


def follow(standing, *events, timings=AGENT, watching_since=None):
    """Return the standing and every change after events: (sight, second) is seen, a bare second only passes."""
    changes = []
    for event in events:
        if isinstance(event, tuple):
            standing = observe(standing, seen(*event), timings)
        moment = at(event[1] if isinstance(event, tuple) else event)
        standing, more = judge(standing, moment, timings, watching_since)
        changes += more
    return standing, changes


def in_state(status, timings=AGENT):
    """Return a standing that entered `status` in second 0, in the usual way."""
    if status is OFF:
        return Standing(OFF, at(0), "Never seen.")
    if status is TON:
        return follow(Standing(), (UNREADY, 0), timings=timings)[0]
    online = follow(Standing(), (READY, 0), timings=timings)[0]
    if status is ON:
        return online
    before = [(FAILED, -1)] * timings.failures_before_offline
    early = replace(online, since=at(-600), ready_at=at(-10))
    failing = replace(early, failed_at=at(-1), failure_cause=CAUSES[FAILED], failures=len(before), bad_since=at(-1))
    return judge(failing, at(0), timings)[0]


@pytest.mark.parametrize("status", Status)
def test_the_states_that_these_tests_begin_with_are_what_they_say(status):
    for timings in (AGENT, PROBED):
        standing = in_state(status, timings)

        assert (standing.status, standing.since) == (status, at(0))
        assert judge(standing, at(0), timings) == (standing, ())


# Every state and every event: what happens when it comes, and where that leads.
TABLE = [
    # state, timings, events, the states it goes through
    (ON, AGENT, [(READY, 10)], []),
    (ON, AGENT, [(UNREADY, 10)], []),
    (ON, AGENT, [(UNREADY, 10), 11], [TOFF]),
    (ON, AGENT, [(UNREADY, 10), (READY, 10), 11], []),
    (ON, AGENT, [(FAILED, 10), 11], []),
    (ON, AGENT, [(FAILED, 10), (FAILED, 20), 21], []),
    (ON, AGENT, [(FAILED, 10), (FAILED, 20), (FAILED, 30)], []),
    (ON, AGENT, [(FAILED, 10), (FAILED, 20), (FAILED, 30), 31], [TOFF]),
    (ON, AGENT, [(FAILED, 10), (FAILED, 20), (READY, 25), (FAILED, 30), 31], []),
    (ON, AGENT, [(FAILED, 10), (FAILED, 10), (FAILED, 10), 11], []),
    (ON, AGENT, [90], []),
    (ON, AGENT, [91], [TOFF]),
    (ON, PROBED, [86_400], []),
    (ON, PROBED, [(FAILED, 60), (FAILED, 120), (FAILED, 180), 181], [TOFF]),
    (TOFF, AGENT, [(READY, 10)], [TON, ON]),
    (TOFF, AGENT, [(UNREADY, 10), 11], []),
    (TOFF, AGENT, [(FAILED, 10), 11], []),
    (TOFF, AGENT, [300], []),
    (TOFF, AGENT, [301], [OFF]),
    (TOFF, AGENT, [(UNREADY, 300), 301], [OFF]),
    (TOFF, AGENT, [(READY, 301)], [TON, ON]),
    (TOFF, PROBED, [(FAILED, 300)], []),
    (TOFF, PROBED, [(FAILED, 301)], [OFF]),
    (OFF, AGENT, [(READY, 10)], [TON, ON]),
    (OFF, AGENT, [(UNREADY, 10), 11], [TON]),
    (OFF, AGENT, [(FAILED, 10), 11], []),
    (OFF, AGENT, [86_400], []),
    (OFF, PROBED, [86_400], []),
    (TON, AGENT, [(READY, 10)], [ON]),
    (TON, AGENT, [(UNREADY, 10), 11], []),
    (TON, AGENT, [(FAILED, 10)], []),
    (TON, AGENT, [(FAILED, 10), 11], [OFF]),
    (TON, AGENT, [(FAILED, 10), (READY, 10), 11], [ON]),
    (TON, AGENT, [100], []),
    (TON, AGENT, [101], [OFF]),
    (TON, AGENT, [(UNREADY, 100)], []),
    (TON, AGENT, [(UNREADY, 101)], [OFF]),
    (TON, AGENT, [(READY, 101)], [ON]),
    (TON, PROBED, [101], [OFF]),
]


@pytest.mark.parametrize(("status", "timings", "events", "through"), TABLE)
def test_the_table_of_transitions_holds(status, timings, events, through):
    _, changes = follow(in_state(status, timings), *events, timings=timings)

    assert [change.to_status for change in changes] == through


def test_the_table_has_every_state_with_every_event():
    kinds = {
        (status, event[0] if isinstance(event, tuple) else "time")
        for status, _, events, _ in TABLE
        for event in events[:1]
    }

    assert kinds == {(status, kind) for status in Status for kind in (*Sight, "time")}


@pytest.mark.parametrize(
    ("status", "events", "cause"),
    [
        (ON, [91], "No heartbeat for 90 s."),
        (ON, [(UNREADY, 10), 11], "Its queue is full."),
        (ON, [(FAILED, 1), (FAILED, 2), (FAILED, 3), 4], "Connection refused."),
        (TOFF, [301], "Connection refused."),
        (TOFF, [(UNREADY, 290), 301], "Its queue is full."),
        (OFF, [(UNREADY, 5)], "It answers."),
        (TON, [(FAILED, 5), 6], "Connection refused."),
        (TON, [(UNREADY, 60), 101], "Not ready within 100 s. Its queue is full."),
        (TON, [(READY, 10)], "It is ready."),
    ],
)
def test_each_change_tells_its_cause(status, events, cause):
    standing, changes = follow(in_state(status), *events)

    assert (changes[-1].cause, standing.cause) == (cause, cause)


def test_a_reason_that_no_longer_holds_is_not_told():
    timings = replace(AGENT, successes_before_online=9)

    standing, _ = follow(Standing(), (UNREADY, 0), (READY, 30), (READY, 60), (READY, 90), 101, timings=timings)

    assert (standing.status, standing.cause) == (OFF, "Not ready within 100 s.")


def test_an_observation_without_a_cause_is_refused():
    with pytest.raises(ValueError, match="needs a cause"):
        Observation(FAILED, START, " ")


# --- The way back online ---


@pytest.mark.parametrize(("second", "through"), [(399, []), (400, [TON])])
def test_a_failed_attempt_is_repeated_after_the_wait_counted_from_its_start(second, through):
    beats = [(UNREADY, second) for second in range(130, 391, 30)]
    failed, _ = follow(in_state(OFF), (UNREADY, 100), (FAILED, 105), 106, *beats)

    _, changes = follow(failed, (UNREADY, second))

    assert [change.to_status for change in changes] == through


@pytest.mark.parametrize(("second", "through"), [(190, []), (191, [TON, ON])])
def test_whoever_comes_back_after_a_silence_need_not_wait(second, through):
    failed, _ = follow(in_state(OFF), (UNREADY, 100), (FAILED, 105), 106)

    _, changes = follow(failed, (READY, second))

    assert [change.to_status for change in changes] == through


def test_an_administrators_wish_to_try_again_ends_the_wait():
    failed, _ = follow(in_state(OFF), (UNREADY, 100), (FAILED, 105), 106, (UNREADY, 130))
    assert failed.attempted_at == at(100)

    _, waiting = judge(failed, at(131), AGENT)
    _, wished = judge(replace(failed, attempted_at=None), at(131), AGENT)

    assert ([change.to_status for change in waiting], [change.to_status for change in wished]) == ([], [TON])


def test_a_success_ends_the_wait():
    standing, _ = follow(in_state(OFF), (UNREADY, 100), (READY, 110))

    assert (standing.status, standing.attempted_at) == (ON, None)


def test_a_failure_from_before_the_attempt_does_not_end_it():
    failed, _ = follow(in_state(OFF), (UNREADY, 0), (FAILED, 10), 11, (UNREADY, 60), timings=PROBED)

    standing, changes = follow(failed, 300, 310, timings=PROBED)

    assert [(change.to_status, change.at) for change in changes] == [(TON, at(300))]
    assert standing.status is TON


def test_what_was_heard_before_a_silence_begins_no_attempt():
    stale = replace(in_state(OFF), ready_at=at(10), successes=1)

    assert [bool(judge(stale, at(second), AGENT)[1]) for second in (100, 101)] == [True, False]


def test_a_sight_that_nobody_judged_in_time_does_not_end_a_transition():
    stale = {status: observe(in_state(status), seen(READY, 10), AGENT) for status in (TOFF, TON)}

    _, of_going = judge(stale[TOFF], at(101), AGENT)
    _, of_coming = judge(stale[TON], at(101), AGENT)

    assert ([change.to_status for change in of_going], [change.to_status for change in of_coming]) == ([], [OFF])


def test_several_successes_in_a_row_are_needed_where_the_preference_says_so():
    timings = replace(AGENT, successes_before_online=3)

    _, changes = follow(in_state(OFF), (READY, 10), (READY, 40), (READY, 40), (READY, 70), timings=timings)
    _, interrupted = follow(
        in_state(OFF), (READY, 10), (READY, 40), (UNREADY, 50), (READY, 70), (READY, 100), timings=timings
    )

    assert [(change.to_status, change.at) for change in changes] == [(TON, at(10)), (ON, at(70))]
    assert [change.to_status for change in interrupted] == [TON]


# --- What could not be received was not missed ---


def test_a_stopped_watcher_that_wakes_calls_nobody_offline_at_once():
    hours = 6 * 3600
    online = in_state(ON)

    silent_for = {second: judge(online, at(hours + second), AGENT, at(hours))[1] for second in (0, 90, 91)}

    assert {second: [change.to_status for change in changes] for second, changes in silent_for.items()} == {
        0: [],
        90: [],
        91: [TOFF],
    }


@pytest.mark.parametrize(("status", "wait_s"), [(TOFF, 300), (TON, 100)])
def test_a_transition_waits_anew_once_it_is_watched_again(status, wait_s):
    hours = 6 * 3600
    changes = [judge(in_state(status), at(hours + second), AGENT, at(hours))[1] for second in (wait_s, wait_s + 1)]

    assert [[change.to_status for change in steps] for steps in changes] == [[], [OFF]]


def test_a_server_that_was_not_ready_before_the_pause_still_is_not():
    unready = observe(in_state(ON), seen(UNREADY, 10), AGENT)

    _, changes = judge(unready, at(7200), AGENT, at(7200))

    assert [(change.to_status, change.cause) for change in changes] == [(TOFF, "Its queue is full.")]


def test_an_old_observation_that_comes_late_changes_nothing():
    standing = follow(in_state(ON), (READY, 60))[0]

    assert [observe(standing, seen(sight, 59), AGENT) for sight in Sight] == [standing] * 3


# --- Properties of every course of events ---

timings_any = st.builds(
    Timings,
    heartbeat_interval_s=st.sampled_from([5, 30]),
    missed_heartbeats=st.integers(1, 4),
    failures_before_offline=st.integers(1, 3),
    successes_before_online=st.integers(1, 3),
    transition_to_offline_wait_s=st.sampled_from([0, 60, 300]),
    transition_to_online_wait_s=st.sampled_from([0, 30, 100]),
    failed_transition_to_online_wait_s=st.sampled_from([0, 60, 300]),
    is_expected_to_report=st.booleans(),
)
sights = st.builds(
    lambda sight, number: (sight, f"{CAUSES[sight]} {number}"), st.sampled_from(list(Sight)), st.integers(0, 1)
)
courses = st.lists(st.tuples(st.integers(0, 200), st.lists(sights, max_size=3)), max_size=30)


def run(course, timings, watching_since=None):
    """Play a course of (seconds since the last step, what is seen then); yield standing and changes of each step."""
    standing, moment = Standing(), START
    for pause_s, looks in course:
        moment += timedelta(seconds=pause_s)
        for sight, cause in looks:
            standing = observe(standing, Observation(sight, moment, cause), timings)
        before = standing
        standing, changes = judge(standing, moment, timings, watching_since)
        yield before, standing, changes, moment


@given(courses, timings_any)
def test_changes_are_a_chain_along_allowed_ways_and_each_has_a_cause(course, timings):
    changes = [change for _, _, steps, _ in run(course, timings) for change in steps]

    assert [change for change in changes if not change.cause.strip()] == []
    assert {(change.from_status, change.to_status) for change in changes} <= ALLOWED
    assert [one.to_status for one in changes[:-1]] == [after.from_status for _, after in pairwise(changes)]
    assert [change.from_status for change in changes[:1]] == [OFF] * min(1, len(changes))
    assert [change.at for change in changes] == sorted(change.at for change in changes)


@given(courses, timings_any)
def test_a_state_changes_only_with_a_change_that_tells_it(course, timings):
    for before, after, changes, moment in run(course, timings):
        if not changes:
            assert after == before
        else:
            last = changes[-1]
            assert (after.status, after.since, after.cause) == (last.to_status, moment, last.cause)
        assert after.attempted_at is None or after.status in (OFF, TON)


@given(courses, timings_any)
def test_judging_twice_at_a_moment_changes_nothing_more(course, timings):
    for _, after, _, moment in run(course, timings):
        assert judge(after, moment, timings) == (after, ())


@given(courses, timings_any, st.integers(0, 6000))
def test_no_transition_lasts_once_its_waits_are_over_and_nothing_is_heard(course, timings, woken_s):
    *_, (_, standing, _, moment) = run([(0, []), *course], timings)
    watching_since = START + timedelta(seconds=woken_s)
    # Silence, then each wait in turn, and a second over: for whom nobody hears, the way ends offline or stays.
    longest = (
        timings.silence_allowed.total_seconds()
        + timings.transition_to_offline_wait_s
        + timings.transition_to_online_wait_s
        + timings.failed_transition_to_online_wait_s
    )
    moment = max(moment, watching_since)

    for _ in range(4):
        moment += timedelta(seconds=longest + 1)
        standing, _ = judge(standing, moment, timings, watching_since)

    assert not standing.status.is_transition
    if timings.is_expected_to_report:
        assert standing.status is OFF


@given(courses, timings_any, st.lists(sights, min_size=1, max_size=4), st.integers(0, 400))
def test_observations_of_one_moment_count_the_same_in_any_order(course, timings, looks, pause_s):
    *_, (_, standing, _, moment) = run([(0, []), *course], timings)
    moment += timedelta(seconds=pause_s)

    found = set()
    for order in permutations(looks):
        heard = standing
        for sight, cause in order:
            heard = observe(heard, Observation(sight, moment, cause), timings)
        found.add((heard, judge(heard, moment, timings), judge(heard, moment + timedelta(seconds=1), timings)))

    assert len(found) == 1


@given(courses, timings_any, st.lists(sights, min_size=1, max_size=4), st.integers(0, 400))
def test_judging_between_observations_of_one_moment_changes_no_end(course, timings, looks, pause_s):
    *_, (_, standing, _, moment) = run([(0, []), *course], timings)
    moment += timedelta(seconds=pause_s)
    standing, _ = judge(standing, moment, timings)  # what time alone brings has happened

    found = set()
    for order in permutations(looks):
        heard, changes = standing, ()
        for sight, cause in order:
            heard = observe(heard, Observation(sight, moment, cause), timings)
            heard, more = judge(heard, moment, timings)
            changes += more
        found.add((heard, changes))

    assert len(found) == 1


@given(courses, timings_any, st.integers(0, 10**6))
def test_waking_after_a_pause_of_any_length_holds_no_silence_against_a_server(course, timings, pause_s):
    *_, (_, standing, _, moment) = run([(0, []), *course], timings)
    woken = moment + timedelta(seconds=pause_s)

    _, changes = judge(standing, woken, timings, woken)

    assert [change.cause for change in changes if change.cause.startswith(("No heartbeat", "Not ready"))] == []


def test_a_change_names_both_states_and_its_moment():
    _, changes = judge(observe(Standing(), seen(READY, 0), AGENT), at(0), AGENT)

    assert changes == (Change(OFF, TON, at(0), "It answers."), Change(TON, ON, at(0), "It is ready."))
