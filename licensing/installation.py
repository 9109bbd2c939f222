"""The installation's licence: reading it, asking it, replacing it.

Nothing is kept in memory: one query tells the present state, so that what one process or node has
accepted is in force in every other at its next question. See docs/adr/0007.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import structlog
from django.db import connection, models, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from backoffice.refusals import Conflict, FieldError
from events.log import record
from events.models import Event
from licensing import rules
from licensing.files import License, LicenseRefused, read, vendor_keys
from licensing.models import THE_ONE, Installation
from licensing.rules import Action, Status, Stored, Trial, Unreadable, Usage
from licensing.usage import present_usage

if TYPE_CHECKING:
    from accounts.models import User

logger = structlog.get_logger(__name__)

NAMESPACE = UUID("0d5b1c5e-53b5-4b43-9d2b-9b6a3c1f7a10")
ACCEPTED, REFUSED, NOTICE = "license-accepted", "license-refused", "license-ends-soon"
LONGEST_NAME = 200


class LicenseLimit(Conflict):
    """Something that the present licence does not allow."""

    type = "/problems/license-limit"
    title = "The licence does not allow this"


class OlderLicense(Conflict):
    """A licence issued before the one it would replace: to be confirmed."""

    type = "/problems/license-older"
    title = "The licence is older than the present one"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the installation stands at `moment`: the later of the clock and of what was seen before."""

    installation_id: UUID
    present: Stored
    upcoming: Stored
    trial: Trial
    now: datetime
    highest: datetime

    @property
    def moment(self) -> datetime:
        return max(self.now, self.highest)

    @property
    def status(self) -> Status:
        return rules.state(self.present, self.upcoming, self.trial, self.moment)

    @property
    def days_left(self) -> int | None:
        return self.status.days_left(self.moment)

    @property
    def clock_warning(self) -> str:
        return rules.clock_warning(self.now, self.highest)


def standing(now: datetime | None = None) -> Standing:
    """Return where the installation stands, in one query."""
    return _standing(Installation.objects.filter(pk=THE_ONE).first() or _make(), now or timezone.now())


def _standing(row: Installation, now: datetime) -> Standing:
    return Standing(
        row.installation_id,
        _stored(row.license, str(row.installation_id)),
        _stored(row.next_license, str(row.installation_id)),
        Trial(row.trial_started_at),
        now,
        row.highest_moment,
    )


def _stored(text: str, installation_id: str) -> Stored:
    if not text:
        return None
    try:
        license_ = _read(text)
        _check_installation(license_, installation_id)
        return license_
    except LicenseRefused as refusal:
        return Unreadable(refusal.detail)


@lru_cache(maxsize=8)
def _read(text: str) -> License:
    return read(text.encode(), vendor_keys())


def _check_installation(license_: License, installation_id: str) -> None:
    if license_.installation not in (None, installation_id):
        raise LicenseRefused(
            "other_installation",
            f"The licence is for the installation {license_.installation}; this one is {installation_id}.",
        )


# --- The trial's start and the time, which nobody turns back ---


def witnesses() -> tuple[datetime, datetime]:
    """Return the first start, and the latest moment that facts beside the installation's row tell of.

    The first migration is applied when the first node first starts, and its row cannot be deleted
    without the next start failing over tables that exist already. Other facts are no witness of the
    start: one that was written while the clock was wrong would shorten the trial.
    """
    applied = MigrationRecorder(connection).migration_qs
    first = applied.order_by("pk").values_list("applied", flat=True).first()
    told = [
        applied.aggregate(last=models.Max("applied"))["last"],
        Event.objects.aggregate(last=models.Max("at"))["last"],
        first or timezone.now(),
    ]
    return first or timezone.now(), max(moment for moment in told if moment is not None)


def _make() -> Installation:
    """Make the installation's row, at the first start or after somebody deleted it."""
    first, latest = witnesses()
    fields = {
        "installation_id": uuid5(NAMESPACE, first.astimezone(UTC).isoformat()),
        "trial_started_at": first,
        "highest_moment": max(latest, timezone.now()),
    }
    row, is_new = Installation.objects.get_or_create(pk=THE_ONE, defaults=fields)
    if is_new:
        logger.info("installation-recorded", installation=str(row), trial_started_at=str(row.trial_started_at))
    return row


@dataclass
class Ticker:
    """Counts how long this process has run, whatever its clock says."""

    anchor: tuple[datetime, float] | None = field(default=None)

    def reached(self, seen: datetime, monotonic_s: float) -> datetime:
        """Return the moment reached by counting from the first one given."""
        if self.anchor is None:
            self.anchor = (seen, monotonic_s)
        since, at = self.anchor
        return since + timedelta(seconds=monotonic_s - at)


ticker = Ticker()


def note_moment(monotonic_s: float | None = None) -> datetime:
    """Keep the highest moment seen, and the earliest start of the trial; return the former.

    While the trial runs, time also passes by this process's own count: a clock that is set back
    again and again does not make it longer.
    """
    now = timezone.now()
    first, _ = witnesses()
    with transaction.atomic():
        row = Installation.objects.select_for_update().filter(pk=THE_ONE).first() or _make()
        seen = max(now, row.highest_moment)
        counted = ticker.reached(seen, time.monotonic() if monotonic_s is None else monotonic_s)
        if _standing(row, now).status.state is rules.State.TRIAL:
            seen = max(seen, counted)
        row.highest_moment = seen
        row.trial_started_at = min(row.trial_started_at, first)
        row.save(update_fields=["highest_moment", "trial_started_at"])
    return seen


def give_notice() -> bool:
    """Record, once each, that 30, 14, 7 and 1 days are left; return whether one was due."""
    with transaction.atomic():
        where = standing()
        status = where.status
        days = rules.notice_due(status, where.moment)
        if days is None:
            return False
        Installation.objects.select_for_update().get(pk=THE_ONE)
        told: dict[str, Any] = {"days": days, "state": status.state.value}
        key = status.license.id if status.license else ""
        if any(told.items() <= given.data.items() for given in Event.objects.filter(kind=NOTICE, object_key=key)):
            return False
        record(
            NOTICE,
            moment=where.now,
            object_type="license",
            object_key=key,
            cause=rules.headline(status),
            days_left=where.days_left,
            **told,
        )
    return True


# --- Asking ---


def refuse_unless_allowed(action: Action) -> None:
    """Raise LicenseLimit, with the reason, when `action` is not allowed at present.

    To be asked inside the transaction that then does it, under the lock that lets one at a time add
    such a thing (`tree_write`, `terminal_write`), so that two cannot both add the last one. It takes
    no lock itself: whoever has changed something already would take it in another order than others.
    """
    status = standing().status
    usage = present_usage() if rules.is_counted(status, action) else Usage()
    if reason := rules.allows(status, action, usage):
        raise LicenseLimit(reason)


# --- Uploading ---


@dataclass(frozen=True, slots=True)
class Change:
    """What accepting a licence changes; `lines` tell it to people, none where it is in place already."""

    license: License
    is_upcoming: bool
    is_older: bool
    lines: tuple[str, ...]


def upload(
    data: bytes,
    *,
    file_name: str,
    actor: User | None = None,
    actor_name: str = "",
    confirm_older: bool = False,
    dry_run: bool = False,
) -> Change:
    """Accept a licence file, or say with `dry_run` what that would change.

    Raises LicenseRefused, or OlderLicense unless that is confirmed; nothing changes then. Every
    upload is recorded, accepted or refused, with user, time, file name and reason; of a dry run
    only the refusal of the file itself.
    """
    file_name = "".join(letter for letter in file_name if letter.isprintable())[:LONGEST_NAME]
    told: dict[str, Any] = {"object_type": "license", "actor": actor, "actor_name": actor_name, "file_name": file_name}
    try:
        new = read(data, vendor_keys())  # what the vendor did not sign waits for nobody and makes nobody wait
        with transaction.atomic():
            change = _accept(new, data.decode().strip(), confirm_older=confirm_older, dry_run=dry_run)
            if not dry_run:
                record(
                    ACCEPTED,
                    moment=timezone.now(),
                    object_key=change.license.id,
                    cause="kept until it begins" if change.is_upcoming else "",
                    customer=change.license.customer,
                    changes=list(change.lines),
                    **told,
                )
    except (LicenseRefused, OlderLicense) as refusal:
        code = refusal.code if isinstance(refusal, LicenseRefused) else "older"
        record(REFUSED, moment=timezone.now(), cause=refusal.detail[:255], reason=code, **told)
        raise
    return change


def _accept(new: License, text: str, *, confirm_older: bool, dry_run: bool) -> Change:
    standing()  # makes the row if it was lost
    row = Installation.objects.select_for_update().get(pk=THE_ONE)
    before = _standing(row, timezone.now())
    _check_installation(new, str(before.installation_id))
    if new.expires_at is not None and new.expires_at <= before.moment:
        raise LicenseRefused("expired", f"The licence expired on {new.expires_at:%Y-%m-%d %H:%M} UTC.")
    if new.expires_at is not None and new.expires_at <= new.not_before:
        raise LicenseRefused("not_a_license", "The licence ends before it begins.")
    replaced = rules.replaced_by(new, before.present, before.upcoming, before.moment)
    is_older = replaced is not None and new.issued_at < replaced.issued_at
    if replaced is not None and is_older and not confirm_older and not dry_run:
        raise OlderLicense(
            f"The licence was issued on {new.issued_at:%Y-%m-%d %H:%M:%S} UTC, before the one it would replace "
            f"({replaced.issued_at:%Y-%m-%d %H:%M:%S} UTC). Confirm to replace it all the same.",
            errors=[FieldError("/confirm_older", "older", "Set it to replace a newer licence.")],
        )
    present, upcoming = rules.placed(new, before.present, before.upcoming, before.trial, before.moment)
    after = Standing(before.installation_id, present, upcoming, before.trial, before.now, before.highest)
    if not dry_run:
        was_present, was_next = row.license, row.next_license
        row.license = text if present == new else was_present if present == before.present else was_next
        row.next_license = text if upcoming == new else was_next if upcoming else ""
        row.highest_moment = before.moment
        row.save(update_fields=["license", "next_license", "highest_moment"])
    return Change(new, upcoming == new, is_older, tuple(_lines(before, after, new)))


def _lines(before: Standing, after: Standing, new: License) -> Iterable[str]:
    if (before.present, before.upcoming) == (after.present, after.upcoming):
        return
    if after.upcoming == new:
        yield f"Kept as the next licence: becomes active by itself on {new.not_before:%Y-%m-%d %H:%M} UTC"
    old_status, new_status = before.status, after.status
    for name, old, new_one in (
        ("State", old_status.state.value, new_status.state.value),
        ("Customer", _customer(old_status), _customer(new_status)),
        ("Ends", _day(old_status.until), _day(new_status.until)),
        ("Mobile servers", _limit(old_status.limits.servers), _limit(new_status.limits.servers)),
        ("POS terminals", _limit(old_status.limits.terminals), _limit(new_status.limits.terminals)),
    ):
        if old != new_one:
            yield f"{name}: {old} → {new_one}"
    usage = present_usage()
    was, will = old_status.limits, new_status.limits
    for name, present, limit, is_same in (
        ("mobile servers", usage.servers, will.servers, was.servers == will.servers),
        ("POS terminals", usage.terminals, will.terminals, was.terminals == will.terminals),
    ):
        if limit is not None and present > limit and not is_same:
            yield f"There are {present} {name} already: all of them stay, none can be added"


def _customer(status: Status) -> str:
    return status.license.customer if status.license else "-"


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "-"


def _limit(limit: int | None) -> str:
    return "no limit" if limit is None else str(limit)


def history(limit: int = 50) -> models.QuerySet[Event]:
    """Return the latest uploads, accepted or not, newest first."""
    return Event.objects.filter(kind__in=(ACCEPTED, REFUSED)).order_by("-at", "-pk")[:limit]
