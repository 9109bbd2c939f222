"""The public keys that mobile servers sign logins with, and the logins that ended early."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from organizations.models import Organization

KEY_ID_LENGTH = 43
LONGEST_LOGIN_ID = 64


class ServerSigningKey(models.Model):
    """The public half of a server's Ed25519 key; the private half never leaves the server's host.

    Written by `servers.signing_keys` alone, and never deleted with the key's end: a key that ended stays ended.
    """

    server = models.ForeignKey("servers.MobileServer", on_delete=models.CASCADE, related_name="signing_keys")
    key_id = models.CharField(max_length=KEY_ID_LENGTH, unique=True, help_text="RFC 7638 thumbprint of the key.")
    public = models.CharField(max_length=KEY_ID_LENGTH, help_text="Member x of its JWK.")
    registered_at = models.DateTimeField()
    registered_by = models.CharField(max_length=150)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["server", "-registered_at", "-pk"]
        verbose_name = "signing key"

    def __str__(self) -> str:
        return self.key_id

    @property
    def jwk(self) -> dict[str, str]:
        return {"kty": "OKP", "crv": "Ed25519", "x": self.public, "kid": self.key_id, "alg": "EdDSA", "use": "sig"}


class RevokedLogin(models.Model):
    """A login token of a client's user that was ended before its age ended it."""

    client = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    login_id = models.CharField(max_length=LONGEST_LOGIN_ID, help_text="The token's jti.")
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["client", "login_id"], name="revoked_login_once_per_client")
        ]

    def __str__(self) -> str:
        return self.login_id
