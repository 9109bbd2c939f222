"""How often the polled doors may be called, counted in memory: no query and no trip to Redis.

Each process counts for itself, so all of a node's processes together let through as many times the limit
as there are processes. That is what the limits are for: one caller must not take the others' turn.
"""

from __future__ import annotations

from math import ceil

ROUNDING_S = 1e-9
"""What adding up floating point numbers may leave."""


class Rate:
    """Lets each caller through `per_minute` times a minute, up to `burst` of them at once.

    Kept is one number per caller: when all that was let through would be used up at an even pace (the
    generic cell rate algorithm). Of callers above `most_callers`, those are forgotten first that have used
    up nothing, then the oldest.
    """

    def __init__(self, per_minute: int, burst: int, most_callers: int) -> None:
        self._interval_s = 60.0 / per_minute
        self._tolerance_s = self._interval_s * burst
        self._most_callers = most_callers
        self._used_up_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._used_up_at)

    def refused_for_s(self, caller: str, now: float) -> int:
        """Count a call at `now` (seconds of any steady clock); return 0, or after how many seconds to come again."""
        at = self._used_up_at.get(caller, now)
        at = max(at, now)
        next_at = at + self._interval_s
        over = next_at - now - self._tolerance_s
        if over > ROUNDING_S:
            return ceil(over)
        self._used_up_at[caller] = next_at
        if len(self._used_up_at) > self._most_callers:
            self._forget(now)
        return 0

    def _forget(self, now: float) -> None:
        self._used_up_at = {caller: at for caller, at in self._used_up_at.items() if at > now}
        if len(self._used_up_at) > self._most_callers:
            for caller in list(self._used_up_at)[: len(self._used_up_at) - self._most_callers // 2]:
                del self._used_up_at[caller]
