"""Reading bodies and query parameters, strictly and within bounds."""

from collections.abc import Mapping
from datetime import UTC, datetime
from io import BytesIO
from typing import IO, Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from django.utils.dateparse import parse_datetime
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser
from rest_framework.request import Request

from backoffice.api.problems import TooLarge
from backoffice.refusals import FieldError, Invalid


def query_error(name: str, code: str, detail: str) -> Invalid:
    return Invalid(detail, errors=[FieldError(f"?{name}", code, detail)])


def is_storable(text: str) -> bool:
    """Tell whether a database can hold or compare `text`: no NUL, no lone surrogates."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def query_flag(request: Request, name: str) -> bool:
    """Return a query parameter that is `true` or `false` (also when it is not given)."""
    text = request.query_params.get(name, "false")
    if text not in ("true", "false"):
        raise query_error(name, "invalid", f"{name} must be true or false.")
    return text == "true"


def query_count(request: Request, name: str, default: int, minimum: int) -> int:
    """Return a query parameter that is a whole number of at least `minimum`."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 18) or int(text) < minimum:  # noqa: PLR2004 - fits every database's integers
        raise query_error(name, "invalid", f"{name} must be a whole number of at least {minimum}.")
    return int(text)


def query_moment(request: Request, name: str) -> datetime:
    """Return a query parameter that is an ISO 8601 time with its offset, such as 2026-03-01T12:00:00Z."""
    try:
        moment = parse_datetime(request.query_params[name])
        if moment is not None and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise query_error(name, "invalid", f"{name} must be a time such as 2026-03-01T12:00:00Z.")


def check_query(request: Request, known: frozenset[str]) -> None:
    """Refuse query parameters that nobody reads: a misspelt filter would return everything."""
    for name, values in request.query_params.lists():
        if name not in known:
            raise query_error(name, "unknown_parameter", f"{name!r} is not a parameter here.")
        if len(values) > 1:
            raise query_error(name, "repeated", f"{name} is given more than once.")
        if not is_storable(values[0]):
            raise query_error(name, "invalid", f"{name} has characters that nothing is named with.")


def _read_bounded(stream: IO[bytes] | HttpRequest, limit: int | None = None) -> bytes:
    limit = limit or settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    body: bytes = stream.read(limit + 1)
    if len(body) > limit:
        raise TooLarge(f"A body may have at most {limit} bytes.")
    return body


def take_body_of_unknown_length(request: HttpRequest) -> None:
    """Measure a body sent without Content-Length, which would otherwise count as empty."""
    if isinstance(request, ASGIRequest) and not request.META.get("CONTENT_LENGTH"):
        request._body = _read_bounded(request)
        if request._body:
            request.META["CONTENT_LENGTH"] = str(len(request._body))


class BoundedJSONParser(JSONParser):
    """Read JSON of at most `limit` bytes; Django bounds only what it reads itself."""

    limit: int | None = None
    """None: DATA_UPLOAD_MAX_MEMORY_SIZE."""

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            return super().parse(BytesIO(_read_bounded(stream, self.limit)), media_type, parser_context)
        except RecursionError as error:
            raise ParseError("The body is nested too deeply.") from error


class ReportParser(BoundedJSONParser):
    """Read the report of a device, which comes often and must stay small."""

    limit = 256 * 1024
