"""Two transactions on two connections, at the point where each could wait for the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

from django.db import connection, transaction

BLOCKS_WITHIN_S = 5.0


def outcomes(begin: Callable[[], Any], meanwhile: Callable[[], Any], end: Callable[[], Any]) -> list[object]:
    """Run `begin` and `end` in one transaction; between them let `meanwhile` run until it waits or is done.

    Returns what each of the two transactions raised, None where it went well.
    """
    found: list[object] = [None, None]
    has_begun, other_is_done = Event(), Event()

    def one() -> None:
        try:
            with transaction.atomic():
                begin()
                has_begun.set()
                _wait_until_blocked(other_is_done)
                end()
        except Exception as error:
            found[0] = error
        finally:
            has_begun.set()
            connection.close()

    def other() -> None:
        has_begun.wait()
        try:
            meanwhile()
        except Exception as error:
            found[1] = error
        finally:
            other_is_done.set()
            connection.close()

    threads = [Thread(target=one), Thread(target=other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _wait_until_blocked(is_done: Event) -> None:
    """Return once another connection to this database waits for a lock, or its work is done."""
    deadline = time.monotonic() + BLOCKS_WITHIN_S
    while time.monotonic() < deadline and not is_done.is_set():
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()")
            if cursor.fetchone()[0]:
                return
        time.sleep(0.01)
