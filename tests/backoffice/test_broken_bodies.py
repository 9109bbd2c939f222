"""Requests that end before their body does."""

import json

from backoffice.broken_bodies import BrokenBodies
from tests.coroutines import run


def called(application, kind="http"):
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.disconnect"}

    run(BrokenBodies(application)({"type": kind}, receive, send))
    return sent


def test_a_request_that_another_gives_up_on_is_answered_400():
    async def giving_up(scope, receive, send):
        return

    start, body = called(giving_up)

    assert (start["status"], json.loads(body["body"])["detail"]) == (400, "The request's body did not come whole.")
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()


def test_an_answer_is_left_as_it_is():
    async def answering(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})

    assert called(answering) == [{"type": "http.response.start", "status": 204, "headers": []}]


def test_what_is_no_request_gets_no_answer():
    async def giving_up(scope, receive, send):
        return

    assert called(giving_up, kind="lifespan") == []
