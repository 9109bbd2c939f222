"""The edge: a lean ASGI layer in front of Django that answers terminals from memory.

A known token at one of the doors of the documents is answered here, without Django and without the
database, so terminals are served at full speed and through a database failover. Everything else
(unknown tokens, other doors, the windows) goes on to Django. Design, section 5.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.conf import settings

from backoffice.addresses import counted_as, origin_address
from backoffice.credentials import parse_credential
from backoffice.refusals import Refusal, TooManyAttempts, Unauthenticated
from routing import events_stream
from routing.answers import (
    DOOR_BY_PATH,
    METHODS,
    WAITING_DOORS,
    Answer,
    Asked,
    answer,
    names_tag,
    preflight,
    problem,
    wait_asked,
)
from routing.document import Door
from routing.events_stream import Held
from routing.limits import Rate
from routing.remembered import Key, Memory, Remembered
from routing.store import Snapshot, Store
from routing.waiting import Topic, Waiting, Woken
from routing.watcher import Watcher
from terminals.models import TerminalToken
from terminals.tokens import TokenState

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

BEARER = "bearer "
MOST_CALLERS = 100_000
OK, NOT_MODIFIED = 200, 304
NOTE_INTERVAL_S = 1.0


class Call(NamedTuple):
    """A call at a door by the bearer of a known token."""

    token_id: str
    asked: Asked
    last_event_id: str = ""


class Edge:
    """The ASGI application: the terminal doors in memory, Django for the rest."""

    def __init__(self, django: Application, store: Store) -> None:
        self._django = django
        self._store = store
        self._waiting = Waiting(settings.BOOSTER_WAITING_POLLS)
        self._memory = Memory()
        self._watcher = Watcher(store, self._tell_waiting)
        self._known = _rate(settings.BOOSTER_POLLS_PER_MINUTE)
        self._strangers = _rate(settings.BOOSTER_STRANGERS_PER_MINUTE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            door = DOOR_BY_PATH.get(path)
            if door is not None:
                key = Memory.key_of(scope)
                remembered = self._memory.find(key, self._store.snapshot) if key is not None else None
                if remembered is not None and self._is_good(remembered, door):
                    await send(remembered.start)
                    await send(remembered.body)
                    return
                given = await self._at_door(scope, door, key)
                if given is not None:
                    await _send(send, given)
                    return
            elif path in events_stream.PATHS:
                call = self._recognize(scope, is_stream=True)
                if isinstance(call, Call):
                    await self._stream(call, receive, send)
                    return
                if call is not None:
                    await _send(send, call)
                    return
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        await self._django(scope, receive, send)

    def _is_good(self, remembered: Remembered, door: Door) -> bool:
        """Tell whether a remembered answer may be given again, and keep now and then that its terminal called."""
        now = time.monotonic()
        token = remembered.token
        if not self._store.is_checked(now) or self._known.refused_for_s(token.token_id, now):
            return False
        if now >= remembered.note_again_at:
            remembered.note_again_at = now + NOTE_INTERVAL_S
            self._note(token, door, datetime.now(UTC))
        return True

    async def _at_door(self, scope: Scope, door: Door, key: Key | None) -> Answer | None:
        """Return the answer, once the document has changed if it shall wait; None when Django has to look closer."""
        snapshot = self._store.snapshot
        call = self._recognize(scope, is_stream=False)
        if not isinstance(call, Call):
            return call
        given = self._answer(call, door)
        if (
            key is not None
            and snapshot is self._snapshot
            and given.status in (OK, NOT_MODIFIED)
            and self._store.is_checked(time.monotonic())
        ):
            self._memory.keep(key, snapshot, given, snapshot.tokens[call.token_id])
        query = scope["query_string"]
        if query and door in WAITING_DOORS:
            scope["headers"] = ()  # who waits keeps nothing that is not needed any more
            given = await self._when_changed(call, door, given, query)
        return given

    def _recognize(self, scope: Scope, *, is_stream: bool) -> Call | Answer | None:
        """Return who calls, the answer there is already, or None when Django has to look closer."""
        snapshot = self._store.snapshot
        method = scope["method"]
        if snapshot is None or method not in ("GET", "HEAD", "OPTIONS"):
            return None
        authorization = origin = accept_encoding = if_none_match = last_event_id = ""
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
            elif name == b"last-event-id":
                last_event_id = value.decode("latin-1")
        if method == "OPTIONS":
            return preflight(origin, snapshot.allowed_origins, METHODS)
        asked = Asked(scope["path"], origin, accept_encoding, if_none_match, is_head=method == "HEAD")
        token = _token(snapshot, authorization)
        if refusal := self._too_often(token, scope):
            return problem(refusal, snapshot, asked)
        if token is None or (is_stream and method != "GET"):
            return None
        return Call(token.token_id, asked, last_event_id)

    def _too_often(self, token: TokenState | None, scope: Scope) -> TooManyAttempts | None:
        """Count the call for its token, or its address where there is none, and return why it is refused."""
        now = time.monotonic()
        if token is not None:
            wait_s, who = self._known.refused_for_s(token.token_id, now), "This terminal calls too often."
        else:
            wait_s = self._strangers.refused_for_s(_address(scope), now)
            who = "Too many calls without a known token came from this address."
        return TooManyAttempts(who, retry_after_s=wait_s) if wait_s else None

    def _answer(self, call: Call, door: Door) -> Answer:
        """Return what the caller gets now, and keep that it called."""
        snapshot = self._snapshot
        token = snapshot.tokens.get(call.token_id)
        if token is None:
            return problem(Unauthenticated("The token is not known any more."), snapshot, call.asked)
        moment = datetime.now(UTC)
        given = answer(snapshot, token, door, call.asked, moment=moment, stale_s=self._store.stale_s)
        if given.status in (OK, NOT_MODIFIED):
            self._note(token, door, moment)
        return given

    def _note(self, token: TokenState, door: Door, moment: datetime) -> None:
        self._store.note_poll(token, moment, self._snapshot.revision if door is Door.CONFIGURATION else None)

    @property
    def _snapshot(self) -> Snapshot:
        assert self._store.snapshot is not None  # noqa: S101 - whoever was recognized was so by one
        return self._store.snapshot

    # --- Waiting for a change ------------------------------------------------------------------------

    async def _when_changed(self, call: Call, door: Door, given: Answer, query: bytes) -> Answer:
        """Return `given`, unless it is a 304 that shall wait: then the answer once the document has changed."""
        try:
            seconds = wait_asked(query.decode("latin-1"))
        except Refusal as refusal:
            return problem(refusal, self._snapshot, call.asked)
        if not seconds or given.status != NOT_MODIFIED:
            return given
        topic = self._topic(call, door)
        tag = self._tag(topic) if topic is not None else None
        if topic is not None and tag is not None and names_tag(call.asked.if_none_match, tag):
            await self._waiting.wait(call.token_id, (topic,), (tag,), seconds, self._tag)
        return self._answer(call, door)

    def _topic(self, call: Call, door: Door) -> Topic | None:
        snapshot = self._snapshot
        token = snapshot.tokens.get(call.token_id)
        organization = snapshot.organization_of(token) if token is not None else None
        return (door, organization) if organization is not None else None

    def _tag(self, topic: Topic) -> str | None:
        return _tag_of(self._snapshot, topic)

    def _tell_waiting(self, snapshot: Snapshot) -> None:
        """Wake whom a new snapshot concerns; called in the watcher's thread."""
        moment = datetime.now(UTC)

        def is_over(token_id: str, topics: tuple[Topic, ...]) -> bool:
            token = snapshot.tokens.get(token_id)
            organization = snapshot.organization_of(token) if token is not None else None
            if token is None or organization is None or organization != topics[0][1]:
                return True
            is_active = snapshot.landscape.organizations[organization].is_active
            return token.refusal(moment, organization_is_active=is_active) is not None

        self._waiting.moved(lambda topic: _tag_of(snapshot, topic), is_over)

    # --- The stream of events ------------------------------------------------------------------------

    async def _stream(self, call: Call, receive: Receive, send: Send) -> None:
        """Send the documents, then each change, until the terminal goes, its right ends, or this process does."""
        refusal = self._answer(call, Door.CONFIGURATION)
        if refusal.status not in (OK, NOT_MODIFIED):
            await _send(send, refusal)
            return
        headers = events_stream.headers(call.asked.origin, self._snapshot.allowed_origins)
        await send({"type": "http.response.start", "status": OK, "headers": headers})
        gone = asyncio.ensure_future(_gone(receive))
        gone.add_done_callback(lambda _: self._waiting.leave(call.token_id, events_stream.DOORS))
        held = Held.of(call.last_event_id)
        body = events_stream.RETRY
        try:
            while not gone.done():
                topics = tuple(topic for door in events_stream.DOORS if (topic := self._topic(call, door)) is not None)
                if not topics or self._answer(call, Door.CONFIGURATION).status not in (OK, NOT_MODIFIED):
                    break
                news, held = events_stream.events(self._snapshot, topics[0][1], held)
                await send({"type": "http.response.body", "body": body + news, "more_body": True})
                woken = await self._waiting.wait(call.token_id, topics, held, events_stream.STILL_HERE_S, self._tag)
                if woken in (Woken.STOPPED, Woken.DISPLACED, Woken.FULL):
                    break
                body = events_stream.STILL_HERE if woken is Woken.TIME else b""
        finally:
            gone.cancel()
        await send({"type": "http.response.body", "body": b""})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._watcher.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                self._waiting.stop()
                await asyncio.to_thread(self._watcher.stop)
                await send({"type": "lifespan.shutdown.complete"})
                return


async def _send(send: Send, given: Answer) -> None:
    await send({"type": "http.response.start", "status": given.status, "headers": given.headers})
    await send({"type": "http.response.body", "body": given.body})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _token(snapshot: Snapshot, authorization: str) -> TokenState | None:
    """Return the state of the token that the header spells, or None."""
    if authorization[: len(BEARER)].lower() != BEARER:
        return None
    credential = parse_credential(authorization[len(BEARER) :].strip())
    if credential is None or credential.kind != TerminalToken.KIND:
        return None
    return snapshot.token(credential)


def _tag_of(snapshot: Snapshot, topic: Topic) -> str | None:
    door, organization = topic
    return snapshot.tag(door, organization) if organization in snapshot.landscape.organizations else None


def _address(scope: Scope) -> str:
    """Return what limits count a call for, behind trusted proxies or not."""
    client = scope.get("client")
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    peer = client[0] if client else ""
    return counted_as(origin_address(peer, forwarded.decode("latin-1"), settings.BOOSTER_TRUSTED_PROXIES))


def _rate(per_minute: int) -> Rate:
    """Let half a minute's worth through at once: terminals call again as soon as they have been woken."""
    return Rate(per_minute, max(1, per_minute // 2), MOST_CALLERS)
