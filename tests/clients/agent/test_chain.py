"""Three agents with reference servers: a patch applied by hand on one reaches all others (OMF-30, OMF-34, OMF-40)."""

import os
import signal
import sys
import time

import pytest
from django.utils import timezone

from booster_agent.configuration import Address
from booster_agent.files import read_json
from boosters.driver import drive
from boosters.patch_models import Patch, RollOut, RollOutTarget
from preferences.models import PreferenceValue
from servers.agent_tokens import issue_agent_token
from servers.models import ServerReport, ServerState
from tests import serving
from tests.boosters.makers import make_archive, make_container
from tests.clients.agent.test_command import Host
from tests.factories import make_server, make_tree
from tests.serving import free_port, web_server

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.processes,
    pytest.mark.usefixtures("patch_home"),
]
OLD, NEW = "1.1.0.0", "1.2.0.0"
APPLY = b"""#!/bin/sh
echo began >>"$SERVER_HOME/began"; sleep 1
echo "$PATCH_VERSION" >>"$SERVER_HOME/applied"; echo 1.2.0.0 >"$SERVER_HOME/version"
"""
SERVE = "import sys; from reference_server.command import main; sys.exit(main())"
PING = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=2)"


@pytest.fixture
def booster(settings):
    PreferenceValue.objects.create(key="heartbeat_interval_s", value="5")
    environment = {
        "DATABASE_URL": serving.test_database_url(),
        "SECRET_KEY": settings.SECRET_KEY,
        "TOKEN_DIGEST_KEY": settings.TOKEN_DIGEST_KEY,
        "BOOSTER_PATCH_KEYS": settings.BOOSTER_PATCH_KEYS,
    }
    with web_server(settings.DATA_DIR, **environment) as client:
        yield Address("127.0.0.1", client.base_url.port)


@pytest.fixture
def chain(settings, tmp_path, booster):
    """Return the hosts of three stores, each with a reference server that its agent has started."""
    codes = ("LYON", "NICE", "OSLO")
    tree = make_tree(ACME=None, **dict.fromkeys(codes, "ACME"))
    hosts = {}
    for code in codes:
        server = make_server(code.lower(), client=tree["ACME"], organizations=[tree[code]], server_type="store")
        home, port = tmp_path / code, free_port()
        home.mkdir()
        (home / "by-hand").mkdir()
        (home / "version").write_text(OLD)
        hosts[server.key] = Host(
            home,
            booster,
            SERVER_KEY=server.key,
            AGENT_TOKEN=issue_agent_token(server.pk, timezone.now()).text,
            SERVER_COMMAND=f"{sys.executable} -c '{SERVE}' --key {server.key} --port {port}",
            READY_HOOK=f"{sys.executable} -c '{PING}' http://127.0.0.1:{port}/openbravo/ping",
            SERVER_VERSION_FILE=home / "version",
            BACKUP_COMMAND="true",
            PATCH_KEYS=settings.BOOSTER_PATCH_KEYS,
            PATCH_FOLDER=home / "by-hand",
        )
    yield hosts
    for host in hosts.values():
        host.clean()


def until(told, within_s=60.0):
    """Drive roll-outs as the acting node does, until it is so."""
    deadline = time.monotonic() + within_s
    while not (value := told()) and time.monotonic() < deadline:
        drive(timezone.now())
        time.sleep(0.1)
    return value


def versions():
    return set(ServerReport.objects.values_list("software_version", flat=True))


def online():
    return ServerState.objects.filter(status="online").count()


def test_a_patch_applied_on_one_server_reaches_the_others_though_an_agent_is_killed_as_it_applies_it(chain):
    """OMF-30, OMF-34, OMF-38, OMF-40"""
    for host in chain.values():
        host.say("start")
    assert until(lambda: online() == 3), [host.log for host in chain.values()]

    lyon = chain["lyon"]
    (lyon.home / "by-hand" / "summer.bpatch").write_bytes(
        make_container(make_archive({"apply.sh": APPLY}), revert=None)
    )
    (lyon.home / "version").write_text(NEW)
    assert until(Patch.objects.exists), lyon.log
    nice = chain["nice"]
    assert until(lambda: read_json(nice.home / "state" / "order.json").get("phase") == "applying")
    os.kill(nice.agent.pid, signal.SIGKILL)
    nice.say("start")

    assert until(lambda: RollOut.objects.filter(state="done").exists()), [host.log for host in chain.values()]
    assert dict(RollOutTarget.objects.values_list("server__key", "state")) == {"nice": "done", "oslo": "done"}
    assert until(lambda: online() == 3 and versions() == {NEW}), [host.log for host in chain.values()]
    assert [lines(host, "applied") for host in chain.values()] == [[], [NEW], [NEW]]
    assert [lines(host, "began") for host in chain.values()] == [[], ["began"], ["began"]]
    drive(timezone.now())
    assert RollOut.objects.count() == 1


def lines(host, name):
    file = host.home / name
    return file.read_text().splitlines() if file.exists() else []
