"""The agent's side of roll-outs, against a Booster of a few lines and with real scripts."""

import hashlib
import os
import signal
import subprocess
import sys
import time

import pytest

from booster_agent import processes
from booster_agent.calling import Boosters
from booster_agent.download import BrokeOff
from booster_agent.files import read_json
from booster_agent.patching import Patching
from booster_agent.reports import report
from booster_agent.server import Server
from booster_agent.tokens import Caller, Tokens
from booster_agent.uploads import pass_on
from tests.boosters.makers import make_archive, make_container, write_keys
from tests.clients.agent.fake_booster import HEARTBEAT, ORDER, TOKEN, fake_booster, make_configuration

OLD, NEW = "1.1.0.0", "1.2.0.0"
FILE = "/api/v1/agent/patches/4/file"
UPLOAD = "/api/v1/agent/patches"
APPLY = 'echo "$BOOSTER_SERVER_KEY $PATCH_VERSION" >>"$SERVER_HOME/applied"; echo 1.2.0.0 >"$SERVER_HOME/version"\n'
REVERT = 'echo reverted >>"$SERVER_HOME/applied"; echo 1.1.0.0 >"$SERVER_HOME/version"\n'


def make_patch_file(apply=APPLY, **claims):
    scripts = {"apply.sh": apply, "revert.sh": REVERT}
    packed = {name: f"#!/bin/sh\n{text}".encode() for name, text in scripts.items()}
    return make_container(make_archive(packed), **claims)


class Site:
    """A host with a server, an agent's part for patches, and the Booster it calls."""

    def __init__(self, home, booster):
        self.home, self.booster = home, booster
        (home / "version").write_text(f"{OLD}\n")
        self.keys = write_keys(home / "keys")
        self.changes = {}

    def configuration(self):
        return make_configuration(
            self.home,
            self.booster.address,
            **{
                "server_command": ("sleep", "60"),
                "version_file": self.home / "version",
                "backup_command": ("sh", "-c", "echo backed up >>backups"),
                "patch_keys": self.keys,
                "restart_timeout_s": 10,
            }
            | self.changes,
        )

    def patching(self, **changes):
        """Return the agent's part as a newly started agent has it."""
        configuration = self.configuration()
        tokens = Tokens(self.home / "token.json", TOKEN, 0.0)
        caller = Caller(Boosters(configuration.boosters, uses_tls=False), tokens)
        self.caller = caller
        self.server = Server(configuration)
        return Patching(configuration, caller, self.server, poll_s=0.02, settle_s=0.2, **changes)

    def order(self, content, *, target=17, step="apply", version=NEW, **patch):
        told = {
            "id": 4,
            "name": "Summer release",
            "version": version,
            "fits_from": OLD,
            "fits_to": NEW,
            "size_bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "file": FILE,
            "rate_bytes_per_s": None,
        } | patch
        self.booster.answers["GET", ORDER] = (
            200, {"target": target, "step": step, "patch": told, "timeout_s": 600}, {},
        )  # fmt: skip
        self.booster.answers["POST", f"{ORDER}/{target}"] = (200, {"go_on": True}, {})
        self.booster.answers["GET", FILE] = lambda call: ranged(content, call)

    def said(self, target=17):
        """Return the states told, each once, and the last word."""
        told = self.booster.said(f"{ORDER}/{target}")
        return list(dict.fromkeys(word["state"] for word in told)), told[-1]

    @property
    def applied(self):
        file = self.home / "applied"
        return file.read_text().splitlines() if file.exists() else []


def ranged(content, call):
    begins = int(call.headers["range"].removeprefix("bytes=").removesuffix("-")) if "range" in call.headers else 0
    return (206 if begins else 200), content[begins:], {}


@pytest.fixture
def site(tmp_path):
    with fake_booster() as booster:
        yield Site(tmp_path, booster)
    processes.end(processes.read_pid_file(tmp_path / "server.pid"), within_s=0, whole_group=True)


def test_a_patch_is_backed_up_applied_once_and_told_with_the_new_version(site):
    """OMF-35, OMF-37, OMF-38"""
    site.order(make_patch_file())
    patching = site.patching()
    site.server.keep_running()
    before = site.server.identity

    assert patching.work()

    states, last = site.said()
    assert states == ["downloading", "backing_up", "applying", "restarting", "done"]
    assert last == {"state": "done", "detail": "", "version": NEW}
    assert (site.applied, (site.home / "backups").read_text()) == ([f"lyon {NEW}"], "backed up\n")
    assert not processes.is_running(before)
    assert site.server.is_running()
    assert list((site.home / "patch").iterdir()) == []


def test_the_same_order_asked_again_is_told_again_and_not_done_again(site):
    """OMF-40"""
    site.order(make_patch_file())
    site.patching().work()

    site.patching().work()

    assert site.applied == [f"lyon {NEW}"]
    assert [word["state"] for word in site.booster.said(f"{ORDER}/17")][-2:] == ["done", "done"]


def test_no_order_is_nothing_to_do(site):
    site.booster.answers["GET", ORDER] = (204, b"", {})

    assert not site.patching().work()


@pytest.mark.parametrize(
    ("content", "told", "said"),
    [
        (make_patch_file()[:-1] + b"!", {}, "SHA-256 of the archive is not the signed one"),
        (make_patch_file()[:-9], {}, "was cut short"),
        (make_patch_file(), {"sha256": "0" * 64}, "SHA-256 is not the ordered one"),
        (make_patch_file() + b"more", {"size_bytes": len(make_patch_file())}, "larger than the ordered"),
        (make_patch_file(fits_from="1.1.5.0"), {}, f"The patch fits 1.1.5.0 to 1.2.0.0, and {OLD} is installed"),
        (make_patch_file(version="1.2.0.1"), {}, "The file is the patch to 1.2.0.1, and 1.2.0.0 was ordered"),
        (make_patch_file(key_id="stranger"), {}, "signed with the key 'stranger'"),
    ],
)
def test_a_file_that_is_not_as_ordered_and_signed_is_failed_and_nothing_is_touched(site, content, told, said):
    """OMF-32, OMF-35"""
    site.order(content, **told)

    site.patching().work()

    states, last = site.said()
    assert (states, last["state"]) == (["downloading", "failed"], "failed")
    assert said in last["detail"]
    assert (site.applied, (site.home / "backups").exists()) == ([], False)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ((), "BACKUP_COMMAND of the agent is not set"),
        (("sh", "-c", "echo tape is full; exit 3"), "BACKUP_COMMAND ended with 3: tape is full"),
        (("/nowhere/backup",), "it cannot be started"),
    ],
)
def test_without_a_good_backup_nothing_is_applied(site, command, said):
    """OMF-37"""
    site.changes = {"backup_command": command}
    site.order(make_patch_file())

    site.patching().work()

    states, last = site.said()
    assert states == ["downloading", "backing_up", "failed"]
    assert said in last["detail"]
    assert site.applied == []


def test_a_full_disk_is_told_with_what_is_needed_before_anything_is_touched(site):
    site.order(make_patch_file())

    site.patching(free=lambda folder: 5 * 2**20).work()

    assert site.said()[1]["detail"].startswith(f"There is no room: {site.home}/patch has 5 MB free, and 64 MB are")
    assert site.applied == []


def test_a_disk_that_is_full_while_it_is_written_is_told_too(site, monkeypatch):
    import errno

    def full(*_):
        raise PatchRefusedByDisk(errno.ENOSPC, "No space left on device")

    class PatchRefusedByDisk(OSError):
        pass

    site.order(make_patch_file())
    monkeypatch.setattr("booster_agent.container._take_out", full)

    site.patching().work()

    assert "No space left on device" in site.said()[1]["detail"]
    assert (site.said()[0], site.applied) == (["downloading", "failed"], [])


def test_a_script_that_fails_is_told_with_its_last_words_and_the_server_runs_on(site):
    site.order(make_patch_file('echo "table pos_ticket is locked" >&2; exit 4\n'))
    patching = site.patching()
    site.server.keep_running()
    before = site.server.identity

    patching.work()

    states, last = site.said()
    assert states == ["downloading", "backing_up", "applying", "failed"]
    assert "script apply.sh ended with 4: table pos_ticket is locked" in last["detail"]
    assert site.server.identity == before
    assert patching.installed_version() == OLD


def test_a_script_that_hangs_is_ended(site):
    site.changes = {"patch_timeout_s": 0.3}
    site.order(make_patch_file("sleep 60\n"))

    site.patching().work()

    assert "took more than 0.3 s" in site.said()[1]["detail"]


def test_a_server_that_does_not_come_back_is_told(site):
    """OMF-38"""
    site.changes = {"server_command": ("sleep", "0.05"), "restart_timeout_s": 0.5}
    site.order(make_patch_file())

    site.patching().work()

    states, last = site.said()
    assert states[-2:] == ["restarting", "failed"]
    assert "The server is not back 0.5 s after the patch: it does not run." in last["detail"]


def test_a_server_that_comes_back_with_its_old_version_is_told(site):
    """OMF-38"""
    site.changes = {"restart_timeout_s": 0.5}
    site.order(make_patch_file("exit 0\n"))

    site.patching().work()

    assert f"it tells the version '{OLD}'" in site.said()[1]["detail"]


def test_a_patch_is_taken_back_with_its_own_script(site):
    site.order(make_patch_file())
    site.patching().work()
    site.order(make_patch_file(), target=18, step="roll_back")

    site.patching().work()

    states, last = site.said(18)
    assert (states[-1], last["version"]) == ("done", OLD)
    assert site.applied == [f"lyon {NEW}", "reverted"]


def test_a_patch_without_a_way_back_says_so(site):
    site.order(make_patch_file(revert=None), step="roll_back")

    site.patching().work()

    assert "no script that takes it back" in site.said()[1]["detail"]


def test_a_cancelled_order_is_left_before_anything_was_changed(site):
    site.order(make_patch_file())
    site.booster.answers["POST", f"{ORDER}/17"] = (200, {"go_on": False}, {})

    site.patching().work()

    assert (site.applied, (site.home / "backups").exists(), (site.home / "order.json").exists()) == ([], False, False)


def test_a_download_that_broke_off_goes_on_where_it_stopped_also_after_a_restart(site):
    content = make_patch_file()
    site.order(content)
    site.booster.answers["GET", FILE] = (200, content[:100], {"Content-Length": str(len(content))})
    with pytest.raises((BrokeOff, Exception)):
        site.patching().work()
    site.booster.answers["GET", FILE] = lambda call: ranged(content, call)

    site.patching().work()

    assert [call.headers.get("range") for call in site.booster.asked(FILE)] == [None, "bytes=100-"]
    assert site.said()[1]["state"] == "done"


def test_the_end_of_an_order_is_kept_until_a_booster_has_taken_it_in(site):
    """OMF-17"""
    site.order(make_patch_file())
    taken = site.booster.answers["POST", f"{ORDER}/17"]
    site.booster.answers["POST", f"{ORDER}/17"] = lambda call: (500, {}, {}) if call.body["state"] == "done" else taken
    with pytest.raises(Exception, match="it answers 500"):
        site.patching().work()
    site.booster.answers["POST", f"{ORDER}/17"] = taken

    again = site.patching()
    was_at_work = again.is_at_work
    again.work()

    assert (was_at_work, again.is_at_work, site.applied) == (True, False, [f"lyon {NEW}"])
    assert site.booster.said(f"{ORDER}/17")[-1]["state"] == "done"


def test_while_it_is_patched_a_server_reports_its_old_version_and_that_it_is_not_ready(site):
    """OMF-38"""
    site.order(make_patch_file())
    seen = []

    def note(call):
        if call.body["state"] == "restarting":
            told = report("lyon", site.server, patching, is_running=True, moment=0.0)
            seen.append((told["software_version"], told["ready"], told["cause"]))
        return 200, {"go_on": True}, {}

    site.booster.answers["POST", f"{ORDER}/17"] = note
    patching = site.patching()
    patching.work()
    after = report("lyon", site.server, patching, is_running=True, moment=0.0)

    assert seen[0] == (OLD, False, f"The patch to {NEW}: restarting.")
    assert (after["software_version"], after["ready"]) == (NEW, True)


WORKER = """
import sys
from pathlib import Path
from tests.clients.agent.test_patching import Site
from tests.clients.agent.fake_booster import FakeBooster
from booster_agent.configuration import Address
site = Site.__new__(Site)
site.home, site.changes = Path(sys.argv[1]), {}
site.booster = FakeBooster(Address("127.0.0.1", int(sys.argv[2])))
site.keys = site.home / "keys"
patching = site.patching()
while not patching.work():
    pass
"""


def start_worker(site):
    environment = os.environ | {"PYTHONPATH": "clients/agent", "DJANGO_SETTINGS_MODULE": ""}
    arguments = (sys.executable, "-c", WORKER, str(site.home), str(site.booster.address.port))
    return subprocess.Popen(arguments, env=environment, stderr=subprocess.DEVNULL)


@pytest.mark.processes
@pytest.mark.parametrize("phase", ["downloading", "backing_up", "applying", "applied", "restarting", "done"])
def test_an_agent_killed_at_any_point_goes_on_and_never_applies_a_patch_twice(site, phase):
    """OMF-40"""
    slow = 'echo began >>"$SERVER_HOME/began"; sleep 0.6; ' + APPLY
    site.order(make_patch_file(slow))
    reached = {"applied": "applying"}.get(phase, phase)

    def seen():
        if phase == "applied":
            return bool(site.applied)
        return read_json(site.home / "order.json").get("phase") == reached

    worker = start_worker(site)
    deadline = time.monotonic() + 20
    while not seen() and worker.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    worker.send_signal(signal.SIGKILL)
    worker.wait()

    again = site.patching()
    again.work()

    assert site.said()[1] == {"state": "done", "detail": "", "version": NEW}
    assert site.applied == [f"lyon {NEW}"]
    assert (site.home / "began").read_text() == "began\n"
    assert site.server.is_running()


def test_a_script_that_nobody_saw_the_end_of_is_not_run_again(site):
    """OMF-40"""
    site.order(make_patch_file("sleep 0.3; kill -9 $PPID; sleep 0.1\n"))

    site.patching().work()

    detail = site.said()[1]["detail"]
    assert "The agent was interrupted while the patch's script ran" in detail
    assert site.applied == []


# --- A patch applied by hand ---


def test_a_patch_applied_by_hand_is_passed_on_once(site):
    """OMF-30"""
    folder = site.home / "by-hand"
    folder.mkdir()
    (folder / "one.bpatch").write_bytes(make_patch_file())
    (folder / "other.bpatch").write_bytes(make_patch_file(version="1.1.5.0", fits_to="1.1.5.0"))
    site.changes = {"patch_folder": folder}
    site.booster.answers["POST", UPLOAD] = (201, {}, {})
    patching = site.patching()

    pass_on(site.configuration(), site.caller, patching, 0.0)
    assert site.booster.asked(UPLOAD) == []
    (site.home / "version").write_text(NEW)
    for _ in range(2):
        pass_on(site.configuration(), site.caller, patching, 0.0)

    sent = site.booster.asked(UPLOAD)
    assert [(call.headers["x-file-name"], call.body) for call in sent] == [("one.bpatch", make_patch_file())]
    assert HEARTBEAT not in [call.path for call in site.booster.calls]
