"""Versions of the servers' software: four numbers with an optional suffix, and the range a patch fits.

Pure rules OMF-31 and OMF-32: comparison is by numbers, the suffix counts for nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

SHAPE = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})\.(\d{1,9})([A-Za-z0-9._+-]{0,20})", re.ASCII)
HINT = "four numbers such as 1.1.6.3, with a suffix such as fix3 if need be"


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A version that compares by its four numbers; `suffix` is shown and counts for nothing (OMF-31)."""

    numbers: tuple[int, int, int, int]
    suffix: str = field(default="", compare=False)

    def __str__(self) -> str:
        return ".".join(map(str, self.numbers)) + self.suffix


def parse(text: str) -> Version:
    """Return the version that `text` spells; raises ValueError, which says what is expected, for anything else."""
    shaped = SHAPE.fullmatch(text.strip())
    # A fifth number would be read as a suffix, and 1.1.6.3.4 be the same as 1.1.6.3.
    if shaped is None or shaped[5][:1] == "." or shaped[5][:1].isdecimal():
        raise ValueError(f"{text[:60]!r} is no version: {HINT} is expected.")
    first, second, third, fourth = (int(number) for number in shaped.groups()[:4])
    return Version((first, second, third, fourth), shaped[5])


def known(text: str) -> Version | None:
    """Return the version that a server reports; None for one that does not follow the rule, or none at all."""
    try:
        return parse(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Range:
    """The installed versions a patch fits, both ends included (OMF-32); raises ValueError if it is empty."""

    lowest: Version
    highest: Version

    def __post_init__(self) -> None:
        if self.lowest > self.highest:
            raise ValueError(f"No version lies from {self.lowest} to {self.highest}.")

    def holds(self, installed: Version) -> bool:
        return self.lowest <= installed <= self.highest

    def __str__(self) -> str:
        return f"{self.lowest} to {self.highest}"
