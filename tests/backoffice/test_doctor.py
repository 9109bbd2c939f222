import os
from collections import namedtuple
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from backoffice import doctor
from backoffice.doctor import Level, examine
from boosters.keeping import Keeper
from boosters.parameters import Address, Parameters, Role
from licensing import files
from organizations.models import Organization
from services.manifest import install_manifest, standard_manifests
from tests.boosters.makers import write_keys
from tests.boosters.pairs import node
from tests.factories import make_admin, make_tree
from tests.licensing.makers import make_installation

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _healthy():
    make_admin()
    for path in standard_manifests():
        install_manifest(path.read_bytes())


@pytest.fixture
def patch_keys(settings, tmp_path):
    """Trust a vendor of patches; return the directory of his keys."""
    settings.BOOSTER_PATCH_KEYS = str(write_keys(tmp_path / "patch_keys"))
    return tmp_path / "patch_keys"


def findings(subject):
    return [(finding.level, finding.text) for finding in examine() if finding.subject == subject]


@pytest.mark.usefixtures("vendor_keys", "patch_keys")
def test_doctor_finds_nothing_wrong_with_a_sound_installation(capsys):
    call_command("doctor")

    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0].split(maxsplit=1) for line in lines] == [
        ["ok", subject]
        for subject in (
            "data directory",
            "secret key",
            "redis",
            "vendor keys",
            "patch keys",
            "database",
            "clock",
            "migrations",
            "revision triggers",
            "organization tree",
            "standard modules",
            "administrator",
            "licence",
            "boosters",
        )
    ]


def test_doctor_ends_with_status_1_when_anything_is_wrong(capsys):
    make_tree(ACME=None, OSLO="ACME")
    Organization.objects.filter(code="OSLO").update(path="Elsewhere")

    with pytest.raises(CommandError, match="1 thing is wrong"):
        call_command("doctor")

    assert "WRONG organization tree: OSLO: path wrong; run check_tree --fix" in capsys.readouterr().out


def test_doctor_finds_a_node_that_is_neither_of_the_pair(settings):
    """OMF-04."""
    settings.BOOSTER_PARAMETERS = Parameters(Address("192.0.2.1", 5169), Address("192.0.2.2", 5169), "192.0.2.3")

    found = findings("boosters")

    assert [level for level, _ in found] == [Level.WRONG]
    assert "192.0.2.3:5169 is neither BOOSTER_IP" in found[0][1]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="a pair needs PostgreSQL")
def test_doctor_finds_a_missing_peer(settings):
    """OMF-25."""
    settings.BOOSTER_PARAMETERS = node(Role.PRIMARY)
    Keeper().keep()

    assert findings("boosters") == [(Level.WRONG, "The secondary Booster (10.0.0.2:5169) was never seen.")]


def test_doctor_finds_a_missing_trigger():
    name = "services_mobileservice_moves_revision"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"DROP TRIGGER {name} ON services_mobileservice")
        else:
            name = "services_mobileservice_insert_moves_revision"
            cursor.execute(f"DROP TRIGGER {name}")

    assert findings("revision triggers") == [
        (Level.WRONG, f"missing, so changes go unnoticed; run migrate: {name}"),
    ]


def test_doctor_finds_a_key_that_others_can_read(settings, tmp_path, monkeypatch):
    monkeypatch.delenv("SECRET_KEY", raising=False)
    settings.DATA_DIR = tmp_path
    (tmp_path / "secret.key").write_text("x")
    os.chmod(tmp_path / "secret.key", 0o644)

    assert findings("secret key") == [
        (Level.WRONG, f"others can read {tmp_path / 'secret.key'} (mode 0644); run chmod 600 on it")
    ]


def test_doctor_finds_a_full_disk(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(free=1024**2))

    assert [level for level, _ in findings("data directory")] == [Level.WRONG]


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has the node's own clock")
def test_doctor_finds_clocks_that_differ(time_machine):
    time_machine.move_to(datetime.now(UTC) + timedelta(seconds=6))

    assert [level for level, _ in findings("clock")] == [Level.WRONG]


def test_doctor_finds_redis_away(settings, tmp_path):
    settings.REDIS_URL = f"unix://{tmp_path}/none.sock"

    assert [level for level, _ in findings("redis")] == [Level.WRONG]


def test_doctor_says_that_the_database_is_away_and_stops_there(monkeypatch):
    def refuse():
        raise OperationalError("connection refused\nIs the server running?")

    monkeypatch.setattr(connection, "ensure_connection", refuse)

    found = [str(finding) for finding in examine()]

    assert found[5:] == ["WRONG database: connection refused"]


def test_doctor_says_which_keys_of_the_vendor_ship(vendor_keys):
    shipped = findings("vendor keys")
    for path in vendor_keys.glob("*.pem"):
        path.unlink()
    files._shipped.cache_clear()
    none = findings("vendor keys")
    (vendor_keys / "5.private.pem").write_text("nonsense")
    files._shipped.cache_clear()

    assert [*shipped, *none, *findings("vendor keys")] == [
        (Level.OK, "licences may be signed with test-1, test-2"),
        (
            Level.NOTE,
            "no key of the vendor ships with this build, so it can accept no licence; see docs/licences.md",
        ),
        (Level.WRONG, "no public key (a private one never belongs there): 5.private.pem"),
    ]


def test_doctor_says_whose_patches_are_accepted(patch_keys):
    trusted = findings("patch keys")
    (patch_keys / "vendor-1.pem").unlink()
    none = findings("patch keys")
    (patch_keys / "vendor-2.pem").write_text("nonsense")

    assert [*trusted, *none, *findings("patch keys")] == [
        (Level.OK, "patches may be signed with vendor-1"),
        (
            Level.NOTE,
            "patches are refused: no vendor's key is known here: put the vendor's public key (PEM or JWK) into the "
            "directory that BOOSTER_PATCH_KEYS names, on every node; see docs/patches.md",
        ),
        (Level.WRONG, f"no public key of Ed25519 in {patch_keys}: vendor-2.pem"),
    ]


def test_doctor_notes_that_the_trial_is_over():
    make_installation(datetime(2026, 1, 1, tzinfo=UTC))

    assert findings("licence") == [(Level.NOTE, "There is no licence and the trial ended on 2026-01-08 00:00 UTC")]


def test_doctor_notes_a_missing_standard_module_and_administrator():
    from accounts.models import User
    from services.models import MobileService, Module

    MobileService.objects.all().delete()
    Module.objects.all().delete()
    User.objects.update(is_active=False)

    assert [findings(subject)[0][0] for subject in ("standard modules", "administrator")] == [Level.NOTE, Level.NOTE]


def test_doctor_looks_no_further_while_migrations_are_missing(monkeypatch):
    monkeypatch.setattr(doctor, "unapplied_migrations", lambda: [f"servers.000{number}" for number in range(2, 9)])

    found = [str(finding) for finding in examine()]

    assert found[-1] == (
        "WRONG migrations: not applied: servers.0002, servers.0003, servers.0004, servers.0005, servers.0006 and 2 more"
    )
