"""The PostgreSQL of a test's own comes back, however it went."""

import psycopg
import pytest

from tests.backing import own_postgresql

pytestmark = pytest.mark.processes


def answers(url):
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def test_a_database_that_was_stopped_or_killed_is_started_again_at_once():
    with own_postgresql() as postgresql:
        seen = []
        for end in (postgresql.stop, postgresql.kill):
            end()
            seen.append(answers(postgresql.url))
            postgresql.start()
            seen.append(answers(postgresql.url))
        postgresql.stop()

    assert seen == [False, True, False, True]
