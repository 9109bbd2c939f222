"""The command line: `booster-agent run|start|stop|status|install`, and the manual's `booster_agent_service`."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import logging
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from booster_agent import VERSION, processes
from booster_agent.configuration import TEXTS, Configuration, ParameterRefused, load
from booster_agent.unit import unit_text

OK, FAILED, NOT_CONFIGURED, NOT_RUNNING = 0, 1, 6, 3
"""Exit statuses as the LSB has them."""
STOPS_WITHIN_S = 20.0
STARTS_WITHIN_S = 10.0
CONFIGURATION_VARIABLE = "BOOSTER_AGENT_CONFIG"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return _main(_parser("booster-agent", ("run", "start", "stop", "restart", "status", "install")), arguments)


def service(arguments: Sequence[str] | None = None) -> int:
    """Run the command in the form of the manual: `booster_agent_service {start|stop|status}`."""
    return _main(_parser("booster_agent_service", ("start", "stop", "restart", "status")), arguments)


def _parser(name: str, commands: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=name,
        description="Starts a mobile server, reports its state to the Booster and keeps it up to date.",
        epilog="Parameters: " + "; ".join(f"{name}: {text}" for name, text in TEXTS.items()).replace("%", "%%"),
    )
    parser.add_argument("command", choices=commands)
    parser.add_argument(
        "--config",
        type=Path,
        default=os.environ.get(CONFIGURATION_VARIABLE) or None,
        help=f"file of NAME=value lines, mode 0600 (default: {CONFIGURATION_VARIABLE})",
    )
    parser.add_argument("--version", action="version", version=VERSION)
    return parser


def _main(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    asked = parser.parse_args(arguments)
    try:
        configuration = load(asked.config, os.environ)
        configuration.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except ParameterRefused as refusal:
        return _say(f"{parser.prog}: {refusal}", NOT_CONFIGURED)
    except OSError as error:
        return _say(f"{parser.prog}: STATE_DIR cannot be used: {error}", NOT_CONFIGURED)
    deeds: dict[str, Callable[[], int]] = {
        "run": lambda: run(configuration),
        "start": lambda: start(configuration, asked.config),
        "stop": lambda: stop(configuration),
        "restart": lambda: stop(configuration) or start(configuration, asked.config),
        "status": lambda: status(configuration),
        "install": lambda: install(configuration, asked.config),
    }
    return deeds[asked.command]()


def run(configuration: Configuration) -> int:
    """Be the agent, in the foreground, until SIGTERM or SIGINT."""
    from booster_agent.agent import Agent

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        lock = (configuration.state_dir / "agent.lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _say(f"booster-agent: an agent runs already in {configuration.state_dir}.", FAILED)
    except OSError as error:
        return _say(f"booster-agent: STATE_DIR cannot be used: {error}", NOT_CONFIGURED)
    try:
        agent = Agent(configuration)
    except ssl.SSLError as error:
        return _say(f"booster-agent: BOOSTER_CA_FILE holds no certificates: {error}", NOT_CONFIGURED)
    except OSError as error:
        return _say(f"booster-agent: STATE_DIR cannot be used: {error}", NOT_CONFIGURED)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop())
    if os.geteuid() == 0:
        logging.getLogger("booster-agent").warning(
            "The agent runs as root: give it, and its server, a user of its own."
        )
    identity = processes.identity_of(os.getpid())
    if identity is not None:
        processes.write_pid_file(_pid_file(configuration), identity)
    logging.getLogger("booster-agent").info(
        "The agent of %s runs; Boosters in order: %s.",
        configuration.server_key,
        ", ".join(map(str, configuration.boosters)),
    )
    agent.run()
    with contextlib.suppress(OSError):
        _pid_file(configuration).unlink()
    # Threads that wait for a Booster or a script end with the process; the journal knows how far they are.
    return OK


def start(configuration: Configuration, file: Path | None) -> int:
    """Start the agent in the background, unless it runs."""
    if (identity := processes.read_pid_file(_pid_file(configuration))) is not None:
        return _say(f"The agent runs already, as process {identity.pid}.", OK)
    command = [sys.executable, "-m", "booster_agent", "run", *(["--config", str(file.resolve())] if file else [])]
    with (configuration.state_dir / "agent.log").open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - this very program
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    deadline = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        if (identity := processes.read_pid_file(_pid_file(configuration))) is not None:
            return _say(f"The agent was started as process {identity.pid}.", OK)
        time.sleep(0.05)
    return _say(f"The agent did not start: see {configuration.state_dir / 'agent.log'}.", FAILED)


def stop(configuration: Configuration) -> int:
    """Stop the agent; its server runs on (OMF-11)."""
    identity = processes.read_pid_file(_pid_file(configuration))
    if identity is None:
        return _say("The agent does not run.", OK)
    if not processes.end(identity, within_s=STOPS_WITHIN_S):
        return _say(f"The agent's process {identity.pid} does not end.", FAILED)
    return _say("The agent was stopped; its server runs on.", OK)


def status(configuration: Configuration) -> int:
    """Say whether the agent and the server run: 0 if the agent does, 3 if not (OMF-11)."""
    from booster_agent.server import Server

    identity = processes.read_pid_file(_pid_file(configuration))
    server = Server(configuration)
    says = "runs" if server.is_running(at_once=True) else "does not run"
    if identity is None:
        return _say(f"The agent of {configuration.server_key} does not run; the server {says}.", NOT_RUNNING)
    return _say(f"The agent of {configuration.server_key} runs as process {identity.pid}; the server {says}.", OK)


def install(configuration: Configuration, file: Path | None) -> int:
    """Write a systemd unit: for the system as root, else for this user."""
    if file is None:
        return _say("booster-agent: install needs --config: the unit names the file.", NOT_CONFIGURED)
    is_root = os.geteuid() == 0
    if is_root and file.stat().st_uid == 0:
        return _say(
            f"booster-agent: the agent runs as the ordinary user who owns {file}, which is root's now: "
            "give the file to that user (chown).",
            NOT_CONFIGURED,
        )
    directory = Path("/etc/systemd/system") if is_root else _user_units()
    user = file.stat().st_uid if is_root else None
    path = directory / "booster-agent.service"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        path.write_text(unit_text(sys.executable, file.resolve(), user))
    except OSError as error:
        return _say(f"booster-agent: {path} cannot be written: {error}", FAILED)
    scope = "" if is_root else "--user "
    return _say(f"{path} was written. Now: systemctl {scope}enable --now booster-agent", OK)


def _user_units() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "systemd" / "user"


def _pid_file(configuration: Configuration) -> Path:
    return configuration.state_dir / "agent.pid"


def _say(text: str, status: int) -> int:
    print(text, file=sys.stdout if status in (OK, NOT_RUNNING) else sys.stderr)
    return status
