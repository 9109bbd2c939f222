"""What the environment makes of the settings, each time in a fresh process."""

import json
import re

import pytest

from tests.backoffice.processes import ROOT, manage

PRODUCTION = {"BOOSTER_ENV": "production", "ALLOWED_HOSTS": "booster.example"}


def test_documentation_lists_exactly_the_variables_that_are_read():
    settings = (ROOT / "backoffice/settings.py").read_text()
    documented = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/configuration.md").read_text(), re.MULTILINE)

    read = set(re.findall(r'(?:env\.\w+|whole_number)\(\s*"(\w+)"', settings))

    assert len(read) > 10
    assert sorted(documented) == sorted(read)


def test_production_is_clean_by_djangos_own_checks(tmp_path):
    checked = manage("check", "--deploy", "--fail-level", "INFO", data_dir=tmp_path / "data", **PRODUCTION)

    assert (checked.returncode, checked.stdout, checked.stderr) == (
        0,
        "System check identified no issues (0 silenced).\n",
        "",
    )


def test_generated_key_is_kept_and_readable_by_its_owner_only(tmp_path):
    for _ in range(2):
        manage("check", data_dir=tmp_path / "data")

    key = tmp_path / "data" / "secret.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert len(key.read_text()) > 50


def test_a_value_may_come_from_a_file(tmp_path):
    file = tmp_path / "level"
    file.write_text("LOUD")

    refused = manage("check", data_dir=tmp_path / "data", LOG_LEVEL_FILE=str(file))

    assert "not 'LOUD'" in refused.stderr


def test_a_database_host_that_vanished_is_given_up_soon_and_the_address_may_say_when(tmp_path):
    url = "postgresql://u:p@/n?host=a,b&target_session_attrs=read-write&connect_timeout=2"
    script = (
        "import json; from django.conf import settings; print(json.dumps(settings.DATABASES['default']['OPTIONS']))"
    )

    shown = manage("shell", "--no-imports", "-c", script, data_dir=tmp_path / "data", DATABASE_URL=url)

    assert json.loads(shown.stdout) == {
        "host": "a,b",
        "target_session_attrs": "read-write",
        "connect_timeout": 2,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({**PRODUCTION, "DEBUG": "true"}, "DEBUG must be off"),
        ({"BOOSTER_ENV": "production"}, "ALLOWED_HOSTS must name"),
        ({**PRODUCTION, "SECRET_KEY": "short"}, "SECRET_KEY is weak"),
        ({**PRODUCTION, "SECRET_KEY": "ab" * 40}, "SECRET_KEY is weak"),
        ({"BOOSTER_ENV": "staging"}, "BOOSTER_ENV must be development or production"),
        ({"DATABASE_URL": "mysql://host/x"}, "DATABASE_URL must be"),
        ({"DATABASE_URL": "nonsense"}, "DATABASE_URL must be"),
        ({"DATABASE_URL": "postgresql://host"}, "DATABASE_URL must be"),
        ({"DATABASE_URL": "sqlite://:memory:"}, "DATABASE_URL must be"),
        ({"DATABASE_URL": "postgresql://host:port/x"}, "DATABASE_URL is not an address"),
        ({"DATABASE_URL": "postgresql://host/x", "DATABASE_CONN_MAX_AGE_S": "soon"}, "DATABASE_CONN_MAX_AGE_S must be"),
        ({"REDIS_URL": "localhost"}, "REDIS_URL must be"),
        ({"BOOSTER_TRUSTED_PROXIES": "10.0.0.0/8,proxy"}, "BOOSTER_TRUSTED_PROXIES must name"),
        ({"EMAIL_URL": "mail.example:25"}, "EMAIL_URL must be"),
        ({"EMAIL_URL": "smtp://mail.example:port"}, "EMAIL_URL must be"),
        ({"BOOSTER_EVENT_DAYS": "many"}, "BOOSTER_EVENT_DAYS must be"),
        ({"BOOSTER_METRICS_TOKEN": "short"}, "BOOSTER_METRICS_TOKEN must have at least 16 characters"),
        ({"BOOSTER_HISTORY_DAYS": "90"}, "BOOSTER_HISTORY_DAYS must be 91 to 36500, not 90"),
        ({"BUCKET_URL": "https://bucket.example"}, "BUCKET_URL must be s3://KEY:SECRET@HOST/BUCKET"),
        ({"BUCKET_URL": "s3://k:s@host:port/x"}, "BUCKET_URL is not an address"),
        ({"BOOSTER_LARGEST_PATCH_MB": "0"}, "BOOSTER_LARGEST_PATCH_MB must be at least 1"),
        ({"BOOSTER_PATCH_BYTES_PER_S": "-1"}, "BOOSTER_PATCH_BYTES_PER_S must be 0 or more"),
        ({"BOOSTER_DATA_DIR": "/proc/none"}, "The data directory /proc/none cannot be used"),
    ],
    ids=str,
)
def test_a_value_that_cannot_be_used_stops_every_command_in_one_line(tmp_path, variables, message):
    refused = manage("check", data_dir=tmp_path / "data", **variables)

    assert refused.returncode == 1
    assert refused.stderr.startswith(f"Not configured properly: {message}")
    assert refused.stderr.count("\n") == 1
