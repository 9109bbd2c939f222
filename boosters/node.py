"""Which Booster node this process belongs to."""

from __future__ import annotations

import socket
from functools import lru_cache

from django.conf import settings

from boosters.parameters import Address, Parameters, Role, role_of


def own_role() -> Role:
    """Return the role of this process's node; raises ParameterRefused when its address is neither of the two."""
    return _role(settings.BOOSTER_PARAMETERS)


def own_address() -> str:
    """Return the address of this node as the pair knows it; of a single node, the name of its machine."""
    parameters: Parameters = settings.BOOSTER_PARAMETERS
    by_role = {Role.PRIMARY: parameters.primary, Role.SECONDARY: parameters.secondary}
    if (address := by_role.get(own_role())) is not None:
        return str(address)
    host, port = socket.gethostname(), parameters.local_port
    return str(Address(host, port)) if port else host


def own_queue() -> str:
    """Return the queue of what this node emits by right of acting, which its own worker takes alone.

    A peer that is stopped, or cut off from the database, would else take tasks and not do them.
    """
    return f"acting-{own_role()}"


@lru_cache(maxsize=4)
def _role(parameters: Parameters) -> Role:
    return role_of(parameters, None, is_own_host)


def is_own_host(host: str) -> bool:
    """Tell whether a name or an address is one of this machine's: only those can be bound."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return False
    return any(_can_bind(family, address) for family, _, _, _, address in found)


def _can_bind(family: int, address: tuple[object, ...]) -> bool:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind(address)
    except OSError:
        return False
    return True
