"""The copy of a terminal's documents that the agent of its store keeps, for when no Booster answers.

Nobody trusts the agent: what counts is the Booster's signature, by a key that came with the activation. The
agent learns the id of the terminal's token, never its secret.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from jwt.algorithms import OKPAlgorithm

from request_router.documents import WrongDocument
from request_router.transport import NoAnswer, call

JWS_TYPE = "booster-document+jwt"
PREFIX = "/api/v1/local"
ANSWER_WITHIN_S = 5.0
TAG_LENGTH = 32
LONGEST_SIGNATURE = 8 * 1024


class NoCopy(Exception):
    """The agent has nothing for this terminal, or did not answer; the text says which."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A document whose signature holds: the bytes, their tag, and what the Booster signed of them.

    `signed_at` is in seconds since 1970, by the Booster's clock.
    """

    body: bytes
    tag: str
    revision: int
    signed_at: float


def keys_of(jwks: Iterable[object]) -> dict[str, Ed25519PublicKey]:
    """Return the Ed25519 keys among `jwks` by their `kid`; what is no such key is passed over."""
    keys: dict[str, Ed25519PublicKey] = {}
    for jwk in jwks:
        try:
            key = OKPAlgorithm.from_jwk(jwk) if isinstance(jwk, dict) else None
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        if isinstance(jwk, dict) and isinstance(jwk.get("kid"), str) and isinstance(key, Ed25519PublicKey):
            keys[jwk["kid"]] = key
    return keys


def verified(
    signature: str, body: bytes, keys: Mapping[str, Ed25519PublicKey], *, door: str, organization: str
) -> tuple[int, float]:
    """Return the revision and the moment that a Booster signed for these bytes; raises WrongDocument.

    The signature must be by one of `keys`, and say that the bytes are this door's document of this organization.
    """
    claims = _claims(signature, keys)
    if claims.get("door") != door:
        raise WrongDocument(f"The signature is not that of a {door}.")
    if claims.get("organization") != organization:
        raise WrongDocument("The signature is that of another organization.")
    if claims.get("sha256") != hashlib.sha256(body).hexdigest():
        raise WrongDocument("The document is not the one that was signed.")
    revision, signed_at = claims.get("revision"), claims.get("iat")
    if type(revision) is not int or type(signed_at) is not int:
        raise WrongDocument("The signature names no revision or no moment.")
    return revision, float(signed_at)


def _claims(signature: str, keys: Mapping[str, Ed25519PublicKey]) -> Mapping[str, Any]:
    if len(signature) > LONGEST_SIGNATURE:
        raise WrongDocument("The signature is none.")
    try:
        header = jwt.get_unverified_header(signature)
        if header.get("typ") != JWS_TYPE or header.get("crit") is not None:
            raise WrongDocument("The signature is of another kind.")
        key = keys.get(str(header.get("kid")))
        if key is None:
            raise WrongDocument("The document is signed by a key that this terminal does not know.")
        claims = json.loads(jwt.PyJWS().decode(signature, key, algorithms=["EdDSA"]))
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        if isinstance(error, WrongDocument):
            raise
        raise WrongDocument("The signature does not hold.") from None
    if not isinstance(claims, dict):
        raise WrongDocument("The signature does not hold.")
    return claims


def is_older(copy: Copy, revision: int, confirmed_at: float) -> bool:
    """Tell whether a copy is older than what is held: by its revision, or signed before that was confirmed."""
    return copy.revision < revision or copy.signed_at < confirmed_at


class StoreCopy:
    """The agent's local port, as one terminal asks it."""

    def __init__(self, client: httpx.Client, url: str, token: str, jwks: Iterable[object]) -> None:
        self._client = client
        self.url = url
        self._terminal_id = token.partition(".")[0].rpartition("_")[2]
        self._keys = keys_of(jwks)

    def ask(self, door: str, organization: str, tag: str = "") -> Copy | None:
        """Return the copy of a door's document, None if it is the one with `tag`; raises NoCopy or WrongDocument."""
        if not self._keys or not organization:
            raise NoCopy("the activation gave no key to check it by, activate again")
        headers = {"X-Booster-Terminal": self._terminal_id, **({"If-None-Match": f'"{tag}"'} if tag else {})}
        try:
            answer = call(self._client, "GET", f"{self.url}{PREFIX}/{door}", timeout_s=ANSWER_WITHIN_S, headers=headers)
        except NoAnswer as error:
            raise NoCopy(str(error)) from None
        if answer.status == HTTPStatus.NOT_MODIFIED and tag:
            return None
        if answer.status != HTTPStatus.OK:
            raise NoCopy(f"HTTP {answer.status}")
        signature = answer.headers.get("X-Booster-Signature", "")
        revision, signed_at = verified(signature, answer.content, self._keys, door=door, organization=organization)
        # The tag is not signed: one of the agent's choosing would let a Booster answer 304 to what is not held.
        return Copy(answer.content, tag_of(answer.content), revision, signed_at)


def tag_of(body: bytes) -> str:
    """Return the entity tag that Boosters give to a document of these bytes."""
    return hashlib.sha256(body).hexdigest()[:TAG_LENGTH]
