"""Tokens of devices: issued, rolled, found, ended. Terminals and agents have one kind each.

A token that was replaced stays valid until its successor is first used, at most 10 minutes, so that an
answer lost on the line locks nobody out. Design, section 6.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Coalesce

from backoffice.credentials import DIGEST_LENGTH, ID_LENGTH, Credential, make_credential

REPLACED_VALID_FOR = timedelta(minutes=10)


class RollingToken(models.Model):
    """A device's token: the id, a keyed digest of the secret, and how it ends.

    Rows of ended tokens stay, so that their bearer can be told "revoked" and not "unknown".
    """

    KIND: ClassVar[str]
    OWNER: ClassVar[str]
    """Name of the foreign key to the device."""

    token_id = models.CharField(max_length=ID_LENGTH, unique=True)
    digest = models.CharField(max_length=DIGEST_LENGTH)
    created_at = models.DateTimeField()
    first_used_at = models.DateTimeField(null=True)
    replaced_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True
        ordering: ClassVar[list[str]] = ["-created_at"]

    def __str__(self) -> str:
        return f"bst_{self.KIND}_{self.token_id}"

    def is_valid(self, moment: datetime) -> bool:
        return self.revoked_at is None and not is_outlived(self.replaced_at, moment)


def is_outlived(replaced_at: datetime | None, moment: datetime) -> bool:
    """Tell whether a token that was replaced at that time has ended by now."""
    return replaced_at is not None and moment - replaced_at > REPLACED_VALID_FOR


def issue(tokens: Any, moment: datetime, credential: Credential | None = None) -> Credential:
    """Give a device a new token, replacing those it has; its row must be locked by the caller.

    `tokens` is the device's related manager; without a `credential` a fresh one is made. Its text is to be
    shown once and then forgotten.
    """
    credential = credential or make_credential(tokens.model.KIND)
    tokens.filter(revoked_at__isnull=True).update(replaced_at=Coalesce("replaced_at", moment))
    tokens.create(token_id=credential.id, digest=credential.digest, created_at=moment)
    return credential


def note_first_use(model: type[RollingToken], token_pk: int, moment: datetime) -> None:
    """Keep that a token was used for the first time, and end the older ones it replaced.

    The device must be locked by the caller, as for `issue`: both write several of its tokens.
    """
    tokens = model._default_manager
    with transaction.atomic():
        if tokens.filter(pk=token_pk, first_used_at__isnull=True).update(first_used_at=moment):
            owner = tokens.values_list(model.OWNER, flat=True).get(pk=token_pk)
            tokens.filter(
                Q(replaced_at__isnull=False), **{model.OWNER: owner}, pk__lt=token_pk, revoked_at__isnull=True
            ).update(revoked_at=moment)


def revoke(tokens: Any, moment: datetime) -> int:
    """End every token of a device at once; return how many had not ended before."""
    return int(tokens.filter(revoked_at__isnull=True).update(revoked_at=moment))
