"""Two keepers on one database: who acts, what is told, and what the licence says."""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F

from boosters.acting_rule import Step
from boosters.keeping import Keeper
from boosters.lease import NoLongerActing, Right, acting_right, acting_write
from boosters.models import ActingLease, BoosterNode
from boosters.parameters import Role
from events.models import Event
from licensing.installation import LicenseLimit
from notices.models import Notice
from servers.models import MobileServer
from tests.boosters.pairs import node
from tests.factories import make_server, make_tree

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="a pair needs PostgreSQL"),
]


class Pair:
    """The two nodes in one process; `keep` lets one of them make a pass."""

    def __init__(self, settings):
        self._settings = settings
        self.keepers = {}

    def become(self, role):
        self._settings.BOOSTER_PARAMETERS = node(role)

    def keep(self, role):
        self.become(role)
        if role not in self.keepers:
            self.keepers[role] = Keeper()
        return self.keepers[role].keep()

    def later(self, seconds):
        """Move everything that is stored so many seconds into the past."""
        ago = timedelta(seconds=seconds)
        BoosterNode.objects.update(seen_at=F("seen_at") - ago, steady_since=F("steady_since") - ago)
        ActingLease.objects.update(
            expires_at=F("expires_at") - ago,
            practice_asked_at=F("practice_asked_at") - ago,
            practice_over_at=F("practice_over_at") - ago,
        )

    def lose_primary(self):
        """Let the primary act with both there, and then be gone for longer than its lease."""
        assert (self.keep(Role.PRIMARY), self.keep(Role.SECONDARY)) == (Step.CLAIM, Step.WAIT)
        for _ in range(2):
            self.later(3)
            self.keep(Role.SECONDARY)
        self.later(3.1)


@pytest.fixture
def pair(settings):
    return Pair(settings)


def told():
    return [*Event.objects.filter(kind__startswith="booster").order_by("pk").values_list("kind", "cause")]


def test_an_installation_that_ran_alone_becomes_a_pair_without_a_step_of_its_own(pair):
    """OMF-06."""
    pair.become(Role.SINGLE)
    alone = acting_right()
    server = make_server("box", client=make_tree(ACME=None)["ACME"])

    done = [pair.keep(Role.PRIMARY), pair.keep(Role.SECONDARY)]

    assert (alone, done) == (Right(Role.SINGLE, 1), [Step.CLAIM, Step.WAIT])
    assert acting_right() is None
    pair.become(Role.PRIMARY)
    assert acting_right() == Right(Role.PRIMARY, 2)
    with pytest.raises(NoLongerActing), acting_write(alone):
        pass
    assert list(MobileServer.objects.values_list("pk", flat=True)) == [server.pk]


def test_secondary_takes_over_and_the_primary_takes_back(pair):
    """OMF-20, OMF-23, OMF-28."""
    pair.lose_primary()

    assert pair.keep(Role.SECONDARY) is Step.CLAIM
    assert acting_right() == Right(Role.SECONDARY, 2)
    pair.keepers.pop(Role.PRIMARY)
    assert pair.keep(Role.PRIMARY) is Step.WAIT
    for _ in range(2):
        pair.later(3)
        pair.keep(Role.PRIMARY)
    assert (pair.keep(Role.SECONDARY), pair.keep(Role.PRIMARY)) == (Step.YIELD, Step.CLAIM)

    assert acting_right() == Right(Role.PRIMARY, 3)
    assert told() == [
        ("booster-takeover", "the primary was missing"),
        ("booster-return", "the primary is back"),
    ]
    assert [*Notice.objects.order_by("pk").values_list("key", flat=True)] == ["booster-takeover:2", "booster-return:3"]
    assert [*BoosterNode.objects.order_by("role").values_list("role", "address", "version")] == [
        ("primary", "10.0.0.1:5169", "0.1.0"),
        ("secondary", "10.0.0.2:5169", "0.1.0"),
    ]


def test_secondary_does_not_take_over_where_the_licence_does_not_allow_it(pair, monkeypatch):
    """OMF-56."""

    def refuse(action):
        raise LicenseLimit("There is no licence: a secondary does not take over.")

    monkeypatch.setattr("boosters.keeping.refuse_unless_allowed", refuse)
    pair.lose_primary()

    assert [pair.keep(Role.SECONDARY), pair.keep(Role.SECONDARY)] == [Step.WAIT, Step.WAIT]

    assert acting_right() is None
    assert told() == [("booster-takeover-refused", "There is no licence: a secondary does not take over.")]
    assert Notice.objects.get().subject == "The primary Booster is missing and the secondary may not take over"
    hindrance = BoosterNode.objects.get(role="secondary").hindrance
    assert hindrance == "There is no licence: a secondary does not take over."


def test_a_missing_peer_is_told_of_once(pair):
    """OMF-25."""
    pair.keep(Role.PRIMARY)
    pair.keep(Role.SECONDARY)
    BoosterNode.objects.filter(role="secondary").update(seen_at=F("seen_at") - timedelta(seconds=61))
    for _ in range(2):
        pair.keepers[Role.PRIMARY]._peer_checked_at = 0
        pair.keep(Role.PRIMARY)

    assert [notice.kind for notice in Notice.objects.all()] == ["booster-missing"]


def test_a_node_that_stops_in_good_order_gives_the_right_back_at_once(pair):
    pair.keep(Role.PRIMARY)

    pair.keepers[Role.PRIMARY].release()

    assert acting_right() is None
    assert pair.keep(Role.PRIMARY) is Step.CLAIM
    assert (acting_right(), told()) == (Right(Role.PRIMARY, 2), [])


def test_a_node_that_was_killed_and_starts_again_takes_a_new_term(pair):
    pair.keep(Role.PRIMARY)
    pair.keepers.clear()

    assert pair.keep(Role.PRIMARY) is Step.CLAIM

    assert acting_right() == Right(Role.PRIMARY, 2)


def test_a_keeper_that_stands_by_never_takes_the_lease_row(pair, django_assert_num_queries):
    pair.keep(Role.PRIMARY)
    pair.keep(Role.SECONDARY)

    with django_assert_num_queries(6):
        pair.keep(Role.SECONDARY)
