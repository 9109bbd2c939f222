"""HTTP calls to addresses that administrators typed in, guarded against what such an address can lead to.

The host is resolved here, every address it has is checked, and the connection goes to an address that
was checked: a name that resolves differently a moment later leads nowhere else. `Host` header and the
certificate's name stay the host. No redirect is followed, no proxy of the environment used, and a call
ends after its time in all, however slowly the other side drips.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import certifi
import httpcore
import httpx

LARGEST_ANSWER = 64 * 1024
HIGHEST_PORT = 65_535

Address = IPv4Address | IPv6Address

# Networks within an organization. What else is not global (documentation, benchmarks, …) leads nowhere.
PRIVATE = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")))
# Where clouds keep their machines' credentials, beside the link-local address most of them use.
METADATA = frozenset(map(ip_address, ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")))
# Networks whose addresses carry an IPv4 address in their last 32 bits: NAT64, and the IPv4-compatible form.
CARRIERS = tuple(map(ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")))
OUTDATED = tuple(map(ip_network, ("2001::/32", "fec0::/10")))  # Teredo tunnels, and the former site-local addresses


class OutboundError(Exception):
    """A call that did not bring an answer; its text is one sentence for people."""

    took_ms: int = 0


class AddressRefused(OutboundError):
    """The address may not be called."""


class NameNotFound(OutboundError):
    """The host's name does not resolve."""


class ConnectionFailed(OutboundError):
    """Nobody accepts connections there, or they break."""


class CertificateProblem(OutboundError):
    """The TLS connection could not be trusted, or not be made."""


class NoAnswer(OutboundError):
    """The time was over before the answer was complete."""


class BadAnswer(OutboundError):
    """What answers does not speak HTTP."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Which addresses may be called beside public ones.

    Link-local, metadata, unspecified, multicast and reserved addresses never may.
    """

    loopback: bool = False
    private: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: at most `max_bytes` of its body, as sent; `is_cut` tells that there was more."""

    status: int
    body: bytes = field(repr=False)
    took_ms: int
    is_cut: bool = False


def refusal(address: Address, policy: Policy) -> str:
    """Return why `address` may not be called, or nothing where it may; looks into IPv6 forms of IPv4."""
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return refusal(IPv6Address(int(address)), policy)  # with its zone it would equal none of the list
    inner = _carried(address)
    if inner is not None:
        return refusal(inner, policy)
    for is_so, is_allowed, name in (
        (address.is_unspecified, False, "the unspecified address"),
        (address.is_loopback, policy.loopback, "an address of this machine itself"),
        (address.is_link_local, False, "a link-local address"),
        (address in METADATA, False, "an address of a cloud's metadata"),
        (address.is_multicast, False, "a multicast address"),
        (any(address in network for network in PRIVATE), policy.private, "a private address"),
        (
            not address.is_global or address.is_reserved or any(address in network for network in OUTDATED),
            False,
            "a reserved address",
        ),
    ):
        if is_so:
            return "" if is_allowed else name
    return ""


def _carried(address: Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address stands for, if it does."""
    if not isinstance(address, IPv6Address):
        return None
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour
    if address.is_unspecified or address.is_loopback or not any(address in network for network in CARRIERS):
        return None
    return IPv4Address(int(address) & 0xFFFF_FFFF)


def check_url(url: str, policy: Policy) -> None:
    """Refuse an address that can never be called: malformed, or a literal address that `policy` forbids.

    Resolves no name: that is done, and checked, at every call. Raises AddressRefused.
    """
    host, _ = _host_and_port(_parsed(url))
    try:
        literals = {ip_address(host)} if ":" in host else {ip_address(socket.inet_aton(host))}
    except (OSError, ValueError):
        literals = {ip_address("127.0.0.1")} if _is_localhost(host) else set()
    _refuse_forbidden(host, literals, policy)


def call(
    method: str,
    url: str,
    *,
    timeout_s: float,
    policy: Policy,
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
    max_bytes: int = LARGEST_ANSWER,
) -> Answer:
    """Call `url` and return what answers, whatever its status, within `timeout_s` in all.

    Raises the subclass of OutboundError that tells why there is no answer; the body is not unpacked.
    """
    begun = time.monotonic()
    deadline = _Deadline(begun + timeout_s, timeout_s)
    target = _parsed(url)
    host, port = _host_and_port(target)
    try:
        addresses = _resolve(host, port, deadline)
        _refuse_forbidden(host, addresses, policy)
        with httpcore.ConnectionPool(
            ssl_context=_trust(os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", "")),
            network_backend=_CheckedBackend(addresses, deadline),
            http2=False,
        ) as pool:
            status, body = _exchange(pool, method, target, headers or {}, content, max_bytes)
    except OutboundError as error:
        error.took_ms = _since_ms(begun)
        raise
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
        told = _told(error, target.host, timeout_s)
        told.took_ms = _since_ms(begun)
        raise told from error
    return Answer(status, body[:max_bytes], _since_ms(begun), is_cut=len(body) > max_bytes)


def _exchange(
    pool: httpcore.ConnectionPool,
    method: str,
    target: httpx.URL,
    headers: Mapping[str, str],
    content: bytes | None,
    max_bytes: int,
) -> tuple[int, bytes]:
    url = httpcore.URL(scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path or b"/")
    asked: dict[bytes | str, bytes | str] = {
        "Host": target.netloc,
        "Accept": "*/*",
        "Connection": "close",
        "User-Agent": "Booster-Back-Office",
    }
    asked.update(headers.items())
    body = b""
    with pool.stream(method, url, headers=asked, content=content) as answer:
        for chunk in answer.iter_stream():
            body += chunk
            if len(body) > max_bytes:
                break
    return answer.status, body


def _since_ms(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)


def _told(error: Exception, host: str, timeout_s: float) -> OutboundError:
    """Return what a failure means, in words."""
    causes = [error]
    while isinstance(cause := causes[-1].__cause__ or causes[-1].__context__, Exception):
        causes.append(cause)
    untrusted = next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None)
    insecure = next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None)
    told: OutboundError
    if untrusted is not None:
        told = CertificateProblem(f"The certificate of {host} was refused: {untrusted.verify_message.rstrip('.')}.")
    elif insecure is not None:
        told = CertificateProblem(f"There is no TLS connection to {host}: {insecure.reason or 'no handshake'}.")
    elif isinstance(error, httpcore.TimeoutException):
        told = NoAnswer(f"No answer from {host} within {timeout_s:g} s.")
    elif any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        told = ConnectionFailed(f"{host} refused the connection.")
    elif isinstance(error, httpcore.ProtocolError):
        told = BadAnswer(f"What {host} answered is not HTTP, or broke off.")
    else:
        told = ConnectionFailed(f"{host} cannot be reached: {_reason(causes)}.")
    return told


def _reason(causes: Iterable[Exception]) -> str:
    return next((c.strerror.lower() for c in causes if isinstance(c, OSError) and c.strerror), "connection lost")


@lru_cache(maxsize=2)
def _trust(certificates_file: str, certificates_directory: str) -> ssl.SSLContext:
    """Return whom to trust: the system's authorities and the bundled ones, or those SSL_CERT_FILE/DIR name."""
    context = ssl.create_default_context()  # reads both variables by itself
    if not certificates_file and not certificates_directory:
        context.load_verify_locations(certifi.where())
    return context


# --- Names and addresses ---


def _parsed(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
        has_host = bool(parsed.host)  # decoded only now, which can fail as well
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise AddressRefused("This is not an address.") from error
    if parsed.scheme not in ("http", "https") or not has_host:
        raise AddressRefused("An address starts with http:// or https:// and names a host.")
    if parsed.port is not None and not 1 <= parsed.port <= HIGHEST_PORT:
        raise AddressRefused(f"A port lies between 1 and {HIGHEST_PORT}.")  # the system would take another one
    return parsed


def _host_and_port(url: httpx.URL) -> tuple[str, int]:
    return url.raw_host.decode("ascii"), url.port or (443 if url.scheme == "https" else 80)


def _is_localhost(host: str) -> bool:
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost")


def _refuse_forbidden(host: str, addresses: Iterable[Address], policy: Policy) -> None:
    """Refuse a host of which any address is forbidden: it would be a matter of luck which one is called."""
    for address in addresses:
        if reason := refusal(address, policy):
            named = f"{host} is" if host == str(address) else f"{host} leads to {address},"
            raise AddressRefused(f"{named} {reason}, which may not be called.")


def _resolve(host: str, port: int, deadline: _Deadline) -> list[Address]:
    """Return the addresses of `host` in the system's order; in a thread, as the resolver knows no deadline."""
    found: list[Any] = []

    def ask() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(error)

    thread = threading.Thread(target=ask, name="resolve", daemon=True)
    thread.start()
    thread.join(deadline.left())
    if not found:
        raise NoAnswer(f"The name {host} could not be looked up within {deadline.timeout_s:g} s.")
    if isinstance(found[0], Exception):
        raise NameNotFound(f"The host name {host} was not found.")
    return list(dict.fromkeys(ip_address(entry[4][0]) for entry in found[0]))


# --- Connecting ---


@dataclass(frozen=True, slots=True)
class _Deadline:
    at: float
    timeout_s: float

    def left(self) -> float:
        """Return the seconds left, a little above none, as a socket takes 0 for "do not wait"."""
        return max(self.at - time.monotonic(), 0.001)

    def check(self, error: type[Exception]) -> float:
        if time.monotonic() >= self.at:
            raise error("the time is over")
        return self.left()


class _CheckedBackend(httpcore.NetworkBackend):
    """Connects to the addresses that were checked, whatever the name leads to by now."""

    def __init__(self, addresses: list[Address], deadline: _Deadline) -> None:
        self._addresses = addresses
        self._deadline = deadline
        self._backend = httpcore.SyncBackend()

    def connect_tcp(self, host: str, port: int, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        for number, address in enumerate(self._addresses):
            left = self._deadline.check(httpcore.ConnectTimeout)
            is_last = number == len(self._addresses) - 1
            try:
                # A first address that swallows everything must leave time for the next one.
                stream = self._backend.connect_tcp(str(address), port, timeout=left if is_last else left / 2)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if is_last:
                    raise
                continue
            return _TimedStream(stream, self._deadline)
        raise httpcore.ConnectError(f"{host} has no address")


class _TimedStream(httpcore.NetworkStream):
    """A connection of which every step has only the time that the whole call has left."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.check(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.check(httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._deadline.check(httpcore.ConnectTimeout)
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
