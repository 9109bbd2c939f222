"""A change of a server's state reaches the terminals on every process."""

import statistics
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from fleet.states import Verdict, standing_of, write
from preferences.models import PreferenceValue
from servers.agent_tokens import issue_agent_token
from servers.models import MobileServer, ServerReport
from servers.status import Change, Status
from terminals.tokens import issue_token
from tests import serving
from tests.factories import make_server, make_terminal, make_tree

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]
SAME_KEYS = {"SECRET_KEY": "k" * 60, "TOKEN_DIGEST_KEY": settings.TOKEN_DIGEST_KEY}
STATUS, WEBPOS = "/api/v1/terminal/status", "/api/v1/terminal/webpos"


def move_to(status, moment):
    """Write one transition, as whoever observed the server does."""
    server = MobileServer.objects.select_related("state", "report").get()
    before = standing_of(server)
    change = Change(before.status, status, moment, "A test says so.")
    return write([Verdict(server, before, replace(before, status=status, since=moment), (change,), "test")])


def seconds_until(client, headers, text):
    """Poll until the answer holds `text`; return how long that took, at most 10 s."""
    began = time.monotonic()
    while time.monotonic() - began < 10:
        if text in client.get(STATUS, headers=headers).text:
            return time.monotonic() - began
        time.sleep(0.05)
    return 10.0


def test_every_state_is_named_on_every_process_within_two_seconds_and_the_web_pos_sees_none(tmp_path):
    tree = make_tree(ACME=None, LYON="ACME")
    server = make_server("LyonBox", client=tree["ACME"], key="box")
    ServerReport.objects.create(server=server)
    PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
    headers = {"Authorization": f"Bearer {issue_token(make_terminal('LY-1', tree['LYON']), timezone.now()).text}"}
    agent = {"Authorization": f"Bearer {issue_agent_token(server.pk, timezone.now()).text}"}
    report = {"software_version": "1", "modules": [], "pending": 0, "host_name": "h", "os": "o", "observed": []}
    environment = {**SAME_KEYS, "DATABASE_URL": serving.test_database_url()}
    delays, tags = [], []
    began = timezone.now().replace(microsecond=0)

    with (
        serving.web_server(tmp_path / "a", **environment) as first,
        serving.web_server(tmp_path / "b", **environment) as second,
    ):
        webpos = [client.get(WEBPOS, headers=headers).content for client in (first, second)]
        for number, status in enumerate([Status.TRANSITION_TO_ONLINE, Status.ONLINE, Status.TRANSITION_TO_OFFLINE]):
            since = began - timedelta(hours=3 - number)
            assert move_to(status, since)
            told = f'"status":"{status}","since":"{since:%Y-%m-%dT%H:%M:%SZ}"'
            delays += [seconds_until(client, headers, told) for client in (first, second)]
            tags.append(second.get(STATUS, headers=headers).headers["etag"])
        move_to(Status.OFFLINE, began)
        delays += [seconds_until(client, headers, '"status":"offline"') for client in (first, second)]
        heard = first.post("/api/v1/agent/heartbeat", headers=agent, json=report | {"ready": True})
        delays += [seconds_until(client, headers, '"status":"online"') for client in (first, second)]
        webpos += [client.get(WEBPOS, headers=headers).content for client in (first, second)]

    assert (heard.status_code, heard.json()["status"]) == (200, "online")
    assert len(set(webpos)) == 1
    assert len(set(tags)) == 3
    assert statistics.median(delays) <= 2.0
    assert max(delays) < 10.0
