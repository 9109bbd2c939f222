"""Terminals that nobody sees any more."""

import pytest

from fleet import pulse
from fleet.models import Incident, Maintenance, Pulse
from fleet.unseen import watch_terminals
from notices.models import Notice
from preferences.models import PreferenceValue
from routing.store import store
from terminals.models import Terminal, TerminalReport
from tests.factories import make_terminal, make_tree
from tests.fleet.makers import START, beat_both, seconds, told

pytestmark = pytest.mark.django_db
LATE = START + seconds(7200)


@pytest.fixture
def tree():
    return make_tree(ACME=None, NORTH="ACME", LYON="NORTH", OSLO="ACME")


@pytest.fixture
def patient(tree):
    """Let the north want to know of a terminal after an hour, the rest never."""
    PreferenceValue.objects.create(key="terminal_unseen_after_s", organization=tree["NORTH"], value="3600")
    beat_both(START)
    Pulse.objects.update(at=LATE + seconds(3600))
    return tree


def seen(search_key, store, at, **fields):
    terminal = make_terminal(search_key, store, **fields)
    Terminal.objects.filter(pk=terminal.pk).update(activated_at=START)
    TerminalReport.objects.create(terminal=terminal, last_seen_at=at)
    return terminal


@pytest.mark.parametrize(("ago_s", "opened"), [(3600, 0), (3601, 1)])
def test_a_terminal_is_unseen_after_the_time_of_its_store(patient, ago_s, opened):
    seen("LY-1", patient["LYON"], LATE - seconds(ago_s))
    seen("OS-1", patient["OSLO"], START)

    assert watch_terminals(LATE) == opened
    assert watch_terminals(LATE) == 0
    assert [str(incident.terminal) for incident in Incident.objects.all()] == ["LY-1"][:opened]


def test_terminals_that_were_never_activated_or_are_inactive_are_not_missed(patient):
    make_terminal("LY-1", patient["LYON"])
    seen("LY-2", patient["LYON"], START, is_active=False)

    assert watch_terminals(LATE) == 0


def test_the_time_in_which_the_booster_could_not_be_called_does_not_count(patient):
    seen("LY-1", patient["LYON"], START)
    Pulse.objects.filter(name="receiver").update(since=LATE - seconds(3600))

    assert watch_terminals(LATE) == 0
    assert watch_terminals(LATE + seconds(1)) == 1


def test_nobody_is_missed_while_nothing_can_be_received(patient):
    seen("LY-1", patient["LYON"], START)
    Pulse.objects.filter(name="receiver").update(at=LATE - pulse.RECEIVER_GAP - seconds(1))

    assert watch_terminals(LATE) == 0


def test_terminals_of_a_store_are_one_notice_and_each_return_closes_its_own(patient):
    terminals = [seen(f"LY-{number}", patient["LYON"], START) for number in (1, 2, 3)]
    watch_terminals(LATE)
    watch_terminals(LATE + seconds(60))

    back = LATE + seconds(90)
    TerminalReport.objects.filter(terminal__in=terminals[:2]).update(last_seen_at=back)
    watch_terminals(back + seconds(5))

    assert told() == [
        ("terminal-unseen", "3 terminals of Lyon are not seen"),
        ("terminal-back", "LY-1 of Lyon: It is seen again."),
    ]
    assert Notice.objects.first().text.endswith("1 terminal lost with it is still missing.")
    closed = Incident.objects.order_by("pk").values_list("closed_at", flat=True)
    assert list(closed) == [back, back, None]


def test_maintenance_of_the_store_or_above_is_not_told(patient):
    seen("LY-1", patient["LYON"], START)
    Maintenance.objects.create(
        organization=patient["NORTH"], starts_at=START, ends_at=LATE + seconds(100), reason="Cabling"
    )
    watch_terminals(LATE)
    watch_terminals(LATE + seconds(60))
    assert told() == []

    watch_terminals(LATE + seconds(120))

    assert told() == [("terminal-unseen", "LY-1 of Lyon is not seen")]


def test_whoever_does_not_want_to_know_any_more_is_left_alone(patient):
    seen("LY-1", patient["LYON"], START)
    watch_terminals(LATE)

    PreferenceValue.objects.all().delete()
    watch_terminals(LATE + seconds(60))

    incident = Incident.objects.get()
    assert (incident.closing_cause, told()) == ("Its store does not want to know any more.", [])


@pytest.mark.parametrize("number", [1, 3])
def test_a_look_is_a_fixed_number_of_queries(patient, number, django_assert_num_queries):
    for each in range(number):
        seen(f"LY-{each}", patient["LYON"], START)
    store.current()

    with django_assert_num_queries(13):
        watch_terminals(LATE)
    with django_assert_num_queries(12):
        watch_terminals(LATE + seconds(5))
