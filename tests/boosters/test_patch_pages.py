"""The pages of patches, roll-outs and versions."""

import re
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from accounts.scope import READ_ONLY, STORE_OPERATOR
from boosters import orders, rolling
from boosters.driver import drive
from boosters.patch_models import Patch, RollOut, RollOutTarget
from boosters.progress import progress_of
from servers.models import ServerReport
from tests.boosters.makers import make_container, make_patch
from tests.factories import make_admin, make_server, make_tree, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("patch_home")]
OLD, NEW = "1.1.0.0", "1.2.0.0"


@pytest.fixture
def tree():
    return make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", ROME="ACME")


@pytest.fixture
def chain(tree):
    now = timezone.now()
    servers = [
        make_server("oslo", client=tree["ACME"], organizations=[tree["OSLO"]], server_type="store", priority=5),
        make_server("rome", client=tree["ACME"], organizations=[tree["ROME"]], server_type="store", priority=5),
        make_server("main", client=tree["ACME"]),
    ]
    for server in servers:
        ServerReport.objects.create(
            server=server, software_version=OLD, reported_at=now, modules=[{"name": "org.pos", "version": "1"}]
        )
    return servers


@pytest.fixture
def admin(client):
    user = make_admin("root")
    client.force_login(user)
    return user


def says(page):
    return re.search(r"data-says>(.*?)</p>", page.content.decode())[1]


def test_a_patch_is_uploaded_and_shown(client, admin):
    file = SimpleUploadedFile("summer.bpatch", make_container())

    answer = client.post(reverse("boosters:upload"), {"file": file}, follow=True)

    assert answer.redirect_chain[0][0] == reverse("boosters:patch", args=[Patch.objects.get().pk])
    assert "Openbravo POS 1.2.0.0 is kept." in answer.content.decode()


def test_a_refused_patch_is_said_on_the_page_and_leaves_nothing(client, admin):
    file = SimpleUploadedFile("summer.bpatch", make_container()[:-5])

    answer = client.post(reverse("boosters:upload"), {"file": file})

    assert answer.status_code == 400
    assert "the file was cut short or altered" in answer.content.decode()
    assert not Patch.objects.exists()


def test_the_page_says_what_to_do_without_a_vendors_key(client, admin, settings, tmp_path):
    settings.BOOSTER_PATCH_KEYS = str(tmp_path / "none")

    assert (
        "into the directory that BOOSTER_PATCH_KEYS names" in client.get(reverse("boosters:patches")).content.decode()
    )


def test_waves_are_chosen_in_the_form(client, admin, chain, tree):
    patch = make_patch()

    answer = client.post(
        reverse("boosters:patch", args=[patch.pk]),
        {
            "servers_1": [chain[1].pk],
            "organization_2": tree["NORTH"].pk,
            "everybody": "on",
            "kilobytes_per_s": "500",
        },
    )

    row = RollOut.objects.get()
    assert answer["Location"] == reverse("boosters:roll-out", args=[row.pk])
    assert (row.waves, row.bytes_per_s, row.created_by) == (
        ["rome", "Acme / North", "All other servers"],
        500_000,
        admin,
    )
    waves = dict(row.targets.values_list("server__name", "wave"))
    assert waves == {"rome": 1, "oslo": 2, "main": 3}


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        ({}, "Choose at least one organization or server"),
        ({"everybody": "on", "kilobytes_per_s": "-1"}, "greater than or equal to 0"),
        ({"everybody": "on", "begins_at": "soon"}, "Enter a valid date/time"),
    ],
)
def test_what_makes_no_sense_is_said_and_begins_nothing(client, admin, chain, sent, why):
    patch = make_patch()

    page = client.post(reverse("boosters:patch", args=[patch.pk]), sent)

    assert why in page.content.decode()
    assert not RollOut.objects.exists()


def test_the_page_tells_what_each_server_does_and_waits_for(client, admin, chain):
    row = rolling.create(make_patch(), timezone.now())
    drive(timezone.now())
    target = RollOutTarget.objects.get(server=chain[1])
    orders.report_progress(chain[1], target.pk, "downloading", timezone.now(), received_bytes=row.patch.size_bytes // 2)
    row.refresh_from_db()

    page = client.get(reverse("boosters:roll-out", args=[row.pk]))
    lines = {line.key: line for _, lines in progress_of(row, list(row.targets.all())).waves for line in lines}

    assert says(page) == "0 of 3 servers over. At work: oslo, rome."
    assert (lines["rome"].share, lines["rome"].word) == (29, "Downloading")
    assert lines["main"].says == "Waits for oslo, which serves the same organization."
    assert lines["main"].says in page.content.decode()


def test_the_page_gets_an_answer_only_when_something_moved(client, admin, chain):
    row = rolling.create(make_patch(), timezone.now())
    now = reverse("boosters:roll-out-now", args=[row.pk])
    first = client.get(now)

    same = client.get(now, {"seen": first["X-Seen"]})
    drive(timezone.now())
    moved = client.get(now, {"seen": first["X-Seen"]})

    assert (first.status_code, same.status_code, moved.status_code) == (200, 204, 200)
    assert "At work: oslo, rome." in moved.content.decode()


@pytest.mark.parametrize(("what", "state"), [("pause", "paused"), ("cancel", "cancelled")])
def test_an_act_is_confirmed_first(client, admin, chain, what, state):
    row = rolling.create(make_patch(), timezone.now())
    address = reverse(f"boosters:{what}", args=[row.pk])

    asked = client.get(address)
    row.refresh_from_db()
    before = row.state
    client.post(address)

    row.refresh_from_db()
    assert (asked.status_code, before, row.state) == (200, "planned", state)


def test_a_failed_server_is_skipped_and_the_roll_out_goes_on(client, admin, chain):
    row = rolling.create(make_patch(), timezone.now())
    drive(timezone.now())
    target = RollOutTarget.objects.get(server=chain[1])
    orders.report_progress(chain[1], target.pk, "failed", timezone.now(), detail="The disk of the server is full.")
    drive(timezone.now())
    page = client.get(reverse("boosters:roll-out", args=[row.pk]))

    client.post(reverse("boosters:skip", args=[row.pk, "rome"]))

    row.refresh_from_db()
    assert says(page) == "Paused with 1 of 3 servers over: rome: The disk of the server is full."
    assert (row.state, RollOutTarget.objects.get(server=chain[1]).state) == ("running", "skipped")


def test_what_the_state_does_not_allow_is_said(client, admin, chain):
    row = rolling.create(make_patch(), timezone.now())

    answer = client.post(reverse("boosters:resume", args=[row.pk]), follow=True)

    assert "The roll-out is planned: only a paused one can be resumed." in answer.content.decode()


def test_a_patch_without_roll_outs_is_deleted_when_confirmed(client, admin):
    patch = make_patch()
    address = reverse("boosters:delete", args=[patch.pk])

    asked = client.get(address)
    client.post(address)

    assert (asked.status_code, Patch.objects.count()) == (200, 0)


@pytest.mark.parametrize(
    ("role", "statuses"), [(READ_ONLY, [200, 200, 403, 403]), (STORE_OPERATOR, [403, 403, 403, 403])]
)
def test_who_may_only_look_changes_nothing(client, chain, role, statuses):
    row = rolling.create(make_patch(), timezone.now())
    client.force_login(make_user("reader", role=role, is_staff=True))

    found = [
        client.get(reverse("boosters:patches")).status_code,
        client.get(reverse("boosters:roll-out", args=[row.pk])).status_code,
        client.post(reverse("boosters:cancel", args=[row.pk])).status_code,
        client.post(reverse("boosters:upload"), {}).status_code,
    ]

    row.refresh_from_db()
    assert (found, row.state) == (statuses, "planned")


@pytest.mark.parametrize("rows", [1, 3])
def test_the_pages_take_the_same_queries_for_any_number_of_rows(
    client, admin, tree, django_assert_max_num_queries, rows
):
    now = timezone.now()
    for number in range(rows):
        server = make_server(f"s{number}", client=tree["ACME"])
        ServerReport.objects.create(server=server, software_version=OLD, reported_at=now)
        row = rolling.create(make_patch(version=f"1.2.0.{number}"), now)
        rolling.cancel(row.pk, now)

    for address in (
        reverse("boosters:patches"),
        reverse("boosters:versions"),
        reverse("boosters:roll-out", args=[row.pk]),
        reverse("boosters:patch", args=[row.patch_id]),
    ):
        with django_assert_max_num_queries(100) as captured:
            assert client.get(address).status_code == 200
        assert len(captured) <= 16, (address, [query["sql"][:90] for query in captured])


def test_the_version_overview_compares_each_server_with_central(client, admin, chain, tree):
    reports = {report.server.name: report for report in ServerReport.objects.select_related("server")}
    reports["oslo"].software_version = "1.0.0.0"
    reports["oslo"].modules = [{"name": "org.pos", "version": "2"}, {"name": "org.only.here", "version": "1"}]
    reports["oslo"].save()
    ServerReport.objects.filter(pk=reports["rome"].pk).delete()

    lines = {line.key: line for line in client.get(reverse("boosters:versions")).context["lines"]}

    assert {key: (line.comparison.value, line.differences) for key, line in lines.items()} == {
        "main": ("central", ()),
        "oslo": ("different", ("Version 1.0.0.0, central has 1.1.0.0", "org.pos 2, central has 1")),
        "rome": ("unknown", ("No agent has reported for it yet.",)),
    }


def test_a_store_operator_sees_the_versions_of_his_servers_alone(client, chain, tree):
    user = make_user("operator", role=STORE_OPERATOR, is_staff=True)
    user.organizations.set([tree["ROME"]])
    client.force_login(user)

    lines = client.get(reverse("boosters:versions")).context["lines"]

    assert sorted(line.key for line in lines) == ["main", "rome"]


def test_a_planned_roll_out_says_when_it_begins(chain):
    begins = timezone.now() + timedelta(hours=2)
    row = rolling.create(make_patch(), timezone.now(), begins_at=begins)

    assert progress_of(row, list(row.targets.all())).says == f"It begins on {begins:%Y-%m-%d at %H:%M} UTC."
