"""The container of a patch: checked against the vendor's keys of this host, then unpacked where nothing can leave.

The first line is a compact JWS (EdDSA, `typ` booster-patch+jwt), behind it is a gzipped tar whose size and
SHA-256 the line holds. Source: OMF-35.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import OKPAlgorithm

from booster_agent.versions import numbers

JWS_TYPE = "booster-patch+jwt"
LONGEST_LINE = 64 * 1024
PIECE = 1024 * 1024
MOST_MEMBERS = 100_000
MOST_UNPACKED_TIMES = 50
SMALL = 100 * 2**20
FETCH_ANEW = "Upload the vendor's file to the Booster once more, and roll it out again."


class PatchRefused(Exception):
    """A patch that is not applied; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class Description:
    """What the vendor signed of a patch."""

    version: str
    fits_from: str
    fits_to: str
    size_bytes: int
    sha256: str
    apply: str
    revert: str | None


def keys_in(folder: Path | None) -> dict[str, Ed25519PublicKey]:
    """Return the vendors' public keys of a folder by id: a JWK's `kid`, or the name of the file."""
    keys: dict[str, Ed25519PublicKey] = {}
    if folder is None:
        return keys
    for path in sorted((*folder.glob("*.pem"), *folder.glob("*.jwk"))):
        try:
            if path.suffix == ".jwk":
                told = json.loads(path.read_text())
                key: Any = OKPAlgorithm.from_jwk(told)
                name = str(told.get("kid", path.stem))
            else:
                key, name = load_pem_public_key(path.read_bytes()), path.stem
        except (OSError, ValueError, jwt.PyJWTError):
            continue
        if isinstance(key, Ed25519PublicKey):
            keys[name] = key
    return keys


def read_line(stream: IO[bytes], keys: Mapping[str, Ed25519PublicKey]) -> Description:
    """Return what the signed first line says, leaving the stream at the archive; raises PatchRefused."""
    line = stream.readline(LONGEST_LINE + 1)
    if not keys:
        raise PatchRefused(
            "No patch vendor's key is known on this host: put the vendor's public key into the folder that "
            "PATCH_KEYS of its agent names."
        )
    try:
        if not line.endswith(b"\n"):
            raise ValueError
        text = line[:-1].decode("ascii")
        header = jwt.get_unverified_header(text)
    except (ValueError, jwt.PyJWTError, RecursionError) as error:
        raise PatchRefused(f"The file is not a patch: its first line is not a vendor's. {FETCH_ANEW}") from error
    key = keys.get(str(header.get("kid")))
    if key is None or header.get("typ") != JWS_TYPE:
        raise PatchRefused(
            f"The patch is signed with the key {str(header.get('kid'))[:40]!r}; known on this host "
            f"(PATCH_KEYS) are {', '.join(keys)}."
        )
    try:
        told = json.loads(jwt.PyJWS().decode(text, key, algorithms=["EdDSA"]))
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise PatchRefused(f"The vendor's signature does not fit: the file was altered. {FETCH_ANEW}") from error
    return _description(told)


def _description(told: Any) -> Description:
    try:
        if told["kind"] != "patch":
            raise ValueError("its kind is not patch")
        description = Description(
            told["version"],
            told["fits_from"],
            told["fits_to"],
            int(told["size_bytes"]),
            str(told["sha256"]),
            str(told["apply"]),
            None if told.get("revert") is None else str(told["revert"]),
        )
        if not all(numbers(text) for text in (description.version, description.fits_from, description.fits_to)):
            raise ValueError("it names no versions")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PatchRefused(f"The patch cannot be understood: {error}.") from error
    for script in filter(None, (description.apply, description.revert)):
        if why := why_unsafe(script):
            raise PatchRefused(f"The patch names the script {script[:80]!r}, which {why}.")
    return description


def check(path: Path, keys: Mapping[str, Ed25519PublicKey]) -> Description:
    """Return what a container holds once signature, size and SHA-256 are as signed; raises PatchRefused, OSError."""
    with path.open("rb") as stream:
        description = read_line(stream, keys)
        digest, size = hashlib.sha256(), 0
        for piece in pieces(stream):
            digest.update(piece)
            size += len(piece)
    if size != description.size_bytes:
        raise PatchRefused(
            f"The archive has {size} bytes instead of {description.size_bytes}: the file was cut short. {FETCH_ANEW}"
        )
    if digest.hexdigest() != description.sha256:
        raise PatchRefused(f"The SHA-256 of the archive is not the signed one: the file was altered. {FETCH_ANEW}")
    return description


def unpack(path: Path, folder: Path, keys: Mapping[str, Ed25519PublicKey]) -> None:
    """Unpack a checked container into a folder of its own; raises PatchRefused or OSError.

    Only files and folders come out, below that folder, readable by the agent's user, never setuid.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    with path.open("rb") as stream:
        description = read_line(stream, keys)
        most, unpacked = max(SMALL, description.size_bytes * MOST_UNPACKED_TIMES), 0
        try:
            with tarfile.open(fileobj=stream, mode="r|gz") as tar:
                for number, member in enumerate(tar):
                    if why := why_unsafe(member.name):
                        raise PatchRefused(f"The archive holds {member.name[:80]!r}, which {why}.")
                    if not member.isfile() and not member.isdir():
                        raise PatchRefused(f"The archive holds {member.name[:80]!r}, which is no file and no folder.")
                    unpacked += member.size
                    if unpacked > most or number >= MOST_MEMBERS:
                        raise PatchRefused("The archive unpacks to more than a patch may.")
                    _take_out(tar, member, folder)
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise PatchRefused(f"The archive behind the signed line cannot be read: {error}.") from error
    for script in filter(None, (description.apply, description.revert)):
        if not (folder / script).is_file():
            raise PatchRefused(f"The archive lacks the script {script!r} that the patch names.")
        (folder / script).chmod(0o700)


def _take_out(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    target = folder.joinpath(*PurePosixPath(member.name).parts)
    if member.isdir():
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        return
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = tar.extractfile(member)
    if content is None:
        raise PatchRefused(f"The archive's {member.name[:80]!r} cannot be read.")
    # Links never come out, so nothing below the folder leads elsewhere; a name given twice is written once.
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        shutil.copyfileobj(content, stream, PIECE)
        os.fchmod(stream.fileno(), 0o700 if member.mode & 0o100 else 0o600)


def why_unsafe(name: str) -> str:
    """Say why a path must not be unpacked; empty for a safe one."""
    path = PurePosixPath(name)
    if path.is_absolute() or "\\" in name or (len(name) > 1 and name[1] == ":"):
        return "is not a path below the patch's folder"
    if ".." in path.parts:
        return "leads out of the patch's folder"
    if not name.isprintable():
        return "has characters that no file is named with"
    return ""


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for piece in pieces(stream):
            digest.update(piece)
    return digest.hexdigest()


def pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read(PIECE):
        yield piece
