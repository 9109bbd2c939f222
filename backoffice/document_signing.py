"""Signs terminals' documents, so that a copy which came another way can be told from a forged one.

The key is derived from SECRET_KEY: both nodes have the same, and nothing is stored. Design, section 9.
"""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import datetime
from functools import lru_cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings

from backoffice import signed_text

JWS_TYPE = "booster-document+jwt"
PURPOSE = b"booster: sign the documents of terminals"
KEY_ID_LENGTH = 16


@lru_cache(maxsize=4)
def _key(secret: str) -> Ed25519PrivateKey:
    seed = HKDF(hashes.SHA256(), 32, None, PURPOSE).derive(secret.encode())
    return Ed25519PrivateKey.from_private_bytes(seed)


@lru_cache(maxsize=4)
def _jwk(secret: str) -> dict[str, str]:
    public = _key(secret).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    key_id = hashlib.sha256(public).hexdigest()[:KEY_ID_LENGTH]
    text = base64.urlsafe_b64encode(public).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": text, "kid": key_id, "alg": "EdDSA", "use": "sig"}


def signing_keys() -> list[dict[str, str]]:
    """Return the public keys that check documents' signatures, as JWKs; the first is the one in use."""
    return [dict(_jwk(settings.SECRET_KEY))]


def sign_document(door: str, organization: str, revision: int, body: bytes, moment: datetime) -> str:
    """Return a document's signature: a compact JWS that says what it is, whose, and the SHA-256 of its bytes."""
    claims = {
        "door": door,
        "organization": organization,
        "revision": revision,
        "sha256": hashlib.sha256(body).hexdigest(),
        "iat": int(moment.timestamp()),
    }
    payload = json.dumps(claims, ensure_ascii=False, separators=(",", ":")).encode()
    return signed_text.sign(payload, _key(settings.SECRET_KEY), _jwk(settings.SECRET_KEY)["kid"], JWS_TYPE)
