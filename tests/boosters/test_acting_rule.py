"""What a node does about the right to act, as values only."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boosters.acting_rule import LEASE, PRACTICE_STAY, Lease, Seen, Step, step
from boosters.parameters import Role

ASKED = {"practice_asked_at": datetime(2026, 5, 4, 11, 59, 59, tzinfo=UTC)}
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
PRIMARY, SECONDARY = Role.PRIMARY, Role.SECONDARY


def seconds(number):
    return timedelta(seconds=number)


def seen(ago_s=0, for_s=60):
    return Seen(NOW - seconds(ago_s), NOW - seconds(for_s))


def held(role, term=7, for_s=5, **practice):
    return Lease(role, term, NOW + seconds(for_s), **practice)


@pytest.mark.parametrize(
    ("about", "me", "own_term", "lease", "own", "peer", "expected"),
    [
        ("OMF-20: the primary begins", PRIMARY, None, Lease(), seen(0, 0), None, Step.CLAIM),
        ("a secondary alone begins once it is steady", SECONDARY, None, Lease(), seen(0, 6), None, Step.CLAIM),
        ("and not before", SECONDARY, None, Lease(), seen(0, 1), None, Step.WAIT),
        ("it leaves the first term to the primary", SECONDARY, None, Lease(), seen(), seen(), Step.WAIT),
        ("the holder renews", PRIMARY, 7, held(PRIMARY), seen(), seen(), Step.RENEW),
        ("the other waits", SECONDARY, None, held(PRIMARY), seen(), seen(), Step.WAIT),
        ("even when the holder is not seen", SECONDARY, 3, held(PRIMARY), seen(), seen(60), Step.WAIT),
        ("OMF-20: it takes over at expiry", SECONDARY, 3, held(PRIMARY, for_s=0), seen(), seen(9), Step.CLAIM),
        ("a live primary may claim anew", SECONDARY, 3, held(PRIMARY, for_s=0), seen(), seen(1), Step.WAIT),
        ("but not for ever", SECONDARY, 3, held(PRIMARY, for_s=-6), seen(), seen(1), Step.CLAIM),
        ("an expired lease is not renewed", PRIMARY, 7, held(PRIMARY, for_s=0), seen(), seen(), Step.CLAIM),
        ("a node started anew takes a new term", PRIMARY, None, held(PRIMARY), seen(0, 0), seen(), Step.CLAIM),
        ("OMF-23: it yields to a steady primary", SECONDARY, 8, held(SECONDARY, 8), seen(), seen(0, 6), Step.YIELD),
        ("not to one that just came", SECONDARY, 8, held(SECONDARY, 8), seen(), seen(0, 2), Step.RENEW),
        ("not to one that is gone", SECONDARY, 8, held(SECONDARY, 8), seen(), seen(30, 60), Step.RENEW),
        ("OMF-25: the primary goes on alone", PRIMARY, 7, held(PRIMARY), seen(), seen(600), Step.RENEW),
        ("a lease of a single node is no obstacle", PRIMARY, None, held(Role.SINGLE), seen(), None, Step.CLAIM),
        ("practice: the primary yields", PRIMARY, 7, held(PRIMARY, **ASKED), seen(), seen(), Step.YIELD),
        ("practice: the secondary claims", SECONDARY, 3, Lease(None, 7, NOW, **ASKED), seen(), seen(), Step.CLAIM),
        ("practice: the primary lets it", PRIMARY, 7, Lease(None, 7, NOW, **ASKED), seen(), seen(), Step.WAIT),
        (
            "practice: given up after a while",
            PRIMARY, 7, held(PRIMARY, practice_asked_at=NOW - seconds(31)), seen(), seen(), Step.RENEW,
        ),
        (
            "practice: the secondary hands back",
            SECONDARY, 8,
            held(SECONDARY, 8, practice_asked_at=NOW - seconds(9), practice_over_at=NOW - PRACTICE_STAY),
            seen(), seen(), Step.YIELD,
        ),
    ],
)  # fmt: skip
def test_step_of_a_pair(about, me, own_term, lease, own, peer, expected):
    assert step(me, own_term, lease, own, peer, NOW, is_pair=True) == expected, about


@pytest.mark.parametrize("lease", [Lease(), held(PRIMARY, 3), held(SECONDARY, 7), held(PRIMARY, 7, for_s=0)])
def test_a_primary_without_a_secondary_never_waits(lease):
    """OMF-02."""
    assert step(PRIMARY, 7, lease, seen(0, 0), None, NOW, is_pair=False) is Step.CLAIM
    assert step(PRIMARY, 7, held(PRIMARY), seen(), None, NOW, is_pair=False) is Step.RENEW


@dataclass
class World:
    """Two nodes over one lease, each with what it remembers; a write happens with the term it remembers."""

    now: datetime = NOW
    lease: Lease = field(default_factory=Lease)
    terms: dict = field(default_factory=dict)
    seen: dict = field(default_factory=dict)
    accepted: list = field(default_factory=list)

    def keep(self, role):
        before = self.seen.get(role)
        steady = before.steady_since if before and before.is_alive(self.now) else self.now
        self.seen[role] = Seen(self.now, steady)
        done = step(
            role, self.terms.get(role), self.lease, self.seen[role], self.seen.get(role.peer), self.now, is_pair=True
        )
        if done is Step.CLAIM:
            assert not (self.lease.is_held(self.now) and self.lease.holder is role.peer)
            self.lease = replace(self.lease, holder=role, term=self.lease.term + 1, expires_at=self.now + LEASE)
            self.terms[role] = self.lease.term
        elif done is Step.RENEW:
            self.lease = replace(self.lease, expires_at=self.now + LEASE)
        elif done is Step.YIELD:
            self.lease = replace(self.lease, holder=None, expires_at=self.now)

    def write(self, role):
        """Write as the lease's check lets it: by the database's clock, whatever the node's own says."""
        if self.lease.is_held(self.now) and (self.lease.holder, self.lease.term) == (role, self.terms.get(role)):
            self.accepted.append((self.lease.term, role))

    def restart(self, role):
        self.terms.pop(role, None)

    def practise(self, role):
        self.lease = replace(self.lease, practice_asked_at=self.now, practice_over_at=None, practice_back_at=None)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["keep", "keep", "keep", "write", "write", "restart", "practise"]),
            st.sampled_from([PRIMARY, SECONDARY]),
            st.floats(0, 15),
        ),
        max_size=60,
    )
)
def test_every_term_has_one_writer_whatever_the_interleaving(events):
    """OMF-21, OMF-27: a pause is a node that has no turn for a while; its clock is never asked."""
    world = World()

    for what, role, pause_s in events:
        world.now += seconds(pause_s)
        getattr(world, what)(role)

    writers = {}
    for term, role in world.accepted:
        assert writers.setdefault(term, role) is role
    assert [term for term, _ in world.accepted] == sorted(term for term, _ in world.accepted)


def run(world, role_alive, for_s):
    """Let time pass in steps of a second; each node in `role_alive` has its turn in every one."""
    for _ in range(for_s):
        world.now += seconds(1)
        for role in role_alive:
            world.keep(role)


def test_takeover_and_return_keep_to_their_times():
    """OMF-20: within 15 s; OMF-23: within 30 s."""
    world = World()
    run(world, (PRIMARY, SECONDARY), 10)
    assert world.lease.holder is PRIMARY

    run(world, (SECONDARY,), 11)
    assert world.lease.holder is SECONDARY

    run(world, (SECONDARY, PRIMARY), 9)
    assert world.lease.holder is PRIMARY
