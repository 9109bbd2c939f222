"""What a licence, the trial and the time allow: plain values and functions, no database, no clock.

Trade never depends on any of this: it decides about adding servers and terminals, about patches and
about takeover, and about what people are told. Source: design, section 8; OMF-50 to OMF-58.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil

from licensing.files import UNLIMITED, License

TRIAL_LENGTH = timedelta(days=7)
TOLD_BEFORE_END = timedelta(days=14)
NOTICE_DAYS = (30, 14, 7, 1)
CLOCK_TOLERANCE = timedelta(hours=1)


class State(StrEnum):
    TRIAL = "trial"
    LICENSED = "licensed"
    GRACE = "grace"
    EXPIRED = "expired"
    INVALID = "invalid"
    NONE = "none"


class Action(StrEnum):
    """What others ask about before they do it."""

    ADD_MAIN_SERVER = "add_main_server"
    ADD_STORE_SERVER = "add_store_server"
    ADD_TERMINAL = "add_terminal"
    ROLL_OUT = "roll_out"
    TAKE_OVER = "take_over"


@dataclass(frozen=True, slots=True)
class Limits:
    """The most there may be of each for one more to be added; None: as many as you like."""

    servers: int | None = None
    main_servers: int | None = None
    store_servers: int | None = None
    terminals: int | None = None


COMMUNITY = Limits(servers=2, main_servers=1, store_servers=1, terminals=5)


@dataclass(frozen=True, slots=True)
class Usage:
    """How many there are, active or not."""

    main_servers: int = 0
    store_servers: int = 0
    terminals: int = 0

    @property
    def servers(self) -> int:
        return self.main_servers + self.store_servers


@dataclass(frozen=True, slots=True)
class Trial:
    started_at: datetime

    @property
    def ends_at(self) -> datetime:
        return self.started_at + TRIAL_LENGTH


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A stored licence that is not (or no longer) one: altered in the database, or its key was withdrawn."""

    reason: str


Stored = License | Unreadable | None


@dataclass(frozen=True, slots=True)
class Status:
    """The state at one moment, since when, until when (None: without end or unknown), and what it allows.

    `license` is the one that decides, or the last one there was. `has_successor` tells that another
    licence takes over before this state ends.
    """

    state: State
    limits: Limits
    since: datetime | None = None
    until: datetime | None = None
    license: License | None = None
    reason: str = ""
    has_successor: bool = False

    @property
    def is_unlocked(self) -> bool:
        return self.state in (State.TRIAL, State.LICENSED, State.GRACE)

    def days_left(self, moment: datetime) -> int | None:
        """Return how many days this state lasts from `moment`, a begun one counting as one."""
        return None if self.until is None else max(0, ceil((self.until - moment) / timedelta(days=1)))


def state(present: Stored, upcoming: Stored, trial: Trial, moment: datetime) -> Status:
    """Return the status at `moment`: the best of what the two stored licences and the trial give.

    A licence in force beats the trial, the trial beats an expired licence, and where both licences are
    in force the upcoming one, which is meant to follow, decides.
    """
    candidates = [_of_license(upcoming, moment), _of_license(present, moment), _of_trial(trial, moment)]
    found = min((status for status in candidates if status is not None), key=lambda status: PRECEDENCE[status.state])
    follows = (
        isinstance(upcoming, License)
        and found.license != upcoming
        and upcoming.not_before > moment
        and found.until is not None
        and upcoming.not_before <= found.until
    )
    return Status(
        found.state, found.limits, found.since, found.until, found.license, found.reason, has_successor=follows
    )


PRECEDENCE = {
    kind: place
    for place, kind in enumerate((State.LICENSED, State.GRACE, State.TRIAL, State.EXPIRED, State.INVALID, State.NONE))
}


def _of_trial(trial: Trial, moment: datetime) -> Status:
    if moment < trial.ends_at:
        return Status(State.TRIAL, Limits(), since=trial.started_at, until=trial.ends_at)
    return Status(State.NONE, COMMUNITY, since=trial.ends_at)


def _of_license(stored: Stored, moment: datetime) -> Status | None:
    """Return the status a stored licence gives by itself; None while it has not begun."""
    if isinstance(stored, Unreadable):
        return Status(State.INVALID, COMMUNITY, reason=stored.reason)
    if stored is None or moment < stored.not_before:
        return None
    limits = Limits() if stored.type == UNLIMITED else Limits(servers=stored.servers, terminals=stored.terminals)
    if stored.expires_at is None or moment < stored.expires_at:
        return Status(State.LICENSED, limits, since=stored.not_before, until=stored.expires_at, license=stored)
    grace_ends_at = stored.expires_at + timedelta(days=stored.grace_days)
    if moment < grace_ends_at:
        return Status(State.GRACE, limits, since=stored.expires_at, until=grace_ends_at, license=stored)
    return Status(State.EXPIRED, COMMUNITY, since=grace_ends_at, license=stored)


def placed(new: License, present: Stored, upcoming: Stored, trial: Trial, moment: datetime) -> tuple[Stored, Stored]:
    """Return what is to be kept as present and as upcoming licence once `new` is accepted."""
    if upcoming is not None and state(present, upcoming, trial, moment).license == upcoming:
        present, upcoming = upcoming, None
    if new.not_before > moment:
        return present, new
    return new, (None if isinstance(upcoming, Unreadable) or upcoming == new else upcoming)


def replaced_by(new: License, present: Stored, upcoming: Stored, moment: datetime) -> License | None:
    """Return the licence that `new` would take the place of, if there is one."""
    begun = [stored for stored in (upcoming, present) if isinstance(stored, License) and stored.not_before <= moment]
    waiting = [stored for stored in (upcoming,) if isinstance(stored, License) and stored.not_before > moment]
    return next(iter(waiting if new.not_before > moment else begun), None)


def allows(status: Status, action: Action, usage: Usage) -> str:
    """Return nothing where `status` allows `action`, else the reason it does not, for people.

    What exists may always be edited and replaced: only a further one is asked about.
    """
    if action in (Action.ROLL_OUT, Action.TAKE_OVER):
        what = "patches are not rolled out" if action is Action.ROLL_OUT else "a secondary does not take over"
        return "" if status.is_unlocked else f"{headline(status)}: {what}."
    for name, label in COUNTED[action]:
        limit, present = getattr(status.limits, name), getattr(usage, name)
        if limit is not None and present >= limit:
            return (
                f"{headline(status)}. Up to {limit} {label if limit == 1 else label + 's'} can be added; "
                f"there {'is' if present == 1 else 'are'} {present} already."
            )
    return ""


def is_counted(status: Status, action: Action) -> bool:
    """Tell whether it takes a count to say if `status` allows `action`."""
    return any(getattr(status.limits, name) is not None for name, _ in COUNTED.get(action, ()))


COUNTED: dict[Action, tuple[tuple[str, str], ...]] = {
    Action.ADD_MAIN_SERVER: (("servers", "mobile server"), ("main_servers", "main server")),
    Action.ADD_STORE_SERVER: (("servers", "mobile server"), ("store_servers", "store server")),
    Action.ADD_TERMINAL: (("terminals", "POS terminal"),),
}


def headline(status: Status) -> str:
    """Return the state with its date, for people, without a full stop."""
    day = f"{status.since:%Y-%m-%d %H:%M} UTC" if status.since else ""
    until = f"{status.until:%Y-%m-%d %H:%M} UTC" if status.until else ""
    customer = status.license.customer if status.license else ""
    return {
        State.TRIAL: f"The trial ends on {until}",
        State.LICENSED: f"Licensed for {customer}" + (f" until {until}" if until else ""),
        State.GRACE: f"The licence expired on {day}; its grace period ends on {until}",
        State.EXPIRED: f"The licence and its grace period ended on {day}",
        State.INVALID: "The stored licence is not valid",
        State.NONE: f"There is no licence and the trial ended on {day}",
    }[status.state]


@dataclass(frozen=True, slots=True)
class Banner:
    """What every window says: `level` is `warn` or `bad`."""

    level: str
    text: str


STOPPED = (
    f"Terminals go on as before; beyond {COMMUNITY.main_servers} main server, {COMMUNITY.store_servers} store server "
    f"and {COMMUNITY.terminals} terminals none can be added."
)


def banner(status: Status, moment: datetime) -> Banner | None:
    """Return what every window says about the licence, if anything."""
    if not status.is_unlocked:
        reason = f" ({status.reason.rstrip('.')})" if status.reason else ""
        return Banner("bad", f"{headline(status)}{reason}. {STOPPED}")
    is_near = status.until is not None and status.until - moment <= TOLD_BEFORE_END
    if status.state is State.GRACE or (is_near and not status.has_successor):
        days = status.days_left(moment)
        return Banner("warn", f"{headline(status)}: {days} day{'' if days == 1 else 's'} left.")
    return None


def notice_due(status: Status, moment: datetime) -> int | None:
    """Return the last of the 30, 14, 7 and 1 days before the end that has come, if any has."""
    left = status.days_left(moment)
    if not status.is_unlocked or status.has_successor or left is None:
        return None
    return min((days for days in NOTICE_DAYS if left <= days), default=None)


def clock_warning(now: datetime, highest: datetime) -> str:
    """Return a warning when the clock has been set back by more than an hour."""
    if highest - now <= CLOCK_TOLERANCE:
        return ""
    return (
        f"The clock of this node says {now:%Y-%m-%d %H:%M} UTC, but it has been {highest:%Y-%m-%d %H:%M} UTC already: "
        "trial and licence go by the latter. Correct the clock."
    )
