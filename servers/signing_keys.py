"""Whose logins the servers of a client believe: their public keys, and the logins that were ended (design 6)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.db import transaction

from backoffice.refusals import Conflict, FieldError, Invalid
from events.log import record
from servers.key_models import RevokedLogin, ServerSigningKey
from servers.models import MobileServer

if TYPE_CHECKING:
    from accounts.models import User

FORMAT = 1
MOST_LIVE_KEYS = 3
"""A rotation needs two; registering one more ends the oldest."""
LONGEST_REVOCATION = timedelta(days=366)


def thumbprint(public: str) -> str:
    """Return the RFC 7638 thumbprint of the Ed25519 key with this `x`: the key's id."""
    spelled = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": public}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(spelled.encode()).digest()).rstrip(b"=").decode()


def read_public_jwk(jwk: Mapping[str, Any]) -> str:
    """Return member `x` of a public Ed25519 JWK; raises Invalid, also for a private key and for another's `kid`."""
    if "d" in jwk:
        raise _wrong("private", "This is a private key. Keep it on its host, and register its public half.")
    if jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519" or jwk.get("alg", "EdDSA") != "EdDSA":
        raise _wrong("kind", "Only Ed25519 keys (kty OKP, crv Ed25519) are taken.")
    public = jwk.get("x")
    try:
        raw = base64.urlsafe_b64decode(f"{public}=") if isinstance(public, str) and public.isascii() else b""
        Ed25519PublicKey.from_public_bytes(raw)
    except (ValueError, binascii.Error):
        raise _wrong("x", "x must be the 32 bytes of the public key in base64url.") from None
    spelled = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    if spelled != public:
        raise _wrong("x", "x must be the 32 bytes of the public key in base64url.")
    if jwk.get("kid", thumbprint(spelled)) != thumbprint(spelled):
        raise _wrong("kid", f"kid must be the key's RFC 7638 thumbprint, {thumbprint(spelled)}, or be left out.")
    return spelled


def _wrong(code: str, detail: str) -> Invalid:
    return Invalid(detail, errors=[FieldError("/jwk", code, detail)])


def register_key(
    server_id: int, jwk: Mapping[str, Any], moment: datetime, *, actor: User | None = None, actor_name: str = ""
) -> tuple[ServerSigningKey, bool]:
    """Register a public key of a server; return it and whether it is new. The same key again changes nothing.

    The oldest live keys beyond three end with it. Raises Invalid for what is no public Ed25519 key, Conflict
    for one that has ended or is another server's, MobileServer.DoesNotExist.
    """
    public = read_public_jwk(jwk)
    key_id = thumbprint(public)
    with transaction.atomic():
        server = MobileServer.objects.select_for_update().get(pk=server_id)
        # Two servers that register the same key at once are parted by the constraint: one of them reads it here.
        key, is_new = ServerSigningKey.objects.get_or_create(
            key_id=key_id,
            defaults={
                "server": server,
                "public": public,
                "registered_at": moment,
                "registered_by": (actor_name or (actor.get_username() if actor else "command line"))[:150],
            },
        )
        if key.server_id != server.pk:
            raise Conflict("This key belongs to another server. Every server needs its own.")
        if key.ended_at is not None:
            raise Conflict("This key has ended, and cannot be used again. Make another.")
        if is_new:
            live = server.signing_keys.filter(ended_at=None).order_by("-registered_at", "-pk")
            ended = list(live.values_list("key_id", flat=True)[MOST_LIVE_KEYS:])
            ServerSigningKey.objects.filter(key_id__in=ended).update(ended_at=moment)
            _tell("signing-key-registered", server, moment, actor, actor_name, key_id=key_id, ended=ended)
    return key, is_new


def end_key(key_id: str, moment: datetime, *, actor: User | None = None, actor_name: str = "") -> bool:
    """Let nobody believe a key from the next reading of the key set on; False if it had ended before.

    Raises ServerSigningKey.DoesNotExist.
    """
    with transaction.atomic():
        key = ServerSigningKey.objects.select_for_update(of=("self",)).select_related("server").get(key_id=key_id)
        if key.ended_at is not None:
            return False
        key.ended_at = moment
        key.save(update_fields=["ended_at"])
        _tell("signing-key-ended", key.server, moment, actor, actor_name, key_id=key_id)
    return True


def _tell(kind: str, server: MobileServer, moment: datetime, actor: User | None, actor_name: str, **data: Any) -> None:
    record(
        kind,
        moment=moment,
        object_type="server",
        object_key=server.key,
        actor=actor,
        actor_name=actor_name,
        **data,
    )


def revoke_login(server: MobileServer, login_id: str, expires_at: datetime, moment: datetime) -> None:
    """Let no server of the client accept a login any more; those that have expired since are forgotten.

    Safe to repeat. Kept for at most 366 days.
    """
    until = min(expires_at, moment + LONGEST_REVOCATION)
    with transaction.atomic():
        RevokedLogin.objects.filter(client_id=server.client_id, expires_at__lte=moment).delete()
        if until <= moment:
            return
        _, is_new = RevokedLogin.objects.get_or_create(
            client_id=server.client_id, login_id=login_id, defaults={"expires_at": until}
        )
        if is_new:
            _tell("login-revoked", server, moment, None, server.key)


def live_keys(client_id: int) -> list[ServerSigningKey]:
    """Return the keys that the servers of a client are believed by: one query, by server's key, newest first."""
    keys = ServerSigningKey.objects.filter(server__client=client_id, server__is_active=True, ended_at=None)
    return list(keys.select_related("server").order_by("server__key", "-registered_at", "-pk"))


def key_set(client_id: int, client_code: str, token_max_age_ms: int, moment: datetime) -> dict[str, Any]:
    """Return what a server checks its colleagues' logins with; two queries. See docs/login.md."""
    by_server: dict[str, list[dict[str, str]]] = {}
    for key in live_keys(client_id):
        by_server.setdefault(key.server.key, []).append(key.jwk)
    revoked = RevokedLogin.objects.filter(client=client_id, expires_at__gt=moment).order_by("login_id")
    return {
        "format": FORMAT,
        "client": client_code,
        "token_max_age_ms": token_max_age_ms,
        "issuers": [{"server": server, "keys": keys} for server, keys in by_server.items()],
        "revoked": [
            {"jti": login.login_id, "expires_at": login.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")} for login in revoked
        ],
    }
