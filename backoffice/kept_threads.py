"""Threads for Django that outlive a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.sync import ThreadSensitiveContext

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_IDLE = 16


class KeptThreads:
    """The ASGI application that lets another answer each request in a thread that an earlier one left.

    By itself Django starts a thread per request. Connections to the database belong to threads: each
    request would open one, at many times the price of its queries, and many at once would use up what
    the database accepts. There are as many threads as requests under way, and few idle ones.
    """

    def __init__(self, application: Application) -> None:
        self._application = application
        # The one left last is taken first, so that those too many stay idle. Only the event loop comes here.
        self._idle: list[ThreadPoolExecutor] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        thread = self._idle.pop() if self._idle else ThreadPoolExecutor(1, thread_name_prefix="django")
        try:
            async with ThreadSensitiveContext(executor=thread):
                await self._application(scope, receive, send)
        finally:
            if len(self._idle) < MOST_IDLE:
                self._idle.append(thread)
            else:
                thread.shutdown(wait=False)
