"""Run the whole product as one process tree: the web server and the background work."""

from __future__ import annotations

import fcntl
import math
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, connection, connections

from accounts.models import User
from backoffice.health import unapplied_migrations
from backoffice.supervision import Programs
from boosters.node import own_queue, own_role
from boosters.parameters import DEFAULT_PORT, ParameterRefused, Parameters

READY_WITHIN_S = 90.0
POLL_INTERVAL_S = 0.2
HIGHEST_PORT = 65_535
ROOM_FOR_OTHERS = 2_000
LONE_PORT = 8_000
MIGRATION_LOCK = (0x0B05, 3)
WEB_SERVER = "web server"
DATABASE_RETRY_S = 1.0
SAY_AGAIN_S = 60.0
PASSING = ("starting up", "shutting down", "recovery", "not yet accepting", "connection slots", "too many")
"""What PostgreSQL says of itself that passes."""


class Command(BaseCommand):
    help = "Run the web server and the background work until Ctrl-C or SIGTERM; migrates first."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
        parser.add_argument("--port", type=int, help="port to listen on (default LOCAL_PORT; 8000 without BOOSTER_IP)")
        parser.add_argument("--workers", type=int, help="web processes; one on SQLite or without Redis")
        parser.add_argument("--no-migrate", action="store_true", help="leave the database's tables as they are")
        parser.add_argument("--demo", action="store_true", help="fill an empty installation with the demo")

    def handle(self, *args: Any, **options: Any) -> None:
        signals = {"received": 0}

        def note(number: int, frame: object) -> None:
            signals["received"] += 1

        host, port = options["host"], options["port"] or default_port()
        workers = _workers(options["workers"])
        with only_one():
            check_port(host, port)
            check_role(port)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, note)
            programs = Programs()
            started = commands(host, port, workers)
            try:
                if not database_answers():
                    programs.start(WEB_SERVER, started.pop(WEB_SERVER))
                    self._wait_for_the_database(programs, signals)
                people = "" if signals["received"] else self._prepare(options)
                connections.close_all()
                for name, command in started.items():
                    if not signals["received"]:
                        programs.start(name, command)
                if self._wait_until_ready(programs, host, port, signals):
                    where = f"{address(host, port)}/admin/"
                    self.stdout.write(f"Booster Back Office {settings.VERSION} runs at {where} (Ctrl-C stops it).")
                    self.stdout.write(people or "Log in as before.")
                    self.stdout.flush()
                while not signals["received"]:
                    self._keep_running(programs)
                    time.sleep(POLL_INTERVAL_S)
            finally:
                asked = signals["received"]
                programs.stop(hurry=lambda: signals["received"] > asked)
        self.stdout.write("Stopped.")

    def _wait_for_the_database(self, programs: Programs, signals: dict[str, int]) -> None:
        """Go on once the database answers; the web server tells terminals meanwhile what it has kept (OMF-61)."""
        said_at = -math.inf
        while not signals["received"] and not database_answers():
            if time.monotonic() - said_at >= SAY_AGAIN_S:
                self.stderr.write("The database does not answer. Waiting for it; terminals get what was kept.")
                said_at = time.monotonic()
            self._keep_running(programs)
            time.sleep(DATABASE_RETRY_S)

    def _prepare(self, options: dict[str, Any]) -> str:
        """Bring database and static files up to date; return what to say about who may log in."""
        try:
            if not options["no_migrate"]:
                with one_migrates():
                    call_command("migrate", verbosity=0, interactive=False)
            elif unapplied_migrations():
                raise CommandError("The database is not migrated: run migrate, or up without --no-migrate.")
            settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
            if settings.IS_PRODUCTION:
                call_command("collectstatic", verbosity=0, interactive=False)
            if options["demo"] and not User.objects.exists():
                from backoffice.demo import fill

                return fill().people
            return _who_may_log_in()
        except OperationalError as error:
            raise CommandError(f"The database cannot be used: {str(error).strip().splitlines()[0]}") from error

    def _keep_running(self, programs: Programs) -> None:
        """Restart what ended; refuse to go on when that does not help."""
        for end in programs.keep_running():
            if end.is_final:
                raise CommandError(f"The {end.name} ended again and again, the last time with status {end.status}.")
            self.stderr.write(f"The {end.name} ended by itself, with status {end.status}; it is started again.")

    def _wait_until_ready(self, programs: Programs, host: str, port: int, signals: dict[str, int]) -> bool:
        deadline = time.monotonic() + READY_WITHIN_S
        probe = f"{address(host, port)}/readyz"
        while not signals["received"]:
            _fail_when_ended(programs)
            if _answers(probe):
                return True
            if time.monotonic() > deadline:
                raise CommandError(f"The web server did not become ready within {READY_WITHIN_S:.0f} s.")
            time.sleep(POLL_INTERVAL_S)
        return False


def commands(host: str, port: int, workers: int) -> dict[str, list[str]]:
    """Return the programs of one installation by name.

    Without Redis there is no broker: beat then runs each task itself, as it falls due.
    """
    python = [sys.executable, "-m"]
    celery = [*python, "celery", "--app", "backoffice.celery", "--quiet"]
    programs = {
        WEB_SERVER: [
            *python,
            "granian",
            *("--interface", "asgi", "--host", host, "--port", str(port), "--workers", str(workers)),
            # Only HTTP/1: telling the protocols apart costs each waiting connection another 15 KB.
            *("--http", "1", "--no-ws"),
            *("--log-level", "warning", "--workers-kill-timeout", "5", "--respawn-failed-workers"),
            # What waits for a change counts as a request at work; of those there must be room for all others.
            *("--backlog", "4096", "--backpressure", str(settings.BOOSTER_WAITING_POLLS + ROOM_FOR_OTHERS)),
            "backoffice.asgi:application",
        ],
        "scheduler": [*celery, "beat", "--loglevel", "WARNING"],
    }
    if settings.REDIS_URL:
        programs["background worker"] = [
            *celery,
            *("worker", "--pool", "threads", "--concurrency", "4", "--loglevel", "WARNING", "--without-mingle"),
            *("--queues", f"celery,{own_queue()}"),
        ]
    return programs


def database_answers() -> bool:
    """Tell whether the database can be asked; CommandError where it refuses and waiting would not help."""
    try:
        connection.ensure_connection()
    except OperationalError as error:
        connection.close()
        if is_passing(str(error)):
            return False
        raise CommandError(f"The database cannot be used: {str(error).strip().splitlines()[0]}") from error
    return True


def is_passing(failure: str) -> bool:
    """Tell whether a connection that failed like this may succeed later, with nothing changed.

    A server that answers with a fatal error knows neither user, password nor database, unless it is on its
    way up or down or has no connection left.
    """
    return "FATAL" not in failure or any(word in failure for word in PASSING)


@contextmanager
def only_one() -> Iterator[None]:
    """Hold the data directory: two trees on one of them would do all background work twice."""
    path = settings.DATA_DIR / "up.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise CommandError(f"Already running on the data directory {settings.DATA_DIR}.") from error
    finally:
        os.close(descriptor)


def default_port() -> int:
    """Return the port to listen on where nobody says: a node's own, or that of a node alone."""
    known: Parameters = settings.BOOSTER_PARAMETERS
    return known.local_port or (LONE_PORT if known.primary is None else DEFAULT_PORT)


def check_role(port: int) -> None:
    """Refuse, in one line, a node that is neither of the pair; tell its programs the port it goes by."""
    known: Parameters = settings.BOOSTER_PARAMETERS
    if known.primary is not None and known.local_port is None:
        os.environ["LOCAL_PORT"] = str(port)
        settings.BOOSTER_PARAMETERS = replace(known, local_port=port)
    try:
        own_role()
    except ParameterRefused as refusal:
        raise CommandError(str(refusal)) from refusal


@contextmanager
def one_migrates() -> Iterator[None]:
    """Let one node at a time bring the database up to date: both of a pair may be started at once."""
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", MIGRATION_LOCK)
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", MIGRATION_LOCK)


def check_port(host: str, port: int) -> None:
    """Refuse, in one line, an address that cannot be listened on."""
    if not 1 <= port <= HIGHEST_PORT:
        raise CommandError(f"A port lies between 1 and {HIGHEST_PORT}, {port} does not.")
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(target)
            probe.listen(1)
    except OSError as error:
        raise CommandError(f"Cannot listen on {host}, port {port}: {error.strerror}. Choose with --port.") from error


def address(host: str, port: int) -> str:
    """Return the address to open in a browser on this machine."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - what was asked for
    return f"http://{f'[{reachable}]' if ':' in reachable else reachable}:{port}"


def _workers(asked: int | None) -> int:
    """Return how many web processes to run: counters live in Redis or in one process."""
    most = 1 if connection.vendor == "sqlite" or not settings.REDIS_URL else max(1, asked or os.cpu_count() or 1)
    return min(most, asked or 4)


def _answers(url: str) -> bool:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _fail_when_ended(programs: Programs) -> None:
    if ended := programs.ended():
        raise CommandError(f"The {ended[0]} ended by itself, with status {ended[1]}.")


def _who_may_log_in() -> str:
    if not User.objects.filter(is_active=True).exists():
        return "Nobody can log in yet: make an administrator with create_admin NAME --generate."
    if User.objects.filter(username="admin", must_change_password=True, is_active=True).exists():
        return "User admin, with the one-time password that was printed once; reset_pass makes a new one."
    return ""
