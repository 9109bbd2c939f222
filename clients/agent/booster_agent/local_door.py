"""The local port: gives the store's terminals their last documents when they reach no Booster.

Few connections at a time, each for a few seconds, so that slow or hostile callers hurt nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading
from collections.abc import Callable
from http import HTTPStatus

from booster_agent.documents import Copy, Documents

log = logging.getLogger("booster-agent")
PATH = re.compile(r"/api/v1/local/(configuration|status)/?", re.ASCII)
MOST_CONNECTIONS = 200
REQUEST_WITHIN_S = 5.0
ANSWER_WITHIN_S = 10.0
LARGEST_REQUEST = 8 * 1024
Reply = tuple[int, dict[str, str], bytes]


def reply(copy: Copy, method: str, path: str, headers: dict[str, str], moment: float) -> Reply:
    """Return the status, headers and body for a call at the local port; `headers` have lower-case names."""
    found = PATH.fullmatch(path.partition("?")[0])
    if found is None:
        return HTTPStatus.NOT_FOUND, {}, b""
    if method not in ("GET", "HEAD"):
        return HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET, HEAD"}, b""
    if not copy.is_filled:
        return HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": "30"}, b""
    held = copy.documents.get((headers.get("x-booster-terminal", ""), found[1]))
    if held is None:
        return HTTPStatus.NOT_FOUND, {}, b""
    told = {
        "ETag": f'"{held.tag}"',
        "X-Booster-Revision": str(held.revision),
        "X-Booster-Signature": held.signature,
        "X-Booster-Stale": str(max(0, int(moment - copy.checked_at))),
        "Cache-Control": "private, no-cache",
    }
    known = [tag.strip().removeprefix("W/") for tag in headers.get("if-none-match", "").split(",")]
    if f'"{held.tag}"' in known or known == ["*"]:
        return HTTPStatus.NOT_MODIFIED, told, b""
    return HTTPStatus.OK, told | {"Content-Type": "application/json"}, held.body


class LocalDoor:
    """Serves the documents in a thread of its own."""

    def __init__(self, documents: Documents, address: str, port: int, clock: Callable[[], float]) -> None:
        self._documents = documents
        self._address, self._asked_port = address, port
        self._clock = clock
        self._connections = 0
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="local door", daemon=True)
        self.port = 0

    def start(self) -> None:
        """Open the port; raises OSError when that is not possible."""
        self._thread.start()
        opening = asyncio.start_server(self._serve, self._address, self._asked_port, limit=LARGEST_REQUEST)
        self._server = asyncio.run_coroutine_threadsafe(opening, self._loop).result(10)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def stop(self) -> None:
        """Close the port and every connection."""
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        if not self._thread.is_alive():
            self._loop.close()

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        calls = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in calls:
            task.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= MOST_CONNECTIONS:
                await self._answer(reader, writer)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever calls wrongly, too slowly or goes away gets no answer
        finally:
            self._connections -= 1
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(REQUEST_WITHIN_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *rest = head.split("\r\n")
        words = line.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):  # noqa: PLR2004
            return
        headers = {name.strip().lower(): value.strip() for name, _, value in (row.partition(":") for row in rest)}
        status, told, body = reply(self._documents.copy, words[0], words[1], headers, self._clock())
        told = told | {"Connection": "close"}
        if status != HTTPStatus.NOT_MODIFIED:
            told["Content-Length"] = str(len(body))
        shown = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        writer.write(f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{shown}\r\n".encode("latin-1"))
        if words[0] != "HEAD":
            writer.write(body)
        async with asyncio.timeout(ANSWER_WITHIN_S):
            await writer.drain()
            writer.close()
            await writer.wait_closed()
