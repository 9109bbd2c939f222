"""The state of a server as one pure machine: evidence and time in, changes with their causes out.

What was observed (`observe`) is kept apart from what follows from it (`judge`), so that observations
of the same moment may arrive in any order: what speaks for a server counts at once and wins over what
speaks against it at the same moment, which counts from any later moment on. No Django, no database, no
clock. Rules N12 and N13; timings and transitions of reference/openbravo 6.3 as design, section 7, has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum


class Status(StrEnum):
    ONLINE = "online"
    TRANSITION_TO_OFFLINE = "transition_to_offline"
    OFFLINE = "offline"
    TRANSITION_TO_ONLINE = "transition_to_online"

    @property
    def is_transition(self) -> bool:
        return self in (Status.TRANSITION_TO_OFFLINE, Status.TRANSITION_TO_ONLINE)


class Sight(StrEnum):
    """What one observation saw of a server."""

    READY = "ready"  # it answers and is ready to work
    UNREADY = "unready"  # it answers and says that it is not ready
    FAILED = "failed"  # it was called and did not answer as it should


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at a server. `cause` says what was seen, for people; raises ValueError when it is empty."""

    sight: Sight
    at: datetime
    cause: str

    def __post_init__(self) -> None:
        if not self.cause.strip():
            raise ValueError("An observation needs a cause.")


@dataclass(frozen=True, slots=True)
class Timings:
    """How patient the machine is; durations in seconds, the rest are counts. See the preferences.

    `is_expected_to_report` holds for a server with an agent: its silence counts against it. A probed
    server is never silent, its probes fail.
    """

    heartbeat_interval_s: int = 30
    missed_heartbeats: int = 3
    failures_before_offline: int = 3
    successes_before_online: int = 1
    transition_to_offline_wait_s: int = 300
    transition_to_online_wait_s: int = 100
    failed_transition_to_online_wait_s: int = 300
    is_expected_to_report: bool = True

    @property
    def silence_allowed(self) -> timedelta:
        return timedelta(seconds=self.heartbeat_interval_s * self.missed_heartbeats)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one server: its state, since when and why, and the evidence collected so far.

    `bad_since` is the first observation against it since it was last seen ready, `successes` how often in
    a row it was seen ready, `failures` how often in a row it did not answer. `attempted_at` is when the
    last way back online began; None after a success, and after an administrator asked to try again. So
    only a server that is offline or on its way back has one.
    """

    status: Status = Status.OFFLINE
    since: datetime | None = None
    cause: str = ""
    ready_at: datetime | None = None
    unready_at: datetime | None = None
    unready_cause: str = ""
    failed_at: datetime | None = None
    failure_cause: str = ""
    bad_since: datetime | None = None
    successes: int = 0
    failures: int = 0
    attempted_at: datetime | None = None

    @property
    def seen_at(self) -> datetime | None:
        """When the server last answered, ready or not."""
        return _latest(self.ready_at, self.unready_at)

    @property
    def is_answering(self) -> bool:
        """Whether it answered in its present state, and has not failed to since."""
        return self._holds(self.seen_at, self.failed_at)

    @property
    def is_ready(self) -> bool:
        """Whether it was seen ready in its present state, and nothing has spoken against it since."""
        return self._holds(self.ready_at, self.failed_at, self.unready_at)

    @property
    def is_failing(self) -> bool:
        """Whether it failed to answer in its present state, and has not answered since."""
        return (
            self.failed_at is not None
            and (self.since is None or self.failed_at >= self.since)
            and _is_after(self.failed_at, self.seen_at)
        )

    def _holds(self, seen_at: datetime | None, *against: datetime | None) -> bool:
        return seen_at is not None and all(seen_at >= other for other in (self.since, *against) if other is not None)


@dataclass(frozen=True, slots=True)
class Change:
    """One transition, with its cause for people."""

    from_status: Status
    to_status: Status
    at: datetime
    cause: str


def observe(standing: Standing, seen: Observation, timings: Timings) -> Standing:
    """Return `standing` with one observation more; the state itself stays.

    Observations of one moment give the same result in any order, and the same sight counts once for
    one moment. An observation older than what is known already is ignored.
    """
    if any(known > seen.at for known in (standing.ready_at, standing.unready_at, standing.failed_at) if known):
        return standing
    if seen.sight is Sight.FAILED:
        return _seen_failing(standing, seen)
    if standing.status is Status.OFFLINE and _is_silent(standing.seen_at, seen.at, timings):
        # Whoever comes back after a silence need not wait because an attempt before it failed.
        standing = replace(standing, attempted_at=None)
    return _seen_ready(standing, seen.at, timings) if seen.sight is Sight.READY else _seen_unready(standing, seen)


def _seen_ready(standing: Standing, at: datetime, timings: Timings) -> Standing:
    if standing.ready_at == at:
        return standing
    was_bad = standing.bad_since is not None and standing.bad_since < at
    was_interrupted = was_bad or _is_silent(standing.ready_at, at, timings)
    successes = 1 if was_interrupted else standing.successes + 1
    return replace(standing, ready_at=at, successes=successes, failures=0, bad_since=None)


def _seen_unready(standing: Standing, seen: Observation) -> Standing:
    cause = seen.cause if standing.unready_at != seen.at else max(seen.cause, standing.unready_cause)
    if standing.ready_at == seen.at:  # what speaks for it wins; that it answered is known already
        return replace(standing, unready_at=seen.at, unready_cause=cause)
    return replace(
        standing, unready_at=seen.at, unready_cause=cause, bad_since=standing.bad_since or seen.at, failures=0
    )


def _seen_failing(standing: Standing, seen: Observation) -> Standing:
    is_new = standing.failed_at != seen.at
    cause = seen.cause if is_new else max(seen.cause, standing.failure_cause)
    failing = replace(standing, failed_at=seen.at, failure_cause=cause)
    if standing.seen_at == seen.at or not is_new:  # that it answered at this moment wins
        return failing
    return replace(failing, bad_since=standing.bad_since or seen.at, failures=standing.failures + 1)


def judge(
    standing: Standing, moment: datetime, timings: Timings, watching_since: datetime | None = None
) -> tuple[Standing, tuple[Change, ...]]:
    """Return the state that follows from the evidence at `moment`, and the transitions that lead to it.

    `watching_since` is from when on observations could be received without a gap: what could not be
    received was not missed, so silence and waits count from there at the earliest.
    """
    changes: list[Change] = []
    while (step := _STEPS[standing.status](_Look(standing, moment, timings, watching_since))) is not None:
        status, cause = step
        changes.append(Change(standing.status, status, moment, cause))
        attempted_at = standing.attempted_at
        if status is Status.TRANSITION_TO_ONLINE:
            attempted_at = moment
        elif status is Status.ONLINE:
            attempted_at = None
        standing = replace(standing, status=status, since=moment, cause=cause, attempted_at=attempted_at)
    return standing, tuple(changes)


@dataclass(frozen=True, slots=True)
class _Look:
    """The evidence as it looks at one moment."""

    standing: Standing
    moment: datetime
    timings: Timings
    watching_since: datetime | None

    @property
    def is_gone(self) -> bool:
        """Whether nothing was heard for so long that what was heard last tells nothing about now."""
        return _is_silent(self.standing.seen_at, self.moment, self.timings)

    @property
    def against(self) -> str:
        """What speaks against the server, from before this moment; empty if nothing does."""
        return next(self._reasons(), "")

    def _reasons(self) -> Iterator[str]:
        standing, timings = self.standing, self.timings
        has_failed = standing.failures >= timings.failures_before_offline
        if has_failed and standing.failed_at and standing.failed_at < self.moment:
            yield standing.failure_cause
        if self.why_unready and standing.unready_at and standing.unready_at < self.moment:
            yield self.why_unready
        if _is_silent(_latest(standing.seen_at, self.watching_since), self.moment, timings):
            yield f"No heartbeat for {timings.silence_allowed.total_seconds():.0f} s."

    @property
    def why_unready(self) -> str:
        """What it last said about not being ready; empty if it was ready since, or never said so."""
        standing = self.standing
        said_so = standing.unready_at is not None and _is_after(standing.unready_at, standing.ready_at)
        return standing.unready_cause if said_so else ""

    @property
    def may_attempt(self) -> bool:
        """Whether a way back may begin: at most one per wait, counted from the start of the last."""
        wait = timedelta(seconds=self.timings.failed_transition_to_online_wait_s)
        return self.standing.attempted_at is None or self.moment - self.standing.attempted_at >= wait

    def has_waited(self, wait_s: int) -> bool:
        """Tell whether the present state has lasted longer than that while we were watching."""
        begun = _latest(self.standing.since, self.watching_since)
        return begun is not None and self.moment - begun > timedelta(seconds=wait_s)


_Step = tuple[Status, str] | None
"""The state to go to and why, or None to stay."""


def _from_online(look: _Look) -> _Step:
    return (Status.TRANSITION_TO_OFFLINE, look.against) if look.against else None


def _from_transition_to_offline(look: _Look) -> _Step:
    if look.standing.is_ready and not look.is_gone:
        return Status.TRANSITION_TO_ONLINE, "It answers again and is ready."
    if look.has_waited(look.timings.transition_to_offline_wait_s):
        return Status.OFFLINE, look.against or look.standing.cause
    return None


def _from_offline(look: _Look) -> _Step:
    if look.standing.is_answering and not look.is_gone and look.may_attempt:
        return Status.TRANSITION_TO_ONLINE, "It answers."
    return None


def _from_transition_to_online(look: _Look) -> _Step:
    standing, timings = look.standing, look.timings
    if standing.is_ready and not look.is_gone and standing.successes >= timings.successes_before_online:
        return Status.ONLINE, "It is ready."
    if standing.is_failing and standing.failed_at and standing.failed_at < look.moment:
        return Status.OFFLINE, standing.failure_cause
    if look.has_waited(timings.transition_to_online_wait_s):
        why = look.why_unready or look.against
        return Status.OFFLINE, f"Not ready within {timings.transition_to_online_wait_s} s. {why}".strip()
    return None


_STEPS: Mapping[Status, Callable[[_Look], _Step]] = {
    Status.ONLINE: _from_online,
    Status.TRANSITION_TO_OFFLINE: _from_transition_to_offline,
    Status.OFFLINE: _from_offline,
    Status.TRANSITION_TO_ONLINE: _from_transition_to_online,
}
"""The table of 6.3, by the state a server is in."""


def _is_silent(heard_at: datetime | None, moment: datetime, timings: Timings) -> bool:
    """Tell whether a server that should report was heard too long before `moment`."""
    return timings.is_expected_to_report and heard_at is not None and moment - heard_at > timings.silence_allowed


def _is_after(moment: datetime, other: datetime | None) -> bool:
    return other is None or moment > other


def _latest(*moments: datetime | None) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)
