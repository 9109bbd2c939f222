"""What a vendor signed: compact JWS with Ed25519, checked against public keys on disk, without any connection.

Licences and patches are read with this. A key's file name, or a JWK's `kid`, is its id.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from jwt.algorithms import OKPAlgorithm

ALGORITHM = "EdDSA"
SHAPE = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\r?\n?", re.ASCII)
KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,40}", re.ASCII)
PRIVATE = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
PUBLIC = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


class NotSigned(ValueError):
    """Not a text of that shape at all."""


class UnknownKey(ValueError):
    """Signed with a key that is not among the given ones; its argument is the key's id."""


class WrongSignature(ValueError):
    """The signature does not fit the text."""


def sign(payload: bytes, key: Ed25519PrivateKey, key_id: str, kind: str) -> str:
    """Return the signed text; `kind` goes into the header as `typ`."""
    return jwt.PyJWS().encode(payload, key, ALGORITHM, {"typ": kind, "kid": key_id})


def read(data: bytes, keys: Mapping[str, Ed25519PublicKey], kind: str | None = None) -> tuple[bytes, str]:
    """Return the payload and the id of the key it is signed with, after checking the signature.

    Raises NotSigned, also when `kind` is given and the text is of another; UnknownKey; WrongSignature.
    Nothing is believed before the signature is, apart from the id of the key to check it with. One line
    end after the text does not matter; any other change does.
    """
    shaped = SHAPE.fullmatch(data.decode("ascii", errors="replace"))
    if shaped is None:
        raise NotSigned
    try:
        header = json.loads(_decoded(shaped[1]))
        signature = _decoded(shaped[3])
    except (ValueError, RecursionError) as error:
        raise NotSigned from error
    key_id = header.get("kid") if isinstance(header, dict) else None
    if not isinstance(key_id, str) or (kind is not None and header.get("typ") != kind):
        raise NotSigned
    key = keys.get(key_id)
    if key is None:
        raise UnknownKey(key_id)
    try:
        payload = jwt.PyJWS().decode(".".join(shaped.groups()), key, algorithms=[ALGORITHM])
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise WrongSignature from error
    # The last character of a signature has bits that mean nothing: only one spelling is the vendor's.
    if _encoded(signature) != shaped[3]:
        raise WrongSignature
    return payload, key_id


def keys_in(directory: Path) -> tuple[dict[str, Ed25519PublicKey], tuple[str, ...]]:
    """Return the public keys of a directory's PEM and JWK files by id, and the names of files that hold none."""
    keys, faulty = {}, []
    for path in sorted((*directory.glob("*.pem"), *directory.glob("*.jwk"))):
        try:
            if path.suffix == ".jwk":
                key_id, key = _read_jwk(path)
                keys[key_id] = key
            else:
                keys[path.stem] = read_public_key(path)
        except (OSError, ValueError, jwt.PyJWTError):
            faulty.append(path.name)
    return keys, tuple(faulty)


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Read an Ed25519 public key from a PEM file; raises ValueError for anything else."""
    key = load_pem_public_key(path.read_bytes())
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"{path} holds no Ed25519 public key.")
    return key


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Read an Ed25519 private key without password from a PEM file; raises ValueError for anything else."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} holds no private key without password.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path} holds no Ed25519 private key.")
    return key


def key_id_of(path: Path) -> str:
    """Return the id of the key that a file of `make_key_pair` holds."""
    return path.name.removesuffix(".pem").removesuffix(".private")


def make_key_pair(directory: Path, key_id: str) -> tuple[Path, Path]:
    """Make a key pair and return its private and its public file; raises FileExistsError instead of overwriting."""
    key = Ed25519PrivateKey.generate()
    private, public = directory / f"{key_id}.private.pem", directory / f"{key_id}.pem"
    if public.exists():
        raise FileExistsError(17, "File exists", str(public))
    write_new(private, key.private_bytes(*PRIVATE), 0o600)
    write_new(public, key.public_key().public_bytes(*PUBLIC), 0o644)
    return private, public


def write_new(file: Path, content: bytes, mode: int) -> None:
    """Write a file that must not exist: keys and what is signed are never overwritten."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)


def _read_jwk(path: Path) -> tuple[str, Ed25519PublicKey]:
    told: Any = json.loads(path.read_text())
    key = OKPAlgorithm.from_jwk(told)
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"{path} holds no Ed25519 public key.")
    key_id = told.get("kid", path.stem)
    if not isinstance(key_id, str):
        raise ValueError(f"{path} names its key with something that is no text.")
    return key_id, key


def _decoded(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error as error:
        raise ValueError("not base64") from error


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
