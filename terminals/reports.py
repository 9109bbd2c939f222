"""What terminals tell by polling, collected in memory and written in batches.

A poll costs no query: each web process keeps when it last saw whom with which revision, and writes
that every few seconds in one statement, whatever the number of polls.
"""

from __future__ import annotations

import threading
from datetime import datetime
from typing import NamedTuple

from terminals.models import Terminal, TerminalReport
from terminals.tokens import note_first_use


class Seen(NamedTuple):
    at: datetime
    revision: int | None


class ReportCollector:
    """Collects sightings of terminals and first uses of tokens until `flush` writes them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[int, Seen] = {}
        self._first_uses: dict[int, datetime] = {}

    def saw(self, terminal_id: int, at: datetime, revision: int | None) -> None:
        """Keep that a terminal called; `revision` is None for a call that hands out no configuration."""
        with self._lock:
            if revision is None and terminal_id in self._seen:
                revision = self._seen[terminal_id].revision
            self._seen[terminal_id] = Seen(at, revision)

    def used_first(self, token_pk: int, at: datetime) -> None:
        with self._lock:
            self._first_uses.setdefault(token_pk, at)

    @property
    def has_first_uses(self) -> bool:
        """Whether a replaced token waits to be ended, which should not wait for the next batch."""
        return bool(self._first_uses)

    def flush(self) -> int:
        """Write what was collected; return how many terminals. What fails is kept for the next time."""
        with self._lock:
            seen, self._seen = self._seen, {}
            first_uses, self._first_uses = self._first_uses, {}
        try:
            for token_pk, at in first_uses.items():
                note_first_use(token_pk, at)
            self._write(seen)
        except Exception:
            with self._lock:
                self._seen = seen | self._seen
                self._first_uses = first_uses | self._first_uses
            raise
        return len(seen)

    @staticmethod
    def _write(seen: dict[int, Seen]) -> None:
        """Write sightings in two statements at most: with a revision, and without one to keep."""
        if not seen:
            return
        present = set(Terminal.objects.filter(pk__in=seen).values_list("pk", flat=True))
        for with_revision in (True, False):
            rows = [
                TerminalReport(terminal_id=terminal_id, last_seen_at=sighting.at, revision=sighting.revision)
                for terminal_id, sighting in sorted(seen.items())
                if terminal_id in present and (sighting.revision is not None) == with_revision
            ]
            TerminalReport.objects.bulk_create(
                rows,
                update_conflicts=True,
                unique_fields=["terminal"],
                update_fields=["last_seen_at", "revision"] if with_revision else ["last_seen_at"],
                batch_size=1000,
            )
