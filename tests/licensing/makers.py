"""Licences and an installation for tests; the keys exist nowhere else."""

from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from licensing.files import License, sign
from licensing.models import Installation

KEYS = {name: Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32)) for name in ("test-1", "test-2")}
PUBLIC = {key_id: key.public_key() for key_id, key in KEYS.items()}
STRANGER = Ed25519PrivateKey.from_private_bytes(b"stranger".ljust(32))
INSTALLATION = "6f1c0e52-7d51-5b7e-9df0-0a3c29f2c111"
START = datetime(2027, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


def make_license(**fields):
    fields = {
        "id": "L-1",
        "customer": "Acme Retail",
        "type": "standard",
        "servers": 3,
        "terminals": 10,
        "issued_at": START,
        "not_before": START,
        "expires_at": START + 365 * DAY,
        "grace_days": 30,
        **fields,
    }
    return License(**fields)


def make_file(license_=None, *, key_id="test-1", key=None, **fields):
    """Return the bytes of a licence file."""
    return sign(license_ or make_license(**fields), key or KEYS[key_id], key_id).encode()


def make_installation(started_at=START, **fields):
    """Make the installation's row say when its trial started; nothing later was seen yet."""
    fields = {
        "installation_id": INSTALLATION,
        "trial_started_at": started_at,
        "highest_moment": started_at,
        "license": "",
        "next_license": "",
        **fields,
    }
    return Installation.objects.update_or_create(pk=1, defaults=fields)[0]


def write_public_keys(directory):
    for key_id, key in PUBLIC.items():
        (directory / f"{key_id}.pem").write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
