"""The answers given since the snapshot last changed, by the request that they were given to.

A terminal that polls sends the same bytes every time, and as long as nothing has moved the answer is the
same too: looking the request up is all that is left to do. What the time decides is not remembered. The
keys hold callers' tokens, in memory only; a lookup compares keyed hashes, so its time tells nothing of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routing.answers import Answer
from routing.store import Snapshot
from terminals.tokens import TokenState

MOST_BYTES = 16 * 2**20
OVERHEAD_BYTES = 1_500
"""What a remembered answer takes beside its body."""
Key = tuple[Any, ...]


class Remembered:
    """An answer as the two messages that send it, and what to note of its caller."""

    __slots__ = ("body", "note_again_at", "start", "token")

    def __init__(self, given: Answer, token: TokenState) -> None:
        self.start = {"type": "http.response.start", "status": given.status, "headers": given.headers}
        self.body = {"type": "http.response.body", "body": given.body}
        self.token = token
        self.note_again_at = 0.0


class Memory:
    """Answers by the request's path, method and the headers that decide; all forgotten with a new snapshot.

    They take about MOST_BYTES at most, bodies included: these would outlive what bounds the compiled documents.
    """

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._answers: dict[Key, Remembered] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    @staticmethod
    def key_of(scope: Mapping[str, Any]) -> Key | None:
        """Return what decides the answer; None for a query, and where a header is given more than once."""
        headers = scope["headers"]
        given = dict(headers)
        if scope["query_string"] or len(given) != len(headers):
            return None
        get = given.get
        return (
            scope["path"],
            scope["method"],
            get(b"authorization"),
            get(b"if-none-match"),
            get(b"accept-encoding"),
            get(b"origin"),
        )

    def find(self, key: Key, snapshot: Snapshot | None) -> Remembered | None:
        return self._answers.get(key) if snapshot is self._snapshot else None

    def keep(self, key: Key, snapshot: Snapshot, given: Answer, token: TokenState) -> None:
        """Keep an answer that `snapshot` gave for as long as it is the present one.

        A token that was replaced ends by the clock, and one that was not used yet changes by being used.
        """
        if token.replaced_at is not None or not token.is_used:
            return
        size = OVERHEAD_BYTES + len(given.body)
        if snapshot is not self._snapshot or self._bytes + size > MOST_BYTES:
            self._answers = {}
            self._bytes = 0
            self._snapshot = snapshot
        if key not in self._answers:
            self._bytes += size
        self._answers[key] = Remembered(given, token)
