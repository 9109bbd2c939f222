"""Versions: four numbers with an optional suffix that counts for nothing (OMF-31, OMF-32)."""

from __future__ import annotations

import re

SHAPE = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?![.\d])[A-Za-z0-9._+-]{0,20}", re.ASCII)


def numbers(text: str) -> tuple[int, ...] | None:
    """Return a version's four numbers, by which versions compare; None for what is no version."""
    shaped = SHAPE.fullmatch(text.strip())
    return tuple(int(number) for number in shaped.groups()) if shaped else None


def why_not(installed: str, fits_from: str, fits_to: str) -> str:
    """Return why a patch for versions from `fits_from` to `fits_to` must not be applied; empty if it may."""
    have, lowest, highest = numbers(installed), numbers(fits_from), numbers(fits_to)
    if have is None:
        return (
            f"The installed version is not known (the server tells {installed!r}): "
            "set SERVER_VERSION_FILE or SERVER_VERSION_COMMAND of its agent."
        )
    if lowest is None or highest is None or not lowest <= have <= highest:
        return f"The patch fits {fits_from} to {fits_to}, and {installed} is installed."
    return ""
