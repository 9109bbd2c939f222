"""The terminal's documents as server-sent events: the document itself with each change.

An event's id says which documents the terminal holds once it has it, `<configuration tag>.<status tag>`, so
that a stream that is taken up again with `Last-Event-ID` begins with what is new.
"""

from __future__ import annotations

from typing import NamedTuple

from routing.answers import VARY, Headers, cors_headers
from routing.document import Door
from routing.landscape import OrganizationCode
from routing.store import Snapshot

PATHS = frozenset(("/api/v1/terminal/events", "/api/v1/terminal/events/"))
DOORS = (Door.CONFIGURATION, Door.STATUS)
RETRY = b"retry: 1000\n\n"
"""After how many milliseconds to come again when the stream ends."""
STILL_HERE_S = 15
STILL_HERE = b": still here\n\n"
NOTHING = "-"
LONGEST_ID = 65


class Held(NamedTuple):
    """The tags of the documents a terminal holds."""

    configuration: str = NOTHING
    status: str = NOTHING

    @classmethod
    def of(cls, last_event_id: str) -> Held:
        """Return what the id of the last event says is held: nothing, where it is none of ours."""
        configuration, dot, status = last_event_id.partition(".")
        return cls(configuration, status) if dot and len(last_event_id) <= LONGEST_ID else cls()


def events(snapshot: Snapshot, organization: OrganizationCode, held: Held) -> tuple[bytes, Held]:
    """Return the events that bring a terminal up to date, and what it holds with them."""
    written = []
    for door in DOORS:
        document = snapshot.document(door, organization)
        if document.tag != getattr(held, door):
            held = held._replace(**{door: document.tag})
            written.append(
                f"id: {held.configuration}.{held.status}\nevent: {door}\ndata: ".encode() + document.identity + b"\n\n"
            )
    return b"".join(written), held


def headers(origin: str, allowed_origins: frozenset[str]) -> Headers:
    return [
        (b"content-type", b"text/event-stream"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),  # no proxy may collect events
        VARY,
        *cors_headers(origin, allowed_origins),
    ]
