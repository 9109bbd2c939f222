"""The picture of the fleet: states of stores from the states of their servers."""

import pytest

from fleet.picture import LEGEND, Cell, Group, Known, Picture, Row, State, cell_of, picture, state_of, tally
from servers.status import Status
from tests.routing.makers import make_landscape, make_server

ON = Known(1, Status.ONLINE, has_proved=True)
OFF = Known(2, Status.OFFLINE, has_proved=True)
GOING = Known(3, Status.TRANSITION_TO_OFFLINE, has_proved=True)
COMING = Known(4, Status.TRANSITION_TO_ONLINE, has_proved=True)
FIRST = Known(5, Status.TRANSITION_TO_ONLINE)
NEW = Known(6)
WORKED_ON = Known(7, Status.OFFLINE, has_proved=True, in_maintenance=True)
WORKED_ON_BUT_ON = Known(8, Status.ONLINE, has_proved=True, in_maintenance=True)
NEW_WORKED_ON = Known(9, in_maintenance=True)

TABLE = [
    ([], State.STANDARD),
    ([ON], State.OK),
    ([ON, ON], State.OK),
    ([ON, WORKED_ON_BUT_ON], State.OK),
    ([NEW], State.UNKNOWN),
    ([NEW, NEW_WORKED_ON], State.UNKNOWN),
    ([NEW_WORKED_ON], State.MAINTENANCE),
    ([FIRST], State.TRANSITION),
    ([FIRST, NEW], State.TRANSITION),
    ([OFF], State.DOWN),
    ([OFF, NEW], State.DOWN),
    ([OFF, WORKED_ON], State.DOWN),
    ([OFF, COMING], State.TRANSITION),
    ([GOING], State.TRANSITION),
    ([ON, GOING], State.TRANSITION),
    ([ON, COMING], State.TRANSITION),
    ([ON, GOING, OFF], State.DEGRADED),
    ([ON, OFF], State.DEGRADED),
    ([ON, NEW], State.DEGRADED),
    ([ON, OFF, WORKED_ON], State.DEGRADED),
    ([ON, WORKED_ON], State.MAINTENANCE),
    ([ON, WORKED_ON, GOING], State.TRANSITION),
    ([WORKED_ON], State.MAINTENANCE),
]


@pytest.mark.parametrize(("servers", "expected"), TABLE)
def test_the_state_of_a_store_follows_from_its_servers(servers, expected):
    assert state_of(servers) is expected
    assert state_of(servers[::-1]) is expected


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (ON, (State.OK, "Online")),
        (OFF, (State.DOWN, "Offline")),
        (GOING, (State.TRANSITION, "Going offline")),
        (COMING, (State.TRANSITION, "Coming online")),
        (NEW, (State.UNKNOWN, "Not seen yet")),
        (WORKED_ON, (State.MAINTENANCE, "Offline")),
        (WORKED_ON_BUT_ON, (State.OK, "Online")),
        (NEW_WORKED_ON, (State.MAINTENANCE, "Not seen yet")),
    ],
)
def test_a_server_alone_has_a_state_and_a_word(server, expected):
    assert (server.state, server.word) == expected


def test_the_legend_tells_every_state_by_a_symbol_and_a_word_of_its_own():
    assert list(LEGEND) == list(State)
    assert len({look.symbol for look in LEGEND.values()}) == len({look.word for look in LEGEND.values()}) == len(State)


def test_a_picture_groups_stores_below_what_they_lie_in_and_lists_main_servers():
    landscape = make_landscape(
        {"ACME": None, "SOUTH": "ACME", "ROME": "SOUTH", "NORTH": "ACME", "OSLO": "NORTH", "BERGEN": "NORTH"},
        servers=[
            make_server("second", priority=20),
            make_server("central", priority=10),
            make_server("oslo box", server_type="store", organizations={"OSLO"}),
            make_server("gone", is_active=False),
        ],
    )
    known = {"second": ON, "central": ON, "oslo_box": OFF, "gone": OFF}

    drawn = picture(landscape, known)

    assert drawn == Picture(
        (
            Group(
                "NORTH",
                "Acme / North",
                (Cell("BERGEN", "Bergen", State.OK, 2, 2), Cell("OSLO", "Oslo", State.DEGRADED, 2, 3)),
            ),
            Group("SOUTH", "Acme / South", (Cell("ROME", "Rome", State.OK, 2, 2),)),
        ),
        (Row("central", "central", ON), Row("second", "second", ON)),
    )
    assert drawn.tally == {State.DEGRADED: 1, State.OK: 2}
    assert list(drawn.tally) == [State.DEGRADED, State.OK]


def test_a_picture_leaves_out_inactive_stores_and_servers_not_yet_read():
    landscape = make_landscape(
        {"ACME": None, "OSLO": "ACME", "ROME": "ACME"},
        servers=[make_server("central"), make_server("brand new")],
        inactive={"ROME"},
    )

    drawn = picture(landscape, {"central": ON})

    assert drawn == Picture(
        (Group("ACME", "Acme", (Cell("OSLO", "Oslo", State.OK, 1, 1),)),), (Row("central", "central", ON),)
    )


def test_a_store_is_in_the_standard_way_while_multi_server_is_off():
    landscape = make_landscape(servers=[make_server("central")], preferences={})

    assert cell_of(landscape, "LYON", {"central": OFF}, {}) == Cell("LYON", "Lyon", State.STANDARD)


def test_a_cell_says_in_words_what_it_shows():
    landscape = make_landscape(servers=[make_server("central"), make_server("box")])

    cell = cell_of(landscape, "LYON", {"central": ON, "box": OFF}, {"LYON": 2, "PARIS": 5})

    assert cell == Cell("LYON", "Lyon", State.DEGRADED, 1, 2, 2)
    assert cell.summary == "Lyon: Degraded, 1 of 2 servers online, 2 tills cannot reach a server"
    assert Cell("A", "A", State.OK, 1, 1, 1).summary == "A: OK, 1 of 1 server online, 1 till cannot reach a server"
    assert Cell("A", "A", State.STANDARD).summary == "A: Standard way"


def test_a_picture_is_narrowed_to_what_somebody_may_see():
    landscape = make_landscape(
        {"ACME": None, "NORTH": "ACME", "OSLO": "NORTH", "BERGEN": "NORTH", "SOUTH": "ACME", "ROME": "SOUTH"},
        servers=[make_server("central"), make_server("secret")],
    )

    narrowed = picture(landscape, {"central": ON, "secret": OFF}).only({"OSLO"}, {"central"})

    assert narrowed == Picture(
        (Group("NORTH", "Acme / North", (Cell("OSLO", "Oslo", State.DEGRADED, 1, 2),)),),
        (Row("central", "central", ON),),
    )


def test_a_tally_counts_worst_first_and_names_no_empty_state():
    cells = [Cell("A", "A", State.OK), Cell("B", "B", State.DOWN), Cell("C", "C", State.OK)]

    assert list(tally(cells).items()) == [(State.DOWN, 1), (State.OK, 2)]
