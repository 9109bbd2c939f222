"""Live updates: the pages of the fleet hear what changed by server-sent events.

Each process looks once per interval for all who watch: one picture, one question which sessions still
live. So a further viewer costs no query at all, and no thread works for him. A stream ends when its
session does, when its user may no longer look, when the browser goes and when the process is told to
stop: the web server would otherwise wait for it.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from asgiref.sync import sync_to_async
from django.contrib.auth import HASH_SESSION_KEY
from django.contrib.sessions.models import Session
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.db import close_old_connections, connections
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_GET

from accounts.models import User
from backoffice.look import is_id
from backoffice.stopping import when_told_to_stop
from backoffice.visibility import visible
from fleet.frames import Frame, fleet_frame, server_frame, store_frame
from fleet.gather import Fleet, Scope, gather, observed_of, scope_of, tills_of
from organizations.models import Organization, OrganizationKind
from servers.models import MobileServer, ServerReport

logger = structlog.get_logger(__name__)

INTERVAL_S = 2.0
HEARTBEAT_S = 15.0
SCOPE_KEPT_FOR = timedelta(seconds=30)
MOST_STREAMS = 500
MOST_STREAMS_PER_USER = 20
RETRY_AFTER_S = 30
RETRY_MS = 3000


@dataclass(frozen=True, slots=True)
class Subject:
    """What a page is about: one server by its key, one store by its code, or else the whole fleet."""

    server: str = ""
    store: str = ""


@dataclass(eq=False)
class Viewer:
    """An open page. `shown` is the frame it has, `seen` the digest of what it said to have."""

    user_id: int
    session_key: str
    session_hash: str
    subject: Subject
    seen: str = ""
    shown: Frame | None = None
    waiting: Frame | None = None
    is_ended: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def next_event(self) -> bytes:
        """Return what the page must hear now, as one event, or nothing."""
        frame, shown = self.waiting, self.shown
        self.news.clear()
        if self.is_ended:
            return event("ended", {})
        if frame is None or frame is shown:
            return b""
        self.shown = frame
        return told(frame, shown, self.seen)


def told(frame: Frame, shown: Frame | None, seen: str) -> bytes:
    """Return the event that leads from `shown` (or, at first, from the digest `seen`) to `frame`."""
    if shown is None:
        if seen == frame.digest:
            return b""
        if seen.partition("-")[0] != frame.digest.partition("-")[0]:
            return event("refresh", {}, frame.digest)
        return event("parts", frame.parts, frame.digest)
    if frame.layout != shown.layout:
        return event("refresh", {}, frame.digest)
    changes = frame.changes(shown)
    return event("parts", changes, frame.digest) if changes else b""


def event(name: str, data: Mapping[str, str], digest: str = "") -> bytes:
    """Return one server-sent event."""
    lines = [f"id: {digest}"] if digest else []
    return "\n".join([*lines, f"event: {name}", f"data: {json.dumps(data)}", "", ""]).encode()


# --- One look for all viewers --------------------------------------------------------------------


def still_welcome(viewers: Collection[Viewer], moment: datetime) -> dict[Viewer, User]:
    """Return the viewers whose session lives and whose user may still log in, in two queries."""
    live = set(
        Session.objects.filter(
            session_key__in={viewer.session_key for viewer in viewers}, expire_date__gt=moment
        ).values_list("session_key", flat=True)
    )
    users = User.objects.filter(is_active=True, is_staff=True).in_bulk({viewer.user_id for viewer in viewers})
    return {
        viewer: users[viewer.user_id]
        for viewer in viewers
        if viewer.session_key in live
        and viewer.user_id in users
        and constant_time_compare(viewer.session_hash, users[viewer.user_id].get_session_auth_hash())
    }


@dataclass
class Looker:
    """Looks for all viewers of a process; remembers for a while what each user may see."""

    _scopes: dict[int, tuple[datetime, int, Scope | None]] = field(default_factory=dict)
    _frames: dict[tuple[Subject, Scope], Frame] = field(default_factory=dict)

    def look(self, viewers: Collection[Viewer], moment: datetime) -> dict[Viewer, Frame | None]:
        """Return what each viewer's page shows at `moment`; None for those who may no longer look."""
        fleet = gather(moment)
        welcome = still_welcome(viewers, moment)
        scopes = {user.pk: self._scope(user, fleet) for user in welcome.values()}
        self._scopes = {pk: kept for pk, kept in self._scopes.items() if pk in scopes}
        watched = {fleet.known[v.subject.server].pk for v in welcome if v.subject.server in fleet.known}
        reports = ServerReport.objects.select_related("server").in_bulk(watched)
        observed = observed_of(watched, moment) if watched else {}
        by_key = {report.server.key: report for report in reports.values()}
        everything = Scope(None, None, with_terminals=True)
        tills = tills_of({v.subject.store for v in welcome if v.subject.store}, everything, moment)
        made: dict[tuple[Subject, Scope], Frame] = {}
        frames: dict[Viewer, Frame | None] = dict.fromkeys(viewers)
        for viewer, user in welcome.items():
            scope = scopes[user.pk]
            if scope is None:
                continue
            asked = (viewer.subject, scope)
            if asked not in made:
                frame = frame_of(fleet, viewer.subject, scope, by_key, observed, tills)
                if frame is None:
                    continue
                before = self._frames.get(asked)
                made[asked] = before if before == frame else frame  # so that nobody compares it again
            frames[viewer] = made[asked]
        self._frames = made
        return frames

    def _scope(self, user: User, fleet: Fleet) -> Scope | None:
        """Return what a user may see, asked again after a while, and when the tree or a server moved."""
        kept = self._scopes.get(user.pk)
        if kept is not None and kept[1] == fleet.revision and fleet.moment - kept[0] < SCOPE_KEPT_FOR:
            return kept[2]
        scope = scope_of(user)
        self._scopes[user.pk] = (fleet.moment, fleet.revision, scope)
        return scope


def frame_of(
    fleet: Fleet,
    subject: Subject,
    scope: Scope,
    reports: Mapping[str, ServerReport],
    observed: Mapping[int, str],
    tills: Mapping[str, Any],
) -> Frame | None:
    """Return the page about `subject` for those who see `scope`; None if it is not theirs to see."""
    if subject.server:
        known = fleet.known.get(subject.server)
        if known is None or not scope.has_server(subject.server):
            return None
        return server_frame(fleet, subject.server, reports.get(subject.server), observed.get(known.pk, ""))
    if subject.store:
        if subject.store not in fleet.landscape.organizations or not scope.has_store(subject.store):
            return None
        return store_frame(fleet, subject.store, scope, tills[subject.store] if scope.with_terminals else ())
    return fleet_frame(fleet, scope)


class Broadcast:
    """The open streams of this process, and the one task that looks for them."""

    def __init__(self) -> None:
        self._viewers: set[Viewer] = set()
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False

    def has_room_for(self, user_id: int) -> bool:
        if self._is_stopping:
            return False
        mine = Counter(viewer.user_id for viewer in self._viewers)[user_id]
        return len(self._viewers) < MOST_STREAMS and mine < MOST_STREAMS_PER_USER

    async def stream(self, viewer: Viewer) -> AsyncIterator[bytes]:
        """Yield what a page hears until its session, the browser or this process ends.

        It asks nothing itself: `backoffice.kept_threads` takes thread and connection back with the first part.
        """
        self._viewers.add(viewer)
        try:
            self._begin()
            yield f"retry: {RETRY_MS}\n\n".encode()
            while not self._is_stopping:
                if heard := viewer.next_event():
                    yield heard
                if viewer.is_ended:
                    return
                try:
                    await asyncio.wait_for(viewer.news.wait(), HEARTBEAT_S)
                except TimeoutError:
                    yield b": still here\n\n"
        finally:
            self._viewers.discard(viewer)

    def _begin(self) -> None:
        if self._task is None or self._task.done():
            when_told_to_stop(self.stop)
            self._task = asyncio.create_task(self._go_on())

    def stop(self) -> None:
        """End every stream now, and let none begin."""
        self._is_stopping = True
        for viewer in self._viewers:
            viewer.news.set()
        if self._task is not None:
            self._task.cancel()

    async def _go_on(self) -> None:
        """Look once per interval, in a thread with a connection of its own, while anybody watches."""
        loop = asyncio.get_running_loop()
        looker = Looker()
        is_paused = False
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="fleet-live") as thread:
            while self._viewers:
                started = loop.time()
                try:
                    self._tell(await loop.run_in_executor(thread, _look, looker, tuple(self._viewers)))
                    is_paused = False
                except Exception as error:
                    # Whatever happened, most of all a database that is away: the next look may succeed.
                    if not is_paused:
                        logger.warning("live-updates-paused", error=type(error).__name__, exc_info=error)
                    is_paused = True
                await asyncio.sleep(max(INTERVAL_S - (loop.time() - started), 0))
            await loop.run_in_executor(thread, connections.close_all)
        self._task = None
        if self._viewers:  # somebody came while the connection was being closed
            self._begin()

    def _tell(self, frames: Mapping[Viewer, Frame | None]) -> None:
        for viewer, frame in frames.items():
            viewer.is_ended = frame is None
            viewer.waiting = frame
            if frame is not viewer.shown:
                viewer.news.set()


def _look(looker: Looker, viewers: tuple[Viewer, ...]) -> dict[Viewer, Frame | None]:
    close_old_connections()
    return looker.look(viewers, timezone.now())


broadcast = Broadcast()
"""The open streams of this process."""


# --- The address ---------------------------------------------------------------------------------


@require_GET
async def events(request: HttpRequest) -> HttpResponseBase:
    """Stream what changes on a page: `?page=fleet`, `?server=<id>` or `?store=<code>`, and `seen=<digest>`.

    Events: `parts` (HTML by element id), `refresh` (fetch the page anew) and `ended`: log in again.
    404 for what the user may not see, 403 without the right, 503 with `Retry-After` where too many watch.
    """
    viewer = await sync_to_async(_admit)(request)
    if viewer is None:
        return _answer(event("ended", {}))
    if not isinstance(request, ASGIRequest):
        # A server that cannot stream, as Django's own for development: the browser asks again.
        return _answer(await sync_to_async(_once)(viewer))
    if not broadcast.has_room_for(viewer.user_id):
        return HttpResponse("Too many pages are open.", status=503, headers={"Retry-After": str(RETRY_AFTER_S)})
    return _answer(broadcast.stream(viewer))


def _answer(content: bytes | AsyncIterator[bytes]) -> HttpResponseBase:
    kind = HttpResponse if isinstance(content, bytes) else StreamingHttpResponse
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # no proxy may collect events
    return kind(content, content_type="text/event-stream", headers=headers)


def _admit(request: HttpRequest) -> Viewer | None:
    """Return who watches what; None where nobody is logged in (any more)."""
    user = request.user
    if not isinstance(user, User) or request.session.session_key is None:
        return None
    if scope_of(user) is None:
        raise PermissionDenied
    return Viewer(
        user.pk,
        request.session.session_key,
        request.session[HASH_SESSION_KEY],
        _subject(request, user),
        request.headers.get("Last-Event-ID") or request.GET.get("seen", ""),
    )


def _subject(request: HttpRequest, user: User) -> Subject:
    """Return what the page is about; 404 for what is not there to be seen."""
    asked = request.GET
    if asked.get("page") == "fleet":
        return Subject()
    if is_id(asked.get("server", "")):
        server = visible(MobileServer, user).filter(pk=int(asked["server"])).first()
        if server is not None:
            return Subject(server=server.key)
    code = asked.get("store", "").replace("\0", "")
    if code and visible(Organization, user).filter(code=code, kind=OrganizationKind.STORE).exists():
        return Subject(store=code)
    raise Http404


def _once(viewer: Viewer) -> bytes:
    """Return the one event that brings a page up to date, and when to ask again."""
    viewer.waiting = Looker().look([viewer], timezone.now())[viewer]
    viewer.is_ended = viewer.waiting is None
    return f"retry: {int(INTERVAL_S * 1000)}\n\n".encode() + viewer.next_event()
