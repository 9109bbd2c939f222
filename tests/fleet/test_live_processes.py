"""Live updates of the real web server: streams begin, hear, and end as they should."""

import json
import threading
import time

import httpx
import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connection
from django.utils import timezone

from accounts.scope import STORE_OPERATOR
from preferences.models import PreferenceValue
from servers.models import ServerState
from tests import serving
from tests.factories import make_admin, make_server, make_tree, make_user
from tests.fleet.rows import make_pulse, make_state
from tests.fleet.test_live import make_session

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]
EVENTS = "/admin/fleet/events?page=fleet"
WITHIN_S = 3.0


@pytest.fixture
def environment():
    return {"SECRET_KEY": settings.SECRET_KEY, "DATABASE_URL": serving.test_database_url()}


@pytest.fixture
def tree(transactional_db):
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", SOUTH="ACME", ROME="SOUTH")
    PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
    make_pulse()
    make_state(make_server("central", client=tree["ACME"]))
    return tree


class Listener(threading.Thread):
    """Reads one stream to its end; keeps what it heard, and when."""

    def __init__(self, client, session, seen=""):
        super().__init__(daemon=True)
        self.heard = []
        self.status = None
        self.is_open = threading.Event()
        self._request = {
            "url": f"{client.base_url}{EVENTS}&seen={seen}",
            "cookies": {settings.SESSION_COOKIE_NAME: session.session_key},
        }
        self._leave = threading.Event()
        self.start()

    def run(self):
        name = ""
        with httpx.stream("GET", **self._request, timeout=30) as answer:
            self.status = answer.status_code
            try:
                for line in answer.iter_lines():
                    self.is_open.set()
                    if self._leave.is_set():
                        return
                    if line.startswith("event: "):
                        name = line.removeprefix("event: ")
                    elif line.startswith("data: "):
                        self.heard.append((time.monotonic(), name, json.loads(line.removeprefix("data: "))))
            finally:
                self.is_open.set()

    @property
    def names(self):
        return [name for _, name, _ in self.heard]

    def first(self, matches, within=10):
        """Wait for an event; return when it came."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            for at, name, data in list(self.heard):
                if matches(name, data):
                    return at
            time.sleep(0.02)
        raise AssertionError(f"not heard: {self.names}")


def is_down(name, data):
    return name == "parts" and "Down" in data.get("store-OSLO", "")


def test_fifty_viewers_hear_a_change_within_seconds_and_a_logout_ends_one(tmp_path, tree, environment):
    user = make_admin()
    people = [make_admin() for _ in range(4)]
    sessions = [make_session(person) for person in people for _ in range(12)] + [make_session(user) for _ in range(2)]

    with serving.web_server(tmp_path, **environment) as client:
        listeners = [Listener(client, session) for session in sessions]
        for listener in listeners:
            listener.first(lambda name, data: name == "refresh")
        changed_at = time.monotonic()
        ServerState.objects.update(status="offline", since=timezone.now())
        delays = [listener.first(is_down) - changed_at for listener in listeners]
        Session.objects.filter(session_key=sessions[-1].session_key).delete()
        ended_at = time.monotonic()
        delays += [listeners[-1].first(lambda name, data: name == "ended") - ended_at]
        listeners[-1].join(timeout=5)
        user.is_active = False
        user.save()
        listeners[-2].join(timeout=5)

        assert max(delays) < WITHIN_S
        assert not listeners[-1].is_alive()
        assert (listeners[-2].is_alive(), listeners[-2].names[-1]) == (False, "ended")
        assert [listener.is_alive() for listener in listeners[:-2]] == [True] * 48


@pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL counts its connections")
def test_fifty_viewers_hold_neither_threads_nor_connections(tmp_path, tree, environment):
    sessions = [make_session(person) for person in (make_admin() for _ in range(5)) for _ in range(10)]
    threads = 3

    with serving.web_server(tmp_path, **environment, BOOSTER_REQUEST_THREADS=str(threads)) as client:
        listeners = [Listener(client, session) for session in sessions]
        for listener in listeners:
            listener.first(lambda name, data: name == "refresh")
        client.cookies.update({settings.SESSION_COOKIE_NAME: sessions[0].session_key})
        answers = [client.get("/admin/fleet/").status_code for _ in range(5)]
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            connections = cursor.fetchone()[0]

    # Besides the requests' own: that of the revision's watcher, and that of the one look for all viewers.
    assert (answers, connections <= threads + 2) == ([200] * 5, True)


def test_a_limited_user_is_sent_nothing_of_foreign_stores(tmp_path, tree, environment):
    operator = make_user(role=STORE_OPERATOR, is_staff=True)
    operator.organizations.add(tree["NORTH"])

    with serving.web_server(tmp_path, **environment) as client:
        listener = Listener(client, make_session(operator))
        listener.first(lambda name, data: name == "refresh")
        ServerState.objects.update(status="offline", since=timezone.now())
        listener.first(is_down)

    assert "ROME" not in json.dumps(listener.heard)


def test_open_streams_do_not_delay_the_end_of_the_server(tmp_path, tree, environment):
    session = make_session(make_admin())

    with serving.web_server(tmp_path, **environment) as client:
        listeners = [Listener(client, session) for _ in range(10)]
        for listener in listeners:
            listener.first(lambda name, data: name == "refresh")
        stopped_at = time.monotonic()
    took = time.monotonic() - stopped_at

    for listener in listeners:
        listener.join(timeout=5)
    assert [listener.is_alive() for listener in listeners] == [False] * 10
    assert took < 3


def test_one_user_may_open_so_many_streams_and_those_that_end_make_room(tmp_path, tree, environment):
    session = make_session(make_admin())
    cookies = {settings.SESSION_COOKIE_NAME: session.session_key}

    with serving.web_server(tmp_path, **environment) as client:
        listeners = [Listener(client, session) for _ in range(20)]
        for listener in listeners:
            listener.first(lambda name, data: name == "refresh")
        client.cookies.update(cookies)
        refused = client.get(EVENTS)
        listeners[0]._leave.set()
        ServerState.objects.update(status="offline", since=timezone.now())
        listeners[0].join(timeout=5)
        time.sleep(0.5)
        again = Listener(client, session)
        again.first(lambda name, data: name == "refresh")

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "30")
    assert again.status == 200
