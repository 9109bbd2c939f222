"""The server over HTTP: one thread a connection, JSON in and out."""

from __future__ import annotations

import ipaddress
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from reference_server.behaviour import Behaviour, Mode, WrongControl
from reference_server.data import Data

LARGEST_BODY = 2**20
LONGEST_COUNT = 18
LONGEST_MESSAGE_ID = 200
IDLE_S = 60


class Wrong(Exception):
    """A request that cannot be understood; the text says why."""


class BreakOff(Exception):
    """The connection is to end without an answer."""


class ReferenceServer(ThreadingHTTPServer):
    """A mobile server with a key, at a path below its address; port 0 takes a free one."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, key: str, *, host: str = "127.0.0.1", port: int = 0, context: str = "openbravo", data: Data | None = None
    ) -> None:
        self.key = key
        self.context = context.strip("/")
        self.data = data or Data()
        self.behaviour = Behaviour()
        super().__init__((host, port), Handler)

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        shown = host.decode() if isinstance(host, bytes) else host
        return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}" + (f"/{self.context}" if self.context else "")

    def server_bind(self) -> None:
        """Bind without asking a name server for the host's name."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def answer(self, service: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a query or a transaction; raises Wrong or BreakOff."""
        behaviour = self.behaviour
        message_id = body.get("messageId", "")
        if not isinstance(message_id, str) or len(message_id) > LONGEST_MESSAGE_ID:
            raise Wrong(f"messageId must be a text of at most {LONGEST_MESSAGE_ID} characters.")
        data = body.get("data")
        if message_id and (not isinstance(data, list) or not data):
            raise Wrong("A transaction needs a list of data that is not empty.")
        self.data.note_call(service, message_id)
        if behaviour.mode is Mode.DOWN:
            raise BreakOff
        if behaviour.mode is Mode.SLOW:
            time.sleep(behaviour.delay_ms / 1000)
        response: dict[str, Any] = {"status": 0}
        if message_id:
            response |= {"messageId": message_id, "repeated": False}
        if behaviour.mode is Mode.TRANSITION:
            return {"response": {**response, "data": [], "serverStatusSignal": behaviour.signal_now}}
        if behaviour.refuses(message_id) and not self.data.has(message_id):
            reason = "The reference server was told to refuse this."
            if message_id:
                self.data.refuse(message_id, service, reason)
            return failure(reason)
        if message_id:
            response["repeated"] = self.data.accept(message_id, service, data or [])
            response["data"] = []
        else:
            search = body.get("search", "")
            response["data"] = self.data.query(service, search if isinstance(search, str) else "")
        if behaviour.mode is Mode.LOST_ANSWER:
            raise BreakOff
        return {"response": {**response, "serverStatusSignal": behaviour.signal_now}}


def failure(reason: str) -> dict[str, Any]:
    return {"response": {"status": -1, "error": {"message": reason}, "serverStatusSignal": "ON"}}


class Handler(BaseHTTPRequestHandler):
    server: ReferenceServer
    protocol_version = "HTTP/1.1"
    server_version = "ReferenceServer"
    sys_version = ""
    timeout: ClassVar[float] = IDLE_S

    def do_GET(self) -> None:
        self._handle(reads=False)

    def do_POST(self) -> None:
        self._handle(reads=True)

    def _handle(self, *, reads: bool) -> None:
        try:
            path = self._path()
            if path is None:
                self._send(HTTPStatus.NOT_FOUND, failure("There is nothing at this address."))
                return
            body = self._body() if reads else {}
            status, told = self._told(path, body)
            self._send(status, told)
        except Wrong as error:
            self._send(HTTPStatus.BAD_REQUEST, failure(str(error)))
        except BreakOff:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            self.close_connection = True  # whoever asked has gone

    def _told(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        server, behaviour = self.server, self.server.behaviour
        if path == "_control":
            return self._control(body)
        if path == "_data" and self.command == "GET":
            return HTTPStatus.OK, server.data.shown()
        if behaviour.mode is Mode.FAIL:
            server.data.note_call(path, str(body.get("messageId", "")))
            return behaviour.status, failure("The reference server was told to fail.")
        if path == "ping":
            if behaviour.mode is Mode.DOWN:
                raise BreakOff
            if behaviour.mode is Mode.SLOW:
                time.sleep(behaviour.delay_ms / 1000)
            return HTTPStatus.OK, {"key": server.key, "serverStatusSignal": behaviour.signal_now}
        if self.command == "GET":
            return HTTPStatus.METHOD_NOT_ALLOWED, failure("Services are called with POST.")
        return HTTPStatus.OK, server.answer(path, body)

    def _control(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.command != "POST":
            return HTTPStatus.METHOD_NOT_ALLOWED, failure("The control door takes POST.")
        if not ipaddress.ip_address(self.client_address[0]).is_loopback:
            return HTTPStatus.FORBIDDEN, failure("The control door is for this machine alone.")
        try:
            self.server.behaviour = Behaviour.of(body)
        except WrongControl as error:
            raise Wrong(str(error)) from error
        return HTTPStatus.OK, {"mode": self.server.behaviour.mode}

    def _path(self) -> str | None:
        """Return the path below the server's own, or None for one that is not."""
        path = self.path.partition("?")[0].lstrip("/")
        prefix = f"{self.server.context}/" if self.server.context else ""
        return path.removeprefix(prefix) if path.startswith(prefix) and path != prefix else None

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self.close_connection = True  # where the body ends cannot be told
            raise Wrong("A body needs its Content-Length.")
        if len(length) > LONGEST_COUNT or int(length) > LARGEST_BODY:
            self.close_connection = True
            raise Wrong(f"A body has at most {LARGEST_BODY} bytes.")
        try:
            body = json.loads(self.rfile.read(int(length)) or b"{}")
        except (ValueError, RecursionError):
            raise Wrong("The body is no JSON.") from None
        if not isinstance(body, dict):
            raise Wrong("The body must be a JSON object.")
        return body

    def _send(self, status: int, told: dict[str, Any]) -> None:
        body = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()
        self.wfile.write(body)

    def do_OPTIONS(self) -> None:
        """Let pages of any origin call: there is nothing here to protect."""
        self.send_response(HTTPStatus.NO_CONTENT)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
        self.send_header("Access-Control-Allow-Headers", "Authorization, Content-Type")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: `_data` shows every call."""


@contextmanager
def serving(server: ReferenceServer) -> Iterator[ReferenceServer]:
    """Serve in a thread until the block ends."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
