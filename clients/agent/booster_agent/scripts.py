"""Runs a patch's script once, whatever happens to the agent meanwhile."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from booster_agent.processes import Ran, clean_environment, words

WRAPPER = """
echo $$ >"$0/began"
"$@" >"$0/output" 2>&1
status=$?
echo $status >"$0/status.part" && mv "$0/status.part" "$0/status"
"""
"""Leaves traces: that it began, the script's output, and last, whole, how it ended."""
POLL_S = 0.2
LONGEST_TAIL = 2_000


class Interrupted(Exception):
    """The script began, and nobody saw how it ended."""


class OneRun:
    """One run of a script, with its traces in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self) -> None:
        """Forget the traces of an earlier run, before the journal says that this one begins."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, mode=0o700)

    def finish(
        self,
        script: Path,
        *,
        within_s: float,
        environment: Mapping[str, str],
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Ran:
        """Return how the script ended, after running it unless that has happened already.

        Called again after the agent was killed it waits for the script that still runs, or finds how it ended.
        Raises Interrupted if it began and is gone without that: it is not run once more.
        """
        deadline = time.monotonic() + within_s
        while True:
            if (ran := self._ended()) is not None:
                return ran
            lock = self._lock()
            if lock is None:
                if time.monotonic() >= deadline:
                    self._kill()
                    return Ran(None, f"it took more than {within_s:g} s. {self._words()}".strip())
                meanwhile()
                time.sleep(POLL_S)
                continue
            try:
                if (ran := self._ended()) is not None:
                    return ran
                if (self._folder / "began").exists():
                    raise Interrupted
                child = self._start(script, lock, environment)
            except OSError as error:
                return Ran(None, f"it cannot be started: {error}")
            finally:
                os.close(lock)
            deadline = time.monotonic() + within_s
            while child.poll() is None and time.monotonic() < deadline:
                meanwhile()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(POLL_S)
            if child.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                return Ran(None, f"it took more than {within_s:g} s. {self._words()}".strip())

    def _start(self, script: Path, lock: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        # The lock is held by what is started from its birth on, so there is no moment in which nobody knows of it.
        return subprocess.Popen(  # noqa: S603 - a script the vendor signed, with the agent's own rights
            ("/bin/sh", "-c", WRAPPER, str(self._folder), str(script)),
            cwd=script.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(lock,),
            env=clean_environment() | dict(environment),
        )

    def _lock(self) -> int | None:
        """Return the lock, held; None while a script holds it."""
        descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def _ended(self) -> Ran | None:
        try:
            return Ran(int((self._folder / "status").read_text()), self._words())
        except (OSError, ValueError):
            return None

    def _words(self) -> str:
        try:
            with (self._folder / "output").open("rb") as stream:
                stream.seek(max(0, os.fstat(stream.fileno()).st_size - LONGEST_TAIL))
                return words(stream.read())
        except OSError:
            return ""

    def _kill(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            os.killpg(int((self._folder / "began").read_text()), signal.SIGKILL)
