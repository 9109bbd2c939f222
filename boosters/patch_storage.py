"""Where patches' files are: kept for all nodes in the database or a bucket, and on each node's disk to be sent.

The disk of a node is a copy that it makes again whenever it lacks one, so nothing is uploaded twice after a
takeover (OMF-24). See docs/adr/0010.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

from django.conf import settings
from django.core.files import File
from django.core.files.storage import Storage, storages

from backoffice.refusals import Refusal, Unavailable
from boosters.patch_files import PIECE, SUFFIX
from boosters.patch_models import Patch, PatchPart

BUCKET = "patches"
DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)
INCOMING = ".incoming-"
LEFT_FOR = timedelta(days=1)
"""How old a file must be that nobody can be writing any more."""


class DiskFull(Refusal):
    """There is no room for a patch; nothing of it was kept."""

    type = "/problems/disk-full"
    title = "There is no room left"
    status = 507


class TooLargePatch(Refusal):
    type = "/problems/too-large"
    title = "The request body is too large"
    status = 413


def directory() -> Path:
    """Return the folder of this node's copies, which only its owner may read."""
    path = Path(settings.DATA_DIR) / "patches"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def bucket() -> Storage | None:
    """Return the bucket all nodes share; None where the database keeps the files."""
    return storages[BUCKET] if BUCKET in settings.STORAGES else None


def largest() -> int:
    return int(settings.BOOSTER_LARGEST_PATCH_MB) * 2**20


@contextmanager
def incoming(pieces: Iterable[bytes]) -> Iterator[Path]:
    """Write what comes in to a file of its own (mode 0600) that is gone afterwards, unless `place` moved it.

    Raises DiskFull, TooLargePatch; nothing is left behind.
    """
    with room():
        descriptor, name = tempfile.mkstemp(prefix=INCOMING, dir=directory())
    path = Path(name)
    try:
        with room(), os.fdopen(descriptor, "wb") as stream:
            size = 0
            for piece in pieces:
                size += len(piece)
                if size > largest():
                    raise TooLargePatch(
                        f"A patch may have at most {settings.BOOSTER_LARGEST_PATCH_MB} MiB (BOOSTER_LARGEST_PATCH_MB)."
                    )
                stream.write(piece)
            stream.flush()
            os.fsync(stream.fileno())
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def room() -> Iterator[None]:
    """Say in words for people that a disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_IS_FULL:
            raise
        raise DiskFull(
            f"The disk of the data directory {settings.DATA_DIR} is full: nothing was kept. Make room and try again."
        ) from error


def file_name(sha256: str) -> str:
    return f"{sha256}{SUFFIX}"


def place(path: Path, sha256: str) -> Path:
    """Give an incoming file its final name, at once or not at all; return where it is."""
    placed = directory() / file_name(sha256)
    os.replace(path, placed)
    return placed


def keep(patch: Patch, path: Path) -> None:
    """Keep a file for all nodes; inside the transaction that makes its row, where the database keeps it."""
    shared = bucket()
    with path.open("rb") as stream:
        if shared is not None:
            name = file_name(patch.sha256)
            if not shared.exists(name):
                shared.save(name, File(stream))
            return
        for number, piece in enumerate(_pieces(stream)):
            PatchPart.objects.create(patch=patch, number=number, content=piece)


def local(patch: Patch) -> Path:
    """Return this node's copy of a patch's file, fetching it where the node lacks it.

    A copy is believed only with the right size and digest. Raises Unavailable where the file is not to be had.
    """
    path = directory() / file_name(patch.sha256)
    if path.exists() and path.stat().st_size == patch.size_bytes:
        return path
    with incoming(_kept(patch)) as fetched:
        digest = hashlib.sha256()
        with fetched.open("rb") as stream:
            for piece in _pieces(stream):
                digest.update(piece)
        if digest.hexdigest() != patch.sha256:
            raise Unavailable(f"The kept file of {patch} is damaged or gone: upload the patch again.", retry_after_s=60)
        return place(fetched, patch.sha256)


def _kept(patch: Patch) -> Iterator[bytes]:
    shared = bucket()
    if shared is None:
        for content in patch.parts.order_by("number").values_list("content", flat=True).iterator(chunk_size=4):
            yield bytes(content)
        return
    name = file_name(patch.sha256)
    if not shared.exists(name):
        raise Unavailable(f"The bucket lacks the file of {patch}: upload the patch again.", retry_after_s=60)
    with shared.open(name, "rb") as stream:
        yield from _pieces(stream)


def forget(sha256: str) -> None:
    """Remove this node's copy and the bucket's; the database's goes with the row."""
    (directory() / file_name(sha256)).unlink(missing_ok=True)
    shared = bucket()
    if shared is not None:
        shared.delete(file_name(sha256))


def sweep(moment: datetime) -> int:
    """Remove what a killed process left behind: half files, and copies of patches that are gone; return how many."""
    kept = {file_name(sha256) for sha256 in Patch.objects.values_list("sha256", flat=True)}
    swept = 0
    for path in directory().iterdir():
        is_ours = path.name.startswith(INCOMING) or path.suffix == SUFFIX
        try:
            is_old = moment.timestamp() - path.stat().st_mtime > LEFT_FOR.total_seconds()
        except FileNotFoundError:
            continue
        if is_ours and is_old and path.name not in kept:
            path.unlink(missing_ok=True)
            swept += 1
    return swept


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read(PIECE):
        yield piece
