"""Making this process a node of a pair, and leases in any state."""

from __future__ import annotations

from datetime import timedelta

from boosters import lease
from boosters.models import ActingLease
from boosters.parameters import Address, Parameters, Role

PAIR = Parameters(Address("10.0.0.1", 5169), Address("10.0.0.2", 5169))
LOCAL_HOSTS = {Role.PRIMARY: "10.0.0.1", Role.SECONDARY: "10.0.0.2"}


def node(role: Role) -> Parameters:
    """Return the parameters that make a process the node `role` of a pair, or a single one."""
    if role is Role.SINGLE:
        return Parameters()
    return Parameters(PAIR.primary, PAIR.secondary, LOCAL_HOSTS[role], 5169)


def give_lease(role: Role, term: int = 7, for_s: float = 60) -> lease.Right:
    """Store that `role` has the right to act for some seconds more, by the database's clock."""
    ActingLease.objects.update_or_create(
        pk=1,
        defaults={
            "holder": role.value,
            "term": term,
            "acting_since": lease.database_moment(),
            "expires_at": lease.database_moment() + timedelta(seconds=for_s),
        },
    )
    return lease.Right(role, term)
