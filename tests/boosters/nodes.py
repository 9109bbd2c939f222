"""Two Booster nodes as real process trees over one database, which each can be cut off from."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
from django.db import connection

from boosters.acting_rule import Seen
from boosters.lease import database_moment
from boosters.models import ActingLease, BoosterNode
from tests.backoffice.processes import Product, free_port, manage, wait_for


class Wire:
    """A TCP port on 127.0.0.1 that leads to the database's socket, and can be cut and mended."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._is_cut = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            try:
                if self._is_cut:
                    raise OSError
                far.connect(self._target)
            except OSError:
                near.close()
                continue
            self._pairs.append((near, far))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        self._is_cut = True
        for pair in self._pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def mend(self) -> None:
        self._is_cut = False

    def close(self) -> None:
        self.cut()
        self._listener.close()


class Node:
    """One Booster node: its wire to the database, and its process tree while it runs."""

    def __init__(self, name: str, directory: Path, port: int, wire: Wire, environment: dict[str, str]) -> None:
        self.name, self.port, self.wire = name, port, wire
        self._directory, self._environment = directory / name, environment
        self.product: Product | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Node:
        self.product = Product(self._directory, "--no-migrate", "--workers", "1", port=self.port, **self._environment)
        return self

    def wait_until_ready(self) -> Node:
        assert self.product is not None
        self.product.wait_until_ready()
        return self

    def _pids(self) -> list[int]:
        assert self.product is not None
        return list(self.product._commands())

    def signal(self, number: int) -> None:
        """Send a signal to every process of the node at once, as a host that stops or dies does."""
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """Let the node die as a host does that loses its power."""
        assert self.product is not None
        self.signal(signal.SIGSTOP)  # so that nothing starts anew what is killed first
        self.signal(signal.SIGKILL)
        self.product.process.wait()
        self.product = None

    def stop(self) -> None:
        if self.product is not None:
            with suppress(ProcessLookupError):
                self.signal(signal.SIGCONT)
            self.product.__exit__()
            self.product = None

    def is_steady(self) -> bool:
        """Tell whether the node has been seen without a gap for as long as a handover asks."""
        row = BoosterNode.objects.filter(role=self.name).first()
        return row is not None and Seen(row.seen_at, row.steady_since).is_steady(database_moment())

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the node's commands, as its operator does."""
        return manage(*arguments, data_dir=self._directory, **{**self._environment, "LOG_LEVEL": "ERROR"})

    def get(self, path: str) -> int:
        """Return the status of an answer, 0 where there is none."""
        try:
            return httpx.get(f"{self.url}{path}", timeout=5).status_code
        except httpx.TransportError:
            return 0


class PairOfNodes:
    """Primary and secondary on two ports of this machine, with separate wires to the tests' database."""

    def __init__(self, directory: Path, redis_url: str, **variables: str) -> None:
        values = connection.settings_dict
        host = values["OPTIONS"].get("host") or values["HOST"]
        target = f"{host}/.s.PGSQL.{values['PORT'] or 5432}"
        ports = [free_port(), free_port()]
        common = {
            "BOOSTER_IP": "127.0.0.1",
            "BOOSTER_PORT": str(ports[0]),
            "SECOND_BOOSTER_IP": "127.0.0.1",
            "SECOND_BOOSTER_PORT": str(ports[1]),
            "SECRET_KEY": "k" * 60,
            "REDIS_URL": redis_url,
            "LOG_LEVEL": "INFO",
            **variables,
        }
        self.nodes = []
        for name, port in zip(("primary", "secondary"), ports, strict=True):
            wire = Wire(target)
            url = f"postgresql://{values['USER']}:{values['PASSWORD']}@127.0.0.1:{wire.port}/{values['NAME']}"
            own = {**common, "DATABASE_URL": url, "LOCAL_IP": "127.0.0.1", "LOCAL_PORT": str(port)}
            self.nodes.append(Node(name, directory, port, wire, own))
        self.primary, self.secondary = self.nodes

    def __enter__(self) -> PairOfNodes:
        return self

    def __exit__(self, *exc: object) -> None:
        for node in self.nodes:
            node.wire.mend()
            node.stop()
            node.wire.close()


def holder() -> str:
    """Return the name of the node that acts by the database's clock, nothing while none does."""
    row = ActingLease.objects.filter(pk=1).first()
    is_held = row is not None and row.expires_at is not None and row.expires_at > database_moment()
    return row.holder if row is not None and is_held else ""


def wait_for_holder(name: str, seconds: float = 45) -> float:
    """Return how many seconds it takes until the node `name` acts."""
    begun = time.monotonic()
    wait_for(lambda: holder() == name, f"{name or 'nobody'} to act", seconds)
    return time.monotonic() - begun
