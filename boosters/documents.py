"""The documents of the terminals that a store's server stands beside, for its agent to keep.

The agent gives them out when a store reaches no Booster. All is read from memory: no query, however many stores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from backoffice.document_signing import sign_document, signing_keys
from routing.document import Door, canonical_json
from routing.landscape import Landscape, OrganizationCode
from routing.store import Snapshot
from servers.models import ServerType

FORMAT = 1
DOORS = (Door.CONFIGURATION, Door.STATUS)


def organizations_beside(landscape: Landscape, key: str) -> tuple[OrganizationCode, ...]:
    """Return the active stores whose terminals are given that store server; none for a main server."""
    server = landscape.servers.get(key)
    if server is None or not server.is_active or server.server_type != ServerType.STORE:
        return ()
    return tuple(code for code in landscape.stores_served_by(server) if landscape.organizations[code].is_active)


def terminals_by_organization(
    snapshot: Snapshot, codes: tuple[OrganizationCode, ...], moment: datetime
) -> Mapping[OrganizationCode, list[str]]:
    """Return the ids of the tokens that open the terminal doors at `moment`, by store; no secret among them."""
    index = _index.of(snapshot) if codes else {}
    return {
        code: [
            token_id
            for token_id in index.get(code, ())
            if snapshot.tokens[token_id].refusal(moment, organization_is_active=True) is None
        ]
        for code in codes
    }


class _Index:
    """The token ids of each store, worked out once for as long as neither tokens nor tree are read anew.

    A chain has tens of thousands of tokens, and each of a thousand agents asks twice a minute.
    """

    def __init__(self) -> None:
        self._kept: tuple[object, object, Mapping[OrganizationCode, list[str]]] = (None, None, {})

    def of(self, snapshot: Snapshot) -> Mapping[OrganizationCode, list[str]]:
        tokens, codes, index = self._kept
        if tokens is snapshot.tokens and codes is snapshot.organization_codes:
            return index
        made: dict[OrganizationCode, list[str]] = {}
        for token_id in sorted(snapshot.tokens):
            code = snapshot.organization_of(snapshot.tokens[token_id])
            if code is not None:
                made.setdefault(code, []).append(token_id)
        self._kept = (snapshot.tokens, snapshot.organization_codes, made)
        return made


_index = _Index()


class StoreDocuments:
    """What the agent of one server keeps: cheap to compare by `tag`, written only when it is asked for."""

    def __init__(self, snapshot: Snapshot, server_key: str, moment: datetime) -> None:
        self._snapshot = snapshot
        self._moment = moment
        codes = organizations_beside(snapshot.landscape, server_key)
        self._terminals = terminals_by_organization(snapshot, codes, moment)

    @property
    def tag(self) -> str:
        """The entity tag, without quotes; signatures made at another time do not change it."""
        told = [
            [code, terminals, *(self._snapshot.tag(door, code) for door in DOORS)]
            for code, terminals in self._terminals.items()
        ]
        # Without any store nothing is told of the revision either.
        revision = self._snapshot.revision if told else 0
        keys = [key["kid"] for key in signing_keys()]
        return hashlib.sha256(canonical_json([FORMAT, keys, revision, told])).hexdigest()[:32]

    def body(self) -> bytes:
        """Return the answer; see docs/agents.md."""
        return canonical_json(
            {
                "format": FORMAT,
                "signing_keys": signing_keys(),
                "organizations": [
                    {
                        "code": code,
                        "terminals": terminals,
                        "documents": {str(door): self._document(door, code) for door in DOORS},
                    }
                    for code, terminals in self._terminals.items()
                ],
            }
        )

    def _document(self, door: Door, code: OrganizationCode) -> dict[str, Any]:
        document = self._snapshot.document(door, code)
        revision = self._snapshot.revision
        return {
            "body": document.identity.decode(),
            "tag": document.tag,
            "revision": revision,
            "signature": sign_document(door, code, revision, document.identity, self._moment),
        }
