"""The largest chain in one process, and how a change and a revocation arrive at full load."""

from __future__ import annotations

import http.client
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from django.utils import timezone

from backoffice.credentials import parse_credential
from bench.configurations import analyze, more_terminals, refill, terminal_tokens
from bench.load import LOAD_CORE, granian, pinned, rss_mb
from bench.polling import CONFIGURATION, fetch
from bench.terminals import Terminals
from routing.revision import announce_now
from servers.models import MobileServer
from terminals.models import TerminalToken

ORGANIZATIONS, SERVERS, SERVICES = 10_000, 1_000, 200
TERMINALS_PER_STORE = 5
POLLS_PER_S = 833
"""50,000 terminals, each once a minute."""
POLLING = 2_000
"""Terminals of that many stores make the load that takes all of the core."""


def measure() -> dict[str, float]:
    """Return memory, and by load the seconds until a change is served and the slowest poll meanwhile."""
    refill(ORGANIZATIONS, SERVERS, SERVICES)
    more_terminals(TERMINALS_PER_STORE)
    tokens = terminal_tokens()
    analyze()
    measured: dict[str, float] = {"terminals": len(tokens)}
    with ExitStack() as stack:
        edge = stack.enter_context(granian("backoffice.asgi:application"))
        port = int(urlsplit(edge).port or 0)
        fetch(edge, tokens[0])
        measured["rss_at_start_mb"] = rss_mb(port)
        tags = {token: fetch_once(port, token)[1] for token in tokens[::TERMINALS_PER_STORE]}
        measured["rss_mb"] = rss_mb(port)
        print(
            f"\n{len(tokens):,} terminals in {measured['rss_at_start_mb']:.0f} MiB, "
            f"{measured['rss_mb']:.0f} MiB once every store's document was asked for"
        )

        load = Terminals(port, tokens, POLLS_PER_S)
        stack.callback(load.kill)
        time.sleep(3)
        measured["calm_slowest_poll_ms"] = load.count()["slowest_s"] * 1000
        print(f"at the rate of 50,000 terminals the slowest poll took {measured['calm_slowest_poll_ms']:.0f} ms")
        measured["at_full_rate_changed_s"] = _changed_s(port, tokens[0], "Changed at full rate")
        time.sleep(2)
        counted = load.stop()
        measured["at_full_rate_slowest_poll_ms"] = counted["slowest_s"] * 1000
        measured["at_full_rate_failed"] = counted["failed"]
        _say("at the rate of 50,000 terminals", measured, "at_full_rate")

        script = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "polls.lua"
        script.write_text(polls_of(list(tags.items())[:POLLING]))
        command = [*pinned(LOAD_CORE), "wrk", "-t1", "-c64", "-d14s", "-s", str(script), edge]
        wrk = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        stack.callback(wrk.kill)
        with Probe(port, tokens[7]) as probe:
            time.sleep(3)
            probe.longest_s = 0.0
            measured["saturated_changed_s"] = _changed_s(port, tokens[0], "Changed at saturation")
            measured["saturated_revoked_s"] = _revoked_s(port, tokens[11])
            time.sleep(2)
        wrk.wait()
        measured["saturated_slowest_poll_ms"] = probe.longest_s * 1000
        _say("with the core saturated", measured, "saturated")
        measured["rss_after_mb"] = rss_mb(port)
    return measured


def _say(load: str, measured: dict[str, float], prefix: str) -> None:
    revoked = f", a token refused after {measured[f'{prefix}_revoked_s']:.2f} s" if prefix == "saturated" else ""
    print(
        f"{load}, a change is served after {measured[f'{prefix}_changed_s']:.2f} s{revoked}; "
        f"the slowest poll took {measured[f'{prefix}_slowest_poll_ms']:.0f} ms",
        flush=True,
    )


def _changed_s(port: int, token: str, name: str) -> float:
    """Change every store's document; return after how many seconds one is served."""
    MobileServer.objects.filter(server_type="main").update(name=name)
    announce_now()
    return seconds_until(lambda: name.encode() in fetch_once(port, token)[0])


def _revoked_s(port: int, token: str) -> float:
    credential = parse_credential(token)
    assert credential is not None
    TerminalToken.objects.filter(token_id=credential.id).update(revoked_at=timezone.now())
    announce_now()
    return seconds_until(lambda: fetch_once(port, token)[2] == http.client.GONE)


def fetch_once(port: int, token: str) -> tuple[bytes, str, int]:
    """Return body, tag and status of one poll on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", CONFIGURATION, headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return body, answer.getheader("ETag", ""), answer.status


def seconds_until(condition: Callable[[], bool], at_most_s: float = 60) -> float:
    """Return after how many seconds `condition` holds; RuntimeError if it does not within `at_most_s`."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > at_most_s:
            raise RuntimeError("what was waited for did not come")
        time.sleep(0.01)
    return time.monotonic() - started


def polls_of(held: list[tuple[str, str]]) -> str:
    """Return a script for wrk that polls in turn with these tokens and tags."""
    rows = "\n".join(f"held[#held + 1] = {{'Bearer {token}', '{tag}'}}" for token, tag in held)
    return f"""local held, turn = {{}}, 0
{rows}
request = function()
  turn = turn % #held + 1
  return wrk.format("GET", "{CONFIGURATION}",
    {{["Authorization"] = held[turn][1], ["If-None-Match"] = held[turn][2]}})
end
"""


class Probe:
    """A terminal that polls beside the load and notes how long its slowest poll took."""

    def __init__(self, port: int, token: str) -> None:
        self.longest_s = 0.0
        self._port, self._token = port, token
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._poll)

    def __enter__(self) -> Probe:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._stopping.wait(0.005):
            started = time.monotonic()
            fetch_once(self._port, self._token)
            self.longest_s = max(self.longest_s, time.monotonic() - started)
