"""Carries out the orders of roll-outs: download, check, backup, script, restart, and the word of how it ended.

The journal is on disk before each step. A kill at any point is taken up again where it happened: what came
before the script is repeated, the script itself never is. Source: OMF-35, OMF-37, OMF-38, OMF-40.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from booster_agent import container, download, processes
from booster_agent.calling import Answer, Unreachable
from booster_agent.configuration import Configuration
from booster_agent.container import PatchRefused
from booster_agent.download import BrokeOff, Stopped, Wanted
from booster_agent.files import read_json, write_json
from booster_agent.journal import Entry, Journal, Phase, order_entry
from booster_agent.scripts import Interrupted, OneRun
from booster_agent.server import Server
from booster_agent.tokens import Caller
from booster_agent.versions import numbers, why_not

log = logging.getLogger("booster-agent")
LONGEST_DETAIL = 500
TOLD_EVERY_S = 30.0
RESTORE = "Look at the server, and restore the backup if need be."


class Patching:
    """The agent's side of roll-outs; used by one thread."""

    def __init__(
        self,
        configuration: Configuration,
        caller: Caller,
        server: Server,
        *,
        clock: Callable[[], float] = time.time,
        free: Callable[[Path], int] = download.free_bytes,
        changed: Callable[[], None] = lambda: None,
        poll_s: float = 0.5,
        settle_s: float = 3.0,
    ) -> None:
        self._configuration = configuration
        self._caller = caller
        self._server = server
        self._clock = clock
        self._free = free
        self._changed = changed
        self._poll_s = poll_s
        self._settle_s = settle_s
        self._folder = configuration.state_dir / "patch"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._journal = Journal(configuration.state_dir / "order.json")
        self._installed = configuration.state_dir / "installed.json"
        self._told_at = 0.0

    @property
    def is_at_work(self) -> bool:
        """Whether an order is at hand, or its end has not been told yet."""
        entry = self._journal.entry
        return entry is not None and not entry.is_told

    def installed_version(self) -> str:
        """Return the installed version: by the server's file or command, else what the last patch left."""
        if self._server.tells_version:
            return self._server.version()
        return str(read_json(self._installed).get("version", ""))

    def away(self) -> tuple[str, str] | None:
        """Return the version to report and why the server is not ready, while it is being changed; else None.

        A version that a script has put in place counts once the server is back with it (OMF-38).
        """
        entry = self._journal.entry
        if entry is None or entry.phase not in (Phase.BACKING_UP, Phase.APPLYING, Phase.RESTARTING):
            return None
        return entry.version_before, f"The patch to {entry.version}: {entry.phase.replace('_', ' ')}."

    def work(self) -> bool:
        """Go on with the order at hand, or fetch the next one; return whether there was one.

        Raises Unreachable and BrokeOff when it cannot go on for now; it is called again later.
        """
        if not self.is_at_work and not self._fetch_order():
            return False
        try:
            self._carry_out()
        except Stopped:
            log.info("The order was cancelled before anything was changed.")
            self._journal.forget()
            self._clear()
        return True

    def _fetch_order(self) -> bool:
        answer = self._caller.call("GET", "/api/v1/agent/order", self._clock())
        if answer.status != HTTPStatus.OK:
            return False
        entry = order_entry(answer.json)
        if entry is None:
            log.warning("The Booster's order cannot be understood.")
            return False
        last = self._journal.entry
        if last is not None and last.target == entry.target:
            self._journal.note(is_told=False)  # asked again, it is told again, and never done again
            return True
        self._journal.begin(entry)
        log.info("Order %d: %s the patch to %s.", entry.target, entry.step.replace("_", " "), entry.version)
        return True

    def _carry_out(self) -> None:
        steps: dict[Phase, Callable[[Entry], None]] = {
            Phase.DOWNLOADING: self._download,
            Phase.BACKING_UP: self._back_up,
            Phase.APPLYING: self._apply,
            Phase.RESTARTING: self._restart,
        }
        while (entry := self._journal.entry) is not None and not entry.phase.is_over:
            self._changed()
            try:
                steps[entry.phase](entry)
            except PatchRefused as refusal:
                self._end(Phase.FAILED, str(refusal))
            except OSError as error:
                self._end(Phase.FAILED, f"The agent's host: {error}. Nothing more is done. {RESTORE}")
        self._tell_end()
        self._changed()

    # --- The steps -----------------------------------------------------------------------------------

    @property
    def _file(self) -> Path:
        return self._folder / "file.bpatch"

    def _download(self, entry: Entry) -> None:
        if not self._tell(entry.phase):
            raise Stopped
        keys = container.keys_in(self._configuration.patch_keys)
        marker = self._folder / "file.sha256"
        if not marker.exists() or marker.read_text() != entry.sha256:
            self._clear()
            marker.write_text(entry.sha256)

        def progress(received: int) -> bool:
            return self._tell(Phase.DOWNLOADING, received_bytes=received)

        wanted = Wanted(entry.file, entry.size_bytes, entry.sha256, entry.rate_bytes_per_s)
        token = self._caller.tokens.current
        download.fetch(self._caller.boosters, token, wanted, self._file, progress=progress, free=self._free)
        if not progress(entry.size_bytes):
            raise Stopped
        told = container.check(self._file, keys)
        installed = self.installed_version()
        if entry.step == "apply":
            if numbers(told.version) != numbers(entry.version):
                raise PatchRefused(f"The file is the patch to {told.version}, and {entry.version} was ordered.")
            if why := why_not(installed, told.fits_from, told.fits_to):
                raise PatchRefused(f"{why} Nothing was changed.")
        elif told.revert is None:
            raise PatchRefused("The patch has no script that takes it back. Restore the backup instead.")
        elif self._server.tells_version and numbers(installed) != numbers(told.version):
            raise PatchRefused(f"{told.version} cannot be taken back: {installed} is installed. Nothing was changed.")
        if (free := self._free(self._folder)) < (needed := 3 * entry.size_bytes + download.ROOM_TO_LEAVE):
            raise PatchRefused(download.no_room(needed, free, self._folder))
        container.unpack(self._file, self._folder / "unpacked", keys)
        self._journal.note(phase=Phase.BACKING_UP, version_before=installed)

    def _back_up(self, entry: Entry) -> None:
        command = self._configuration.backup_command
        if not self._tell(entry.phase):
            raise Stopped
        if not command:
            raise PatchRefused("BACKUP_COMMAND of the agent is not set: without a backup no patch is applied (OMF-37).")
        ran = processes.run(
            command,
            folder=self._configuration.server_home,
            within_s=self._configuration.backup_timeout_s,
            environment=self._environment(entry),
            meanwhile=lambda: self._tell_now_and_then(entry.phase),
        )
        if not ran.is_good:
            raise PatchRefused(f"The backup failed, so nothing was changed: BACKUP_COMMAND {ran.how}")
        if not self._tell(Phase.APPLYING):
            raise Stopped
        self._one_run.prepare()
        self._journal.note(phase=Phase.APPLYING, boot=processes.boot_id())

    @property
    def _one_run(self) -> OneRun:
        return OneRun(self._folder / "run")

    def _apply(self, entry: Entry) -> None:
        interrupted = (
            f"The agent was interrupted while the patch's script ran, and nobody knows how it ended. {RESTORE}"
        )
        if entry.boot != processes.boot_id() and not (self._folder / "run" / "status").exists():
            raise PatchRefused(interrupted)
        told = container.check(self._file, container.keys_in(self._configuration.patch_keys))
        script = told.apply if entry.step == "apply" else told.revert or ""
        try:
            ran = self._one_run.finish(
                self._folder / "unpacked" / script,
                within_s=self._configuration.patch_timeout_s,
                environment=self._environment(entry),
                meanwhile=lambda: self._tell_now_and_then(entry.phase),
            )
        except Interrupted as error:
            raise PatchRefused(interrupted) from error
        if not ran.is_good:
            raise PatchRefused(f"The patch's script {script} {ran.how} {RESTORE}")
        running = self._server.identity
        replaced = f"{running.pid} {running.started}" if running else ""
        after = told.version if entry.step == "apply" else self._version_before(told.version)
        self._journal.note(phase=Phase.RESTARTING, replaced_pid=replaced, version_after=after)

    def _version_before(self, version: str) -> str:
        """Return the version that a patch had replaced here, by what was noted when it was applied."""
        return str(read_json(self._installed).get("before", {}).get(version, ""))

    def _restart(self, entry: Entry) -> None:
        self._tell(entry.phase)
        running = self._server.identity
        is_old = running is None or f"{running.pid} {running.started}" == entry.replaced_pid
        if is_old and (why := self._server.restart()):
            raise PatchRefused(f"The patch was applied, and the server was not restarted: {why} {RESTORE}")
        deadline = time.monotonic() + self._configuration.restart_timeout_s
        version, good_since = "", None
        while (now := time.monotonic()) < deadline:
            version = self._server.version() if self._server.tells_version else entry.version_after
            is_new = numbers(version) is not None and (
                not entry.version_after or numbers(version) == numbers(entry.version_after)
            )
            is_good = self._server.is_running(at_once=True) and is_new and self._server.readiness()[0]
            good_since = None if not is_good else now if good_since is None else good_since
            if good_since is not None and now - good_since >= self._settle_s:
                before = read_json(self._installed).get("before", {})
                if entry.step == "apply" and numbers(entry.version_before) != numbers(version):
                    before = before | {version: entry.version_before}
                write_json(self._installed, {"version": version, "before": before})
                self._end(Phase.DONE, "", version)
                return
            self._server.keep_running()
            self._tell_now_and_then(entry.phase)
            time.sleep(self._poll_s)
        tells = f"it tells the version {version!r}" if self._server.is_running(at_once=True) else "it does not run"
        raise PatchRefused(
            f"The server is not back {self._configuration.restart_timeout_s:g} s after the patch: {tells}. {RESTORE}"
        )

    # --- What is told --------------------------------------------------------------------------------

    def _end(self, phase: Phase, detail: str, version: str = "") -> None:
        self._journal.note(phase=phase, detail=detail[:LONGEST_DETAIL], version_after=version)
        if phase is Phase.DONE:
            log.info("The patch is done: %s is installed.", version)
        else:
            log.error("The patch failed: %s", detail)

    def _tell_end(self) -> None:
        """Tell how it ended, until a Booster has taken it in (OMF-17); raises Unreachable."""
        entry = self._journal.entry
        if entry is None or entry.is_told:
            return
        said: dict[str, Any] = {"state": str(entry.phase), "detail": entry.detail}
        if entry.phase is Phase.DONE:
            said["version"] = entry.version_after
        answer = self._say(entry, said)
        if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS):
            raise BrokeOff(f"The end of the order was not taken in: {answer.reason}")
        self._journal.note(is_told=True)
        self._clear()

    def _tell(self, phase: Phase, received_bytes: int | None = None) -> bool:
        """Tell how it goes on; return whether to go on. A Booster that does not answer stops nothing."""
        entry = self._journal.entry
        self._told_at = time.monotonic()
        if entry is None:
            return False
        said: dict[str, Any] = {"state": str(phase)}
        if received_bytes is not None:
            said["received_bytes"] = received_bytes
        try:
            answer = self._say(entry, said)
        except Unreachable as error:
            log.warning("No Booster took in how the patch goes on: %s", error)
            return True
        if answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
            return False
        return answer.status != HTTPStatus.OK or answer.json.get("go_on") is not False

    def _tell_now_and_then(self, phase: Phase) -> None:
        if time.monotonic() - self._told_at >= TOLD_EVERY_S:
            self._tell(phase)

    def _say(self, entry: Entry, said: dict[str, Any]) -> Answer:
        return self._caller.call("POST", f"/api/v1/agent/order/{entry.target}", self._clock(), said)

    def _environment(self, entry: Entry) -> dict[str, str]:
        return {
            "BOOSTER_SERVER_KEY": self._configuration.server_key,
            "PATCH_VERSION": entry.version,
            "SERVER_HOME": str(self._configuration.server_home),
        }

    def _clear(self) -> None:
        for path in self._folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    path.unlink()
