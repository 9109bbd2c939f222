"""Terminals that wait for their documents: what each takes, and how soon all have the new one."""

from __future__ import annotations

import os
import resource
import selectors
import socket
import time
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

from bench.configurations import refill, terminal_tokens
from bench.load import LOAD_CORE, granian, rss_mb
from bench.polling import CONFIGURATION, SERVERS, SERVICES, fetch
from routing.revision import announce_now
from servers.models import MobileServer

WAITERS = (1_000, 5_000)


class Line:
    """One terminal's connection, as bytes."""

    def __init__(self, port: int, token: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self._token = token
        self._received = b""

    def ask(self, query: str = "", tag: str = "") -> None:
        held = f"If-None-Match: {tag}\r\n" if tag else ""
        head = f"GET {CONFIGURATION}{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._token}\r\n{held}\r\n"
        self._received = b""
        self.socket.sendall(head.encode())

    def is_read(self) -> bool:
        """Read what is there; tell whether the answer is whole now. ConnectionError if the line is cut."""
        received = self.socket.recv(262_144)
        if not received:
            raise ConnectionError("the line was closed")
        self._received += received
        head, end, body = self._received.partition(b"\r\n\r\n")
        return bool(end) and len(body) >= int(self._headers(head).get("content-length", "0"))

    def read(self) -> dict[str, str]:
        """Wait for the whole answer; return its headers and `:status`."""
        while not self.is_read():
            pass
        return self._headers(self._received.partition(b"\r\n\r\n")[0])

    @property
    def status(self) -> int:
        return int(self._received[9:12])

    @staticmethod
    def _headers(head: bytes) -> dict[str, str]:
        return dict(line.decode("latin-1").lower().split(": ", 1) for line in head.split(b"\r\n")[1:])


def measure() -> dict[str, Any]:
    """Return, by number of terminals that wait for documents of their own, KiB each and seconds to wake all."""
    refill(max(WAITERS) + 100, SERVERS, SERVICES)
    tokens = terminal_tokens(max(WAITERS))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    cores = os.sched_getaffinity(0)
    if len(cores) > 1:
        os.sched_setaffinity(0, {int(LOAD_CORE)})
    try:
        return {str(number): _measure_one(tokens[:number]) for number in WAITERS}
    finally:
        os.sched_setaffinity(0, cores)


def _measure_one(tokens: list[str]) -> dict[str, float]:
    with ExitStack() as stack:
        edge = stack.enter_context(granian("backoffice.asgi:application"))
        port = int(urlsplit(edge).port or 0)
        fetch(edge, tokens[0])
        tags = {token: _tag(port, token) for token in tokens}
        before = rss_mb(port)
        lines = []
        for token, tag in tags.items():
            lines.append(Line(port, token))
            stack.callback(lines[-1].socket.close)
            lines[-1].ask("?wait=60", tag)
            time.sleep(0.0005)  # no more at once than the kernel queues
        time.sleep(1)
        kib = (rss_mb(port) - before) * 1024 / len(tokens)
        seconds = _wake(lines, f"Changed for {len(tokens)}")
    print(f"\n{len(tokens):,} terminals wait at {kib:.1f} KiB each; all have their new document after {seconds:.2f} s")
    return {"kib_each": kib, "all_woken_s": seconds}


def _tag(port: int, token: str) -> str:
    line = Line(port, token)
    line.ask()
    tag = line.read()["etag"]
    line.socket.close()
    return tag


def _wake(lines: list[Line], name: str) -> float:
    """Change every terminal's document; return after how many seconds from the commit on all have it whole."""
    selector = selectors.DefaultSelector()
    for line in lines:
        selector.register(line.socket, selectors.EVENT_READ, line)
    MobileServer.objects.filter(server_type="main").update(name=name)
    announce_now()
    started = time.monotonic()
    left = len(lines)
    while left:
        for key, _ in selector.select(20):
            if key.data.is_read():
                selector.unregister(key.fileobj)
                left -= 1
    seconds = time.monotonic() - started
    if any(line.status != 200 for line in lines):
        raise RuntimeError("a terminal was not told of the change")
    return seconds
