"""What the server holds: products and customers, and each transaction once."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

PRODUCTS = [
    {"id": "P1", "name": "Espresso", "price": 2.2},
    {"id": "P2", "name": "Cappuccino", "price": 3.4},
    {"id": "P3", "name": "Croissant", "price": 1.8},
    {"id": "P4", "name": "Umbrella", "price": 19.9},
]
CUSTOMERS = [
    {"id": "C1", "name": "Ada Byron"},
    {"id": "C2", "name": "Grace Murray"},
    {"id": "C3", "name": "Karen Jones"},
]
SCHEMA = """
CREATE TABLE IF NOT EXISTS accepted (number INTEGER PRIMARY KEY, message_id TEXT UNIQUE, service TEXT, data TEXT);
CREATE TABLE IF NOT EXISTS refused (number INTEGER PRIMARY KEY, message_id TEXT, service TEXT, reason TEXT);
CREATE TABLE IF NOT EXISTS calls (number INTEGER PRIMARY KEY, service TEXT, message_id TEXT);
"""


class Data:
    """The transactions of one server in an SQLite file, or in memory; safe for several threads."""

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
        if path is not None:
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
        self._database.executescript(SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def _run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        with self._lock:
            return self._database.execute(statement, values)

    def note_call(self, service: str, message_id: str = "") -> None:
        self._run("INSERT INTO calls (service, message_id) VALUES (?, ?)", service, message_id)

    def accept(self, message_id: str, service: str, data: list[Any]) -> bool:
        """Execute a transaction unless it has been already; return whether it is a repetition."""
        done = self._run(
            "INSERT INTO accepted (message_id, service, data) VALUES (?, ?, ?) ON CONFLICT (message_id) DO NOTHING",
            message_id,
            service,
            json.dumps(data),
        )
        return done.rowcount == 0

    def has(self, message_id: str) -> bool:
        return self._run("SELECT 1 FROM accepted WHERE message_id = ?", message_id).fetchone() is not None

    def refuse(self, message_id: str, service: str, reason: str) -> None:
        self._run("INSERT INTO refused (message_id, service, reason) VALUES (?, ?, ?)", message_id, service, reason)

    def query(self, service: str, search: str = "") -> list[dict[str, Any]]:
        """Return the rows that a query is about whose name contains `search`, whatever its case."""
        rows: list[dict[str, Any]] = []
        if "Product" in service:
            rows = PRODUCTS
        elif "BusinessPartner" in service or "Customer" in service:
            rows = CUSTOMERS
        return [row for row in rows if search.casefold() in str(row["name"]).casefold()]

    def shown(self) -> dict[str, list[dict[str, Any]]]:
        """Return everything it holds, in the order it came."""
        with self._lock:
            execute = self._database.execute
            return {
                "accepted": [
                    {"messageId": message_id, "service": service, "data": json.loads(data)}
                    for message_id, service, data in execute(
                        "SELECT message_id, service, data FROM accepted ORDER BY number"
                    )
                ],
                "refused": [
                    {"messageId": message_id, "service": service, "reason": reason}
                    for message_id, service, reason in execute(
                        "SELECT message_id, service, reason FROM refused ORDER BY number"
                    )
                ],
                "calls": [
                    {"service": service, "messageId": message_id}
                    for service, message_id in execute("SELECT service, message_id FROM calls ORDER BY number")
                ],
            }
