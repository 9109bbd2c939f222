"""Plain makers that fill what a test does not care about."""

from __future__ import annotations

from itertools import count
from typing import Any

from accounts.models import User
from accounts.tokens import create_user_token
from notices.models import Channel
from organizations.models import Organization
from organizations.tree import create_organization
from servers.definition import Assignment, save_server
from servers.models import MobileServer
from services.models import MobileService, Module
from terminals.models import Terminal

_number = count(1)


def make_organization(
    code: str, parent: Organization | str | None = None, kind: str = "", **fields: Any
) -> Organization:
    """Make an organization; without a kind, a root is a client and anything below it a store."""
    if isinstance(parent, str):
        parent = Organization.objects.get(code=parent)
    kind = kind or ("store" if parent else "client")
    return create_organization(
        code=code,
        name=fields.pop("name", code.title()),
        kind=kind,
        parent_id=parent.pk if parent else None,
        **fields,
    )


def make_tree(**parents: str | None) -> dict[str, Organization]:
    """Make organizations from code=parent pairs, parents first; what has children is a region."""
    with_children = set(parents.values())
    return {
        code: make_organization(
            code, parent, "client" if parent is None else "region" if code in with_children else "store"
        )
        for code, parent in parents.items()
    }


def make_module(name: str = "org.example.pos", **fields: Any) -> Module:
    return Module.objects.get_or_create(name=name, defaults={"version": "1.0", **fields})[0]


def make_service(name: str, **fields: Any) -> MobileService:
    service = MobileService(module=fields.pop("module", None) or make_module(), name=name, **fields)
    service.full_clean()
    service.save()
    return service


def make_server(
    name: str = "",
    *,
    client: Organization,
    organizations: list[Organization] | None = None,
    services: list[MobileService] | None = None,
    **fields: Any,
) -> MobileServer:
    """Make a server; naming organizations or services unticks All Organizations or All Services."""
    name = name or f"server {next(_number)}"
    fields.setdefault("server_type", "main")
    fields.setdefault("url", f"https://{name.replace(' ', '-').lower()}.example/openbravo")
    fields.setdefault("all_organizations", organizations is None)
    fields.setdefault("all_services", services is None)
    return save_server(
        MobileServer(client=client, name=name, **fields),
        organizations=[Assignment(organization) for organization in organizations or []],
        services=[Assignment(service) for service in services or []],
    )


def make_terminal(search_key: str, organization: Organization, **fields: Any) -> Terminal:
    terminal = Terminal(search_key=search_key, name=fields.pop("name", search_key), organization=organization, **fields)
    terminal.full_clean()
    terminal.save()
    return terminal


def make_channel(name: str = "", *, kind: str = "email", **fields: Any) -> Channel:
    """Make a notice channel; an e-mail channel has one recipient unless told otherwise."""
    if kind == "email":
        fields.setdefault("recipients", ["ops@acme.example"])
    channel = Channel(name=name or f"channel {next(_number)}", kind=kind, **fields)
    channel.full_clean()
    channel.save()
    return channel


def make_user(username: str = "", *, role: str = "", **fields: Any) -> User:
    from django.contrib.auth.models import Group

    user = User.objects.create_user(username or f"user{next(_number)}", password="correct-horse-9", **fields)
    if role:
        user.groups.add(Group.objects.get(name=role))
    return user


def make_admin(username: str = "") -> User:
    return make_user(username, is_superuser=True, is_staff=True)


def make_user_token(user: User | None = None, **fields: Any) -> str:
    """Make a user token; return the text that a client sends."""
    return create_user_token(user or make_admin(), **fields)[1].text
