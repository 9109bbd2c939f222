"""What a terminal keeps on its disk: its token, the Boosters it knows, and the last good documents with their age."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any


class StateUnusable(Exception):
    """The folder cannot be used, or its files are not what they were; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A document as it came, and when (seconds since 1970)."""

    body: bytes
    tag: str
    revision: int
    received_at: float


class State:
    """A folder of one terminal, readable by its user alone; every file is replaced whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StateUnusable(f"The folder {folder} cannot be used: {error.strerror}.") from error

    @property
    def queue_path(self) -> Path:
        return self.folder / "queue.sqlite3"

    def take_turn(self) -> IO[bytes] | None:
        """Return a lock on the folder's queue, held until it is closed; None while another program delivers."""
        file = (self.folder / "queue.lock").open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return None
        return file

    def identity(self) -> Mapping[str, Any] | None:
        """Return what was stored by `store_identity`, or None before that."""
        told = self._read("terminal.json")
        if told is None:
            return None
        if not isinstance(told.get("token"), str) or not isinstance(told.get("boosters"), list):
            raise StateUnusable(f"The file {self.folder / 'terminal.json'} is damaged: activate again.")
        return told

    def store_identity(
        self,
        terminal: str,
        token: str,
        boosters: list[str],
        *,
        organization: str = "",
        signing_keys: Sequence[object] = (),
        agent: str = "",
    ) -> None:
        """Keep what an activation gave; `agent` is the address of the store's agent, empty where there is none."""
        identity = {"terminal": terminal, "token": token, "boosters": boosters, "organization": organization}
        self._write("terminal.json", identity | {"signing_keys": list(signing_keys), "agent": agent})

    def document(self, door: str) -> Kept | None:
        """Return the last good document of a door; None where there is none that can be read."""
        try:
            told = self._read(f"{door}.json")
            if told is None:
                return None
            return Kept(str(told["body"]).encode(), str(told["tag"]), int(told["revision"]), float(told["received_at"]))
        except (StateUnusable, KeyError, TypeError, ValueError):
            return None  # the Booster has it still

    def store_document(self, door: str, kept: Kept) -> None:
        self._write(
            f"{door}.json",
            {
                "body": kept.body.decode(),
                "tag": kept.tag,
                "revision": kept.revision,
                "received_at": kept.received_at,
            },
        )

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self.folder / name
        try:
            told = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateUnusable(f"The file {path} cannot be read: {error.strerror}.") from error
        except ValueError as error:
            raise StateUnusable(f"The file {path} is damaged.") from error
        if not isinstance(told, dict):
            raise StateUnusable(f"The file {path} is damaged.")
        return told

    def _write(self, name: str, value: object) -> None:
        path, beside = self.folder / name, self.folder / f".{name}.{os.getpid()}"
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(value, file, ensure_ascii=False)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except OSError as error:
            with suppress(OSError):
                beside.unlink()
            raise StateUnusable(f"The file {path} cannot be written: {error.strerror}.") from error
