"""How a roll-out goes on, for people: a share, a bar and a sentence for each server, and one for the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.template.defaultfilters import filesizeformat

from boosters.patch_models import RollOut, RollOutState, RollOutTarget, TargetState

SHARES = {
    TargetState.WAITING: 0,
    TargetState.BACKING_UP: 65,
    TargetState.APPLYING: 80,
    TargetState.RESTARTING: 92,
    TargetState.DONE: 100,
    TargetState.FAILED: 100,
    TargetState.NOT_APPLICABLE: 100,
    TargetState.SKIPPED: 100,
}
DOWNLOADED = 60
"""The share of the whole that the download is, in percent."""
LOOKS = {
    TargetState.DONE: "ok",
    TargetState.FAILED: "bad",
    TargetState.WAITING: "quiet",
    TargetState.NOT_APPLICABLE: "quiet",
    TargetState.SKIPPED: "quiet",
}
TOUCHING = (TargetState.BACKING_UP, TargetState.APPLYING, TargetState.RESTARTING)
OVER = (TargetState.DONE, TargetState.FAILED, TargetState.NOT_APPLICABLE, TargetState.SKIPPED)


@dataclass(frozen=True, slots=True)
class Line:
    """One server of a roll-out."""

    key: str
    server_id: int | None
    wave: int
    state: str
    word: str
    look: str
    share: int
    says: str
    may_skip: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """A roll-out: its sentence, how much is over, how many are in which state, and its servers by wave."""

    says: str
    share: int
    counts: tuple[tuple[str, str, int], ...]
    waves: tuple[tuple[str, tuple[Line, ...]], ...]


def progress_of(row: RollOut, targets: Sequence[RollOutTarget]) -> Progress:
    lines = [_line(row, target) for target in targets]
    over = sum(target.state in OVER for target in targets)
    counts = tuple(
        (state.label, LOOKS.get(state, "work"), number)
        for state in TargetState
        if (number := sum(target.state == state for target in targets))
    )
    titles = [str(title) for title in row.waves]
    waves = tuple(
        (_title(titles, number), tuple(line for line in lines if line.wave == number))
        for number in sorted({line.wave for line in lines})
    )
    return Progress(_says(row, targets, over), over * 100 // len(targets) if targets else 0, counts, waves)


def _title(titles: Sequence[str], number: int) -> str:
    title = titles[number - 1] if number <= len(titles) else ""
    return f"Wave {number}: {title}" if title else f"Wave {number}"


def _says(row: RollOut, targets: Sequence[RollOutTarget], over: int) -> str:
    """Say in one sentence where it stands and what it waits for."""
    of = f"{over} of {len(targets)} server{'' if len(targets) == 1 else 's'}"
    if row.state == RollOutState.PLANNED:
        begins = f" on {row.begins_at:%Y-%m-%d at %H:%M} UTC" if row.begins_at else " in a moment"
        return f"It begins{begins}."
    if row.state == RollOutState.PAUSED:
        return f"Paused with {of} over: {row.cause}"
    if row.state == RollOutState.DONE:
        return f"Done: {of} over."
    if row.state == RollOutState.CANCELLED:
        working = [target.server_key for target in targets if target.state in TOUCHING]
        return f"Cancelled with {of} over." + (f" {', '.join(working)} goes on to its end." if working else "")
    working = [target.server_key for target in targets if target.ordered_at and target.state not in OVER]
    if working:
        return f"{of} over. At work: {', '.join(working)}."
    reasons = sorted({target.waits_for for target in targets if target.state == TargetState.WAITING})
    return f"{of} over. " + " ".join(reasons) if any(reasons) else f"{of} over."


def _waiting(row: RollOut, target: RollOutTarget) -> str:
    """Say what a server that has not begun waits for."""
    if target.ordered_at:
        return "Its agent has been told to begin."
    if row.state == RollOutState.PAUSED:
        return "Waits until the roll-out is resumed."
    return "Waits for the roll-out to begin." if row.state == RollOutState.PLANNED else target.waits_for


def _line(row: RollOut, target: RollOutTarget) -> Line:
    state = TargetState(target.state)
    size = row.patch.size_bytes
    share = SHARES.get(state, 0)
    says = target.detail
    if state is TargetState.DOWNLOADING:
        share = target.received_bytes * DOWNLOADED // size if size else 0
        says = f"{filesizeformat(target.received_bytes)} of {filesizeformat(size)}"
    elif state is TargetState.WAITING:
        says = _waiting(row, target)
    is_open = row.state not in (RollOutState.DONE, RollOutState.CANCELLED)
    may_skip = is_open and state in (TargetState.WAITING, TargetState.DOWNLOADING, TargetState.FAILED)
    return Line(
        target.server_key,
        target.server_id,
        target.wave,
        state.value,
        state.label,
        LOOKS.get(state, "work"),
        min(share, 100),
        says.replace("\xa0", " "),
        may_skip,
    )
