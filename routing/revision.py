"""The configuration's revision: moved by the database itself, watched by every process.

Triggers count every statement that changes a table of a scope, in the same transaction: saves, bulk
writes, imports and hand-written SQL alike, so no code path can forget it. They are laid again after
every migration, because SQLite drops them when it rebuilds a table. See docs/adr/0002.
"""

from __future__ import annotations

import threading
from typing import Any

import structlog
from django.apps import apps
from django.conf import settings
from django.db import connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from routing.models import Revision

logger = structlog.get_logger(__name__)

LANDSCAPE = "landscape"
CREDENTIALS = "credentials"
STATUS = "status"
CHANNEL = "booster:revision"

SCOPES: dict[str, tuple[str, ...]] = {
    LANDSCAPE: (
        "organizations.Organization",
        "services.MobileService",
        "preferences.PreferenceValue",
        "servers.MobileServer",
        "servers.OrganizationByServer",
        "servers.ServiceByServer",
    ),
    CREDENTIALS: ("terminals.Terminal", "terminals.TerminalToken"),
    STATUS: ("servers.ServerState",),
}

moved = threading.Event()
"""Set whenever this process learns that a revision may have moved; the watcher waits for it."""


def numbers() -> dict[str, int]:
    """Return the revision number of every scope, in one query; 0 for one that never moved."""
    return dict.fromkeys(SCOPES, 0) | dict(Revision.objects.values_list("scope", "number"))


def trigger_statements(vendor: str) -> list[str]:
    """Return the SQL that lays every trigger, for `postgresql` or `sqlite`; safe to run again."""
    quoted = Revision._meta.db_table
    statements = []
    if vendor == "postgresql":
        statements.append(
            f"CREATE OR REPLACE FUNCTION {quoted}_move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"INSERT INTO {quoted} (scope, number) VALUES (TG_ARGV[0], 1) "
            f"ON CONFLICT (scope) DO UPDATE SET number = {quoted}.number + 1; RETURN NULL; END $$"
        )
    for scope, labels in SCOPES.items():
        for label in labels:
            table = apps.get_model(label)._meta.db_table
            if vendor == "postgresql":
                statements.append(
                    f"CREATE OR REPLACE TRIGGER {table}_moves_revision "
                    f"AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} "
                    f"FOR EACH STATEMENT EXECUTE FUNCTION {quoted}_move('{scope}')"
                )
                continue
            for action in ("insert", "update", "delete"):
                name = f"{table}_{action}_moves_revision"
                statements.append(f"DROP TRIGGER IF EXISTS {name}")
                statements.append(
                    f"CREATE TRIGGER {name} AFTER {action.upper()} ON {table} BEGIN "
                    f"INSERT INTO {quoted} (scope, number) VALUES ('{scope}', 1) "
                    "ON CONFLICT (scope) DO UPDATE SET number = number + 1; END"
                )
    return statements


def expected_triggers(vendor: str) -> set[str]:
    """Return the names of the triggers that must exist."""
    tables = [apps.get_model(label)._meta.db_table for labels in SCOPES.values() for label in labels]
    if vendor == "postgresql":
        return {f"{table}_moves_revision" for table in tables}
    return {f"{table}_{action}_moves_revision" for table in tables for action in ("insert", "update", "delete")}


def missing_triggers(connection: BaseDatabaseWrapper) -> set[str]:
    """Return the triggers that the database lacks (what `doctor` reports)."""
    query = (
        "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
        if connection.vendor == "postgresql"
        else "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    )
    with connection.cursor() as cursor:
        cursor.execute(query)
        return expected_triggers(connection.vendor) - {name for (name,) in cursor.fetchall()}


def install_triggers(sender: Any, using: str, plan: Any = None, **kwargs: Any) -> None:
    """Lay the triggers once all tables stand; connected to post_migrate."""
    if sender.name != "routing":
        return
    connection = connections[using]
    tables = set(connection.introspection.table_names())
    needed = {apps.get_model(label)._meta.db_table for labels in SCOPES.values() for label in labels}
    if not needed <= tables or Revision._meta.db_table not in tables:
        return  # a migration to an earlier state: the next full migrate lays them
    with transaction.atomic(using=using), connection.cursor() as cursor:
        for statement in trigger_statements(connection.vendor):
            cursor.execute(statement)


def announce() -> None:
    """Tell this process at once, and the others over Redis where there is one, after commit.

    Only an accelerator: whoever misses it finds the moved number within a second.
    """
    transaction.on_commit(announce_now)


def announce_now() -> None:
    """Tell of a change that is committed already."""
    moved.set()
    _publish()


def _publish() -> None:
    if settings.REDIS_URL:
        import redis

        try:
            with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1) as client:
                client.publish(CHANNEL, "moved")
        except redis.RedisError as error:
            logger.warning("revision-announcement-failed", error=type(error).__name__)


def _announce_saved(sender: type[models.Model], **kwargs: Any) -> None:
    announce()


def announce_changes() -> None:
    """Announce every save and deletion of a model that belongs to a scope."""
    for labels in SCOPES.values():
        for label in labels:
            model = apps.get_model(label)
            for signal in (models.signals.post_save, models.signals.post_delete):
                signal.connect(_announce_saved, sender=model, dispatch_uid=f"routing.announce.{label}")
