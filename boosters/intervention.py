"""What an administrator does to a roll-out: pure, as the machine itself (OMF-39)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from boosters.rollout import RollOut, RollOutState, TargetState, moved, word


class NotNow(ValueError):
    """What an administrator asks does not fit the present state; says why."""


def pause(roll_out: RollOut, cause: str) -> RollOut:
    """Let nobody else begin; who has begun goes on."""
    if roll_out.state not in (RollOutState.RUNNING, RollOutState.PLANNED):
        raise NotNow(f"The roll-out is {roll_out.state}: it cannot be paused.")
    return replace(roll_out, state=RollOutState.PAUSED, cause=cause)


def resume(roll_out: RollOut, moment: datetime) -> RollOut:
    """Go on, and try the servers that failed once more (OMF-39)."""
    if roll_out.state is not RollOutState.PAUSED:
        raise NotNow(f"The roll-out is {roll_out.state}: only a paused one can be resumed.")
    targets = tuple(
        replace(target, state=TargetState.WAITING, ordered_at=None, heard_at=None, since=moment, detail="")
        if target.state is TargetState.FAILED
        else target
        for target in roll_out.targets
    )
    return replace(roll_out, state=RollOutState.RUNNING, cause="", begins_at=None, targets=targets)


def skip(roll_out: RollOut, server: str, moment: datetime) -> RollOut:
    """Leave one server out; a roll-out that was paused for it alone goes on (OMF-39)."""
    if roll_out.state.is_over:
        raise NotNow(f"The roll-out is {roll_out.state}: there is nothing left to skip.")
    found = next((target for target in roll_out.targets if target.server.lower() == server.lower()), None)
    if found is None:
        raise NotNow(f"{server} is not part of this roll-out.")
    if found.state.is_touching:
        raise NotNow(f"{server} is {word(found.state)}: wait for how that ends.")
    if found.state.is_over and found.state is not TargetState.FAILED:
        raise NotNow(f"{server} is {found.state.replace('_', ' ')} already.")
    was_failed = found.state is TargetState.FAILED
    skipped = moved(found, TargetState.SKIPPED, moment, found.detail if was_failed else "")
    targets = tuple(skipped if target is found else target for target in roll_out.targets)
    is_clear = was_failed and not any(target.state is TargetState.FAILED for target in targets)
    if is_clear and roll_out.state is RollOutState.PAUSED:
        return replace(roll_out, targets=targets, state=RollOutState.RUNNING, cause="")
    return replace(roll_out, targets=targets)


def cancel(roll_out: RollOut, moment: datetime) -> RollOut:
    """End it: nobody begins any more, who only downloads stops, who is being changed goes to its end."""
    if roll_out.state.is_over:
        raise NotNow(f"The roll-out is {roll_out.state} already.")
    targets = tuple(
        target
        if target.state.is_over or target.state.is_touching
        else moved(target, TargetState.SKIPPED, moment, "The roll-out was cancelled.")
        for target in roll_out.targets
    )
    return replace(roll_out, state=RollOutState.CANCELLED, cause="", targets=targets)
