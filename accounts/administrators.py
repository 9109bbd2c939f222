"""Making administrators, and getting back in, from the command line."""

from __future__ import annotations

import secrets

from axes.utils import reset as forget_failed_logins
from django.contrib.auth.password_validation import validate_password
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from backoffice.refusals import Conflict
from events.log import record

RESET_USERNAME = RESET_PASSWORD = "admin"  # noqa: S105 - what the manual promises; the first login replaces it


class UserExists(Conflict):
    type = "/problems/user-exists"
    title = "There is such a user already"


def one_time_password() -> str:
    """Return a password to be printed once and replaced at the first login."""
    return secrets.token_urlsafe(12)


@transaction.atomic
def create_administrator(username: str, password: str, *, must_change_password: bool) -> User:
    """Make a superuser; UserExists when the name is taken, ValidationError for a bad name or password."""
    if User.objects.filter(username=username).exists():
        raise UserExists(f"There is a user {username} already.")
    user = User(username=username, is_staff=True, is_superuser=True, must_change_password=must_change_password)
    user.full_clean(exclude=["password"])
    validate_password(password, user)
    user.set_password(password)
    user.save()
    record("administrator-created", moment=timezone.now(), object_type="user", object_key=username)
    return user


@transaction.atomic
def reset_administrator() -> bool:
    """Give the user admin the password admin, to be changed at the first login; tell whether it is new.

    The user is made if missing and activated if inactive, and its failed logins are forgotten.
    Source: reference/omnileads, OML-50.
    """
    user, is_new = User.objects.get_or_create(
        username=RESET_USERNAME, defaults={"is_staff": True, "is_superuser": True}
    )
    user.set_password(RESET_PASSWORD)
    user.must_change_password = user.is_active = True
    user.save(update_fields=["password", "must_change_password", "is_active"])
    forget_failed_logins(username=RESET_USERNAME)
    record("password-reset", moment=timezone.now(), object_type="user", object_key=RESET_USERNAME)
    return is_new
