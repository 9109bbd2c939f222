"""The four addresses of the Booster pair, and which of the two nodes this one is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from django.core.exceptions import ImproperlyConfigured

DEFAULT_PORT = 5169
HIGHEST_PORT = 65_535
ANY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not listened on
NAMES = ("BOOSTER_IP", "BOOSTER_PORT", "SECOND_BOOSTER_IP", "SECOND_BOOSTER_PORT", "LOCAL_IP", "LOCAL_PORT")
HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?\.?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]+")


class Role(StrEnum):
    """What a node is: one of the pair, or the only one of an installation without `BOOSTER_IP`."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    SINGLE = "single"

    @property
    def peer(self) -> Role | None:
        return {Role.PRIMARY: Role.SECONDARY, Role.SECONDARY: Role.PRIMARY}.get(self)


class ParameterRefused(ImproperlyConfigured):
    """A parameter that stops the start; the message is one line that names it."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a Booster listens: a name or an IP address, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Parameters:
    """The addresses as configured; `local_host` is empty where the machine's own addresses decide."""

    primary: Address | None = None
    secondary: Address | None = None
    local_host: str = ""
    local_port: int | None = None

    @property
    def is_pair(self) -> bool:
        return self.primary is not None and self.secondary is not None

    @property
    def boosters(self) -> tuple[Address, ...]:
        """Return the configured nodes in calling order."""
        return tuple(address for address in (self.primary, self.secondary) if address is not None)


def read(values: Mapping[str, str], *, is_sqlite: bool) -> Parameters:
    """Return the parameters that `values` holds by name, empty ones counting as absent.

    Raises ParameterRefused, with one line that names the parameter. Source: OMF-01 to OMF-03, OMF-05.
    """
    given = {name: values.get(name, "").strip() for name in NAMES}
    for name in ("BOOSTER_IP", "SECOND_BOOSTER_IP", "LOCAL_IP"):
        if given[name] and not HOST.fullmatch(given[name]):
            raise ParameterRefused(f"{name} must be an IP address or a host name, not {given[name]!r}.")
    ports = {name: _port(name, given[name]) for name in NAMES if name.endswith("_PORT")}
    if given["SECOND_BOOSTER_IP"] and not given["BOOSTER_IP"]:
        raise ParameterRefused("SECOND_BOOSTER_IP is set, but BOOSTER_IP is not: set BOOSTER_IP to the primary node.")
    if given["BOOSTER_IP"] and is_sqlite:
        raise ParameterRefused("BOOSTER_IP needs a PostgreSQL database (DATABASE_URL): SQLite serves one node alone.")
    primary = _address(given["BOOSTER_IP"], ports["BOOSTER_PORT"])
    secondary = _address(given["SECOND_BOOSTER_IP"], ports["SECOND_BOOSTER_PORT"])
    if primary is not None and secondary is not None and _is_same(primary, secondary):
        raise ParameterRefused(
            f"SECOND_BOOSTER_IP and SECOND_BOOSTER_PORT name the same node as BOOSTER_IP and BOOSTER_PORT: {primary}."
        )
    local = given["LOCAL_IP"]
    return Parameters(primary, secondary, "" if local in ANY_ADDRESS else local, ports["LOCAL_PORT"])


def role_of(parameters: Parameters, listening_port: int | None, is_own_host: Callable[[str], bool]) -> Role:
    """Return which node this one is, by comparing its own address with the two of the parameters.

    `listening_port` is what the node listens on where LOCAL_PORT does not say; `is_own_host` tells
    whether a configured name or address is this machine's, and is asked only without LOCAL_IP.
    Raises ParameterRefused when the node is neither. Source: OMF-02, OMF-04.
    """
    if parameters.primary is None:
        return Role.SINGLE
    port = parameters.local_port or listening_port or DEFAULT_PORT
    local = parameters.local_host

    def is_own(address: Address | None) -> bool:
        if address is None or address.port != port:
            return False
        return address.host.lower() == local.lower() if local else is_own_host(address.host)

    for role, address in ((Role.PRIMARY, parameters.primary), (Role.SECONDARY, parameters.secondary)):
        if is_own(address):
            return role
    own = str(Address(local, port)) if local else f"this machine, port {port},"
    told = " nor ".join(
        f"{name} ({address})"
        for name, address in (("BOOSTER_IP", parameters.primary), ("SECOND_BOOSTER_IP", parameters.secondary))
        if address is not None
    )
    raise ParameterRefused(f"LOCAL_IP and LOCAL_PORT: {own} is neither {told}. Set them to this node's own address.")


def _port(name: str, text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:6]) <= HIGHEST_PORT:
        raise ParameterRefused(f"{name} must be a port from 1 to {HIGHEST_PORT}, not {text!r}.")
    return int(text)


def _address(host: str, port: int | None) -> Address | None:
    return Address(host, port or DEFAULT_PORT) if host else None


def _is_same(one: Address, other: Address) -> bool:
    return (one.host.lower(), one.port) == (other.host.lower(), other.port)
