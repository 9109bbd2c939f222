"""The mobile server beside the agent: started, watched, restarted; never started twice, never stopped with it."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import subprocess
import threading
import time
from typing import Any

from booster_agent import processes
from booster_agent.configuration import Command, Configuration
from booster_agent.decisions import Deed, Supervision, supervise
from booster_agent.files import read_json
from booster_agent.processes import Identity

log = logging.getLogger("booster-agent")
STOP_WITHIN_S = 30.0
LARGEST_LOG = 10 * 2**20
LARGEST_MODULES_FILE = 1024 * 1024
MOST_MODULES = 500
STATUS_KEPT_S = 10.0
BORN = 'echo $$ >"$0" && exec "$@"'
"""Notes the number of the process that becomes the server."""


class Server:
    """The server as the agent sees it; safe for the thread that reports and the one that patches."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._pid_file = configuration.state_dir / "server.pid"
        self._log_file = configuration.state_dir / "server.log"
        self._lock_file = configuration.state_dir / "server.lock"
        self._born_file = configuration.state_dir / "server.born"
        self._supervision = Supervision()
        self._lock = threading.RLock()
        self._child: subprocess.Popen[bytes] | None = None
        self._foreign: tuple[float, bool] = (-STATUS_KEPT_S, False)

    @property
    def identity(self) -> Identity | None:
        """The process that an agent started and that still runs."""
        if self._child is not None and self._child.poll() is not None:
            self._child = None
        return processes.read_pid_file(self._pid_file) or self._adopted()

    def _adopted(self) -> Identity | None:
        """Return the server that an agent started and could not note any more, since it was killed right then.

        Whoever lives of the server holds a lock that it was born with, so that none is ever started twice.
        """
        if not self._lock_is_held():
            return None
        try:
            born = int(self._born_file.read_text())
        except (OSError, ValueError):
            return None
        identity = processes.identity_of(born) if read_json(self._pid_file).get("pid") != born else None
        if identity is not None:
            processes.write_pid_file(self._pid_file, identity)
        return identity

    def _lock_is_held(self) -> bool:
        try:
            descriptor = os.open(self._lock_file, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def is_running(self, *, at_once: bool = False) -> bool:
        """Tell whether the server runs, whoever started it (OMF-10)."""
        if self.identity is not None or (self._lock_is_held() and not self._born_file.exists()):
            return True
        command = self._configuration.server_status_command
        if not command:
            return not self._configuration.server_command  # there is nothing the agent could know
        asked_at, answer = self._foreign
        if at_once or time.monotonic() - asked_at >= STATUS_KEPT_S:
            answer = self._run(command).is_good
            self._foreign = (time.monotonic(), answer)
        return answer

    def keep_running(self) -> bool:
        """Start the server when it does not run and its time has come; return whether it runs."""
        if not self._lock.acquire(blocking=False):
            return False  # a patch is restarting it
        try:
            running = self.is_running()
            if not self._configuration.server_command:
                return running
            deed, self._supervision = supervise(self._supervision, is_running=running, now=time.monotonic())
            if deed is Deed.START and not self.is_running(at_once=True):
                self._start()
            return running
        finally:
            self._lock.release()

    def _start(self) -> None:
        configuration = self._configuration
        if self._log_file.exists() and self._log_file.stat().st_size > LARGEST_LOG:
            self._log_file.replace(self._log_file.with_suffix(".log.1"))
        try:
            self._lock_file.unlink(missing_ok=True)  # children that a dead server left behind may hold the old one
            lock = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
            with self._log_file.open("ab") as output, os.fdopen(lock, "rb"):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._born_file.unlink(missing_ok=True)
                # A session of its own: what stops the agent does not stop the server (OMF-11).
                self._child = subprocess.Popen(  # noqa: S603 - what the administrator configured
                    ("/bin/sh", "-c", BORN, str(self._born_file), *configuration.server_command),
                    cwd=configuration.server_home,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    pass_fds=(lock,),
                    env=processes.clean_environment(),
                )
        except OSError as error:
            log.error("The server cannot be started: %s", error)
            return
        identity = processes.identity_of(self._child.pid)
        if identity is not None:
            processes.write_pid_file(self._pid_file, identity)
            log.info("The server was started as process %d.", identity.pid)

    def stop(self) -> str:
        """Stop the server; return why it could not be, or an empty text."""
        with self._lock:
            identity = self.identity
            command = self._configuration.server_stop_command
            if command:
                ran = self._run(command, within_s=STOP_WITHIN_S)
                if not ran.is_good:
                    return f"SERVER_STOP_COMMAND {ran.how}"
            elif identity is None and self.is_running(at_once=True):
                return "The server was started by something else, and SERVER_STOP_COMMAND is not set."
            if identity is not None and not processes.end(identity, within_s=STOP_WITHIN_S, whole_group=True):
                return f"The server's process {identity.pid} does not end."
            if self._child is not None:
                self._child.poll()
            self._foreign = (-STATUS_KEPT_S, False)
            return ""

    def restart(self) -> str:
        """Stop the server and start it at once; return why that could not be done, or an empty text."""
        with self._lock:
            if not self._configuration.server_command:
                return ""
            if why := self.stop():
                return why
            self._supervision = Supervision(started_at=time.monotonic())
            self._start()
            return ""

    # --- What it says of itself ------------------------------------------------------------------------

    def version(self) -> str:
        """Return the installed version by what is configured for that; empty if it does not tell."""
        configuration = self._configuration
        text = ""
        if configuration.version_command:
            ran = self._run(configuration.version_command)
            text = ran.words if ran.is_good else ""
        elif configuration.version_file is not None:
            try:
                text = configuration.version_file.read_bytes()[:200].decode(errors="replace")
            except OSError:
                text = ""
        lines = text.split("\n", 1)[0].strip()
        return lines[:60] if lines.isprintable() else ""

    @property
    def tells_version(self) -> bool:
        return bool(self._configuration.version_command or self._configuration.version_file)

    def modules(self) -> list[dict[str, str]]:
        """Return the modules of SERVER_MODULES_FILE; none where it does not hold what is expected."""
        file = self._configuration.modules_file
        if file is None:
            return []
        try:
            told: Any = json.loads(file.read_bytes()[:LARGEST_MODULES_FILE])
            return [
                {
                    "name": processes.printable(str(row["name"]).strip())[:120],
                    "version": processes.printable(str(row.get("version", "")))[:60],
                }
                for row in told[:MOST_MODULES]
                if str(row["name"]).strip()
            ]
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            log.warning("SERVER_MODULES_FILE holds no list of modules.")
            return []

    def readiness(self) -> tuple[bool, str]:
        """Return whether the server says it is ready, and why not."""
        hook = self._configuration.ready_hook
        if not hook:
            return True, ""
        ran = self._run(hook)
        return ran.is_good, "" if ran.is_good else f"READY_HOOK {ran.how}"[:255]

    def pending(self) -> int:
        hook = self._configuration.pending_hook
        if not hook:
            return 0
        found = re.fullmatch(r"\d{1,9}", self._run(hook).words.strip(), re.ASCII)
        return int(found[0]) if found else 0

    def prepare(self) -> None:
        """Run the hook that processes what is pending."""
        if hook := self._configuration.prepare_hook:
            ran = self._run(hook, within_s=60)
            if not ran.is_good:
                log.warning("PREPARE_HOOK %s", ran.how)

    def _run(self, command: Command, within_s: float | None = None) -> processes.Ran:
        folder = self._configuration.server_home
        return processes.run(command, folder=folder, within_s=within_s or self._configuration.hook_timeout_s)
