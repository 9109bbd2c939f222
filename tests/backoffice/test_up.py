"""The product as real processes: started, asked, stopped, killed, started again."""

import os
import signal
import sys
from urllib.parse import urlsplit

import pytest

from backoffice import supervision
from backoffice.management.commands import up
from backoffice.supervision import End
from tests.backing import own_postgresql
from tests.backoffice.processes import Product, free_port, manage, wait_for

pytestmark = pytest.mark.processes
NO_SUCH_DATABASE = urlsplit(os.environ["DATABASE_URL"])._replace(path="/there-is-none").geturl()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_starts_on_an_empty_directory_answers_and_stops_cleanly(tmp_path, number):
    with Product(tmp_path / "data") as product:
        product.wait_until_ready()
        answers = [product.get(path) for path in ("/livez", "/readyz", "/admin/login/")]

        status = product.stop(number)

        assert (answers, status) == ([200, 200, 200], 0)
        assert product.running() == []
        assert [line for line in product.printed().splitlines() if not line.startswith("20")] == [
            f"Booster Back Office 0.1.0 runs at http://127.0.0.1:{product.port}/admin/ (Ctrl-C stops it).",
            "Nobody can log in yet: make an administrator with create_admin NAME --generate.",
            "Stopped.",
        ]
        assert "Traceback" not in product.printed()


def test_up_again_keeps_the_demo_and_its_password(tmp_path):
    with Product(tmp_path / "data", "--demo") as first:
        first.wait_until_ready()
        assert "User admin, one-time password" in first.printed()
        first.stop()

    with Product(tmp_path / "data", "--demo") as second:
        second.wait_until_ready()

        assert "that was printed once" in second.printed()
        second.stop()
    assert "already there; nothing was changed" in manage("init_env", data_dir=tmp_path / "data").stdout


def test_up_killed_by_force_leaves_nothing_running(tmp_path):
    with Product(tmp_path / "data") as product:
        product.wait_until_ready()
        product.process.send_signal(signal.SIGKILL)
        product.process.wait()

        wait_for(lambda: not product.running(), "everything to end", seconds=15)

        assert product.running() == []


def test_up_starts_a_program_that_dies_again(tmp_path):
    with Product(tmp_path / "data") as product:
        product.wait_until_ready()
        killed = {program: product.pid_of(program) for program in ("celery", "granian")}

        for pid in killed.values():
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: product.answers("/readyz"), "the web server")
        wait_for(lambda: "celery" in " ".join(product.running()), "the scheduler")

        assert all(product.pid_of(program) != pid for program, pid in killed.items())
        assert "The scheduler ended by itself, with status -9; it is started again." in product.printed()
        assert "The web server ended by itself, with status -9; it is started again." in product.printed()
        assert product.stop() == 0
        assert product.running() == []


@pytest.mark.parametrize(
    ("failure", "is_passing"),
    [
        ('connection to server at "10.0.0.9", port 5432 failed: Connection refused', True),
        ('connection to server on socket "/x/.s.PGSQL.5432" failed: No such file or directory', True),
        ("connection failed: FATAL:  the database system is starting up", True),
        ("connection failed: FATAL:  the database system is shutting down", True),
        ("connection failed: FATAL:  the database system is not yet accepting connections", True),
        ("connection failed: FATAL:  sorry, too many clients already", True),
        ("connection timeout expired", True),
        ('connection failed: FATAL:  password authentication failed for user "booster"', False),
        ('connection failed: FATAL:  database "boster" does not exist', False),
        ('connection failed: FATAL:  role "boster" does not exist', False),
    ],
)
def test_only_a_database_that_may_come_is_waited_for(failure, is_passing):
    assert up.is_passing(failure) == is_passing


def test_up_waits_for_a_database_that_is_away_and_goes_on_when_it_comes(tmp_path):
    """A node started before its database answers 503 meanwhile and needs nobody when it comes (OMF-60, OMF-61)."""
    with own_postgresql() as postgresql, Product(tmp_path / "data", DATABASE_URL=killed(postgresql)) as product:
        wait_for(lambda: product.answers("/livez"), "the web server")
        before = product.answers("/readyz")
        postgresql.start()
        product.wait_until_ready()

        assert (before, product.answers("/readyz")) == (False, True)
        assert "The database does not answer. Waiting for it; terminals get what was kept." in product.printed()
        assert product.stop() == 0


def killed(postgresql):
    """Return the address of a database whose server has been killed."""
    postgresql.kill()
    return postgresql.url


def test_a_program_that_ends_again_and_again_is_given_up(monkeypatch):
    monkeypatch.setattr(supervision, "FIRST_PAUSE_S", 0.01)
    programs = supervision.Programs()
    programs.start("steady", [sys.executable, "-c", "import time; time.sleep(60)"])
    programs.start("broken", [sys.executable, "-c", "raise SystemExit(3)"])
    ends = []

    try:
        wait_for(lambda: ends.extend(programs.keep_running()) or len(ends) >= 5, "five ends", seconds=20)
    finally:
        programs.stop()

    assert ends == [End("broken", 3, is_final=number == 5) for number in range(1, 6)]


def test_a_program_that_ran_well_before_has_all_its_chances_again(monkeypatch):
    monkeypatch.setattr(supervision, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(supervision, "QUICK_S", 0)
    programs = supervision.Programs()
    programs.start("tired", [sys.executable, "-c", "pass"])
    ends = []

    try:
        wait_for(lambda: ends.extend(programs.keep_running()) or len(ends) >= 7, "seven ends", seconds=20)
    finally:
        programs.stop()

    assert not any(end.is_final for end in ends)


def test_up_says_in_one_line_that_it_cannot_start(tmp_path):
    with Product(tmp_path / "data") as product:
        product.wait_until_ready()

        taken = manage("up", "--port", str(product.port), data_dir=tmp_path / "other")
        twice = manage("up", "--port", str(free_port()), data_dir=tmp_path / "data")

        assert (taken.returncode, taken.stderr) == (
            1,
            f"CommandError: Cannot listen on 127.0.0.1, port {product.port}: Address already in use. "
            "Choose with --port.\n",
        )
        assert (twice.returncode, twice.stderr) == (
            1,
            f"CommandError: Already running on the data directory {tmp_path / 'data'}.\n",
        )
        product.stop()


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        (["--port", "70000"], {}, "CommandError: A port lies between 1 and 65535, 70000 does not."),
        (["--no-migrate"], {}, "CommandError: The database is not migrated: run migrate, or up without --no-migrate."),
        (["--host", "192.0.2.1"], {}, "CommandError: Cannot listen on 192.0.2.1"),
        (
            [],
            {"BOOSTER_DATA_DIR": "/proc/none"},
            "Not configured properly: The data directory /proc/none cannot be used",
        ),
        ([], {"DATABASE_URL": NO_SUCH_DATABASE}, "CommandError: The database cannot be used:"),
    ],
    ids=["port", "not migrated", "host", "data directory", "no such database"],
)
def test_up_refuses_in_one_line(tmp_path, arguments, variables, message):
    refused = manage("up", "--port", str(free_port()), *arguments, data_dir=tmp_path / "data", **variables)

    assert refused.returncode == 1
    assert refused.stderr.startswith(message)
    assert refused.stderr.count("\n") == 1


@pytest.mark.skipif(not os.environ.get("REDIS_URL"), reason="SQLite runs without Redis")
@pytest.mark.django_db(transaction=True)
def test_up_on_postgresql_and_redis_runs_a_worker_besides(tmp_path):
    from django.db import connection

    name = "booster_up_test"
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        cursor.execute(f"CREATE DATABASE {name}")
    base, _, query = os.environ["DATABASE_URL"].partition("?")
    url = f"{base.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")
    try:
        with Product(tmp_path / "data", "--demo", DATABASE_URL=url, REDIS_URL=os.environ["REDIS_URL"]) as product:
            product.wait_until_ready()
            programs = " ".join(product.running())

            status = product.stop()

            assert all(program in programs for program in ("granian", "beat", "worker"))
            assert (status, product.running()) == (0, [])
            assert "Traceback" not in product.printed()
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
