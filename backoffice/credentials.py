"""The opaque credentials of terminals, servers and users: `bst_<kind>_<id>.<secret>`.

The text is shown once. Stored is the id, which finds the row, and a keyed digest of the secret, so
that neither a stolen database nor a timing difference gives a credential away. Design, section 6.
"""

import base64
import hmac
import re
import secrets
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

ID_LENGTH = 16
DIGEST_LENGTH = 64
_TEXT = re.compile(r"bst_(?P<kind>[a-z]+)_(?P<id>[a-z0-9]{16})\.(?P<secret>[A-Za-z0-9_-]{43})", re.ASCII)
_SECRET_IN_TEXT = re.compile(r"(bst_[a-z]+_[a-z0-9]{16}\.)[A-Za-z0-9_-]+")
_ID_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential as its caller presents it; the secret never shows in a repr."""

    kind: str
    id: str
    secret: str = field(repr=False)

    @property
    def text(self) -> str:
        return f"bst_{self.kind}_{self.id}.{self.secret}"

    @property
    def digest(self) -> str:
        return digest(self.secret)


def make_credential(kind: str) -> Credential:
    """Return a fresh credential with 256 bits of secret."""
    identifier = "".join(secrets.choice(_ID_ALPHABET) for _ in range(ID_LENGTH))
    return Credential(kind=kind, id=identifier, secret=secrets.token_urlsafe(32))


def derived_credential(kind: str, identifier: str, purpose: str) -> Credential:
    """Return the credential with that id whose secret follows from the digests' key: the same each time.

    For tokens that must be shown again until they are first used; whoever lacks the key cannot derive one.
    """
    raw = hmac.digest(settings.TOKEN_DIGEST_KEY.encode(), f"{purpose}:{kind}:{identifier}".encode(), "sha256")
    return Credential(kind=kind, id=identifier, secret=base64.urlsafe_b64encode(raw).rstrip(b"=").decode())


def parse_credential(text: str) -> Credential | None:
    """Return the credential that `text` spells, or None when it is malformed."""
    match = _TEXT.fullmatch(text)
    return Credential(**match.groupdict()) if match else None


def digest(secret: str) -> str:
    """Return the keyed digest (HMAC-SHA-256, hex) that is stored in place of `secret`."""
    return hmac.digest(settings.TOKEN_DIGEST_KEY.encode(), secret.encode(), "sha256").hex()


def is_secret(secret: str, stored_digest: str) -> bool:
    """Tell, in constant time, whether `stored_digest` was made from `secret`."""
    return hmac.compare_digest(digest(secret), stored_digest)


def without_secrets(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Cut the secret out of every credential in a log line, such as one sent in a query by mistake."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = _SECRET_IN_TEXT.sub(r"\1…", value)
    return event
