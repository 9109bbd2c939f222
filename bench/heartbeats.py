"""The calls of agents, for wrk."""

from __future__ import annotations

import json

PATH = "/api/v1/agent/heartbeat"


def script(tokens: list[str], observed: int) -> str:
    """Return the Lua by which wrk lets the bearers of `tokens` report in turn."""
    report = {
        "software_version": "26.2",
        "modules": [{"name": f"org.example.module{number}", "version": "3.1.4"} for number in range(20)],
        "ready": True,
        "pending": 0,
        "host_name": "lyon-1",
        "os": "Debian 13",
        "observed": [{"key": f"server{number:04}", "reachable": True} for number in range(observed)],
    }
    listed = ", ".join(f'"{token}"' for token in tokens)
    return (
        f"local tokens = {{{listed}}}\n"
        f"local body = [[{json.dumps(report)}]]\n"
        "local turn = 0\n"
        "request = function()\n"
        "  turn = turn % #tokens + 1\n"
        '  local headers = {["Authorization"] = "Bearer " .. tokens[turn], ["Content-Type"] = "application/json"}\n'
        '  return wrk.format("POST", nil, headers, body)\n'
        "end\n"
    )
