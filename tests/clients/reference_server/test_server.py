"""The reference server over real HTTP: once each, every way of failing, and wrong requests."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from reference_server.behaviour import Mode
from reference_server.data import Data
from reference_server.server import ReferenceServer, serving

ROOT = Path(__file__).resolve().parents[3]
LOADER = "org.openbravo.retail.posterminal.OrderLoader"
PRODUCT = "org.openbravo.retail.posterminal.master.Product"
TICKET = {"messageId": "till1-1", "data": [{"documentNo": "1/17", "total": 12.5}]}


@pytest.fixture
def server():
    with serving(ReferenceServer("LYON")) as running:
        yield running


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.url + "/", timeout=5) as asking:
        yield asking


def control(client, **told):
    answer = client.post("_control", json=told)
    assert answer.status_code == 200, answer.text


def accepted(server):
    return [row["messageId"] for row in server.data.shown()["accepted"]]


def test_a_transaction_is_executed_once_however_often_it_is_sent(client, server):
    answers = [client.post(LOADER, json=TICKET).json() for _ in range(3)]

    assert [answer["response"]["repeated"] for answer in answers] == [False, True, True]
    assert {answer["response"]["status"] for answer in answers} == {0}
    assert client.get("_data").json() == {
        "accepted": [{"messageId": "till1-1", "service": LOADER, "data": TICKET["data"]}],
        "refused": [],
        "calls": [{"service": LOADER, "messageId": "till1-1"}] * 3,
    }


def test_queries_are_answered_from_its_products_and_customers(client):
    products = client.post(PRODUCT, json={"search": "cc"}).json()["response"]
    customers = client.post("org.openbravo.retail.posterminal.master.BusinessPartner", json={}).json()["response"]
    other = client.post("org.openbravo.retail.posterminal.master.TaxRate").json()["response"]

    assert products == {
        "status": 0,
        "data": [{"id": "P2", "name": "Cappuccino", "price": 3.4}],
        "serverStatusSignal": "ON",
    }
    assert [row["name"] for row in customers["data"]] == ["Ada Byron", "Grace Murray", "Karen Jones"]
    assert other["data"] == []


def test_a_ping_says_whose_it_is(client):
    assert client.get("ping").json() == client.post("ping", json={}).json()
    assert client.get("ping").json() == {"key": "LYON", "serverStatusSignal": "ON"}


def test_a_server_told_to_fail_executes_nothing(client, server):
    control(client, mode="fail", status=503)

    assert [client.post(LOADER, json=TICKET).status_code, client.get("ping").status_code] == [503, 503]
    control(client, mode="ok")
    assert accepted(server) == []
    assert client.post(LOADER, json=TICKET).status_code == 200


def test_a_server_that_is_down_breaks_off_and_executes_nothing(client, server):
    control(client, mode="down")

    for path in (LOADER, "ping"):
        with pytest.raises(httpx.TransportError):
            client.post(path, json=TICKET)
    assert accepted(server) == []


def test_an_answer_that_is_lost_was_executed_and_is_recognized_the_next_time(client, server):
    control(client, mode="lost_answer")
    with pytest.raises(httpx.TransportError):
        client.post(LOADER, json=TICKET)
    control(client, mode="ok")

    again = client.post(LOADER, json=TICKET).json()["response"]

    assert (again["repeated"], accepted(server)) == (True, ["till1-1"])


@pytest.mark.parametrize("signal_", ["TON", "TOFF"])
def test_a_server_in_transition_answers_and_executes_nothing(client, server, signal_):
    control(client, mode="transition", signal=signal_)

    answer = client.post(LOADER, json=TICKET).json()["response"]

    assert (answer["serverStatusSignal"], client.get("ping").json()["serverStatusSignal"]) == (signal_, signal_)
    assert accepted(server) == []


def test_a_server_told_to_refuse_answers_with_an_application_error_and_keeps_the_reason(client, server):
    control(client, mode="refuse", message_ids=["bad"])

    refused = client.post(LOADER, json={**TICKET, "messageId": "bad"})
    taken = client.post(LOADER, json=TICKET)

    reason = "The reference server was told to refuse this."
    assert (refused.status_code, refused.json()["response"]["error"]) == (200, {"message": reason})
    assert taken.json()["response"]["status"] == 0
    assert server.data.shown()["refused"] == [{"messageId": "bad", "service": LOADER, "reason": reason}]
    assert accepted(server) == ["till1-1"]


def test_a_slow_server_answers_late(client):
    control(client, mode="slow", delay_ms=300)

    with pytest.raises(httpx.TimeoutException):
        client.post(PRODUCT, json={}, timeout=0.1)
    assert client.post(PRODUCT, json={}, timeout=5).status_code == 200


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"mode": "broken"}, f"mode must be one of {', '.join(Mode)}."),
        ({}, f"mode must be one of {', '.join(Mode)}."),
        ({"mode": "slow", "delay_ms": -1}, "delay_ms must be a whole number from 0 to 600000."),
        ({"mode": "slow", "delay_ms": True}, "delay_ms must be a whole number from 0 to 600000."),
        ({"mode": "fail", "status": 200}, "status must be a whole number from 400 to 599."),
        ({"mode": "transition", "signal": "ON"}, "signal must be TON or TOFF."),
        ({"mode": "refuse", "message_ids": [1]}, "message_ids must be a list of texts."),
        ({"mode": "ok", "speed": 3}, "There is no speed."),
    ],
)
def test_a_behaviour_that_is_none_is_refused_and_changes_nothing(client, server, told, reason):
    control(client, mode="fail")
    before = server.behaviour

    answer = client.post("_control", json=told)

    assert (answer.status_code, answer.json()["response"]["error"]["message"]) == (400, reason)
    assert server.behaviour == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "The body is no JSON."),
        (b"[" * 100_000, "The body is no JSON."),
        (b"[]", "The body must be a JSON object."),
        (b'{"messageId": 7}', "messageId must be a text of at most 200 characters."),
        (b'{"messageId": "a"}', "A transaction needs a list of data that is not empty."),
        (b'{"messageId": "a", "data": []}', "A transaction needs a list of data that is not empty."),
        (b'{"messageId": "a", "data": {}}', "A transaction needs a list of data that is not empty."),
    ],
)
def test_a_request_that_cannot_be_understood_is_refused(client, server, content, reason):
    answer = client.post(LOADER, content=content)

    assert (answer.status_code, answer.json()["response"]["error"]["message"]) == (400, reason)
    assert server.data.shown()["accepted"] == []


@pytest.mark.parametrize(
    ("length", "reason"),
    [
        (b"\xb2", "A body needs its Content-Length."),
        (b"-1", "A body needs its Content-Length."),
        (b"9" * 5_000, "A body has at most 1048576 bytes."),
    ],
)
def test_a_length_that_is_none_is_refused(server, length, reason):
    address = (server.server_address[0], server.server_port)
    with socket.create_connection(address, timeout=5) as caller:
        caller.sendall(b"POST /openbravo/x HTTP/1.1\r\nHost: x\r\nContent-Length: " + length + b"\r\n\r\n")
        answer = b"".join(iter(lambda: caller.recv(65_536), b""))

    assert (answer.split(b" ")[1], reason.encode() in answer) == (b"400", True)


def test_other_addresses_and_methods_are_refused(client, server):
    root = server.url.removesuffix("/openbravo")

    assert [httpx.get(f"{root}{path}").status_code for path in ("/", "/other/ping", "/openbravo/")] == [404] * 3
    assert client.get(LOADER).status_code == 405
    assert client.get("_control").status_code == 405


def test_transactions_outlive_a_restart_with_a_file(tmp_path):
    for _ in range(2):
        data = Data(tmp_path / "lyon.sqlite3")
        with serving(ReferenceServer("LYON", data=data)) as server:
            last = httpx.post(f"{server.url}/{LOADER}", json=TICKET).json()["response"]["repeated"]
            held = accepted(server)
        data.close()

    assert (last, held) == (True, ["till1-1"])


def test_the_command_serves_until_it_is_told_to_stop():
    with subprocess.Popen(
        [sys.executable, "-m", "reference_server.command", "--key", "LYON"],
        cwd=ROOT / "clients/reference_server",
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        line = process.stdout.readline()
        address = line.split()[4]
        pinged = httpx.get(f"{address}/ping").json()
        process.send_signal(signal.SIGTERM)
        status = process.wait(10)

    assert line == f"Mobile server LYON serves {address} (Ctrl-C stops it).\n"
    assert (pinged["key"], status) == ("LYON", 0)


def test_the_command_says_in_one_line_why_it_cannot_start(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = {
            name: subprocess.run(
                [sys.executable, "-m", "reference_server.command", *arguments],
                cwd=ROOT / "clients/reference_server",
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
            for name, arguments in {
                "port": ["--key", "LYON", "--port", str(port)],
                "file": ["--key", "LYON", "--data", str(tmp_path)],
                "key": ["--key", "L Y"],
            }.items()
        }

    assert (done["port"].returncode, done["port"].stderr) == (
        1,
        f"Cannot listen on 127.0.0.1, port {port}: Address already in use.\n",
    )
    assert done["file"].returncode == 1
    assert done["file"].stderr == f"The file {tmp_path} cannot be used: unable to open database file.\n"
    assert done["key"].returncode == 2
    assert "use up to 32 letters" in done["key"].stderr
