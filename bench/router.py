"""The terminals' request router beside a bare httpx request, and its queue beside a bare fsync."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from bench.load import LOAD_CORE, granian, interleaved

sys.path.append(str(Path(__file__).resolve().parents[1] / "clients/request_router"))

from request_router.answers import Answered, Meaning
from request_router.documents import Configuration, Server, configuration_of
from request_router.queue import Queue
from request_router.router import Outcome, RequestRouter
from request_router.terminal import SteadyClock
from request_router.transport import HttpTransport, http_client

SERVERS, SERVICES = 10, 200
ROUNDS, SECONDS = 5, 1.5
PRODUCT = "org.openbravo.retail.posterminal.master.Product100"
LOADER = "org.openbravo.retail.posterminal.OrderLoader"
TICKET = {"lines": [{"product": f"P{number}", "quantity": 1, "price": 19.9} for number in range(20)]}
ANSWER = {"response": {"status": 0, "data": [{"id": f"P{number}", "price": 19.9} for number in range(20)]}}


class Accepting:
    """A transport that takes everything at once."""

    def send(self, server: Server, path: str, body: Mapping[str, Any], timeout_s: float) -> Answered:
        return Answered(Meaning.ACCEPTED, body={})


def configuration(url: str) -> Configuration:
    """Return a store's configuration of 10 servers, the last of which serves everything, and 200 services."""
    names = [f"org.openbravo.retail.posterminal.master.Product{number}" for number in range(SERVICES - 1)]
    services = [{"name": name, "routing_type": "failover", "transactional": False, "timeout_s": 5} for name in names]
    services.append({"name": LOADER, "routing_type": "failover", "transactional": True, "timeout_s": 10})
    servers = [
        {
            "key": f"server{number}",
            "name": f"Server {number}",
            "url": url,
            "type": "main" if number == SERVERS - 1 else "store",
            "all_services": number == SERVERS - 1,
            "services": [] if number == SERVERS - 1 else names[number::SERVERS][:5],
        }
        for number in range(SERVERS)
    ]
    document = {"format": 1, "organization": {"code": "LYON"}, "multi_server": True, "preferences": {}}
    return configuration_of(document | {"servers": servers, "services": services, "boosters": []})


def per_second(action: Callable[[], object]) -> float:
    """Return how often `action` is done in a second, one after the other."""
    done, started = 0, time.perf_counter()
    while (took := time.perf_counter() - started) < SECONDS:
        action()
        done += 1
    return done / took


def measure() -> dict[str, dict[str, float]]:
    """Return what a second brings: requests by the router and without it, and tickets stored and delivered."""
    before = os.sched_getaffinity(0)
    if len(before) > 1:
        os.sched_setaffinity(0, {int(LOAD_CORE)})
    try:
        measured = {"requests per second": _requests(), "tickets per second": _tickets()}
    finally:
        os.sched_setaffinity(0, before)
    requests, tickets = measured.values()
    requests["overhead per request, µs"] = (1 / requests["router"] - 1 / requests["bare httpx"]) * 1e6
    print(f"\n{'one terminal, one after the other':44}{'per second':>12}   ratio")
    for base, row in (("bare httpx", requests), ("bare fsync", tickets)):
        for what, rate in row.items():
            ratio = "" if "µs" in what else f"{rate / row[base]:>8.2f}  of {base}"
            print(f"{what:44}{rate:>12,.0f}{ratio}")
    return measured


def _requests() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as directory, http_client() as client:
        (Path(directory) / "body").write_text(json.dumps(ANSWER))
        with granian("bench.bare:application", BENCH_BODY=f"{directory}/body", BENCH_TAG="x") as address:
            deciding = RequestRouter(Accepting(), Queue(), SteadyClock())
            routing = RequestRouter(HttpTransport(client), Queue(), SteadyClock())
            for router in (deciding, routing):
                router.configure(configuration(address))
            url, sent = f"{address}/{PRODUCT}", {"search": "umbrella"}

            def route(router: RequestRouter) -> None:
                result = router.request(PRODUCT, sent)
                if result.outcome is not Outcome.SUCCESS:
                    raise RuntimeError(result.reason)

            return interleaved(
                {
                    "bare httpx": lambda: per_second(lambda: client.post(url, json=sent, timeout=5).json()),
                    "router": lambda: per_second(lambda: route(routing)),
                    "router, the decision alone": lambda: per_second(lambda: route(deciding)),
                },
                ROUNDS,
            )


def _tickets() -> dict[str, float]:
    """Return tickets stored (each on the disk before it counts) and delivered, beside one write and fsync each."""
    with tempfile.TemporaryDirectory(dir=".") as directory, _router(Path(directory)) as router:
        body = json.dumps({"messageId": "x" * 32, "data": [TICKET]}).encode()
        number = count()

        def store() -> None:
            router.request(LOADER, {"messageId": f"t{next(number)}", "data": [TICKET]})

        with (Path(directory) / "bare").open("ab", buffering=0) as file:

            def bare() -> None:
                file.write(body)
                os.fsync(file.fileno())

            def deliver() -> float:
                waiting, started = router.queue.length(), time.perf_counter()
                router.pump()
                if router.queue.length():
                    raise RuntimeError("the queue was not delivered")
                return waiting / (time.perf_counter() - started)

            return interleaved(
                {
                    "bare fsync": lambda: per_second(bare),
                    "tickets stored, with fsync": lambda: per_second(store),
                    "tickets delivered, with fsync": deliver,
                },
                ROUNDS,
            )


@contextmanager
def _router(directory: Path) -> Iterator[RequestRouter]:
    router = RequestRouter(Accepting(), Queue(directory / "queue.sqlite3"), SteadyClock())
    router.configure(configuration("http://127.0.0.1:9"))
    try:
        yield router
    finally:
        router.queue.close()
