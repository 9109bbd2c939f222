"""The edge: a lean ASGI layer in front of Django that answers terminals from memory.

A known token at one of the three documents' doors is answered here, without Django and without the
database, so terminals are served at full speed and through a database failover. Everything else
(unknown tokens, other doors, the windows) goes on to Django. Design, section 5.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import redis
import structlog
from django.conf import settings
from django.db import DatabaseError, connections

from backoffice.credentials import parse_credential
from routing import revision
from routing.answers import DOOR_BY_PATH, METHODS, Answer, Asked, answer, preflight
from routing.document import Door
from routing.store import Store
from terminals.models import TerminalToken

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = structlog.get_logger(__name__)

CHECK_INTERVAL_S = 1.0
REPORT_INTERVAL_S = 5.0
REDIS_RETRY_S = 1.0
BEARER = "bearer "

beats: list[Callable[[datetime], None]] = []
"""What every web process does along with writing its reports, filled by the rooms above; see `fleet.pulse`."""


class Edge:
    """The ASGI application: the terminal doors in memory, Django for the rest."""

    def __init__(self, django: Application, store: Store) -> None:
        self._django = django
        self._store = store
        self._watcher = Watcher(store)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] == "http":
            door = DOOR_BY_PATH.get(scope["path"])
            answered = self._answer(scope, door) if door is not None else None
            if answered is not None:
                start = {"type": "http.response.start", "status": answered.status, "headers": answered.headers}
                await send(start)
                await send({"type": "http.response.body", "body": answered.body})
                return
        await self._django(scope, receive, send)

    def _answer(self, scope: Scope, door: Door) -> Answer | None:
        """Return the answer from memory, or None when Django has to look closer."""
        snapshot = self._store.snapshot
        method = scope["method"]
        if snapshot is None or method not in ("GET", "HEAD", "OPTIONS"):
            return None
        authorization = origin = accept_encoding = if_none_match = ""
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value.decode("latin-1")
            elif name == b"if-none-match":
                if_none_match = (
                    f"{if_none_match},{value.decode('latin-1')}" if if_none_match else value.decode("latin-1")
                )
            elif name == b"accept-encoding":
                accept_encoding = value.decode("latin-1")
            elif name == b"origin":
                origin = value.decode("latin-1")
        if method == "OPTIONS":
            return preflight(origin, snapshot.allowed_origins, METHODS)
        if authorization[: len(BEARER)].lower() != BEARER:
            return None
        credential = parse_credential(authorization[len(BEARER) :].strip())
        if credential is None or credential.kind != TerminalToken.KIND:
            return None
        token = snapshot.token(credential)
        if token is None:
            return None
        moment = datetime.now(UTC)
        asked = Asked(scope["path"], origin, accept_encoding, if_none_match, is_head=method == "HEAD")
        given = answer(snapshot, token, door, asked, moment=moment, stale_s=self._store.stale_s)
        if given.status in (200, 304):
            self._store.note_poll(token, moment, snapshot.revision if door is Door.CONFIGURATION else None)
        return given

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._watcher.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await asyncio.to_thread(self._watcher.stop)
                await send({"type": "lifespan.shutdown.complete"})
                return


class Watcher:
    """Keeps a process's store up to date and writes its reports, in threads of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._database_is_away = False

    def start(self) -> None:
        self._threads = [threading.Thread(target=self._watch, name="revision-watcher", daemon=True)]
        if settings.REDIS_URL:
            self._threads.append(threading.Thread(target=self._listen, name="revision-listener", daemon=True))
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads and write the last reports."""
        self._stopping.set()
        revision.moved.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def _watch(self) -> None:
        written_at = time.monotonic()
        while not self._stopping.is_set():
            revision.moved.clear()
            is_due = time.monotonic() - written_at >= REPORT_INTERVAL_S
            self.check(write_reports=is_due)
            if is_due:
                written_at = time.monotonic()
            revision.moved.wait(CHECK_INTERVAL_S)
        self.check(write_reports=True)
        connections.close_all()

    def check(self, *, write_reports: bool) -> None:
        """Read what moved and write what is due; a database that is away is waited for."""
        try:
            if write_reports or self._store.reports.has_first_uses:
                self._store.reports.flush()
            self._store.refresh()
            if self._database_is_away:
                logger.warning("database-back")
            self._database_is_away = False
            if write_reports:
                self._beat()
        except DatabaseError as error:
            connections.close_all()
            if not self._database_is_away:
                logger.warning("database-away", error=type(error).__name__)
            self._database_is_away = True
        except Exception:
            # The thread must outlive whatever happens: without it, no change would arrive any more.
            logger.exception("revision-check-failed")

    @staticmethod
    def _beat() -> None:
        for beat in beats:
            try:
                beat(datetime.now(UTC))
            except Exception:
                # What the rooms above want of this thread must not cost terminals their answers.
                logger.exception("beat-failed")
                connections.close_all()

    def _listen(self) -> None:
        """Wake the watcher at once when any process announces a change over Redis."""
        while not self._stopping.is_set():
            try:
                with redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=2) as client:
                    subscription = client.pubsub(ignore_subscribe_messages=True)
                    subscription.subscribe(revision.CHANNEL)
                    while not self._stopping.is_set():
                        if subscription.get_message(timeout=CHECK_INTERVAL_S):
                            revision.moved.set()
            except redis.RedisError:
                # The watcher's own check every second stays in force meanwhile.
                self._stopping.wait(REDIS_RETRY_S)
