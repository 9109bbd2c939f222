from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.status import Status
from servers.uptime import WORST_FIRST, Bucket, Interval, Step, heartbeat_bar, uptime

ON, TOFF, OFF, TON = (
    Status.ONLINE,
    Status.TRANSITION_TO_OFFLINE,
    Status.OFFLINE,
    Status.TRANSITION_TO_ONLINE,
)
START = datetime(2026, 3, 1, tzinfo=UTC)
LENGTH = 100


def at(seconds):
    return START + timedelta(seconds=seconds)


def steps(*pairs):
    return [Step(at(second), status) for second, status in pairs]


def share(transitions, excluded=(), start=0, end=LENGTH, **options):
    windows = [Interval(at(first), at(last)) for first, last in excluded]
    return uptime(transitions, windows, at(start), at(end), **options)


@pytest.mark.parametrize(
    ("transitions", "excluded", "expected"),
    [
        # nothing is known, or nothing of it counts
        (steps(), [], None),
        (steps((100, ON)), [], None),
        (steps((-10, ON)), [(0, 100)], None),
        (steps((-10, OFF)), [(-5, 60), (40, 200)], None),
        # the state before the window holds into it
        (steps((-10, ON)), [], 1.0),
        (steps((-10, OFF)), [], 0.0),
        (steps((-10, ON), (25, OFF)), [], 0.25),
        # what is not online is down, transitions too
        (steps((-10, ON), (10, TOFF), (20, OFF), (50, TON), (60, ON)), [], 0.5),
        # steps of one moment take no time
        (steps((-10, ON), (50, TOFF), (50, TON), (50, ON)), [], 1.0),
        # before the first that is known nothing counts
        (steps((60, ON), (80, OFF)), [], 0.5),
        # at the edges of the window
        (steps((0, ON), (100, OFF)), [], 1.0),
        (steps((-50, OFF), (0, ON)), [], 1.0),
        # maintenance does not count, and overlapping windows count once
        (steps((-10, ON), (50, OFF)), [(50, 100)], 1.0),
        (steps((-10, ON), (50, OFF)), [(0, 50)], 0.0),
        (steps((-10, ON), (50, OFF)), [(60, 80), (70, 100)], 5 / 6),
        (steps((-10, ON), (50, OFF)), [(40, 60)], 0.5),
        (steps((-10, ON), (50, OFF)), [(200, 300), (-20, -10)], 0.5),
    ],
)
def test_uptime_is_the_share_of_the_counted_time_online(transitions, excluded, expected):
    assert share(transitions, excluded) == expected


@pytest.mark.parametrize(("proved", "expected"), [(-5, 0.6), (0, 0.6), (40, 1.0), (50, 1.0), (100, None), (200, None)])
def test_the_time_before_a_server_proved_itself_does_not_count(proved, expected):
    assert share(steps((-50, OFF), (40, ON)), proved_at=at(proved)) == expected


statuses = st.sampled_from(list(Status))
courses = st.lists(st.tuples(st.integers(-50, 150), statuses), max_size=12).map(
    lambda pairs: steps(*sorted(pairs, key=lambda pair: pair[0]))
)
windows = st.lists(
    st.tuples(st.integers(-50, 150), st.integers(1, 100)).map(lambda pair: (pair[0], sum(pair))), max_size=4
)


def state_at(transitions, second):
    """Return the state in one second: the last that began by then."""
    return next((step.status for step in reversed(transitions) if step.at <= at(second)), None)


@given(courses, windows)
def test_uptime_is_what_counting_second_by_second_gives(transitions, excluded):
    counted = [
        state_at(transitions, second)
        for second in range(LENGTH)
        if state_at(transitions, second) is not None and not any(first <= second < last for first, last in excluded)
    ]
    expected = sum(status is ON for status in counted) / len(counted) if counted else None

    assert share(transitions, excluded) == pytest.approx(expected)


@given(courses, windows, windows)
def test_excluding_the_same_time_again_changes_nothing(transitions, excluded, more):
    assert share(transitions, [*excluded, *more]) == share(transitions, [*more, *excluded, *more])


@given(courses, windows)
def test_a_change_at_or_after_the_end_does_not_matter(transitions, excluded):
    later = [*(step for step in transitions if step.at < at(LENGTH)), Step(at(LENGTH), OFF)]

    assert share(later, excluded) == share(transitions, excluded)


@pytest.mark.parametrize(
    ("transitions", "worst"),
    [
        (steps(), [None, None, None, None]),
        (steps((-5, ON)), [ON, ON, ON, ON]),
        (steps((30, ON)), [None, ON, ON, ON]),
        (steps((-5, ON), (25, TOFF), (50, OFF), (60, TON), (75, ON)), [ON, TOFF, OFF, ON]),
        (steps((-5, ON), (26, OFF), (27, ON)), [ON, OFF, ON, ON]),
        (steps((-5, ON), (40, TOFF), (40, TON), (40, ON)), [ON, ON, ON, ON]),
        (steps((-5, TON), (100, OFF)), [TON, TON, TON, TON]),
    ],
)
def test_a_heartbeat_bar_shows_the_worst_of_each_piece(transitions, worst):
    bar = heartbeat_bar(transitions, at(0), at(LENGTH), 4)

    edges = [(0, 25), (25, 50), (50, 75), (75, 100)]
    assert bar == [Bucket(at(first), at(last), status) for (first, last), status in zip(edges, worst, strict=True)]


@given(courses, st.integers(1, 20).filter(lambda number: LENGTH % number == 0))
def test_a_bar_is_what_looking_at_every_second_gives(transitions, buckets):
    bar = heartbeat_bar(transitions, at(0), at(LENGTH), buckets)

    length = LENGTH // buckets
    expected = []
    for first in range(0, LENGTH, length):
        found = {state_at(transitions, second) for second in range(first, first + length)} - {None}
        expected.append(min(found, key=WORST_FIRST.index, default=None))
    assert [bucket.worst for bucket in bar] == expected
