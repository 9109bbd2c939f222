"""The Booster's documents as values: checked from end to end, taken whole or not at all.

A terminal trusts nothing that it is sent: a document with one wrong member is refused, and the last good one
stays in force. Only preferences that are out of bounds fall back to their defaults one by one (rule N11).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn
from urllib.parse import urlsplit

FORMAT = 1
LARGEST_DOCUMENT = 16 * 2**20
LONGEST_TEXT = 2_000
GENERIC = "Generic"


class WrongDocument(ValueError):
    """What a Booster sent is not a document of the kind that was asked for; the text says where."""


class RoutingType(StrEnum):
    FAILOVER = "failover"
    BROADCAST = "broadcast"
    PING = "ping"


class ServerStatus(StrEnum):
    ONLINE = "online"
    TRANSITION_TO_OFFLINE = "transition_to_offline"
    OFFLINE = "offline"
    TRANSITION_TO_ONLINE = "transition_to_online"

    @property
    def is_transition(self) -> bool:
        return self in (ServerStatus.TRANSITION_TO_OFFLINE, ServerStatus.TRANSITION_TO_ONLINE)


@dataclass(frozen=True, slots=True)
class Service:
    """A mobile service; `timeout_s` is None where the preference decides."""

    name: str
    routing_type: RoutingType = RoutingType.FAILOVER
    is_transactional: bool = False
    timeout_s: int | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """A mobile server as a terminal knows it; `services` is of no account with `all_services`."""

    key: str
    name: str
    url: str
    is_main: bool
    all_services: bool = True
    services: frozenset[str] = frozenset()

    def provides(self, service: str) -> bool:
        return self.all_services or service in self.services


@dataclass(frozen=True, slots=True)
class Preferences:
    ping_interval_ms: int = 300_000
    token_refresh_interval_ms: int = 1_800_000
    token_max_age_ms: int = 43_200_000
    request_retries: int = 0
    request_timeout_s: int = 15
    poll_interval_s: int = 60


BOUNDS: Mapping[str, tuple[int, int]] = {
    "ping_interval_ms": (60_000, 86_400_000),
    "token_refresh_interval_ms": (600_000, 86_400_000),
    "token_max_age_ms": (1, 31_536_000_000),
    "request_retries": (0, 100),
    "request_timeout_s": (1, 3_600),
    "poll_interval_s": (1, 86_400),
}
"""What each preference may be; anything else counts as its default."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """A terminal's routing configuration: servers in calling order, services, preferences."""

    organization: str
    is_multi_server: bool
    preferences: Preferences
    servers: tuple[Server, ...]
    services: tuple[Service, ...]
    boosters: tuple[str, ...]

    def match(self, path: str) -> Service:
        """Return the winning service of a request: the longest name contained in it, case-sensitive.

        Of names equally long the first by code point wins. No match: Generic, fail over. Rule N6.
        """
        found = [service for service in self.services if service.name in path]
        if found:
            return min(found, key=lambda service: (-len(service.name), service.name))
        return next((service for service in self.services if service.name == GENERIC), Service(GENERIC))

    def providers(self, service: str) -> tuple[Server, ...]:
        """Return the servers that provide the service of that name, in calling order."""
        return tuple(server for server in self.servers if server.provides(service))

    def server(self, key: str) -> Server | None:
        return next((server for server in self.servers if server.key == key), None)

    @property
    def ping_service(self) -> Service | None:
        """The service that tells whether a server is back: of those of type ping the first by name."""
        pings = [service for service in self.services if service.routing_type is RoutingType.PING]
        return min(pings, key=lambda service: service.name, default=None)


def parsed(body: bytes) -> object:
    """Return the JSON value of a body; raises WrongDocument."""
    if len(body) > LARGEST_DOCUMENT:
        raise WrongDocument(f"The document has more than {LARGEST_DOCUMENT} bytes.")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WrongDocument("The document is no JSON.") from error


def configuration_of(value: object) -> Configuration:
    """Return the configuration that `value` spells; raises WrongDocument."""
    members = _object(value, "the document")
    _format(members)
    organization = _object(members.get("organization"), "organization")
    servers = tuple(_server(row, f"servers[{n}]") for n, row in enumerate(_list(members, "servers")))
    services = tuple(_service(row, f"services[{n}]") for n, row in enumerate(_list(members, "services")))
    _once([server.key for server in servers], "servers", "key")
    _once([service.name for service in services], "services", "name")
    return Configuration(
        organization=_text(organization, "code", "organization"),
        is_multi_server=_flag(members, "multi_server", "the document"),
        preferences=_preferences(_object(members.get("preferences"), "preferences")),
        servers=servers,
        services=services,
        boosters=tuple(address(url, f"boosters[{n}]") for n, url in enumerate(_list(members, "boosters"))),
    )


def status_of(value: object) -> dict[str, ServerStatus]:
    """Return the states by server key that `value` spells; raises WrongDocument."""
    members = _object(value, "the document")
    _format(members)
    states: dict[str, ServerStatus] = {}
    for number, row in enumerate(_list(members, "servers")):
        where = f"servers[{number}]"
        server = _object(row, where)
        try:
            states[_text(server, "key", where)] = ServerStatus(_text(server, "status", where))
        except ValueError as error:
            if isinstance(error, WrongDocument):
                raise
            raise WrongDocument(f"{where}.status is no state.") from None
    return states


def _server(value: object, where: str) -> Server:
    row = _object(value, where)
    kind = _text(row, "type", where)
    if kind not in ("main", "store"):
        _fail(where, "type", "must be main or store")
    services = row.get("services")
    if not isinstance(services, list) or not all(isinstance(name, str) for name in services):
        _fail(where, "services", "must be a list of texts")
    return Server(
        key=_text(row, "key", where),
        name=_text(row, "name", where),
        url=address(row.get("url"), f"{where}.url"),
        is_main=kind == "main",
        all_services=_flag(row, "all_services", where),
        services=frozenset(services),
    )


def _service(value: object, where: str) -> Service:
    row = _object(value, where)
    timeout_s = row.get("timeout_s")
    if timeout_s is not None and (type(timeout_s) is not int or timeout_s < 1):
        _fail(where, "timeout_s", "must be a whole number of seconds from 1, or null")
    kind = _text(row, "routing_type", where)
    return Service(
        name=_text(row, "name", where),
        # A type of a later Booster is routed as the original routes what it does not know.
        routing_type=RoutingType(kind) if kind in list(RoutingType) else RoutingType.FAILOVER,
        is_transactional=_flag(row, "transactional", where),
        timeout_s=timeout_s,
    )


def _preferences(row: Mapping[str, Any]) -> Preferences:
    good = {
        name: value
        for name, (least, most) in BOUNDS.items()
        if type(value := row.get(name)) is int and least <= value <= most
    }
    return Preferences(**good)


def address(value: object, where: str) -> str:
    """Return an http(s) address without user, query and fragment."""
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise WrongDocument(f"{where} must be an address.")
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise WrongDocument(f"{where} is no address.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise WrongDocument(f"{where} must be an http or https address.")
    if parts.username or parts.password or parts.query or parts.fragment or any(c.isspace() for c in value):
        raise WrongDocument(f"{where} must have no user, query or fragment.")
    return value.rstrip("/")


def _object(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise WrongDocument(f"{where} must be an object.")
    return value


def _format(members: Mapping[str, Any]) -> None:
    if members.get("format") != FORMAT or members["format"] is True:
        raise WrongDocument(f"The document's format must be {FORMAT}.")


def _list(members: Mapping[str, Any], name: str) -> list[Any]:
    value = members.get(name)
    if not isinstance(value, list):
        raise WrongDocument(f"{name} must be a list.")
    return value


def _text(row: Mapping[str, Any], name: str, where: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value or len(value) > LONGEST_TEXT:
        _fail(where, name, "must be a text")
    return value


def _flag(row: Mapping[str, Any], name: str, where: str) -> bool:
    value = row.get(name)
    if not isinstance(value, bool):
        _fail(where, name, "must be true or false")
    return value


def _once(names: list[str], where: str, member: str) -> None:
    if len(set(names)) != len(names):
        raise WrongDocument(f"{where} has a {member} twice.")


def _fail(where: str, name: str, what: str) -> NoReturn:
    raise WrongDocument(f"{where}.{name} {what}.")
