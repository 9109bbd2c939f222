"""How a rule says no.

A rule raises its own `Refusal`; whoever called it decides how that looks: the API makes an RFC 9457
problem of it, a form a message, a command one line and an exit status.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one member of a request: `pointer` is an RFC 6901 JSON pointer."""

    pointer: str
    code: str
    detail: str


class Refusal(Exception):
    """A request that a rule refuses; subclasses name the problem type, title and HTTP status."""

    type: ClassVar[str] = "/problems/refused"
    title: ClassVar[str] = "The request was refused"
    status: ClassVar[int] = 400

    def __init__(self, detail: str, *, errors: Sequence[FieldError] = (), retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after_s = retry_after_s


class Invalid(Refusal):
    """Values that can never be accepted, whatever the present state is."""

    type = "/problems/invalid"
    title = "The request is not valid"


class Conflict(Refusal):
    """A request that the present state of the object does not allow."""

    type = "/problems/conflict"
    title = "The present state does not allow this"
    status = 409


class Unauthenticated(Refusal):
    """A credential that is missing, malformed or unknown."""

    type = "/problems/not-authenticated"
    title = "A valid credential is required"
    status = 401


class Forbidden(Refusal):
    """A valid credential that does not open this door."""

    type = "/problems/forbidden"
    title = "This credential does not allow this"
    status = 403


class Gone(Refusal):
    """Something that was valid and will not be again; trying again is pointless."""

    type = "/problems/gone"
    title = "No longer valid"
    status = 410


class TooManyAttempts(Refusal):
    """Too many failures in a short time; `retry_after_s` tells when the next attempt counts."""

    type = "/problems/too-many-attempts"
    title = "Too many attempts"
    status = 429


class Unavailable(Refusal):
    """Something this answer needs is away for the moment."""

    type = "/problems/unavailable"
    title = "Temporarily unavailable"
    status = 503


def describe_blockers(protected: object) -> str:
    """Return, for people, how many objects of which kind block a deletion, naming some of each."""
    by_kind: dict[str, list[str]] = {}
    for blocker in protected:  # type: ignore[attr-defined]
        by_kind.setdefault(str(blocker._meta.verbose_name), []).append(str(blocker))
    shown = 3
    parts = []
    for kind, names in sorted(by_kind.items()):
        listed = ", ".join(sorted(names)[:shown]) + (", …" if len(names) > shown else "")
        parts.append(f"{len(names)} {kind}{'s' if len(names) > 1 else ''} ({listed})")
    return "it is still used by " + " and ".join(parts)
