"""The load of many terminals while the database, Redis or both are stopped, killed or frozen: failures are counted.

At last the database fails over: it is killed for good, and a standby that followed it is promoted.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import psycopg

from bench.load import granian
from bench.polling import fetch
from bench.reloading import fetch_once, seconds_until
from bench.terminals import Terminals
from tests.backing import PostgreSQL, Redis, Standby, own_postgresql, own_redis, standby_of

POLLS_PER_S, WAITING, STREAMING = 500, 200, 20
AWAY_S = 8.0
ORGANIZATIONS, SERVERS, SERVICES = 1_000, 20, 80
FILL = f"""
import django, json; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from bench.configurations import refill, terminal_tokens
refill({ORGANIZATIONS}, {SERVERS}, {SERVICES})
print(json.dumps(terminal_tokens()))
"""
ENDS_WITH: dict[str, str] = {"frozen": "thaw", "killed": "start", "stopped": "start"}
BEGINS_WITH = {"frozen": "freeze", "killed": "kill", "stopped": "stop"}
Backing = dict[str, PostgreSQL | Redis]


def measure() -> dict[str, Any]:
    """Return, by outage, what came of the load, how a write was answered, and when a change arrived afterwards."""
    measured = {}
    with own_postgresql() as postgresql, own_redis() as redis, ExitStack() as stack:
        data = stack.enter_context(tempfile.TemporaryDirectory())
        environment = {
            "DATABASE_URL": postgresql.url,
            "REDIS_URL": redis.url,
            "BOOSTER_DATA_DIR": data,
            "LOG_LEVEL": "CRITICAL",
        }
        tokens = _filled(environment)
        standby = stack.enter_context(standby_of(postgresql))
        environment["DATABASE_URL"] = standby.url
        edge = stack.enter_context(granian("backoffice.asgi:application", **environment))
        port = int(urlsplit(edge).port or 0)
        fetch(edge, tokens[0])
        load = Terminals(port, tokens, POLLS_PER_S, waiting=WAITING, streaming=STREAMING)
        stack.callback(load.kill)
        print(
            f"\n{POLLS_PER_S} polls a second, {WAITING} waiting, {STREAMING} streams; each outage lasts {AWAY_S:.0f} s"
        )
        print(f"{'':18}{'answers':>9}{'failed':>8}{'slowest':>10}  {'a write':20}{'a change after':>16}")
        backing: Backing = {"database": postgresql, "Redis": redis}
        for away in (("database",), ("Redis",), ("database", "Redis")):
            for how in ("stopped", "killed", "frozen"):
                servers = [backing[one] for one in away]
                name = f"{'both' if len(away) > 1 else away[0]} {how}"
                begin = partial(_each, servers, BEGINS_WITH[how])
                end = partial(_each, servers, ENDS_WITH[how])
                measured[name] = _outage(name, begin, end, port, tokens[0], load, standby)
        measured["failed over"] = _outage(
            "failed over", postgresql.kill, standby.promote, port, tokens[0], load, standby
        )
    return measured


def _filled(environment: dict[str, str]) -> list[str]:
    """Fill a database of our own; return its terminals' tokens."""
    done = subprocess.run(
        [sys.executable, "-c", FILL], env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True, check=True
    )
    return list(json.loads(done.stdout))


def _each(servers: list[PostgreSQL | Redis], what: str) -> None:
    for server in servers:
        getattr(server, what)()


def _outage(
    name: str,
    begin: Callable[[], object],
    end: Callable[[], object],
    port: int,
    token: str,
    load: Terminals,
    database: Standby,
) -> dict[str, Any]:
    load.count()
    begin()
    time.sleep(AWAY_S / 2)
    write, write_s = _activate(port)
    time.sleep(max(0.0, AWAY_S / 2 - write_s))
    end()
    back_at = time.monotonic()
    _retried(lambda: _rename(database, f"After {name}"))
    seconds_until(lambda: f"After {name}".encode() in fetch_once(port, token)[0])
    changed_s = time.monotonic() - back_at
    time.sleep(1)
    counted = load.count()
    answers = sum(counted["statuses"].values())
    print(
        f"{name:18}{answers:>9,}{counted['failed']:>8}{counted['slowest_s'] * 1000:>7.0f} ms"
        f"  {f'{write or None} in {write_s:.1f} s':20}{changed_s:>14.1f} s",
        flush=True,
    )
    for failure in counted["failures"]:
        print(f"    {failure}")
    return {**counted, "write_status": write, "write_s": write_s, "changed_after_s": changed_s}


def _activate(port: int) -> tuple[int, float]:
    """Return how an activation is answered (0: not within ten seconds), and after how many seconds."""
    started = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    status = 0
    with suppress(OSError):
        body = json.dumps({"terminal": "LY-2", "code": "7KQM-2XPA-9RTD", "software": "pos 3.1"})
        connection.request("POST", "/api/v1/terminal/activate", body, {"Content-Type": "application/json"})
        status = connection.getresponse().status
    connection.close()
    return status, time.monotonic() - started


def _rename(database: Standby, name: str) -> None:
    with psycopg.connect(database.url, connect_timeout=5) as connection:
        connection.execute("UPDATE servers_mobileserver SET name = %s WHERE server_type = 'main'", [name])


def _retried(action: Callable[[], object], at_most_s: float = 30) -> None:
    """Do it once the database accepts connections again."""
    deadline = time.monotonic() + at_most_s
    while True:
        try:
            action()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
