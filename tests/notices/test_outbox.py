"""Telling: who is told what, once, and only if the caller's transaction commits."""

import threading
from datetime import UTC, datetime

import pytest
from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

from events.models import Event
from notices import kinds
from notices.models import Delivery, Notice
from notices.outbox import tell
from tests.factories import make_channel, make_tree

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _kinds(monkeypatch):
    monkeypatch.setattr(kinds, "_labels", dict(kinds._labels))
    kinds.register("server-lost", "A server was lost")
    kinds.register("server-flapping", "A server keeps changing")


@pytest.fixture
def started(monkeypatch):
    """Collect the tasks that are sent to workers."""
    sent = []
    monkeypatch.setattr(current_app, "send_task", lambda name, **options: sent.append((name, options)))
    return sent


def tell_of_loss(key="incident-1", **fields):
    tell("server-lost", **{"key": key, "subject": "LyonBox is lost", "text": "No heartbeat.", "moment": NOON} | fields)


def told():
    return sorted(Delivery.objects.values_list("notice__key", "channel__name", "state", "attempts", "next_attempt_at"))


def test_tell_makes_a_notice_a_delivery_per_channel_and_an_event():
    make_channel("night shift")
    make_channel("pager", kind="webhook", url="https://hooks.example/T0K3N")

    tell_of_loss(data={"server": "lyon"})

    assert list(Notice.objects.values_list("at", "kind", "key", "subject", "text", "data", "organization")) == [
        (NOON, "server-lost", "incident-1", "LyonBox is lost", "No heartbeat.", {"server": "lyon"}, None)
    ]
    assert told() == [
        ("incident-1", "night shift", "waiting", 0, NOON),
        ("incident-1", "pager", "waiting", 0, NOON),
    ]
    event = Event.objects.get()
    assert (event.kind, event.object_key, event.cause, event.data) == (
        "notice-told",
        "incident-1",
        "LyonBox is lost",
        {"notice": "server-lost", "channels": ["night shift", "pager"]},
    )


def test_tell_does_nothing_the_second_time_for_one_key():
    make_channel("night shift")

    tell_of_loss()
    make_channel("made since")
    tell_of_loss(subject="Other words", moment=NOON.replace(hour=13))
    tell_of_loss(key="incident-2")

    assert list(Notice.objects.order_by("key").values_list("key", "subject")) == [
        ("incident-1", "LyonBox is lost"),
        ("incident-2", "LyonBox is lost"),
    ]
    assert [row[:2] for row in told()] == [
        ("incident-1", "night shift"),
        ("incident-2", "made since"),
        ("incident-2", "night shift"),
    ]
    assert Event.objects.count() == 2


def test_tell_chooses_active_channels_by_kind_and_organization():
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", SOUTH="ACME", OTHER=None)
    make_channel("everything")
    make_channel("inactive", is_active=False)
    make_channel("losses", kinds=["server-lost"])
    make_channel("flapping", kinds=["server-flapping"])
    for code in ("ACME", "NORTH", "OSLO", "SOUTH", "OTHER"):
        make_channel(f"for {code}", organization=tree[code])

    tell_of_loss("about Oslo", organization=tree["OSLO"])
    tell_of_loss("about North", organization=tree["NORTH"])
    tell_of_loss("about everything")

    by_key = {}
    for key, name, *_ in told():
        by_key.setdefault(key, []).append(name)
    assert by_key == {
        "about Oslo": ["everything", "for ACME", "for NORTH", "for OSLO", "losses"],
        "about North": ["everything", "for ACME", "for NORTH", "losses"],
        "about everything": ["everything", "losses"],
    }


@pytest.mark.parametrize("channels", [1, 5])
def test_tell_takes_the_same_queries_for_any_number_of_channels(django_assert_num_queries, channels):
    oslo = make_tree(ACME=None, OSLO="ACME")["OSLO"]
    for _ in range(channels):
        make_channel()

    with django_assert_num_queries(9):
        tell_of_loss(organization=oslo)
    with django_assert_num_queries(3):  # savepoint, look-up, release
        tell_of_loss(organization=oslo)


def test_tell_refuses_a_kind_that_nobody_registered():
    with pytest.raises(ValueError, match="server-abducted is not a registered kind"):
        tell("server-abducted", key="1", subject="", text="", moment=NOON)

    assert not Notice.objects.exists()


def test_tell_cuts_a_subject_that_is_too_long():
    tell_of_loss(subject="x" * 500)

    assert Notice.objects.get().subject == "x" * 200


@pytest.mark.django_db(transaction=True)
def test_tell_leaves_nothing_and_starts_nothing_when_the_transaction_is_rolled_back(settings, started):
    settings.REDIS_URL = "redis://broker"
    make_channel()

    with transaction.atomic():
        tell_of_loss()
        transaction.set_rollback(True)

    assert (Notice.objects.count(), Delivery.objects.count(), started) == (0, 0, [])


def wait_for_starts():
    for thread in threading.enumerate():
        if thread.name == "deliver-soon":
            thread.join(5)


def test_tell_starts_a_round_on_commit_where_there_are_workers(settings, started, django_capture_on_commit_callbacks):
    settings.REDIS_URL = "redis://broker"
    with django_capture_on_commit_callbacks(execute=True):
        tell_of_loss("without a channel")
    make_channel()
    with django_capture_on_commit_callbacks(execute=True):
        tell_of_loss()
        wait_for_starts()
        assert started == []
    wait_for_starts()
    settings.REDIS_URL = ""
    with django_capture_on_commit_callbacks(execute=True):
        tell_of_loss("without workers")
    wait_for_starts()

    assert started == [("notices.tasks.deliver", {"retry": False, "expires": 30})]


def test_tell_does_not_wait_for_a_broker_that_is_away(settings, monkeypatch, django_capture_on_commit_callbacks):
    given_up = threading.Event()
    attempts = []

    def refuse(*args, **kwargs):
        attempts.append(args)
        given_up.wait(5)
        raise OperationalError("Connection refused")

    settings.REDIS_URL = "redis://broker"
    monkeypatch.setattr(current_app, "send_task", refuse)
    make_channel()

    with django_capture_on_commit_callbacks(execute=True):
        tell_of_loss("one")
        tell_of_loss("two")
    told = Delivery.objects.count()
    given_up.set()
    wait_for_starts()
    with django_capture_on_commit_callbacks(execute=True):
        tell_of_loss("three")
    wait_for_starts()

    assert (told, len(attempts)) == (2, 2)
