"""Sending a patch's file: with ranges, at a limited rate, and without a thread or a connection to the database.

The answer is a stream in the web server's loop: however many agents fetch for hours, requests find threads.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
LARGEST_PIECE = 256 * 1024
SMALLEST_PIECE = 4 * 1024
PIECES_PER_S = 4
CONTENT_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a file, from the byte `start` until before the byte `end`."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


def part_of(header: str, size: int) -> Part | None:
    """Return what a `Range` header asks for of `size` bytes: all if it means nothing, None if nothing is there."""
    asked = RANGE.fullmatch(header.replace(" ", ""))
    if asked is None or not (asked[1] or asked[2]):
        return Part(0, size)
    if not asked[1]:
        length = int(asked[2])
        return Part(max(size - length, 0), size) if length else None
    start = int(asked[1])
    end = min(int(asked[2]) + 1, size) if asked[2] else size
    if start >= size:
        return None
    return Part(start, end) if start < end else Part(0, size)


def piece_size(bytes_per_s: int | None) -> int:
    """Return how much to send at once: a quarter of a second's worth, within bounds."""
    if not bytes_per_s:
        return LARGEST_PIECE
    return max(SMALLEST_PIECE, min(LARGEST_PIECE, bytes_per_s // PIECES_PER_S))


def answer(request: HttpRequest, path: Path, sha256: str, *, caller: int, bytes_per_s: int | None) -> HttpResponseBase:
    """Answer with the file or the part asked for; 416 where there is no such part.

    A caller has one stream: a newer one ends the older, so that several do not add up to more than the rate.
    """
    size, etag = path.stat().st_size, f'"{sha256}"'
    is_same = request.headers.get("If-Range", etag) == etag
    asked = request.headers.get("Range", "") if is_same else ""
    part = part_of(asked, size)
    headers = {"Accept-Ranges": "bytes", "ETag": etag, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if part is None:
        return HttpResponse(
            status=416, headers=headers | {"Content-Range": f"bytes */{size}"}, content_type=CONTENT_TYPE
        )
    headers["Content-Length"] = str(part.length)
    is_partial = part.length < size
    if is_partial:
        headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{size}"
    content: AsyncIterator[bytes] | Iterator[bytes] = (
        paced(path, part, caller, bytes_per_s) if isinstance(request, ASGIRequest) else _read(path, part)
    )
    return StreamingHttpResponse(content, status=206 if is_partial else 200, headers=headers, content_type=CONTENT_TYPE)


_newest: dict[int, object] = {}


async def paced(path: Path, part: Part, caller: int, bytes_per_s: int | None) -> AsyncIterator[bytes]:
    """Yield a part of a file no faster than `bytes_per_s`; end early once the caller has begun a newer stream."""
    mine = _newest[caller] = object()
    stream = await asyncio.to_thread(path.open, "rb")
    try:
        await asyncio.to_thread(stream.seek, part.start)
        began, sent, size = time.monotonic(), 0, piece_size(bytes_per_s)
        while sent < part.length and _newest.get(caller) is mine:
            piece = await asyncio.to_thread(stream.read, min(size, part.length - sent))
            if not piece:
                return
            if bytes_per_s:
                await asyncio.sleep(max(began + sent / bytes_per_s - time.monotonic(), 0))
            sent += len(piece)
            yield piece
    finally:
        stream.close()
        if _newest.get(caller) is mine:
            del _newest[caller]


def _read(path: Path, part: Part) -> Iterator[bytes]:
    """Yield a part of a file at once, for servers that cannot wait in a loop, as Django's own for development."""
    with path.open("rb") as stream:
        stream.seek(part.start)
        left = part.length
        while left and (piece := stream.read(min(LARGEST_PIECE, left))):
            left -= len(piece)
            yield piece
