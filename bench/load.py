"""Servers on one core, load on another, and what one process measures of the other."""

from __future__ import annotations

import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

SERVER_CORE, LOAD_CORE = "0", "1"
ROUNDS = 7
SECONDS = 2
CONNECTIONS = 64


def pinned(core: str) -> tuple[str, ...]:
    """Return the command that runs another on one core; none where there is only one, or no way to say."""
    return ("taskset", "-c", core) if shutil.which("taskset") and (os.cpu_count() or 1) > 1 else ()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; yields once its port accepts. RuntimeError if it never does."""
    process = subprocess.Popen([*pinned(SERVER_CORE), *command], env={**os.environ, **environment})
    try:
        deadline = time.monotonic() + 60
        while not _accepts(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command} did not start")
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def granian(application: str, interface: str = "asgi", **environment: str) -> Iterator[str]:
    """Serve an application as `manage.py up` does, one worker; yields its address."""
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", interface, "--port", str(port), "--http", "1"]
    command += ["--no-ws", "--backlog", "4096", "--backpressure", "20000"]
    command += ["--workers-kill-timeout", "5", "--log-level", "error", application]
    limits = {"BOOSTER_POLLS_PER_MINUTE": "1000000000", "BOOSTER_STRANGERS_PER_MINUTE": "1000000000"}
    with running(command, port, {**limits, **environment}):
        yield f"http://127.0.0.1:{port}"


NGINX = """
worker_processes 1; daemon off; pid {directory}/pid; error_log /dev/null crit;
events {{ worker_connections 1024; }}
http {{ access_log off; etag on; default_type application/json; keepalive_requests 100000000;
  client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
  uwsgi_temp_path {directory}; scgi_temp_path {directory};
  server {{ listen 127.0.0.1:{port}; root {directory}; }} }}
"""


@contextmanager
def nginx(body: bytes) -> Iterator[str]:
    """Serve `body` as a file with nginx, one worker; yields the file's address."""
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        (Path(directory) / "document").write_bytes(body)
        (Path(directory) / "nginx.conf").write_text(NGINX.format(directory=directory, port=port))
        with running(["nginx", "-c", f"{directory}/nginx.conf"], port, {}):
            yield f"http://127.0.0.1:{port}/document"


def requests_per_s(url: str, headers: Mapping[str, str], *, seconds: int = SECONDS, script: str = "") -> float:
    """Return how many requests a second wrk gets answered; RuntimeError if any was refused."""
    command = [*pinned(LOAD_CORE), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s"]
    command += ["-s", script] if script else []
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    printed = subprocess.run([*command, url], stdout=subprocess.PIPE, text=True, check=True).stdout
    if match := re.search(r"Non-2xx or 3xx responses: (\d+)", printed):
        raise RuntimeError(f"{match[1]} requests to {url} were refused")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", printed)[1])  # type: ignore[index]


def turns(actions: Mapping[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Return each action's results, taken in turns so that what drifts drifts for all."""
    taken: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            taken[name].append(action())
    return taken


def interleaved(actions: Mapping[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, float]:
    """Return the median of each action's results, taken in turns."""
    return {name: statistics.median(values) for name, values in turns(actions, rounds).items()}


def ratio(taken: Mapping[str, list[float]], name: str, base: str) -> float:
    """Return the median of how many times `base` one is, turn by turn."""
    return statistics.median(one / other for one, other in zip(taken[name], taken[base], strict=True))


def median_ms(action: Callable[[], object], times: int = 5) -> float:
    durations = []
    for _ in range(times):
        started = time.perf_counter()
        action()
        durations.append((time.perf_counter() - started) * 1000)
    return statistics.median(durations)


def rss_mb(port: int) -> float:
    """Return the memory of the largest process that names this port in its command line, in MiB."""
    found = subprocess.run(["pgrep", "-f", f"granian.*{port}"], stdout=subprocess.PIPE, text=True, check=False)
    sizes = [0]
    for pid in found.stdout.split():
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        sizes += [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")]
    return max(sizes) / 1024


def print_rates(kind: str, base: str, rates: Mapping[str, Mapping[str, float]]) -> None:
    print(f"\n{'requests per second':36}{kind:>12}{base:>12}   ratio")
    for what, rate in rates.items():
        print(f"{what:36}{rate[kind]:>12,.0f}{rate[base]:>12,.0f}{rate[kind] / rate[base]:>8.2f}")
