"""The systemd unit of the agent."""

from __future__ import annotations

from pathlib import Path


def unit_text(python: str, configuration: Path, user: int | None) -> str:
    """Return the unit; `user` is the number of the ordinary user it runs as, None in that user's own systemd.

    `KillMode=process` leaves the server running when the agent is stopped (OMF-11).
    """
    runs_as = "" if user is None else f"User={user}\n"
    wanted_by = "default.target" if user is None else "multi-user.target"
    return f"""[Unit]
Description=Booster Agent
After=network-online.target
Wants=network-online.target

[Service]
{runs_as}ExecStart="{_escaped(python)}" -m booster_agent run --config "{_escaped(str(configuration))}"
Restart=always
RestartSec=5
KillMode=process
NoNewPrivileges=yes
UMask=0077

[Install]
WantedBy={wanted_by}
"""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
