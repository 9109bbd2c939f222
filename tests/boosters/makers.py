"""Patches and what they are made of."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from backoffice import signed_text

KEY = Ed25519PrivateKey.from_private_bytes(b"the-vendor-of-patches-in-a-test!")
KEY_ID = "vendor-1"
KEYS = {KEY_ID: KEY.public_key()}
FILES = {"apply.sh": b"#!/bin/sh\nexit 0\n", "revert.sh": b"#!/bin/sh\nexit 0\n", "lib/pos.jar": b"new"}


def make_archive(files: dict[str, bytes] | None = None, *members: tarfile.TarInfo) -> bytes:
    """Return a gzipped tar of those files, and of members without content."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for name, content in (FILES if files is None else files).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for member in members:
            tar.addfile(member)
    return packed.getvalue()


def make_container(
    archive: bytes | None = None, *, key: Ed25519PrivateKey = KEY, key_id: str = KEY_ID, **claims: Any
) -> bytes:
    """Return a container whose first line fits its archive, but for what `claims` says instead."""
    archive = make_archive() if archive is None else archive
    told = {
        "kind": "patch",
        "product": "Openbravo POS",
        "name": "Summer release",
        "version": "1.2.0.0",
        "fits_from": "1.1.0.0",
        "fits_to": "1.2.0.0",
        "size_bytes": len(archive),
        "sha256": hashlib.sha256(archive).hexdigest(),
        "apply": "apply.sh",
        "revert": "revert.sh",
        "notes": "Faster.",
    } | claims
    return signed_text.sign(json.dumps(told).encode(), key, key_id, "booster-patch+jwt").encode() + b"\n" + archive


def write_keys(directory: Path) -> Path:
    """Write the test vendor's public key where BOOSTER_PATCH_KEYS may point."""
    directory.mkdir(exist_ok=True)
    (directory / f"{KEY_ID}.pem").write_bytes(KEY.public_key().public_bytes(*signed_text.PUBLIC))
    return directory


def make_patch(**claims: Any) -> Any:
    """Upload a patch; needs the fixture `patch_home`."""
    from django.utils import timezone

    from boosters.patches import upload

    return upload([make_container(**claims)], timezone.now())[0]
