"""The last documents of the store's terminals: fetched from a Booster, kept on disk, given out as they are.

Terminals check the Booster's signature, so this copy is not trusted by anybody, and holds no secret.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from booster_agent.files import read_json, write_json
from booster_agent.tokens import Caller

log = logging.getLogger("booster-agent")
DOORS = ("configuration", "status")


@dataclass(frozen=True, slots=True)
class Held:
    """One document as the Booster made it."""

    body: bytes
    tag: str
    revision: int
    signature: str


@dataclass(frozen=True, slots=True)
class Copy:
    """All that is held, by terminal token id and door; `checked_at` is when a Booster last said it is right."""

    tag: str = ""
    checked_at: float = 0.0
    documents: Mapping[tuple[str, str], Held] = field(default_factory=dict)
    is_filled: bool = False


class Documents:
    """The copy in memory and on disk; replaced whole, read by any thread."""

    def __init__(self, file: Path) -> None:
        self._file = file
        kept = read_json(file)
        told, tag, checked_at = kept.get("told"), kept.get("tag"), kept.get("checked_at")
        self.copy = Copy()
        if isinstance(told, dict) and isinstance(tag, str) and isinstance(checked_at, int | float):
            try:
                self.copy = Copy(tag, float(checked_at), understood(told), is_filled=True)
            except ValueError:
                log.warning("The documents kept on disk cannot be read; they are fetched anew.")

    def refresh(self, caller: Caller, moment: float) -> None:
        """Ask a Booster whether anything changed and keep what it tells; raises Unreachable or OSError.

        An answer that cannot be understood is refused whole, and the last good one stays.
        """
        held = self.copy
        headers = {"If-None-Match": held.tag} if held.tag else {}
        answer = caller.call("GET", "/api/v1/agent/documents", moment, headers=headers)
        if answer.status == HTTPStatus.NOT_MODIFIED and held.is_filled:
            self.copy = Copy(held.tag, moment, held.documents, is_filled=True)
            return
        if answer.status != HTTPStatus.OK:
            log.warning("The documents were not fetched: %s", answer.reason)
            return
        try:
            documents = understood(answer.json)
        except ValueError as error:
            log.warning("The Booster's documents cannot be understood: %s", error)
            return
        tag = answer.headers.get("etag", "")
        write_json(self._file, {"tag": tag, "checked_at": moment, "told": answer.json})
        self.copy = Copy(tag, moment, documents, is_filled=True)


def understood(told: Mapping[str, Any]) -> dict[tuple[str, str], Held]:
    """Return the documents of an answer by terminal and door; raises ValueError for any other shape."""
    if told.get("format") != 1:
        raise ValueError("their format is another than 1")
    documents: dict[tuple[str, str], Held] = {}
    try:
        for organization in told["organizations"]:
            held = {door: _held(organization["documents"][door]) for door in DOORS}
            for terminal in organization["terminals"]:
                if not isinstance(terminal, str):
                    raise TypeError
                for door in DOORS:
                    documents[terminal, door] = held[door]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("they have another shape") from error
    return documents


def _held(told: Mapping[str, Any]) -> Held:
    body, tag, revision, signature = told["body"], told["tag"], told["revision"], told["signature"]
    texts = (body, tag, signature)
    is_sound = all(isinstance(text, str) for text in texts) and isinstance(revision, int)
    if not is_sound or not all(text.isascii() and text.isprintable() and '"' not in text for text in (tag, signature)):
        raise ValueError("one of them is not as a document is")
    return Held(body.encode(), tag, revision, signature)
