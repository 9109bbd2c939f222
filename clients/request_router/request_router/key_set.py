"""Whose logins a server believes: the key set of its client, kept on disk so that no network is needed to check one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from jwt.algorithms import OKPAlgorithm

FORMAT = 1


class KeySetUnusable(Exception):
    """The key set cannot be read or written, or is none; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """A client's public keys by id, each with its issuer, and the ids of logins that were ended with their expiry."""

    client: str
    token_max_age_ms: int
    keys: Mapping[str, tuple[str, Ed25519PublicKey]]
    revoked: Mapping[str, datetime]

    @classmethod
    def of(cls, body: bytes) -> KeySet:
        """Read what `GET /api/v1/agent/keys` answers; raises KeySetUnusable for anything else, whole."""
        try:
            told: Any = json.loads(body)
            client, max_age = told["client"], told["token_max_age_ms"]
            keys = {
                str(jwk["kid"]): (str(issuer["server"]), _public(jwk))
                for issuer in told["issuers"]
                for jwk in issuer["keys"]
            }
            revoked = {str(row["jti"]): datetime.fromisoformat(row["expires_at"]) for row in told["revoked"]}
        except (ValueError, TypeError, KeyError, RecursionError, jwt.PyJWTError) as error:
            raise KeySetUnusable("This is no key set.") from error
        if told.get("format") != FORMAT or not isinstance(client, str) or type(max_age) is not int or max_age <= 0:
            raise KeySetUnusable("This is no key set of a known format.")
        return cls(client, max_age, keys, revoked)


def _public(jwk: Mapping[str, Any]) -> Ed25519PublicKey:
    key = OKPAlgorithm.from_jwk(dict(jwk))
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("not a public Ed25519 key")
    return key


class KeySetFile:
    """The copy on disk, mode 0600 and replaced whole; several processes may read it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: tuple[tuple[int, int, int], KeySet] | None = None

    def store(self, body: bytes) -> KeySet:
        """Keep a new key set; one that is none is refused, and the one before stays. Raises KeySetUnusable."""
        key_set = KeySet.of(body)
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        except OSError as error:
            with suppress(OSError):
                beside.unlink()
            raise KeySetUnusable(f"The file {self.path} cannot be written: {error.strerror}.") from error
        return key_set

    def current(self) -> KeySet:
        """Return the key set on disk, read anew only when the file was replaced; raises KeySetUnusable."""
        try:
            stat = self.path.stat()
            mark = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if self._read is None or self._read[0] != mark:
                self._read = (mark, KeySet.of(self.path.read_bytes()))
        except OSError as error:
            raise KeySetUnusable(f"The file {self.path} cannot be read: {error.strerror}.") from error
        return self._read[1]
