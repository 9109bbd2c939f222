"""Callers of the API, for the tests of every collection."""

from __future__ import annotations

from typing import Any

from rest_framework.test import APIClient

from accounts.models import User
from tests.factories import make_user_token


def as_user(user: User | None = None, **token: Any) -> APIClient:
    """Return a client with a token of `user`, or of a new administrator."""
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {make_user_token(user, **token)}")
    return client


def pointers(answer: Any) -> list[tuple[str, str]]:
    """Return what a problem complains about, as pairs of pointer and code."""
    return [(error["pointer"], error["code"]) for error in answer.json()["errors"]]


def outcome(answer: Any) -> tuple[int, str]:
    """Return the status and type of a problem."""
    assert answer["Content-Type"] == "application/problem+json"
    return answer.status_code, answer.json()["type"]
