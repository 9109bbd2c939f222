"""Makers of plain landscape values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from routing.landscape import Assignment, Landscape, Organization, PreferenceValue, Server, Service


def make_server(name: str, **fields: Any) -> Server:
    """Make a server of client ACME; organizations and services may be given as sets of names."""
    for tab, flag in (("organizations", "all_organizations"), ("services", "all_services")):
        if tab in fields:
            fields[tab] = tuple(
                row if isinstance(row, Assignment) else Assignment(row) for row in sorted(fields[tab], key=str)
            )
            fields.setdefault(flag, False)
    fields.setdefault("client", "ACME")
    fields.setdefault("server_type", "main")
    fields.setdefault("key", name.replace(" ", "_"))
    fields.setdefault("url", f"https://{fields['key'].lower()}.example/openbravo")
    return Server(name=name, **fields)


def make_landscape(
    organizations: Mapping[str, str | None] | None = None,
    servers: Iterable[Server] = (),
    services: Iterable[Service | str] = (),
    preferences: Mapping[Any, str] | None = None,
    inactive: Iterable[str] = (),
) -> Landscape:
    """Make a landscape: organizations as code → parent code, preferences as key or (key, code) → text.

    What has children is a region, roots are clients. Multi-server is on unless preferences say otherwise.
    """
    tree = organizations if organizations is not None else {"ACME": None, "LYON": "ACME"}
    parents = set(tree.values())
    inactive = set(inactive)
    values = {"multi_server_enabled": "Y"} if preferences is None else preferences
    return Landscape.of(
        organizations=(
            Organization(
                code=code,
                name=code.title(),
                kind="client" if parent is None else "region" if code in parents else "store",
                parent=parent,
                is_active=code not in inactive,
            )
            for code, parent in tree.items()
        ),
        services=(service if isinstance(service, Service) else Service(service) for service in services),
        servers=servers,
        preferences=(
            PreferenceValue(*(key if isinstance(key, tuple) else (key, None)), value) for key, value in values.items()
        ),
    )
