"""The server beside the agent: started once, left alone, restarted (OMF-10, OMF-11)."""

import os
import signal
import sys
import time

import pytest

from booster_agent import processes
from booster_agent.server import Server
from tests.clients.agent.fake_booster import make_configuration

COUNTED = "echo started >>starts; exec sleep 60"


def until(told, within_s=10.0):
    deadline = time.monotonic() + within_s
    while not (value := told()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return value


@pytest.fixture
def home(tmp_path):
    yield tmp_path
    processes.end(processes.read_pid_file(tmp_path / "server.pid"), within_s=0, whole_group=True)


def make_server(home, command=COUNTED, **changes):
    return Server(make_configuration(home, server_command=("/bin/sh", "-c", command), **changes))


def starts(home):
    return (home / "starts").read_text().count("started") if (home / "starts").exists() else 0


def test_a_server_that_does_not_run_is_started_and_no_other_agent_starts_it_twice(home):
    """OMF-10"""
    make_server(home).keep_running()
    until(lambda: starts(home))
    second = make_server(home)

    assert second.keep_running()
    time.sleep(0.1)
    assert starts(home) == 1


def test_a_server_whose_start_could_not_be_noted_any_more_is_found_and_not_started_twice(home):
    """OMF-10: killed between the start and the pid file."""
    make_server(home).keep_running()
    until(lambda: starts(home))
    pid = processes.read_pid_file(home / "server.pid").pid
    (home / "server.pid").unlink()

    assert make_server(home).keep_running()
    assert (starts(home), processes.read_pid_file(home / "server.pid").pid) == (1, pid)


def test_a_server_that_something_else_started_is_left_alone(home):
    """OMF-10"""
    (home / "up").touch()
    server = make_server(home, server_status_command=("test", "-e", str(home / "up")))

    assert server.keep_running()
    assert starts(home) == 0


def test_a_number_that_another_process_has_by_now_is_not_taken_for_the_server(home):
    """OMF-10"""
    own = processes.identity_of(os.getpid())
    processes.write_pid_file(home / "server.pid", processes.Identity(own.pid, "1", own.boot))

    assert make_server(home).identity is None


def test_a_server_that_dies_is_started_again(home):
    """OMF-10"""
    server = make_server(home)
    server.keep_running()
    until(lambda: starts(home))
    first = server.identity
    os.kill(first.pid, signal.SIGKILL)

    assert until(lambda: server.keep_running() and server.identity not in (first, None))
    until(lambda: starts(home) == 2)
    assert starts(home) == 2


def test_a_restart_ends_the_old_process_and_starts_one_new(home):
    server = make_server(home)
    server.keep_running()
    until(lambda: starts(home))
    first = server.identity

    assert server.restart() == ""
    assert not processes.is_running(first)
    assert server.is_running()
    assert until(lambda: starts(home) == 2)


def test_a_command_that_cannot_be_started_is_logged_and_tried_again(home, caplog):
    configuration = make_configuration(home, server_command=("true",), server_home=home / "missing")

    assert not Server(configuration).keep_running()
    assert "The server cannot be started" in caplog.text


def test_what_a_server_tells_of_itself_is_reported(home):
    (home / "version").write_text("1.1.0.0\nnot this\n")
    (home / "modules.json").write_text('[{"name": "org.example.pos", "version": "3.1"}]')
    server = make_server(
        home,
        version_file=home / "version",
        modules_file=home / "modules.json",
        pending_hook=("echo", "12"),
        ready_hook=("sh", "-c", "echo two of three hooks; exit 1"),
    )

    assert (server.version(), server.modules(), server.pending(), server.readiness()) == (
        "1.1.0.0",
        [{"name": "org.example.pos", "version": "3.1"}],
        12,
        (False, "READY_HOOK ended with 1: two of three hooks"),
    )


@pytest.mark.parametrize("content", ["[1]", "{", '{"a": 1}', "null"])
def test_modules_that_cannot_be_read_are_none(home, content):
    (home / "modules.json").write_text(content)

    assert make_server(home, modules_file=home / "modules.json").modules() == []


def test_what_a_hook_says_never_makes_a_report_that_is_refused(home):
    (home / "modules.json").write_text('[{"name": "a\\u0000b", "version": 3}, {"name": " "}]')
    server = make_server(home, modules_file=home / "modules.json")

    assert server.modules() == [{"name": "a?b", "version": "3"}]
    assert processes.words(b"\x00\x1b[31mno\xff") == "??[31mno\ufffd"


def test_a_hook_that_hangs_is_ended_with_all_it_started(home):
    server = make_server(home, ready_hook=("sh", "-c", "sleep 60 & sleep 60"), hook_timeout_s=0.2)
    began = time.monotonic()

    ready, cause = server.readiness()

    assert (ready, cause) == (False, "READY_HOOK did not end: it took more than 0.2 s.")
    assert time.monotonic() - began < 5


def test_commands_do_not_see_the_token(home, monkeypatch):
    monkeypatch.setenv("AGENT_TOKEN", "secret")

    ran = processes.run(
        (sys.executable, "-c", "import os; print('AGENT_TOKEN' in os.environ)"), folder=home, within_s=9
    )

    assert (ran.status, ran.words) == (0, "False")
