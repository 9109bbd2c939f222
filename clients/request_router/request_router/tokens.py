"""Logins that every server of a client knows: issued with one's own key, checked with the key set and no network."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from request_router.key_set import KeySet

TYPE = "booster-login+jwt"
ALGORITHM = "EdDSA"
CLOCK_SKEW = timedelta(seconds=60)
TEXTS = ("iss", "sub", "client", "org", "role", "terminal", "jti")


class LoginRefused(Exception):
    """A token that says nothing of who is calling; the text says why."""


class TokenTooOld(LoginRefused):
    """A token older than the preference Authentication Token Max Age."""


@dataclass(frozen=True, slots=True)
class KnownUser:
    """Who is logged in, where that was checked, and until when it counts."""

    issuer: str
    user: str
    client: str
    organization: str
    role: str
    terminal: str
    login_id: str
    expires_at: datetime


def issue(
    key: Ed25519PrivateKey,
    key_id: str,
    moment: datetime,
    *,
    issuer: str,
    user: str,
    client: str,
    organization: str,
    role: str,
    terminal: str,
) -> str:
    """Return the token of a user whose password this server has just checked; `issuer` is the mobile server key."""
    claims = {
        "iss": issuer,
        "sub": user,
        "client": client,
        "org": organization,
        "role": role,
        "terminal": terminal,
        "iat": round(moment.timestamp(), 3),
        "jti": secrets.token_urlsafe(16),
    }
    return jwt.encode(claims, key, ALGORITHM, {"typ": TYPE, "kid": key_id})


def check_token_age(issued_at: datetime, moment: datetime, *, max_age_ms: int) -> None:
    """Reject a token older than `max_age_ms`, or issued more than 60 s in the future.

    Exactly these still pass. Raises TokenTooOld, LoginRefused. Source: rule N16.
    """
    if moment - issued_at > timedelta(milliseconds=max_age_ms):
        raise TokenTooOld(f"The login is older than {max_age_ms} ms.")
    if issued_at - moment > CLOCK_SKEW:
        raise LoginRefused("The login lies in the future: compare the clocks.")


def verify(token: str, key_set: KeySet, moment: datetime) -> KnownUser:
    """Return whom a colleague's token names, or raise LoginRefused. Needs no network."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise LoginRefused("This is no login token.") from None
    if header.get("alg") != ALGORITHM or header.get("typ") != TYPE:
        raise LoginRefused("This is no login token.")
    issuer, key = key_set.keys.get(str(header.get("kid")), ("", None))
    if key is None:
        raise LoginRefused("The login is signed with a key that is not known here.")
    try:
        # Its age is judged below, by the moment given.
        claims = json.loads(jwt.PyJWS().decode(token, key, algorithms=[ALGORITHM]))
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise LoginRefused("The login's signature does not fit.") from None
    if not isinstance(claims, dict):
        raise LoginRefused("The login lacks what it must say.")
    return _user_of(claims, issuer, key_set, moment)


def _user_of(claims: dict[str, Any], issuer: str, key_set: KeySet, moment: datetime) -> KnownUser:
    issued = claims.get("iat")
    if not all(isinstance(claims.get(name), str) for name in TEXTS) or not isinstance(issued, int | float):
        raise LoginRefused("The login lacks what it must say.")
    if claims["iss"] != issuer:
        raise LoginRefused("The login is signed with another server's key.")
    if claims["client"] != key_set.client:
        raise LoginRefused("The login is another client's.")
    try:
        issued_at = datetime.fromtimestamp(0, moment.tzinfo) + timedelta(milliseconds=round(issued * 1000))
        expires_at = issued_at + timedelta(milliseconds=key_set.token_max_age_ms)
    except (ValueError, OverflowError):
        raise LoginRefused("The login lacks what it must say.") from None
    check_token_age(issued_at, moment, max_age_ms=key_set.token_max_age_ms)
    if claims["jti"] in key_set.revoked:
        raise LoginRefused("The user has logged out.")
    issuer, user, client, organization, role, terminal, login_id = (claims[name] for name in TEXTS)
    return KnownUser(issuer, user, client, organization, role, terminal, login_id, expires_at)
