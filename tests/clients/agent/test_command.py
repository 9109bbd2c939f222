"""The agent's command line and the agent as a process (OMF-03, OMF-10, OMF-11, OMF-13, OMF-60)."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from booster_agent import processes
from booster_agent.command import service
from booster_agent.configuration import Address
from booster_agent.unit import unit_text
from tests.clients.agent.fake_booster import GOOD, HEARTBEAT, TOKEN, fake_booster
from tests.clients.agent.test_server import until
from tests.serving import free_port

PACKAGE = Path(__file__).parents[3] / "clients" / "agent"


def resident_mib(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Host:
    """A host with an agent's configuration, and commands given on it."""

    def __init__(self, home, *boosters, **parameters):
        self.home = home
        told = {
            "BOOSTER_IP": boosters[0].host,
            "BOOSTER_PORT": boosters[0].port,
            "BOOSTER_TLS": "off",
            "SERVER_KEY": "lyon",
            "AGENT_TOKEN": TOKEN,
            "STATE_DIR": home / "state",
            "SERVER_HOME": home,
            "SERVER_COMMAND": "sh -c 'echo started >>starts; exec sleep 60'",
            "LOCAL_PORT": 0,
        } | parameters
        if len(boosters) > 1:
            told |= {"SECOND_BOOSTER_IP": boosters[1].host, "SECOND_BOOSTER_PORT": boosters[1].port}
        self.file = home / "agent.conf"
        self.file.write_text("".join(f"{name}={value}\n" for name, value in told.items()))
        self.file.chmod(0o600)

    def say(self, command, *more):
        arguments = (sys.executable, "-m", "booster_agent", command, "--config", str(self.file), *more)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BOOSTER")}
        environment |= {
            "PYTHONPATH": f"{PACKAGE}:{PACKAGE.parent / 'reference_server'}",
            "XDG_CONFIG_HOME": str(self.home / "config"),
        }
        ran = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60, check=False)
        return ran.returncode, (ran.stdout + ran.stderr).strip()

    @property
    def agent(self):
        return processes.read_pid_file(self.home / "state" / "agent.pid")

    @property
    def server(self):
        return processes.read_pid_file(self.home / "state" / "server.pid")

    @property
    def log(self):
        return (self.home / "state" / "agent.log").read_text()

    def clean(self):
        processes.end(self.agent, within_s=2)
        processes.end(self.server, within_s=0, whole_group=True)


@pytest.fixture
def host(tmp_path, request):
    made = []

    def make(*boosters, **parameters):
        made.append(Host(tmp_path, *boosters, **parameters))
        return made[0]

    yield make
    for one in made:
        one.clean()


@pytest.mark.processes
def test_the_agent_starts_its_server_reports_and_leaves_it_running_when_it_is_stopped(host):
    """OMF-10, OMF-11"""
    with fake_booster() as booster:
        lyon = host(booster.address)

        assert lyon.say("status") == (3, "The agent of lyon does not run; the server does not run.")
        code, said = lyon.say("start")
        assert (code, said) == (0, f"The agent was started as process {lyon.agent.pid}.")
        until(lambda: any(told["ready"] for told in booster.said(HEARTBEAT)))
        server = lyon.server
        assert resident_mib(lyon.agent.pid) < 50
        assert lyon.say("start")[0] == 0
        assert lyon.say("status") == (0, f"The agent of lyon runs as process {lyon.agent.pid}; the server runs.")
        assert lyon.say("stop") == (0, "The agent was stopped; its server runs on.")
        assert lyon.say("status") == (3, "The agent of lyon does not run; the server runs.")

        lyon.say("start")
        until(lambda: lyon.agent)
        assert (lyon.server, (lyon.home / "starts").read_text()) == (server, "started\n")
        assert TOKEN[27:] not in lyon.log


@pytest.mark.processes
def test_an_agent_started_before_its_boosters_reports_as_soon_as_one_is_there_and_returns_to_the_primary(host):
    """OMF-13, OMF-17, OMF-60; the server's death and return are reported at once."""
    ports = free_port(), free_port()
    lyon = host(*(Address("127.0.0.1", port) for port in ports))
    lyon.say("start")
    assert until(lambda: lyon.server)
    with fake_booster(ports[1]) as secondary:
        secondary.answers["POST", HEARTBEAT] = (200, GOOD | {"next_interval_s": 1}, {})
        assert until(lambda: any(told["ready"] for told in secondary.said(HEARTBEAT)), 20)
        with fake_booster(ports[0]) as primary:
            assert until(lambda: primary.said(HEARTBEAT))
            os.kill(lyon.server.pid, signal.SIGKILL)
            assert until(lambda: [told["ready"] for told in primary.said(HEARTBEAT)][-1:] == [False])
            assert until(lambda: [told["ready"] for told in primary.said(HEARTBEAT)][-1:] == [True])
    lyon.say("stop")


@pytest.mark.processes
def test_a_wrong_parameter_stops_the_start_with_one_line(host):
    """OMF-03"""
    lyon = host(Address("127.0.0.1", 1), BOOSTER_PORT="70000")

    assert lyon.say("run") == (6, "booster-agent: BOOSTER_PORT must be a port from 1 to 65535, not '70000'.")


@pytest.mark.processes
def test_certificates_that_are_none_stop_the_start_with_one_line(host, tmp_path):
    """OMF-03"""
    (tmp_path / "ca.pem").write_text("nothing")
    lyon = host(Address("127.0.0.1", 1), BOOSTER_TLS="on", BOOSTER_CA_FILE=tmp_path / "ca.pem")

    status, said = lyon.say("run")

    assert (status, said.startswith("booster-agent: BOOSTER_CA_FILE holds no certificates:")) == (6, True)
    assert "\n" not in said


@pytest.mark.processes
@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs for another user")
def test_root_installs_no_agent_that_would_run_as_root(host):
    assert host(Address("127.0.0.1", 1)).say("install")[0] == 6


def test_the_unit_leaves_the_server_running_and_runs_as_an_ordinary_user():
    """OMF-11"""
    text = unit_text("/opt/agent/bin/python", Path('/etc/a "b".conf'), 1007)

    assert "User=1007\n" in text
    assert "KillMode=process\n" in text
    assert 'ExecStart="/opt/agent/bin/python" -m booster_agent run --config "/etc/a \\"b\\".conf"\n' in text
    assert "WantedBy=default.target" in unit_text("/usr/bin/python3", Path("/home/pos/agent.conf"), None)


def test_the_service_command_has_the_form_of_the_manual(tmp_path, capsys, monkeypatch):
    """OMF-11"""
    monkeypatch.setenv("BOOSTER_AGENT_CONFIG", str(Host(tmp_path, Address("127.0.0.1", 1)).file))

    assert service(["status"]) == 3
    assert capsys.readouterr().out == "The agent of lyon does not run; the server does not run.\n"
    with pytest.raises(SystemExit):
        service(["run"])


@pytest.mark.processes
def test_the_agent_needs_no_django():
    code = "import sys, booster_agent.agent, booster_agent.command; sys.exit('django' in sys.modules)"

    assert subprocess.run((sys.executable, "-c", code), env={"PYTHONPATH": str(PACKAGE)}, check=False).returncode == 0
