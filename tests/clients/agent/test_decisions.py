"""What the agent decides (OMF-10, OMF-14, OMF-17)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from booster_agent.decisions import Deed, Supervision, changed_state, next_interval, pause_after, supervise
from booster_agent.journal import order_entry
from booster_agent.versions import numbers, why_not


def test_the_pause_without_a_booster_grows_up_to_a_minute():
    """OMF-17"""
    assert [pause_after(failures) for failures in range(1, 8)] == [2, 4, 8, 16, 32, 60, 60]
    assert pause_after(10_000) == 60


def test_the_interval_is_the_boosters_within_bounds():
    """OMF-14"""
    assert [next_interval(told, 30) for told in (10, 0, 1e9, 10**400, None, "5", True, float("nan"))] == [
        10, 1, 3600, 3600, 30, 30, 30, 30,
    ]  # fmt: skip


def test_a_running_server_is_left_alone():
    """OMF-10"""
    assert supervise(Supervision(), is_running=True, now=5.0) == (Deed.NOTHING, Supervision())


def test_a_server_that_does_not_run_is_started_and_one_that_keeps_dying_is_given_longer_pauses():
    """OMF-10"""
    kept, starts, now = Supervision(), [], 0.0
    while now < 40:
        deed, kept = supervise(kept, is_running=False, now=now)
        if deed is Deed.START:
            starts.append(now)
        now += 0.5

    assert starts == [0.0, 1.5, 4.0, 8.5, 17.0, 33.5]


def test_a_server_that_ran_for_long_is_started_again_soon():
    kept = Supervision(crashes=6, started_at=0.0)

    _, kept = supervise(kept, is_running=True, now=301.0)
    _, kept = supervise(kept, is_running=False, now=400.0)
    deed, _ = supervise(kept, is_running=False, now=401.0)

    assert deed is Deed.START


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0.1, 400)), max_size=60))
def test_whatever_happens_a_server_is_never_started_while_it_runs_nor_left_off_for_more_than_a_minute(story):
    kept, now, off_since = Supervision(), 0.0, None
    for is_running, seconds in story:
        now += seconds
        deed, kept = supervise(kept, is_running=is_running, now=now)
        assert not (is_running and deed is Deed.START)
        off_since = None if is_running or deed is Deed.START else off_since if off_since is not None else now
        assert off_since is None or kept.start_again_at - off_since <= 60


def test_only_readiness_and_version_are_a_change_of_state():
    before = {"ready": True, "software_version": "1.1.0.0", "pending": 0}

    assert not changed_state(before, before | {"pending": 7})
    assert changed_state(before, before | {"ready": False})
    assert changed_state(before, before | {"software_version": "1.2.0.0"})
    assert changed_state(None, before)


@pytest.mark.parametrize("installed", ["1.1.0.0", "1.1.9.0fix3", "1.1.10.0"])
def test_a_patch_fits_both_ends_of_its_range_by_number(installed):
    """OMF-31, OMF-32"""
    assert why_not(installed, "1.1.0.0", "1.1.10.0") == ""


@pytest.mark.parametrize("installed", ["1.0.9.9", "1.1.10.1", "", "26.2", "1.1.0.0.1"])
def test_a_version_outside_the_range_or_unknown_is_named_in_the_reason(installed):
    """OMF-32"""
    assert installed in why_not(installed, "1.1.0.0", "1.1.10.0")
    assert why_not(installed, "1.1.0.0", "1.1.10.0")


def test_versions_compare_by_their_numbers():
    """OMF-31"""
    assert numbers("1.1.10.0") > numbers("1.1.9.0")
    assert numbers("1.1.6.3fix3") == numbers("1.1.6.3")


@pytest.mark.parametrize("number", [float("inf"), float("nan"), None, "x", [1]])
@pytest.mark.parametrize("name", ["id", "size_bytes"])
def test_an_order_with_numbers_that_are_none_is_not_understood(name, number):
    patch = {"id": 1, "version": "1.2.0.0", "sha256": "0" * 64, "size_bytes": 7, "file": "/api/v1/agent/patches/1/file"}
    sound = {"target": 1, "step": "apply", "patch": patch}

    assert order_entry(sound) is not None
    assert order_entry(sound | {"patch": patch | {name: number}}) is None
