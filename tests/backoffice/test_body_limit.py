"""Bodies above the limit are refused before anything of them is kept."""

import json

import pytest

from backoffice.body_limit import LARGEST_BODY, BodyLimit
from tests.coroutines import run

MIB = 2**20


def send(sizes, headers=()):
    """Send chunks of `sizes` through the limit; return the answer's status and what the application read."""
    chunks = [{"type": "http.request", "body": b"x" * size, "more_body": True} for size in sizes]
    chunks.append({"type": "http.request", "body": b"", "more_body": False})
    sent = []
    read = []

    async def application(scope, receive, send):
        while (message := await receive())["more_body"]:
            read.append(len(message["body"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive():
        return chunks.pop(0)

    async def keep(message):
        sent.append(message)

    run(BodyLimit(application)({"type": "http", "headers": list(headers)}, receive, keep))
    return sent, sum(read)


def test_a_body_up_to_the_limit_passes():
    sent, read = send([MIB] * 8)

    assert (sent[0]["status"], read) == (200, LARGEST_BODY)


def test_a_larger_body_of_unannounced_length_is_refused_where_the_limit_is_passed():
    sent, read = send([MIB] * 100)

    assert (sent[0]["status"], read) == (413, LARGEST_BODY)
    assert json.loads(sent[1]["body"])["type"] == "/problems/too-large"


@pytest.mark.parametrize("length", [LARGEST_BODY + 1, 10**30])
def test_a_larger_announced_body_is_refused_unread(length):
    sent, read = send([MIB], headers=[(b"content-length", str(length).encode())])

    assert (sent[0]["status"], read) == (413, 0)
