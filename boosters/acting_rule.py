"""What a node does about the right to act: one pure function over the lease, the nodes and the moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from boosters.parameters import Role

LEASE = timedelta(seconds=9)
"""How long a claim or a renewal lasts. With one pass a second, a takeover takes at most 11 s (bar: 15 s, OMF-20)."""
PASS_S = 1.0
ALIVE = timedelta(seconds=4)
"""A node that was not seen for longer is not waited for."""
STEADY = timedelta(seconds=5)
"""How long a node must have been seen without a gap before it is handed the right back (bar: 30 s, OMF-23)."""
COURTESY = timedelta(seconds=5)
"""How long a free lease is left to the node that should have it."""
PRACTICE_STAY = timedelta(seconds=5)
"""How long the secondary acts when a takeover is practised."""
PRACTICE_LIMIT = timedelta(seconds=30)
"""A practice that did not come to a takeover within this is given up."""


class Step(StrEnum):
    """What a node does in one pass."""

    CLAIM = "claim"
    RENEW = "renew"
    YIELD = "yield"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Lease:
    """The lease's row as values; `expires_at` is None while nobody has the right."""

    holder: Role | None = None
    term: int = 0
    expires_at: datetime | None = None
    practice_asked_at: datetime | None = None
    practice_over_at: datetime | None = None
    practice_back_at: datetime | None = None

    def is_held(self, moment: datetime) -> bool:
        return self.holder is not None and self.expires_at is not None and moment < self.expires_at

    def is_practice_open(self, moment: datetime) -> bool:
        """Tell whether a practice is under way: asked for, and not yet back nor given up."""
        if self.practice_asked_at is None or self.practice_back_at is not None:
            return False
        return self.practice_over_at is not None or moment < self.practice_asked_at + PRACTICE_LIMIT


@dataclass(frozen=True, slots=True)
class Seen:
    """When a node was last seen, and since when without a gap; by the database's clock."""

    seen_at: datetime
    steady_since: datetime

    def is_alive(self, moment: datetime) -> bool:
        return moment - self.seen_at <= ALIVE

    def is_steady(self, moment: datetime) -> bool:
        return self.is_alive(moment) and moment - self.steady_since >= STEADY


def preferred(lease: Lease, moment: datetime) -> Role:
    """Return which node of a pair should act when both could: the primary, but for a practised takeover."""
    if not lease.is_practice_open(moment):
        return Role.PRIMARY
    if lease.practice_over_at is None or moment < lease.practice_over_at + PRACTICE_STAY:
        return Role.SECONDARY
    return Role.PRIMARY


def step(
    me: Role, own_term: int | None, lease: Lease, own: Seen, peer: Seen | None, moment: datetime, *, is_pair: bool
) -> Step:
    """Return what the node `me` does now; `own_term` is the term of its last claim, None since it started.

    A lease that expired is never renewed, only claimed anew, with the next term. Source: OMF-20, OMF-21, OMF-23.
    """
    if not is_pair:
        is_mine = lease.holder is me and own_term == lease.term and lease.is_held(moment)
        return Step.RENEW if is_mine else Step.CLAIM
    is_preferred = preferred(lease, moment) is me
    if lease.is_held(moment) and lease.holder is me:
        if own_term != lease.term:  # this node was started again: what it left behind must write no more
            return Step.CLAIM
        return Step.YIELD if not is_preferred and peer is not None and peer.is_steady(moment) else Step.RENEW
    if lease.is_held(moment) and lease.holder is me.peer:
        return Step.WAIT
    return Step.CLAIM if is_preferred or _may_be_taken(lease, own, peer, moment) else Step.WAIT


def _may_be_taken(lease: Lease, own: Seen, peer: Seen | None, moment: datetime) -> bool:
    """Tell whether the node that is not preferred may take a free lease: the other one had its chance."""
    if (
        peer is not None
        and peer.is_alive(moment)
        and (lease.expires_at is None or moment < lease.expires_at + COURTESY)
    ):
        return False
    return own.is_steady(moment)
