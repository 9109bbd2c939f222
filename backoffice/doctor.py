"""What is wrong with an installation, one finding per thing looked at."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import redis
from django.conf import settings
from django.db import DatabaseError, connection

from accounts.models import User
from backoffice.health import unapplied_migrations
from backoffice.signed_text import keys_in
from boosters.node import own_role
from boosters.pair import pair_standing
from boosters.parameters import ParameterRefused
from boosters.patch_files import NO_KEYS as NO_PATCH_KEYS
from licensing.files import NO_KEYS, faulty_vendor_keys, vendor_keys
from licensing.installation import standing
from licensing.rules import headline
from organizations.integrity import find_faults
from routing.revision import missing_triggers
from services.manifest import parse_manifest, standard_manifests
from services.models import Module

LEAST_FREE_BYTES = 200 * 1024 * 1024
GREATEST_CLOCK_DIFFERENCE_S = 5.0
SHOWN = 5


class Level(StrEnum):
    OK = "ok"
    NOTE = "note"
    WRONG = "WRONG"


@dataclass(frozen=True, slots=True)
class Finding:
    level: Level
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.level:<5} {self.subject}: {self.text}"


def examine() -> Iterator[Finding]:
    """Look at the installation; what needs the database is left out where that is away."""
    yield _data_directory()
    yield _secret_key()
    yield _redis()
    yield _vendor_keys()
    yield _patch_keys()
    try:
        yield _database()
        for subject, look in DATABASE_CHECKS.items():
            level, text = look()
            yield Finding(level, subject, text)
            if look is _migrations and level is Level.WRONG:
                return  # the tables that the rest would ask may not exist
    except DatabaseError as error:
        yield Finding(Level.WRONG, "database", _first_line(error))


def _data_directory() -> Finding:
    subject, path = "data directory", settings.DATA_DIR
    if not os.access(path, os.W_OK | os.X_OK):
        return Finding(Level.WRONG, subject, f"{path} cannot be written")
    free = shutil.disk_usage(path).free
    level = Level.WRONG if free < LEAST_FREE_BYTES else Level.OK
    return Finding(level, subject, f"{path}, {free // 1024**2:,} MiB free")


def _secret_key() -> Finding:
    subject, path = "secret key", settings.DATA_DIR / "secret.key"
    if os.environ.get("SECRET_KEY") or os.environ.get("SECRET_KEY_FILE"):
        given = os.environ.get("SECRET_KEY_FILE")
        return _file_mode(subject, Path(given)) if given else Finding(Level.OK, subject, "from the environment")
    return _file_mode(subject, path)


def _file_mode(subject: str, path: Path) -> Finding:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return Finding(Level.WRONG, subject, f"others can read {path} (mode {mode:04o}); run chmod 600 on it")
    return Finding(Level.OK, subject, f"{path}, mode {mode:04o}")


def _redis() -> Finding:
    if not settings.REDIS_URL:
        return Finding(Level.OK, "redis", "not used")
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2) as client:
            version = client.info("server")["redis_version"]
    except (redis.RedisError, OSError) as error:
        return Finding(Level.WRONG, "redis", _first_line(error))
    return Finding(Level.OK, "redis", f"version {version}")


def _vendor_keys() -> Finding:
    subject = "vendor keys"
    if faulty := list(faulty_vendor_keys()):
        return Finding(Level.WRONG, subject, f"no public key (a private one never belongs there): {_some(faulty)}")
    known = list(vendor_keys())
    if not known:
        return Finding(Level.NOTE, subject, f"{NO_KEYS}; see docs/licences.md")
    return Finding(Level.OK, subject, f"licences may be signed with {_some(known)}")


def _patch_keys() -> Finding:
    subject, directory = "patch keys", Path(settings.BOOSTER_PATCH_KEYS)
    known, faulty = keys_in(directory)
    if faulty:
        return Finding(Level.WRONG, subject, f"no public key of Ed25519 in {directory}: {_some(list(faulty))}")
    if not known:
        return Finding(Level.NOTE, subject, f"patches are refused: {NO_PATCH_KEYS}; see docs/patches.md")
    return Finding(Level.OK, subject, f"patches may be signed with {_some(list(known))}")


def _database() -> Finding:
    connection.ensure_connection()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SHOW server_version")
            return Finding(Level.OK, "database", f"PostgreSQL {cursor.fetchone()[0]}")
        cursor.execute("SELECT sqlite_version()")
        version = cursor.fetchone()[0]
        cursor.execute("PRAGMA quick_check(1)")
        verdict = cursor.fetchone()[0]
    if verdict != "ok":
        return Finding(Level.WRONG, "database", f"SQLite file is damaged: {verdict}")
    return Finding(Level.OK, "database", f"SQLite {version}")


def _clock() -> tuple[Level, str]:
    if connection.vendor != "postgresql":
        return Level.OK, "the database shares this node's"
    before = datetime.now(UTC)
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        its = cursor.fetchone()[0]
    ours = before + (datetime.now(UTC) - before) / 2
    apart = abs((its - ours).total_seconds())
    level = Level.WRONG if apart > GREATEST_CLOCK_DIFFERENCE_S else Level.OK
    return level, f"this node and the database are {apart:.1f} s apart"


def _migrations() -> tuple[Level, str]:
    missing = unapplied_migrations()
    return (Level.WRONG, f"not applied: {_some(missing)}") if missing else (Level.OK, "all applied")


def _triggers() -> tuple[Level, str]:
    missing = sorted(missing_triggers(connection))
    if missing:
        return Level.WRONG, f"missing, so changes go unnoticed; run migrate: {_some(missing)}"
    return Level.OK, "all there"


def _tree() -> tuple[Level, str]:
    faults = [str(fault) for fault in find_faults()]
    return (Level.WRONG, f"{_some(faults)}; run check_tree --fix") if faults else (Level.OK, "sound")


def _modules() -> tuple[Level, str]:
    installed = dict(Module.objects.values_list("name", "version"))
    missing = [name for name in _standard_modules() if name not in installed]
    if missing:
        return Level.NOTE, f"not installed: {_some(missing)}; run install_manifest --standard"
    return Level.OK, f"{len(installed)} installed, the standard ones among them"


def _administrators() -> tuple[Level, str]:
    if User.objects.filter(is_active=True, is_superuser=True).exists():
        return Level.OK, "there is one who can log in"
    return Level.NOTE, "nobody can log in; run create_admin"


def _license() -> tuple[Level, str]:
    where = standing()
    is_well = where.status.is_unlocked and not where.clock_warning
    return Level.OK if is_well else Level.NOTE, where.clock_warning or headline(where.status)


def _boosters() -> tuple[Level, str]:
    """Tell which node this one is and whether one acts."""
    try:
        standing = pair_standing()
    except ParameterRefused as refusal:
        return Level.WRONG, str(refusal)
    if standing.warnings:
        return Level.WRONG, " ".join(standing.warnings)
    return Level.OK, f"this node is the {own_role()} one; acting: {standing.acting}, term {standing.lease.term}"


DATABASE_CHECKS: dict[str, Callable[[], tuple[Level, str]]] = {
    "clock": _clock,
    "migrations": _migrations,
    "revision triggers": _triggers,
    "organization tree": _tree,
    "standard modules": _modules,
    "administrator": _administrators,
    "licence": _license,
    "boosters": _boosters,
}


def _standard_modules() -> list[str]:
    return [parse_manifest(path.read_bytes()).name for path in standard_manifests()]


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
