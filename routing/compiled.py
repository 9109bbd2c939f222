"""The documents compiled so far: kept within a bound of bytes, and across changes that do not concern them.

A document is remembered by what it is about (door, organization, …) together with the generation of the
configuration it was last known to be right for. In a later generation it is written again from its parts,
which is cheap; where the bytes are the same, the old document stays, with its tag and its compressed form.
Its tag outlives its bytes: a terminal that holds the document is answered 304 without them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import Any

from routing.document import Document, tag_of

Key = tuple[str, ...]
"""The door, the organization's code, and whatever else the document depends on."""

COMPRESSED_SHARE = 4
"""What is allowed for the compressed form of a document: one byte for so many."""
OVERHEAD_BYTES = 400


class _Entry:
    __slots__ = ("document", "generation", "is_recent", "size", "tag")

    def __init__(self, generation: int, tag: str, document: Document) -> None:
        self.generation = generation
        self.tag = tag
        self.document: Document | None = document
        self.size = 0
        self.is_recent = True


class CompiledDocuments:
    """Documents by what they are about, at most `most_bytes` of them; safe for several threads.

    Which ones go first is decided by second chance: the oldest that nobody asked for since it was last looked at.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._entries: dict[Key, _Entry] = {}
        self._held: dict[Key, _Entry] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """How many bytes the documents take at the moment."""
        return self._bytes

    def known_tag(self, key: Key, generation: int) -> str | None:
        """Return the tag of the document of that generation, if it has been compiled."""
        entry = self._entries.get(key)
        return entry.tag if entry is not None and entry.generation == generation else None

    def known(self, key: Key, generation: int) -> Document | None:
        """Return the document of that generation, if it has been compiled and is still held."""
        entry = self._entries.get(key)
        if entry is None or entry.generation != generation:
            return None
        entry.is_recent = True
        return entry.document

    def compile(self, key: Key, generation: int, write: Callable[[], bytes]) -> Document:
        """Return the document of that generation, whose bytes `write` gives."""
        identity = write()
        tag = tag_of(identity)
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry.tag != tag or entry.document is None:
                document = Document(identity, tag)
                self._drop(key, entry)
                entry = self._entries[key] = _Entry(generation, tag, document)
                entry.size = len(identity) + len(identity) // COMPRESSED_SHARE + OVERHEAD_BYTES
                self._held[key] = entry
                self._bytes += entry.size
                self._shrink(key)
                return document
            entry.generation = max(entry.generation, generation)
            entry.is_recent = True
            return entry.document

    def keep_only(self, organizations: Collection[Any]) -> None:
        """Forget the documents of organizations that are no more."""
        with self._lock:
            for key in [key for key in self._entries if key[1] not in organizations]:
                self._drop(key, self._entries.pop(key))

    def _drop(self, key: Key, entry: _Entry | None) -> None:
        if entry is not None and self._held.pop(key, None) is not None:
            self._bytes -= entry.size
            entry.document = None

    def _shrink(self, kept: Key) -> None:
        chances = len(self._held)
        while self._bytes > self._most_bytes and len(self._held) > 1:
            key, entry = next(iter(self._held.items()))
            if key == kept or (entry.is_recent and chances > 0):
                chances -= 1
                entry.is_recent = False
                self._held[key] = self._held.pop(key)
                continue
            self._drop(key, entry)
