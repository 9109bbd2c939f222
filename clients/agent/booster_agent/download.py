"""Fetching a patch's file: goes on where it stopped, no faster than allowed, and finds a full disk before it is one."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from booster_agent.calling import Answer, Boosters
from booster_agent.container import FETCH_ANEW, PatchRefused, sha256_of

ROOM_TO_LEAVE = 64 * 2**20
"""How much of the disk stays free for the server."""
TOLD_EVERY_S = 5.0


class Stopped(Exception):
    """The Booster wants the order no more."""


class BrokeOff(Exception):
    """The download stopped early; what is there stays, to go on with later."""


@dataclass(frozen=True, slots=True)
class Wanted:
    path: str
    size_bytes: int
    sha256: str
    rate_bytes_per_s: int | None = None


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def no_room(needed: int, free: int, folder: Path) -> str:
    """Return what to say of a disk that is too full."""
    return (
        f"There is no room: {folder} has {free / 2**20:.0f} MB free, and {needed / 2**20:.0f} MB are needed. "
        "Make room there and try again."
    )


def fetch(
    boosters: Boosters,
    token: str,
    wanted: Wanted,
    part: Path,
    *,
    progress: Callable[[int], bool],
    free: Callable[[Path], int] = free_bytes,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Bring the file to `part`, whole and with the ordered SHA-256 (OMF-35).

    `progress` is told the bytes that are there now and then; False ends it with Stopped. Raises Unreachable and
    BrokeOff, after which it may be called again and goes on; PatchRefused for what no repetition heals.
    """
    have = part.stat().st_size if part.exists() else 0
    if have > wanted.size_bytes:
        part.unlink()
        have = 0
    if have < wanted.size_bytes:
        needed = wanted.size_bytes - have + ROOM_TO_LEAVE
        if (there := free(part.parent)) < needed:
            raise PatchRefused(no_room(needed, there, part.parent))
        headers = {"If-Range": f'"{wanted.sha256}"'} | ({"Range": f"bytes={have}-"} if have else {})

        def take(answer: Answer, pieces: Iterator[bytes]) -> None:
            if answer.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
                raise BrokeOff(f"The Booster does not give the patch's file: it answers {answer.status}.")
            start = have if answer.status == HTTPStatus.PARTIAL_CONTENT else 0
            _write(pieces, part, start, wanted, progress, clock, sleep)

        boosters.fetch(wanted.path, token, headers, take)
    if part.stat().st_size < wanted.size_bytes:
        raise BrokeOff("The download broke off.")
    if sha256_of(part) != wanted.sha256:
        part.unlink()
        raise PatchRefused(f"The file's SHA-256 is not the ordered one: it was altered or damaged. {FETCH_ANEW}")


def _write(
    pieces: Iterator[bytes],
    part: Path,
    start: int,
    wanted: Wanted,
    progress: Callable[[int], bool],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.truncate(start)
        stream.seek(start)
        began, told_at, received = clock(), clock(), 0
        for piece in pieces:
            try:
                stream.write(piece)
                stream.flush()
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise BrokeOff(f"The patch's file cannot be written: {error}.") from error
                raise PatchRefused(no_room(wanted.size_bytes - start - received, 0, part.parent)) from error
            received += len(piece)
            if start + received > wanted.size_bytes:
                raise PatchRefused(f"The file is larger than the ordered {wanted.size_bytes} bytes. {FETCH_ANEW}")
            if wanted.rate_bytes_per_s and (ahead := began + received / wanted.rate_bytes_per_s - clock()) > 0:
                sleep(ahead)
            if clock() - told_at >= TOLD_EVERY_S:
                told_at = clock()
                if not progress(start + received):
                    raise Stopped
        os.fsync(stream.fileno())
