"""A whole terminal: the router, kept up to date by the Boosters, with its queue going on in the background."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import httpx

from request_router.booster import Boosters, NoBooster, Refused
from request_router.documents import (
    Configuration,
    Preferences,
    Server,
    WrongDocument,
    configuration_of,
    parsed,
    status_of,
)
from request_router.login import GET_TOKEN, Login, token_in
from request_router.queue import Queue, QueueUnusable
from request_router.router import Outcome, RequestRouter, Result
from request_router.state import Kept, State, StateUnusable
from request_router.store_copy import NoCopy, StoreCopy, is_older
from request_router.transport import HttpTransport, http_client

logger = logging.getLogger("request_router")

CONFIGURATION, STATUS = "configuration", "status"
WAIT_S = 50
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
OTHERS_TURN_MS = 5_000
QUEUE_AGAIN_S = 5.0
BOOSTERS_AGAIN_S = 30.0
"""How soon the Boosters are asked again while the store's agent stands in for them."""
SPREAD = 0.3
"""Pauses are longer by up to this share, so that tills that lost a Booster together do not come back together."""


class NotActivated(Exception):
    """The folder holds no token yet."""


class SteadyClock:
    def now_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000


def pause_s(failures: int, not_before_s: float = 0.0, chance: Callable[[], float] = random.random) -> float:
    """Return how long to wait after so many failures in a row: growing, at most a minute, spread."""
    grown: float = min(FIRST_PAUSE_S * 2.0 ** max(failures - 1, 0), LONGEST_PAUSE_S)
    return spread(max(grown, not_before_s), chance)


def spread(seconds: float, chance: Callable[[], float] = random.random) -> float:
    return seconds * (1 + SPREAD * chance())


def login_interval_s(configured: Configuration | None) -> float:
    """Return how often a login is renewed: the preference, or its default while there is no configuration."""
    return (configured.preferences if configured else Preferences()).token_refresh_interval_ms / 1000


def _store_copy(client: httpx.Client, identity: Mapping[str, Any]) -> StoreCopy | None:
    url, keys = identity.get("agent"), identity.get("signing_keys")
    if not isinstance(url, str) or not url:
        return None
    return StoreCopy(client, url, str(identity["token"]), keys if isinstance(keys, list) else [])


class Terminal:
    """One terminal of a folder; `start` begins to poll and to deliver, `close` ends both.

    Starts with the last good documents and works without any Booster. Raises NotActivated, StateUnusable
    or QueueUnusable.
    """

    def __init__(
        self,
        state: State,
        *,
        client: httpx.Client | None = None,
        home_url: str = "",
        headers_for: Callable[[Server], Mapping[str, str]] = lambda server: {},
        log_in_again: Callable[[Server], bool] = lambda server: False,
        software: str = "",
    ) -> None:
        identity = state.identity()
        if identity is None:
            raise NotActivated(f"The folder {state.folder} holds no token: activate the terminal first.")
        self.state = state
        self.name = str(identity.get("terminal", ""))
        self._token = str(identity["token"])
        self._client = client or http_client()
        self.boosters = Boosters(self._client, [str(url) for url in identity["boosters"]])
        self._organization = str(identity.get("organization", ""))
        self._store_copy = _store_copy(self._client, identity)
        self.through_agent: set[str] = set()
        self._software = software
        self._stopping = threading.Event()
        self._due = threading.Event()
        self._login = login = Login()
        self._login_moved = threading.Event()
        self._threads: list[threading.Thread] = []
        self.tags: dict[str, str] = {}
        self.received_at: dict[str, float] = {}
        self.revisions: dict[str, int] = {}
        self.ended_by = ""
        self.router = RequestRouter(
            HttpTransport(self._client, lambda server: {**login.headers(server), **headers_for(server)}),
            Queue(state.queue_path),
            SteadyClock(),
            home_url=home_url,
            log_in_again=log_in_again,
            wall_ms=lambda: time.time_ns() // 1_000_000,
        )
        self.router.when_due = self._due.set
        self._turn = state.take_turn()
        for door in (CONFIGURATION, STATUS):
            if (kept := state.document(door)) is not None:
                try:
                    self._take(door, kept)
                except WrongDocument:
                    logger.warning("The %s on disk cannot be used.", door)

    @property
    def revision(self) -> int:
        """The revision of the configuration in force, 0 while there is none."""
        return self.revisions.get(CONFIGURATION, 0)

    def request(self, path: str, body: Mapping[str, Any] | None = None) -> Result:
        return self.router.request(path, body)

    def logged_in(self, token: str) -> None:
        """Send this login token to the servers from now on, and renew it while the background runs; raises ValueError.

        Source: reference/openbravo, sections 4.8 and 5.
        """
        self._login.begin(token)
        self._login_moved.set()

    def logged_out(self) -> None:
        """Forget the login token. Telling the servers is a request of its own."""
        self._login.begin("")
        self._login_moved.set()

    def renew_login(self) -> bool:
        """Ask the servers for a new login token, one after the other until one gives it; return whether one did.

        A server whose session was itself opened by a token gives none: the next one is asked.
        """
        old = self._login.token
        result = self.router.request(GET_TOKEN, lacks=lambda answer: "" if token_in(answer) else "gave no token")
        if result.outcome is not Outcome.SUCCESS:
            logger.info("The login was not renewed: %s", result.reason)
            return False
        return self._login.renew(old, token_in(result.answer))

    def deliver(self) -> None:
        """Ping and deliver what is due, unless another program of this folder does: the order is one program's."""
        self._turn = self._turn or self.state.take_turn()
        if self._turn is not None:
            self.router.pump()

    # --- Documents -------------------------------------------------------------------------------

    def _take(self, door: str, kept: Kept) -> None:
        """Put a document into force; raises WrongDocument and leaves the old one."""
        value = parsed(kept.body)
        if door == CONFIGURATION:
            configuration = configuration_of(value)
            self.router.configure(configuration)
            self._organization = configuration.organization
            if configuration.boosters:
                self.boosters.urls = configuration.boosters
        else:
            self.router.told(status_of(value))
        self.revisions[door] = kept.revision
        self.tags[door] = kept.tag
        self.received_at[door] = kept.received_at
        self._due.set()

    def poll(self, door: str, wait_s: int = 0) -> bool:
        """Ask for a document once; return whether there was a new one, which is then in force and on disk.

        Where no Booster answers, the store's agent is asked; `through_agent` then names the door.
        Raises NoBooster, Refused, WrongDocument or StateUnusable; the last good document stays.
        """
        try:
            polled = self.boosters.poll(door, token=self._token, tag=self.tags.get(door, ""), wait_s=wait_s)
        except NoBooster as error:
            self.through_agent.discard(door)
            return self._take_copy(door, error)
        self.through_agent.discard(door)
        if polled is None:
            self.received_at[door] = time.time()
            return False
        kept = Kept(polled.body, polled.tag, polled.revision, time.time())
        self._take(door, kept)
        self.state.store_document(door, kept)
        return True

    def _take_copy(self, door: str, none: NoBooster) -> bool:
        """Take the agent's copy of a document if its signature holds and it is not older; raises NoBooster."""
        copies = self._store_copy
        if copies is None:
            raise none
        try:
            copy = copies.ask(door, self._organization, self.tags.get(door, ""))
            if copy is not None and is_older(copy, self.revisions.get(door, 0), self.received_at.get(door, 0.0)):
                copy = None
            if copy is not None:
                kept = Kept(copy.body, copy.tag, copy.revision, min(copy.signed_at, time.time()))
                self._take(door, kept)
                self.state.store_document(door, kept)
        except WrongDocument as error:
            logger.warning("The %s that the store's agent gave is refused: %s", door, error)
            raise NoBooster([str(none), f"agent {copies.url}: {error}"], none.retry_after_s) from None
        except NoCopy as error:
            raise NoBooster([str(none), f"agent {copies.url}: {error}"], none.retry_after_s) from None
        self.through_agent.add(door)
        return copy is not None

    def report(self) -> float:
        """Tell a Booster what waits and whom the terminal reaches; return after how many seconds to tell again."""
        observed = [
            {"key": server.key, "reachable": self.router.is_online(server.key)}
            for server in (self.router.configuration.servers if self.router.configuration else ())
        ]
        body = {
            "revision": self.revision,
            "queue_length": self.router.queue.length(),
            "software": self._software[:60],
            "observed": observed[:1_000],
        }
        _, answer = self.boosters.ask("POST", "/heartbeat", token=self._token, body=body)
        told = parsed(answer.content)
        seconds = told.get("next_interval_s") if isinstance(told, dict) else None
        return float(seconds) if isinstance(seconds, int) and seconds > 0 else LONGEST_PAUSE_S

    # --- The background --------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to poll, to report and to deliver."""
        loops: dict[str, Callable[[], None]] = {
            CONFIGURATION: lambda: self._keep(lambda: self._poll_once(CONFIGURATION)),
            STATUS: lambda: self._keep(lambda: self._poll_once(STATUS)),
            "reports": lambda: self._keep(self.report),
            "queue": self._pump,
            "login": self._keep_login,
        }
        for name, loop in loops.items():
            thread = threading.Thread(target=loop, name=f"router-{name}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _poll_once(self, door: str) -> float:
        self.poll(door, WAIT_S if door in self.tags else 0)
        return spread(BOOSTERS_AGAIN_S) if door in self.through_agent else 0.0

    def _keep(self, action: Callable[[], float]) -> None:
        """Do something again and again, with growing pauses while it fails; end where the terminal was revoked."""
        failures = 0
        while not self._stopping.is_set():
            try:
                rest = action()
                failures = 0
            except Refused as refused:
                if refused.status == HTTPStatus.GONE:
                    self.ended_by = str(refused)
                    logger.warning("The Booster ended this terminal: %s", refused)
                    return
                failures, rest = failures + 1, LONGEST_PAUSE_S
                logger.warning("A Booster refused: %s", refused)
            except NoBooster as error:
                failures += 1
                rest = pause_s(failures, error.retry_after_s)
                logger.info("No Booster: %s", error)
            except QueueUnusable as error:
                failures += 1
                rest = pause_s(failures)
                logger.warning("%s", error)
            except (WrongDocument, StateUnusable) as error:
                failures += 1
                rest = pause_s(failures)
                logger.warning("%s The last good document stays.", error)
            self._stopping.wait(rest)

    def _keep_login(self) -> None:
        """Renew the login token every interval while there is one, and never give up while that fails."""
        failures = 0
        while not self._stopping.is_set():
            rest = login_interval_s(self.router.configuration)
            if failures:
                rest = min(pause_s(failures), rest)
            moved = self._login_moved.wait(rest)
            self._login_moved.clear()
            if self._stopping.is_set() or moved or not self._login.token:
                failures = 0
                continue
            failures = 0 if self.renew_login() else failures + 1

    def _pump(self) -> None:
        while not self._stopping.is_set():
            self._due.clear()
            try:
                self.deliver()
                due_at = self.router.due_at_ms() if self._turn is not None else SteadyClock().now_ms() + OTHERS_TURN_MS
            except QueueUnusable as error:
                logger.error("%s Trying again.", error)
                self._stopping.wait(QUEUE_AGAIN_S)
                continue
            now = SteadyClock().now_ms()
            self._due.wait(None if due_at is None else max(due_at - now, 0) / 1000)

    def close(self) -> None:
        """End the background work and close the queue; what waits is delivered when the terminal starts again."""
        self._stopping.set()
        self._due.set()
        self._login_moved.set()
        for thread in self._threads:
            if thread.name == "router-queue":
                thread.join(timeout=30)
        self._client.close()
        for thread in self._threads:
            thread.join(timeout=2)
        self.router.queue.close()
        if self._turn is not None:
            self._turn.close()
