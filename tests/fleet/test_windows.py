"""The windows of the group "Fleet"."""

from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse

from accounts.scope import STORE_OPERATOR, SYSTEM_ADMINISTRATOR
from fleet.models import Incident, Maintenance
from servers.models import StatusTransition
from tests.factories import make_server, make_tree, make_user

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _now(time_machine):
    time_machine.move_to(NOW, tick=False)


@pytest.fixture
def servers():
    tree = make_tree(ACME=None, OSLO="ACME", ROME="ACME")
    return {
        "central": make_server("central", client=tree["ACME"]),
        "oslo": make_server("oslo", client=tree["ACME"], organizations=[tree["OSLO"]]),
        "rome": make_server("rome", client=tree["ACME"], organizations=[tree["ROME"]]),
    }


def address(model, view, *args):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{view}", args=args)


def log_in(client, *organizations, role=STORE_OPERATOR):
    user = make_user("operator", role=role, is_staff=True)
    user.organizations.set(organizations)
    client.force_login(user)


def plan(server, start=-HOUR, end=HOUR):
    return Maintenance.objects.create(server=server, starts_at=NOW + start, ends_at=NOW + end, reason=server.name)


def posted(of, **fields):
    return {
        "server": of.pk,
        "organization": "",
        "starts_at_0": "2026-03-01",
        "starts_at_1": "12:00:00",
        "ends_at_0": "2026-03-01",
        "ends_at_1": "14:00:00",
        "reason": "Disks",
    } | fields


def messages(answer):
    return [str(message) for message in answer.context["messages"]]


def listed(answer):
    return [row.reason for row in answer.context["cl"].result_list]


def test_maintenance_is_planned_on_its_form(client, servers):
    log_in(client, role=SYSTEM_ADMINISTRATOR)

    answer = client.post(address(Maintenance, "add"), posted(servers["central"]))

    row = Maintenance.objects.get()
    assert answer.status_code == 302
    assert (row.server, row.starts_at, row.ends_at) == (servers["central"], NOW, NOW + 2 * HOUR)
    assert (row.reason, row.created_by.username) == ("Disks", "operator")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"ends_at_1": "12:00:00"}, "The end must be after the start."),
        ({"server": ""}, "Choose either a server or an organization."),
    ],
)
def test_maintenance_that_makes_no_sense_stays_on_the_form(client, servers, fields, error):
    log_in(client, role=SYSTEM_ADMINISTRATOR)

    answer = client.post(address(Maintenance, "add"), posted(servers["central"], **fields))

    assert error in answer.content.decode()
    assert not Maintenance.objects.exists()


def test_a_store_operator_is_told_why_he_cannot_silence_the_central_server(client, servers):
    log_in(client, servers["oslo"].organizations_by_server.get().organization)

    refused = client.post(address(Maintenance, "add"), posted(servers["central"]))
    unknown = client.post(address(Maintenance, "add"), posted(servers["rome"]))
    planned = client.post(address(Maintenance, "add"), posted(servers["oslo"]))

    assert "central also serves organizations you do not administer." in refused.content.decode()
    assert list(unknown.context["adminform"].form.errors) == ["server"]
    assert planned.status_code == 302
    assert [row.server for row in Maintenance.objects.all()] == [servers["oslo"]]


def test_a_store_operator_ends_and_changes_only_his_own(client, servers):
    rows = {name: plan(server) for name, server in servers.items()}
    log_in(client, servers["oslo"].organizations_by_server.get().organization)

    statuses = {
        name: (
            client.get(address(Maintenance, "change", row.pk)).status_code,
            client.post(address(Maintenance, "change", row.pk), posted(servers[name])).status_code,
            client.post(address(Maintenance, "end_now", row.pk)).status_code,
        )
        for name, row in rows.items()
    }

    assert statuses == {"central": (200, 403, 403), "oslo": (200, 302, 302), "rome": (404, 404, 404)}


def test_running_maintenance_is_ended_once_that_is_confirmed(client, servers):
    row = plan(servers["central"])
    log_in(client, role=SYSTEM_ADMINISTRATOR)

    asked = client.get(address(Maintenance, "end_now", row.pk))
    before = Maintenance.objects.get().ends_at
    done = client.post(address(Maintenance, "end_now", row.pk), follow=True)

    assert (asked.status_code, before) == (200, NOW + HOUR)
    assert messages(done) == ["The maintenance has ended: what is missing is alarmed again."]
    assert Maintenance.objects.get().ends_at == NOW


@pytest.mark.parametrize(("start", "end"), [(HOUR, 2 * HOUR), (-2 * HOUR, -HOUR), (-HOUR, HOUR * 0), (HOUR * 0, HOUR)])
def test_maintenance_that_does_not_run_is_not_ended(client, servers, start, end):
    row = plan(servers["central"], start, end)
    log_in(client, role=SYSTEM_ADMINISTRATOR)

    answer = client.post(address(Maintenance, "end_now", row.pk), follow=True)

    assert messages(answer) == ["Only maintenance that has begun and is not over can be ended now."]
    assert Maintenance.objects.get().ends_at == NOW + end


@pytest.mark.parametrize(
    ("when", "reasons"),
    [("running", ["oslo"]), ("coming", ["central"]), ("past", ["rome"]), ("nonsense", ["central", "oslo", "rome"])],
)
def test_the_list_is_filtered_by_running_coming_and_past(client, servers, when, reasons):
    plan(servers["central"], HOUR, 2 * HOUR)
    plan(servers["oslo"])
    plan(servers["rome"], -2 * HOUR, 0 * HOUR)
    log_in(client, role=SYSTEM_ADMINISTRATOR)

    assert listed(client.get(address(Maintenance, "changelist"), {"when": when})) == reasons


def test_several_are_deleted_at_once_only_by_who_may_plan_each(client, servers):
    rows = [plan(servers["central"]), plan(servers["oslo"])]
    log_in(client, servers["oslo"].organizations_by_server.get().organization, role=SYSTEM_ADMINISTRATOR)
    form = {"action": "delete_selected", "post": "yes", "_selected_action": [row.pk for row in rows]}

    answer = client.post(address(Maintenance, "changelist"), form, follow=True)

    assert answer.status_code == 403
    assert Maintenance.objects.count() == 2


@pytest.mark.parametrize("model", [Incident, StatusTransition], ids=lambda model: model.__name__)
def test_nobody_writes_records_by_hand(client, servers, model):
    server = servers["central"]
    Incident.objects.create(server=server, opened_at=NOW, cause="Gone.")
    StatusTransition.objects.create(
        server=server,
        server_key=server.key,
        from_status="online",
        to_status="offline",
        at=NOW,
        cause="Gone.",
        observer="watcher",
    )
    log_in(client, role=SYSTEM_ADMINISTRATOR)
    pk = model.objects.get().pk

    statuses = {
        "list": client.get(address(model, "changelist")).status_code,
        "read": client.get(address(model, "change", pk)).status_code,
        "add": client.post(address(model, "add"), {}).status_code,
        "change": client.post(address(model, "change", pk), {}).status_code,
        "delete": client.post(address(model, "delete", pk), {"post": "yes"}).status_code,
    }

    assert statuses == {"list": 200, "read": 200, "add": 403, "change": 403, "delete": 403}
    assert model.objects.count() == 1


@pytest.mark.parametrize(("answer", "open_ones"), [("yes", [True]), ("no", [False]), ("", [True, False])])
def test_incidents_are_filtered_by_open(client, servers, answer, open_ones):
    Incident.objects.create(server=servers["central"], opened_at=NOW, cause="Gone.")
    Incident.objects.create(server=servers["oslo"], opened_at=NOW - HOUR, cause="Gone.", closed_at=NOW)
    log_in(client, role=SYSTEM_ADMINISTRATOR)

    page = client.get(address(Incident, "changelist"), {"open": answer} if answer else {})

    assert [row.closed_at is None for row in page.context["cl"].result_list] == open_ones
