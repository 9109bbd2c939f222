"""The agent as it runs: reports, supervision, copies and patches, each in its own rhythm."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from booster_agent import uploads
from booster_agent.calling import Boosters, Unreachable
from booster_agent.configuration import Configuration
from booster_agent.decisions import changed_state, next_interval, pause_after
from booster_agent.documents import Documents
from booster_agent.download import BrokeOff
from booster_agent.files import read_json, write_json
from booster_agent.local_door import LocalDoor
from booster_agent.patching import Patching
from booster_agent.reports import report
from booster_agent.server import Server
from booster_agent.tokens import Caller, Tokens

log = logging.getLogger("booster-agent")
LOOK_EVERY_S = 2.0
COPIES_EVERY_S = 30.0
ORDERS_EVERY_S = 300.0
REFUSED_PAUSE_S = 60.0


class Agent:
    """One agent of one server. `clock` is the time of day; rhythms follow the steady clock."""

    def __init__(self, configuration: Configuration, clock: Callable[[], float] = time.time) -> None:
        self.configuration = configuration
        self._clock = clock
        self._news = threading.Event()
        boosters = Boosters(configuration.boosters, uses_tls=configuration.uses_tls, ca_file=configuration.ca_file)
        self._tokens = Tokens(configuration.state_dir / "token.json", configuration.token, clock())
        self._caller = Caller(boosters, self._tokens)
        self.server = Server(configuration)
        self.patching = Patching(configuration, self._caller, self.server, clock=clock, changed=self._news.set)
        self.documents = Documents(configuration.state_dir / "documents.json")
        self._state_file = configuration.state_dir / "state.json"
        self._last: Mapping[str, Any] | None = read_json(self._state_file).get("last_report")
        self._failures = 0
        self._stopping = threading.Event()
        self._ordered = threading.Event()
        self._preparing = threading.Lock()
        self.door: LocalDoor | None = None

    def run(self) -> None:
        """Work until `stop` is called; the server is left running then (OMF-11)."""
        if self.configuration.local_port:
            self._open_door()
        threads = [
            threading.Thread(target=self._loop, args=(name, work, every_s, wake), name=name, daemon=True)
            for name, work, every_s, wake in (
                ("patches", self._patch, ORDERS_EVERY_S, self._ordered),
                ("copies", self._copy, COPIES_EVERY_S, self._stopping),
            )
        ]
        for thread in threads:
            thread.start()
        self._report_until_stopped()
        self._ordered.set()
        if self.door is not None:
            self.door.stop()

    def stop(self) -> None:
        self._stopping.set()
        self._news.set()

    # --- Reports and supervision -----------------------------------------------------------------------

    def _report_until_stopped(self) -> None:
        due_at, was_running, retrying = 0.0, None, False
        while not self._stopping.is_set():
            running = self.server.keep_running()
            is_news = self._news.is_set() or (was_running is not None and running != was_running)
            self._news.clear()
            if is_news and not retrying:
                due_at = 0.0  # what changes the server's state does not wait for its turn (OMF-17)
            was_running = running
            if time.monotonic() >= due_at:
                pause_s = self.report_once(is_running=running)
                retrying = self._failures > 0
                due_at = time.monotonic() + pause_s
            self._news.wait(max(0.05, min(LOOK_EVERY_S, due_at - time.monotonic())))

    def report_once(self, *, is_running: bool) -> float:
        """Send one report, to the first Booster that answers; return in how many seconds the next is due."""
        said = report(
            self.configuration.server_key, self.server, self.patching, is_running=is_running, moment=self._clock()
        )
        try:
            answer = self._caller.call("POST", "/api/v1/agent/heartbeat", self._clock(), said)
        except (Unreachable, OSError) as error:
            self._failures += 1
            pause_s = pause_after(self._failures)
            if self._failures == 1 or self._failures % 10 == 0:
                log.warning("No Booster answers (%d): %s", self._failures, error)
            return pause_s * random.uniform(0.8, 1.0)  # noqa: S311 - spreads agents, hides nothing
        if self._failures:
            log.info("%s answers again.", answer.booster)
        self._failures = 0
        if answer.status != HTTPStatus.OK:
            log.error("%s refuses the report: %s", answer.booster, answer.reason)
            return answer.retry_after_s or REFUSED_PAUSE_S
        self._taken_in(said, answer.json)
        return next_interval(answer.json.get("next_interval_s"), self.configuration.report_interval_s)

    def _taken_in(self, said: dict[str, Any], told: dict[str, Any]) -> None:
        if changed_state(self._last, said):
            log.info(
                "Reported: ready=%s, version %r; the Booster says %s.",
                said["ready"],
                said["software_version"],
                told.get("status"),
            )
            before = (self._last or {}).get("software_version")
            self._last = said
            write_json(self._state_file, {"last_report": {name: said[name] for name in ("ready", "software_version")}})
            if before is not None and before != said["software_version"]:
                self._ordered.set()  # a patch applied by hand may be waiting to be passed on
        todo = told.get("todo")
        actions = {row.get("action") for row in todo if isinstance(row, dict)} if isinstance(todo, list) else set()
        if "apply_patch" in actions:
            self._ordered.set()
        if "set_clock" in actions:
            log.warning("The clock of this host is wrong by more than a minute, says the Booster.")
        if "prepare" in actions and self._preparing.acquire(blocking=False):
            threading.Thread(target=self._prepare, name="prepare", daemon=True).start()

    def _prepare(self) -> None:
        try:
            self.server.prepare()
        finally:
            self._preparing.release()

    # --- What has its own rhythm -----------------------------------------------------------------------

    def _loop(self, name: str, work: Callable[[], None], every_s: float, wake: threading.Event) -> None:
        failures = 0
        while not self._stopping.is_set():
            if wake is not self._stopping:
                wake.clear()
            try:
                work()
                failures, pause_s = 0, every_s
            except (Unreachable, BrokeOff, OSError) as error:
                failures += 1
                pause_s = pause_after(failures)
                log.warning("%s: %s It is tried again in %.0f s.", name, error, pause_s)
            except Exception:
                log.exception("%s went wrong.", name)
                failures, pause_s = failures + 1, pause_after(failures + 5)
            wake.wait(pause_s)

    def _patch(self) -> None:
        while self.patching.work() and not self._stopping.is_set():
            pass
        uploads.pass_on(self.configuration, self._caller, self.patching, self._clock())

    def _copy(self) -> None:
        moment = self._clock()
        if self._tokens.is_due(moment, self.configuration.token_roll_days):
            self._tokens.roll(self._caller.boosters, moment)
        self.documents.refresh(self._caller, moment)

    def _open_door(self) -> None:
        configuration = self.configuration
        door = LocalDoor(self.documents, configuration.local_address, configuration.local_port, self._clock)
        try:
            door.start()
        except OSError as error:
            log.error("LOCAL_ADDRESS and LOCAL_PORT: the local port cannot be opened: %s", error)
            return
        self.door = door
