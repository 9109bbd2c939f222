"""The licence file: a compact JWS, signed by the vendor with Ed25519, read without any connection.

The vendor's public keys ship with the product, one PEM file per key id, so that a new key can be
introduced while licences signed with the old one are still in use. No private key ships.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings

from backoffice import signed_text
from backoffice.refusals import FieldError, Invalid

LARGEST_FILE = 64 * 1024
LONGEST_TEXT = 200
MOST = 1_000_000_000
FORMAT = 1
UNLIMITED = "unlimited"
"""The type of licence that lifts all counts (type U of the original)."""
NO_KEYS = "no key of the vendor ships with this build, so it can accept no licence"
REQUIRED = (
    "format",
    "id",
    "customer",
    "type",
    "servers",
    "terminals",
    "features",
    "issued_at",
    "not_before",
    "expires_at",
    "grace_days",
    "installation",
)


class LicenseRefused(Invalid):
    """A licence file that is not accepted; `code` says why in one word, `detail` in a sentence."""

    type = "/problems/license-refused"
    title = "The licence is refused"

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail, errors=[FieldError("/license", code, detail)])
        self.code = code


@dataclass(frozen=True, slots=True)
class License:
    """What the vendor has signed. `servers` and `terminals` are counts, None where there is no limit.

    `expires_at` is None for a licence without end; `installation` is the only installation it is for,
    if it is bound to one. `other` keeps what this version of the product does not know, to be shown.
    """

    id: str
    customer: str
    type: str
    servers: int | None
    terminals: int | None
    issued_at: datetime
    not_before: datetime
    expires_at: datetime | None = None
    grace_days: int = 0
    features: tuple[str, ...] = ()
    installation: str | None = None
    other: Mapping[str, Any] = field(default_factory=dict, hash=False)
    key_id: str = ""


def vendor_keys() -> dict[str, Ed25519PublicKey]:
    """Return the vendor's public keys that ship with the product, by key id."""
    return _shipped()[0]


def faulty_vendor_keys() -> tuple[str, ...]:
    """Return the names of shipped files that are no public key: licences signed with them are unknown."""
    return _shipped()[1]


@cache
def _shipped() -> tuple[dict[str, Ed25519PublicKey], tuple[str, ...]]:
    return signed_text.keys_in(Path(settings.LICENSE_VENDOR_KEYS))


def sign(license_: License, key: Ed25519PrivateKey, key_id: str) -> str:
    """Return the text of a licence file."""
    claims = {name: value for name, value in asdict(license_).items() if name not in ("other", "key_id")}
    claims |= {name: _written(claims[name]) for name in ("issued_at", "not_before", "expires_at")}
    payload = json.dumps({"format": FORMAT, **license_.other, **claims}, ensure_ascii=False)
    return signed_text.sign(payload.encode(), key, key_id, "booster-license")


def read(data: bytes, keys: Mapping[str, Ed25519PublicKey]) -> License:
    """Return the licence in a file after checking its signature; raises LicenseRefused.

    Nothing in the file is believed before its signature is, apart from the id of the key to check it
    with. One line end after the text does not matter; any other change does.
    """
    if len(data) > LARGEST_FILE:
        raise LicenseRefused("too_large", "The file has more than 64 KiB: it is not a licence.")
    try:
        payload, key_id = signed_text.read(data, keys)
    except signed_text.NotSigned as error:
        raise LicenseRefused("not_a_license", "The file is not a licence.") from error
    except signed_text.UnknownKey as error:
        known = f"known are {', '.join(keys)}" if keys else NO_KEYS
        raise LicenseRefused(
            "unknown_key", f"The licence is signed with the key {error.args[0][:40]!r}; {known}."
        ) from error
    except signed_text.WrongSignature as error:
        raise LicenseRefused("wrong_signature", "The signature does not fit: the file was altered.") from error
    try:
        return _license(json.loads(payload), key_id)
    except (ValueError, RecursionError) as error:
        raise LicenseRefused("not_a_license", f"The licence cannot be understood: {error}") from error


def _license(claims: Any, key_id: str) -> License:
    """Return the licence that signed claims describe; ValueError says what is wrong with them."""
    if not isinstance(claims, dict) or claims.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT}.")
    missing = [name for name in REQUIRED if name not in claims]
    if missing:
        raise ValueError(f"{missing[0]} is missing.")
    features = claims["features"]
    if not isinstance(features, list):
        raise ValueError("features is not a list.")
    return License(
        id=_text(claims["id"], "id"),
        customer=_text(claims["customer"], "customer"),
        type=_text(claims["type"], "type"),
        servers=None if claims["servers"] is None else _count(claims["servers"], "servers"),
        terminals=None if claims["terminals"] is None else _count(claims["terminals"], "terminals"),
        features=tuple(_text(feature, "features") for feature in features),
        issued_at=_moment(claims["issued_at"], "issued_at"),
        not_before=_moment(claims["not_before"], "not_before"),
        expires_at=None if claims["expires_at"] is None else _moment(claims["expires_at"], "expires_at"),
        grace_days=min(_count(claims["grace_days"], "grace_days"), 3650),
        installation=None if claims["installation"] is None else _text(claims["installation"], "installation"),
        other={name: value for name, value in claims.items() if name not in REQUIRED},
        key_id=key_id,
    )


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_TEXT or not value.isprintable():
        raise ValueError(f"{name} is not a text.")
    return value


def _count(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST:
        raise ValueError(f"{name} is not a count.")
    return value


def _moment(value: Any, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is not a time.") from error
    # What is far from any use would overflow once days are added to it.
    if moment.tzinfo is None or not 2000 <= moment.year <= 9000:  # noqa: PLR2004
        raise ValueError(f"{name} is not a time with its zone.")
    return moment.astimezone(UTC)


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
