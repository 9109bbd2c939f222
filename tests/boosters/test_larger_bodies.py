"""Who may send a body as large as a patch."""

import errno
import json

import pytest
from django.test import Client
from django.utils import timezone

from accounts.scope import READ_ONLY
from backoffice.body_limit import LARGEST_BODY, BodyLimit
from boosters.larger_bodies import OF_AGENTS, OF_PEOPLE, OF_USERS, largest_body, may_upload
from servers.agent_tokens import issue_agent_token
from tests.coroutines import run
from tests.factories import make_admin, make_organization, make_server, make_user, make_user_token

MIB = 2**20


def bearer(text):
    return {"authorization": f"Bearer {text}"}


@pytest.mark.django_db
def test_only_who_may_upload_patches_may_send_them():
    server = make_server(client=make_organization("ACME"))
    agent = issue_agent_token(server.pk, timezone.now()).text
    admin = make_admin()
    session = Client()
    session.force_login(admin)
    cookie = {"cookie": f"sessionid={session.cookies['sessionid'].value}"}

    found = {
        "agent": [may_upload(path, bearer(agent)) for path in (OF_AGENTS, OF_USERS)],
        "admin": [may_upload(path, bearer(make_user_token(admin))) for path in (OF_AGENTS, OF_USERS)],
        "reading": may_upload(OF_USERS, bearer(make_user_token(admin, is_read_only=True))),
        "reader": may_upload(OF_USERS, bearer(make_user_token(make_user(role=READ_ONLY)))),
        "wrong": [may_upload(path, bearer(f"{agent[:-1]}!")) for path in (OF_AGENTS, OF_USERS)],
        "nobody": [may_upload(path, {}) for path in (OF_AGENTS, OF_USERS, OF_PEOPLE)],
        "session": [may_upload(OF_PEOPLE, cookie), may_upload(OF_USERS, cookie)],
        "foreign session": may_upload(OF_PEOPLE, {"cookie": "sessionid=made-up; x"}),
    }

    assert found == {
        "agent": [True, False],
        "admin": [False, True],
        "reading": False,
        "reader": False,
        "wrong": [False, False],
        "nobody": [False, False, False],
        "session": [True, False],
        "foreign session": False,
    }


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/api/v1/servers/"), ("GET", OF_USERS), ("POST", f"{OF_USERS}/1/x")]
)
def test_no_other_request_may_be_larger(method, path):
    assert run(largest_body({"method": method, "path": path, "headers": []})) == LARGEST_BODY


def through(application, sizes, most):
    chunks = [{"type": "http.request", "body": b"x" * size, "more_body": True} for size in sizes]
    chunks.append({"type": "http.request", "body": b"", "more_body": False})
    sent, asked = [], []

    async def exception(scope):
        asked.append(scope["path"])
        return most

    async def receive():
        return chunks.pop(0)

    async def send(message):
        sent.append(message)

    run(BodyLimit(application, exception)({"type": "http", "path": "/x", "headers": []}, receive, send))
    return sent, asked


async def reading(scope, receive, send):
    while (await receive())["more_body"]:
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})


@pytest.mark.parametrize(
    ("size", "most", "status", "asked"),
    [(8, 16, 200, 0), (16, 16, 200, 1), (17, 16, 413, 1), (9, 8, 413, 1)],
    ids=["usual", "allowed", "too large for anybody", "not allowed"],
)
def test_a_larger_body_is_let_through_as_far_as_its_caller_may(size, most, status, asked):
    sent, questions = through(reading, [MIB] * size, most * MIB)

    assert sent[0]["status"] == status
    assert min(len(questions), 1) == asked


def test_no_room_for_a_body_is_answered_with_what_to_do():
    async def failing(scope, receive, send):
        raise OSError(errno.ENOSPC, "No space left on device")

    sent, _ = through(failing, [], LARGEST_BODY)

    assert sent[0]["status"] == 507
    assert json.loads(sent[1]["body"])["detail"].endswith("Make room and try again.")
