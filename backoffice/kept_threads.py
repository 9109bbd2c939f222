"""Threads for Django that outlive a request."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any

from asgiref.sync import ThreadSensitiveContext

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class KeptThreads:
    """The ASGI application that lets another answer each request in a thread that an earlier one left.

    By itself Django starts a thread per request. Connections to the database belong to threads: each
    request would open one, at many times the price of its queries, and many at once would use up what
    the database accepts. Here there are at most `most` threads; who comes when all are taken waits for
    one. A request takes one with its first synchronous call, when all of its body is there, and gives
    it back at the end or with the first part of an answer that has more parts: a stream can last for hours.
    """

    def __init__(self, application: Application, most: int) -> None:
        self._application = application
        self._most = most
        self._lock = Lock()
        self._started = 0
        # The one left last is taken first, so that those too many stay without a connection.
        self._idle: list[ThreadPoolExecutor] = []
        self._waiting: deque[_Loan] = deque()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        loan = _Loan(self)

        async def sending(message: Mapping[str, Any]) -> None:
            await send(message)
            if message.get("more_body"):
                loan.end()

        try:
            async with ThreadSensitiveContext(executor=loan):
                await self._application(scope, receive, sending)
        finally:
            loan.end(for_good=True)

    def ask(self, loan: _Loan) -> None:
        """Give a thread to `loan`, now or as soon as there is one."""
        with self._lock:
            if self._idle:
                thread = self._idle.pop()
            elif self._started < self._most:
                thread = ThreadPoolExecutor(1, thread_name_prefix="django")
                self._started += 1
            else:
                self._waiting.append(loan)
                return
        loan.take(thread)

    def withdraw(self, loan: _Loan) -> None:
        """Let a loan wait no longer."""
        with self._lock:
            if loan in self._waiting:
                self._waiting.remove(loan)

    def give_back(self, thread: ThreadPoolExecutor) -> None:
        with self._lock:
            if not self._waiting:
                self._idle.append(thread)
                return
            loan = self._waiting.popleft()
        loan.take(thread)


class _Loan(Executor):
    """What runs the calls of one request: one thread, from the first call until `end`, and maybe another then."""

    def __init__(self, keeper: KeptThreads) -> None:
        self._keeper = keeper
        self._lock = Lock()
        self._thread: ThreadPoolExecutor | None = None
        self._is_asking = False
        self._is_over = False
        self._calls: list[tuple[Future[Any], Callable[[], Any]]] = []
        self._last: Future[Any] | None = None

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        called: Future[Any] = Future()
        with self._lock:
            self._calls.append((called, partial(call, *args, **kwargs)))
            if self._thread is not None:
                self._begin(self._thread)
                return called
            must_ask, self._is_asking = not self._is_asking, True
        if must_ask:
            self._keeper.ask(self)
        return called

    def take(self, thread: ThreadPoolExecutor) -> None:
        with self._lock:
            self._thread, self._is_asking = thread, False
            self._begin(thread)
            is_late = self._is_over
        if is_late:  # the request was broken off while it waited
            self.end()

    def _begin(self, thread: ThreadPoolExecutor) -> None:
        for called, call in self._calls:
            thread.submit(_run, called, call)
            self._last = called
        self._calls.clear()

    def end(self, *, for_good: bool = False) -> None:
        """Give the thread back once it has done what it was asked; the next call takes one anew."""
        with self._lock:
            self._is_over = self._is_over or for_good
            thread, self._thread = self._thread, None
            last, self._last = self._last, None
        if thread is None:
            self._keeper.withdraw(self)
        elif last is None or last.done():
            self._keeper.give_back(thread)
        else:  # a call that nobody waits for any more goes on
            last.add_done_callback(lambda _: self._keeper.give_back(thread))


def _run(called: Future[Any], call: Callable[[], Any]) -> None:
    if not called.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # whoever waits for the call gets it
        called.set_exception(error)
    else:
        called.set_result(result)
