"""Who may send a body as large as a patch: those who may upload one, known before anything of it is kept."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from typing import Any

import structlog
from django.conf import settings
from django.contrib.auth import get_user
from django.db import DatabaseError, close_old_connections
from django.http import HttpRequest
from django.utils import timezone

from accounts.models import User
from accounts.tokens import find_user_token
from backoffice.body_limit import LARGEST_BODY, Scope
from backoffice.credentials import parse_credential
from boosters.patch_storage import largest
from servers.agent_tokens import find_agent_token

logger = structlog.get_logger(__name__)

MAY_UPLOAD = "boosters.add_patch"
OF_AGENTS, OF_USERS, OF_PEOPLE = "/api/v1/agent/patches", "/api/v1/patches", "/admin/patches/upload"
AROUND = 64 * 1024
"""What a form adds around a file."""

_thread = ThreadPoolExecutor(1, thread_name_prefix="larger-bodies")


async def largest_body(scope: Scope) -> int:
    """Return how many bytes the body of a request may have that is larger than usual."""
    path = scope.get("path", "").rstrip("/")
    if scope.get("method") != "POST" or path not in (OF_AGENTS, OF_USERS, OF_PEOPLE):
        return LARGEST_BODY
    is_known = await asyncio.get_running_loop().run_in_executor(_thread, _ask, path, _headers(scope))
    return max(LARGEST_BODY, largest() + AROUND) if is_known else LARGEST_BODY


def may_upload(path: str, headers: dict[str, str]) -> bool:
    """Tell whether the bearer of what `headers` hold may upload a patch at `path`."""
    try:
        if path == OF_PEOPLE:
            user: Any = _of_session(headers.get("cookie", ""))
            return bool(user.is_active and user.has_perm(MAY_UPLOAD))
        scheme, _, text = headers.get("authorization", "").partition(" ")
        credential = parse_credential(text.strip()) if scheme.lower() == "bearer" else None
        if credential is None:
            return False
        if path == OF_AGENTS:
            return credential.kind == "agent" and find_agent_token(credential, timezone.now()) is not None
        token = find_user_token(credential, timezone.now()) if credential.kind == "user" else None
        return token is not None and not token.is_read_only and token.user.has_perm(MAY_UPLOAD)
    except DatabaseError as error:
        logger.warning("upload-not-admitted", error=type(error).__name__)
        return False


def _ask(path: str, headers: dict[str, str]) -> bool:
    close_old_connections()
    return may_upload(path, headers)


def _of_session(cookies: str) -> User | Any:
    request = HttpRequest()
    try:
        found = SimpleCookie(cookies).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        found = None
    engine = import_module(settings.SESSION_ENGINE)
    request.session = engine.SessionStore(found.value if found else None)
    return get_user(request)


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
