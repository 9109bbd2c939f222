"""What an agent needs while nothing happens: memory and processor time of one that supervises a server."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SETTLES_WITHIN_S = 30
IDLE_S = 60
MOST_MIB = 50
PACKAGE = Path(__file__).parents[1] / "clients" / "agent"


def measure() -> dict[str, float]:
    """Return MiB and milliseconds of processor time per minute of an idle agent; heartbeats are every 30 s."""
    sys.path.insert(0, str(PACKAGE))
    from tests.clients.agent.fake_booster import HEARTBEAT, TOKEN, fake_booster

    with tempfile.TemporaryDirectory() as home, fake_booster() as booster:
        configured = {
            "BOOSTER_IP": booster.address.host,
            "BOOSTER_PORT": str(booster.address.port),
            "BOOSTER_TLS": "off",
            "SERVER_KEY": "lyon",
            "AGENT_TOKEN": TOKEN,
            "STATE_DIR": home,
            "SERVER_COMMAND": "sleep 600",
            "LOCAL_PORT": "5170",
        }
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PACKAGE), **configured}
        with (Path(home) / "log").open("wb") as log:
            agent = subprocess.Popen((sys.executable, "-m", "booster_agent", "run"), env=environment, stderr=log)
        server = 0
        try:
            deadline = time.monotonic() + SETTLES_WITHIN_S
            while not any(told["ready"] for told in booster.said(HEARTBEAT)) and time.monotonic() < deadline:
                time.sleep(0.2)
            server = int((Path(home) / "server.born").read_text())
            time.sleep(5)
            before = _cpu_ms(agent.pid)
            time.sleep(IDLE_S)
            measured = {
                "resident MiB": _resident_mib(agent.pid),
                "processor ms per minute": (_cpu_ms(agent.pid) - before) * 60 / IDLE_S,
            }
        finally:
            agent.terminate()
            agent.wait(20)
            if server:
                os.kill(server, 15)
    print("\nan idle agent")
    for what, value in measured.items():
        print(f"{what:36}{value:>12.1f}")
    print(f"at most {MOST_MIB} MiB: {'yes' if measured['resident MiB'] < MOST_MIB else 'NO'}")
    return measured


def _resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _cpu_ms(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")
