"""Running several programs as one: started together, stopped together, nothing left behind."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

PR_SET_PDEATHSIG = 1
GRACE_S = 10.0


def _end_with_parent() -> Callable[[], None] | None:
    """Return what a child runs first, so that it is told to stop should this process be killed."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def prepare() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # killed before the line above
            os._exit(1)

    return prepare


class Programs:
    """Programs by name, each leading a process group of its own.

    The groups keep a terminal's Ctrl-C from the programs: only this process decides when to stop,
    and whatever a program leaves behind in its group is ended with it.
    """

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: list[str]) -> None:
        self._processes[name] = subprocess.Popen(  # noqa: S603 - our own programs
            command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_end_with_parent(),  # noqa: PLW1509 - no thread runs yet
        )

    def ended(self) -> tuple[str, int] | None:
        """Return name and exit status of a program that ended, if any did."""
        for name, process in self._processes.items():
            if (status := process.poll()) is not None:
                return name, status
        return None

    def stop(self, hurry: Callable[[], bool] = lambda: False) -> None:
        """End every program: politely, and after `GRACE_S` seconds or in a `hurry` by force."""
        for process in self._processes.values():
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + GRACE_S
        while any(process.poll() is None for process in self._processes.values()):
            if time.monotonic() > deadline or hurry():
                break
            time.sleep(0.05)
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
