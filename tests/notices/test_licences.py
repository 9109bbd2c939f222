"""That the licence or the trial ends is a notice: 30, 14, 7 and 1 days before, once each."""

from datetime import timedelta

import pytest

from events.log import prune
from events.models import Event
from licensing.installation import give_notice
from notices.models import Delivery, Notice
from tests.factories import make_channel
from tests.licensing.makers import DAY, SECOND, START, make_file, make_installation

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("vendor_keys")]

END = START + 365 * DAY


@pytest.fixture
def at(time_machine):
    return lambda moment: time_machine.move_to(moment, tick=False)


def subjects():
    return list(Notice.objects.order_by("at").values_list("subject", flat=True))


def test_the_end_of_a_licence_is_told_once_each_30_14_7_and_1_days_before(at):
    make_channel("office", kinds=["license-ends-soon"])
    make_channel("losses", kinds=[])
    make_installation(license=make_file(grace_days=0).decode())
    told = []
    for left in (30 * DAY + SECOND, 30 * DAY, 29 * DAY, 14 * DAY, 14 * DAY, 7 * DAY, DAY, DAY / 2, -DAY):
        at(END - left)
        give_notice()
        told.append(Notice.objects.count())

    assert told == [0, 1, 1, 2, 2, 3, 4, 4, 4]
    assert subjects() == [f"The licence ends in {days}" for days in ("30 days", "14 days", "7 days", "1 day")]
    assert Delivery.objects.count() == 8
    notice = Notice.objects.earliest("at")
    assert (notice.key, notice.text, notice.data) == (
        "license-ends-soon:L-1:licensed:30",
        "Licensed for Acme Retail until 2028-01-01 12:00 UTC. Terminals go on as before; "
        "what the licence allows beyond that ends.",
        {"days": 30, "days_left": 30, "state": "licensed"},
    )


def test_a_licence_that_is_met_late_is_told_with_the_days_that_are_left(at):
    make_installation(license=make_file(grace_days=0).decode())
    at(END - 10 * DAY)

    give_notice()

    assert subjects() == ["The licence ends in 10 days"]


def test_the_ends_of_trial_and_grace_period_are_told_by_their_names(at):
    make_installation()
    at(START + 6 * DAY)
    give_notice()
    make_installation(license=make_file(grace_days=14).decode())
    at(END + SECOND)
    give_notice()

    assert subjects() == ["The trial ends in 1 day", "The licence's grace period ends in 14 days"]


def test_nothing_is_told_twice_after_the_event_log_was_pruned(at):
    make_installation(license=make_file(grace_days=0).decode())
    at(END - 14 * DAY)
    give_notice()

    prune(END - 10 * DAY)
    Notice.objects.all().delete()
    at(END - 9 * DAY)
    give_notice()

    assert subjects() == []


def test_a_notice_that_fails_leaves_no_event_so_that_it_is_tried_again(at, monkeypatch):
    make_installation(license=make_file(grace_days=0).decode())
    at(END - timedelta(days=30))
    with monkeypatch.context() as broken:
        broken.setattr("notices.licences.tell", None)
        with pytest.raises(TypeError):
            give_notice()
    left = Event.objects.filter(kind="license-ends-soon").count()

    give_notice()

    assert (left, subjects()) == (0, ["The licence ends in 30 days"])
