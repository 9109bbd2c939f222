"""Every window opens, for every role, with a constant number of queries."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib import admin
from django.urls import reverse
from django.utils import timezone

from accounts.models import User, UserToken
from accounts.scope import READ_ONLY, STORE_OPERATOR, SYSTEM_ADMINISTRATOR
from backoffice.navigation import GROUPS
from events.models import Event
from fleet.models import Incident, Maintenance
from notices.models import Channel, Delivery, Notice
from notices.outbox import tell
from organizations.models import Organization
from organizations.tree import update_organization
from preferences.models import PreferenceValue
from servers.models import MobileServer, StatusTransition
from services.models import MobileService, Module
from terminals.models import Terminal
from tests.factories import (
    make_admin,
    make_channel,
    make_module,
    make_server,
    make_service,
    make_terminal,
    make_tree,
    make_user,
    make_user_token,
)

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, tzinfo=UTC)

WINDOWS = [
    Organization,
    Terminal,
    MobileServer,
    MobileService,
    Module,
    PreferenceValue,
    User,
    UserToken,
    Event,
    Channel,
    Notice,
    Delivery,
]
RECORDS = [Event, Notice, Delivery, StatusTransition, Incident]
WINDOWS += [StatusTransition, Incident, Maintenance]


def address(model, view, *args):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{view}", args=args)


def make_world():
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", SOUTH="ACME", ROME="SOUTH")
    order = make_service("org.example.Order", module=make_module(in_development=True))
    make_server("central", client=tree["ACME"])
    make_server("oslo box", client=tree["ACME"], organizations=[tree["OSLO"]], services=[order], server_type="store")
    make_terminal("OSLO-1", tree["OSLO"])
    make_terminal("ROME-1", tree["ROME"])
    PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
    PreferenceValue.objects.create(key="request_retries", organization=tree["OSLO"], value="2")
    make_user_token()
    make_channel("office")
    tell("test", key="test", subject="Oh", text="", moment=timezone.now())
    make_past(MobileServer.objects.get(name="central"))
    return tree


def make_past(server):
    """Make a server's transition, incident and maintenance."""
    StatusTransition.objects.create(
        server=server,
        server_key=server.key,
        from_status="online",
        to_status="transition_to_offline",
        at=NOW,
        cause="Gone.",
        observer="watcher",
    )
    Incident.objects.create(server=server, opened_at=NOW, cause="Gone.")
    Maintenance.objects.create(server=server, starts_at=NOW, ends_at=NOW + timedelta(hours=1), reason="Disks")


@pytest.fixture
def administrator(client):
    user = make_admin("root")
    client.force_login(user)
    return user


def make_operator(client, *organizations, role=STORE_OPERATOR):
    user = make_user("operator", role=role, is_staff=True)
    user.organizations.set(organizations)
    client.force_login(user)
    return user


def test_every_entity_has_its_window():
    assert set(WINDOWS) <= set(admin.site._registry)


@pytest.mark.parametrize("model", WINDOWS, ids=lambda model: model.__name__)
def test_a_window_lists_adds_changes_and_shows_history(client, administrator, model):
    make_world()
    thing = model._default_manager.first()

    views = [address(model, "changelist"), address(model, "changelist") + "?q=o"]
    if thing is not None:
        views += [address(model, "change", thing.pk), address(model, "history", thing.pk)]
    if model not in RECORDS:
        views += [address(model, "add")]
        views += [address(model, "delete", thing.pk)]
    statuses = {view: client.get(view).status_code for view in views}

    assert statuses == dict.fromkeys(views, 200)


def test_the_bare_address_leads_to_the_dashboard(client):
    assert client.get("/")["Location"] == reverse("admin:index")


def test_the_dashboard_counts_and_names_what_needs_a_hand(client, administrator):
    tree = make_world()
    MobileServer.objects.filter(name="central").update(all_organizations=False)
    make_server("south", client=tree["ACME"], organizations=[tree["SOUTH"]])

    page = client.get(reverse("admin:index"))

    assert {figure["label"]: figure["number"] for figure in page.context["figures"]} == {
        "Clients": 1,
        "Stores": 2,
        "Mobile servers": 3,
        "Mobile services": 1,
        "POS terminals": 2,
    }
    assert [store["code"] for store in page.context["without_main"]["shown"]] == ["OSLO"]
    assert [terminal.search_key for terminal in page.context["not_activated"]["shown"]] == ["OSLO-1", "ROME-1"]
    assert page.context["is_multi_server"] is True


def test_the_dashboard_of_a_store_operator_counts_what_he_sees(client):
    tree = make_world()
    make_operator(client, tree["OSLO"])

    page = client.get(reverse("admin:index"))

    assert {figure["label"]: figure["number"] for figure in page.context["figures"]} == {
        "Stores": 1,
        "Mobile servers": 2,
        "Mobile services": 1,
        "POS terminals": 1,
    }
    assert [terminal.search_key for terminal in page.context["not_activated"]["shown"]] == ["OSLO-1"]


def rows_of(page):
    return [str(row) for row in page.context["cl"].result_list]


def test_a_store_operator_sees_only_what_belongs_to_his_organizations(client):
    tree = make_world()
    make_operator(client, tree["OSLO"])
    make_server("rome box", client=tree["ACME"], organizations=[tree["ROME"]])

    seen = {model.__name__: rows_of(client.get(address(model, "changelist"))) for model in WINDOWS[:6]}

    assert seen == {
        "Organization": ["Acme / North / Oslo"],
        "Terminal": ["OSLO-1"],
        "MobileServer": ["central", "oslo box"],
        "MobileService": ["org.example.Order"],
        "Module": ["org.example.pos"],
        "PreferenceValue": ["Number of Request Retries = 2"],
    }


@pytest.mark.parametrize("view", ["change", "history", "delete"])
@pytest.mark.parametrize("model", [Organization, Terminal, MobileServer, PreferenceValue], ids=lambda m: m.__name__)
def test_a_store_operator_is_told_that_foreign_objects_do_not_exist(client, model, view):
    tree = make_world()
    make_operator(client, tree["OSLO"])
    foreign = {
        Organization: tree["ROME"],
        Terminal: Terminal.objects.get(search_key="ROME-1"),
        MobileServer: make_server("rome box", client=tree["ACME"], organizations=[tree["ROME"]]),
        PreferenceValue: PreferenceValue.objects.get(organization=None),
    }[model]

    # He may delete neither kind at all, so that answer tells nothing either.
    refused = 403 if view == "delete" and model in (Organization, MobileServer) else 404
    assert client.get(address(model, view, foreign.pk)).status_code == refused


def test_a_store_operator_finds_and_chooses_only_his_organizations(client):
    tree = make_world()
    make_operator(client, tree["OSLO"])

    found = client.get(
        reverse("admin:autocomplete"),
        {"app_label": "terminals", "model_name": "terminal", "field_name": "organization", "term": ""},
    )
    page = client.post(
        address(Terminal, "add"),
        {"search_key": "X-1", "name": "X", "organization": tree["ROME"].pk, "is_active": "on"},
    )

    assert [result["text"] for result in found.json()["results"]] == ["Acme / North / Oslo"]
    assert list(page.context["adminform"].form.errors) == ["organization"]
    assert not Terminal.objects.filter(search_key="X-1").exists()


def test_a_store_operator_exports_only_what_he_sees(client):
    tree = make_world()
    make_operator(client, tree["OSLO"])

    answers = {
        model.__name__: client.post(address(model, "export"), {"format": "0", "resource": ""}).content.decode()
        for model in (Organization, Terminal, MobileServer)
    }

    assert "OSLO" in answers["Organization"]
    assert [name for name, text in answers.items() if "ROME" in text] == []


def test_a_filter_by_a_foreign_organization_shows_nothing_and_does_not_name_it(client):
    tree = make_world()
    make_operator(client, tree["OSLO"])

    page = client.get(address(Terminal, "changelist"), {"organization__id__exact": tree["ROME"].pk})

    assert rows_of(page) == []
    assert "Rome" not in page.content.decode()


def test_history_does_not_name_organizations_the_user_may_not_see(client):
    tree = make_world()
    terminal = Terminal.objects.get(search_key="ROME-1")
    terminal.organization = tree["OSLO"]
    terminal.save()
    make_operator(client, tree["OSLO"])

    page = client.get(address(Terminal, "history", terminal.pk)).content.decode()

    assert "another organization&#x27;s → Acme / North / Oslo" in page
    assert "Rome" not in page


def test_history_tells_who_changed_what_in_the_tabs(client, administrator):
    tree = make_world()
    server = MobileServer.objects.get(name="oslo box")
    row = server.organizations_by_server.get()
    row.is_active = False
    row._history_user = administrator
    row.save()

    page = client.get(address(MobileServer, "history", server.pk))

    latest = page.context["entries"][0]
    assert (latest.who, latest.kind, latest.subject) == (
        "root",
        "Changed",
        f"Organization by server: {tree['OSLO']}",
    )
    assert [(change.field, change.old, change.new) for change in latest.changes] == [("active", "yes", "no")]


@pytest.mark.parametrize("model", WINDOWS[:6], ids=lambda model: model.__name__)
def test_a_read_only_user_can_change_nothing(client, model):
    make_world()
    user = make_user("reader", role=READ_ONLY, is_staff=True)
    client.force_login(user)
    thing = model._default_manager.first()

    statuses = {
        "list": client.get(address(model, "changelist")).status_code,
        "change": client.get(address(model, "change", thing.pk)).status_code,
        "write": client.post(address(model, "change", thing.pk), {}).status_code,
        "add": client.get(address(model, "add")).status_code,
        "delete": client.post(address(model, "delete", thing.pk), {"post": "yes"}).status_code,
    }

    assert statuses == {"list": 200, "change": 200, "write": 403, "add": 403, "delete": 403}


@pytest.mark.parametrize(
    ("role", "titles"),
    [
        (SYSTEM_ADMINISTRATOR, ["", "Fleet", "Organizations", "Multi-server", "Administration"]),
        (STORE_OPERATOR, ["", "Fleet", "Organizations", "Multi-server"]),
    ],
)
def test_the_sidebar_shows_what_the_user_may_open(client, role, titles):
    make_operator(client, role=role)

    page = client.get(reverse("admin:index"))

    assert [group["title"] for group in page.context["sidebar_navigation"]] == titles


def test_every_item_of_the_sidebar_leads_somewhere(client, administrator):
    statuses = {view: client.get(reverse(view)).status_code for _, items in GROUPS for _, _, view, _ in items}

    assert set(statuses.values()) == {200}


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("model", WINDOWS, ids=lambda model: model.__name__)
def test_a_list_takes_the_same_queries_for_any_number_of_rows(
    client, administrator, django_assert_max_num_queries, model, rows
):
    tree = make_tree(ACME=None)
    module = make_module(in_development=True)
    for number in range(rows):
        region = update_organization(make_tree(**{f"C{number}": None})[f"C{number}"].pk, name=f"Client {number}")
        make_terminal(f"T-{number}", make_tree(**{f"S{number}": region.code})[f"S{number}"])
        make_past(make_server(client=tree["ACME"]))
        make_service(f"service{number}", module=module)
        make_module(f"module{number}")
        PreferenceValue.objects.create(key="request_retries", organization=region, value="2")
        make_user_token()
        make_channel(f"channel {number}", organization=region)
        tell("test", key=f"{number}", subject="Oh", text="", moment=timezone.now(), organization=region)
    client.get(address(model, "changelist"))

    with django_assert_max_num_queries(100) as captured:
        page = client.get(address(model, "changelist"))

    assert page.status_code == 200
    assert len(captured) <= 15, [query["sql"][:120] for query in captured]
