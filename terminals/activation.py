"""Activation: an administrator makes a one-time code, the terminal trades it for its token."""

from __future__ import annotations

import hmac
import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import segno
from django.conf import settings
from django.db import connection, transaction

from backoffice.addresses import counted_as
from backoffice.credentials import digest
from backoffice.refusals import Conflict, FieldError, Gone, Invalid, TooManyAttempts, Unauthenticated
from events.log import record
from terminals.models import ActivationCode, FailedActivation, Terminal, TerminalReport
from terminals.tokens import OrganizationInactive, TerminalInactive, issue_token
from terminals.writing import terminal_write

if TYPE_CHECKING:
    from accounts.models import User

CODE_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # nothing that reads like something else
CODE_LENGTH = 12
CODE_GROUP = 4
DEFAULT_VALIDITY = timedelta(days=1)
SHORTEST_VALIDITY, LONGEST_VALIDITY = timedelta(minutes=1), timedelta(days=30)

LIMIT_WINDOW = timedelta(minutes=15)
WRONG_CODES_PER_TERMINAL = 10
WRONG_CODES_PER_ADDRESS = 100
ACTIVATION_TERMINAL_LOCK, ACTIVATION_ADDRESS_LOCK = 0x0B06, 0x0B07


class WrongActivation(Unauthenticated):
    type = "/problems/activation-refused"
    title = "Unknown terminal or wrong code"


class ActivationCodeUsed(Conflict):
    type = "/problems/activation-code-used"
    title = "This activation code was used already"


class ActivationExpired(Gone):
    type = "/problems/activation-expired"
    title = "This activation code has expired"


@dataclass(frozen=True, slots=True)
class IssuedCode:
    """An activation code, shown once: as text in groups of four, and as a QR code (SVG data URI).

    The QR code spells `{"terminal": …, "code": …, "boosters": […]}`.
    """

    code: str = field(repr=False)
    expires_at: datetime
    qr: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Activated:
    """What a terminal gets for its code."""

    token: str = field(repr=False)
    terminal: str
    organization: str


def create_activation_code(
    terminal: Terminal,
    *,
    moment: datetime,
    valid_for: timedelta = DEFAULT_VALIDITY,
    actor: User | None = None,
) -> IssuedCode:
    """Make a one-time code for a terminal; older unused codes stop being valid.

    Raises Invalid for a validity below one minute or above 30 days.
    """
    if not SHORTEST_VALIDITY <= valid_for <= LONGEST_VALIDITY:
        shortest, longest = int(SHORTEST_VALIDITY.total_seconds()), int(LONGEST_VALIDITY.total_seconds())
        message = f"A code is valid for {shortest} to {longest} seconds."
        raise Invalid(message, errors=[FieldError("/valid_for_s", "out_of_range", message)])
    text = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
    code = "-".join(text[start : start + CODE_GROUP] for start in range(0, CODE_LENGTH, CODE_GROUP))
    with terminal_write():
        locked = Terminal.objects.select_for_update().get(pk=terminal.pk)
        locked.activation_codes.filter(used_at__isnull=True, voided_at__isnull=True).update(voided_at=moment)
        made = locked.activation_codes.create(digest=digest(text), created_at=moment, expires_at=moment + valid_for)
        record(
            "activation-code-made",
            moment=moment,
            object_type="terminal",
            object_key=locked.search_key,
            actor=actor,
            expires_at=made.expires_at.isoformat(),
        )
    content = {"terminal": locked.search_key, "code": code, "boosters": settings.BOOSTER_PUBLIC_URLS}
    qr = segno.make(json.dumps(content, ensure_ascii=False, separators=(",", ":")), error="m", micro=False)
    return IssuedCode(code=code, expires_at=made.expires_at, qr=qr.svg_data_uri(scale=4, dark="black", light="white"))


def normal_code(text: str) -> str:
    """Return a code as it was made, whatever case, blanks and dashes a person typed."""
    return "".join(character for character in text.upper() if character not in " -\t")


def activate(terminal_key: str, code: str, software: str, *, moment: datetime, address: str) -> Activated:
    """Trade an activation code for the terminal's token, which is shown this once.

    Tokens the terminal already has are replaced. Raises WrongActivation for an unknown terminal, a
    wrong or a voided code alike; ActivationCodeUsed; ActivationExpired; TerminalInactive and
    OrganizationInactive; TooManyAttempts after 10 wrong codes for the terminal or 100 from the
    address within 15 minutes (successes do not count).
    """
    terminal_key = terminal_key[:40]
    source = counted_as(address)[:45]
    _check_limits(terminal_key, moment, source)  # and again in turn: whoever is over the limit need not wait for it
    presented = digest(normal_code(code))
    with transaction.atomic():
        _take_turns(terminal_key, source)
        _check_limits(terminal_key, moment, source)
        if _find_code(terminal_key, presented) is not None:  # a wrong code need not wait for other writers
            with terminal_write():
                found = _find_code(terminal_key, presented)  # it may have been voided while we waited
                if found is not None:
                    return _trade(found, software, moment)
        FailedActivation.objects.create(at=moment, terminal_key=terminal_key, address=source)
        record(
            "activation-refused",
            moment=moment,
            object_type="terminal",
            object_key=terminal_key,
            cause="unknown terminal or wrong code",
            address=address,
        )
    # Outside the transaction: a refused attempt must be counted, not rolled back.
    raise WrongActivation("There is no such terminal, or the activation code is wrong.")


def _find_code(terminal_key: str, presented: str) -> ActivationCode | None:
    """Return the terminal's code with that digest, compared in constant time; voided ones are wrong."""
    codes = ActivationCode.objects.filter(terminal__search_key=terminal_key, voided_at__isnull=True)
    codes = codes.select_related("terminal__organization")
    matching = [code for code in codes if hmac.compare_digest(code.digest, presented)]
    return matching[0] if matching else None


def _trade(code: ActivationCode, software: str, moment: datetime) -> Activated:
    terminal = code.terminal
    if code.used_at is not None:
        raise ActivationCodeUsed("The activation code was used already. Ask for a new one.")
    if moment > code.expires_at:
        raise ActivationExpired(f"The activation code expired at {code.expires_at:%Y-%m-%d %H:%M:%S} UTC.")
    if not terminal.is_active:
        raise TerminalInactive(f"Terminal {terminal.search_key} is not active.")
    if not terminal.organization.is_active:
        raise OrganizationInactive(f"The store of terminal {terminal.search_key} is not active.")
    code.used_at = moment
    code.save(update_fields=["used_at"])
    credential = issue_token(terminal, moment)
    terminal.activated_at = moment
    terminal.save(update_fields=["activated_at"])
    TerminalReport.objects.update_or_create(terminal=terminal, defaults={"software": software})
    record(
        "terminal-activated",
        moment=moment,
        object_type="terminal",
        object_key=terminal.search_key,
        actor_name=terminal.search_key,
        software=software,
    )
    return Activated(token=credential.text, terminal=terminal.search_key, organization=terminal.organization.code)


def _take_turns(terminal_key: str, source: str) -> None:
    """Let one attempt per terminal and per address at a time be checked and counted.

    Attempts sent together would otherwise all be checked before the first of them counts. SQLite has
    one writer anyway. Always the terminal first, so that two attempts never wait for each other.
    """
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        for lock, text in ((ACTIVATION_TERMINAL_LOCK, terminal_key), (ACTIVATION_ADDRESS_LOCK, source)):
            cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (lock, text))


def _check_limits(terminal_key: str, moment: datetime, source: str) -> None:
    since = moment - LIMIT_WINDOW
    for condition, limit in (
        ({"terminal_key": terminal_key}, WRONG_CODES_PER_TERMINAL),
        ({"address": source}, WRONG_CODES_PER_ADDRESS),
    ):
        failures = FailedActivation.objects.filter(at__gt=since, **condition).order_by("-at")
        times = list(failures.values_list("at", flat=True)[:limit])
        if len(times) == limit:
            wait = times[-1] + LIMIT_WINDOW - moment
            raise TooManyAttempts(
                "Too many wrong activation codes. Wait before the next attempt.",
                retry_after_s=max(1, int(wait.total_seconds()) + 1),
            )


def prune_failed_activations(moment: datetime) -> int:
    """Delete what the limits no longer count; return how many rows went."""
    return FailedActivation.objects.filter(at__lte=moment - LIMIT_WINDOW).delete()[0]
