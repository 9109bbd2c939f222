"""A Booster of a few lines: answers as told, over a real socket, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from booster_agent.configuration import Address, Configuration

TOKEN = "bst_agent_abcdefghijkmnpqr." + "A" * 43
NEXT_TOKEN = "bst_agent_abcdefghijkmnpqs." + "B" * 43
HEARTBEAT, ORDER, ROLL = "/api/v1/agent/heartbeat", "/api/v1/agent/order", "/api/v1/agent/token"
GOOD = {"status": "online", "since": None, "next_interval_s": 30, "todo": []}


@dataclass
class Call:
    method: str
    path: str
    token: str
    body: Any
    headers: dict[str, str]


@dataclass
class FakeBooster:
    """`answers` are by method and path: (status, body, headers), or a function of the call that returns that."""

    address: Address
    answers: dict[tuple[str, str], Any] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    delay_s: float = 0.0

    def asked(self, path: str) -> list[Call]:
        return [call for call in self.calls if call.path == path]

    def said(self, path: str) -> list[Any]:
        return [call.body for call in self.asked(path)]


@contextmanager
def fake_booster(port: int = 0) -> Iterator[FakeBooster]:
    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            is_json = self.headers.get("Content-Type") == "application/json"
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            headers = {name.lower(): value for name, value in self.headers.items()}
            call = Call(self.command, self.path, token, json.loads(content) if is_json else content, headers)
            booster.calls.append(call)
            time.sleep(booster.delay_s)
            answer = booster.answers.get((call.method, call.path), (404, {"detail": "nothing here"}, {}))
            status, body, told = answer(call) if callable(answer) else answer
            sent = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in told.items():
                self.send_header(name, value)
            if "Content-Length" not in told:
                self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            if status not in (204, 304):
                self.wfile.write(sent)

        do_GET = do_POST = handle_one

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass

    server = Server(("127.0.0.1", port), Handler)
    booster = FakeBooster(Address("127.0.0.1", server.server_port), {("POST", HEARTBEAT): (200, GOOD, {})})
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield booster
    finally:
        server.shutdown()
        server.server_close()


def make_configuration(folder: Path, *boosters: Address, **changes: Any) -> Configuration:
    folder.mkdir(parents=True, exist_ok=True)
    told = {
        "boosters": boosters or (Address("127.0.0.1", 1),),
        "server_key": "lyon",
        "token": TOKEN,
        "state_dir": folder,
        "server_home": folder,
        "uses_tls": False,
        "local_port": 0,
    }
    return Configuration(**(told | changes))
