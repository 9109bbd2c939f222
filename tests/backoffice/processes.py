"""Starting the product's programs the way an operator does."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(data_dir: Path, **variables: str) -> dict[str, str]:
    """Return an environment with nothing of the test run's own installation in it."""
    inherited = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    return {**inherited, "BOOSTER_DATA_DIR": str(data_dir), "PYTHONUNBUFFERED": "1", **variables}


def manage(*arguments: str, data_dir: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment(data_dir, **variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Product:
    """`manage.py up` as a process, with what it prints."""

    def __init__(self, data_dir: Path, *arguments: str, port: int | None = None, **variables: str) -> None:
        self.port = port or free_port()
        self.data_dir = data_dir
        self.output = data_dir.with_name(f"{data_dir.name}-{self.port}-{time.monotonic_ns()}.log")
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up", "--port", str(self.port), *arguments],
                cwd=ROOT,
                env=environment(data_dir, **variables),
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Product:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        wait_for(lambda: not self.running(), "everything to end")

    def printed(self) -> str:
        return self.output.read_text()

    def wait_until_ready(self) -> Product:
        wait_for(lambda: "runs at" in self.printed() or self.process.poll() is not None, "the address")
        assert self.process.poll() is None, self.printed()
        return self

    def get(self, path: str) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return answer.status

    def answers(self, path: str) -> bool:
        try:
            return self.get(path) == 200
        except OSError:
            return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=20)

    def running(self) -> list[str]:
        """Return the command lines of all processes that belong to this installation."""
        return list(self._commands().values())

    def pid_of(self, program: str) -> int:
        return next(pid for pid, command in self._commands().items() if program in command)

    def _commands(self) -> dict[int, str]:
        mark = f"BOOSTER_DATA_DIR={self.data_dir}\0".encode()
        found = {}
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (directory / "environ").read_bytes() and b"Z" not in _state(directory):
                    command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found[int(directory.name)] = command
            except OSError:
                continue
        return found


def _state(directory: Path) -> bytes:
    return (directory / "stat").read_bytes().rpartition(b")")[2].split()[0]


def wait_for(condition, what: str, seconds: float = 45) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.1)
