"""The people and programs that configure the back office, and their tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser
from django.db import models

from backoffice.credentials import DIGEST_LENGTH, ID_LENGTH

# Modules and services belong to no organization: a change re-routes the tills of all.
CHANGES_WHAT_ALL_SHARE = frozenset(
    f"services.{action}_{model}" for action in ("add", "change", "delete") for model in ("module", "mobileservice")
)


class User(AbstractUser):
    """A person, or a program with tokens of its own."""

    organizations = models.ManyToManyField(
        "organizations.Organization",
        blank=True,
        related_name="users",
        help_text="Sees and edits these and what lies below them. Empty: everything for system "
        "administrators and read-only users, nothing for store operators.",
    )
    must_change_password = models.BooleanField(
        default=False, help_text="The next login must choose a new password before anything else."
    )

    class Meta(AbstractUser.Meta):
        permissions = [
            ("see_all_organizations", "Sees every organization unless limited to some"),
        ]

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        """Tell whether the user has a right; who is limited to some organizations changes nothing all share."""
        if not super().has_perm(perm, obj):
            return False
        return perm not in CHANGES_WHAT_ALL_SHARE or self.is_superuser or not self.organizations.exists()


class UserTokenQuerySet(models.QuerySet["UserToken"]):
    def valid(self, moment: datetime) -> UserTokenQuerySet:
        return self.filter(
            models.Q(expires_at__isnull=True) | models.Q(expires_at__gt=moment),
            revoked_at__isnull=True,
            user__is_active=True,
        )


class UserToken(models.Model):
    """A bearer token of a user for the REST API, shown once when it is made."""

    KIND = "user"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=60, blank=True, help_text="What uses it.")
    token_id = models.CharField(max_length=ID_LENGTH, unique=True, editable=False)
    digest = models.CharField(max_length=DIGEST_LENGTH, editable=False)
    is_read_only = models.BooleanField("read-only", default=False, help_text="Refuses every write.")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: valid until revoked.")
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = UserTokenQuerySet.as_manager()

    class Meta:
        ordering: ClassVar[list[str]] = ["-created_at"]
        verbose_name = "user token"

    def __str__(self) -> str:
        return f"bst_user_{self.token_id}"
