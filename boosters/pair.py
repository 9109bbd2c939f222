"""How the pair stands: its nodes, who acts, what there is to warn about."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from boosters.acting_rule import Lease
from boosters.lease import database_moment, present_right, values_of
from boosters.models import THE_ONE, ActingLease, BoosterNode
from boosters.node import own_address, own_role
from boosters.parameters import Parameters, Role
from boosters.telling import MISSING_AFTER


@dataclass(frozen=True, slots=True)
class NodeStanding:
    """One node as it told of itself; `seen_at` is None for one that never did."""

    role: Role
    address: str
    is_acting: bool = False
    is_this: bool = False
    is_missing: bool = False
    seen_at: datetime | None = None
    age: timedelta | None = None
    started_at: datetime | None = None
    version: str = ""
    host_name: str = ""
    hindrance: str = ""

    @property
    def age_s(self) -> int | None:
        return None if self.age is None else int(self.age.total_seconds())


@dataclass(frozen=True, slots=True)
class PairStanding:
    """The nodes in calling order, and the lease; `moment` and all times are the database's."""

    nodes: tuple[NodeStanding, ...]
    lease: Lease
    acting_since: datetime | None
    moment: datetime
    is_pair: bool

    @property
    def acting(self) -> Role | None:
        return next((node.role for node in self.nodes if node.is_acting), None)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return what the start page warns of. Source: OMF-02, OMF-25, OMF-56."""
        if not self.is_pair:
            return ()
        found = [
            f"The {node.role} Booster ({node.address}) "
            + (f"is missing since {node.seen_at:%Y-%m-%d %H:%M:%S} UTC." if node.seen_at else "was never seen.")
            for node in self.nodes
            if node.is_missing
        ]
        if self.acting is None:
            found.append("No Booster acts: servers are not watched, notices wait, patches are not rolled out.")
            found += [
                f"The {node.role} Booster does not take over: {n}" for node in self.nodes if (n := node.hindrance)
            ]
        return tuple(found)


def pair_standing() -> PairStanding:
    """Return how the nodes stand at present, in a fixed number of queries."""
    parameters: Parameters = settings.BOOSTER_PARAMETERS
    right = present_right()
    row = ActingLease.objects.filter(pk=THE_ONE).first() or ActingLease()
    moment = database_moment()
    acting = right.holder if right else None
    if parameters.primary is None:
        nodes: tuple[NodeStanding, ...] = (_this_alone(moment),)
    else:
        seen = {node.role: node for node in BoosterNode.objects.all()}
        roles = zip((Role.PRIMARY, Role.SECONDARY), parameters.boosters, strict=False)
        nodes = tuple(_standing(role, str(address), seen.get(role), acting, moment) for role, address in roles)
    return PairStanding(nodes, values_of(row), row.acting_since, moment, parameters.is_pair)


def _standing(role: Role, address: str, row: BoosterNode | None, acting: Role | None, moment: datetime) -> NodeStanding:
    is_acting, is_this = role is acting, role is own_role()
    if row is None:
        return NodeStanding(role, address, is_acting, is_this, is_missing=True)
    age = max(moment - row.seen_at, timedelta(0))
    return NodeStanding(
        role,
        address,
        is_acting,
        is_this,
        is_missing=age > MISSING_AFTER,
        seen_at=row.seen_at,
        age=age,
        started_at=row.started_at,
        version=row.version,
        host_name=row.host_name,
        hindrance=row.hindrance,
    )


def _this_alone(moment: datetime) -> NodeStanding:
    return NodeStanding(
        Role.SINGLE,
        own_address(),
        is_acting=True,
        is_this=True,
        seen_at=moment,
        age=timedelta(0),
        version=settings.VERSION,
        host_name=platform.node(),
    )
