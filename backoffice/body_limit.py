"""How much any caller may send, measured before anything is kept.

Django writes a body to disk before it looks at the request, whoever sends it; the doors' own, smaller
limits come after that. A room may let callers it knows send more to its own doors.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Exceptional = Callable[[Scope], Awaitable[int]]

LARGEST_BODY = 8 * 2**20  # above the largest file of any window
DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)


async def no_exception(scope: Scope) -> int:
    return LARGEST_BODY


def _problem(kind: str, title: str, status: int, detail: str) -> bytes:
    told = {"type": f"/problems/{kind}", "title": title, "status": status, "detail": detail, "errors": []}
    return json.dumps(told).encode()


class _TooLarge(Exception):
    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.most = most


class BodyLimit:
    """The ASGI application that answers 413 for a body above the limit and leaves the rest to another.

    The limit is LARGEST_BODY; what is announced or comes in beyond it is let through only as far as
    `exception`, asked then and once, says for the caller. 507 where the disk has no room for a body.
    """

    def __init__(self, application: Application, exception: Exceptional = no_exception) -> None:
        self._application = application
        self._exception = exception

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        read, most, is_begun = 0, LARGEST_BODY, False

        async def check(size: int) -> None:
            nonlocal most
            if size > most == LARGEST_BODY:
                most = await self._exception(scope)
            if size > most:
                raise _TooLarge(most)

        async def measured() -> Mapping[str, Any]:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            await check(read)
            return message

        async def sending(message: Mapping[str, Any]) -> None:
            nonlocal is_begun
            is_begun = True
            await send(message)

        announced = dict(scope["headers"]).get(b"content-length", b"0")
        try:
            if announced.isdigit():
                await check(int(announced))
            await self._application(scope, measured, sending)
        except _TooLarge as error:
            detail = f"No body may have more than {error.most} bytes."
            await _answer(send, 413, _problem("too-large", "The request body is too large", 413, detail))
        except OSError as error:
            if error.errno not in DISK_IS_FULL or is_begun:
                raise
            detail = "The disk for incoming files is full: nothing was kept. Make room and try again."
            await _answer(send, 507, _problem("disk-full", "There is no room left", 507, detail))


async def _answer(send: Send, status: int, problem: bytes) -> None:
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(problem)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": problem})
