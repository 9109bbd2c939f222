"""Calls over HTTP: an end in time whatever the other side does, and credentials for nobody but whom they are for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from request_router.answers import Answered, away, meaning_of
from request_router.documents import LARGEST_DOCUMENT, Server

CONNECT_WITHIN_S = 3.0


class NoAnswer(Exception):
    """No whole answer came in time; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    content: bytes


def http_client(*, verify: bool | str = True) -> httpx.Client:
    """Return a client that follows no redirect, so that no other host is sent a credential."""
    return httpx.Client(follow_redirects=False, verify=verify, trust_env=False)


def call(
    client: httpx.Client,
    method: str,
    url: str,
    *,
    timeout_s: float,
    headers: Mapping[str, str] | None = None,
    body: object = None,
) -> Answer:
    """Return the whole answer; raises NoAnswer once `timeout_s` has passed, also for one that trickles in."""
    deadline = time.monotonic() + timeout_s
    timeout = httpx.Timeout(timeout_s, connect=min(CONNECT_WITHIN_S, timeout_s))
    sent = {"json": body} if body is not None else {}
    try:
        with client.stream(method, url, headers=dict(headers or {}), timeout=timeout, **sent) as answer:  # type: ignore[arg-type]
            content = b""
            for chunk in answer.iter_bytes():
                content += chunk
                if time.monotonic() > deadline:
                    raise NoAnswer(f"no whole answer within {timeout_s:g} s")
                if len(content) > LARGEST_DOCUMENT:
                    raise NoAnswer(f"an answer of more than {LARGEST_DOCUMENT} bytes")
            return Answer(answer.status_code, answer.headers, content)
    except httpx.TimeoutException:
        raise NoAnswer(f"no answer within {timeout_s:g} s") from None
    except httpx.HTTPError as error:
        raise NoAnswer(str(error) or type(error).__name__) from None
    except httpx.InvalidURL as error:
        raise NoAnswer(f"no address: {error}") from None
    except ValueError as error:
        raise NoAnswer(f"it cannot be sent: {error}") from None
    except RuntimeError:
        raise NoAnswer("the client was closed") from None


class HttpTransport:
    """Sends requests to mobile servers; `headers_for` gives what a server is to be told of the caller."""

    def __init__(
        self, client: httpx.Client, headers_for: Callable[[Server], Mapping[str, str]] = lambda server: {}
    ) -> None:
        self._client = client
        self._headers_for = headers_for

    def send(self, server: Server, path: str, body: Mapping[str, Any], timeout_s: float) -> Answered:
        url = f"{server.url}/{path.lstrip('/')}"
        try:
            answer = call(
                self._client, "POST", url, timeout_s=timeout_s, headers=self._headers_for(server), body=dict(body)
            )
        except NoAnswer as error:
            return away(str(error))
        return meaning_of(answer.status, answer.content)
