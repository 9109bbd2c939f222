"""Requests whose body never comes whole: cut off, or in chunks that are none."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

PROBLEM = json.dumps(
    {
        "type": "/problems/invalid",
        "title": "The request is not valid",
        "status": 400,
        "detail": "The request's body did not come whole.",
        "errors": [],
    }
).encode()


class BrokenBodies:
    """The ASGI application that answers 400 where another ends without any answer.

    Django gives up on a request whose body breaks off, thinking that nobody listens any more. Whoever
    closed only his own half does, and the web server would tell him of an internal error.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        is_answered = False

        async def noted(message: Mapping[str, Any]) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        await self._application(scope, receive, noted)
        if not is_answered:
            headers = [
                (b"content-type", b"application/problem+json"),
                (b"content-length", str(len(PROBLEM)).encode()),
                (b"cache-control", b"no-store"),
            ]
            await send({"type": "http.response.start", "status": 400, "headers": headers})
            await send({"type": "http.response.body", "body": PROBLEM})
