"""The rate of each caller at the polled doors."""

from hypothesis import given, settings
from hypothesis import strategies as st

from routing.limits import Rate


def test_a_burst_passes_and_the_rest_waits_as_long_as_it_is_told():
    rate = Rate(per_minute=60, burst=3, most_callers=10)

    at_once = [rate.refused_for_s("a", 100.0) for _ in range(5)]
    later = rate.refused_for_s("a", 101.0)

    assert (at_once, later) == ([0, 0, 0, 1, 1], 0)


def test_callers_do_not_share_a_rate():
    rate = Rate(per_minute=1, burst=1, most_callers=10)

    assert [rate.refused_for_s(caller, 0.0) for caller in "abab"] == [0, 0, 60, 60]


def test_memory_is_bounded_and_those_who_used_up_nothing_go_first():
    rate = Rate(per_minute=60, burst=10, most_callers=100)
    for _ in range(10):
        rate.refused_for_s("busy", 0.0)
    for number in range(100):
        rate.refused_for_s(f"idle{number}", 0.0)
    for number in range(200):
        rate.refused_for_s(f"new{number}", 2.0)

    assert len(rate) <= 100


def test_a_busy_caller_is_not_forgotten_when_the_idle_ones_are():
    rate = Rate(per_minute=60, burst=10, most_callers=4)
    for _ in range(10):
        rate.refused_for_s("busy", 0.0)
    for number in range(3):
        rate.refused_for_s(f"idle{number}", 0.0)

    assert rate.refused_for_s("new", 1.5) == 0
    assert [rate.refused_for_s("busy", 1.5) for _ in range(3)] == [0, 1, 1]


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 600),
    st.integers(1, 50),
    st.lists(st.floats(0, 5), min_size=1, max_size=200),
)
def test_no_caller_gets_more_than_the_burst_and_the_rate_of_the_time_that_passed(per_minute, burst, pauses):
    rate = Rate(per_minute, burst, most_callers=10)
    now, passed = 1000.0, 0

    for pause in pauses:
        now += pause
        wait = rate.refused_for_s("a", now)
        passed += wait == 0
        if wait:
            assert rate.refused_for_s("a", now + wait + 0.001) == 0
            now += wait + 0.001
            passed += 1

    assert passed <= burst + (now - 1000.0) * per_minute / 60 + 1
