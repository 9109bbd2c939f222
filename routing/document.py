"""The answers a terminal gets, as canonical JSON: the same bytes on every node.

Three documents are made from a `Landscape`: the configuration, the servers' status, and the shape
that an unmodified Web POS reads (reference/openbravo, section 3). Design, section 5.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from preferences.registry import DEFINITIONS
from routing.landscape import BROADCAST, FAILOVER, PING, Landscape, OrganizationCode, Server, Service
from servers.address import origin_of

FORMAT = 1


class Door(StrEnum):
    """The terminal doors at which documents are given."""

    CONFIGURATION = "configuration"
    STATUS = "status"
    WEBPOS = "webpos"


OFFLINE = "offline"
MAIN = "main"
# What an unmodified Web POS calls the routing types; Transaction is its store-and-forward delivery.
WEBPOS_TYPES = {FAILOVER: "Failover", BROADCAST: "Broadcast", PING: "Ping"}
WEBPOS_TRANSACTION = "Transaction"


def tag_of(identity: bytes) -> str:
    """Return the entity tag of a document, without quotes: a hash of its plain bytes."""
    return hashlib.sha256(identity).hexdigest()[:32]


@dataclass(frozen=True)
class Document:
    """Compiled bytes of one answer: plain, gzipped (once somebody asks), and the entity tag without quotes."""

    identity: bytes
    tag: str

    @classmethod
    def of(cls, identity: bytes) -> Document:
        return cls(identity, tag_of(identity))

    @cached_property
    def gzipped(self) -> bytes:
        return gzip.compress(self.identity, mtime=0)


@dataclass(frozen=True, slots=True)
class ServerState:
    """A server's status and since when; unknown while nothing ever observed the server."""

    status: str = OFFLINE
    since: datetime | None = None


UNOBSERVED = ServerState()


def canonical_json(value: Any) -> bytes:
    """Return `value` as UTF-8 JSON without blanks and escapes, members in the order given."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def utc_text(moment: datetime | None) -> str | None:
    """Return a moment as ISO 8601 in UTC with `Z`, to the second."""
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def configuration(landscape: Landscape, organization: OrganizationCode, boosters: Sequence[str]) -> dict[str, Any]:
    """Return the routing configuration of the terminals of `organization`; see design, section 5."""
    servers = landscape.terminal_servers(organization)
    return {
        **_head(landscape, organization, servers),
        "preferences": _preferences(landscape, organization),
        "servers": [_server(landscape, server) for server in servers],
        "services": _services(landscape),
        "boosters": list(boosters),
    }


def _head(landscape: Landscape, organization: OrganizationCode, servers: Sequence[Server]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "organization": {
            "code": organization,
            "name": landscape.organizations[organization].name,
            "path": list(landscape.path(organization)),
        },
        "multi_server": bool(servers),
    }


def _preferences(landscape: Landscape, organization: OrganizationCode) -> dict[str, Any]:
    return {
        definition.key: landscape.preference(definition.key, organization).value
        for definition in DEFINITIONS
        if definition.in_configuration
    }


def _services(landscape: Landscape) -> list[dict[str, Any]]:
    return [
        {
            "name": service.name,
            "routing_type": service.routing_type,
            "transactional": service.is_transactional,
            "timeout_s": service.effective_timeout_s,
        }
        for service in landscape.active_services
    ]


def _server(landscape: Landscape, server: Server) -> dict[str, Any]:
    return {
        "key": server.key,
        "name": server.name,
        "url": server.url,
        "type": server.server_type,
        "priority": server.priority,
        "all_services": server.all_services,
        "services": [] if server.all_services else list(landscape.services_of(server)),
    }


def status(landscape: Landscape, organization: OrganizationCode, states: Mapping[str, ServerState]) -> dict[str, Any]:
    """Return the state of each server in the configuration of `organization`, in calling order."""
    return {
        "format": FORMAT,
        "servers": [_state(server.key, states) for server in landscape.terminal_servers(organization)],
    }


def _state(key: str, states: Mapping[str, ServerState]) -> dict[str, Any]:
    state = states.get(key, UNOBSERVED)
    return {"key": key, "status": state.status, "since": utc_text(state.since)}


class Writer:
    """Writes the documents of one landscape as bytes, from parts that stores share and that are made once.

    `configuration` and `status` give the bytes of the values that the functions of these names return.
    """

    def __init__(self, landscape: Landscape, boosters: Sequence[str]) -> None:
        self._landscape = landscape
        self._boosters = canonical_json(list(boosters))
        self._servers: dict[str, bytes] = {}
        self._preferences: dict[tuple[OrganizationCode, ...], bytes] = {}

    @cached_property
    def _with_preferences(self) -> frozenset[OrganizationCode | None]:
        return frozenset(organization for _, organization in self._landscape.preferences)

    def _preferences_of(self, organization: OrganizationCode) -> bytes:
        """Write the preferences once for all organizations whose lineages meet the same values."""
        deciding = tuple(code for code in self._landscape.lineage(organization) if code in self._with_preferences)
        written = self._preferences.get(deciding)
        if written is None:
            written = self._preferences[deciding] = canonical_json(_preferences(self._landscape, organization))
        return written

    @cached_property
    def _services(self) -> bytes:
        return canonical_json(_services(self._landscape))

    def _server(self, server: Server) -> bytes:
        written = self._servers.get(server.key)
        if written is None:
            written = self._servers[server.key] = canonical_json(_server(self._landscape, server))
        return written

    def configuration(self, organization: OrganizationCode) -> bytes:
        servers = self._landscape.terminal_servers(organization)
        head = canonical_json(_head(self._landscape, organization, servers))
        return b"".join(
            (
                head[:-1],
                b',"preferences":',
                self._preferences_of(organization),
                b',"servers":[',
                b",".join([self._server(server) for server in servers]),
                b'],"services":',
                self._services,
                b',"boosters":',
                self._boosters,
                b"}",
            )
        )

    def status(self, organization: OrganizationCode, states: Mapping[str, ServerState]) -> bytes:
        return canonical_json(status(self._landscape, organization, states))


def current_server(landscape: Landscape, organization: OrganizationCode, origin: str) -> str:
    """Return the key of the one server flagged current for a page from `origin`, or an empty text.

    It is the server whose origin the page has, else the first in calling order.
    """
    servers = landscape.terminal_servers(organization)
    at_origin = (server.key for server in servers if origin_of(server.url) == origin)
    return next(at_origin, servers[0].key if servers else "")


def webpos(landscape: Landscape, organization: OrganizationCode, current: str) -> dict[str, Any]:
    """Return what an unmodified Web POS reads: `servers`, `services` and `permissions`.

    `current` is the key of the server flagged as current. Source: reference/openbravo, sections 1.5
    and 3.
    """
    return {
        "servers": [
            {
                "name": server.name,
                "address": server.url,
                "online": True,
                "priority": server.priority,
                "allServices": server.all_services,
                "mainServer": server.server_type == MAIN,
                "currentServer": server.key == current,
                "services": [] if server.all_services else list(landscape.services_of(server)),
            }
            for server in landscape.terminal_servers(organization)
        ],
        "services": [_webpos_service(service) for service in landscape.active_services],
        "permissions": {
            definition.original: landscape.preference(definition.key, organization).value
            for definition in DEFINITIONS
            if definition.in_webpos
        },
    }


def _webpos_service(service: Service) -> dict[str, Any]:
    is_queued = service.is_transactional and service.routing_type == FAILOVER
    members: dict[str, Any] = {
        "name": service.name,
        "type": WEBPOS_TRANSACTION if is_queued else WEBPOS_TYPES[service.routing_type],
    }
    if service.default_timeout_s is not None:
        members["defaultTimeout"] = service.default_timeout_s
    if service.timeout_s is not None:
        members["timeout"] = service.timeout_s
    return members
