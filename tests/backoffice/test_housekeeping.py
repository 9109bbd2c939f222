from datetime import UTC, datetime, timedelta

import pytest
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.sessions.models import Session
from django.utils import timezone

from backoffice.celery import app
from events.log import record
from events.models import Event
from notices.models import Notice
from notices.outbox import tell
from terminals.models import FailedActivation

pytestmark = pytest.mark.django_db


def run(name):
    """Run a scheduled task by its name, as beat finds it."""
    app.loader.import_default_modules()
    assert name in settings.CELERY_BEAT_SCHEDULE
    return app.tasks[name].apply(throw=True).result


def test_every_scheduled_task_exists():
    app.loader.import_default_modules()

    assert {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()} <= set(app.tasks)


def test_events_are_kept_for_the_configured_days():
    now = timezone.now()
    record("old", moment=now - timedelta(days=401))
    record("recent", moment=now - timedelta(days=399))

    deleted = run("events.tasks.prune_events")

    assert (deleted, [event.kind for event in Event.objects.all()]) == (1, ["recent"])


def test_notices_are_kept_for_the_configured_days():
    now = timezone.now()
    for key, days in (("old", 401), ("recent", 399)):
        tell("test", key=key, subject=key, text="", moment=now - timedelta(days=days))

    deleted = run("notices.tasks.prune_notices")

    assert (deleted, [notice.key for notice in Notice.objects.all()]) == (1, ["recent"])


def test_sessions_that_ended_are_forgotten():
    now = timezone.now()
    for key, days in (("over", -1), ("open", 1)):
        Session.objects.create(session_key=key, session_data="", expire_date=now + timedelta(days=days))

    deleted = run("accounts.tasks.prune_sessions")

    assert (deleted, [session.pk for session in Session.objects.all()]) == (1, ["open"])


def test_failed_logins_are_forgotten_once_they_lock_nobody_out():
    for name, minutes in (("over", 16), ("counting", 14)):
        attempt = AccessAttempt.objects.create(username=name, failures_since_start=1)
        AccessAttempt.objects.filter(pk=attempt.pk).update(attempt_time=timezone.now() - timedelta(minutes=minutes))

    deleted = run("accounts.tasks.prune_failed_logins")

    assert (deleted, [attempt.username for attempt in AccessAttempt.objects.all()]) == (1, ["counting"])


def test_failed_activations_are_forgotten_once_no_limit_counts_them(time_machine):
    now = datetime(2026, 3, 1, tzinfo=UTC)
    time_machine.move_to(now, tick=False)
    for key, minutes in (("over", 15), ("counting", 14)):
        FailedActivation.objects.create(at=now - timedelta(minutes=minutes), terminal_key=key, address="192.0.2.1")

    deleted = run("terminals.tasks.prune_activations")

    assert (deleted, [row.terminal_key for row in FailedActivation.objects.all()]) == (1, ["counting"])
