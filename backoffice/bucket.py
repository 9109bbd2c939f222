"""The bucket that all nodes share, from one address: `s3://KEY:SECRET@HOST[:PORT]/BUCKET?region=R&tls=no`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

SHAPE = "s3://KEY:SECRET@HOST/BUCKET, with ?region=… and ?tls=no if need be"
NEEDS = "BUCKET_URL needs the package django-storages[s3]: pip install -r requirements-bucket.txt."


def storage_of(url: str) -> dict[str, Any]:
    """Return the entry of Django's STORAGES for a bucket; raises ValueError, which says what is wrong.

    Without a host it is Amazon's; without key and secret the machine's own credentials are used.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"BUCKET_URL is not an address: {error}.") from error
    name = parts.path.strip("/")
    told = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(set(told) - {"region", "tls"})
    if parts.scheme != "s3" or not name or "/" in name or unknown or told.get("tls", "yes") not in ("yes", "no"):
        raise ValueError(f"BUCKET_URL must be {SHAPE}.")
    if find_spec("storages") is None or find_spec("boto3") is None:
        raise ValueError(NEEDS)
    options: dict[str, Any] = {
        "bucket_name": name,
        "access_key": unquote(parts.username) if parts.username else None,
        "secret_key": unquote(parts.password) if parts.password else None,
        "region_name": told.get("region") or None,
        "default_acl": None,
        "file_overwrite": True,
    }
    if parts.hostname:
        scheme = "http" if told.get("tls") == "no" else "https"
        options["endpoint_url"] = f"{scheme}://{parts.hostname}{f':{port}' if port else ''}"
        options["addressing_style"] = "path"
    return {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
