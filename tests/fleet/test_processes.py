"""Web, worker and scheduler as real processes, a server over HTTP that dies and comes back, and kills in between."""

import http.server
import os
import signal
import threading

import httpx
import pytest
from django.conf import settings
from django.utils import timezone

from fleet.models import Incident
from notices.models import Notice
from preferences.models import PreferenceValue
from servers.models import MobileServer, StatusTransition
from terminals.tokens import issue_token
from tests import serving
from tests.backing import own_redis
from tests.backoffice.processes import Product, wait_for
from tests.factories import make_server, make_terminal, make_tree

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.processes,
    pytest.mark.skipif(not os.environ.get("REDIS_URL"), reason="SQLite runs without Redis and a worker"),
]
IMPATIENT = {
    "multi_server_enabled": "Y",
    "failures_before_offline": "1",
    "transition_to_offline_wait_s": "0",
    "failed_transition_to_online_wait_s": "0",
}


class Fake:
    """A mobile server over HTTP that can die and come back on the same port."""

    def __init__(self):
        self.port = serving.free_port()
        self._server = None

    def live(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def die(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def redis():
    with own_redis() as server:
        yield server


@pytest.fixture
def fake():
    server = Fake()
    server.live()
    yield server
    server.die()


def define(fake):
    """Define the fake server, impatiently watched; return a terminal's token."""
    tree = make_tree(ACME=None, LYON="ACME")
    make_server("box", client=tree["ACME"], url=f"http://127.0.0.1:{fake.port}", probe_timeout_s=1, probe_interval_s=5)
    for key, value in IMPATIENT.items():
        PreferenceValue.objects.create(key=key, value=value)
    return issue_token(make_terminal("LY-1", tree["LYON"]), timezone.now()).text


def told_to_terminals(product, token):
    """Return the server's status as a terminal reads it, or nothing while the web server is away."""
    try:
        answer = httpx.get(
            f"http://127.0.0.1:{product.port}/api/v1/terminal/status",
            headers={"Authorization": f"Bearer {token}"},
            timeout=5,
        )
        return answer.json()["servers"][0]["status"]
    except (httpx.TransportError, KeyError, ValueError):
        return ""


def state():
    return MobileServer.objects.select_related("state").get().state


def notices():
    """Return the kinds of what was told of servers; the trial tells of its own end besides."""
    return [*of_servers().values_list("kind", flat=True)]


def of_servers():
    return Notice.objects.filter(kind__startswith="server-").order_by("pk")


def test_states_converge_and_are_told_once_whatever_is_killed(tmp_path, redis, fake):
    token = define(fake)
    environment = {
        "DATABASE_URL": serving.test_database_url(),
        "REDIS_URL": redis.url,
        "BOOSTER_PROBE_LOOPBACK": "true",
        "SECRET_KEY": "k" * 60,
        "TOKEN_DIGEST_KEY": settings.TOKEN_DIGEST_KEY,
    }
    with Product(tmp_path / "data", "--no-migrate", **environment) as product:
        product.wait_until_ready()
        wait_for(lambda: told_to_terminals(product, token) == "online", "the first sight", 20)

        # It dies, and so do worker and scheduler.
        fake.die()
        os.kill(product.pid_of(" worker "), signal.SIGKILL)
        os.kill(product.pid_of(" beat"), signal.SIGKILL)
        wait_for(lambda: told_to_terminals(product, token) == "offline", "the loss", 25)
        lost = state()
        wait_for(lambda: notices() == ["server-lost"], "the notice of the loss", 30)

        # It comes back while Redis and the web server are killed.
        redis.kill()
        os.kill(product.pid_of("granian"), signal.SIGKILL)
        fake.live()
        redis.start()
        wait_for(lambda: told_to_terminals(product, token) == "online", "the return", 30)
        wait_for(lambda: notices() == ["server-lost", "server-back"], "the notice of the return", 20)
        product.stop()

    assert lost.cause == "127.0.0.1 refused the connection."
    rows = StatusTransition.objects.order_by("pk").values_list("from_status", "to_status")
    assert list(rows) == [
        ("offline", "transition_to_online"),
        ("transition_to_online", "online"),
        ("online", "transition_to_offline"),
        ("transition_to_offline", "offline"),
        ("offline", "transition_to_online"),
        ("transition_to_online", "online"),
    ]
    incident = Incident.objects.get()
    assert (incident.cause, incident.closed_at) == ("127.0.0.1 refused the connection.", state().since)
    assert [notice.key for notice in of_servers()] == [
        f"incident-opened:{incident.pk}",
        f"incident-closed:{incident.pk}",
    ]
    assert [said for said in ("raised unexpected", "request_failed") if said in product.printed()] == []
