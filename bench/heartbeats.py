"""Agents' reports beside requests to an empty view."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from bench.load import granian, print_rates, requests_per_s

ORGANIZATIONS, SERVERS, SERVICES = 100, 200, 20
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


def measure() -> dict[str, dict[str, float]]:
    """Return heartbeats per second beside requests to an empty view.

    The agents take turns, since each may only report so often.
    """
    from bench.configurations import agent_tokens, refill

    refill(ORGANIZATIONS, SERVERS, SERVICES)
    rates: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        for what, observed in (("a steady heartbeat", 0), ("a heartbeat on 20 servers", 20)):
            asking = Path(directory) / "asking.lua"
            asking.write_text(script(agent_tokens(), observed))
            rates[what] = {}
            for kind, application in (("heartbeat", "backoffice.asgi"), ("empty", "bench.empty")):
                with granian(f"{application}:application") as address:
                    requests_per_s(address + PATH, {}, script=str(asking), seconds=8)  # first reports change states
                    rates[what][kind] = requests_per_s(address + PATH, {}, script=str(asking))
    print_rates("heartbeat", "empty", rates)
    return rates
