"""Start the web server as a process of its own, on a database of the tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from django.db import connection

ROOT = Path(__file__).resolve().parent.parent
STARTS_WITHIN_S = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_database_url() -> str:
    """Return the address of the database that the present test runs on."""
    values = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{values['NAME']}"
    host = values["OPTIONS"].get("host") or values["HOST"]
    return f"postgresql://{values['USER']}:{values['PASSWORD']}@/{values['NAME']}?host={host}&port={values['PORT']}"


@contextmanager
def web_server(data_dir: Path, **environment: str) -> Iterator[httpx.Client]:
    """Run granian on a free port until the block ends; yields a client of it."""
    port = free_port()
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "web.log").open("wb") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "granian",
                "--interface",
                "asgi",
                "--port",
                str(port),
                "backoffice.asgi:application",
            ],
            env={**os.environ, "BOOSTER_DATA_DIR": str(data_dir), **environment},
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            _wait_for(client, process, data_dir / "web.log")
            yield client
    finally:
        process.terminate()
        process.wait(timeout=15)


def _wait_for(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline:
        try:
            client.get("/api/v1/terminal/configuration")
            return
        except httpx.TransportError:
            if process.poll() is not None:
                break
            time.sleep(0.05)
    raise RuntimeError(f"the web server did not start:\n{log.read_text()[-2000:]}")
