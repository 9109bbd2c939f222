"""The journal of an order: on disk before each step, so that a kill at any point never applies a patch twice."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from booster_agent.files import read_json, sync_directory, write_json


class Phase(StrEnum):
    """How far an order has come; what is behind `APPLYING` is never done again."""

    DOWNLOADING = "downloading"
    BACKING_UP = "backing_up"
    APPLYING = "applying"
    RESTARTING = "restarting"
    DONE = "done"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        return self in (Phase.DONE, Phase.FAILED)


@dataclass(frozen=True, slots=True)
class Entry:
    """One order. `sha256` and `size_bytes` are the whole file's; `replaced_pid` is the server's before its restart."""

    target: int
    step: str
    patch_id: int
    version: str
    sha256: str
    size_bytes: int
    file: str
    rate_bytes_per_s: int | None = None
    phase: Phase = Phase.DOWNLOADING
    detail: str = ""
    version_before: str = ""
    version_after: str = ""
    boot: str = ""
    replaced_pid: str = ""
    is_told: bool = False


class Journal:
    """The order at hand, or the last one; and the version installed where no file or command tells it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.entry = _entry(read_json(file))

    def begin(self, entry: Entry) -> None:
        self._write(entry)

    def note(self, **changes: Any) -> Entry:
        """Keep what changed, on disk before this returns."""
        assert self.entry is not None  # noqa: S101 - noted is what was begun
        return self._write(replace(self.entry, **changes))

    def forget(self) -> None:
        self._file.unlink(missing_ok=True)
        sync_directory(self._file.parent)
        self.entry = None

    def _write(self, entry: Entry) -> Entry:
        write_json(self._file, asdict(entry))
        self.entry = entry
        return entry


def order_entry(order: dict[str, Any]) -> Entry | None:
    """Return what a Booster ordered; None if it cannot be understood."""
    try:
        patch = order["patch"]
        entry = Entry(
            int(order["target"]),
            str(order["step"]),
            int(patch["id"]),
            str(patch["version"]),
            str(patch["sha256"]),
            int(patch["size_bytes"]),
            str(patch["file"]),
            int(patch["rate_bytes_per_s"]) if patch.get("rate_bytes_per_s") else None,
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    is_sound = entry.step in ("apply", "roll_back") and entry.file.startswith("/api/v1/agent/") and entry.size_bytes > 0
    return entry if is_sound else None


def _entry(told: dict[str, Any]) -> Entry | None:
    names = {field.name for field in fields(Entry)}
    try:
        return Entry(**{name: value for name, value in told.items() if name in names} | {"phase": Phase(told["phase"])})
    except (KeyError, TypeError, ValueError):
        return None
