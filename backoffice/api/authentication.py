"""Whose credential opens which door.

Credentials have kinds (`user`, `terminal`, …); each door names the kind it accepts. A valid credential
of another kind is told 403, so that its bearer knows it is not the credential that is wrong; anything
else is told 401. Design, sections 1 and 6.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, CSRFCheck
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from accounts.models import User, UserToken
from accounts.tokens import find_user_token, note_use
from backoffice.addresses import client_address, counted_as
from backoffice.credentials import Credential, parse_credential
from backoffice.rate_limits import Limit
from backoffice.refusals import Forbidden, Unauthenticated

Verifier = Callable[[Credential, datetime], Any]
_verifiers: dict[str, Verifier] = {}

FAILURES = Limit("failed-credentials", 100, 15 * 60, "Too many wrong credentials came from this address.")


class OtherDoor(Forbidden):
    type = "/problems/other-kind-of-credential"
    title = "This credential is for another door"


class ReadOnlyCredential(Forbidden):
    type = "/problems/read-only-token"
    title = "This token only reads"


class CsrfFailed(Forbidden):
    type = "/problems/csrf"
    title = "A write from a browser session needs its CSRF token"


def register_kind(kind: str, verifier: Verifier) -> None:
    """Make credentials of `kind` known: `verifier` returns whom one belongs to, or None."""
    _verifiers[kind] = verifier


register_kind(UserToken.KIND, find_user_token)


def count_failure(address: str, moment: datetime) -> None:
    """Count a failed check against `address`; raises TooManyAttempts once there were too many.

    Called only after a check has failed, so that a valid credential is never refused because
    of others behind the same address.
    """
    FAILURES.count(counted_as(address), moment)


class BearerAuthentication(BaseAuthentication):
    """Accept `Authorization: Bearer bst_<kind>_…` of one kind; `request.auth` is what its verifier returned.

    Without the header the next class is asked. Raises Unauthenticated, OtherDoor or TooManyAttempts.
    """

    kind: ClassVar[str]

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser | AnonymousUser, Any] | None:
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header:
            return None
        moment = timezone.now()
        scheme, _, text = header.partition(" ")
        credential = parse_credential(text.strip()) if scheme.lower() == "bearer" else None
        principal = self.find(credential, moment) if credential else None
        if credential is None or principal is None:
            count_failure(client_address(request._request), moment)
            raise Unauthenticated("The credential is missing, malformed, unknown or no longer valid.")
        if credential.kind != self.kind:
            raise OtherDoor(f"A {credential.kind} token does not open this door.")
        self.admit(principal, request, moment)
        return self.user_of(principal), principal

    def find(self, credential: Credential, moment: datetime) -> Any:
        """Return whom a credential of any kind belongs to, or None."""
        verifier = _verifiers.get(credential.kind)
        return verifier(credential, moment) if verifier else None

    def admit(self, principal: Any, request: Request, moment: datetime) -> None:
        """Refuse a valid credential for a reason of its own kind."""

    def user_of(self, principal: Any) -> AbstractBaseUser | AnonymousUser:
        """Return the person on whose behalf the credential acts, if there is one."""
        return AnonymousUser()

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class UserTokenAuthentication(BearerAuthentication):
    """Tokens of users: they may what their user may, or only read."""

    kind = UserToken.KIND

    def admit(self, principal: UserToken, request: Request, moment: datetime) -> None:
        if principal.is_read_only and request.method not in SAFE_METHODS:
            raise ReadOnlyCredential("This token only reads.")
        note_use(principal, moment)

    def user_of(self, principal: UserToken) -> User:
        return principal.user


class BrowserSessionAuthentication(BaseAuthentication):
    """The windows' session, for pages that call the API; writes need the CSRF token."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        user = getattr(request._request, "user", None)
        if not isinstance(user, User) or not user.is_active:
            return None
        check = CSRFCheck(lambda _: None)  # type: ignore[arg-type]
        check.process_request(request._request)
        reason = check.process_view(request._request, lambda: None, (), {})  # type: ignore[arg-type, return-value]
        if reason:
            raise CsrfFailed(f"The CSRF check failed: {reason}")
        return user, None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"
