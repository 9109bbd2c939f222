"""The real web server before callers that make mistakes, or mean to: bytes on sockets, and nothing breaks."""

import random
import socket
import subprocess
import time
from contextlib import closing, suppress

import pytest
from django.conf import settings
from django.utils import timezone

from terminals.tokens import issue_token
from tests import serving
from tests.factories import make_server, make_terminal, make_tree

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

DOORS = [
    f"/api/v1/terminal/{door}" for door in ("configuration", "status", "webpos", "events", "activate", "heartbeat")
]
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "BREW", "get", "G\x00T", ""]
QUERIES = ["", "?wait=1", "?wait=0", "?wait=%00", "?wait=9" * 50, "?" + "a=b&" * 500, "?\x7f", "?wait=1&wait=1", "?%zz"]
BODIES = [
    "",
    "{}",
    "[]",
    "null",
    '{"terminal":' * 200,
    '{"a":"\ud800"}',
    "\x00\xff",
    '{"queue_length":1e999}',
    "x" * 5_000,
]
GROWTH_MB = 40


def header_lines(chance, token):
    """Return some headers, good and bad."""
    offered = [
        f"Authorization: Bearer {token}",
        f"Authorization: Bearer {token}x",
        "Authorization: Bearer",
        "Authorization: Basic dDp0",
        f"Authorization: Bearer bst_terminal_{'a' * 16}.{'A' * 43}",
        f"Authorization: bearer bst_user_{'é' * 16}.{'A' * 43}",
        'If-None-Match: "',
        "If-None-Match: *",
        "If-None-Match: " + '"x",' * 300,
        "Accept-Encoding: gzip;q=7, *;q=",
        "Accept-Encoding: " + "gzip," * 300,
        "Accept: text/html;q=x",
        "Origin: null",
        "Origin: https://box.example\x01",
        "Last-Event-ID: " + "9" * 200,
        "Last-Event-ID: .",
        "X-Forwarded-For: 1.2.3.4, ::1, nonsense,,",
        "Content-Type: application/json; charset=ebcdic",
        "Content-Type: multipart/form-data",
        "Content-Length: -1",
        "Transfer-Encoding: chunked",
        "Cookie: sessionid=" + "a" * 2_000,
        "Host: [::1",
        "X-Request-ID: \x80",
        "Expect: 100-continue",
        "Range: bytes=0-",
    ]
    return chance.sample(offered, chance.randrange(6))


def a_request(chance, token):
    body = chance.choice(BODIES).encode("utf-8", "surrogatepass")
    lines = [
        f"{chance.choice(METHODS[:7] if chance.random() < 0.8 else METHODS)} "
        f"{chance.choice(DOORS)}{chance.choice(['', '/', '//', '%00'])}{chance.choice(QUERIES)} HTTP/1.1",
        "Host: 127.0.0.1",
        *header_lines(chance, token),
    ]
    if chance.random() < 0.5:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + body


def answers_to(address, data, *, wait_s=0.05, half_closes=True):
    """Send bytes, close our half, and return all that comes back within `wait_s` of silence."""
    with closing(socket.create_connection(address, timeout=wait_s)) as line:
        received = b""
        try:
            line.sendall(data)
            if half_closes:
                line.shutdown(socket.SHUT_WR)
            while chunk := line.recv(65_536):
                received += chunk
        except OSError:
            pass
        return received


def memory_mb(port):
    found = subprocess.run(["pgrep", "-f", f"granian.*{port}"], stdout=subprocess.PIPE, text=True, check=True)
    total = 0
    for pid in found.stdout.split():
        with open(f"/proc/{pid}/status") as status:
            total += sum(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    return total / 1024


@pytest.fixture
def token():
    tree = make_tree(ACME=None, LYON="ACME")
    make_server("box", client=tree["ACME"], url="https://box.example")
    return issue_token(make_terminal("LY-1", tree["LYON"]), timezone.now()).text


def test_callers_that_do_not_read_their_answers_hold_up_nobody(token, tmp_path):
    environment = {
        "DATABASE_URL": serving.test_database_url(),
        "TOKEN_DIGEST_KEY": settings.TOKEN_DIGEST_KEY,
        "BOOSTER_POLLS_PER_MINUTE": "1000000",
    }
    with serving.web_server(tmp_path / "data", **environment) as client:
        address = ("127.0.0.1", client.base_url.port)
        asking = {"Authorization": f"Bearer {token}"}
        assert client.get(DOORS[0], headers=asking).status_code == 200
        head = f"Host: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        lines = []
        for number in range(40):
            line = socket.create_connection(address)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            door, times = (DOORS[3], 1) if number % 2 else (DOORS[0], 2_000)
            line.setblocking(False)
            with suppress(BlockingIOError):
                line.send(f"GET {door} HTTP/1.1\r\n{head}".encode() * times)
            lines.append(line)

        took = []
        for _ in range(30):
            started = time.monotonic()
            assert client.get(DOORS[0], headers=asking).status_code == 200
            took.append(time.monotonic() - started)
        for line in lines:
            line.close()

    assert max(took) < 2


def test_whatever_is_sent_no_answer_is_a_failure_or_a_trace_and_nothing_grows(token, tmp_path):
    chance = random.Random(20_261_127)
    environment = {
        "DATABASE_URL": serving.test_database_url(),
        "TOKEN_DIGEST_KEY": settings.TOKEN_DIGEST_KEY,
        "BOOSTER_STRANGERS_PER_MINUTE": "1000000",  # what is limited would not be answered
        "BOOSTER_POLLS_PER_MINUTE": "1000000",
    }
    with serving.web_server(tmp_path / "data", **environment) as client:
        address = ("127.0.0.1", client.base_url.port)
        asking = {"Authorization": f"Bearer {token}"}
        assert client.get(DOORS[0], headers=asking).status_code == 200
        for _ in range(150):  # until what is kept is kept
            answers_to(address, a_request(chance, token))
        before = memory_mb(address[1])

        received = [answers_to(address, a_request(chance, token)) for _ in range(450)]
        pipelined = b"".join(
            f"GET {DOORS[0]} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode() for _ in range(30)
        )
        piped = answers_to(address, pipelined, wait_s=1, half_closes=False)
        slow = [socket.create_connection(address) for _ in range(50)]
        for line in slow:
            line.sendall(f"GET {DOORS[0]}?wait=60 HTTP/1.1\r\nHost: x\r\nAuthoriz".encode())
        meanwhile = client.get(DOORS[0], headers=asking)
        for line in slow:
            line.close()
        after = memory_mb(address[1])
        log = (tmp_path / "data" / "web.log").read_text()

    first_lines = [one.partition(b"\r\n")[0] for one in received if one]
    assert [line for line in first_lines if not line.startswith(b"HTTP/1.1 ") or line[9:10] not in b"1234"] == []
    assert [one for one in [*received, piped] if b"Traceback" in one or b'File "' in one] == []
    assert "Traceback" not in log
    assert piped.count(b"HTTP/1.1 200 OK") == 30
    assert meanwhile.status_code == 200
    assert len(first_lines) > 200
    assert after - before < GROWTH_MB
