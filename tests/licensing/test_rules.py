"""What follows from licence, trial and time."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licensing.rules import (
    COMMUNITY,
    Action,
    Limits,
    State,
    Trial,
    Unreadable,
    Usage,
    allows,
    banner,
    clock_warning,
    placed,
    state,
)
from tests.licensing.makers import DAY, SECOND, START, make_license

TRIAL = Trial(START)
BROKEN = Unreadable("altered")


def at(moment, present=None, upcoming=None):
    return state(present, upcoming, TRIAL, moment)


@pytest.mark.parametrize(
    ("moment", "expected", "left"),
    [
        (START, State.TRIAL, 7),
        (START + SECOND, State.TRIAL, 7),
        (START + 7 * DAY - SECOND, State.TRIAL, 1),
        (START + 7 * DAY, State.NONE, None),
        (START + 7 * DAY + SECOND, State.NONE, None),
    ],
)
def test_the_trial_lasts_seven_times_24_hours(moment, expected, left):
    """OMF-54"""
    status = at(moment)

    assert (status.state, status.days_left(moment)) == (expected, left)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (timedelta(0), State.LICENSED),
        (365 * DAY - SECOND, State.LICENSED),
        (365 * DAY, State.GRACE),
        (395 * DAY - SECOND, State.GRACE),
        (395 * DAY, State.EXPIRED),
    ],
)
def test_a_license_goes_from_licensed_over_grace_to_expired(after, expected):
    assert at(START + after, make_license()).state is expected


def test_the_trial_goes_on_when_a_license_ends_before_it():
    assert at(START + 2 * DAY, make_license(expires_at=START + DAY, grace_days=0)).state is State.TRIAL
    assert at(START + 8 * DAY, make_license(expires_at=START + DAY, grace_days=0)).state is State.EXPIRED


def test_a_stored_license_that_cannot_be_read_is_invalid_once_the_trial_is_over():
    assert (at(START, BROKEN).state, at(START + 8 * DAY, BROKEN).state) == (State.TRIAL, State.INVALID)


def test_the_next_license_becomes_active_by_itself():
    following = make_license(id="L-2", not_before=START + 300 * DAY, expires_at=START + 665 * DAY, terminals=99)
    present = make_license()

    found = [at(START + days * DAY, present, following) for days in (299, 300, 366)]

    assert [status.limits.terminals for status in found] == [10, 99, 99]
    assert [status.has_successor for status in found] == [True, False, False]


@pytest.mark.parametrize(
    ("status", "limits"),
    [
        (at(START), Limits()),
        (at(START, make_license()), Limits(servers=3, terminals=10)),
        (at(START + 370 * DAY, make_license()), Limits(servers=3, terminals=10)),
        (at(START, make_license(type="unlimited")), Limits()),
        (at(START + 400 * DAY, make_license()), COMMUNITY),
        (at(START + 8 * DAY), COMMUNITY),
        (at(START + 8 * DAY, BROKEN), COMMUNITY),
    ],
)
def test_every_state_has_its_limits(status, limits):
    assert status.limits == limits


def test_allows_adds_below_the_limit_and_says_why_not_above():
    none, licensed = at(START + 8 * DAY), at(START, make_license())

    answers = [
        allows(none, Action.ADD_MAIN_SERVER, Usage()),
        allows(none, Action.ADD_STORE_SERVER, Usage(main_servers=1)),
        allows(none, Action.ADD_MAIN_SERVER, Usage(main_servers=1)),
        allows(none, Action.ADD_STORE_SERVER, Usage(main_servers=2)),
        allows(none, Action.ADD_TERMINAL, Usage(terminals=5)),
        allows(licensed, Action.ADD_TERMINAL, Usage(terminals=9)),
        allows(licensed, Action.ADD_TERMINAL, Usage(terminals=10)),
        allows(at(START), Action.ADD_TERMINAL, Usage(terminals=10_000)),
    ]

    ended = "There is no licence and the trial ended on 2027-01-08 12:00 UTC."
    valid = "Licensed for Acme Retail until 2028-01-01 12:00 UTC."
    assert answers == [
        "",
        "",
        f"{ended} Up to 1 main server can be added; there is 1 already.",
        f"{ended} Up to 2 mobile servers can be added; there are 2 already.",
        f"{ended} Up to 5 POS terminals can be added; there are 5 already.",
        "",
        f"{valid} Up to 10 POS terminals can be added; there are 10 already.",
        "",
    ]


@pytest.mark.parametrize("action", [Action.ROLL_OUT, Action.TAKE_OVER])
def test_patches_and_takeover_stop_without_a_license(action):
    moments = {
        "trial": at(START),
        "licensed": at(START + 9 * DAY, make_license()),
        "grace": at(START + 370 * DAY, make_license()),
        "expired": at(START + 400 * DAY, make_license()),
        "none": at(START + 8 * DAY),
        "invalid": at(START + 8 * DAY, BROKEN),
    }

    allowed = {name for name, status in moments.items() if not allows(status, action, Usage())}

    assert allowed == {"trial", "licensed", "grace"}


@pytest.mark.parametrize(
    ("present", "moment", "text"),
    [
        (make_license(), START + 350 * DAY, None),
        (make_license(), START + 351 * DAY, "Licensed for Acme Retail until 2028-01-01 12:00 UTC: 14 days left."),
        (
            make_license(),
            START + 365 * DAY - SECOND,
            "Licensed for Acme Retail until 2028-01-01 12:00 UTC: 1 day left.",
        ),
        (
            make_license(),
            START + 366 * DAY,
            "The licence expired on 2028-01-01 12:00 UTC; its grace period ends on 2028-01-31 12:00 UTC: 29 days left.",
        ),
        (make_license(expires_at=None), START + 9000 * DAY, None),
        (None, START, "The trial ends on 2027-01-08 12:00 UTC: 7 days left."),
    ],
)
def test_the_banner_shows_from_14_days_before_the_end(present, moment, text):
    found = banner(at(moment, present), moment)

    assert (found and found.text) == text


@pytest.mark.parametrize(
    ("present", "begins"),
    [
        (make_license(), "The licence and its grace period ended on 2028-01-31 12:00 UTC. Terminals go on"),
        (BROKEN, "The stored licence is not valid (altered). Terminals go on"),
        (None, "There is no licence and the trial ended on 2027-01-08 12:00 UTC. Terminals go on"),
    ],
)
def test_the_banner_says_why_since_when_and_what_stopped(present, begins):
    moment = START + 400 * DAY

    found = banner(at(moment, present), moment)

    assert (found.level, found.text.startswith(begins)) == ("bad", True)


def test_no_banner_asks_for_a_license_that_is_there_already():
    following = make_license(id="L-2", not_before=START + 365 * DAY, expires_at=START + 730 * DAY)

    assert banner(at(START + 360 * DAY, make_license(), following), START + 360 * DAY) is None


def test_the_clock_warns_when_it_is_more_than_an_hour_behind():
    hour = timedelta(hours=1)

    assert [bool(clock_warning(START, START + behind)) for behind in (-hour, hour, hour + SECOND)] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("new", "present", "upcoming", "kept"),
    [
        ("now", None, None, ("now", None)),
        ("now", "older", None, ("now", None)),
        ("later", "older", None, ("older", "later")),
        ("later", None, "begun", ("begun", "later")),
        ("now", "older", "later", ("now", "later")),
        ("now", "older", "broken", ("now", None)),
    ],
)
def test_placed_keeps_the_present_license_until_the_next_begins(new, present, upcoming, kept):
    known = {
        "now": make_license(id="now"),
        "older": make_license(id="older"),
        "begun": make_license(id="begun"),
        "later": make_license(id="later", not_before=START + 30 * DAY),
        "broken": BROKEN,
        None: None,
    }

    found = placed(known[new], known[present], known[upcoming], TRIAL, START + DAY)

    assert found == tuple(known[name] for name in kept)


days = st.integers(-20, 800)
licenses = st.builds(
    lambda begin, length, grace: make_license(
        not_before=START + begin * DAY, expires_at=START + (begin + length) * DAY, grace_days=grace
    ),
    days,
    st.integers(1, 400),
    st.integers(0, 40),
)
stored = st.one_of(st.none(), st.just(BROKEN), licenses)


@given(present=stored, upcoming=stored, earlier=days, later=days)
def test_state_only_gets_worse_as_time_passes_unless_a_next_license_begins(present, upcoming, earlier, later):
    earlier, later = sorted((earlier, later))
    begins = [kept.not_before for kept in (present, upcoming) if hasattr(kept, "not_before")]
    first, second = (at(START + day * DAY, present, upcoming) for day in (earlier, later))

    if not any(START + earlier * DAY < begin <= START + later * DAY for begin in begins):
        assert first.is_unlocked or not second.is_unlocked


@given(present=stored, upcoming=stored, day=days)
def test_state_is_unlocked_exactly_in_trial_license_and_grace(present, upcoming, day):
    moment = START + day * DAY
    status = at(moment, present, upcoming)
    covers = [
        kept.not_before <= moment < kept.expires_at + kept.grace_days * DAY
        for kept in (present, upcoming)
        if hasattr(kept, "not_before")
    ]

    assert status.is_unlocked == (moment < TRIAL.ends_at or any(covers))
