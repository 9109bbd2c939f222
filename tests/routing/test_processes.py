"""Several processes and databases: the same bytes, and every change everywhere within 2 s."""

import os
import statistics
import subprocess
import sys
import time

import pytest
from django.conf import settings
from django.utils import timezone

from organizations.models import Organization
from organizations.tree import update_organization
from preferences.models import PreferenceValue
from terminals.tokens import issue_token, revoke_terminal
from tests import serving
from tests.factories import make_server, make_service, make_terminal, make_tree

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

CONFIGURATION = "/api/v1/terminal/configuration"
SAME_KEYS = {"SECRET_KEY": "k" * 60, "TOKEN_DIGEST_KEY": settings.TOKEN_DIGEST_KEY}


def configure(reverse=False):
    """Make one configuration, its rows in one order or the other; return a terminal's token."""
    tree = make_tree(ACME=None, NORTH="ACME", LYON="NORTH")
    names = ["Ünïcode", "a.b", "a.b.c", "Generic"]
    services = {name: make_service(name) for name in (names[::-1] if reverse else names)}
    servers = {
        "Central": {"key": "central"},
        "box": {"key": "box", "organizations": [tree["NORTH"]], "services": [services["a.b"]]},
        "Box": {"key": "Box2", "organizations": [tree["LYON"], tree["ACME"]][:: -1 if reverse else 1]},
    }
    for name, fields in sorted(servers.items(), reverse=reverse):
        make_server(name, client=tree["ACME"], defined_services="only", **fields)
    PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
    return issue_token(make_terminal("LY-1", tree["LYON"]), timezone.now()).text


def test_every_process_serves_the_same_bytes_and_every_change_within_two_seconds(tmp_path):
    token = configure()
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
    environment = {**SAME_KEYS, "DATABASE_URL": serving.test_database_url()}
    delays = []

    with (
        serving.web_server(tmp_path / "a", **environment) as first,
        serving.web_server(tmp_path / "b", **environment) as second,
    ):
        answers = [client.get(CONFIGURATION, headers=headers) for client in (first, second)]
        for number in range(5):
            organization = Organization.objects.get(code="LYON")
            update_organization(organization.pk, name=f"Lyon {number}")
            delays += [seconds_until(client, headers, f'"name":"Lyon {number}"') for client in (first, second)]
        revoke_terminal(organization.terminals.get().pk, timezone.now())
        delays += [seconds_until(client, headers, "/problems/terminal-revoked") for client in (first, second)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert (answers[0].content, answers[0].headers["ETag"]) == (answers[1].content, answers[1].headers["ETag"])
    assert statistics.median(delays) <= 2.0
    assert max(delays) < 10.0


def seconds_until(client, headers, text):
    """Poll until the answer holds `text`; return how long that took, at most 10 s."""
    began = time.monotonic()
    while time.monotonic() - began < 10:
        if text in client.get(CONFIGURATION, headers=headers).text:
            return time.monotonic() - began
        time.sleep(0.05)
    return 10.0


def test_two_databases_with_the_same_configuration_give_the_same_bytes(tmp_path, api_client):
    other = {**os.environ, **SAME_KEYS, "BOOSTER_DATA_DIR": str(tmp_path), "REDIS_URL": ""}
    other["DATABASE_URL"] = f"sqlite:///{tmp_path / 'other.sqlite3'}"
    script = (
        "import django; django.setup()\n"
        "from django.core.management import call_command; call_command('migrate', verbosity=0)\n"
        "from tests.routing.test_processes import configure; configure(reverse=True)\n"
        "from routing.store import store; s = store.current()\n"
        "from routing.document import Door; doors = Door.CONFIGURATION, Door.WEBPOS\n"
        "import sys; sys.stdout.buffer.write(b'|'.join(s.document(door, 'LYON').identity for door in doors))\n"
    )
    configured_elsewhere = subprocess.run(
        [sys.executable, "-c", script],
        env={**other, "DJANGO_SETTINGS_MODULE": "backoffice.settings"},
        cwd=serving.ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    token = configure()
    headers = {"HTTP_AUTHORIZATION": f"Bearer {token}"}

    here = [api_client.get(f"/api/v1/terminal/{door}", **headers).content for door in ("configuration", "webpos")]

    assert configured_elsewhere.stdout.split(b"|") == here
