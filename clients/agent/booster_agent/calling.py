"""Calls to the Boosters: the primary first, the secondary when that fails, redirects never followed."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any

from booster_agent.configuration import Address

ANSWER_WITHIN_S = 5.0
LARGEST_ANSWER = 64 * 2**20
SERVER_ERROR = 500


class Unreachable(Exception):
    """No Booster answered; the message says of each what happened."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a Booster answered; `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    booster: str = ""

    @property
    def json(self) -> dict[str, Any]:
        """The object in the body; empty if there is none."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def retry_after_s(self) -> float | None:
        text = self.headers.get("retry-after", "")
        return float(text) if text.isascii() and text.isdecimal() and len(text) <= 6 else None  # noqa: PLR2004

    @property
    def reason(self) -> str:
        """What the answer says, for the log and for people."""
        return str(self.json.get("detail", "") or f"status {self.status}")[:300]


class _NoAnswer(Exception):
    pass


class Boosters:
    """The configured Boosters, tried in order within each call (OMF-12), the primary first again next time (OMF-13)."""

    def __init__(
        self,
        addresses: tuple[Address, ...],
        *,
        uses_tls: bool = True,
        ca_file: Path | None = None,
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        self._addresses = addresses
        self._context = ssl.create_default_context(cafile=ca_file and str(ca_file)) if uses_tls else None
        self._answer_within_s = answer_within_s

    def call(
        self,
        method: str,
        path: str,
        token: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return the first Booster's answer that is not a failure; raises Unreachable.

        Failures are a refused or broken connection, no whole answer in five seconds, 5xx, and a redirect: the
        token goes to no address but the configured ones.
        """
        content = None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if content is not None else {}
        sent |= headers or {}
        failures = []
        for address in self._addresses:
            try:
                return self._ask(address, method, path, self._headers(token, sent), content)
            except _NoAnswer as error:
                failures.append(f"{address}: {error}")
        raise Unreachable("; ".join(failures))

    def fetch(
        self, path: str, token: str, headers: Mapping[str, str], take: Callable[[Answer, Iterator[bytes]], None]
    ) -> None:
        """Stream the first Booster's answer to `take`; a pause of more than 30 s breaks it off. Raises Unreachable."""
        failures = []
        for address in self._addresses:
            try:
                with self._connection(address, 30.0) as connection:
                    connection.request("GET", path, headers=self._headers(token, headers))
                    response = connection.getresponse()
                    take(_told(response, b"", address), _pieces(response))
                    return
            except (_NoAnswer, OSError, http.client.HTTPException) as error:
                failures.append(f"{address}: {_why(error)}")
        raise Unreachable("; ".join(failures))

    def send_file(self, path: str, token: str, file: IO[bytes], size: int, name: str) -> Answer:
        """Send a file as the body of a POST; raises Unreachable."""
        sent = {"Content-Type": "application/octet-stream", "Content-Length": str(size), "X-File-Name": name}
        failures = []
        for address in self._addresses:
            file.seek(0)
            try:
                with self._connection(address, 60.0) as connection:
                    connection.request("POST", path, body=file, headers=self._headers(token, sent))
                    response = connection.getresponse()
                    return _told(response, response.read(LARGEST_ANSWER), address)
            except (_NoAnswer, OSError, http.client.HTTPException) as error:
                failures.append(f"{address}: {_why(error)}")
        raise Unreachable("; ".join(failures))

    def _ask(
        self, address: Address, method: str, path: str, headers: Mapping[str, str], content: bytes | None
    ) -> Answer:
        deadline = time.monotonic() + self._answer_within_s
        with self._connection(address, self._answer_within_s) as connection:
            try:
                connection.connect()
                # A socket's timeout begins anew with every byte; this one is for the whole answer.
                guard = threading.Timer(max(deadline - time.monotonic(), 0), _cut, (connection.sock,))
                guard.daemon = True
                guard.start()
                try:
                    connection.request(method, path, body=content, headers=dict(headers))
                    response = connection.getresponse()
                    body = response.read(LARGEST_ANSWER + 1)
                finally:
                    guard.cancel()
            except (OSError, http.client.HTTPException) as error:
                is_late = time.monotonic() >= deadline
                raise _NoAnswer(f"no answer in {self._answer_within_s:g} s" if is_late else _why(error)) from error
        if len(body) > LARGEST_ANSWER:
            raise _NoAnswer("the answer is too large")
        return _told(response, body, address)

    @contextmanager
    def _connection(self, address: Address, timeout_s: float) -> Iterator[http.client.HTTPConnection]:
        if self._context is None:
            connection = http.client.HTTPConnection(address.host, address.port, timeout=timeout_s)
        else:
            connection = http.client.HTTPSConnection(
                address.host, address.port, timeout=timeout_s, context=self._context
            )
        try:
            yield connection
        finally:
            connection.close()

    @staticmethod
    def _headers(token: str, more: Mapping[str, str]) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}", "Accept": "application/json", "Connection": "close", **more}


def _told(response: http.client.HTTPResponse, body: bytes, address: Address) -> Answer:
    if response.status >= SERVER_ERROR:
        raise _NoAnswer(f"it answers {response.status}")
    if 300 <= response.status < 400 and response.status != HTTPStatus.NOT_MODIFIED:  # noqa: PLR2004
        raise _NoAnswer(f"it answers {response.status}, and redirects are not followed")
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, body, str(address))


def _pieces(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while piece := response.read1(64 * 1024):
        yield piece


def _cut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _why(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}; see BOOSTER_CA_FILE)"
    return str(error) or type(error).__name__
