"""Running several programs as one: started and stopped together, restarted alone, nothing left behind."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

PR_SET_PDEATHSIG = 1
GRACE_S = 10.0
QUICK_S = 30.0
"""Whatever ends sooner than this ended at its start: a few of those in a row, and it will not do."""
MOST_QUICK_ENDS = 5
FIRST_PAUSE_S = 0.5


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


@dataclass
class Program:
    """A program that should run: its process, and how often in a row it ended at its start."""

    command: list[str]
    process: subprocess.Popen[bytes]
    started_at: float
    quick_ends: int = 0
    restart_at: float | None = None


@dataclass(frozen=True, slots=True)
class End:
    """A program that ended by itself, and whether it will be started again."""

    name: str
    status: int
    is_final: bool


class Programs:
    """Programs by name, each leading a process group of its own.

    The groups keep a terminal's Ctrl-C from the programs: only this process decides when to stop,
    and whatever a program leaves behind in its group is ended with it.
    """

    def __init__(self) -> None:
        self._programs: dict[str, Program] = {}

    def start(self, name: str, command: list[str]) -> None:
        self._programs[name] = Program(command, _begin(command), time.monotonic())

    def ended(self) -> tuple[str, int] | None:
        """Return name and exit status of a program that ended, if any did."""
        for name, program in self._programs.items():
            if (status := program.process.poll()) is not None:
                return name, status
        return None

    def keep_running(self) -> list[End]:
        """Start what ended again, after a pause that doubles with every quick end; return the new ends.

        An end is final once a program ended quickly `MOST_QUICK_ENDS` times in a row.
        """
        ends = []
        now = time.monotonic()
        for name, program in self._programs.items():
            status = program.process.poll()
            if status is None:
                continue
            if program.restart_at is None:
                _end_group(program.process)  # what it left behind may hold its port
                program.quick_ends = program.quick_ends + 1 if now - program.started_at < QUICK_S else 1
                program.restart_at = now + FIRST_PAUSE_S * 2 ** (program.quick_ends - 1)
                ends.append(End(name, status, is_final=program.quick_ends >= MOST_QUICK_ENDS))
            elif now >= program.restart_at:
                program.process, program.started_at, program.restart_at = _begin(program.command), now, None
        return ends

    def stop(self, hurry: Callable[[], bool] = lambda: False) -> None:
        """End every program: politely, and after `GRACE_S` seconds or in a `hurry` by force."""
        processes = [program.process for program in self._programs.values()]
        for process in processes:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + GRACE_S
        while any(process.poll() is None for process in processes):
            if time.monotonic() > deadline or hurry():
                break
            time.sleep(0.05)
        for process in processes:
            _end_group(process)


def _begin(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own programs
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_end_with_parent(),  # noqa: PLW1509 - no thread runs here
    )


def _end_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
