"""Joining: one more server is registered, and its agent told everything it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings

from backoffice.refusals import Conflict
from boosters.parameters import Parameters
from organizations.models import Organization
from servers.agent_tokens import joining_token
from servers.definition import Assignment, save_server
from servers.models import MobileServer, ServerType

if TYPE_CHECKING:
    from accounts.models import User

REMINDER = "Before the first additional server joins: back up the database and the first server."


class JoinRefused(Conflict):
    """A server that cannot join as it was asked to."""

    type = "/problems/join-refused"
    title = "The server cannot join"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The server as it is to be registered; what is empty is as it is by default, or as it is already."""

    name: str
    client: Organization
    url: str = ""
    server_type: str = ""
    key: str = ""
    organizations: Sequence[Organization] = ()


@dataclass(frozen=True, slots=True)
class Joined:
    """What the agent of a joined server needs; `token` is empty once its agent has one."""

    server: MobileServer
    token: str = field(repr=False)
    is_first_additional: bool

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what the operator is to know, for people."""
        found = [REMINDER] if self.is_first_additional else []
        if not self.token:
            found.append(
                f"The agent of {self.server.key} has its token already. For another one: agent_token {self.server.key}."
            )
        return tuple(found)

    @property
    def file(self) -> str:
        """Return the agent's configuration file; it holds a secret."""
        parameters: Parameters = settings.BOOSTER_PARAMETERS
        lines = [
            f"{prefix}_{name}={value}"
            for prefix, address in zip(("BOOSTER", "SECOND_BOOSTER"), parameters.boosters, strict=False)
            for name, value in (("IP", address.host), ("PORT", address.port))
        ]
        lines.append(f"SERVER_KEY={self.server.key}")
        lines.append(f"AGENT_TOKEN={self.token}" if self.token else "# AGENT_TOKEN: as it is")
        return "".join(f"{line}\n" for line in lines)


def join(wanted: Wanted, moment: datetime, *, actor: User | None = None, actor_name: str = "") -> Joined:
    """Register the server unless it is already, and return what its agent needs: twice the same.

    Raises JoinRefused where it is registered otherwise than wanted, or no Booster address is set; and what
    `save_server` raises. Source: OMF-70, OMF-71.
    """
    _check_addresses()
    server = MobileServer.objects.filter(client=wanted.client, name=wanted.name).first()
    if server is None:
        if not wanted.url:
            raise JoinRefused(f"{wanted.name} is not registered yet: its URL must be given.")
        server = save_server(
            MobileServer(
                client=wanted.client,
                name=wanted.name,
                key=wanted.key,
                url=wanted.url,
                server_type=wanted.server_type or ServerType.STORE,
                all_organizations=not wanted.organizations,
            ),
            organizations=[Assignment(organization) for organization in wanted.organizations],
        )
    elif differing := _differences(server, wanted):
        raise JoinRefused(f"{server.name} is registered with another {' and '.join(differing)}; change it there.")
    return enrol(server, moment, actor=actor, actor_name=actor_name)


def enrol(server: MobileServer, moment: datetime, *, actor: User | None = None, actor_name: str = "") -> Joined:
    """Return what the agent of a registered server needs; raises JoinRefused for one that is not active."""
    _check_addresses()
    if not server.is_active:
        raise JoinRefused(f"The server {server.key} is not active: its agent would be refused.")
    credential = joining_token(server.pk, moment, actor=actor, actor_name=actor_name)
    return Joined(server, credential.text if credential else "", is_first_additional(server))


def is_first_additional(server: MobileServer) -> bool:
    """Tell whether there is one other server only: the moment for a backup. Source: OMF-71."""
    return MobileServer.objects.exclude(pk=server.pk).count() == 1


def _differences(server: MobileServer, wanted: Wanted) -> list[str]:
    stored = {"key": server.key.lower(), "URL": server.url, "type": server.server_type}
    asked = {"key": wanted.key.lower(), "URL": wanted.url, "type": wanted.server_type}
    found = [name for name, value in asked.items() if value and value != stored[name]]
    assigned = set(server.organizations_by_server.values_list("organization_id", flat=True))
    if wanted.organizations and {organization.pk for organization in wanted.organizations} != assigned:
        found.append("list of organizations")
    return found


def _check_addresses() -> None:
    parameters: Parameters = settings.BOOSTER_PARAMETERS
    if parameters.primary is None:
        raise JoinRefused("BOOSTER_IP is not set: an agent would not know which Booster to report to.")
