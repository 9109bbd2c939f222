"""A Django middleware that lets in whoever is logged in on any server of the client. Needs Django."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, JsonResponse

from request_router.key_set import KeySetFile, KeySetUnusable
from request_router.tokens import LoginRefused, verify


class KnownLoginsMiddleware:
    """Sets `request.booster_user` (None without a token); the setting `BOOSTER_KEY_SET` names the key set's file."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response
        self._keys = KeySetFile(Path(getattr(settings, "BOOSTER_KEY_SET")))  # noqa: B009 - the server's setting, not the Booster's

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        known: Any = request
        known.booster_user = None
        if scheme.lower() == "bearer":
            try:
                known.booster_user = verify(token.strip(), self._keys.current(), datetime.now(UTC))
            except LoginRefused as error:
                return JsonResponse({"detail": str(error)}, status=401, headers={"WWW-Authenticate": "Bearer"})
            except KeySetUnusable:
                return JsonResponse({"detail": "No keys to check with."}, status=503, headers={"Retry-After": "30"})
        return self._get_response(request)
