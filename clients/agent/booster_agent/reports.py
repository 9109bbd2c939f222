"""What the agent reports of its server."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from booster_agent.configuration import own_host_name
from booster_agent.patching import Patching
from booster_agent.server import Server


def report(key: str, server: Server, patching: Patching, *, is_running: bool, moment: float) -> dict[str, Any]:
    """Return the heartbeat's body: the state of the server now. Source: OMF-14, docs/agents.md."""
    away = patching.away()
    ready, cause = server.readiness() if is_running else (False, "The server does not run.")
    if away is not None:
        ready, cause = False, away[1]
    return {
        "key": key,
        "software_version": patching.installed_version() if away is None else away[0],
        "modules": server.modules(),
        "ready": ready,
        "pending": server.pending() if is_running else 0,
        "cause": cause[:255],
        "host_name": own_host_name(),
        "os": operating_system(),
        "observed": [],
        "sent_at": datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def operating_system() -> str:
    """Return the name of the operating system, as people know it."""
    try:
        for line in Path("/etc/os-release").read_text().splitlines():
            name, _, value = line.partition("=")
            if name == "PRETTY_NAME":
                return value.strip('"')[:120]
    except OSError:
        pass
    return f"{platform.system()} {platform.release()}"[:120]
