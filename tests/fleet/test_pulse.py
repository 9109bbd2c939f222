"""How long reports were received and servers watched without a gap."""

from datetime import timedelta

import pytest

from fleet import pulse
from fleet.models import Pulse
from fleet.pulse import Watching, beat, watching
from routing import watcher as web_watcher
from routing.store import store
from routing.watcher import Watcher
from tests.fleet.makers import START, seconds

pytestmark = pytest.mark.django_db
GAP = timedelta(seconds=20)


@pytest.mark.parametrize(
    ("pause_s", "since"),
    [(19, START), (20, START), (20.001, START + seconds(20.001)), (86_400, START + seconds(86_400))],
)
def test_a_beat_after_more_than_the_gap_starts_anew(pause_s, since):
    beat("receiver", START, GAP)

    beat("receiver", START + seconds(pause_s), GAP)

    assert list(Pulse.objects.values_list("since", "at")) == [(since, START + seconds(pause_s))]


def test_a_beat_that_comes_late_changes_nothing():
    beat("receiver", START, GAP)

    beat("receiver", START - seconds(100), GAP)

    assert list(Pulse.objects.values_list("since", "at")) == [(START, START)]


def test_a_beat_is_one_statement(django_assert_num_queries):
    beat("receiver", START, GAP)

    with django_assert_num_queries(1):
        beat("receiver", START + seconds(5), GAP)


def test_watching_goes_on_from_the_later_of_both_for_agents_and_from_the_watchers_for_probes():
    Pulse.objects.create(name="receiver", since=START - seconds(50), at=START)
    Pulse.objects.create(name="watcher", since=START - seconds(90), at=START)

    found = watching(START + seconds(10))

    assert found == Watching(START - seconds(50), START - seconds(90))
    assert found.since(has_agent=True) == START - seconds(50)
    assert found.since(has_agent=False) == START - seconds(90)


@pytest.mark.parametrize(
    ("name", "gap", "agents", "probes"),
    [("receiver", pulse.RECEIVER_GAP, True, False), ("watcher", pulse.WATCHER_GAP, True, True)],
)
def test_what_has_stopped_counts_from_now_before_its_next_beat_says_so(name, gap, agents, probes):
    late = START + gap + seconds(1)
    for each in ("receiver", "watcher"):
        Pulse.objects.create(name=each, since=START - seconds(900), at=START if each == name else late)

    found = watching(late)

    assert (found.since(has_agent=True) == late, found.since(has_agent=False) == late) == (agents, probes)


def test_nothing_was_watched_before_the_first_beat():
    assert watching(START) == Watching(START, START)


def test_every_web_process_beats_along_with_its_reports(time_machine):
    time_machine.move_to(START, tick=False)
    watcher = Watcher(store)

    watcher.check(write_reports=False)
    assert not Pulse.objects.exists()
    watcher.check(write_reports=True)

    assert list(Pulse.objects.values_list("name", "since", "at")) == [("receiver", START, START)]


def test_a_beat_that_fails_neither_stops_the_edge_nor_the_next(monkeypatch):
    beaten = []

    def fail(moment):
        raise RuntimeError("no")

    monkeypatch.setattr(web_watcher, "beats", [fail, beaten.append])
    watcher = Watcher(store)

    watcher.check(write_reports=True)

    assert len(beaten) == 1
    assert store.snapshot is not None
