"""The address of a mobile server: checked once, kept in one normal form."""

import re
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*\.?")
_BRACKETED_IPV6 = re.compile(r"\[[0-9A-Fa-f:.]+\]")


def normal_url(text: str) -> str:
    """Return `text` in normal form: scheme and host in lower case, no default port, no final slash.

    Raises ValueError, with the reason for people, for anything but an http or https address with a
    host, and for one with query, fragment, user info or blanks.
    """
    text = text.strip()
    if not text.isprintable() or any(character.isspace() for character in text) or "\\" in text:
        raise ValueError("An address has no blanks, backslashes or control characters.")
    try:
        parts = urlsplit(text)
        port = parts.port
        host = parts.hostname or ""
    except ValueError as error:
        raise ValueError(f"This is not an address: {error}.") from error
    if parts.scheme.lower() not in DEFAULT_PORTS:
        raise ValueError("The address must start with http:// or https://.")
    if not host:
        raise ValueError("The address must name a host.")
    if parts.username is not None or parts.password is not None:
        raise ValueError("The address must not carry a user name or password.")
    if "?" in text or "#" in text:
        raise ValueError("The address must not have a query or a fragment.")
    bracketed = ":" in host
    if not (_BRACKETED_IPV6.fullmatch(f"[{host}]") if bracketed else _HOST.fullmatch(host)):
        raise ValueError(f"{host!r} is not a host name or IP address.")
    scheme = parts.scheme.lower()
    location = f"[{host}]" if bracketed else host
    if port == 0:
        raise ValueError("A port lies between 1 and 65535.")
    if port is not None and port != DEFAULT_PORTS[scheme]:
        location = f"{location}:{port}"
    return f"{scheme}://{location}{parts.path.rstrip('/')}"


def origin_of(url: str) -> str:
    """Return the origin (scheme, host, port) of an address in normal form, as browsers send it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
