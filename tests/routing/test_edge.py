"""The ASGI layer in front of Django, called as granian calls it."""

import threading
import time

import pytest
from django.db import OperationalError
from django.utils import timezone

from routing import revision
from routing.edge import Edge, Watcher
from routing.store import Store, store
from terminals.models import TerminalReport, TerminalToken
from terminals.tokens import issue_token, revoke_terminal, roll_token
from tests.coroutines import run
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


def call(path=CONFIGURATION, token="", method="GET", serving=store, **headers):
    """Call an edge and return status, headers and body."""
    sent = []

    async def send(message):
        sent.append(message)

    given = {"authorization": f"Bearer {token}", **headers} if token else headers
    scope = {
        "type": "http",
        "method": method,
        "path": path,
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
        broken.setattr("routing.edge.connections.close_all", lambda: None)  # the test's own connection
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
