"""The user's login at the mobile servers: one token that all of them know, renewed for as long as it is in use."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from request_router.documents import Server

GET_TOKEN = "org.openbravo.mobile.core.authenticate.GetToken"  # noqa: S105 - the name of a service
LONGEST_TOKEN = 8_000


def token_in(answer: Any) -> str:
    """Return the token that an answer of a login or of GetToken carries, empty where there is none."""
    token = answer.get("authenticationToken") if isinstance(answer, dict) else None
    if not isinstance(token, str) or len(token) > LONGEST_TOKEN or not token.isascii():
        return ""
    return token if token.isprintable() and " " not in token else ""


class Login:
    """The token of who is logged in, held in memory alone. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._token = ""

    @property
    def token(self) -> str:
        with self._lock:
            return self._token

    def begin(self, token: str) -> None:
        """Let this token say who the user is; empty ends the login. Raises ValueError for what cannot be sent."""
        if token and not token_in({"authenticationToken": token}):
            raise ValueError("This is no token that can be sent.")
        with self._lock:
            self._token = token

    def renew(self, old: str, new: str) -> bool:
        """Put a renewed token in the place of the one that was sent; not if that has ended or changed meanwhile."""
        with self._lock:
            if not new or self._token != old:
                return False
            self._token = new
            return True

    def headers(self, server: Server) -> Mapping[str, str]:
        """Return what tells a server who the user is: a header, never a part of an address."""
        token = self.token
        return {"Authorization": f"Bearer {token}"} if token else {}
