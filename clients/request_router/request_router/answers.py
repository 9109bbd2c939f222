"""What a server's answer means for the request, as one rule (N8 and N10).

| answer | means |
| --- | --- |
| no connection, no answer in time, broken off, 5xx, or 2xx that is no JSON object | next server; this one is offline |
| 404, 3xx | next server; nothing is said of this one |
| 401 | the caller is not known there: log in again, then the same server |
| other 4xx | the request is wrong: no other server would take it |
| 2xx with an error of the application | refused: it is wrong for every server |
| 2xx with the signal TON or TOFF | in transition: nothing was executed; next server |
| 2xx otherwise | accepted; the server is online |
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any

TRANSITIONS = ("TON", "TOFF")


class Meaning(StrEnum):
    ACCEPTED = "accepted"
    REFUSED = "refused"
    WRONG = "wrong"
    UNKNOWN_CALLER = "unknown_caller"
    TRANSITION = "transition"
    NOT_HERE = "not_here"
    AWAY = "away"


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer and what it means; `reason` says for people why it was not accepted."""

    meaning: Meaning
    reason: str = ""
    body: Any = None


def away(reason: str) -> Answered:
    """Return what it means that no answer came."""
    return Answered(Meaning.AWAY, reason)


def meaning_of(status: int, content: bytes) -> Answered:
    """Return what an HTTP answer means."""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return away(f"HTTP {status}")
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return _of_success(status, _json(content))
    if status == HTTPStatus.UNAUTHORIZED:
        return Answered(Meaning.UNKNOWN_CALLER, "HTTP 401")
    if status == HTTPStatus.NOT_FOUND or status < HTTPStatus.BAD_REQUEST:
        return Answered(Meaning.NOT_HERE, f"HTTP {status}")
    return Answered(Meaning.WRONG, f"HTTP {status}{_message(_json(content))}")


def _of_success(status: int, body: Any) -> Answered:
    if not isinstance(body, dict):
        return away(f"HTTP {status} without a JSON object")  # such as the page of a network's log-in
    response = body.get("response", body)
    response = response if isinstance(response, dict) else {}
    signal = response.get("serverStatusSignal")
    if signal in TRANSITIONS:
        return Answered(Meaning.TRANSITION, f"in transition ({signal})", body)
    application_status = response.get("status")
    if response.get("error") or (isinstance(application_status, int) and application_status < 0):
        return Answered(Meaning.REFUSED, f"refused{_message(body)}", body)
    return Answered(Meaning.ACCEPTED, body=body)


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _message(body: Any) -> str:
    """Return what an answer says of its error, as the end of a sentence."""
    response = body.get("response", body) if isinstance(body, dict) else None
    error = response.get("error") if isinstance(response, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return f": {message[:300]}" if isinstance(message, str) and message else ""
