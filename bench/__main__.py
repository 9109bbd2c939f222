"""Measure the product in parts, each against something bare in the same run.

`landscape`: loading, compiling and checking at two sizes. `polling`: the terminals' answers beside bare servers
that send the same bytes, and beside a plain view. `size`: a poll with few and with many organizations. `waiting`:
terminals that wait. `reload`: the largest chain, and changes at full load. `heartbeat`: agents' reports beside an
empty view. `watch`: the watcher's pass at two sizes. `agent`: memory and processor time of an idle agent.
`router`: a terminal's router beside bare httpx, its queue beside bare fsync. Only when they are named: `outages`,
the database, Redis or both away, and `soak`, ten minutes of polling (BENCH_SOAK_S seconds).

`python -m bench [PART…] [--sqlite]` runs all parts or those named, on the PostgreSQL that the tests bring, or on
SQLite. Results are printed, and kept in bench/results/local-*.json; baseline-*.json beside them are of the machine
that they describe.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from importlib import import_module, metadata
from pathlib import Path

import django

from tests.real_services import prepare_environment

PARTS = {
    "landscape": ("bench.landscape", "measure"),
    "polling": ("bench.polling", "measure"),
    "size": ("bench.polling", "measure_size"),
    "waiting": ("bench.waiting", "measure"),
    "reload": ("bench.reloading", "measure"),
    "heartbeat": ("bench.heartbeats", "measure"),
    "watch": ("bench.watching", "measure"),
    "agent": ("bench.agents", "measure"),
    "router": ("bench.router", "measure"),
    "outages": ("bench.outages", "measure"),
    "soak": ("bench.soak", "measure"),
}
"""Module and function by part."""
ONLY_WHEN_NAMED = ("outages", "soak")
NEEDED = {
    "polling": ("wrk",),
    "size": ("wrk",),
    "waiting": ("pgrep",),
    "reload": ("wrk", "pgrep"),
    "heartbeat": ("wrk",),
    "outages": ("pgrep",),
    "soak": ("pgrep",),
}
"""Programs by the part that needs them."""
RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, object]:
    """Describe where this runs."""
    cpus = Path("/proc/cpuinfo")
    models = [line for line in cpus.read_text().splitlines() if line.startswith("model name")] if cpus.exists() else []
    return {
        "processor": models[0].partition(": ")[2] if models else platform.processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "granian": metadata.version("granian"),
    }


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
    print(f"on {connection.vendor}", flush=True)
    file = RESULTS / f"local-{connection.vendor}.json"
    RESULTS.mkdir(exist_ok=True)
    results = json.loads(file.read_text()) if file.exists() else {}
    results |= {"database": connection.vendor, "machine": machine()}
    for part in asked or [part for part in PARTS if part not in ONLY_WHEN_NAMED]:
        missing = [program for program in NEEDED.get(part, ()) if not shutil.which(program)]
        if missing:
            print(f"\n{part} was not measured: install {' and '.join(missing)} for that.")
            continue
        module, function = PARTS[part]
        results[part] = getattr(import_module(module), function)()
        file.write_text(json.dumps(results, indent=2) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
