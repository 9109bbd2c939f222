"""A roll-out as one pure machine: what is known of its servers and the time in, what happens next out.

Two kinds of writer move it. The driver, on the acting node alone, decides (`drive`): who goes next, who has
taken too long, when to pause, when it is over. An agent's word moves its own server only, and only forward
(`heard`). No Django, no database, no clock. Rules OMF-31 to OMF-34 and OMF-36 to OMF-40.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from boosters.versions import Range, Version, known

TIMEOUT = timedelta(minutes=10)
"""How long a server may say nothing at all, or need from its restart to its first report (OMF-38)."""


class RollOutState(StrEnum):
    PLANNED = "planned"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        return self in (RollOutState.DONE, RollOutState.CANCELLED)


class TargetState(StrEnum):
    WAITING = "waiting"
    DOWNLOADING = "downloading"
    BACKING_UP = "backing_up"
    APPLYING = "applying"
    RESTARTING = "restarting"
    DONE = "done"
    FAILED = "failed"
    NOT_APPLICABLE = "not_applicable"
    SKIPPED = "skipped"

    @property
    def is_over(self) -> bool:
        return self in OVER

    @property
    def is_touching(self) -> bool:
        """Whether the server is being changed: nobody can take that back, only wait for how it ends."""
        return self in (TargetState.BACKING_UP, TargetState.APPLYING, TargetState.RESTARTING)


OVER = (TargetState.DONE, TargetState.FAILED, TargetState.NOT_APPLICABLE, TargetState.SKIPPED)
STEPS = (
    TargetState.WAITING,
    TargetState.DOWNLOADING,
    TargetState.BACKING_UP,
    TargetState.APPLYING,
    TargetState.RESTARTING,
    TargetState.DONE,
)
"""The way of a server that goes well; an agent may leave steps out, and never goes back."""


class Step(StrEnum):
    APPLY = "apply"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True, slots=True)
class Patch:
    version: Version
    fits: Range


@dataclass(frozen=True, slots=True)
class Target:
    """One server of a roll-out.

    `ordered_at` is when its agent was told to begin, `heard_at` when it last said something of it. `stores` are
    the organizations that would miss it: two servers that share one never go at the same time. `wanted` is the
    version that rolling back leads to, if that is known.
    """

    number: int
    server: str
    wave: int = 1
    is_main: bool = False
    priority: int = 10
    stores: frozenset[str] = frozenset()
    state: TargetState = TargetState.WAITING
    ordered_at: datetime | None = None
    heard_at: datetime | None = None
    since: datetime | None = None
    detail: str = ""
    version_before: str = ""
    wanted: str = ""

    @property
    def is_ordered(self) -> bool:
        """Whether its agent was told to begin and has not ended: it holds the place of its stores."""
        return self.ordered_at is not None and not self.state.is_over

    @property
    def turn(self) -> tuple[object, ...]:
        """The order of OMF-36: store servers before main servers, highest priority number first."""
        return (self.wave, self.is_main, -self.priority, self.server)


@dataclass(frozen=True, slots=True)
class Known:
    """What the Booster knows of a server at the moment: what it reports, whether it does, whether it may be touched.

    `may_begin` is False outside the server's maintenance window, where the roll-out keeps to windows.
    """

    version: str = ""
    is_reporting: bool = True
    reported_at: datetime | None = None
    may_begin: bool = True
    is_there: bool = True


@dataclass(frozen=True, slots=True)
class RollOut:
    """A roll-out with its servers. `begins_at` holds a planned one back."""

    patch: Patch
    state: RollOutState
    targets: tuple[Target, ...]
    step: Step = Step.APPLY
    begins_at: datetime | None = None
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A roll-out after a look at it, and what each waiting server waits for, by its number."""

    roll_out: RollOut
    waits: Mapping[int, str] = field(default_factory=dict)


def expected(roll_out: RollOut, target: Target) -> Version | None:
    """Return the version a server reports once its step is done; None where that is not known."""
    return roll_out.patch.version if roll_out.step is Step.APPLY else known(target.wanted)


def has_arrived(roll_out: RollOut, target: Target, version: str) -> bool:
    """Tell whether a reported version is the one its step leads to; where only the suffix changes, that must have."""
    told, wanted = known(version), expected(roll_out, target)
    if told is None or version == target.version_before:
        return False
    return wanted is None or told == wanted


def why_not_applicable(roll_out: RollOut, installed: Version) -> str:
    """Say why a server with that version is not touched; empty if the patch is for it (OMF-32)."""
    patch = roll_out.patch
    if roll_out.step is Step.ROLL_BACK:
        return "" if installed == patch.version else f"It has {installed}, not {patch.version}: nothing to take back."
    if str(installed) == str(patch.version):
        return f"It has {installed} already."
    if installed > patch.version:
        return f"It has {installed}, which is newer than {patch.version}."
    return "" if patch.fits.holds(installed) else f"It has {installed}; the patch is for {patch.fits}."


# --- The driver ----------------------------------------------------------------------------------


def drive(
    roll_out: RollOut, servers: Mapping[str, Known], moment: datetime, busy_stores: Collection[str] = ()
) -> Outcome:
    """Return the roll-out as it goes on from here: the one place that orders, fails, pauses and ends.

    `busy_stores` miss a server because of other roll-outs. Idempotent: driven again at the same moment, nothing
    changes, so a driver that takes over in the middle continues what another began (OMF-40).
    """
    if roll_out.state is RollOutState.PLANNED and (roll_out.begins_at is None or roll_out.begins_at <= moment):
        roll_out = replace(roll_out, state=RollOutState.RUNNING)
    targets = tuple(_looked_at(roll_out, target, servers, moment) for target in roll_out.targets)
    roll_out = replace(roll_out, targets=targets)
    failed = [target for target in targets if target.state is TargetState.FAILED]
    if roll_out.state is RollOutState.RUNNING and failed:
        first = failed[0]
        roll_out = replace(roll_out, state=RollOutState.PAUSED, cause=f"{first.server}: {first.detail}")
    waits: dict[int, str] = {}
    if roll_out.state is RollOutState.RUNNING:
        roll_out, waits = _next_ordered(roll_out, servers, moment, frozenset(busy_stores))
        if all(target.state.is_over for target in roll_out.targets):
            roll_out = replace(roll_out, state=RollOutState.DONE, cause="")
    return Outcome(roll_out, waits)


def _looked_at(roll_out: RollOut, target: Target, servers: Mapping[str, Known], moment: datetime) -> Target:
    """Return a target with what follows from its server's reports and from the time."""
    server = servers.get(target.server, Known(is_there=False))
    if target.state.is_over:
        return target
    if not server.is_there:
        return moved(target, TargetState.SKIPPED, moment, "The server is not active any more.")
    if target.state is TargetState.WAITING:
        return _waiting(roll_out, target, server, moment)
    if target.state is TargetState.RESTARTING:
        return _restarting(roll_out, target, server, moment)
    heard_at = max(filter(None, (target.heard_at, target.since, server.reported_at)), default=moment)
    if moment - heard_at <= TIMEOUT:
        return target
    return moved(
        target,
        TargetState.FAILED,
        moment,
        f"Nothing was heard of it for {_minutes()} minutes while {word(target.state)}. "
        "See whether the server and its agent run.",
    )


def _waiting(roll_out: RollOut, target: Target, server: Known, moment: datetime) -> Target:
    installed = known(server.version)
    if target.is_ordered:
        if moment - _last(target.ordered_at, moment) <= TIMEOUT:
            return target
        if not server.is_reporting:
            return replace(target, ordered_at=None)  # it never began: it gets its turn when it is back (OMF-33)
        return moved(
            target,
            TargetState.FAILED,
            moment,
            f"Its agent reports, but has not taken up the order for {_minutes()} minutes: nothing was changed. "
            "See the agent's log, and whether its version knows patches.",
        )
    if roll_out.state is RollOutState.RUNNING and installed is not None:
        why = why_not_applicable(roll_out, installed)
        return moved(target, TargetState.NOT_APPLICABLE, moment, why) if why else target
    return target


def _restarting(roll_out: RollOut, target: Target, server: Known, moment: datetime) -> Target:
    is_newly_heard = server.reported_at is not None and server.reported_at >= _last(target.since, server.reported_at)
    if is_newly_heard and has_arrived(roll_out, target, server.version):
        return moved(target, TargetState.DONE, moment, f"It reports {server.version}.")
    if moment - _last(target.since, moment) <= TIMEOUT:
        return target
    has = f"it still reports {server.version}" if is_newly_heard and server.version else "it has not reported"
    return moved(
        target,
        TargetState.FAILED,
        moment,
        f"It did not come back with the new version within {_minutes()} minutes of its restart: {has}. "
        "Look at the server; restore its backup if it does not start.",
    )


def _next_ordered(
    roll_out: RollOut, servers: Mapping[str, Known], moment: datetime, busy_stores: frozenset[str]
) -> tuple[RollOut, dict[int, str]]:
    """Tell those to begin whose turn it is; return with it what each other one waits for."""
    waits: dict[int, str] = {}
    ordered: dict[int, Target] = {}
    busy = [target for target in roll_out.targets if target.is_ordered]
    before: list[Target] = []
    open_wave = _open_wave(roll_out.targets, servers)
    for target in sorted(roll_out.targets, key=lambda target: target.turn):
        if target.state is not TargetState.WAITING or target.is_ordered:
            continue
        server = servers[target.server]
        why = _why_waiting(target, server, open_wave, busy_stores) or _why_not_its_turn(target, busy, before)
        if why:
            waits[target.number] = why
            if server.is_reporting:  # one that is off keeps nobody waiting (OMF-33)
                before.append(target)
            continue
        told = replace(target, ordered_at=moment, heard_at=None, since=moment, version_before=server.version)
        ordered[target.number] = told
        busy.append(told)
    targets = tuple(ordered.get(target.number, target) for target in roll_out.targets)
    return replace(roll_out, targets=targets), waits


def _why_waiting(target: Target, server: Known, open_wave: int, busy_stores: frozenset[str]) -> str:
    """Say why a server cannot begin, whatever the others do; empty if it can."""
    reasons = (
        (target.wave > open_wave, f"Waits for wave {open_wave} to end."),
        (not server.is_reporting, "The server is off, or its agent is: it gets the patch at its next report."),
        (not server.version, "It has not reported its version yet."),
        (known(server.version) is None, f"It reports the version {server.version[:40]!r}, which cannot be compared."),
        (not server.may_begin, "Waits for its maintenance window."),
        (bool(target.stores & busy_stores), "Waits for a server of the same organization in another roll-out."),
    )
    return next((why for holds, why in reasons if holds), "")


def _why_not_its_turn(target: Target, busy: Collection[Target], before: Collection[Target]) -> str:
    """Say which server of the same organization it waits for; empty if for none."""
    for other in busy:
        if target.stores & other.stores:
            return f"Waits for {other.server}, which serves the same organization."
    for other in before:
        if target.stores & other.stores:
            return f"Waits for its turn after {other.server}."
    return ""


def _open_wave(targets: Collection[Target], servers: Mapping[str, Known]) -> int:
    """Return the highest wave that may begin.

    The next one opens when nobody in those before it can go on by itself, and somebody in each of them that
    had anything to do has done it: a wave whose servers are all off has shown nothing yet.
    """
    waves = sorted({target.wave for target in targets})
    for wave in waves:
        those = [target for target in targets if target.wave == wave]
        is_working = any(
            target.is_ordered or (target.state is TargetState.WAITING and servers[target.server].is_reporting)
            for target in those
        )
        has_waiting = any(not target.state.is_over for target in those)
        has_done = any(target.state is TargetState.DONE for target in those)
        if is_working or (has_waiting and not has_done):
            return wave
    return waves[-1] if waves else 1


# --- An agent's word -----------------------------------------------------------------------------


def heard(
    roll_out: RollOut, target: Target, state: TargetState, moment: datetime, detail: str = "", version: str = ""
) -> Target:
    """Return a target after its agent's word: forward only, and never out of an end.

    A repetition, and a word that comes late, change nothing but that something was heard. Raises ValueError
    for a state that is not an agent's to say.
    """
    if state not in (*STEPS[1:], TargetState.FAILED):
        raise ValueError(f"An agent cannot say {state}.")
    if not target.is_ordered:
        return target
    alive = replace(target, heard_at=moment)
    if state is TargetState.FAILED:
        return moved(alive, state, moment, detail or f"It failed while {word(target.state)}.")
    if state is TargetState.DONE:
        wanted, told = expected(roll_out, target), known(version)
        if told is not None and wanted is not None and told != wanted:
            return moved(alive, TargetState.FAILED, moment, f"It is done, but has {told} instead of {wanted}.")
    if STEPS.index(state) <= STEPS.index(target.state):
        return alive
    return moved(alive, state, moment, detail)


def reported(roll_out: RollOut, target: Target, version: str, moment: datetime) -> Target:
    """Return a target after a heartbeat of its server: the first one with the new version ends a restart (OMF-38)."""
    if not target.is_ordered or target.state not in (TargetState.APPLYING, TargetState.RESTARTING):
        return target
    alive = replace(target, heard_at=moment)
    if not has_arrived(roll_out, target, version):
        return alive
    return moved(alive, TargetState.DONE, moment, f"It reports {version}.")


def moved(target: Target, state: TargetState, moment: datetime, detail: str) -> Target:
    """Return a target in another state, since `moment`."""
    return replace(target, state=state, since=moment, detail=detail)


def _last(at: datetime | None, otherwise: datetime) -> datetime:
    return otherwise if at is None else at


def _minutes() -> int:
    return int(TIMEOUT.total_seconds() // 60)


def word(state: TargetState) -> str:
    """Return what people read for a state."""
    return state.value.replace("_", " ")
