"""Terminals poll the real web server while what it depends on is frozen, killed and started again."""

import gzip
import threading
import time
from collections import Counter

import httpx
import pytest

from routing.disk_snapshot import MAGIC, SEAL_BYTES
from tests.backing import own_postgresql, own_redis
from tests.backoffice.processes import Product, manage, wait_for

pytestmark = [pytest.mark.processes]

SETTING = {"TOKEN_DIGEST_KEY": "d" * 50, "SECRET_KEY": "s" * 60, "BOOSTER_POLLS_PER_MINUTE": "100000"}
LONGEST_POLL_S = 2.0
CONFIGURATION = "/api/v1/terminal/configuration"
FILL = """
from django.utils import timezone
from preferences.models import PreferenceValue
from terminals.tokens import issue_token
from tests.factories import make_server, make_terminal, make_tree
tree = make_tree(ACME=None, LYON="ACME")
make_server("box", client=tree["ACME"], url="https://box.example", key="box")
PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
print(issue_token(make_terminal("LY-1", tree["LYON"]), timezone.now()).text)
"""


class Polling:
    """A terminal that polls all the time, twenty times a second, on connections of its own."""

    def __init__(self, product, token):
        self._address = f"http://127.0.0.1:{product.port}"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._poll)
        self.statuses = Counter()
        self.failures = []
        self.longest_s = 0.0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._stopping.set()
        self._thread.join()

    def _poll(self):
        with httpx.Client(base_url=self._address, headers=self._headers, timeout=10) as client:
            tag = ""
            while not self._stopping.wait(0.05):
                started = time.monotonic()
                try:
                    answer = client.get(CONFIGURATION, headers={"If-None-Match": tag} if tag else {})
                except httpx.TransportError as error:
                    self.failures.append(repr(error))
                    continue
                self.longest_s = max(self.longest_s, time.monotonic() - started)
                self.statuses[answer.status_code] += 1
                if answer.status_code not in (200, 304):
                    self.failures.append((answer.status_code, answer.text))
                tag = answer.headers.get("ETag", tag)

    def ask(self, path=CONFIGURATION):
        return httpx.get(self._address + path, headers=self._headers, timeout=10)

    def activate(self):
        body = {"terminal": "LY-2", "code": "7KQM-2XPA-9RTD", "software": "pos 3.1"}
        return httpx.post(f"{self._address}/api/v1/terminal/activate", json=body, timeout=20)

    def is_told(self, name):
        return self.ask().json()["servers"][0]["name"] == name


def rename(name, data_dir, environment):
    script = f"from servers.models import MobileServer; MobileServer.objects.update(name={name!r})"
    done = manage("shell", "--no-imports", "-c", script, data_dir=data_dir, **environment)
    assert done.returncode == 0, done.stderr


def test_no_poll_fails_or_waits_whatever_is_away_and_everything_goes_on_when_it_is_back(tmp_path):
    with own_postgresql() as postgresql, own_redis() as redis:
        environment = {**SETTING, "DATABASE_URL": postgresql.url, "REDIS_URL": redis.url}
        data = tmp_path / "data"
        assert manage("migrate", data_dir=data, **environment).returncode == 0
        filled = manage("shell", "--no-imports", "-c", FILL, data_dir=data, **environment)
        token = filled.stdout.strip()
        assert token.startswith("bst_terminal_"), filled.stderr
        with Product(data, "--no-migrate", "--workers", "1", **environment) as product:
            product.wait_until_ready()
            polling = Polling(product, token)
            assert polling.ask().status_code == 200
            wait_for((data / "terminals.snapshot").exists, "the snapshot on disk", 20)
            with polling:
                # Redis is frozen, then killed: a change arrives all the same.
                redis.freeze()
                rename("while Redis is frozen", data, {**environment, "REDIS_URL": ""})
                wait_for(lambda: polling.is_told("while Redis is frozen"), "the change", 5)
                redis.thaw()
                redis.kill()
                rename("while Redis is away", data, {**environment, "REDIS_URL": ""})
                wait_for(lambda: polling.is_told("while Redis is away"), "the change", 5)

                # The database is frozen for a while.
                postgresql.freeze()
                wait_for(lambda: "X-Booster-Stale" in polling.ask().headers, "the age", 15)
                postgresql.thaw()
                wait_for(lambda: "X-Booster-Stale" not in polling.ask().headers, "the end of the age", 15)

                # Both are killed.
                postgresql.kill()
                wait_for(lambda: int(polling.ask().headers.get("X-Booster-Stale", "0")) >= 6, "the age", 15)
                refused = polling.activate()
                ready_without = product.answers("/readyz")

                # Both are back: nothing needs a restart.
                postgresql.start()
                redis.start()
                wait_for(lambda: product.answers("/readyz"), "readiness", 15)
                rename("when both are back", data, environment)
                wait_for(lambda: polling.is_told("when both are back"), "the change", 5)
                activated = polling.activate()
            longest_s, failures, statuses = polling.longest_s, polling.failures, polling.statuses
            wait_for(lambda: is_kept(data, "when both are back"), "the last snapshot", 20)
            product.stop()

        kept, ready_alone = start_without_database(postgresql, data, environment, token)

    assert failures == []
    assert longest_s < LONGEST_POLL_S
    assert sum(statuses.values()) > 200
    assert (refused.status_code, refused.headers["Content-Type"]) == (503, "application/problem+json")
    assert int(refused.headers["Retry-After"]) > 0
    assert (ready_without, ready_alone) == (False, False)
    assert activated.status_code == 401
    assert kept.json()["servers"][0]["name"] == "when both are back"
    assert int(kept.headers["X-Booster-Stale"]) > 0


def start_without_database(postgresql, data, environment, token):
    """Return what a process answers that starts while the database is away, and whether it says it is ready."""
    postgresql.kill()
    with Product(data, "--no-migrate", "--workers", "1", **environment) as product:
        wait_for(lambda: product.answers("/livez"), "the web server")
        alone = Polling(product, token)
        wait_for(lambda: alone.ask().status_code == 200, "the configuration")
        kept, is_ready = alone.ask(), product.answers("/readyz")
        postgresql.start()
        product.wait_until_ready()
        wait_for(lambda: "X-Booster-Stale" not in alone.ask().headers, "the end of the age", 15)
        product.stop()
    return kept, is_ready


def is_kept(data, name):
    """Tell whether the snapshot on disk says already that the server has this name."""
    content = (data / "terminals.snapshot").read_bytes()[len(MAGIC) : -SEAL_BYTES]
    return name.encode() in gzip.decompress(content.partition(b"\n")[2])
