"""Terminals that wait for their documents to change: held without a thread, a task or a timer of their own.

What a terminal waits for is a set of documents, each named by door and organization, with the tags it
holds. When the configuration or a state moves, the watcher's thread finds out which of the documents
that are waited for are different now, and the event loop wakes their waiters, some hundred at a time,
so that polls get their turn between. Waits end in one wheel of time, spread a little, so that
terminals that came together do not come back together. Design, section 5.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from enum import Enum
from math import ceil
from typing import Any

from backoffice.stopping import when_told_to_stop
from routing.document import Door
from routing.landscape import OrganizationCode

Topic = tuple[Door, OrganizationCode]
TagOf = Callable[[Topic], str | None]
"""Returns the present tag of a document, or None where there is none any more."""

SLOT_S = 0.25
WOKEN_AT_ONCE = 250
WAITS_PER_TOKEN = 4
"""A terminal that opens more at a door is answered at the oldest: it has lost or forgotten that one."""
SPREAD = 0.1
"""Waits that see no change end this share earlier at most."""


class Woken(Enum):
    """Why a wait ended."""

    CHANGED = "changed"
    TIME = "time"
    DISPLACED = "displaced"
    STOPPED = "stopped"
    FULL = "full"


class _Waiter:
    __slots__ = ("future", "slot", "tags", "token_id", "topics")

    def __init__(
        self, future: asyncio.Future[Woken], token_id: str, topics: tuple[Topic, ...], tags: tuple[str, ...]
    ) -> None:
        self.future = future
        self.token_id = token_id
        self.topics = topics
        self.tags = tags
        self.slot = 0


class Waiting:
    """Everyone who waits in this process. Its methods are called in the event loop, `moved` in any thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._number = 0
        self._by_topic: dict[Topic, set[_Waiter]] = {}
        self._by_token: dict[tuple[str, tuple[Door, ...]], list[_Waiter]] = {}
        self._wheel: dict[int, set[_Waiter]] = {}
        self._tick: asyncio.TimerHandle | None = None
        self._news: deque[tuple[Topic, str | None]] = deque()
        self._is_draining = False
        self._is_stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def __len__(self) -> int:
        return self._number

    async def wait(
        self, token_id: str, topics: tuple[Topic, ...], tags: tuple[str, ...], seconds: float, tag_of: TagOf
    ) -> Woken:
        """Wait until one of `topics` has another tag than the one held, for `seconds` at most; return why it ended.

        `tag_of` is asked once more after the wait has been noted, so that no change falls between.
        """
        if self._is_stopping:
            return Woken.STOPPED
        if self._number >= self._most:
            return Woken.FULL
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            when_told_to_stop(self.stop)
        waiter = _Waiter(loop.create_future(), token_id, topics, tags)
        self._add(waiter, loop.time() + seconds * (1 - SPREAD * random.random()))  # noqa: S311 - no secret
        try:
            if any(tag_of(topic) != tag for topic, tag in zip(topics, tags, strict=True)):
                return Woken.CHANGED
            return await waiter.future
        finally:
            self._remove(waiter)

    def _add(self, waiter: _Waiter, deadline: float) -> None:
        self._number += 1
        for topic in waiter.topics:
            self._by_topic.setdefault(topic, set()).add(waiter)
        waiter.slot = ceil(deadline / SLOT_S)
        self._wheel.setdefault(waiter.slot, set()).add(waiter)
        own = self._by_token.setdefault((waiter.token_id, _doors(waiter)), [])
        own.append(waiter)
        if len(own) > WAITS_PER_TOKEN:
            _wake(own[0], Woken.DISPLACED)
        if self._tick is None:
            self._tick = self._running_loop.call_later(SLOT_S, self._end_waits)

    def _remove(self, waiter: _Waiter) -> None:
        self._number -= 1
        for topic in waiter.topics:
            _discard(self._by_topic, topic, waiter)
        _discard(self._wheel, waiter.slot, waiter)
        key = (waiter.token_id, _doors(waiter))
        own = self._by_token[key]
        own.remove(waiter)
        if not own:
            del self._by_token[key]

    @property
    def _running_loop(self) -> asyncio.AbstractEventLoop:
        assert self._loop is not None  # noqa: S101 - set by whoever waits first
        return self._loop

    def _end_waits(self) -> None:
        """Turn the wheel: end the waits whose time has come."""
        self._tick = None
        now = self._running_loop.time() / SLOT_S
        for slot in [slot for slot in self._wheel if slot <= now]:
            for waiter in list(self._wheel[slot]):
                _wake(waiter, Woken.TIME)
        if self._wheel:
            self._tick = self._running_loop.call_later(SLOT_S, self._end_waits)

    def moved(self, tag_of: TagOf, is_over: Callable[[str, tuple[Topic, ...]], bool]) -> None:
        """Wake whoever waits for a document that has another tag now; called in any thread.

        `is_over` tells whether a token, by its id, opens these documents no more: its waits end too, so that
        its bearer hears of it.
        """
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        for topic in list(self._by_topic):
            tag = tag_of(topic)
            if any(_held(waiter, topic) != tag for waiter in list(self._by_topic.get(topic, ()))):
                self._news.append((topic, tag))
                if len(self._news) == 1:  # else whoever drains finds it too
                    loop.call_soon_threadsafe(self._drain)
        for (token_id, doors), own in list(self._by_token.items()):
            if any(is_over(token_id, waiter.topics) for waiter in own[:1]):
                loop.call_soon_threadsafe(self.leave, token_id, doors)

    def leave(self, token_id: str, doors: tuple[Door, ...]) -> None:
        """End every wait of the bearer of a token for documents of these doors."""
        for waiter in self._by_token.get((token_id, doors), ()):
            _wake(waiter, Woken.CHANGED)

    def _drain(self) -> None:
        """Wake up to WOKEN_AT_ONCE waiters, and the next ones after whatever else the loop has to do."""
        woken = 0
        while self._news and woken < WOKEN_AT_ONCE:
            topic, tag = self._news[0]
            for waiter in list(self._by_topic.get(topic, ())):
                if _held(waiter, topic) != tag and not waiter.future.done():
                    _wake(waiter, Woken.CHANGED)
                    woken += 1
                    if woken == WOKEN_AT_ONCE:
                        break
            else:
                self._news.popleft()
        if self._news and not self._is_draining:
            self._is_draining = True
            self._running_loop.call_soon(self._go_on_draining)

    def _go_on_draining(self) -> None:
        self._is_draining = False
        self._drain()

    def stop(self) -> None:
        """End every wait now, and let none begin."""
        self._is_stopping = True
        for waiters in list(self._wheel.values()):
            for waiter in list(waiters):
                _wake(waiter, Woken.STOPPED)
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None


def _doors(waiter: _Waiter) -> tuple[Door, ...]:
    return tuple(door for door, _ in waiter.topics)


def _held(waiter: _Waiter, topic: Topic) -> str:
    return waiter.tags[waiter.topics.index(topic)]


def _wake(waiter: _Waiter, why: Woken) -> None:
    if not waiter.future.done():
        waiter.future.set_result(why)


def _discard(groups: dict[Any, set[_Waiter]], key: object, waiter: _Waiter) -> None:
    group = groups.get(key)
    if group is not None:
        group.discard(waiter)
        if not group:
            del groups[key]
