"""How much any caller may send, measured before anything is kept.

Django writes a body to disk before it looks at the request, whoever sends it; the doors' own, smaller
limits come after that.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LARGEST_BODY = 8 * 2**20  # above the largest file of any window
PROBLEM = json.dumps(
    {
        "type": "/problems/too-large",
        "title": "The request body is too large",
        "status": 413,
        "detail": f"No body may have more than {LARGEST_BODY} bytes.",
        "errors": [],
    }
).encode()


class _TooLarge(Exception):
    pass


class BodyLimit:
    """The ASGI application that answers 413 for a body above LARGEST_BODY and leaves the rest to another."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        read = 0

        async def measured() -> Mapping[str, Any]:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > LARGEST_BODY:
                raise _TooLarge
            return message

        announced = dict(scope["headers"]).get(b"content-length", b"0")
        try:
            if announced.isdigit() and int(announced) > LARGEST_BODY:
                raise _TooLarge
            await self._application(scope, measured, send)
        except _TooLarge:
            headers = [
                (b"content-type", b"application/problem+json"),
                (b"content-length", str(len(PROBLEM)).encode()),
                (b"cache-control", b"no-store"),
            ]
            await send({"type": "http.response.start", "status": 413, "headers": headers})
            await send({"type": "http.response.body", "body": PROBLEM})
