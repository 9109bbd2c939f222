"""Which outages are one notice: a table of situations, and what holds in any."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.grouping import DELAY, HOLD, WINDOW, Outage, Plan, Watched, plan, plan_terminals
from tests.fleet.makers import START, seconds

MAIN, OTHER_MAIN, LYON, OSLO, NICE, FOREIGN = range(1, 7)
BOOSTER = 99


def world(lost=(), seen_s=60):
    """Return six watched servers of two clients; those not lost were seen last `seen_s` after the start."""
    clients = {FOREIGN: "OTHER"}
    return [
        Watched(
            id,
            clients.get(id, "ACME"),
            is_main=id in (MAIN, OTHER_MAIN),
            is_lost=id in lost,
            seen_at=START if id in lost else START + seconds(seen_s),
        )
        for id in (MAIN, OTHER_MAIN, LYON, OSLO, NICE, FOREIGN)
    ]


def out(server, at_s, **fields):
    """Return an outage of a server, with ten times its number as id."""
    closed_s = fields.pop("closed_s", None)
    leader_closed_s = fields.pop("leader_closed_s", None)
    return Outage(
        server * 10,
        server,
        START + seconds(at_s),
        closed_at=None if closed_s is None else START + seconds(closed_s),
        leader_closed_at=None if leader_closed_s is None else START + seconds(leader_closed_s),
        **fields,
    )


def of(**plans):
    return Plan(**{name: {k: frozenset(v) for k, v in value.items()} for name, value in plans.items()})


SITUATIONS = {
    "nothing is told before the delay": ([out(LYON, 0)], 14.9, of()),
    "a loss alone is told after the delay": ([out(LYON, 0)], 15, of(tell={30: []})),
    "store servers lost alone are notices of their own": (
        [out(LYON, 0), out(OSLO, 1)],
        20,
        of(tell={30: [], 40: []}),
    ),
    "store servers follow the main server of their client": (
        [out(MAIN, 0), out(LYON, 0), out(OSLO, 9), out(FOREIGN, 1)],
        20,
        of(tell={10: [30, 40], 60: []}),
    ),
    "store servers wait for their leader's delay": ([out(MAIN, 10), out(LYON, 0)], 20, of()),
    "a store server follows a main server that was not seen since, however late its silence is noticed": (
        [out(MAIN, 180), out(LYON, 0)],
        195,
        of(tell={10: [30]}),
    ),
    "a store server lost long before the main server is told alone": (
        [out(MAIN, 181), out(LYON, 0)],
        196,
        of(tell={10: [], 30: []}),
    ),
    "a second main server is told itself": ([out(MAIN, 0), out(OTHER_MAIN, 1)], 20, of(tell={10: [], 20: []})),
    "stores follow the main server lost first": (
        [out(MAIN, 2), out(OTHER_MAIN, 1), out(LYON, 3)],
        20,
        of(tell={20: [30], 10: []}),
    ),
    "later ones follow a told leader silently": (
        [out(MAIN, 0, is_told=True), out(LYON, 299)],
        300,
        of(join={10: [30]}),
    ),
    "what is lost after the window is told itself": (
        [out(MAIN, 0, is_told=True), out(LYON, 301)],
        316,
        of(tell={30: []}),
    ),
    "a main server that came back leads those lost before": (
        [out(MAIN, 0, is_told=True, closed_s=60), out(LYON, 59), out(OSLO, 61)],
        80,
        of(tell={40: []}, join={10: [30]}),
    ),
    "a follower may take the window to follow its leader back": (
        [out(LYON, 0, is_told=True, follows=10, leader_closed_s=60)],
        360,
        of(),
    ),
    "a follower that stays down is told after all": (
        [out(LYON, 0, is_told=True, follows=10, leader_closed_s=60)],
        361,
        Plan(tell={30: frozenset()}, detached=frozenset({30})),
    ),
}


@pytest.mark.parametrize(("outages", "at_s", "expected"), SITUATIONS.values(), ids=SITUATIONS)
def test_a_situation_gives_its_plan(outages, at_s, expected):
    lost = {outage.subject for outage in outages if outage.is_open}

    assert plan(outages, world(lost, seen_s=at_s), START + seconds(at_s)) == expected


@pytest.mark.parametrize(
    ("seen_s", "at_s", "expected"),
    [
        (0, 180, of()),
        (1, 15, of(tell={30: []})),
        (0, 180.1, of(tell={30: []})),
    ],
    ids=["not seen since", "seen since", "not seen during the whole hold"],
)
def test_a_lost_store_server_waits_for_a_sight_of_its_main_server(seen_s, at_s, expected):
    main, lyon = Watched(MAIN, "ACME", True, False, START + seconds(seen_s)), Watched(LYON, "ACME", False, True, START)
    foreign = Watched(FOREIGN, "OTHER", True, False, START + seconds(10))

    assert plan([out(LYON, 0)], [main, lyon, foreign], START + seconds(at_s)) == expected


def test_a_store_server_lost_before_a_last_sight_of_its_main_server_is_told_alone():
    main, lyon = Watched(MAIN, "ACME", True, True, START + seconds(1)), Watched(LYON, "ACME", False, True, START)
    foreign = Watched(FOREIGN, "OTHER", True, False, START + seconds(10))

    planned = plan([out(LYON, 0), out(MAIN, 91)], [main, lyon, foreign], START + seconds(106))

    assert planned == of(tell={10: [], 30: []})


def test_servers_that_flap_or_are_in_maintenance_are_not_told_but_lead():
    outages = [out(MAIN, 0), out(LYON, 1), out(FOREIGN, 0)]

    planned = plan(outages, world({MAIN, LYON, FOREIGN}), START + seconds(60), silenced={MAIN, FOREIGN})

    assert planned == of(join={10: [30]})


EVERYONE = {MAIN, OTHER_MAIN, LYON, OSLO, NICE, FOREIGN}


def test_when_every_server_is_lost_the_booster_is_cut_off():
    outages = [out(server, server) for server in sorted(EVERYONE)]

    planned = plan(outages, world(EVERYONE), START + seconds(20))

    assert planned == Plan(isolated=frozenset({10, 20, 30, 40, 50, 60}))


def test_while_nothing_was_seen_since_the_first_loss_nothing_is_told_until_the_hold_is_over():
    lost = {LYON, OSLO}
    outages = [out(LYON, 10), out(OSLO, 12)]
    silent = world(lost, seen_s=10)

    assert plan(outages, silent, START + seconds(10) + HOLD) == Plan()
    assert plan(outages, silent, START + seconds(13) + HOLD) == of(tell={30: [], 40: []})
    assert plan(outages, world(lost, seen_s=13), START + seconds(30)) == of(tell={30: [], 40: []})


def test_three_losses_and_nothing_seen_during_the_whole_hold_is_a_booster_cut_off():
    lost = {LYON, OSLO, NICE}
    outages = [out(server, 10) for server in sorted(lost)]

    assert plan(outages, world(lost, seen_s=10), START + seconds(11) + HOLD) == Plan(isolated=frozenset({30, 40, 50}))


def test_a_server_lost_long_ago_neither_follows_nor_hinders():
    outages = [out(MAIN, -5000, is_told=True)] + [out(server, 0) for server in sorted(EVERYONE - {MAIN})]

    planned = plan(outages, world(EVERYONE), START + seconds(20))

    assert planned == Plan(isolated=frozenset({20, 30, 40, 50, 60}))


def test_two_watched_servers_say_nothing_about_the_booster():
    pair = [server for server in world({LYON, OSLO}) if server.id in (LYON, OSLO)]

    assert plan([out(LYON, 0), out(OSLO, 0)], pair, START + DELAY) == of(tell={30: [], 40: []})


def test_while_the_booster_is_cut_off_every_loss_belongs_to_that():
    planned = plan([out(LYON, 0), out(MAIN, 0, is_told=True)], world({LYON, MAIN}), START, booster_incident=BOOSTER)

    assert planned == of(join={BOOSTER: [30]})


outages_of_any = st.builds(
    lambda server, at, length, told, leads: out(
        server,
        at,
        closed_s=None if length is None else at + length,
        is_told=told,
        follows=leads and 10 if told else None,
        leader_closed_s=leads if told and leads else None,
    ),
    server=st.sampled_from(sorted(EVERYONE)),
    at=st.integers(-900, 300),
    length=st.none() | st.integers(0, 600),
    told=st.booleans(),
    leads=st.none() | st.integers(1, 300),
)


@given(
    outages=st.lists(outages_of_any, unique_by=lambda outage: outage.subject),
    seen_s=st.integers(-60, 300),
    silenced=st.frozensets(st.sampled_from(sorted(EVERYONE))),
    booster=st.sampled_from([None, BOOSTER]),
)
def test_in_any_situation_each_outage_is_told_at_most_once_and_none_forever_kept_back(
    outages, seen_s, silenced, booster
):
    lost = {outage.subject for outage in outages if outage.is_open}
    watched = world(lost, seen_s)
    late = START + seconds(300) + WINDOW + HOLD + timedelta(seconds=1)

    planned = plan(outages, watched, late, silenced=silenced, booster_incident=booster)

    followers = [id for ids in [*planned.tell.values(), *planned.join.values()] for id in ids]
    named = [*planned.tell, *followers, *planned.isolated]
    due = {
        outage.id
        for outage in outages
        if outage.is_open
        and outage.subject not in silenced
        and (not outage.is_told or outage.has_lost_its_leader(late))
    }
    assert len(named) == len(set(named))
    assert due <= set(named)
    assert not planned.isolated or booster is None
    open_ones = {outage.id for outage in outages if outage.is_open}
    assert set(named) <= open_ones


def test_terminals_of_one_store_are_one_notice():
    outages = [out(1, 0), out(2, 5), out(3, 0)]
    stores = {1: "LYON", 2: "LYON", 3: "OSLO"}

    assert plan_terminals(outages, stores, START + seconds(14)) == Plan()
    assert plan_terminals(outages, stores, START + seconds(15)) == of(tell={10: [20], 30: []})


def test_a_terminal_that_vanishes_later_follows_silently_or_is_told_after_the_window():
    stores = {1: "LYON", 2: "LYON", 3: "LYON"}
    outages = [out(1, 0, is_told=True), out(2, 300), out(3, 301)]

    assert plan_terminals(outages, stores, START + seconds(320)) == of(tell={30: []}, join={10: [20]})


def test_terminals_that_vanish_with_the_boosters_network_belong_to_that():
    assert plan_terminals([out(1, 0)], {1: "LYON"}, START, booster_incident=BOOSTER) == of(join={BOOSTER: [10]})
    assert plan_terminals([out(1, 0)], {1: "LYON"}, START + seconds(60), silenced={1}) == Plan()
