"""A WSGI middleware that lets in whoever is logged in on any server of the client."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from request_router.key_set import KeySetFile, KeySetUnusable
from request_router.tokens import LoginRefused, verify

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

USER = "booster.user"


class KnownLogins:
    """Puts the KnownUser into `environ["booster.user"]`, None without a token; a token that does not hold gets 401."""

    def __init__(
        self, app: WSGIApplication, keys: KeySetFile, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._app, self._keys, self._now = app, keys, now

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        environ[USER] = None
        if scheme.lower() == "bearer":
            try:
                environ[USER] = verify(token.strip(), self._keys.current(), self._now())
            except LoginRefused as error:
                return _refuse(start_response, "401 Unauthorized", str(error))
            except KeySetUnusable:
                return _refuse(start_response, "503 Service Unavailable", "There are no keys to check logins with.")
        return self._app(environ, start_response)


def _refuse(start_response: StartResponse, status: str, detail: str) -> list[bytes]:
    code = int(status.partition(" ")[0])
    body = json.dumps({"type": "about:blank", "status": code, "detail": detail}).encode()
    headers = [("Content-Type", "application/problem+json"), ("Content-Length", str(len(body)))]
    challenge = ("WWW-Authenticate", "Bearer") if code == 401 else ("Retry-After", "30")  # noqa: PLR2004 - HTTP's
    start_response(status, [*headers, challenge])
    return [body]
