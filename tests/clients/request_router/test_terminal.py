"""A whole terminal over real sockets: Boosters, mobile servers, its folder, its command, and its sudden death."""

import contextlib
import http.server
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from reference_server.data import Data
from reference_server.server import ReferenceServer
from reference_server.server import serving as mobile
from request_router import command
from request_router import terminal as terminal_module
from request_router.booster import Boosters, NoBooster, Refused
from request_router.documents import WrongDocument, configuration_of
from request_router.queue import SHARED, Queue, QueueUnusable
from request_router.router import WrongRequest
from request_router.state import State
from request_router.terminal import LONGEST_PAUSE_S, SPREAD, NotActivated, Terminal, pause_s
from request_router.transport import NoAnswer, call, http_client
from tests.clients.request_router.scenarios import SCENARIOS

ROOT = Path(__file__).resolve().parents[3]
LOADER = "org.openbravo.retail.posterminal.OrderLoader"
PRODUCT = "org.openbravo.retail.posterminal.master.Product"
TEMPLATE = SCENARIOS["no-tickets-for-a-server-in-transition"]


class Booster:
    """A Booster of a test's own: says what it is told to, and notes what it was asked."""

    def __init__(self):
        self.answers = {}
        self.asked = []
        self.headers = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                door = self.path.removeprefix("/api/v1/terminal/")
                outer.headers.append(dict(self.headers))
                outer.asked.append((door, self.headers.get("Authorization"), body))
                status, headers, content = outer.answers.get(door.partition("?")[0], (404, {}, b"{}"))
                if status == 200 and headers.get("ETag") and self.headers.get("If-None-Match") == headers["ETag"]:
                    status, content = 304, b""
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def gives(self, door, value, tag="1", **headers):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.answers[door] = (200, {"ETag": f'"{tag}"', "X-Booster-Revision": "7", **headers}, body)


@pytest.fixture
def booster():
    made = Booster()
    with running(made):
        yield made


@contextlib.contextmanager
def running(made):
    threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield made
    made.server.shutdown()
    made.server.server_close()


def configuration(*servers, boosters=()):
    rows = [{**TEMPLATE["configuration"]["servers"][0], "key": server.key, "url": server.url} for server in servers]
    return {**TEMPLATE["configuration"], "servers": rows, "boosters": list(boosters), "multi_server": bool(rows)}


def activated(folder, *urls):
    state = State(folder)
    state.store_identity("LY-1", "bst_terminal_x.secret", list(urls))
    return state


def test_a_terminal_routes_by_what_its_booster_gives_and_delivers(booster, tmp_path):
    with mobile(ReferenceServer("a")) as a:
        booster.gives("configuration", configuration(a, boosters=[booster.url]))
        terminal = Terminal(activated(tmp_path / "t", booster.url))

        assert (terminal.poll("configuration"), terminal.poll("configuration")) == (True, False)
        found = terminal.request(PRODUCT, {"search": "umb"})
        stored = terminal.request(LOADER, {"messageId": "t1", "data": [1]})
        terminal.deliver()
        terminal.close()

        assert found.answer["response"]["data"] == [{"id": "P4", "name": "Umbrella", "price": 19.9}]
        assert (stored.outcome, [row["messageId"] for row in a.data.shown()["accepted"]]) == ("stored", ["t1"])
    assert {token for _, token, _ in booster.asked} == {"Bearer bst_terminal_x.secret"}


def test_a_terminal_that_polled_once_works_without_any_booster(booster, tmp_path):
    """OMF-26"""
    with mobile(ReferenceServer("a")) as a:
        booster.gives("configuration", configuration(a))
        booster.gives("status", {"format": 1, "servers": [{"key": "a", "status": "offline"}]})
        state = activated(tmp_path / "t", "http://127.0.0.1:9")
        first = Terminal(activated(tmp_path / "t", booster.url))
        first.poll("configuration")
        first.poll("status")
        first.close()
        state.store_identity("LY-1", "bst_terminal_x.secret", ["http://127.0.0.1:9"])

        later = Terminal(state)
        with pytest.raises(NoBooster, match=r"127\.0\.0\.1:9: "):
            later.poll("configuration")
        was_online = later.router.is_online("a")
        result = later.request(PRODUCT)
        later.close()

    assert (was_online, result.outcome, later.revision) == (False, "success", 7)
    assert stat.S_IMODE((tmp_path / "t/terminal.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "t/queue.sqlite3").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", json.dumps({**TEMPLATE["configuration"], "servers": None}).encode()]
)
def test_a_hostile_configuration_is_refused_and_the_last_good_one_stays(booster, tmp_path, body):
    with mobile(ReferenceServer("a")) as a:
        booster.gives("configuration", configuration(a))
        terminal = Terminal(activated(tmp_path / "t", booster.url))
        terminal.poll("configuration")
        good = terminal.router.configuration
        booster.gives("configuration", body, tag="2")

        with pytest.raises(WrongDocument):
            terminal.poll("configuration")
        terminal.close()
        again = Terminal(State(tmp_path / "t"))

    assert (terminal.router.configuration, again.router.configuration) == (good, good)
    again.close()


def test_a_redirect_is_not_followed_so_no_other_host_is_sent_the_token(booster, tmp_path):
    with running(Booster()) as other:
        booster.answers["configuration"] = (302, {"Location": f"{other.url}/api/v1/terminal/configuration"}, b"")
        terminal = Terminal(activated(tmp_path / "t", booster.url))

        with pytest.raises(NoBooster, match="HTTP 302"):
            terminal.poll("configuration")
        terminal.close()

    assert other.asked == []


def test_boosters_are_asked_in_order_and_the_first_again_when_its_time_has_come():
    now = [1_000.0]
    with http_client() as client, running(Booster()) as second:
        second.gives("configuration", TEMPLATE["configuration"])
        boosters = Boosters(client, ["http://127.0.0.1:9", second.url], monotonic=lambda: now[0])

        polled = boosters.poll("configuration", token="t")
        after_the_failure = boosters.in_order()
        now[0] += 30

        assert (polled.booster, polled.revision) == (second.url, 7)
        assert after_the_failure == [second.url, "http://127.0.0.1:9"]
        assert boosters.in_order() == ["http://127.0.0.1:9", second.url]


@pytest.mark.parametrize("status", [401, 403, 410])
def test_a_refusal_is_told_and_no_other_booster_is_asked(status):
    with http_client() as client, running(Booster()) as first, running(Booster()) as second:
        first.answers["configuration"] = (status, {}, json.dumps({"detail": "The token was revoked."}).encode())

        with pytest.raises(Refused, match=r"The token was revoked\.") as refused:
            Boosters(client, [first.url, second.url]).poll("configuration", token="t")

    assert (refused.value.status, second.asked) == (status, [])


def test_a_booster_that_is_busy_says_when_to_come_again():
    with http_client() as client, running(Booster()) as busy:
        busy.answers["configuration"] = (503, {"Retry-After": "20"}, b"")

        with pytest.raises(NoBooster) as none:
            Boosters(client, [busy.url]).poll("configuration", token="t")

    assert none.value.retry_after_s == 20.0


@pytest.mark.parametrize("number", ["\xb2", "-1", "1.5", "9" * 5_000])
def test_numbers_in_headers_that_are_none_count_as_not_told(number):
    with http_client() as client, running(Booster()) as booster, running(Booster()) as busy:
        booster.gives("configuration", {}, **{"X-Booster-Revision": number, "X-Booster-Stale": number})
        busy.answers["configuration"] = (503, {"Retry-After": number}, b"")

        polled = Boosters(client, [booster.url]).poll("configuration", token="t")
        with pytest.raises(NoBooster) as none:
            Boosters(client, [busy.url]).poll("configuration", token="t")

    assert (polled.revision, polled.stale_s, none.value.retry_after_s) == (0, None, 0.0)


def test_a_refusal_that_nests_without_end_is_a_refusal():
    with http_client() as client, running(Booster()) as booster:
        booster.answers["configuration"] = (403, {}, b"[" * 100_000)

        with pytest.raises(Refused, match="HTTP 403"):
            Boosters(client, [booster.url]).poll("configuration", token="t")


def test_pauses_grow_up_to_a_minute_and_are_spread():
    assert [pause_s(failures, chance=lambda: 0.0) for failures in (1, 2, 3, 7, 99)] == [1, 2, 4, 60, 60]
    assert pause_s(1, 20.0, chance=lambda: 0.0) == 20
    assert pause_s(99, chance=lambda: 1.0) == LONGEST_PAUSE_S * (1 + SPREAD)


def test_an_answer_that_trickles_in_ends_in_time():
    class Trickling(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(100):
                    self.wfile.write(b" ")
                    time.sleep(0.05)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Trickling)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with http_client() as client:
        started = time.monotonic()
        with pytest.raises(NoAnswer, match=r"no whole answer within 0\.3 s"):
            call(client, "GET", f"http://127.0.0.1:{server.server_port}", timeout_s=0.3)
        took = time.monotonic() - started
    server.shutdown()

    assert took < 2


def test_the_background_delivers_keeps_up_and_ends_cleanly(booster, tmp_path):
    with mobile(ReferenceServer("a")) as a:
        booster.gives("configuration", configuration(a))
        booster.gives("status", {"format": 1, "servers": [{"key": "a", "status": "online"}]})
        booster.answers["heartbeat"] = (200, {}, b'{"next_interval_s":60,"revision":7}')
        terminal = Terminal(activated(tmp_path / "t", booster.url), software="test 1")
        terminal.start()
        wait_for(lambda: terminal.router.configuration is not None)
        for number in range(5):
            terminal.request(LOADER, {"messageId": f"t{number}", "data": [number]})
        wait_for(lambda: terminal.router.queue.length() == 0)
        wait_for(lambda: any(door == "heartbeat" for door, _, _ in booster.asked))
        terminal.close()

    assert [row["messageId"] for row in a.data.shown()["accepted"]] == [f"t{number}" for number in range(5)]
    report = next(json.loads(body) for door, _, body in booster.asked if door == "heartbeat")
    assert set(report) == {"revision", "queue_length", "software", "observed"}
    assert report["software"] == "test 1"


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_revoked_terminal_stops_polling_and_goes_on_selling(booster, tmp_path):
    with mobile(ReferenceServer("a")) as a:
        booster.gives("configuration", configuration(a))
        terminal = Terminal(activated(tmp_path / "t", booster.url))
        terminal.poll("configuration")
        booster.answers = dict.fromkeys(
            ("configuration", "status", "heartbeat"), (410, {}, b'{"detail": "The token was revoked."}')
        )
        terminal.start()
        wait_for(lambda: terminal.ended_by)
        terminal.request(LOADER, {"messageId": "t1", "data": [1]})
        wait_for(lambda: terminal.router.queue.length() == 0)
        terminal.close()

    assert terminal.ended_by == "The token was revoked."
    assert [row["messageId"] for row in a.data.shown()["accepted"]] == ["t1"]


SELLING = """
import sys
from pathlib import Path
from request_router.state import State
from request_router.terminal import Terminal
terminal = Terminal(State(Path(sys.argv[1])))
terminal.start()
for number in range(100_000):
    terminal.request("org.openbravo.retail.posterminal.OrderLoader", {"messageId": f"t{number}", "data": [number]})
    print(f"t{number}", flush=True)
"""


def test_a_terminal_killed_while_it_sells_loses_nothing_that_it_acknowledged(booster, tmp_path):
    data = Data(tmp_path / "a.sqlite3")
    with mobile(ReferenceServer("a", data=data)) as a:
        booster.gives("configuration", configuration(a))
        state = activated(tmp_path / "t", booster.url)
        before = Terminal(state)
        before.poll("configuration")
        before.close()
        folders = [str(ROOT / "clients/request_router")]
        with subprocess.Popen(
            [sys.executable, "-c", SELLING, str(state.folder)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
            stdout=subprocess.PIPE,
            text=True,
        ) as selling:
            acknowledged = [selling.stdout.readline().strip() for _ in range(60)]
            selling.send_signal(signal.SIGKILL)
            acknowledged += selling.stdout.read().split()
        after = Terminal(state)
        after.deliver()
        left = after.router.queue.waiting()
        after.close()
        accepted = [row["messageId"] for row in data.shown()["accepted"]]

    assert len(acknowledged) >= 60
    assert set(acknowledged) <= set(accepted)
    assert accepted == [f"t{number}" for number in range(len(accepted))]
    assert left == []


# --- The command ---------------------------------------------------------------------------------


def run(capsys, folder, *arguments):
    status = command.main(["--state", str(folder), *arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_the_command_shows_requests_and_looks_after_the_queue(booster, tmp_path, capsys):
    folder = activated(tmp_path / "t", booster.url).folder
    with mobile(ReferenceServer("a")) as a:
        booster.gives("configuration", configuration(a, boosters=[booster.url]))
        booster.gives("status", {"format": 1, "servers": [{"key": "a", "status": "online"}]})
        shown = run(capsys, folder, "show")
        found = run(capsys, folder, "request", PRODUCT, "--data", '{"search": "umb"}')
        sold = run(capsys, folder, "request", LOADER, "--data", '{"messageId": "t1", "data": [1]}')
        httpx.post(f"{a.url}/_control", json={"mode": "refuse"})
        refused = run(capsys, folder, "request", LOADER, "--data", '{"messageId": "t2", "data": [2]}')
        errors = run(capsys, folder, "queue", "errors")
        again = run(capsys, folder, "queue", "retry", "t2")
        listed = run(capsys, folder, "queue", "list")
        none = run(capsys, folder, "queue", "drop", "t2")

    assert shown[0] == 0
    assert "LY-1 at LYON, revision 7, confirmed 0 s ago" in shown[1]
    assert f"  a                    main  online         all services   {a.url}" in shown[1]
    assert f"  {LOADER}  (failover, transactional): a" in shown[1]
    assert (found[0], json.loads(found[1])["response"]["data"][0]["id"]) == (0, "P4")
    assert sold == (0, "t1 was delivered.\n", "")
    assert (refused[0], refused[2]) == (
        4,
        "t2 was refused: a: refused: The reference server was told to refuse this.\n",
    )
    assert "a: refused" in errors[1]
    assert again == (0, "t2 waits again.\n", "")
    assert listed[1].startswith("t2  ")
    assert none == (1, "", "No refused transaction has this message id.\n")


def test_the_command_says_in_one_line_what_is_wrong(booster, tmp_path, capsys):
    empty = run(capsys, tmp_path / "none", "show")
    folder = activated(tmp_path / "t", "http://127.0.0.1:9").folder
    without = run(capsys, folder, "show")
    no_json = run(capsys, folder, "request", PRODUCT, "--data", "{")
    booster.answers["activate"] = (410, {}, b'{"detail": "The code has expired."}')
    expired = run(capsys, tmp_path / "new", "activate", booster.url, "LY-1", "AAAA")
    scheme = run(capsys, tmp_path / "new", "activate", "ftp://x", "LY-1", "AAAA")

    assert empty == (3, "", f"The folder {tmp_path / 'none'} holds no token: activate the terminal first.\n")
    assert (without[0], without[2].splitlines()[-1]) == (
        3,
        "There is no configuration yet, and no Booster gave one.",
    )
    assert no_json == (2, "", "--data is no JSON.\n")
    assert expired == (4, "", "The Booster refused: The code has expired.\n")
    assert scheme == (1, "", "The Booster must be an http or https address.\n")


def test_the_command_activates_and_keeps_the_token_to_itself(booster, tmp_path, capsys):
    booster.answers["activate"] = (
        201,
        {},
        json.dumps({"token": "bst_terminal_x.secret", "boosters": [booster.url]}).encode(),
    )

    done = run(capsys, tmp_path / "t", "activate", booster.url, "LY-1", "7KQM-2XPA-9RTD")

    assert done == (0, f"Terminal LY-1 is activated; its token is in {tmp_path / 't'}.\n", "")
    assert State(tmp_path / "t").identity()["token"] == "bst_terminal_x.secret"
    assert json.loads(booster.asked[0][2])["code"] == "7KQM-2XPA-9RTD"


def test_a_folder_without_a_token_is_no_terminal(tmp_path):
    with pytest.raises(NotActivated):
        Terminal(State(tmp_path))


def test_the_command_says_nothing_when_whoever_reads_has_gone(booster, tmp_path):
    services = [{**TEMPLATE["configuration"]["services"][0], "name": f"service{number}"} for number in range(5_000)]
    booster.gives("configuration", {**TEMPLATE["configuration"], "services": services, "boosters": []})
    booster.gives("status", TEMPLATE["status"])
    activated(tmp_path / "t", booster.url)
    command_line = [sys.executable, "-m", "request_router.command", "--state", str(tmp_path / "t"), "show"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "clients/request_router")}
    with subprocess.Popen(
        command_line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as shown:
        first = shown.stdout.readline()
        shown.stdout.close()
        errors = shown.stderr.read()
        status = shown.wait(20)

    assert first.startswith("LY-1 at ")
    assert (status, errors) == (0, "")


@pytest.mark.parametrize("tag", [b"\xe9", b"a\x7fb", b'a"b'])
def test_a_tag_that_could_not_be_sent_back_is_passed_over(booster, tag):
    booster.gives("configuration", TEMPLATE["configuration"], tag=tag.decode("latin-1"))
    with http_client() as client:
        assert Boosters(client, [booster.url]).poll("configuration", token="t").tag == ""


@pytest.mark.parametrize("path", [PRODUCT, LOADER])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {1, 2}, b"x"])
def test_what_could_never_be_sent_is_refused_before_it_is_stored(tmp_path, path, value):
    with mobile(ReferenceServer("a")) as a:
        terminal = Terminal(activated(tmp_path / "t", "http://127.0.0.1:9"))
        terminal.router.configure(configuration_of(configuration(a)))

        with pytest.raises(WrongRequest, match=r"The request cannot be sent as JSON: "):
            terminal.request(path, {"data": [value]})
        waiting = terminal.router.queue.waiting()
        terminal.close()

    assert (waiting, a.data.shown()["accepted"]) == ([], [])


def test_a_full_disk_is_told_loses_nothing_and_delivery_goes_on_when_there_is_room(tmp_path):
    queue = Queue(tmp_path / "queue.sqlite3")
    body = {"data": ["x" * 2_000]}
    queue.store("t0", [SHARED], LOADER, LOADER, body, 1)
    pages = queue._database.execute("PRAGMA page_count").fetchone()[0]
    queue._database.execute(f"PRAGMA max_page_count={pages + 1}")
    stored = ["t0"]

    def store_until_it_is_full():
        for number in range(1, 50):
            queue.store(f"t{number}", [SHARED], LOADER, LOADER, body, 1)
            stored.append(f"t{number}")

    with pytest.raises(QueueUnusable, match=r"The queue cannot be written: database or disk is full\."):
        store_until_it_is_full()
    queue._database.execute("PRAGMA max_page_count=10000")
    while (message := queue.first(SHARED)) is not None:
        queue.delivered(message, "a", is_synchronized=True, moment_ms=2)
    delivered = [delivery.message_id for delivery in queue.deliveries()]
    queue.close()

    assert delivered == stored


def test_the_background_outlives_a_queue_that_cannot_be_used_for_a_while(booster, tmp_path, monkeypatch):
    monkeypatch.setattr(terminal_module, "QUEUE_AGAIN_S", 0.01)
    with mobile(ReferenceServer("a")) as a:
        booster.gives("configuration", configuration(a))
        terminal = Terminal(activated(tmp_path / "t", booster.url))
        terminal.poll("configuration")
        failing = iter(range(3))
        pump = terminal.router.pump

        def failing_at_first():
            if next(failing, None) is not None:
                raise QueueUnusable("The queue cannot be written: disk I/O error.")
            pump()

        monkeypatch.setattr(terminal.router, "pump", failing_at_first)
        terminal.start()
        terminal.request(LOADER, {"messageId": "t1", "data": [1]})
        wait_for(lambda: terminal.router.queue.length() == 0)
        terminal.close()

    assert next(failing, None) is None
    assert [row["messageId"] for row in a.data.shown()["accepted"]] == ["t1"]
