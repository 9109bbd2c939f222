import json

import pytest
from django.core.exceptions import NON_FIELD_ERRORS, RequestDataTooBig, ValidationError
from django.db import IntegrityError, OperationalError
from django.http import Http404
from django.test import RequestFactory
from rest_framework import exceptions

from backoffice.api.problems import page_not_found, problem_of, server_error
from backoffice.refusals import Conflict, FieldError, TooManyAttempts, Unauthenticated


def test_problem_of_a_refusal_keeps_its_type_errors_and_headers():
    problem = problem_of(TooManyAttempts("Slow down.", retry_after_s=30))

    assert problem.members("/api/v1/x/") == {
        "type": "/problems/too-many-attempts",
        "title": "Too many attempts",
        "status": 429,
        "detail": "Slow down.",
        "instance": "/api/v1/x/",
        "errors": [],
    }
    assert problem.headers == {"Retry-After": "30"}


def test_problem_of_a_validation_error_points_at_every_field():
    error = ValidationError(
        {
            "name": [ValidationError("Too long.", "max_length"), ValidationError("Odd.", "odd")],
            NON_FIELD_ERRORS: [ValidationError("Twice.", "unique_together")],
        }
    )

    problem = problem_of(error)

    assert (problem.status, problem.errors) == (
        400,
        (
            FieldError("/name", "max_length", "Too long."),
            FieldError("/name", "odd", "Odd."),
            FieldError("", "unique_together", "Twice."),
        ),
    )


def test_problem_of_nested_errors_spells_json_pointers():
    error = exceptions.ValidationError({"rows": [{}, {"a/b": ["Bad."]}], "non_field_errors": ["Whole."]})

    pointers = [(found.pointer, found.code) for found in problem_of(error).errors]

    assert pointers == [("/rows/1/a~1b", "invalid"), ("", "invalid")]


@pytest.mark.parametrize(
    ("error", "status", "type_"),
    [
        (Http404(), 404, "/problems/not-found"),
        (exceptions.MethodNotAllowed("PUT"), 405, "/problems/method-not-allowed"),
        (exceptions.UnsupportedMediaType("text/csv"), 415, "/problems/unsupported-media-type"),
        (exceptions.ParseError(), 400, "/problems/invalid"),
        (RequestDataTooBig(), 413, "/problems/too-large"),
        (OperationalError("gone"), 503, "/problems/unavailable"),
        (IntegrityError("twice"), 409, "/problems/conflict"),
        (Conflict("no"), 409, "/problems/conflict"),
        (RuntimeError("secret inside"), 500, "/problems/internal-error"),
    ],
)
def test_problem_of_names_type_and_status(error, status, type_):
    problem = problem_of(error)

    assert (problem.status, problem.type) == (status, type_)
    assert "secret inside" not in problem.detail


def test_problem_of_a_missing_database_and_credential_says_how_to_go_on():
    headers = [dict(problem_of(error).headers) for error in (OperationalError("gone"), Unauthenticated("no"))]

    assert headers == [{"Retry-After": "5"}, {"WWW-Authenticate": "Bearer"}]


def test_a_problem_that_repeats_half_a_character_can_be_written():
    error = exceptions.ValidationError({"a\ud800": ["\ud800 is no choice."]})

    told = json.loads(json.dumps(problem_of(error).members("/x"), ensure_ascii=False).encode())

    assert [(one["pointer"], one["detail"]) for one in told["errors"]] == [("/a?", "? is no choice.")]


def test_errors_outside_the_api_stay_pages():
    request = RequestFactory().get("/nowhere/")

    assert page_not_found(request, Http404())["Content-Type"].startswith("text/html")


def test_server_error_of_the_api_is_a_problem_without_a_trace():
    request = RequestFactory().get("/api/v1/servers/")
    try:
        raise RuntimeError("secret inside")
    except RuntimeError:
        answer = server_error(request)

    assert (answer.status_code, answer["Content-Type"]) == (500, "application/problem+json")
    assert json.loads(answer.content)["instance"] == "/api/v1/servers/"
    assert b"secret inside" not in answer.content
