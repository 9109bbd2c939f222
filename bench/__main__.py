"""Measure loading, compiling and checking at two sizes, and the edge against a bare application.

`python -m bench [--sqlite]`: on the PostgreSQL that the tests bring, or on SQLite. Results are
printed, and kept in bench/results/local-*.json; baseline-*.json beside them are of a small machine with
other work.
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
RESULTS = Path(__file__).parent / "results"


def median_ms(action: Callable[[], object], times: int = 5) -> float:
    durations = []
    for _ in range(times):
        started = time.perf_counter()
        action()
        durations.append((time.perf_counter() - started) * 1000)
    return statistics.median(durations)


def measure(organizations: int) -> dict[str, float]:
    """Fill the database with a chain of that size and return milliseconds by what was measured."""
    from django.core.management import call_command
    from django.db import connection, transaction

    from bench.configurations import fill
    from routing.checks import checks
    from routing.document import Document, canonical_json, configuration
    from routing.load import load_landscape

    servers, services = SIZES[organizations]
    call_command("flush", interactive=False, verbosity=0)
    with transaction.atomic():
        fill(organizations, servers, services)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
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
def served(application: str, environment: dict[str, str]) -> Iterator[str]:
    """Serve an ASGI application with granian, one worker; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--port", str(port), "--no-ws"]
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
        process.wait(10)


def requests_per_s(url: str, headers: dict[str, str]) -> float:
    command = ["wrk", "-t1", "-c16", f"-d{SECONDS_OF_LOAD}s"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    printed = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    if match := re.search(r"Non-2xx or 3xx responses: (\d+)", printed):
        raise RuntimeError(f"{match[1]} requests were refused")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", printed)[1])


def measure_edge() -> dict[str, dict[str, float]]:
    """Return requests per second of the edge and of the bare application, for 200 and 304."""
    from bench.configurations import terminal_token

    sent = {"Authorization": f"Bearer {terminal_token()}"}
    path = "/api/v1/terminal/configuration"
    with tempfile.TemporaryDirectory() as directory, served("backoffice.asgi:application", {}) as edge:
        with urllib.request.urlopen(urllib.request.Request(edge + path, headers=sent)) as answer:
            body, tag = answer.read(), answer.headers["ETag"]
        asking = {200: sent, 304: {**sent, "If-None-Match": tag}}
        edge_rates = {status: requests_per_s(edge + path, headers) for status, headers in asking.items()}
        (Path(directory) / "body").write_bytes(body)
        environment = {"BENCH_BODY": f"{directory}/body", "BENCH_TAG": tag}
        with served("bench.bare:application", environment) as bare:
            bare_rates = {status: requests_per_s(bare + path, headers) for status, headers in asking.items()}
    return {
        f"{status} of {len(body)} bytes" if status == 200 else "304": {
            "edge": edge_rates[status],
            "bare": bare_rates[status],
        }
        for status in asking
    }


def main() -> None:
    prepare_environment(sys.argv)
    os.environ["DJANGO_SETTINGS_MODULE"] = "backoffice.settings"
    django.setup()
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    measured = {size: measure(size) for size in SIZES}
    small, large = SIZES
    print(f"{'on ' + connection.vendor:36}{small:>12,}{large:>12,}   ratio")
    for what, milliseconds in measured[large].items():
        base = measured[small][what]
        print(f"{what:36}{base:>9.2f} ms{milliseconds:>9.2f} ms{milliseconds / base:>8.1f}")
    results = {
        "database": connection.vendor,
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "milliseconds": measured,
    }
    if shutil.which("wrk"):
        results["requests_per_s"] = measure_edge()
        print(f"\n{'requests per second':36}{'edge':>12}{'bare':>12}   ratio")
        for what, rates in results["requests_per_s"].items():
            share = rates["edge"] / rates["bare"]
            print(f"{what:36}{rates['edge']:>12,.0f}{rates['bare']:>12,.0f}{share:>8.2f}")
    else:
        print("\nThe edge was not measured: install wrk for that.")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"local-{connection.vendor}.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
