"""How the server behaves at the moment, as it was told by its control door."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

LONGEST_DELAY_MS = 600_000
SIGNALS = ("TON", "TOFF")


class Mode(StrEnum):
    OK = "ok"
    SLOW = "slow"
    FAIL = "fail"
    DOWN = "down"
    LOST_ANSWER = "lost_answer"
    TRANSITION = "transition"
    REFUSE = "refuse"


class WrongControl(ValueError):
    """What the control door was sent is no behaviour; the text says why."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """A mode and what it needs: milliseconds, an HTTP status, a signal, the message ids it is about (None: all)."""

    mode: Mode = Mode.OK
    delay_ms: int = 0
    status: int = 500
    signal: str = "TON"
    message_ids: frozenset[str] | None = None

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Behaviour:
        """Return the behaviour that a control request spells; raises WrongControl."""
        unknown = set(told) - {"mode", "delay_ms", "status", "signal", "message_ids"}
        if unknown:
            raise WrongControl(f"There is no {', '.join(sorted(unknown))}.")
        try:
            mode = Mode(str(told.get("mode")))
        except ValueError:
            raise WrongControl(f"mode must be one of {', '.join(Mode)}.") from None
        delay_ms, status = told.get("delay_ms", 0), told.get("status", 500)
        if type(delay_ms) is not int or not 0 <= delay_ms <= LONGEST_DELAY_MS:
            raise WrongControl(f"delay_ms must be a whole number from 0 to {LONGEST_DELAY_MS}.")
        if type(status) is not int or not 400 <= status <= 599:  # noqa: PLR2004 - the statuses of HTTP's failures
            raise WrongControl("status must be a whole number from 400 to 599.")
        signal = told.get("signal", "TON")
        if signal not in SIGNALS:
            raise WrongControl("signal must be TON or TOFF.")
        ids = told.get("message_ids")
        if ids is not None and (not isinstance(ids, list) or not all(isinstance(one, str) for one in ids)):
            raise WrongControl("message_ids must be a list of texts.")
        return cls(mode, delay_ms, status, signal, None if ids is None else frozenset(ids))

    def refuses(self, message_id: str) -> bool:
        """Tell whether a transaction (or a query, with an empty id) gets an application error."""
        return self.mode is Mode.REFUSE and (self.message_ids is None or message_id in self.message_ids)

    @property
    def signal_now(self) -> str:
        return self.signal if self.mode is Mode.TRANSITION else "ON"
