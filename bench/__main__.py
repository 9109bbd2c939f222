"""Measure the product in parts, each against something bare in the same run.

`landscape`: loading, compiling and checking at two sizes. `edge`: documents beside a bare application.
`heartbeat`: agents' reports beside an empty view. `watch`: the watcher's pass at two sizes.
`python -m bench [PART…] [--sqlite]` runs all parts or those named, on the PostgreSQL that the tests bring, or
on SQLite. Results are printed, and kept in bench/results/local-*.json; baseline-*.json beside them are of a
small machine with other work.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import django

from tests.real_services import prepare_environment

SIZES = {100: (10, 20), 10_000: (1_000, 200)}
"""Servers and services by number of organizations."""
SECONDS_OF_LOAD = 5
HEARTBEAT_SERVERS = 200
RESULTS = Path(__file__).parent / "results"


def median_ms(action: Callable[[], object], times: int = 5) -> float:
    durations = []
    for _ in range(times):
        started = time.perf_counter()
        action()
        durations.append((time.perf_counter() - started) * 1000)
    return statistics.median(durations)


def refill(organizations: int, servers: int | None = None) -> None:
    """Let the database hold a chain of that size and nothing else."""
    from django.core.management import call_command
    from django.db import connection, transaction

    from bench.configurations import fill

    usual, services = SIZES[organizations]
    call_command("flush", interactive=False, verbosity=0)
    with transaction.atomic():
        fill(organizations, servers or usual, services)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")


def measure(organizations: int) -> dict[str, float]:
    """Fill the database with a chain of that size and return milliseconds by what was measured."""
    from routing.checks import checks
    from routing.document import Document, canonical_json, configuration
    from routing.load import load_landscape

    refill(organizations)
    landscape = load_landscape()
    stores = [code for code, organization in landscape.organizations.items() if organization.kind == "store"]

    def compile_one() -> None:
        Document.of(canonical_json(configuration(landscape, stores[len(stores) // 2], ())))

    first = median_ms(compile_one, 1)
    return {
        "load the landscape": median_ms(load_landscape),
        "compile a store's first document": first,
        "compile a store's next document": median_ms(compile_one, 50),
        "check every store": median_ms(lambda: checks(landscape, stores), 3),
    }


@contextmanager
def served(application: str, environment: dict[str, str], prefix: tuple[str, ...] = ()) -> Iterator[str]:
    """Serve an ASGI application with granian, one worker; yield its address. `prefix` is a command that runs it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*prefix, sys.executable, "-m", "granian", "--interface", "asgi", "--port", str(port), "--no-ws"]
    command += ["--http", "1", "--backlog", "4096", "--backpressure", "20000"]
    process = subprocess.Popen([*command, "--log-level", "error", application], env={**os.environ, **environment})
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def requests_per_s(url: str, headers: dict[str, str], script: str = "", seconds: int = SECONDS_OF_LOAD) -> float:
    command = ["wrk", "-t1", "-c16", f"-d{seconds}s", *(["-s", script] if script else [])]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    printed = subprocess.run([*command, url], stdout=subprocess.PIPE, text=True, check=True).stdout
    if match := re.search(r"Non-2xx or 3xx responses: (\d+)", printed):
        raise RuntimeError(f"{match[1]} requests were refused")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", printed)[1])


def edge_rates() -> dict[str, dict[str, float]]:
    """Return requests per second of the edge and of the bare application, for 200 and 304."""
    from bench.configurations import terminal_token

    sent = {"Authorization": f"Bearer {terminal_token()}"}
    path = "/api/v1/terminal/configuration"
    with tempfile.TemporaryDirectory() as directory, served("backoffice.asgi:application", {}) as edge:
        with urllib.request.urlopen(urllib.request.Request(edge + path, headers=sent)) as answer:
            body, tag = answer.read(), answer.headers["ETag"]
        asking = {200: sent, 304: {**sent, "If-None-Match": tag}}
        of_edge = {status: requests_per_s(edge + path, headers) for status, headers in asking.items()}
        (Path(directory) / "body").write_bytes(body)
        environment = {"BENCH_BODY": f"{directory}/body", "BENCH_TAG": tag}
        with served("bench.bare:application", environment) as bare:
            of_bare = {status: requests_per_s(bare + path, headers) for status, headers in asking.items()}
    return {
        f"{status} of {len(body)} bytes" if status == 200 else "304": {
            "edge": of_edge[status],
            "bare": of_bare[status],
        }
        for status in asking
    }


def measure_landscape() -> dict[int, dict[str, float]]:
    measured = {size: measure(size) for size in SIZES}
    small, large = SIZES
    print(f"{'milliseconds, by organizations':36}{small:>12,}{large:>12,}   ratio")
    for what, milliseconds in measured[large].items():
        base = measured[small][what]
        print(f"{what:36}{base:>9.2f} ms{milliseconds:>9.2f} ms{milliseconds / base:>8.1f}")
    return measured


def print_rates(kind: str, base: str, rates: dict[str, dict[str, float]]) -> None:
    print(f"\n{'requests per second':36}{kind:>12}{base:>12}   ratio")
    for what, rate in rates.items():
        print(f"{what:36}{rate[kind]:>12,.0f}{rate[base]:>12,.0f}{rate[kind] / rate[base]:>8.2f}")


def measure_edge() -> dict[str, dict[str, float]]:
    refill(max(SIZES))
    rates = edge_rates()
    print_rates("edge", "bare", rates)
    return rates


def measure_heartbeats() -> dict[str, dict[str, float]]:
    """Return heartbeats per second beside requests to an empty view: one process, on one core where that can be said.

    The agents take turns, since each may only report so often.
    """
    from bench.configurations import agent_tokens
    from bench.heartbeats import PATH, script

    refill(min(SIZES), HEARTBEAT_SERVERS)
    pinned = ("taskset", "-c", "0") if shutil.which("taskset") else ()
    rates: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        for what, observed in (("a steady heartbeat", 0), ("a heartbeat on 20 servers", 20)):
            asking = Path(directory) / "asking.lua"
            asking.write_text(script(agent_tokens(), observed))
            rates[what] = {}
            for kind, application in (("heartbeat", "backoffice.asgi"), ("empty", "bench.empty")):
                with served(f"{application}:application", {}, pinned) as address:
                    requests_per_s(address + PATH, {}, str(asking), seconds=1)  # first reports change states
                    rates[what][kind] = requests_per_s(address + PATH, {}, str(asking))
    print_rates("heartbeat", "empty", rates)
    return rates


def measure_watch() -> dict[int, dict[str, float]]:
    from bench.watching import measure_passes

    return measure_passes(lambda servers: refill(min(SIZES), servers), median_ms)


PARTS = {
    "landscape": measure_landscape,
    "edge": measure_edge,
    "heartbeat": measure_heartbeats,
    "watch": measure_watch,
}
NEED_WRK = ("edge", "heartbeat")


def main() -> None:
    asked = [argument for argument in sys.argv[1:] if argument != "--sqlite"]
    if unknown := set(asked) - set(PARTS):
        sys.exit(f"There is no part {', '.join(sorted(unknown))}: choose among {', '.join(PARTS)}.")
    prepare_environment(sys.argv)
    os.environ["DJANGO_SETTINGS_MODULE"] = "backoffice.settings"
    django.setup()
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    print(f"on {connection.vendor}")
    file = RESULTS / f"local-{connection.vendor}.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    results |= {"database": connection.vendor, "python": platform.python_version(), "cpus": os.cpu_count()}
    for part in asked or PARTS:
        if part in NEED_WRK and not shutil.which("wrk"):
            print(f"\n{part} was not measured: install wrk for that.")
            continue
        results[part] = PARTS[part]()
    RESULTS.mkdir(exist_ok=True)
    file.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
