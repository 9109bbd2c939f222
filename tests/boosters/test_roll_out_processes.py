"""A roll-out through a pair of real nodes, whose acting one is killed in every phase, to real agents and servers."""

import os
import re
import signal
import sys
import time
from contextlib import contextmanager

import httpx
import pytest
from django.conf import settings
from django.utils import timezone

from booster_agent.configuration import Address
from boosters.patch_models import RollOut, RollOutTarget
from events.models import Event
from preferences.models import PreferenceValue
from servers.agent_tokens import issue_agent_token
from servers.models import ServerReport, ServerState
from tests.backing import own_redis
from tests.backoffice.processes import free_port, wait_for
from tests.boosters.makers import FILES, make_archive, make_container, write_keys
from tests.boosters.nodes import PairOfNodes, holder
from tests.clients.agent.test_command import Host
from tests.factories import make_server, make_tree, make_user_token

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.processes,
    pytest.mark.skipif(not os.environ.get("REDIS_URL"), reason="a pair needs PostgreSQL"),
]
TAKEOVER_BAR_S = 15
OLD, NEW = "1.1.0.0", "1.2.0.0"
PHASES = ["downloading", "backing-up", "applying", "restarting", "done"]
ORDER = ["near", "far", "central"]
"""Store servers before the main server, the highest priority number first (OMF-36)."""
HELD = 'while [ -e "$SERVER_HOME/hold-{}" ]; do sleep 0.1; done\n'
BACK_UP = "#!/bin/sh\n" + HELD.format("backup") + 'echo "$PATCH_VERSION" >>"$SERVER_HOME/backups"\n'
APPLY = (
    '#!/bin/sh\necho "$PATCH_VERSION" >>"$SERVER_HOME/applied"\n'
    + HELD.format("apply")
    + 'echo "$PATCH_VERSION" >"$SERVER_HOME/version"\n'
)
SERVE = "import sys; from reference_server.command import main; sys.exit(main())"
READY = (
    "import os, sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=2); "
    "sys.exit(os.path.exists('hold-ready'))"
)
RATE = 150_000
SIZE = 4 * RATE


@pytest.fixture
def keys(tmp_path):
    return write_keys(tmp_path / "patch_keys")


@pytest.fixture
def pair(tmp_path, keys):
    PreferenceValue.objects.create(key="heartbeat_interval_s", value="5")
    variables = {"TOKEN_DIGEST_KEY": settings.TOKEN_DIGEST_KEY, "BOOSTER_PATCH_KEYS": str(keys)}
    with own_redis() as redis, PairOfNodes(tmp_path, redis.url, **variables) as nodes:
        yield nodes


@pytest.fixture
def hosts(tmp_path, keys, pair):
    """Return a store's two servers and its main server, each with its agent's configuration, by name."""
    tree = make_tree(ACME=None, LYON="ACME")
    made = {}
    for name, priority in (("central", 30), ("far", 10), ("near", 20)):
        place = {} if name == "central" else {"server_type": "store", "organizations": [tree["LYON"]]}
        server = make_server(name, client=tree["ACME"], priority=priority, **place)
        home, port = tmp_path / name, free_port()
        home.mkdir()
        (home / "version").write_text(OLD)
        (home / "backup.sh").write_text(BACK_UP)
        made[name] = Host(
            home,
            *(Address("127.0.0.1", node.port) for node in pair.nodes),
            SERVER_KEY=server.key,
            AGENT_TOKEN=issue_agent_token(server.pk, timezone.now()).text,
            SERVER_COMMAND=f"{sys.executable} -c '{SERVE}' --key {server.key} --port {port}",
            READY_HOOK=f'{sys.executable} -c "{READY}" http://127.0.0.1:{port}/openbravo/ping',
            SERVER_VERSION_FILE=home / "version",
            BACKUP_COMMAND=f"sh {home / 'backup.sh'}",
            PATCH_KEYS=keys,
        )
    yield made
    for host in made.values():
        release(host, "backup", "apply", "ready")
        host.clean()


def test_a_roll_out_ends_well_though_the_acting_node_is_killed_in_each_of_its_phases(pair, hosts):
    """OMF-12, OMF-13, OMF-17, OMF-20, OMF-24, OMF-30, OMF-33, OMF-36, OMF-38, OMF-40, OMF-60"""
    figures = {}
    near, far = hosts["near"], hosts["far"]
    hold(near, "backup", "apply"), hold(far, "apply")
    start_agents_before_the_boosters(pair, hosts)
    unheard = {name: silences(host) for name, host in hosts.items()}
    roll_out(pair)

    with acting_node_killed(pair, figures, "near", "downloading"):
        pass
    bring_back(pair)
    with acting_node_killed(pair, figures, "near", "backing_up"):
        release(near, "backup")
    bring_back(pair)
    wait_for_phase("near", "applying")
    kill_the_agent(near)
    with acting_node_killed(pair, figures, "near", "applying"):
        release(near, "apply")
    bring_back(pair)
    hold(far, "ready")
    release(far, "apply")
    with acting_node_killed(pair, figures, "far", "restarting"):
        release(far, "ready")
    wait_for(lambda: RollOut.objects.get().state == "done", "the roll-out to end", 60)
    wait_for(lambda: online() == 3, "every server to be online")

    applied = {name: lines(host, "applied") for name, host in hosts.items()}
    twice = sum(len(versions) - 1 for versions in applied.values())
    lost = sum(silences(host) - unheard[name] for name, host in hosts.items()) + len(EXPECTED) - len(told())
    shown = {phase: f"{seconds:.1f} s" for phase, seconds in figures.items()}
    print(f"takeovers while {shown}, applied twice: {twice}, reports lost: {lost}")  # noqa: T201
    assert (applied, lost) == ({name: [NEW] for name in hosts}, 0)
    assert {name: lines(host, "backups") for name, host in hosts.items()} == {name: [NEW] for name in hosts}
    assert told() == EXPECTED
    assert dict(RollOutTarget.objects.values_list("server__name", "state")) == dict.fromkeys(hosts, "done")
    assert set(ServerReport.objects.values_list("software_version", flat=True)) == {NEW}
    assert max(figures.values()) <= TAKEOVER_BAR_S


EXPECTED = [(name, phase) for name in ORDER for phase in PHASES]


def start_agents_before_the_boosters(pair, hosts):
    for host in hosts.values():
        assert host.say("start")[0] == 0
    for node in pair.nodes:
        node.start()
    for node in pair.nodes:
        node.wait_until_ready()
    wait_for(lambda: holder() == "primary", "the primary to act")
    wait_for(lambda: online() == len(hosts), "every server to be online", 60)


def roll_out(pair):
    """Upload the patch and roll it out to all, as a program of the administrator does."""
    noise = os.urandom(SIZE)  # does not get smaller when packed
    container = make_container(make_archive({**FILES, "apply.sh": APPLY.encode(), "noise": noise}))
    with httpx.Client(
        base_url=pair.primary.url, headers={"Authorization": f"Bearer {make_user_token()}"}, timeout=20
    ) as client:
        binary = {"Content-Type": "application/octet-stream"}
        patch = client.post("/api/v1/patches/", content=container, headers=binary)
        assert patch.status_code == 201, patch.text
        begun = client.post("/api/v1/roll-outs/", json={"patch": patch.json()["id"], "bytes_per_s": RATE})
        assert begun.status_code == 201, begun.text


@contextmanager
def acting_node_killed(pair, figures, name, phase):
    """Kill the node that acts while a server is in a phase; note how long it takes until the other one acts."""
    wait_for_phase(name, phase)
    while True:
        wait_for(holder, "a node to act")
        acting = next(node for node in pair.nodes if node.name == holder())
        acting.signal(signal.SIGSTOP)  # so that it does not hand over at this very moment
        if holder() == acting.name:
            break
        acting.signal(signal.SIGCONT)
    assert RollOutTarget.objects.get(server__name=name).state == phase
    acting.kill()
    begun = time.monotonic()
    yield
    wait_for(lambda: holder() not in ("", acting.name), "the other node to act")
    figures[phase] = time.monotonic() - begun


def bring_back(pair):
    """Start the node that was killed."""
    for node in pair.nodes:
        if node.product is None:
            node.start().wait_until_ready()


def kill_the_agent(host):
    """Kill the agent while its patch's script runs, and start it again as systemd does."""
    os.kill(host.agent.pid, signal.SIGKILL)
    wait_for(lambda: host.agent is None, "the agent's end")
    assert host.say("start")[0] == 0


def hold(host, *steps):
    for step in steps:
        (host.home / f"hold-{step}").touch()


def release(host, *steps):
    for step in steps:
        (host.home / f"hold-{step}").unlink(missing_ok=True)


def wait_for_phase(name, phase):
    rows = RollOutTarget.objects.filter(server__name=name, state=phase)
    wait_for(rows.exists, f"{name} to be {phase}", 60)


def told():
    """Return what the servers went through, in order, as the Boosters recorded it."""
    rows = Event.objects.filter(kind__startswith="roll-out-server-").order_by("pk")
    return [(row.object_key, row.kind.removeprefix("roll-out-server-")) for row in rows]


def silences(host):
    """Return how often the agent found no Booster."""
    return len(re.findall("No Booster", host.log))


def online():
    return ServerState.objects.filter(status="online").count()


def lines(host, name):
    file = host.home / name
    return file.read_text().splitlines() if file.exists() else []
