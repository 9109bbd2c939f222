"""The right to act: asking for it, and writing by it, fenced by its term.

Of a pair one node at a time expires silent servers, probes, delivers notices and drives roll-outs.
Its right is the lease, one row; whoever writes by that right holds the row against a new claim until
his transaction ends, so what was begun in an old term cannot be committed in a newer one. A node
alone, also on SQLite, has the right at all times, through the same functions. See docs/adr/0009.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from boosters.acting_rule import LEASE, Lease
from boosters.models import THE_ONE, ActingLease
from boosters.node import own_role
from boosters.parameters import Role

IDLE_IN_TRANSACTION = "5s"
"""A holder that is stopped inside a transaction must not keep the lease's row: PostgreSQL ends its session."""


class NoLongerActing(Exception):
    """The right to act has passed on, or its time is over: nothing was written."""


@dataclass(frozen=True, slots=True)
class Right:
    """The right to act of one node in one term."""

    holder: Role
    term: int


def database_moment() -> datetime:
    """Return the time by the database's clock, also inside a long transaction; SQLite has none of its own."""
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]  # type: ignore[no-any-return]


def values_of(row: ActingLease) -> Lease:
    """Return the lease's row as the rule knows it."""
    return Lease(
        Role(row.holder) if row.holder else None,
        row.term,
        row.expires_at,
        row.practice_asked_at,
        row.practice_over_at,
        row.practice_back_at,
    )


def present_right() -> Right | None:
    """Return whose right is in force at present, on whichever node; None while nobody acts."""
    if own_role() is Role.SINGLE:
        return _right_of_single()
    row = ActingLease.objects.filter(pk=THE_ONE).first()
    if row is None or not values_of(row).is_held(database_moment()):
        return None
    return Right(Role(row.holder), row.term)


def acting_right() -> Right | None:
    """Return this node's right to act, or None while it stands by; two queries, nothing is remembered."""
    right = present_right()
    return right if right is not None and right.holder is own_role() else None


@contextmanager
def acting_write(right: Right) -> Iterator[None]:
    """Run the block in one transaction that `right` covers until it commits.

    Raises NoLongerActing before anything is written when the lease has another holder or term, or has
    expired by the database's clock. Writers share the row; only a claim or renewal waits for them.
    """
    with transaction.atomic():
        check_right(right)
        yield


def check_right(right: Right) -> None:
    """Hold the lease's row for the rest of the transaction, or raise NoLongerActing."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION}'")
            cursor.execute(
                "SELECT holder, term, expires_at FROM boosters_actinglease WHERE id = %s FOR SHARE", [THE_ONE]
            )
            row = cursor.fetchone()
    else:
        row = ActingLease.objects.filter(pk=THE_ONE).values_list("holder", "term", "expires_at").first()
    if row is None or (row[0], row[1]) != (right.holder, right.term):
        raise NoLongerActing(f"The right to act of term {right.term} has passed on.")
    if right.holder is not Role.SINGLE and (row[2] is None or row[2] <= database_moment()):
        raise NoLongerActing(f"The right to act of term {right.term} has expired.")


def locked_lease() -> ActingLease:
    """Return the lease's row, held against all others until the transaction ends; made when it is missing."""
    ActingLease.objects.get_or_create(pk=THE_ONE)
    return ActingLease.objects.select_for_update().get(pk=THE_ONE)


def claim(row: ActingLease, role: Role, moment: datetime) -> Right:
    """Give the right to `role` with the next term; to be called with the row locked."""
    row.holder, row.term, row.acting_since = role.value, row.term + 1, moment
    row.expires_at = None if role is Role.SINGLE else moment + LEASE
    row.save(update_fields=["holder", "term", "acting_since", "expires_at"])
    return Right(role, row.term)


def _right_of_single() -> Right:
    """Return the right of the only node, taking it from a pair that there was before."""
    row = ActingLease.objects.filter(pk=THE_ONE).first()
    if row is None or row.holder != Role.SINGLE:
        with transaction.atomic():
            row = locked_lease()
            if row.holder != Role.SINGLE:
                claim(row, Role.SINGLE, database_moment())
    return Right(Role.SINGLE, row.term)


def is_pair() -> bool:
    """Tell whether this node has a peer."""
    return bool(settings.BOOSTER_PARAMETERS.is_pair)
