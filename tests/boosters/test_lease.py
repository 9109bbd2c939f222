"""The right to act in the database: who has it, and that nobody else writes."""

import time
from datetime import timedelta
from random import Random
from threading import Thread

import pytest
from django.db import DatabaseError, connection, transaction

from boosters.lease import (
    NoLongerActing,
    Right,
    acting_right,
    acting_write,
    claim,
    database_moment,
    locked_lease,
    values_of,
)
from boosters.models import ActingLease
from boosters.parameters import Role
from events.models import Event
from tests.boosters.pairs import give_lease, node
from tests.interleaving import outcomes

postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="a pair needs PostgreSQL")


def write(right, kind="written"):
    with acting_write(right):
        Event.objects.create(at="2026-05-04T12:00:00Z", kind=kind)


def written():
    return Event.objects.filter(kind="written").count()


@pytest.mark.django_db
def test_a_single_node_always_acts_in_one_term():
    assert (acting_right(), acting_right()) == (Right(Role.SINGLE, 1), Right(Role.SINGLE, 1))

    write(acting_right())

    assert written() == 1


@pytest.mark.django_db
def test_a_single_node_takes_over_from_a_pair_that_was(settings):
    """OMF-06."""
    old = give_lease(Role.SECONDARY)

    assert acting_right() == Right(Role.SINGLE, 8)
    with pytest.raises(NoLongerActing):
        write(old)


@postgresql
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("me", "for_s", "expected"),
    [
        (Role.PRIMARY, 60, Right(Role.PRIMARY, 7)),
        (Role.PRIMARY, -0.01, None),
        (Role.SECONDARY, 60, None),
    ],
)
def test_acting_right_is_the_holders_until_it_expires(settings, me, for_s, expected):
    """OMF-21."""
    settings.BOOSTER_PARAMETERS = node(me)
    give_lease(Role.PRIMARY, for_s=for_s)

    assert acting_right() == expected


@postgresql
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("right", "for_s", "message"),
    [
        (Right(Role.PRIMARY, 6), 60, "The right to act of term 6 has passed on."),
        (Right(Role.SECONDARY, 7), 60, "The right to act of term 7 has passed on."),
        (Right(Role.PRIMARY, 7), -0.01, "The right to act of term 7 has expired."),
    ],
)
def test_acting_write_refuses_another_holder_an_older_term_and_an_expired_right(settings, right, for_s, message):
    """OMF-21."""
    settings.BOOSTER_PARAMETERS = node(Role.PRIMARY)
    give_lease(Role.PRIMARY, for_s=for_s)

    with pytest.raises(NoLongerActing) as refused:
        write(right)

    assert (str(refused.value), written()) == (message, 0)


@postgresql
@pytest.mark.django_db
def test_nobody_acts_before_the_first_claim(settings):
    settings.BOOSTER_PARAMETERS = node(Role.PRIMARY)

    assert acting_right() is None
    with pytest.raises(NoLongerActing):
        write(Right(Role.PRIMARY, 0))


def take(role):
    with transaction.atomic():
        claim(locked_lease(), role, database_moment())


@postgresql
@pytest.mark.django_db(transaction=True)
def test_a_claim_waits_for_the_write_that_the_old_term_has_begun(settings):
    settings.BOOSTER_PARAMETERS = node(Role.PRIMARY)
    right = give_lease(Role.PRIMARY)

    found = outcomes(lambda: write(right), lambda: take(Role.SECONDARY), lambda: write(right))

    assert (found, written(), ActingLease.objects.get().term) == ([None, None], 2, 8)


@postgresql
@pytest.mark.django_db(transaction=True)
def test_a_write_that_waited_for_a_claim_is_refused(settings):
    settings.BOOSTER_PARAMETERS = node(Role.PRIMARY)
    right = give_lease(Role.PRIMARY)

    found = outcomes(lambda: take(Role.SECONDARY), lambda: write(right), lambda: None)

    assert ([type(end) for end in found], written()) == ([type(None), NoLongerActing], 0)


class Racer(Thread):
    """A node that claims what has expired and writes by the right it remembers, with pauses beyond its lease."""

    def __init__(self, role, seed, until):
        super().__init__()
        self.role, self.random, self.until = role, Random(seed), until
        self.right, self.refused, self.failures = None, 0, []

    def run(self):
        try:
            while time.monotonic() < self.until:
                self.turn()
                time.sleep(self.random.choice((0, 0, 0.005, 0.03)))
        except Exception as error:
            self.failures.append(error)
        finally:
            connection.close()

    def turn(self):
        if self.right is None or self.random.random() < 0.2:
            with transaction.atomic():
                row, moment = locked_lease(), database_moment()
                if not values_of(row).is_held(moment):
                    self.right = claim(row, self.role, moment)
        if self.right is not None:
            try:
                with acting_write(self.right):
                    time.sleep(self.random.choice((0, 0.002)))
                    Event.objects.create(
                        at="2026-05-04T12:00:00Z", kind="written", cause=self.role, data={"term": self.right.term}
                    )
            except NoLongerActing:
                self.refused += 1


@postgresql
@pytest.mark.django_db(transaction=True)
def test_every_term_has_one_writer_on_a_real_database(settings, monkeypatch):
    """OMF-21, OMF-27: two connections that pause at random, in leases of 20 ms."""
    monkeypatch.setattr("boosters.lease.LEASE", timedelta(milliseconds=20))
    settings.BOOSTER_PARAMETERS = node(Role.PRIMARY)
    until = time.monotonic() + 2
    racers = [Racer(role, seed, until) for role, seed in ((Role.PRIMARY, 1), (Role.SECONDARY, 2))]

    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()

    written = [(row.data["term"], row.cause) for row in Event.objects.filter(kind="written").order_by("pk")]
    writers = {}
    assert [writers.setdefault(term, role) for term, role in written] == [role for _, role in written]
    assert [term for term, _ in written] == sorted(term for term, _ in written)
    assert [racer.failures for racer in racers] == [[], []]
    assert min(len(writers), sum(racer.refused for racer in racers)) > 1
    assert {*writers.values()} == {"primary", "secondary"}


@postgresql
@pytest.mark.django_db(transaction=True)
def test_a_holder_stopped_inside_its_write_loses_the_row_and_writes_nothing(settings, monkeypatch):
    monkeypatch.setattr("boosters.lease.IDLE_IN_TRANSACTION", "200ms")
    settings.BOOSTER_PARAMETERS = node(Role.PRIMARY)
    right = give_lease(Role.PRIMARY)

    def begin():
        with acting_write(right):
            Event.objects.create(at="2026-05-04T12:00:00Z", kind="written")

    # `begin` leaves its transaction open, as a stopped process does, until the claim went through.
    found = outcomes(begin, lambda: take(Role.SECONDARY), _wait_for_term_8)

    assert (isinstance(found[0], DatabaseError), found[1], written()) == (True, None, 0)
    assert ActingLease.objects.get().term == 8


def _wait_for_term_8():
    time.sleep(0.6)
    connection.cursor().execute("SELECT 1")
