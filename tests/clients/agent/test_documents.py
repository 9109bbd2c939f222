"""The store's copy of the terminals' documents, and the local port that gives it out."""

import socket
import time

import httpx
import pytest

from booster_agent.calling import Boosters, Unreachable
from booster_agent.documents import Copy, Documents, understood
from booster_agent.local_door import LocalDoor, reply
from booster_agent.tokens import Caller, Tokens
from tests.clients.agent.fake_booster import TOKEN, fake_booster

PATH = "/api/v1/agent/documents"
TERMINAL = "abcdefghijkmnpqr"


def document(body):
    return {"body": body, "tag": f"tag-of-{len(body)}", "revision": 7, "signature": "a.b.c"}


def told(body='{"name":"Café"}'):
    documents = {"configuration": document(body), "status": document("{}")}
    return {
        "format": 1,
        "signing_keys": [],
        "organizations": [{"code": "LYON", "terminals": [TERMINAL], "documents": documents}],
    }


@pytest.fixture
def booster():
    with fake_booster() as booster:
        booster.answers["GET", PATH] = (200, told(), {"ETag": '"one"'})
        yield booster


def caller_of(booster, tmp_path):
    return Caller(Boosters((booster.address,), uses_tls=False), Tokens(tmp_path / "token.json", TOKEN, 0.0))


def asked(copy, moment=100.0, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return reply(copy, "GET", "/api/v1/local/configuration", {"x-booster-terminal": TERMINAL} | named, moment)


def test_the_copy_survives_a_restart_and_is_asked_about_by_its_tag(tmp_path, booster):
    documents = Documents(tmp_path / "documents.json")
    documents.refresh(caller_of(booster, tmp_path), 10.0)
    again = Documents(tmp_path / "documents.json")
    booster.answers["GET", PATH] = (304, b"", {})

    again.refresh(caller_of(booster, tmp_path), 60.0)

    assert [call.headers.get("if-none-match") for call in booster.asked(PATH)] == [None, '"one"']
    assert again.copy.documents == documents.copy.documents
    assert (documents.copy.checked_at, again.copy.checked_at) == (10.0, 60.0)


def test_the_exact_bytes_are_given_with_their_signature_and_age(tmp_path, booster):
    documents = Documents(tmp_path / "documents.json")
    documents.refresh(caller_of(booster, tmp_path), 10.0)

    status, headers, body = asked(documents.copy, 72.9)

    assert (status, body) == (200, '{"name":"Café"}'.encode())
    assert headers == {
        "ETag": '"tag-of-15"',
        "X-Booster-Revision": "7",
        "X-Booster-Signature": "a.b.c",
        "X-Booster-Stale": "62",
        "Cache-Control": "private, no-cache",
        "Content-Type": "application/json",
    }
    assert asked(documents.copy, if_none_match='"x", "tag-of-15"')[0] == 304


def test_what_is_not_held_is_404_and_503_before_anything_is(tmp_path):
    filled = Copy("", 0.0, understood(told()), is_filled=True)

    assert asked(Copy())[0] == 503
    assert asked(filled, **{"x-booster-terminal": "unknown"})[0] == 404
    assert reply(filled, "GET", "/api/v1/agent/documents", {}, 0.0)[0] == 404
    assert reply(filled, "POST", "/api/v1/local/status", {"x-booster-terminal": TERMINAL}, 0.0)[0] == 405


@pytest.mark.parametrize(
    "answer",
    [
        {"format": 2},
        {"format": 1},
        {"format": 1, "organizations": 3},
        told() | {"organizations": [{"terminals": [], "documents": {}}]},
        {"format": 1, "organizations": [{"terminals": [TERMINAL], "documents": {"configuration": {}, "status": {}}}]},
        [],
    ],
)
def test_an_answer_that_is_not_understood_leaves_the_last_good_one(tmp_path, booster, answer):
    documents = Documents(tmp_path / "documents.json")
    documents.refresh(caller_of(booster, tmp_path), 10.0)
    held, kept = documents.copy, (tmp_path / "documents.json").read_bytes()
    booster.answers["GET", PATH] = (200, answer, {})

    documents.refresh(caller_of(booster, tmp_path), 20.0)

    assert (documents.copy, (tmp_path / "documents.json").read_bytes()) == (held, kept)


def test_with_no_booster_the_copy_stays(tmp_path, booster):
    documents = Documents(tmp_path / "documents.json")
    documents.refresh(caller_of(booster, tmp_path), 10.0)
    booster.answers["GET", PATH] = (503, {}, {})

    with pytest.raises(Unreachable):
        documents.refresh(caller_of(booster, tmp_path), 20.0)

    assert asked(documents.copy)[0] == 200


def test_the_local_port_answers_while_slow_and_wrong_callers_hold_connections(tmp_path):
    documents = Documents(tmp_path / "documents.json")
    documents.copy = Copy("", 0.0, understood(told()), is_filled=True)
    door = LocalDoor(documents, "127.0.0.1", 0, time.time)
    door.start()
    slow = [socket.create_connection(("127.0.0.1", door.port)) for _ in range(50)]
    try:
        for one in slow:
            one.sendall(b"GET /api/v1/local/con")
        for wrong in (b"\r\n\r\n", b"GET / SMTP/1\r\n\r\n", b"\xff" * 9_000, b"GET /%00 HTTP/1.1\r\n:\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", door.port)) as one:
                one.sendall(wrong)
        url = f"http://127.0.0.1:{door.port}/api/v1/local/configuration"

        answer = httpx.get(url, headers={"X-Booster-Terminal": TERMINAL})
        again = httpx.get(url, headers={"X-Booster-Terminal": TERMINAL, "If-None-Match": answer.headers["etag"]})

        assert (answer.status_code, answer.text, again.status_code) == (200, '{"name":"Café"}', 304)
        assert httpx.head(url, headers={"X-Booster-Terminal": TERMINAL}).headers["content-length"] == "16"
    finally:
        for one in slow:
            one.close()
        door.stop()
