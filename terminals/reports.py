"""What terminals tell by polling and by their own reports, collected in memory and written in batches.

Neither costs a write: each web process keeps what every terminal said last, and writes that every few
seconds in a few statements, whatever the number of calls.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from terminals.models import Terminal, TerminalReport
from terminals.tokens import note_first_use


class Seen(NamedTuple):
    at: datetime
    revision: int | None


class Told(NamedTuple):
    """What a terminal said of itself in a report of its own."""

    at: datetime
    queue_length: int
    software: str


class Sighting(NamedTuple):
    """Whether an observer, by the id of its row, could reach a server when it said so."""

    observer_id: int
    server_key: str
    is_reachable: bool
    at: datetime


sighting_writers: list[Callable[[Sequence[Sighting]], object]] = []
"""What is done with the servers that terminals saw; rooms above say it here."""


class ReportCollector:
    """Collects what terminals tell and first uses of tokens until `flush` writes them.

    What a terminal tells twice before that is written once, as it said it last.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[int, Seen] = {}
        self._told: dict[int, Told] = {}
        self._sightings: dict[tuple[int, str], Sighting] = {}
        self._first_uses: dict[int, datetime] = {}

    def saw(self, terminal_id: int, at: datetime, revision: int | None) -> None:
        """Keep that a terminal called; `revision` is None for a call that says of none that it is held."""
        with self._lock:
            self._saw(terminal_id, at, revision)

    def _saw(self, terminal_id: int, at: datetime, revision: int | None) -> None:
        if revision is None and terminal_id in self._seen:
            revision = self._seen[terminal_id].revision
        self._seen[terminal_id] = Seen(at, revision)

    def told(self, terminal_id: int, told: Told, reachable: Mapping[str, bool]) -> None:
        """Keep a terminal's own report; `reachable` says of servers, by key, whether it can reach them."""
        with self._lock:
            self._saw(terminal_id, told.at, None)  # at once: what is told is written of those who were seen
            self._told[terminal_id] = told
            for key, is_reachable in reachable.items():
                self._sightings[terminal_id, key] = Sighting(terminal_id, key, is_reachable, told.at)

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
            told, self._told = self._told, {}
            sightings, self._sightings = self._sightings, {}
            first_uses, self._first_uses = self._first_uses, {}
        try:
            for token_pk, at in first_uses.items():
                note_first_use(token_pk, at)
            self._write(seen, told)
            if sightings:
                for write in sighting_writers:
                    write(list(sightings.values()))
        except Exception:
            with self._lock:
                self._seen = seen | self._seen
                self._told = told | self._told
                self._sightings = sightings | self._sightings
                self._first_uses = first_uses | self._first_uses
            raise
        return len(seen)

    @staticmethod
    def _write(seen: Mapping[int, Seen], told: Mapping[int, Told]) -> None:
        """Write sightings in four statements at most: with and without a revision, and a report of its own."""
        if not seen:
            return
        present = set(Terminal.objects.filter(pk__in=seen).values_list("pk", flat=True))
        batches: dict[tuple[str, ...], list[TerminalReport]] = {}
        for terminal_id in sorted(present):
            values: dict[str, Any] = {"last_seen_at": seen[terminal_id].at}
            if seen[terminal_id].revision is not None:
                values["revision"] = seen[terminal_id].revision
            if terminal_id in told:
                own = told[terminal_id]
                values |= {"reported_at": own.at, "queue_length": own.queue_length, "software": own.software}
            batches.setdefault(tuple(values), []).append(TerminalReport(terminal_id=terminal_id, **values))
        for fields, rows in batches.items():
            TerminalReport.objects.bulk_create(
                rows, update_conflicts=True, unique_fields=["terminal"], update_fields=fields, batch_size=1000
            )
