"""Processes, told apart from others that got their number later; commands with a time limit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from booster_agent.configuration import Command
from booster_agent.files import read_json, write_json

LONGEST_TAIL = 2_000
STARTED_AT = 19
"""Where /proc/PID/stat has the start time, counted behind the name of the command."""
ENDED = ("Z", "X", "x")


@dataclass(frozen=True, slots=True)
class Identity:
    """A process that no other will ever be: its number, when it was started, and in which run of the machine."""

    pid: int
    started: str
    boot: str


def boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def identity_of(pid: int) -> Identity | None:
    """Return the identity of a process that runs; None if there is none, or it has ended already."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    if not fields or fields[0] in ENDED:
        return None
    return Identity(pid, fields[STARTED_AT], boot_id())


def is_running(identity: Identity | None) -> bool:
    return identity is not None and identity_of(identity.pid) == identity


def read_pid_file(file: Path) -> Identity | None:
    """Return the process a pid file names, if it still runs."""
    told = read_json(file)
    pid, started, boot = told.get("pid"), told.get("started"), told.get("boot")
    if not isinstance(pid, int) or not isinstance(started, str) or not isinstance(boot, str):
        return None
    identity = Identity(pid, started, boot)
    return identity if is_running(identity) else None


def write_pid_file(file: Path, identity: Identity) -> None:
    write_json(file, {"pid": identity.pid, "started": identity.started, "boot": identity.boot})


def end(identity: Identity | None, *, within_s: float, whole_group: bool = False) -> bool:
    """End a process with SIGTERM, after `within_s` seconds with SIGKILL; return whether it is gone."""
    for number, patience_s in ((signal.SIGTERM, within_s), (signal.SIGKILL, 5.0)):
        if not is_running(identity) or identity is None:
            return True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if whole_group and os.getpgid(identity.pid) == identity.pid:
                os.killpg(identity.pid, number)
            else:
                os.kill(identity.pid, number)
        deadline = time.monotonic() + patience_s
        while is_running(identity) and time.monotonic() < deadline:
            time.sleep(0.05)
    return not is_running(identity)


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended: its exit status (None: it took too long, or could not be started), and its last words."""

    status: int | None
    words: str

    @property
    def is_good(self) -> bool:
        return self.status == 0

    @property
    def how(self) -> str:
        """Why it is not good, with what it said last."""
        said = f": {self.words}" if self.words else "."
        return (f"ended with {self.status}" if self.status is not None else "did not end") + said


def run(
    command: Command,
    *,
    folder: Path,
    within_s: float,
    environment: Mapping[str, str] | None = None,
    meanwhile: Callable[[], None] = lambda: None,
) -> Ran:
    """Run a command to its end; one that takes longer is killed with all it started. `meanwhile` is called as it runs.

    Its output goes to a file without name, so that a process it leaves behind holds nobody up.
    """
    import tempfile

    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(  # noqa: S603 - what the administrator configured
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=clean_environment() | dict(environment or {}),
            )
        except OSError as error:
            return Ran(None, f"it cannot be started: {error}")
        deadline = time.monotonic() + within_s
        while True:
            left = deadline - time.monotonic()
            try:
                status = process.wait(max(0.01, min(left, 1.0)))
                return Ran(status, _tail(output.fileno()))
            except subprocess.TimeoutExpired:
                if left <= 0:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    return Ran(None, f"it took more than {within_s:g} s. {_tail(output.fileno())}".strip())
                meanwhile()


def clean_environment() -> dict[str, str]:
    """Return the environment for commands: the agent's own, without its token."""
    return {name: value for name, value in os.environ.items() if name not in ("AGENT_TOKEN", "AGENT_TOKEN_FILE")}


def _tail(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return words(os.pread(descriptor, LONGEST_TAIL, max(0, size - LONGEST_TAIL)))


def words(content: bytes) -> str:
    """Return the last lines of an output as one line, at most 300 characters of it."""
    lines = [line.strip() for line in content.decode(errors="replace").splitlines() if line.strip()]
    return printable(" / ".join(lines[-5:]))[-300:]


def printable(text: str) -> str:
    """Return a text without the characters that a Booster would refuse a whole report for."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
