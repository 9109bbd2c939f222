"""Errors of the API as RFC 9457 problems, made in this one place.

Every problem has `type`, `title`, `status`, `detail`, `instance` (the path that was asked for) and
`errors`: a list of `{pointer, code, detail}`, where `pointer` is an RFC 6901 pointer into the body, or
`?name` for a query parameter. Source: design, section 11.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from django.conf import settings
from django.core.exceptions import (
    NON_FIELD_ERRORS,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    ValidationError,
)
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError
from django.db.models import ProtectedError, RestrictedError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.settings import api_settings

from backoffice.refusals import (
    Conflict,
    FieldError,
    Forbidden,
    Invalid,
    Refusal,
    TooManyAttempts,
    Unauthenticated,
    Unavailable,
    describe_blockers,
)
from organizations.tree import OrganizationInUse

logger = structlog.get_logger(__name__)

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
PREFIX = "/api/"


class PreconditionFailed(Refusal):
    type = "/problems/precondition-failed"
    title = "The object was changed in the meantime"
    status = 412


class TooLarge(Refusal):
    type = "/problems/too-large"
    title = "The request body is too large"
    status = 413


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem, ready to be written as JSON."""

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[FieldError, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def members(self, instance: str) -> dict[str, Any]:
        """Return what is written; details repeat what a caller sent, of which UTF-8 may have no spelling."""
        return {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": _writable(self.detail),
            "instance": instance,
            "errors": [
                {"pointer": _writable(error.pointer), "code": error.code, "detail": _writable(error.detail)}
                for error in self.errors
            ],
        }


def _writable(text: str) -> str:
    """Return a text with a question mark for every half of a character."""
    return str(text).encode("utf-8", "replace").decode()


FRAMEWORK_PROBLEMS: dict[int, tuple[str, str]] = {
    400: (Invalid.type, Invalid.title),
    401: (Unauthenticated.type, Unauthenticated.title),
    403: (Forbidden.type, Forbidden.title),
    404: ("/problems/not-found", "Not found"),
    405: ("/problems/method-not-allowed", "This address does not know this method"),
    406: ("/problems/not-acceptable", "No representation that the caller accepts"),
    415: ("/problems/unsupported-media-type", "The body must be application/json"),
    429: (TooManyAttempts.type, TooManyAttempts.title),
    500: ("/problems/internal-error", "Something went wrong here"),
}
INTERNAL_ERROR = Problem(
    *FRAMEWORK_PROBLEMS[500], status=500, detail="The error was logged; the request id names it there."
)


def problem_of(error: BaseException) -> Problem:
    """Return the problem that `error` means to a caller; what is unforeseen is a bare 500."""
    if isinstance(error, ProtectedError | RestrictedError):
        blockers = error.protected_objects if isinstance(error, ProtectedError) else error.restricted_objects
        error = OrganizationInUse(f"This cannot be deleted: {describe_blockers(blockers)}.")
    elif isinstance(error, RequestDataTooBig):
        error = TooLarge(f"A body may have at most {settings.DATA_UPLOAD_MAX_MEMORY_SIZE} bytes.")
    elif isinstance(error, OperationalError | InterfaceError):
        error = Unavailable("The database does not answer at the moment.", retry_after_s=RETRY_AFTER_S)
    elif isinstance(error, IntegrityError):
        error = Conflict("Another change came in between; read the object again.")
    if isinstance(error, Refusal):
        headers = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
        if error.status == Unauthenticated.status:
            headers["WWW-Authenticate"] = "Bearer"
        return Problem(error.type, error.title, error.status, error.detail, error.errors, headers)
    if isinstance(error, ValidationError):
        return _invalid(tuple(_validation_errors(error)))
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    elif isinstance(error, SuspiciousOperation):
        error = exceptions.ParseError("The request is malformed.")
    if isinstance(error, exceptions.APIException):
        return _framework_problem(error)
    return INTERNAL_ERROR


def exception_handler(error: Exception, context: dict[str, Any]) -> Response:
    """Answer an exception that a view let through (REST framework's hook)."""
    problem = problem_of(error)
    _log(problem, error)
    request = context["request"]
    return Response(
        problem.members(request.path),
        status=problem.status,
        headers=dict(problem.headers),
        content_type=CONTENT_TYPE,
    )


def problem_response(problem: Problem, instance: str) -> JsonResponse:
    """Return a problem as a plain Django response, for answers given outside a view of the API."""
    return JsonResponse(
        problem.members(instance),
        status=problem.status,
        headers=dict(problem.headers),
        content_type=CONTENT_TYPE,
        json_dumps_params={"ensure_ascii": False},
    )


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not request.path.startswith(PREFIX):
        return defaults.bad_request(request, exception)
    return problem_response(problem_of(exception), request.path)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not request.path.startswith(PREFIX):
        return defaults.permission_denied(request, exception)
    return problem_response(problem_of(exception), request.path)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not request.path.startswith(PREFIX):
        return defaults.page_not_found(request, exception)
    return problem_response(problem_of(Http404()), request.path)


def server_error(request: HttpRequest) -> HttpResponse:
    if not request.path.startswith(PREFIX):
        return defaults.server_error(request)
    error = sys.exception()
    return problem_response(problem_of(error) if error else INTERNAL_ERROR, request.path)


def _log(problem: Problem, error: Exception) -> None:
    if problem is INTERNAL_ERROR:
        logger.error("unexpected-error", exc_info=error)
    elif isinstance(error, DatabaseError):
        logger.warning("database-error", error=type(error).__name__, status=problem.status)


def _invalid(errors: tuple[FieldError, ...]) -> Problem:
    detail = errors[0].detail if len(errors) == 1 else f"{len(errors)} values are not valid."
    return Problem(Invalid.type, Invalid.title, Invalid.status, detail, errors)


def _framework_problem(error: exceptions.APIException) -> Problem:
    if isinstance(error, exceptions.ValidationError):
        return _invalid(tuple(_detail_errors(error.detail, "")))
    type_, title = FRAMEWORK_PROBLEMS.get(error.status_code, ("about:blank", error.default_detail))
    headers = {}
    if error.status_code == Unauthenticated.status:
        headers["WWW-Authenticate"] = "Bearer"
    return Problem(type_, str(title), error.status_code, str(error.detail), headers=headers)


def escape_pointer(member: object) -> str:
    """Return one step of a JSON pointer (RFC 6901)."""
    return str(member).replace("~", "~0").replace("/", "~1")


def _detail_errors(detail: Any, pointer: str) -> Iterator[FieldError]:
    """Yield the errors of REST framework's nested dicts and lists, each with its pointer."""
    if isinstance(detail, Mapping):
        for member, inner in detail.items():
            own = str(member) in (api_settings.NON_FIELD_ERRORS_KEY, NON_FIELD_ERRORS)
            yield from _detail_errors(inner, pointer if own else f"{pointer}/{escape_pointer(member)}")
    elif isinstance(detail, list | tuple):
        for index, inner in enumerate(detail):
            leaf = isinstance(inner, str)
            yield from _detail_errors(inner, pointer if leaf else f"{pointer}/{index}")
    else:
        yield FieldError(pointer, getattr(detail, "code", None) or "invalid", str(detail))


def _validation_errors(error: ValidationError) -> Iterator[FieldError]:
    """Yield the errors of a model's or rule's ValidationError, each with its pointer."""
    if not hasattr(error, "error_dict"):
        for inner in error.error_list:
            yield from (FieldError("", inner.code or "invalid", message) for message in inner.messages)
        return
    for name, errors in error.error_dict.items():
        pointer = "" if name == NON_FIELD_ERRORS else f"/{escape_pointer(name)}"
        for inner in errors:
            yield from (FieldError(pointer, inner.code or "invalid", message) for message in inner.messages)
