from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command

from backoffice.celery import app
from fleet.models import Incident
from servers.history import transitions_ever
from servers.models import StatusTransition
from servers.status import Status
from tests.factories import make_organization, make_server, make_terminal

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _now(time_machine):
    time_machine.move_to(NOW, tick=False)


def ago(days):
    return NOW - timedelta(days=days)


def make_history(*days):
    server = make_server("central", client=make_organization("ACME"))
    terminal = make_terminal("OSLO-1", make_organization("OSLO", "ACME"))
    for day in days:
        StatusTransition.objects.create(
            server=server,
            server_key="central",
            from_status="offline",
            to_status="transition_to_online",
            at=ago(day),
            cause="It answers.",
            observer="agent",
        )
        Incident.objects.create(
            kind="terminal", terminal=terminal, opened_at=ago(day + 1), cause="Unseen.", closed_at=ago(day)
        )
    return server


def left():
    return (
        [(NOW - row.at).days for row in StatusTransition.objects.all()],
        [(NOW - row.closed_at).days for row in Incident.objects.filter(closed_at__isnull=False)],
    )


def test_the_command_forgets_what_is_older_and_says_how_much(capsys):
    make_history(100, 101, 102, 200)

    call_command("prune_history", days=101)

    assert capsys.readouterr().out == "Forgot 1 transitions and 2 incidents.\n"
    # The last transition before the cut stays: it tells the state that the time after it began with.
    assert left() == ([100, 101, 102], [100, 101])


def test_open_incidents_stay_with_those_they_follow():
    server = make_history(300, 200)
    followed = Incident.objects.get(closed_at=ago(300))
    Incident.objects.create(kind="server", server=server, opened_at=ago(400), cause="Gone.", follows=followed)

    call_command("prune_history", days=91)

    assert left()[1] == [300]
    assert Incident.objects.filter(closed_at__isnull=True).get().follows == followed


@pytest.mark.parametrize("days", [90, 0, -1, 36_501])
def test_what_is_shown_is_never_forgotten(days):
    make_history(300, 200)

    with pytest.raises(CommandError, match=r"kept for 91 to 36500 days, not -?\d+"):
        call_command("prune_history", days=days)

    assert left() == ([200, 300], [200, 300])


def test_it_happens_by_itself_every_hour(settings):
    make_history(1, 399, 401, 500)
    task = "fleet.tasks.prune_history"
    app.loader.import_default_modules()

    forgotten = app.tasks[task].apply(throw=True).result

    assert (settings.CELERY_BEAT_SCHEDULE[task], forgotten) == ({"task": task, "schedule": 3600}, 3)
    assert left() == ([1, 399, 401], [1, 399])
    assert transitions_ever()[Status.TRANSITION_TO_ONLINE] == 4
