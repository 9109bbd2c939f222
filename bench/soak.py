"""Minutes of polling at full rate, with waits, streams and changes: is the memory flat, does any poll fail?"""

from __future__ import annotations

import os
import statistics
import time
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

from bench.configurations import analyze, more_terminals, refill, terminal_tokens
from bench.load import granian, rss_mb
from bench.polling import fetch
from bench.reloading import ORGANIZATIONS, POLLS_PER_S, SERVERS, SERVICES, TERMINALS_PER_STORE
from bench.terminals import Terminals
from routing.revision import announce_now
from servers.models import MobileServer

SOAK_S = 600
CHANGE_EVERY_S = 10
WAITING, STREAMING = 500, 50


def measure() -> dict[str, Any]:
    """Return the memory by tenths of the time, failures, and the slowest poll."""
    seconds = int(os.environ.get("BENCH_SOAK_S", SOAK_S))
    refill(ORGANIZATIONS, SERVERS, SERVICES)
    more_terminals(TERMINALS_PER_STORE)
    tokens = terminal_tokens()
    analyze()
    store_servers = list(MobileServer.objects.filter(server_type="store").order_by("key")[:50])
    sizes = []
    with ExitStack() as stack:
        edge = stack.enter_context(granian("backoffice.asgi:application"))
        port = int(urlsplit(edge).port or 0)
        fetch(edge, tokens[0])
        load = Terminals(port, tokens, POLLS_PER_S, waiting=WAITING, streaming=STREAMING)
        stack.callback(load.kill)
        ends_at = time.monotonic() + seconds
        for step in range(seconds // CHANGE_EVERY_S):
            time.sleep(max(0.0, ends_at - seconds + (step + 1) * CHANGE_EVERY_S - time.monotonic()))
            changed = {"server_type": "main"} if step % 5 == 0 else {"pk": store_servers[step % 50].pk}
            MobileServer.objects.filter(**changed).update(name=f"Changed {step}")
            announce_now()
            sizes.append(rss_mb(port))
        counted = load.stop()
    tenth = max(1, len(sizes) // 10)
    by_tenth = [round(statistics.mean(sizes[at : at + tenth])) for at in range(0, len(sizes), tenth)]
    polls = sum(counted["statuses"].values())
    print(
        f"\n{seconds} s, {polls:,} answers at {POLLS_PER_S} polls a second, {WAITING} waiting, {STREAMING} streams: "
        f"{counted['failed']} failed, the slowest poll took {counted['slowest_s'] * 1000:.0f} ms; "
        f"MiB by tenths: {by_tenth}"
    )
    return {"seconds": seconds, "rss_mb_by_tenths": by_tenth, **counted}
