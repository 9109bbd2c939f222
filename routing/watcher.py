"""The thread that keeps a process's store up to date and writes what terminals told."""

from __future__ import annotations

import hmac
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import redis
import structlog
from django.conf import settings
from django.db import DatabaseError, connections

from routing import disk_snapshot, revision
from routing.store import Snapshot, Store

logger = structlog.get_logger(__name__)

CHECK_INTERVAL_S = 1.0
REPORT_INTERVAL_S = 5.0
REDIS_RETRY_S = 1.0
SAVE_INTERVAL_S = 10.0

beats: list[Callable[[datetime], None]] = []
"""What every web process does along with writing its reports, filled by the rooms above; see `fleet.pulse`."""


class Watcher:
    """Keeps a process's store up to date and writes its reports, in threads of its own.

    One of them keeps the snapshot on disk, and takes it from there when the database is away at the start.
    """

    def __init__(self, store: Store, when_moved: Callable[[Snapshot], None] = lambda snapshot: None) -> None:
        self._store = store
        self._when_moved = when_moved
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._database_is_away = False

    def start(self) -> None:
        self._threads = [
            threading.Thread(target=self._watch, name="revision-watcher", daemon=True),
            threading.Thread(target=self._keep, name="revision-keeper", daemon=True),
        ]
        if settings.REDIS_URL:
            self._threads.append(threading.Thread(target=self._listen, name="revision-listener", daemon=True))
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads and write the last reports."""
        self._stopping.set()
        revision.moved.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def _watch(self) -> None:
        written_at = time.monotonic()
        while not self._stopping.is_set():
            revision.moved.clear()
            is_due = time.monotonic() - written_at >= REPORT_INTERVAL_S
            self.check(write_reports=is_due)
            if is_due:
                written_at = time.monotonic()
            revision.moved.wait(CHECK_INTERVAL_S)
        self.check(write_reports=True)
        connections.close_all()

    def check(self, *, write_reports: bool) -> None:
        """Read what moved and write what is due; a database that is away is waited for."""
        try:
            if write_reports or self._store.reports.has_first_uses:
                self._store.reports.flush()
            if self._store.refresh() and self._store.snapshot is not None:
                self._when_moved(self._store.snapshot)
            if self._database_is_away:
                logger.warning("database-back")
            self._database_is_away = False
            if write_reports:
                self._beat()
        except DatabaseError as error:
            connections.close_all()
            if not self._database_is_away:
                logger.warning("database-away", error=type(error).__name__)
                self.restore()
            self._database_is_away = True
        except Exception:
            # The thread must outlive whatever happens: without it, no change would arrive any more.
            logger.exception("revision-check-failed")

    @staticmethod
    def _beat() -> None:
        for beat in beats:
            try:
                beat(datetime.now(UTC))
            except Exception:
                # What the rooms above want of this thread must not cost terminals their answers.
                logger.exception("beat-failed")
                connections.close_all()

    def restore(self) -> None:
        """Take the snapshot on disk where there is none yet."""
        if self._store.snapshot is not None:
            return
        kept = disk_snapshot.load(settings.TERMINAL_SNAPSHOT, _sealing_key())
        if kept is not None:
            self._store.restore(kept, datetime.now(UTC))
            logger.warning("snapshot-restored", checked_at=kept.checked_at.isoformat())

    def save(self) -> bool:
        """Write the snapshot to disk unless the one there, of this process or another, is as new; tell whether."""
        kept = self._store.kept()
        if kept is None or disk_snapshot.saved_numbers(settings.TERMINAL_SNAPSHOT) == kept.numbers:
            return False
        try:
            disk_snapshot.save(settings.TERMINAL_SNAPSHOT, kept, _sealing_key())
        except OSError as error:
            logger.warning("snapshot-not-kept", error=error.strerror)
            return False
        return True

    def _keep(self) -> None:
        while not self._stopping.wait(SAVE_INTERVAL_S + random.random()):  # noqa: S311 - processes take turns
            self.save()
        self.save()

    def _listen(self) -> None:
        """Wake the watcher at once when any process announces a change over Redis."""
        while not self._stopping.is_set():
            try:
                with redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=2) as client:
                    subscription = client.pubsub(ignore_subscribe_messages=True)
                    subscription.subscribe(revision.CHANNEL)
                    while not self._stopping.is_set():
                        if subscription.get_message(timeout=CHECK_INTERVAL_S):
                            revision.moved.set()
            except redis.RedisError:
                # The watcher's own check every second stays in force meanwhile.
                self._stopping.wait(REDIS_RETRY_S)


def _sealing_key() -> bytes:
    return hmac.digest(settings.TOKEN_DIGEST_KEY.encode(), b"the terminals' snapshot on disk", "sha256")
