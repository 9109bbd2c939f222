"""The last snapshot on disk, for a process that starts while the database is away.

Written by the web processes themselves in the data directory, readable by their user alone. It holds digests
of tokens, no secrets, and is sealed with a key that only this installation has: a file that is damaged, cut
off, altered, or of another installation or format is as good as none.
"""

from __future__ import annotations

import gzip
import hmac
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, NamedTuple

from routing.document import ServerState
from routing.landscape import (
    Assignment,
    Landscape,
    Organization,
    OrganizationCode,
    PreferenceValue,
    Server,
    Service,
)
from terminals.tokens import TokenState

MAGIC = b"booster-snapshot 1\n"
SEAL_BYTES = sha256().digest_size
ROWS_AT_ONCE = 500
"""So many rows are written or read in one go: encoding holds up everybody else in the process."""


class Kept(NamedTuple):
    """What is kept of a snapshot, and since when it could have been told that it is no longer the latest."""

    numbers: Mapping[str, int]
    checked_at: datetime
    landscape: Landscape
    organization_codes: Mapping[int, OrganizationCode]
    tokens: dict[str, TokenState]
    states: Mapping[str, ServerState]


class _Sealing:
    """A file that seals what is written to it."""

    def __init__(self, file: IO[bytes], key: bytes) -> None:
        self._file = file
        self._seal = hmac.new(key, digestmod=sha256)

    def write(self, data: bytes) -> int:
        self._seal.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def seal(self) -> None:
        self._file.write(self._seal.digest())


def save(path: Path, kept: Kept, key: bytes) -> None:
    """Write a snapshot to `path`, whole or not at all; OSError passes through and leaves the old one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            sealing = _Sealing(file, key)
            sealing.write(MAGIC)
            sealing.write(_line(dict(kept.numbers)))
            with gzip.GzipFile(fileobj=sealing, mode="wb", compresslevel=1, mtime=0) as packed:
                for line in _lines(kept):
                    packed.write(line)
            sealing.seal()
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def saved_numbers(path: Path) -> Mapping[str, int] | None:
    """Return the revision numbers of the snapshot on disk, not looking whether the rest is whole."""
    try:
        with path.open("rb") as file:
            if file.readline() != MAGIC:
                return None
            numbers = json.loads(file.readline())
    except (OSError, ValueError):
        return None
    return numbers if isinstance(numbers, dict) else None


def load(path: Path, key: bytes) -> Kept | None:
    """Return the snapshot at `path`, or None where there is none that can be trusted."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    sealed, seal = content[:-SEAL_BYTES], content[-SEAL_BYTES:]
    if not sealed.startswith(MAGIC) or not hmac.compare_digest(hmac.digest(key, sealed, sha256), seal):
        return None
    numbers, _, packed = sealed.removeprefix(MAGIC).partition(b"\n")
    try:
        return _read(json.loads(numbers), gzip.decompress(packed).splitlines())
    except (ValueError, KeyError, TypeError, OSError, EOFError):
        return None  # of a program whose values had other members


# --- Rows ----------------------------------------------------------------------------------------


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _lines(kept: Kept) -> Iterator[bytes]:
    yield _line(["checked_at", [kept.checked_at.isoformat()]])
    landscape = kept.landscape
    sections: dict[str, Iterable[Any]] = {
        "organizations": ([o.code, o.name, o.kind, o.parent, o.is_active] for o in landscape.organizations.values()),
        "codes": kept.organization_codes.items(),
        "services": (
            [s.name, s.routing_type, s.is_transactional, s.default_timeout_s, s.timeout_s, s.is_active]
            for s in landscape.services.values()
        ),
        "servers": (_server_row(server) for server in landscape.servers.values()),
        "preferences": ([key, organization, value] for (key, organization), value in landscape.preferences.items()),
        "states": ([key, state.status, _text(state.since)] for key, state in kept.states.items()),
        "tokens": (_token_row(token) for token in list(kept.tokens.values())),
    }
    for name, rows in sections.items():
        portion = []
        for row in rows:
            portion.append(row)
            if len(portion) == ROWS_AT_ONCE:
                yield _line([name, portion])
                portion = []
        yield _line([name, portion])


def _server_row(server: Server) -> list[Any]:
    return [
        server.key,
        server.name,
        server.client,
        server.server_type,
        server.url,
        server.priority,
        server.all_organizations,
        server.all_services,
        server.defined_services,
        [[row.target, row.is_active] for row in server.organizations],
        [[row.target, row.is_active] for row in server.services],
        server.is_active,
    ]


def _server(row: list[Any]) -> Server:
    *plain, organizations, services, is_active = row
    return Server(*(*plain, _assignments(organizations), _assignments(services), is_active))


def _assignments(rows: list[list[Any]]) -> tuple[Assignment, ...]:
    return tuple(Assignment(*row) for row in rows)


def _token_row(token: TokenState) -> list[Any]:
    return [
        token.pk,
        token.token_id,
        token.digest,
        token.terminal_id,
        token.terminal_key,
        token.terminal_is_active,
        token.organization_id,
        token.is_used,
        _text(token.replaced_at),
        _text(token.revoked_at),
    ]


def _token(row: list[Any]) -> TokenState:
    *plain, replaced_at, revoked_at = row
    return TokenState(*(*plain, _moment(replaced_at), _moment(revoked_at)))


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _read(numbers: Mapping[str, int], lines: Iterable[bytes]) -> Kept:
    rows: dict[str, list[Any]] = {}
    makers: dict[str, Callable[[Any], Any]] = {
        "organizations": lambda row: Organization(*row),
        "services": lambda row: Service(*row),
        "servers": _server,
        "preferences": lambda row: PreferenceValue(*row),
        "tokens": _token,
    }
    for line in lines:
        name, portion = json.loads(line)
        make = makers.get(name, lambda row: row)
        rows.setdefault(name, []).extend(make(row) for row in portion)
    return Kept(
        numbers,
        datetime.fromisoformat(rows["checked_at"][0]),
        Landscape.of(rows["organizations"], rows["services"], rows["servers"], rows["preferences"]),
        dict(rows["codes"]),
        {token.token_id: token for token in rows["tokens"]},
        {key: ServerState(status, _moment(since)) for key, status, since in rows["states"]},
    )
