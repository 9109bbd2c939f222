"""Which address a request comes from, behind reverse proxies or not."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest


@lru_cache(maxsize=8)
def _networks(proxies: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(proxy, strict=False) for proxy in proxies)


def origin_address(peer: str, forwarded_for: str, trusted_proxies: Sequence[str]) -> str:
    """Return the address of the caller: the last one in the chain that no trusted proxy vouches for.

    `peer` is the address of the connection, `forwarded_for` the value of X-Forwarded-For (each proxy
    appends the address it was called from). A header from an untrusted peer is ignored: anybody
    can write one, and would then choose the address that limits count against.
    """
    networks = _networks(tuple(trusted_proxies))
    address = peer
    chain = [part.strip() for part in forwarded_for.split(",") if part.strip()]
    while chain:
        try:
            present = ip_address(address)
            # A socket for both protocols names an IPv4 peer this way.
            present = getattr(present, "ipv4_mapped", None) or present
            trusted = any(present in network for network in networks)
            ip_address(chain[-1])
        except ValueError:
            break
        if not trusted:
            break
        address = chain.pop()
    return address


def counted_as(address: str) -> str:
    """Return the address that limits count for `address`: an IPv6 caller has 2**64, the first stands for all."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ip_network((int(parsed), 64), strict=False).network_address)


def client_address(request: HttpRequest) -> str:
    """Return the caller's address of a Django request."""
    return origin_address(
        request.META.get("REMOTE_ADDR") or "",
        request.META.get("HTTP_X_FORWARDED_FOR", ""),
        settings.BOOSTER_TRUSTED_PROXIES,
    )


def counted_address(request: HttpRequest) -> str:
    """Return what limits count a Django request for (django-axes asks here)."""
    return counted_as(client_address(request))
