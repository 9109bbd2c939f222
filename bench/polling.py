"""The polled answers beside servers that send the same bytes, beside a plain view, and in a larger chain."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.db import connection

from bench.configurations import refill, terminal_tokens
from bench.load import granian, nginx, ratio, requests_per_s, turns
from bench.plain_view import PATH as PLAIN

CONFIGURATION = "/api/v1/terminal/configuration"
SMALL, LARGE = 10, 10_000
"""Organizations."""
SERVERS, SERVICES = 20, 80
"""Give a document of about 10 KB, whatever the number of organizations."""


def fetch(address: str, token: str) -> tuple[bytes, str]:
    """Return body and tag of the configuration, once the process answers from memory."""
    for _ in range(100):
        asked = urllib.request.Request(address + CONFIGURATION, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(asked) as answer:
            body, tag = answer.read(), answer.headers["ETag"]
        time.sleep(0.02)
    return body, tag


def measure() -> dict[str, Any]:
    """Return requests per second of 304 and 200: ours, bare granian, nginx, and a plain view."""
    refill(LARGE, SERVERS, SERVICES)
    token = terminal_tokens(1)[0]
    sent = {"Authorization": f"Bearer {token}"}
    with ExitStack() as stack:
        edge = stack.enter_context(granian("backoffice.asgi:application"))
        body, tag = fetch(edge, token)
        file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "body"
        file.write_bytes(body)
        bare = stack.enter_context(granian("bench.bare:application", BENCH_BODY=str(file), BENCH_TAG=tag))
        plain = stack.enter_context(granian("bench.plain:application", "wsgi"))
        held = {**sent, "If-None-Match": tag}
        asking: dict[str, Callable[[], float]] = {
            "304 ours": partial(requests_per_s, edge + CONFIGURATION, held),
            "304 bare granian": partial(requests_per_s, bare + CONFIGURATION, held),
            "200 ours": partial(requests_per_s, edge + CONFIGURATION, sent),
            "200 bare granian": partial(requests_per_s, bare + CONFIGURATION, sent),
            "200 plain view": partial(requests_per_s, plain + PLAIN, sent),
        }
        if shutil.which("nginx"):
            static = stack.enter_context(nginx(body))
            with urllib.request.urlopen(static) as answer:
                static_tag = answer.headers["ETag"]
            asking["304 nginx"] = partial(requests_per_s, static, {"If-None-Match": static_tag})
            asking["200 nginx"] = partial(requests_per_s, static, {})
        else:
            print("\nnginx was not measured: install it for that.")
        taken = turns(asking)
    print(f"\na document of {len(body):,} bytes{'requests/s':>21}{'ours is':>12}")
    measured: dict[str, dict[str, float]] = {}
    for name in sorted(taken, reverse=True):
        rate, times = statistics.median(taken[name]), ratio(taken, f"{name[:3]} ours", name)
        measured[name] = {"requests_per_s": rate, "ours_is": times}
        print(f"{name:38}{rate:>12,.0f}{times:>12.2f} times")
    times = measured["200 plain view"]["304_is"] = ratio(taken, "304 ours", "200 plain view")
    print(f"a 304 is {times:,.0f} times the plain view")
    return {"body_bytes": len(body), **measured}


def measure_size() -> dict[str, float]:
    """Return requests per second of 304 with few and with many organizations, each in a database of its own."""
    with ExitStack() as stack:
        asking = {}
        for organizations in (SMALL, LARGE):
            refill(organizations, SERVERS, SERVICES)
            token = terminal_tokens(1)[0]
            database = stack.enter_context(copied_database(f"bench_{organizations}"))
            edge = stack.enter_context(granian("backoffice.asgi:application", DATABASE_URL=database))
            _, tag = fetch(edge, token)
            held = {"Authorization": f"Bearer {token}", "If-None-Match": tag}
            asking[str(organizations)] = partial(requests_per_s, edge + CONFIGURATION, held)
        taken = turns(asking)
    costs = ratio(taken, str(SMALL), str(LARGE))
    print(f"\na poll with {LARGE:,} organizations costs {costs:.2f} times one with {SMALL}")
    return {**{size: statistics.median(rates) for size, rates in taken.items()}, "costs": costs}


@contextmanager
def copied_database(name: str) -> Iterator[str]:
    """Copy the database as it is; yields the copy's address, until the block ends."""
    url = urlsplit(os.environ["DATABASE_URL"])
    if connection.vendor == "sqlite":
        with tempfile.TemporaryDirectory() as directory, connection.cursor() as cursor:
            cursor.execute("VACUUM INTO %s", [f"{directory}/{name}.sqlite3"])
            yield f"sqlite:///{directory}/{name}.sqlite3"
        return
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name}")
        cursor.execute(f'CREATE DATABASE {name} TEMPLATE "{connection.settings_dict["NAME"]}"')
    try:
        yield url._replace(path=f"/{name}").geturl()
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
