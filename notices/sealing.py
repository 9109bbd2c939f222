"""Secrets that must be read again, and so cannot be stored as a digest: encrypted with the installation's key."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

PURPOSE = b"booster notice channel secret v1"


class Unsealable(Exception):
    """What is stored was sealed with another key, or altered."""


@lru_cache(maxsize=2)
def _fernet(key: str) -> Fernet:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE).derive(key.encode())
    return Fernet(urlsafe_b64encode(derived))


def seal(text: str) -> str:
    """Return `text` encrypted with a key made from TOKEN_DIGEST_KEY, which is the same on every node."""
    return _fernet(settings.TOKEN_DIGEST_KEY).encrypt(text.encode()).decode()


def unseal(sealed: str) -> str:
    """Return what was sealed; raises Unsealable when TOKEN_DIGEST_KEY has changed since."""
    try:
        return _fernet(settings.TOKEN_DIGEST_KEY).decrypt(sealed.encode()).decode()
    except InvalidToken as error:
        raise Unsealable("It was stored with another TOKEN_DIGEST_KEY.") from error
