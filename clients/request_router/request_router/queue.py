"""The transactions that wait to be delivered, in an SQLite file that outlives the program and the machine.

What is stored here has been acknowledged to the cashier, so every change is on the disk before it counts. A
message waits in one queue, in the order in which it was stored; a broadcast transaction waits once in each
provider's queue. A message that a server refuses moves to the errors and holds nobody up (N10).
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHARED = ""
"""The queue of all transactions that go to the first server that accepts them."""
DELIVERIES_KEPT = 1_000
SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
  number INTEGER PRIMARY KEY AUTOINCREMENT, message_id TEXT NOT NULL, queue TEXT NOT NULL, service TEXT NOT NULL,
  path TEXT NOT NULL, body TEXT NOT NULL, created_ms INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
  error TEXT, UNIQUE (message_id, queue));
CREATE INDEX IF NOT EXISTS messages_waiting ON messages (queue, number) WHERE error IS NULL;
CREATE TABLE IF NOT EXISTS deliveries (
  number INTEGER PRIMARY KEY AUTOINCREMENT, message_id TEXT NOT NULL, queue TEXT NOT NULL, server TEXT NOT NULL,
  is_synchronized INTEGER NOT NULL, delivered_ms INTEGER NOT NULL);
"""
COLUMNS = "number, message_id, queue, service, path, body, created_ms, attempts, error"


class QueueUnusable(Exception):
    """The file cannot be used; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message in one queue; `error` says why a server refused it, None while it waits."""

    number: int
    message_id: str
    queue: str
    service: str
    path: str
    body: dict[str, Any]
    created_ms: int
    attempts: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """Which server accepted a message; `is_synchronized` when that was a main server."""

    message_id: str
    queue: str
    server: str
    is_synchronized: bool
    delivered_ms: int


class Queue:
    """The queues of one terminal, in the file at `path` or in memory. Safe for several threads."""

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.RLock()
        try:
            self._database = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
            if path is not None:
                path.chmod(0o600)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.executescript(SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise QueueUnusable(f"The queue {path} cannot be used: {error}.") from error

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def _rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._database.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise QueueUnusable(f"The queue cannot be used: {error}.") from error

    def _messages(self, condition: str, *values: Any) -> list[Message]:
        rows = self._rows(f"SELECT {COLUMNS} FROM messages WHERE {condition}", *values)  # noqa: S608 - our own words
        return [Message(*(*row[:5], json.loads(row[5]), *row[6:])) for row in rows]

    def store(
        self, message_id: str, queues: list[str], service: str, path: str, body: Mapping[str, Any], created_ms: int
    ) -> bool:
        """Put a message into its queues, all or none; return False if it is there already."""
        text = json.dumps(body, ensure_ascii=False)
        try:
            with self._transaction():
                for queue in queues:
                    self._database.execute(
                        "INSERT INTO messages (message_id, queue, service, path, body, created_ms)"
                        " VALUES (?, ?, ?, ?, ?, ?)",
                        (message_id, queue, service, path, text, created_ms),
                    )
        except sqlite3.IntegrityError:
            return False
        return True

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Let all of the block be on the disk, or nothing of it; raises QueueUnusable, as when the disk is full."""
        with self._lock:
            try:
                self._database.execute("BEGIN IMMEDIATE")
                yield
                self._database.execute("COMMIT")
            except BaseException as error:
                with suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.IntegrityError):
                    raise QueueUnusable(f"The queue cannot be written: {error}.") from error
                raise

    def queues(self) -> list[str]:
        """Return the queues in which a message waits, by the age of their first one."""
        rows = self._rows("SELECT queue FROM messages WHERE error IS NULL GROUP BY queue ORDER BY min(number)")
        return [queue for (queue,) in rows]

    def first(self, queue: str) -> Message | None:
        """Return the message that is to be delivered next in a queue."""
        found = self._messages("queue = ? AND error IS NULL ORDER BY number LIMIT 1", queue)
        return found[0] if found else None

    def waiting(self) -> list[Message]:
        return self._messages("error IS NULL ORDER BY number")

    def errors(self) -> list[Message]:
        return self._messages("error IS NOT NULL ORDER BY number")

    def length(self) -> int:
        """Return how many messages have not been delivered, each counted once whatever its queues."""
        return int(self._rows("SELECT count(DISTINCT message_id) FROM messages WHERE error IS NULL")[0][0])

    def attempted(self, message: Message) -> None:
        self._rows("UPDATE messages SET attempts = attempts + 1 WHERE number = ?", message.number)

    def delivered(self, message: Message, server: str, *, is_synchronized: bool, moment_ms: int) -> None:
        """Take a message out of its queue: a server has accepted it."""
        with self._transaction():
            self._database.execute("DELETE FROM messages WHERE number = ?", (message.number,))
            self._database.execute(
                "INSERT INTO deliveries (message_id, queue, server, is_synchronized, delivered_ms)"
                " VALUES (?, ?, ?, ?, ?)",
                (message.message_id, message.queue, server, is_synchronized, moment_ms),
            )
            self._database.execute(
                "DELETE FROM deliveries WHERE number <= (SELECT max(number) FROM deliveries) - ?", (DELIVERIES_KEPT,)
            )

    def deliveries(self) -> list[Delivery]:
        """Return the last deliveries, the oldest first."""
        rows = self._rows(
            "SELECT message_id, queue, server, is_synchronized, delivered_ms FROM deliveries ORDER BY number"
        )
        return [Delivery(*(*row[:3], bool(row[3]), row[4])) for row in rows]

    def is_synchronized(self, message_id: str) -> bool:
        """Tell whether a main server has confirmed a message, as far as deliveries are kept."""
        condition = "SELECT 1 FROM deliveries WHERE message_id = ? AND is_synchronized LIMIT 1"
        return bool(self._rows(condition, message_id))

    def refuse(self, message: Message, reason: str) -> None:
        """Move a message to the errors; the next one in its queue has its turn."""
        self._rows("UPDATE messages SET error = ? WHERE number = ?", reason, message.number)

    def retry(self, message_id: str) -> int:
        """Put a refused message back into its place; return in how many queues."""
        return self._changed("UPDATE messages SET error = NULL WHERE message_id = ? AND error IS NOT NULL", message_id)

    def drop(self, message_id: str) -> int:
        """Delete a refused message for good; one that waits is never dropped. Return from how many queues."""
        return self._changed("DELETE FROM messages WHERE message_id = ? AND error IS NOT NULL", message_id)

    def _changed(self, statement: str, *values: Any) -> int:
        with self._lock:
            return self._database.execute(statement, values).rowcount
