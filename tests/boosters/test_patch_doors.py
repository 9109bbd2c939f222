"""The agent's doors for patches (OMF-33, OMF-35, OMF-38, OMF-40)."""

import time
from datetime import timedelta

import pytest
from django.utils import timezone

from boosters import orders, patch_storage, rolling
from boosters.driver import drive
from boosters.patch_models import Patch, RollOutTarget
from boosters.sending import Part, paced, part_of, piece_size
from fleet.watch import watch
from servers.agent_tokens import issue_agent_token
from servers.models import ServerState
from tests.backoffice.api import outcome
from tests.boosters.makers import make_container, make_patch
from tests.coroutines import run
from tests.factories import make_organization, make_server

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("patch_home")]
ORDER = "/api/v1/agent/order"
HEARTBEAT = "/api/v1/agent/heartbeat"
OLD, NEW = "1.1.0.0", "1.2.0.0"
REPORT = {
    "software_version": OLD,
    "modules": [],
    "ready": True,
    "pending": 0,
    "host_name": "lyon-1",
    "os": "Debian 13",
    "observed": [],
}


class Agent:
    """An agent at the doors of the Booster."""

    def __init__(self, client, server):
        self.client, self.server = client, server
        self.bearer = {"HTTP_AUTHORIZATION": f"Bearer {issue_agent_token(server.pk, timezone.now()).text}"}

    def beat(self, **changes):
        return self.client.post(HEARTBEAT, REPORT | changes, format="json", **self.bearer).json()

    def order(self):
        return self.client.get(ORDER, **self.bearer)

    def say(self, number, **told):
        return self.client.post(f"{ORDER}/{number}", told, format="json", **self.bearer)

    def fetch(self, path, **headers):
        return self.client.get(path, headers=headers, **self.bearer)


@pytest.fixture
def acme():
    return make_organization("ACME")


@pytest.fixture
def agent(api_client, acme):
    agent = Agent(api_client, make_server("LyonBox", client=acme))
    agent.beat()
    return agent


@pytest.fixture
def order(agent):
    rolling.create(make_patch(), timezone.now(), bytes_per_s=500_000)
    drive(timezone.now())
    return agent.order().json()


def test_without_an_order_there_is_nothing_to_do(agent):
    assert agent.order().status_code == 204
    assert agent.beat()["todo"] == []


def test_an_order_is_told_with_the_heartbeat_and_is_the_same_until_it_ends(agent, order):
    patch = Patch.objects.get()

    assert agent.beat()["todo"] == [{"action": "apply_patch"}]
    assert order == {
        "target": RollOutTarget.objects.get().pk,
        "step": "apply",
        "patch": {
            "id": patch.pk,
            "name": "Summer release",
            "version": NEW,
            "fits_from": "1.1.0.0",
            "fits_to": NEW,
            "size_bytes": patch.size_bytes,
            "sha256": patch.sha256,
            "file": f"/api/v1/agent/patches/{patch.pk}/file",
            "rate_bytes_per_s": 500_000,
        },
        "timeout_s": 600,
    }
    agent.say(order["target"], state="applying")
    assert agent.order().json() == order
    agent.say(order["target"], state="done", version=NEW)
    assert agent.order().status_code == 204


def test_the_file_comes_whole_or_in_parts(agent, order):
    content = make_container()
    file = order["patch"]["file"]

    whole = agent.fetch(file)
    part = agent.fetch(file, Range="bytes=100-199")
    rest = agent.fetch(file, Range="bytes=100-")
    beyond = agent.fetch(file, Range=f"bytes={len(content)}-")
    changed = agent.fetch(file, Range="bytes=100-", **{"If-Range": '"another"'})

    assert (whole.status_code, whole.getvalue(), whole["Accept-Ranges"]) == (200, content, "bytes")
    assert (part.status_code, part.getvalue()) == (206, content[100:200])
    assert part["Content-Range"] == f"bytes 100-199/{len(content)}"
    assert content[:100] + rest.getvalue() == content
    assert (beyond.status_code, beyond["Content-Range"]) == (416, f"bytes */{len(content)}")
    assert (changed.status_code, changed.getvalue()) == (200, content)


def test_a_stolen_token_fetches_no_file_without_an_order_and_reports_for_its_own_server_only(
    agent, order, api_client, acme
):
    thief = Agent(api_client, make_server("NiceBox", client=acme))

    assert outcome(thief.fetch(order["patch"]["file"])) == (404, "/problems/not-found")
    assert outcome(thief.say(order["target"], state="done", version=NEW)) == (404, "/problems/not-found")
    assert outcome(agent.fetch(order["patch"]["file"].replace(str(order["patch"]["id"]), "999999"))) == (
        404,
        "/problems/not-found",
    )
    assert RollOutTarget.objects.get(server=agent.server).state == "waiting"


def test_progress_is_idempotent_and_never_goes_backwards(agent, order):
    number = order["target"]
    said = [
        agent.say(number, state="downloading", received_bytes=100).json(),
        agent.say(number, state="downloading", received_bytes=50).json(),
        agent.say(number, state="applying").json(),
        agent.say(number, state="downloading").json(),
        agent.say(number, state="applying").json(),
    ]

    target = RollOutTarget.objects.get()
    assert said == [{"go_on": True}] * 5
    assert (target.state, target.received_bytes) == ("applying", 100)


@pytest.mark.parametrize(
    "told", [{"state": "skipped"}, {"state": "done", "detail": "x" * 501}, {"state": "done", "received_bytes": -1}, {}]
)
def test_progress_that_makes_no_sense_is_refused_and_changes_nothing(agent, order, told):
    assert agent.say(order["target"], **told).status_code == 400
    assert RollOutTarget.objects.get().state == "waiting"


def test_a_cancelled_order_tells_the_agent_to_stop_unless_it_has_begun(agent, order):
    agent.say(order["target"], state="downloading")
    row = RollOutTarget.objects.get().roll_out
    rolling.cancel(row.pk, timezone.now())

    assert agent.say(order["target"], state="downloading").json() == {"go_on": False}
    assert (agent.order().status_code, RollOutTarget.objects.get().state) == (204, "skipped")


def test_an_order_that_was_replaced_is_gone_omf_40(agent, order):
    agent.say(order["target"], state="failed", detail="No.")
    drive(timezone.now())
    rolling.resume(RollOutTarget.objects.get().roll_out_id, timezone.now())

    assert agent.say(order["target"], state="done", version=NEW).status_code == 404


def test_during_the_patch_the_server_is_not_ready_and_the_first_report_with_the_new_version_ends_that_omf_38(
    agent, order, time_machine
):
    now = timezone.now()
    time_machine.move_to(now, tick=False)
    agent.say(order["target"], state="restarting")
    time_machine.move_to(now + timedelta(seconds=10), tick=False)

    during = agent.beat()
    time_machine.move_to(now + timedelta(seconds=20), tick=False)
    watch(timezone.now())
    still = agent.beat()
    time_machine.move_to(now + timedelta(seconds=30), tick=False)
    after = agent.beat(software_version=NEW)

    assert (during["todo"], still["status"]) == ([{"action": "apply_patch"}], "transition_to_offline")
    assert (after["status"], after["todo"], RollOutTarget.objects.get().state) == ("online", [], "done")
    assert ServerState.objects.get().has_order is False


def test_a_report_of_a_server_without_an_order_asks_for_none(agent, django_assert_num_queries):
    agent.beat()

    with django_assert_num_queries(2):
        agent.beat()


def test_an_agent_uploads_the_patch_it_applied_by_hand_omf_30(agent):
    send = {"content_type": "application/octet-stream", **agent.bearer}

    first = agent.client.generic("POST", "/api/v1/agent/patches", make_container(), **send)
    again = agent.client.generic("POST", "/api/v1/agent/patches/", make_container(), **send)
    spoilt = agent.client.generic("POST", "/api/v1/agent/patches", make_container()[:-1], **send)

    assert (first.status_code, again.status_code, again.json()) == (201, 200, first.json())
    assert Patch.objects.get().uploaded_from == agent.server
    assert outcome(spoilt) == (400, "/problems/patch-refused")
    assert spoilt.json()["errors"][0]["code"] == "wrong_size"


def test_a_full_disk_is_answered_with_507_and_what_to_do(agent, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    answer = agent.client.generic(
        "POST", "/api/v1/agent/patches", make_container(), content_type="application/octet-stream", **agent.bearer
    )

    assert outcome(answer) == (507, "/problems/disk-full")
    assert "Make room and try again" in answer.json()["detail"]
    assert list(patch_storage.directory().iterdir()) == []


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("", Part(0, 10)),
        ("bytes=0-", Part(0, 10)),
        ("bytes=3-5", Part(3, 6)),
        ("bytes=3-99", Part(3, 10)),
        ("bytes=-4", Part(6, 10)),
        ("bytes=-99", Part(0, 10)),
        ("bytes=10-", None),
        ("bytes=-0", None),
        ("bytes=5-3", Part(0, 10)),
        ("bytes=0-1,3-4", Part(0, 10)),
        ("lines=1-2", Part(0, 10)),
    ],
)
def test_a_range_gives_the_part_all_or_nothing(header, part):
    assert part_of(header, 10) == part


@pytest.mark.parametrize(("rate", "size"), [(None, 262_144), (1_000_000, 250_000), (1_000, 4_096), (10**9, 262_144)])
def test_a_piece_is_a_quarter_of_a_seconds_worth_within_bounds(rate, size):
    assert piece_size(rate) == size


def collect(path, part, caller, rate):
    async def all_of():
        return [piece async for piece in paced(path, part, caller, rate)]

    return run(all_of())


def test_a_stream_keeps_to_its_rate(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(60_000))

    began = time.monotonic()
    pieces = collect(path, Part(0, 60_000), 1, 100_000)

    assert sum(map(len, pieces)) == 60_000
    assert 0.4 < time.monotonic() - began < 2


def test_a_newer_stream_of_the_same_caller_ends_the_older(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(2**20))

    async def both():
        older = paced(path, Part(0, 2**20), 1, None)
        first = await anext(older)
        newer = [piece async for piece in paced(path, Part(0, 2**20), 1, None)]
        return len(first), [piece async for piece in older], sum(map(len, newer))

    assert run(both()) == (262_144, [], 2**20)


def test_an_order_of_nobody_is_none():
    assert orders.order_of(0) is None


@pytest.mark.parametrize("body", [b'{"state": "\\ud800"}', b'{"state": "done", "\\ud800": 1}'])
def test_half_a_character_in_what_an_agent_says_is_refused(agent, body):
    answer = agent.client.generic("POST", f"{ORDER}/1", body, content_type="application/json", **agent.bearer)

    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid")
