"""The container a patch comes in: one line the vendor signed, then a gzipped tar; read and built as a stream.

The first line is a compact JWS (EdDSA, `typ` booster-patch+jwt) that describes the patch and holds size and
SHA-256 of the archive behind it, so one changed byte anywhere is found. Nothing is ever unpacked here, and
never more than a piece is in memory. Rules OMF-31, OMF-32 and OMF-35; the agent checks the same once more.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings

from backoffice import signed_text
from backoffice.refusals import FieldError, Invalid
from boosters.versions import Range, Version, parse

SUFFIX = ".bpatch"
JWS_TYPE = "booster-patch+jwt"
PIECE = 1024 * 1024
LONGEST_LINE = 64 * 1024
LONGEST_TEXT = 200
LONGEST_NOTES = 10_000
HALF_CHARACTER = re.compile("[\ud800-\udfff]")
MOST_MEMBERS = 100_000
MOST_UNPACKED_TIMES = 50
"""How many times its own size an archive may unpack to, beyond SMALL: more is meant to fill a disk."""
SMALL = 100 * 2**20
NO_KEYS = (
    "no vendor's key is known here: put the vendor's public key (PEM or JWK) into the directory that "
    "BOOSTER_PATCH_KEYS names, on every node"
)


class PatchRefused(Invalid):
    """A patch file that is not accepted; `code` says why in one word, `detail` in a sentence."""

    type = "/problems/patch-refused"
    title = "The patch is refused"

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail, errors=[FieldError("/patch", code, detail)])
        self.code = code


@dataclass(frozen=True, slots=True)
class Description:
    """What the vendor signed of a patch. `size_bytes` and `sha256` are the archive's; `revert` is None or a script."""

    product: str
    name: str
    version: str
    fits_from: str
    fits_to: str
    size_bytes: int
    sha256: str
    apply: str = "apply.sh"
    revert: str | None = None
    notes: str = ""
    key_id: str = ""

    @property
    def fits(self) -> Range:
        return Range(parse(self.fits_from), parse(self.fits_to))

    @property
    def target(self) -> Version:
        return parse(self.version)


@dataclass(frozen=True, slots=True)
class Checked:
    """A container that is as the vendor signed it; size and digest are of the whole file, as orders give them."""

    description: Description
    size_bytes: int
    sha256: str


def vendor_keys() -> dict[str, Ed25519PublicKey]:
    """Return the patch vendors' public keys that this node trusts, by key id; read anew each time."""
    return signed_text.keys_in(Path(settings.BOOSTER_PATCH_KEYS))[0]


def check(path: Path, keys: Mapping[str, Ed25519PublicKey]) -> Checked:
    """Return what a container holds after checking signature, size, SHA-256 and every path; raises PatchRefused."""
    whole = hashlib.sha256()
    with path.open("rb") as stream:
        description = read_line(stream, keys)
        begins = stream.tell()
        stream.seek(0)
        whole.update(stream.read(begins))
        archive, size = hashlib.sha256(), 0
        for piece in _pieces(stream):
            archive.update(piece)
            whole.update(piece)
            size += len(piece)
        if size != description.size_bytes:
            raise PatchRefused(
                "wrong_size",
                f"The archive has {size} bytes instead of {description.size_bytes}: the file was cut short or altered. "
                "Fetch it anew from the vendor.",
            )
        if archive.hexdigest() != description.sha256:
            raise PatchRefused(
                "wrong_digest",
                "The SHA-256 of the archive is not the signed one: the file was damaged or altered on its way. "
                "Fetch it anew from the vendor.",
            )
        stream.seek(begins)
        _check_members(stream, description)
    return Checked(description, begins + size, whole.hexdigest())


def read_line(stream: IO[bytes], keys: Mapping[str, Ed25519PublicKey]) -> Description:
    """Return what the signed first line says, leaving the stream at the archive's start; raises PatchRefused."""
    line = stream.readline(LONGEST_LINE + 1)
    if len(line) > LONGEST_LINE or not line.endswith(b"\n"):
        raise PatchRefused(
            "not_a_patch", f"The file is not a patch: its first line is not what a {SUFFIX} begins with."
        )
    try:
        payload, key_id = signed_text.read(line, keys, JWS_TYPE)
    except signed_text.NotSigned as error:
        raise PatchRefused("not_a_patch", "The file is not a patch: its first line is not a vendor's.") from error
    except signed_text.UnknownKey as error:
        known = f"known are {', '.join(keys)}" if keys else NO_KEYS
        raise PatchRefused(
            "unknown_key", f"The patch is signed with the key {error.args[0][:40]!r}; {known}."
        ) from error
    except signed_text.WrongSignature as error:
        raise PatchRefused("wrong_signature", "The vendor's signature does not fit: the file was altered.") from error
    try:
        return _description(json.loads(payload), key_id)
    except (ValueError, RecursionError) as error:
        raise PatchRefused("not_a_patch", f"The patch cannot be understood: {error}") from error


def build(folder: Path, out: Path, told: Description, key: Ed25519PrivateKey, key_id: str) -> Checked:
    """Make the container of a folder; `told` needs no size and digest. Raises PatchRefused, ValueError, OSError.

    What would be refused later leaves nothing behind: the container is checked before it gets its name.
    """
    archive, part = out.with_name(f"{out.name}.archive"), out.with_name(f"{out.name}.part")
    try:
        with tarfile.open(archive, "x:gz") as tar:
            for path in sorted(folder.rglob("*")):
                tar.add(path, arcname=str(path.relative_to(folder)), recursive=False, filter=_anonymous)
        digest, size = hashlib.sha256(), 0
        with archive.open("rb") as packed:
            for piece in _pieces(packed):
                digest.update(piece)
                size += len(piece)
        claims = asdict(told) | {"kind": "patch", "size_bytes": size, "sha256": digest.hexdigest()}
        del claims["key_id"]
        line = signed_text.sign(json.dumps(claims, ensure_ascii=False).encode(), key, key_id, JWS_TYPE)
        with part.open("xb") as container, archive.open("rb") as packed:
            container.write(f"{line}\n".encode())
            for piece in _pieces(packed):
                container.write(piece)
        checked = check(part, {key_id: key.public_key()})
        os.link(part, out)  # unlike a rename, never replaces a file that is there
        return checked
    finally:
        archive.unlink(missing_ok=True)
        part.unlink(missing_ok=True)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out who owned the files where they were packed."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read(PIECE):
        yield piece


# --- What the vendor may sign ---


def _description(claims: Any, key_id: str) -> Description:
    """Return the patch that signed claims describe; ValueError says what is wrong with them."""
    if not isinstance(claims, dict) or claims.get("kind") != "patch":
        raise ValueError("its kind is not patch.")
    revert = claims.get("revert")
    size = claims.get("size_bytes")
    digest = claims.get("sha256")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ValueError("size_bytes is not a count.")
    if not isinstance(digest, str) or len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):  # noqa: PLR2004
        raise ValueError("sha256 is not a SHA-256 in hexadecimal.")
    notes = claims.get("notes", "")
    if not isinstance(notes, str) or len(notes) > LONGEST_NOTES or "\0" in notes or HALF_CHARACTER.search(notes):
        raise ValueError("notes is not a text.")
    description = Description(
        product=_text(claims, "product"),
        name=_text(claims, "name"),
        version=str(parse(_text(claims, "version"))),
        fits_from=str(parse(_text(claims, "fits_from"))),
        fits_to=str(parse(_text(claims, "fits_to"))),
        size_bytes=size,
        sha256=digest,
        apply=_script(_text(claims, "apply"), "apply"),
        revert=None if revert is None else _script(_text(claims, "revert"), "revert"),
        notes=notes,
        key_id=key_id,
    )
    if description.fits.lowest > description.target:
        raise ValueError(f"it fits {description.fits}, which is newer than its own version {description.version}.")
    return description


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_TEXT or not value.isprintable():
        raise ValueError(f"{name} is not a text.")
    return value


def _script(name: str, claim: str) -> str:
    if why := _why_unsafe(name):
        raise ValueError(f"{claim} names a script that {why}.")
    return name


# --- What an archive may hold ---


def _check_members(stream: IO[bytes], description: Description) -> None:
    """Look at every member; nothing may leave the folder it is unpacked into, or be anything but file or folder."""
    files: set[str] = set()
    unpacked, most = 0, max(SMALL, description.size_bytes * MOST_UNPACKED_TIMES)
    try:
        with tarfile.open(fileobj=stream, mode="r|gz") as tar:
            for number, member in enumerate(tar):
                if why := _why_unsafe(member.name):
                    raise PatchRefused("unsafe_path", f"The archive holds {member.name[:80]!r}, which {why}.")
                if not member.isfile() and not member.isdir():
                    raise PatchRefused(
                        "unsafe_path",
                        f"The archive holds {member.name[:80]!r}, which is a {_kind_of(member)}: "
                        "only files and folders may be in a patch.",
                    )
                unpacked += member.size
                if unpacked > most or number >= MOST_MEMBERS:
                    raise PatchRefused("too_large", "The archive unpacks to more than a patch may.")
                if member.isfile():
                    files.add(str(PurePosixPath(member.name)))
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise PatchRefused("not_a_patch", f"The archive behind the signed line cannot be read: {error}") from error
    for script in filter(None, (description.apply, description.revert)):
        if str(PurePosixPath(script)) not in files:
            raise PatchRefused("script_missing", f"The archive lacks the script {script!r} that the patch names.")


def _why_unsafe(name: str) -> str:
    """Say why a path must not be unpacked; empty for a safe one."""
    path = PurePosixPath(name)
    if path.is_absolute() or "\\" in name or (len(name) > 1 and name[1] == ":"):
        return "is not a path below the patch's folder"
    if ".." in path.parts:
        return "leads out of the patch's folder"
    if not name.isprintable():
        return "has characters that no file is named with"
    return ""


def _kind_of(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return "link"
    return "device or pipe"
