"""Scheduled runs: emitted on the acting node only, each slot once, and by its own term."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction

from backoffice.celery import app
from boosters import beat
from boosters.acting import ActingTask
from boosters.beat import HEADER, ActingScheduler, SlotEntry
from boosters.fence import fenced
from boosters.lease import NoLongerActing, Right, acting_right
from boosters.models import ScheduledSlot
from boosters.parameters import Role
from boosters.slots import Slot, begin_of_slot, begin_run, claim_slot, from_header, prune_slots
from events.models import Event
from tests.boosters.pairs import give_lease, node
from tests.interleaving import outcomes

postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="a pair needs PostgreSQL")
TASK = "events.tasks.prune_events"
MOMENT = datetime(2026, 5, 4, 12, 0, 3, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _own_offset(monkeypatch):
    monkeypatch.setitem(beat._offset, "s", 0.0)


@pytest.fixture
def eager():
    """Run what is emitted at once, in this process."""
    was = app.conf.task_always_eager
    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = was


@pytest.fixture
def still(monkeypatch):
    """Let the database's clock stand at `MOMENT`."""
    for module in ("boosters.slots", "boosters.beat"):
        monkeypatch.setattr(f"{module}.database_moment", lambda: MOMENT)


@pytest.mark.parametrize(("every_s", "minute", "second"), [(5, 0, 0), (60, 0, 0), (3600, 0, 0), (1, 0, 3)])
def test_slots_begin_at_multiples_of_the_interval(every_s, minute, second):
    assert begin_of_slot(MOMENT, every_s) == MOMENT.replace(minute=minute, second=second)


@pytest.mark.django_db
def test_a_slot_is_claimed_once(still):
    """OMF-23."""
    right = acting_right()

    first, second = claim_slot(TASK, 5, right), claim_slot(TASK, 5, right)

    row = ScheduledSlot.objects.get()
    assert (first, second) == (Slot(row.pk, right), None)
    assert (row.task, row.slot_at, row.term) == (TASK, MOMENT.replace(second=0), right.term)


@postgresql
@pytest.mark.django_db(transaction=True)
def test_two_beats_at_once_claim_a_slot_once(still):
    right = acting_right()
    found = []

    outcomes(
        lambda: found.append(claim_slot(TASK, 5, right)),
        lambda: found.append(claim_slot(TASK, 5, right)),
        lambda: None,
    )

    assert ([slot is not None for slot in found], ScheduledSlot.objects.count()) == ([True, False], 1)


@postgresql
@pytest.mark.django_db
def test_a_newer_term_does_not_claim_a_slot_again(settings, still):
    """OMF-23."""
    settings.BOOSTER_PARAMETERS = node(Role.SECONDARY)
    claim_slot(TASK, 5, give_lease(Role.PRIMARY, 7))

    assert claim_slot(TASK, 5, give_lease(Role.SECONDARY, 8)) is None


@pytest.mark.django_db
def test_a_claimed_slot_runs_once_however_often_it_is_delivered(still):
    slot = claim_slot(TASK, 5, acting_right())

    assert [begin_run(from_header(slot.as_header())) for _ in range(2)] == [True, False]


@pytest.mark.django_db
def test_slots_of_past_days_are_forgotten(still):
    claim_slot(TASK, 5, acting_right())

    assert (prune_slots(MOMENT - timedelta(minutes=1)), prune_slots(MOMENT)) == (0, 1)


def entry_at(last_s, every_s=5):
    last = datetime.fromtimestamp(last_s, UTC)
    return SlotEntry(name=TASK, task=TASK, schedule=timedelta(seconds=every_s), last_run_at=last, app=app)


@pytest.mark.parametrize(
    ("last_s", "now_s", "expected"),
    [(1000, 1003, (False, 2.02)), (1004, 1005, (True, 5.02)), (990, 1003, (True, 2.02))],
)
def test_an_entry_is_due_at_the_begin_of_each_slot(monkeypatch, last_s, now_s, expected):
    monkeypatch.setattr(beat, "now_s", lambda: now_s)

    due = entry_at(last_s).is_due()

    assert (due.is_due, round(due.next, 2)) == expected


@pytest.fixture
def ran(monkeypatch):
    """Collect what the task is run with instead of running it."""
    app.loader.import_default_modules()
    runs = []
    monkeypatch.setattr(app.tasks[TASK], "run", lambda: runs.append("ran"))
    return runs


@pytest.mark.django_db
def test_scheduler_emits_a_slot_once_and_the_worker_runs_it_once(still, ran, eager):
    scheduler = ActingScheduler(app, lazy=True)

    for _ in range(2):
        scheduler.apply_async(entry_at(0), advance=False)

    assert (ran, ScheduledSlot.objects.filter(run_at=MOMENT).count()) == (["ran"], 1)


@postgresql
@pytest.mark.django_db
def test_scheduler_emits_nothing_while_its_node_stands_by(settings, ran, eager):
    """OMF-21."""
    settings.BOOSTER_PARAMETERS = node(Role.SECONDARY)
    give_lease(Role.PRIMARY)

    ActingScheduler(app, lazy=True).apply_async(entry_at(0), advance=False)

    assert (ran, ScheduledSlot.objects.count()) == ([], 0)


@postgresql
@pytest.mark.django_db
def test_a_task_of_an_older_term_is_dropped(settings, ran):
    """OMF-21."""
    settings.BOOSTER_PARAMETERS = node(Role.SECONDARY)
    slot = claim_slot(TASK, 5, give_lease(Role.PRIMARY, 7))
    give_lease(Role.SECONDARY, 8)

    app.tasks[TASK].apply(headers={HEADER: slot.as_header()}, throw=True)

    assert ran == []


@postgresql
@pytest.mark.django_db
def test_a_task_of_the_acting_node_runs_on_a_worker_of_the_other(settings, ran):
    settings.BOOSTER_PARAMETERS = node(Role.SECONDARY)
    slot = claim_slot(TASK, 5, give_lease(Role.PRIMARY, 7))

    app.tasks[TASK].apply(headers={HEADER: slot.as_header()}, throw=True)

    assert ran == ["ran"]


@postgresql
@pytest.mark.django_db
def test_a_task_started_by_hand_runs_only_while_somebody_acts(settings, ran):
    settings.BOOSTER_PARAMETERS = node(Role.PRIMARY)
    app.tasks[TASK].apply(throw=True)
    give_lease(Role.SECONDARY)
    app.tasks[TASK].apply(throw=True)

    assert ran == ["ran"]


def test_every_task_is_an_acting_one():
    app.loader.import_default_modules()

    assert {isinstance(app.tasks[name], ActingTask) for name in ("fleet.tasks.watch", "notices.tasks.deliver")} == {
        True
    }


def event(kind="written"):
    return Event.objects.create(at=MOMENT, kind=kind)


@postgresql
@pytest.mark.django_db(transaction=True)
def test_a_task_that_lost_its_right_writes_no_more(settings):
    """OMF-21: a task that was stopped beyond its lease and goes on."""
    settings.BOOSTER_PARAMETERS = node(Role.PRIMARY)
    right = give_lease(Role.PRIMARY, 7)

    with fenced(right):
        kept = event("before")
        give_lease_elsewhere()
        writes = (
            event,
            lambda: Event.objects.filter(pk=kept.pk).update(kind="changed"),
            kept.delete,
            lambda: in_transaction(event),
        )
        for write in writes:
            with pytest.raises(NoLongerActing):
                write()

    assert [row.kind for row in Event.objects.all()] == ["before"]


def in_transaction(write):
    with transaction.atomic():
        write()


def give_lease_elsewhere():
    """Let another connection claim: what this one writes is fenced."""
    from threading import Thread

    def claim():
        give_lease(Role.SECONDARY, 8)
        connection.close()

    thread = Thread(target=claim)
    thread.start()
    thread.join()


def test_a_node_alone_needs_no_fence(django_assert_num_queries, db):
    with fenced(Right(Role.SINGLE, 1)), django_assert_num_queries(1):
        event()
