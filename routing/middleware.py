"""Cross-origin rules of the terminal doors that Django answers."""

from __future__ import annotations

from collections.abc import Callable

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse

from routing import events_stream
from routing.answers import DOOR_BY_PATH, METHODS, Headers, cors_headers, preflight
from routing.store import store

PREFIX = "/api/v1/terminal/"
DEVICE_METHODS = "POST, OPTIONS"


class TerminalDoors:
    """Adds the cross-origin headers at every terminal door, on errors too, and answers preflights.

    Only the origins of active mobile servers and of BOOSTER_ALLOWED_ORIGINS are allowed, and no
    other path of the product allows any.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path.startswith(PREFIX):
            return self._get_response(request)
        origin = request.headers.get("Origin", "")
        if request.method == "OPTIONS":
            is_read = request.path in DOOR_BY_PATH or request.path in events_stream.PATHS
            methods = METHODS if is_read else DEVICE_METHODS
            answered = preflight(origin, _allowed_origins(), methods)
            response = HttpResponse(status=answered.status)
            _set(response, answered.headers)
            return response
        response = self._get_response(request)
        response["Vary"] = "Accept-Encoding, Authorization, Origin"
        if origin:
            _set(response, cors_headers(origin, _allowed_origins()))
        return response


def _allowed_origins() -> frozenset[str]:
    """Return what is allowed now, or was when the database last answered."""
    try:
        return store.current().allowed_origins
    except DatabaseError:
        return store.snapshot.allowed_origins if store.snapshot else frozenset()


def _set(response: HttpResponse, headers: Headers) -> None:
    for name, value in headers:
        response[name.decode()] = value.decode()
