"""The ASGI layer in front of Django, called as granian calls it."""

import asyncio
import json
import threading
import time

import pytest
from django.db import OperationalError
from django.utils import timezone

from preferences.models import PreferenceValue
from routing import revision
from routing.document import Door
from routing.edge import Edge
from routing.store import Store, store
from routing.watcher import Watcher
from servers.models import MobileServer, ServerState
from terminals.models import TerminalReport, TerminalToken
from terminals.tokens import issue_token, revoke_terminal, roll_token
from tests.coroutines import outside_the_loop, run
from tests.factories import make_server, make_terminal, make_tree

pytestmark = pytest.mark.django_db

CONFIGURATION = "/api/v1/terminal/configuration"


@pytest.fixture
def terminal():
    tree = make_tree(ACME=None, LYON="ACME")
    make_server("Central", client=tree["ACME"], url="https://central.example/openbravo")
    return make_terminal("LY-1", tree["LYON"])


@pytest.fixture
def token(terminal):
    credential = issue_token(terminal, timezone.now())
    TerminalToken.objects.update(first_used_at=timezone.now())
    return credential.text


async def django_stand_in(scope, receive, send):
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b"from Django"})


def call(path=CONFIGURATION, token="", method="GET", serving=store, query="", **headers):
    """Call an edge and return status, headers and body."""
    sent = []

    async def send(message):
        sent.append(message)

    given = {"authorization": f"Bearer {token}", **headers} if token else headers
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "client": ("203.0.113.9", 4711),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()],
    }
    run(Edge(django_stand_in, serving)(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def test_the_edge_answers_a_known_terminal_without_a_query(token, django_assert_num_queries):
    store.refresh()

    with django_assert_num_queries(0):
        answers = [call(f"/api/v1/terminal/{door}", token) for door in ("configuration", "status/", "webpos")]

    assert [status for status, _, _ in answers] == [200, 200, 200]


def test_edge_and_django_give_the_same_bytes_and_headers(token, api_client):
    behind = api_client.get(CONFIGURATION, HTTP_AUTHORIZATION=f"Bearer {token}", HTTP_ORIGIN="https://central.example")

    status, headers, body = call(token=token, origin="https://central.example")

    shared = {name.decode(): value.decode() for name, value in headers.items()}
    assert (status, body) == (200, behind.content)
    assert shared == {name: behind[name] for name in shared}


def test_the_edge_answers_304_head_and_options(token):
    store.refresh()
    tag = call(token=token)[1][b"etag"].decode()

    assert call(token=token, if_none_match=f'"other", {tag}')[::2] == (304, b"")
    assert call(token=token, method="HEAD")[::2] == (200, b"")
    status, headers, _ = call(method="OPTIONS", origin="https://central.example")
    assert (status, headers[b"allow"]) == (204, b"GET, HEAD, OPTIONS")


@pytest.mark.parametrize(
    ("path", "method", "authorization"),
    [
        (CONFIGURATION, "POST", "token"),
        (CONFIGURATION, "GET", ""),
        (CONFIGURATION, "GET", "Bearer nonsense"),
        (CONFIGURATION, "GET", f"Bearer bst_terminal_{'a' * 16}.{'A' * 43}"),
        (CONFIGURATION, "GET", f"Bearer bst_user_{'a' * 16}.{'A' * 43}"),
        ("/admin/", "GET", "token"),
        (f"{CONFIGURATION}//", "GET", "token"),
    ],
)
def test_everything_else_goes_on_to_django(token, path, method, authorization):
    store.refresh()
    headers = {"authorization": f"Bearer {token}" if authorization == "token" else authorization}

    assert call(path, method=method, **headers) == (299, {}, b"from Django")


def test_a_process_that_knows_nothing_yet_lets_django_answer(token):
    assert call(token=token, serving=Store())[0] == 299


def test_refusals_at_the_edge_are_the_same_problems(terminal, token, api_client):
    revoke_terminal(terminal.pk, timezone.now())
    store.refresh()
    behind = api_client.get(CONFIGURATION, HTTP_AUTHORIZATION=f"Bearer {token}")

    status, headers, body = call(token=token)

    assert (status, body) == (behind.status_code, behind.content) == (410, body)
    assert headers[b"content-type"] == b"application/problem+json"


def test_an_answer_says_how_long_the_revision_could_not_be_checked(token, monkeypatch):
    store.refresh()
    fresh = call(token=token)
    monkeypatch.setattr(store, "_checked_at", time.monotonic() - 42)

    stale = call(token=token)

    assert b"x-booster-stale" not in fresh[1]
    assert (stale[0], stale[1][b"x-booster-stale"]) == (200, b"42")


def test_the_first_use_of_a_new_token_ends_the_old_one_here_at_once_and_for_all_soon(terminal, token):
    new = roll_token(terminal.pk, timezone.now()).text
    store.refresh()

    statuses = [call(token=spelled)[0] for spelled in (token, new, token)]
    Watcher(store).check(write_reports=False)

    assert statuses == [200, 200, 410]
    assert TerminalToken.objects.filter(revoked_at__isnull=False).count() == 1


def test_watching_goes_on_while_the_database_is_away_and_keeps_the_reports(terminal, token, monkeypatch):
    store.refresh()
    call(token=token)
    watcher = Watcher(store)

    def away():
        raise OperationalError("the connection was closed")

    with monkeypatch.context() as broken:
        broken.setattr("routing.watcher.connections.close_all", lambda: None)  # the test's own connection
        broken.setattr("terminals.reports.ReportCollector._write", lambda self, seen: away())
        watcher.check(write_reports=True)
    without = TerminalReport.objects.filter(last_seen_at__isnull=False).count()
    watcher.check(write_reports=True)

    assert (without, TerminalReport.objects.get().terminal_id) == (0, terminal.pk)
    assert call(token=token)[0] == 200


@pytest.mark.skipif("not __import__('django.conf').conf.settings.REDIS_URL", reason="needs Redis")
def test_a_change_announced_over_redis_wakes_every_process(django_capture_on_commit_callbacks):
    watcher = Watcher(Store())
    listener = threading.Thread(target=watcher._listen, daemon=True)
    listener.start()
    woken = False
    for _ in range(50):  # until the subscription stands
        revision.moved.clear()
        with django_capture_on_commit_callbacks() as callbacks:
            revision.announce()
        revision._publish()
        woken = revision.moved.wait(0.1)
        if woken:
            break

    watcher._stopping.set()
    listener.join(timeout=5)
    assert (woken, len(callbacks)) == (True, 1)


@pytest.mark.django_db(transaction=True)  # on SQLite the threads' beats would wait for an open transaction
def test_the_lifespan_starts_and_stops_the_watcher():
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message["type"])

    run(Edge(django_stand_in, Store())({"type": "lifespan"}, receive, send))

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("revision-")]


# --- Waiting, streams, limits ------------------------------------------------------------------------


class Serving:
    """An edge in a running loop, called as a server calls it."""

    def __init__(self):
        self.edge = Edge(django_stand_in, store)
        self.is_gone = asyncio.Event()

    def begin(self, token, path=CONFIGURATION, query="", **headers):
        """Start a call; return its task and the list that what is sent comes to."""
        sent = []

        async def send(message):
            sent.append(message)

        async def receive():
            await self.is_gone.wait()
            return {"type": "http.disconnect"}

        given = {"authorization": f"Bearer {token}", **headers}
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "client": ("203.0.113.9", 4711),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()],
        }
        return asyncio.ensure_future(self.edge(scope, receive, send)), sent

    def after(self, change):
        """Change something in the database and read what moved, as the watcher's thread does."""

        def change_and_read():
            change()
            Watcher(store, self.edge._tell_waiting).check(write_reports=False)

        outside_the_loop(change_and_read)


async def settle():
    for _ in range(30):
        await asyncio.sleep(0)


def rename():
    MobileServer.objects.update(name="Centre")


def observe():
    ServerState.objects.create(server=MobileServer.objects.get(), status="online", since=timezone.now())


def held_tag(token):
    store.refresh()
    return call(token=token)[1][b"etag"].decode()


@pytest.mark.parametrize("door", ["configuration", "status"])
def test_a_poll_that_waits_is_answered_when_its_document_changes(terminal, token, door):
    PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
    path = f"/api/v1/terminal/{door}"
    store.refresh()
    tag = call(path, token)[1][b"etag"].decode()

    async def scene():
        serving = Serving()
        waiting, sent = serving.begin(token, path, "wait=60", if_none_match=tag)
        await settle()
        before = list(sent)
        serving.after(rename if door == "configuration" else observe)
        await asyncio.wait_for(waiting, 5)
        return before, sent

    before, sent = run(scene())

    assert before == []
    assert sent[0]["status"] == 200
    assert dict(sent[0]["headers"])[b"etag"].decode() != tag
    assert (b"Centre" if door == "configuration" else b'"online"') in sent[1]["body"]


def test_a_poll_that_waits_is_answered_304_at_the_end_of_the_process(token):
    tag = held_tag(token)

    async def scene():
        serving = Serving()
        waiting, sent = serving.begin(token, query="wait=60", if_none_match=tag)
        await settle()
        serving.edge._waiting.stop()
        await asyncio.wait_for(waiting, 5)
        return sent

    sent = run(scene())

    assert [message.get("status", message.get("body")) for message in sent] == [304, b""]
    assert dict(sent[0]["headers"])[b"etag"].decode() == tag


def test_a_poll_that_waits_hears_that_its_terminal_was_revoked(terminal, token):
    tag = held_tag(token)

    async def scene():
        serving = Serving()
        waiting, sent = serving.begin(token, query="wait=60", if_none_match=tag)
        await settle()
        serving.after(lambda: revoke_terminal(terminal.pk, timezone.now()))
        await asyncio.wait_for(waiting, 5)
        return sent

    assert run(scene())[0]["status"] == 410


def test_a_poll_that_waits_hears_that_its_terminal_is_no_more(terminal, token):
    tag = held_tag(token)

    async def scene():
        serving = Serving()
        waiting, sent = serving.begin(token, query="wait=60", if_none_match=tag)
        await settle()
        serving.after(terminal.delete)
        await asyncio.wait_for(waiting, 5)
        return sent

    assert run(scene())[0]["status"] == 401


def test_nobody_waits_who_does_not_hold_the_document(token):
    tag = held_tag(token)

    assert call(token=token, query="wait=60")[0] == 200
    assert call(token=token, query="wait=60", if_none_match='"another"')[0] == 200
    assert call("/api/v1/terminal/webpos", token, query="wait=60", if_none_match=tag)[0] == 200


@pytest.mark.parametrize("wait", ["0", "61", "-1", "1.5", "ten", "", "1&wait=2", "0000060", "٣"])
def test_a_wait_that_is_none_is_refused(token, wait):
    tag = held_tag(token)

    status, _, body = call(token=token, query=f"wait={wait}", if_none_match=tag)

    problem = json.loads(body)
    detail = "wait must be a whole number of seconds from 1 to 60."
    assert (status, problem["type"], problem["errors"]) == (
        400,
        "/problems/invalid",
        [{"pointer": "?wait", "code": "invalid", "detail": detail}],
    )


def test_a_stream_tells_each_document_and_then_each_change(terminal, token):
    PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
    store.refresh()

    async def scene():
        serving = Serving()
        stream, sent = serving.begin(token, "/api/v1/terminal/events")
        await settle()
        serving.after(rename)
        await settle()
        serving.is_gone.set()
        await asyncio.wait_for(stream, 5)
        return sent, len(serving.edge._waiting)

    sent, left = run(scene())

    tags = [store.snapshot.tag(door, "LYON") for door in (Door.CONFIGURATION, Door.STATUS)]
    assert (sent[0]["status"], dict(sent[0]["headers"])[b"content-type"]) == (200, b"text/event-stream")
    first, second, last = (message["body"].decode() for message in sent[1:])
    assert [line.partition(": ")[2] for line in first.splitlines() if line.startswith("event")] == [
        "configuration",
        "status",
    ]
    assert second.startswith(f"id: {tags[0]}.{tags[1]}\nevent: configuration\ndata: ")
    assert json.loads(second.splitlines()[2].removeprefix("data: "))["servers"][0]["name"] == "Centre"
    assert (last, left) == ("", 0)


def test_a_stream_that_is_taken_up_again_begins_with_what_is_new(token):
    store.refresh()
    tags = [store.snapshot.tag(door, "LYON") for door in (Door.CONFIGURATION, Door.STATUS)]

    async def scene(last_event_id):
        serving = Serving()
        stream, sent = serving.begin(token, "/api/v1/terminal/events", last_event_id=last_event_id)
        await settle()
        serving.edge._waiting.stop()
        await asyncio.wait_for(stream, 5)
        return sent[1]["body"].decode()

    assert run(scene(f"{tags[0]}.{tags[1]}")) == "retry: 1000\n\n"
    assert "event: configuration" not in run(scene(f"{tags[0]}.other"))
    assert run(scene("nonsense")).count("event: ") == 2


def test_a_stream_of_a_revoked_terminal_ends(terminal, token):
    store.refresh()

    async def scene():
        serving = Serving()
        stream, sent = serving.begin(token, "/api/v1/terminal/events")
        await settle()
        serving.after(lambda: revoke_terminal(terminal.pk, timezone.now()))
        await asyncio.wait_for(stream, 5)
        return sent[-1], serving.begin(token, "/api/v1/terminal/events")

    async def whole():
        last, (again, sent) = await scene()
        await again
        return last, sent

    last, sent = run(whole())
    assert last == {"type": "http.response.body", "body": b""}
    assert sent[0]["status"] == 410


def test_a_terminal_that_calls_too_often_is_told_when_to_come_again(token, settings):
    settings.BOOSTER_POLLS_PER_MINUTE = 6
    store.refresh()

    async def scene():
        serving = Serving()
        answers = []
        for _ in range(5):
            task, sent = serving.begin(token)
            await task
            answers.append(sent)
        return answers

    answers = run(scene())

    assert [sent[0]["status"] for sent in answers] == [200, 200, 200, 429, 429]
    assert dict(answers[-1][0]["headers"])[b"retry-after"] == b"10"
    assert json.loads(answers[-1][1]["body"])["type"] == "/problems/too-many-attempts"


@pytest.mark.parametrize(
    ("proxies", "expected"), [([], [299, 299, 429, 429]), (["203.0.113.0/24"], [299, 299, 299, 299])]
)
def test_strangers_are_counted_by_the_address_that_trusted_proxies_tell(token, settings, proxies, expected):
    settings.BOOSTER_STRANGERS_PER_MINUTE = 4
    settings.BOOSTER_TRUSTED_PROXIES = proxies
    store.refresh()

    async def scene():
        serving = Serving()
        statuses = []
        for number in range(4):
            task, sent = serving.begin("nonsense", x_forwarded_for=f"198.51.100.{number}")
            await task
            statuses.append(sent[0]["status"])
        return statuses

    assert run(scene()) == expected


def test_a_terminal_that_is_not_in_memory_yet_gets_the_present_documents_as_events(token, api_client):
    answer = api_client.get("/api/v1/terminal/events", HTTP_AUTHORIZATION=f"Bearer {token}")

    assert (answer.status_code, answer["Content-Type"]) == (200, "text/event-stream")
    assert answer.content.startswith(b"retry: 1000\n\nid: ")
    assert answer.content.count(b"\nevent: ") == 2


# --- Answers that are remembered ---------------------------------------------------------------------


def answers_of(*steps):
    """Return what one edge answers a caller: each step is a token, or something to happen meanwhile."""

    async def scene():
        serving = Serving()
        answers = []
        for step in steps:
            if callable(step):
                serving.after(step)
                continue
            task, sent = serving.begin(step)
            await task
            answers.append((sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]))
        return answers

    return run(scene())


def test_a_remembered_answer_is_the_same_and_gives_way_to_a_change(token):
    store.refresh()

    first, again, changed = answers_of(token, token, rename_and_switch_on, token)

    assert again == first
    assert (first[0], changed[0]) == (200, 200)
    assert b"Centre" in changed[2]


def rename_and_switch_on():
    PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
    rename()


def test_a_remembered_answer_ends_with_the_token(terminal, token):
    store.refresh()

    statuses = [
        status for status, _, _ in answers_of(token, token, lambda: revoke_terminal(terminal.pk, timezone.now()), token)
    ]

    assert statuses == [200, 200, 410]


def test_an_answer_that_is_old_is_not_taken_from_memory(token, monkeypatch):
    store.refresh()

    def grow_old():
        monkeypatch.setattr(store, "_checked_at", time.monotonic() - 42)

    async def scene():
        serving = Serving()
        answers = []
        for _ in range(2):
            task, sent = serving.begin(token)
            await task
            answers.append(dict(sent[0]["headers"]).get(b"x-booster-stale"))
            grow_old()
        return answers

    assert run(scene()) == [None, b"42"]


def test_a_token_that_was_replaced_ends_by_the_clock_though_nothing_moves(terminal, token, time_machine):
    time_machine.move_to(timezone.now(), tick=False)
    roll_token(terminal.pk, timezone.now())
    store.refresh()

    async def scene():
        serving = Serving()
        statuses = []
        for minutes in (0, 9, 2):
            time_machine.shift(minutes * 60)
            monotonic_now = time.monotonic()
            store._checked_at = monotonic_now
            task, sent = serving.begin(token)
            await task
            statuses.append(sent[0]["status"])
        return statuses

    assert run(scene()) == [200, 200, 410]


def test_calls_that_are_answered_from_memory_are_noted(terminal, token):
    store.refresh()

    answers_of(token, token, token)
    store.reports.flush()

    assert TerminalReport.objects.get().revision == store.snapshot.revision


def test_no_more_answers_are_remembered_than_there_is_room_for_their_bodies(token, monkeypatch):
    monkeypatch.setattr("routing.remembered.OVERHEAD_BYTES", 1)
    store.refresh()
    body_bytes = len(answers_of(token)[0][2])
    monkeypatch.setattr("routing.remembered.MOST_BYTES", 2 * (1 + body_bytes))

    async def scene():
        serving = Serving()
        numbers = []
        for number in range(5):
            task, _ = serving.begin(token, accept_encoding=f"x{number}")
            await task
            numbers.append(len(serving.edge._memory))
        return numbers

    assert run(scene()) == [1, 2, 1, 2, 1]
