"""The API against its own OpenAPI document, with generated requests."""

import json
from http import HTTPStatus

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from servers.agent_tokens import issue_agent_token
from terminals.tokens import issue_token
from tests.backoffice.world import make_world
from tests.factories import make_user_token

pytestmark = pytest.mark.django_db
load_all_checks()
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    unsupported_method,
    allow_header_conformance,
]

document = json.loads(OpenApiJsonRenderer().render(SchemaGenerator().get_schema(request=None, public=True)))
schema = schemathesis.openapi.from_dict(document)
schema.app = get_wsgi_application()


@pytest.fixture
def _requests_keep_the_connection():
    """Leave the test's database connection open at the end of a request, as Django's test client does."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def world(_requests_keep_the_connection):
    """One of everything, and the headers of callers that may do everything at their doors."""
    _, objects = make_world()
    terminal = issue_token(objects["terminals"], timezone.now()).text
    agent = issue_agent_token(objects["servers"].pk, timezone.now()).text
    callers = {"user": make_user_token(), "terminal": terminal, "agent": agent}
    return objects, {caller: f"Bearer {token}" for caller, token in callers.items()}


@schema.parametrize()
@settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_as_the_document_says(case, world):
    objects, credentials = world
    pk = case.path_parameters.get("id")
    room = case.path.split("/")[3]
    if isinstance(pk, int) and pk % 2 == 0 and room in objects:  # the others find nothing, or are no ids at all
        case.path_parameters["id"] = objects[room].pk
    door = room if room in credentials else "user"

    with transaction.atomic():
        headers = {"Authorization": credentials[door], "Accept-Encoding": "identity"}
        answer = case.call(headers=headers)
        # Not modified has no content, and so no type of it; the check would miss one.
        ignored = [content_type_conformance] if answer.status_code == HTTPStatus.NOT_MODIFIED else []
        case.validate_response(answer, checks=CHECKS, excluded_checks=ignored)
        transaction.set_rollback(True)


def test_every_operation_declares_its_problems():
    undeclared = [
        (path, method, status)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        for status in ("400", "406", "429", "503", *(("401", "403") if any(operation["security"]) else ()))
        if "application/problem+json" not in operation["responses"].get(status, {}).get("content", {})
    ]

    assert undeclared == []


def test_document_and_page_load_nothing_from_elsewhere(client):
    page = client.get("/api/docs/")
    script = client.get("/api/docs/?script")
    schema_answer = client.get("/api/schema/", headers={"Accept": "application/vnd.oai.openapi+json"})

    assert '"validatorUrl": null' in script.content.decode()
    text = page.content.decode() + script.content.decode()
    assert (page.status_code, schema_answer.status_code) == (200, 200)
    assert schema_answer.json()["info"]["title"] == "Booster Back Office"
    assert [word for word in ("https://", "http://", "//cdn") if word in text] == []
