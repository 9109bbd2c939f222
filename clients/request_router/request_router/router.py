"""The request router: which server a request goes to, one after the other until it ends.

Every request ends: in success, or in one failure that names whom it was tried with and why that did not do.
Rules N6 to N12; reference/openbravo, section 4, without the defects of its section 11.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from request_router.answers import Answered, Meaning
from request_router.documents import Configuration, RoutingType, Server, ServerStatus, Service
from request_router.flags import Flags
from request_router.queue import SHARED, Message, Queue

FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 1_000, 60_000
LONGEST_MESSAGE_ID = 200
HOME = "home"


class Outcome(StrEnum):
    SUCCESS = "success"
    STORED = "stored"
    REFUSED = "refused"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Tried:
    """A server that a request was sent to, and why it did not accept it; no reason for the one that did."""

    server: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """How a request ended.

    `server` is the key of the one that decided it, `answer` its JSON; `by_server` holds every provider's
    answer to a broadcast. `message_id` is that of a stored transaction.
    """

    outcome: Outcome
    service: str
    tried: tuple[Tried, ...] = ()
    server: str | None = None
    answer: Any = None
    by_server: Mapping[str, Answered] = field(default_factory=dict)
    message_id: str | None = None
    reason: str = ""


class WrongRequest(ValueError):
    """The caller asked for what can never be sent; nothing was stored."""


class Transport(Protocol):
    def send(self, server: Server, path: str, body: Mapping[str, Any], timeout_s: float) -> Answered:
        """Send a request to one server and return what its answer means; never raises."""


class Clock(Protocol):
    def now_ms(self) -> int:
        """Return the time in milliseconds, of a clock that is never turned back."""


class RequestRouter:
    """Routes one terminal's requests. Safe for several threads; `pump` is called by whoever keeps time."""

    def __init__(
        self,
        transport: Transport,
        queue: Queue,
        clock: Clock,
        *,
        home_url: str = "",
        log_in_again: Callable[[Server], bool] = lambda server: False,
        wall_ms: Callable[[], int] | None = None,
    ) -> None:
        self._transport = transport
        self.queue = queue
        self._clock = clock
        self._wall_ms = wall_ms or clock.now_ms
        self._home = Server(HOME, "Default", home_url.rstrip("/"), is_main=True) if home_url else None
        self._log_in_again = log_in_again
        self._flags = Flags()
        self._lock = threading.Lock()
        self._pumping = threading.Lock()
        self._pauses: dict[str, tuple[int, int]] = {}
        self._ping_at: int | None = None
        self._configuration: Configuration | None = None
        self.when_due: Callable[[], None] = lambda: None

    # --- What the Booster tells ------------------------------------------------------------------

    @property
    def configuration(self) -> Configuration | None:
        return self._configuration

    def configure(self, configuration: Configuration) -> None:
        """Route by this configuration from now on."""
        self._configuration = configuration

    def told(self, states: Mapping[str, ServerStatus]) -> None:
        """Take over the Booster's status of the servers."""
        with self._lock:
            if self._flags.told(states):
                self._pauses.clear()
            self._plan_ping()
        self.when_due()

    def servers(self) -> tuple[Server, ...]:
        """Return the servers there are: those of the configuration, or the one the terminal came from (2.2)."""
        configured = self._configuration
        if configured is not None and configured.servers:
            return configured.servers
        return (self._home,) if self._home is not None else ()

    def is_online(self, key: str) -> bool:
        with self._lock:
            return self._flags.is_online(key)

    def is_in_transition(self, key: str) -> bool:
        with self._lock:
            return self._flags.is_in_transition(key)

    # --- Requests --------------------------------------------------------------------------------

    def match(self, path: str) -> Service:
        configured = self._configuration
        return configured.match(path) if configured is not None else Service("Generic")

    def providers(self, service: str) -> tuple[Server, ...]:
        return tuple(server for server in self.servers() if server.provides(service))

    def request(
        self, path: str, body: Mapping[str, Any] | None = None, *, lacks: Callable[[Any], str] = lambda answer: ""
    ) -> Result:
        """Send a request, or store it if its service is transactional; return how it ended.

        `lacks` may say what an answer lacks: under fail over the next server is then asked. A transaction
        needs `data`, a list that is not empty, and gets a `messageId` if it has none.
        Raises WrongRequest, and QueueUnusable when the disk does not take it.
        """
        sent = dict(body or {})
        _check_json(sent)
        service = self.match(path)
        providers = self.providers(service.name)
        if service.is_transactional:
            return self._store(service, path, sent, providers)
        if not providers:
            return Result(Outcome.FAILURE, service.name, reason=f"No server provides {service.name}.")
        if service.routing_type is RoutingType.BROADCAST:
            return self._broadcast(service, path, sent, providers)
        return self._fail_over(service, path, sent, providers, lacks)

    def _store(self, service: Service, path: str, body: dict[str, Any], providers: Iterable[Server]) -> Result:
        data = body.get("data")
        if not isinstance(data, list) or not data:
            raise WrongRequest("A transaction needs data: a list that is not empty.")
        message_id = body.setdefault("messageId", uuid.uuid4().hex)
        if not isinstance(message_id, str) or not 0 < len(message_id) <= LONGEST_MESSAGE_ID:
            raise WrongRequest(f"A messageId is a text of at most {LONGEST_MESSAGE_ID} characters.")
        is_broadcast = service.routing_type is RoutingType.BROADCAST
        queues = [server.key for server in providers] if is_broadcast else [SHARED]
        # What nobody provides at present waits for a configuration in which somebody does.
        self.queue.store(message_id, queues or [SHARED], service.name, path, body, self._wall_ms())
        self.when_due()
        return Result(Outcome.STORED, service.name, message_id=message_id)

    def _fail_over(
        self,
        service: Service,
        path: str,
        body: Mapping[str, Any],
        providers: tuple[Server, ...],
        lacks: Callable[[Any], str],
    ) -> Result:
        with self._lock:
            order = self._flags.in_order(providers, is_transaction=False)
        tried: list[Tried] = []
        for server in order:
            answered = self._ask(server, service, path, body)
            missing = lacks(answered.body) if answered.meaning is Meaning.ACCEPTED else ""
            if answered.meaning is Meaning.ACCEPTED and not missing:
                return Result(Outcome.SUCCESS, service.name, (*tried, Tried(server.key)), server.key, answered.body)
            tried.append(Tried(server.key, missing or answered.reason))
            if answered.meaning in (Meaning.REFUSED, Meaning.WRONG, Meaning.UNKNOWN_CALLER):
                outcome = Outcome.REFUSED if answered.meaning is Meaning.REFUSED else Outcome.FAILURE
                return _ended(outcome, service, tried, server.key, answered.body)
        return _ended(Outcome.FAILURE, service, tried)

    def _broadcast(self, service: Service, path: str, body: Mapping[str, Any], providers: tuple[Server, ...]) -> Result:
        """Send to every provider whatever its flag; what fails is reported by server and ignored otherwise (N9)."""
        answers = {server.key: self._ask(server, service, path, body) for server in providers}
        tried = [Tried(key, answered.reason) for key, answered in answers.items()]
        accepted = next((key for key, answered in answers.items() if answered.meaning is Meaning.ACCEPTED), None)
        if accepted is None:
            ended = _ended(Outcome.FAILURE, service, tried)
            return Result(Outcome.FAILURE, service.name, tuple(tried), by_server=answers, reason=ended.reason)
        answer = answers[accepted].body
        return Result(Outcome.SUCCESS, service.name, tuple(tried), accepted, answer, answers)

    def _ask(self, server: Server, service: Service, path: str, body: Mapping[str, Any]) -> Answered:
        """Ask one server, as often as the preference says; note what that showed of it."""
        preferences = self._configuration.preferences if self._configuration is not None else None
        timeout_s = service.timeout_s or (preferences.request_timeout_s if preferences is not None else 15)
        attempts = 1 + (preferences.request_retries if preferences is not None else 0)
        answered = Answered(Meaning.AWAY)
        for _ in range(attempts):
            answered = self._transport.send(server, path, body, timeout_s)
            if answered.meaning is Meaning.UNKNOWN_CALLER and self._log_in_again(server):
                answered = self._transport.send(server, path, body, timeout_s)
            if answered.meaning is not Meaning.AWAY:
                break
        self._note(server, answered)
        return answered

    def _note(self, server: Server, answered: Answered) -> None:
        with self._lock:
            if self._flags.answered(server.key, answered.meaning):
                self._pauses.clear()
            self._plan_ping()

    # --- What time brings: pings and deliveries --------------------------------------------------

    def pump(self) -> None:
        """Ping who is due to be pinged, and deliver what can be delivered; one at a time does this."""
        with self._pumping:
            self._ping()
            for queue in self.queue.queues():
                self._deliver(queue)

    def due_at_ms(self) -> int | None:
        """Return when `pump` has something to do, or None while it has nothing to wait for."""
        moments = [self._pauses.get(queue, (0, 0))[1] for queue in self.queue.queues()]
        if self._ping_at is not None:
            moments.append(self._ping_at)
        return min(moments, default=None)

    def _plan_ping(self) -> None:
        """Ping one interval after the first server was found away, as long as any is; called with the lock held."""
        configured = self._configuration
        if configured is None or configured.ping_service is None or not self._flags.offline(self.servers()):
            self._ping_at = None
        elif self._ping_at is None:
            self._ping_at = self._clock.now_ms() + configured.preferences.ping_interval_ms

    def _ping(self) -> None:
        """Ping the servers that are not online, and no others, once an interval (N11)."""
        with self._lock:
            self._plan_ping()
            configured, due_at = self._configuration, self._ping_at
            away = self._flags.offline(self.servers())
        ping = configured.ping_service if configured is not None else None
        if configured is None or ping is None or due_at is None or self._clock.now_ms() < due_at:
            return
        self._ping_at = self._clock.now_ms() + configured.preferences.ping_interval_ms
        timeout_s = ping.timeout_s or configured.preferences.request_timeout_s
        for server in away:
            self._note(server, self._transport.send(server, ping.name, {}, timeout_s))

    def _deliver(self, queue: str) -> None:
        """Deliver the messages of one queue in their order, until none is left or none takes the next."""
        while (message := self.queue.first(queue)) is not None:
            failures, not_before = self._pauses.get(queue, (0, 0))
            if self._clock.now_ms() < not_before:
                return
            if not self._deliver_one(message):
                pause = min(FIRST_PAUSE_MS * 2**failures, LONGEST_PAUSE_MS)
                self._pauses[queue] = (min(failures + 1, 10), self._clock.now_ms() + pause)
                return
            self._pauses.pop(queue, None)

    def _deliver_one(self, message: Message) -> bool:
        """Return whether a message has left its queue: accepted by a server, or refused by one."""
        service = self.match(message.path)
        providers = self.providers(service.name)
        if message.queue != SHARED:
            if all(server.key != message.queue for server in self.servers()):
                self.queue.refuse(message, f"{message.queue}: is not configured any more")
                return True
            providers = tuple(server for server in providers if server.key == message.queue)
        with self._lock:
            order = self._flags.in_order(providers, is_transaction=True)
        if order:
            self.queue.attempted(message)
        for server in order:
            answered = self._ask(server, service, message.path, message.body)
            if answered.meaning is Meaning.ACCEPTED:
                self.queue.delivered(message, server.key, is_synchronized=server.is_main, moment_ms=self._wall_ms())
                return True
            if answered.meaning in (Meaning.REFUSED, Meaning.WRONG):
                self.queue.refuse(message, f"{server.key}: {answered.reason}")
                return True
        return False


def _check_json(body: Mapping[str, Any]) -> None:
    """Refuse what could be stored and never be sent; raises WrongRequest."""
    try:
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise WrongRequest(f"The request cannot be sent as JSON: {error}.") from None


def _ended(
    outcome: Outcome, service: Service, tried: list[Tried], server: str | None = None, answer: Any = None
) -> Result:
    reasons = "; ".join(f"{one.server}: {one.reason}" for one in tried).rstrip(".")
    return Result(outcome, service.name, tuple(tried), server, answer, reason=f"{service.name} failed. {reasons}.")
