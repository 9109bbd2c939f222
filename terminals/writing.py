"""The order in which terminals and their tokens are written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

TERMINAL_LOCK = (0x0B05, 2)


@contextmanager
def terminal_write() -> Iterator[None]:
    """Let one writer at a time change terminals or their tokens; to be taken before any of their rows.

    Every write of them moves one row, the revision, and so waits for the other writers anyway. Whoever
    held a row already while waiting for that one could be waited for in turn: by an import that has
    changed another terminal, or that adds one and needs the count which the licence limits. SQLite
    needs none: its transactions are immediate, so there is one writer anyway.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", TERMINAL_LOCK)
        yield
