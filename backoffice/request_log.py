"""What the log says about requests, and whose word it takes for it."""

from __future__ import annotations

import structlog
from django.http import HttpRequest
from django_structlog.middlewares import RequestMiddleware

from backoffice.addresses import client_address


class RequestLogMiddleware(RequestMiddleware):  # type: ignore[misc]
    """Log every request with the address that limits count by.

    The base class believes X-Forwarded-For and its like, which anybody can send.
    """

    @classmethod
    def bind_ip(cls, request: HttpRequest) -> None:
        structlog.contextvars.bind_contextvars(ip=client_address(request))
