"""The answers at the terminal doors that are served from memory, as plain functions.

The edge calls them in front of Django, the views behind it: the same bytes and headers either way.
Headers are pairs of bytes, as ASGI has them. Design, section 5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qs

from backoffice.api.problems import CONTENT_TYPE, problem_of
from backoffice.refusals import FieldError, Invalid, Refusal, Unavailable
from routing.document import Door, canonical_json
from routing.landscape import OrganizationCode
from routing.store import Snapshot
from terminals.tokens import TokenState

Headers = list[tuple[bytes, bytes]]

VARY = (b"vary", b"Accept-Encoding, Authorization, Origin")
METHODS = "GET, HEAD, OPTIONS"
ALLOWED_METHODS = "GET, HEAD, POST"
ALLOWED_HEADERS = "Authorization, Content-Type, If-None-Match, Last-Event-ID"
EXPOSED_HEADERS = "ETag, X-Booster-Revision, X-Booster-Stale, Retry-After"
PREFLIGHT_MAX_AGE_S = 600


DOOR_BY_PATH: Mapping[str, Door] = {f"/api/v1/terminal/{door}{slash}": door for door in Door for slash in ("", "/")}


LONGEST_WAIT_S = 60
WAITING_DOORS = (Door.CONFIGURATION, Door.STATUS)


class Answer(NamedTuple):
    status: int
    headers: Headers
    body: bytes


class Asked(NamedTuple):
    """What decides the form of an answer: the path, and request headers that are empty if absent."""

    path: str
    origin: str = ""
    accept_encoding: str = ""
    if_none_match: str = ""
    is_head: bool = False


def answer(
    snapshot: Snapshot, token: TokenState, door: Door, asked: Asked, *, moment: datetime, stale_s: int | None = None
) -> Answer:
    """Return what a terminal with `token` gets at `door`: 200, 304, or the problem that refuses it."""
    organization = snapshot.organization_of(token)
    if organization is None:
        # The terminal's store is newer than this snapshot of the tree; the next check brings it.
        return problem(Unavailable("The terminal's store is not known here yet.", retry_after_s=1), snapshot, asked)
    is_active = snapshot.landscape.organizations[organization].is_active
    refusal = token.refusal(moment, organization_is_active=is_active)
    if refusal is not None:
        return problem(refusal, snapshot, asked)
    return _conditional(snapshot, door, organization, asked, stale_s)


def wait_asked(query: str) -> int:
    """Return for how many seconds a poll may be held, by its query string: 0 without `wait`.

    Raises Invalid for anything but a whole number from 1 to 60, given once.
    """
    if "wait" not in query:
        return 0
    given = parse_qs(query, keep_blank_values=True).get("wait", [])
    if not given:
        return 0
    text = given[0]
    if len(given) == 1 and re.fullmatch(r"[0-9]{1,3}", text) and 1 <= int(text) <= LONGEST_WAIT_S:
        return int(text)
    detail = f"wait must be a whole number of seconds from 1 to {LONGEST_WAIT_S}."
    raise Invalid(detail, errors=[FieldError("?wait", "invalid", detail)])


def _conditional(
    snapshot: Snapshot, door: Door, organization: OrganizationCode, asked: Asked, stale_s: int | None
) -> Answer:
    gzipped = accepts_gzip(asked.accept_encoding)
    held = snapshot.tag(door, organization, asked.origin)
    tag = f'"{held}-gzip"' if gzipped else f'"{held}"'
    headers: Headers = [
        (b"etag", tag.encode()),
        (b"cache-control", b"private, no-cache"),
        (b"x-booster-revision", str(snapshot.revision).encode()),
        VARY,
        *cors_headers(asked.origin, snapshot.allowed_origins),
    ]
    if stale_s is not None:
        headers.append((b"x-booster-stale", str(stale_s).encode()))
    if asked.if_none_match and names_tag(asked.if_none_match, held):
        return Answer(304, headers, b"")
    document = snapshot.document(door, organization, asked.origin)
    body = document.gzipped if gzipped else document.identity
    headers.append((b"content-type", b"application/json"))
    headers.append((b"content-length", str(len(body)).encode()))
    if gzipped:
        headers.append((b"content-encoding", b"gzip"))
    return Answer(200, headers, b"" if asked.is_head else body)


@lru_cache(maxsize=256)
def accepts_gzip(accept_encoding: str) -> bool:
    """Tell whether a client accepts gzip, by its Accept-Encoding (RFC 9110, 12.5.3)."""
    weights: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        coding, _, parameters = part.partition(";")
        match = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", parameters) if parameters else None
        weights[coding.strip()] = float(match.group(1)) if match else 1.0
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def names_tag(if_none_match: str, tag: str) -> bool:
    """Tell whether If-None-Match holds the document's tag, in either form, or is `*`."""
    if if_none_match.strip() == "*":
        return True
    known = (f'"{tag}"', f'"{tag}-gzip"')
    return any(part.strip().removeprefix("W/") in known for part in if_none_match.split(","))


def cors_headers(origin: str, allowed_origins: frozenset[str]) -> Headers:
    """Return the headers that let a page of an allowed origin read an answer; none for others."""
    if not origin or origin.lower() not in allowed_origins:
        return []
    return [
        (b"access-control-allow-origin", origin.encode("latin-1", "replace")),
        (b"access-control-expose-headers", EXPOSED_HEADERS.encode()),
    ]


def preflight(origin: str, allowed_origins: frozenset[str], methods: str) -> Answer:
    """Answer OPTIONS at a terminal door, be it a browser's preflight or a question for the methods."""
    headers: Headers = [(b"allow", methods.encode()), VARY, (b"content-length", b"0")]
    allowed = cors_headers(origin, allowed_origins)
    if allowed:
        headers += [
            *allowed,
            (b"access-control-allow-methods", ALLOWED_METHODS.encode()),
            (b"access-control-allow-headers", ALLOWED_HEADERS.encode()),
            (b"access-control-max-age", str(PREFLIGHT_MAX_AGE_S).encode()),
        ]
    return Answer(204, headers, b"")


def problem(refusal: Refusal, snapshot: Snapshot, asked: Asked) -> Answer:
    """Return a refusal as the same RFC 9457 problem that Django would give."""
    told = problem_of(refusal)
    body = canonical_json(told.members(asked.path))
    headers: Headers = [
        (b"content-type", CONTENT_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        VARY,
        *cors_headers(asked.origin, snapshot.allowed_origins),
    ]
    headers += [(name.lower().encode(), value.encode()) for name, value in told.headers.items()]
    return Answer(refusal.status, headers, b"" if asked.is_head else body)
