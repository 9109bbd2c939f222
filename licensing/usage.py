"""How much there is of what a licence limits: each room registers how its own is counted."""

from __future__ import annotations

from collections.abc import Callable

from licensing.rules import Usage

_counters: dict[str, Callable[[], int]] = {}


def register(name: str, count: Callable[[], int]) -> None:
    """Let `count` answer how many there are of `name`, a field of Usage."""
    _counters[name] = count


def present_usage() -> Usage:
    return Usage(**{name: count() for name, count in _counters.items()})
