"""Every window, in light, dark and on a phone: nothing leaves the host, nothing fails, nothing overflows."""

import pytest
from django.contrib import admin
from django.urls import reverse

from accounts.models import User, UserToken
from accounts.scope import READ_ONLY, STORE_OPERATOR
from events.models import Event
from fleet.models import Incident
from notices.models import Delivery, Notice
from organizations.models import Organization
from preferences.models import PreferenceValue
from servers.models import MobileServer, StatusTransition
from terminals.models import Terminal
from tests.browser.conftest import NARROW, WIDE
from tests.factories import (
    make_admin,
    make_module,
    make_server,
    make_service,
    make_terminal,
    make_tree,
    make_user,
    make_user_token,
)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

RECORDS = (Event, Notice, Delivery, StatusTransition, Incident)
WITH_CSV = (Organization, Terminal, MobileServer)
LOOKS = [("light", WIDE), ("dark", WIDE), ("dark", NARROW)]


def address(model, view, *args):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{view}", args=args)


def make_world():
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", BERGEN="NORTH", SOUTH="ACME", LYON="SOUTH", ROME="SOUTH")
    module = make_module("org.openbravo.retail.posterminal", version="1.1.6", in_development=True)
    master = make_service("org.openbravo.retail.posterminal.master", module=module)
    make_service("org.openbravo.retail.posterminal.OrderLoader", module=module, is_transactional=True)
    make_server("Central Paris", client=tree["ACME"])
    make_server("Oslo box", client=tree["ACME"], organizations=[tree["OSLO"]], services=[master], server_type="store")
    for key, store in (("OSLO-1", "OSLO"), ("OSLO-2", "OSLO"), ("LYON-1", "LYON"), ("ROME-1", "ROME")):
        make_terminal(key, tree[store], name=f"Till {key[-1]}")
    PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
    PreferenceValue.objects.create(key="ping_interval_ms", organization=tree["NORTH"], value="120000")
    make_user_token(make_admin("agent"), name="inventory export")
    return tree


def every_address(tree):
    """Yield name and address of every page that can be opened."""
    yield "dashboard", reverse("admin:index")
    yield "tree", reverse("admin:organizations_organization_tree")
    yield "tree-at", reverse("admin:organizations_organization_tree") + f"?at={tree['OSLO'].pk}"
    yield "tree-search", reverse("admin:organizations_organization_tree") + "?q=o"
    yield "move", address(Organization, "move", tree["OSLO"].pk)
    yield "manifest", reverse("admin:services_module_manifest")
    yield "explain", reverse("routing:explain") + "?terminal=OSLO-1&request=org.openbravo.retail.posterminal.master.X"
    yield "checks", reverse("routing:checks")
    yield "booster-nodes", reverse("pair:nodes")
    yield "practise-takeover", reverse("pair:practise")
    yield "join", reverse("pair:join", args=[MobileServer.objects.get(name="Oslo box").pk])
    yield "password-change", reverse("admin:password_change")
    for model in admin.site._registry:
        name = model._meta.model_name
        yield f"{name}-list", address(model, "changelist")
        thing = model._default_manager.order_by("-pk").first()
        if model is MobileServer:
            thing = MobileServer.objects.get(name="Oslo box")
        if model not in RECORDS:
            yield f"{name}-add", address(model, "add")
        if thing is not None:
            yield f"{name}-change", address(model, "change", thing.pk)
            yield f"{name}-history", address(model, "history", thing.pk)
            if model not in RECORDS:
                yield f"{name}-delete", address(model, "delete", thing.pk)
        if model in WITH_CSV:
            yield f"{name}-import", address(model, "import")
            yield f"{name}-export", address(model, "export")
    yield (
        "explain",
        reverse("routing:explain") + "?terminal=OSLO-1&request=org.openbravo.retail.posterminal.OrderLoader",
    )
    yield "checks", reverse("routing:checks")
    terminal = Terminal.objects.get(search_key="OSLO-1")
    yield "terminal-activation", address(Terminal, "activation_code", terminal.pk)
    yield "terminal-revoke", address(Terminal, "revoke", terminal.pk)
    yield "user-password", reverse("admin:auth_user_password_change", args=[User.objects.first().pk])
    yield "token-revoke", address(UserToken, "revoke", UserToken.objects.first().pk)


@pytest.mark.parametrize(("scheme", "size"), LOOKS, ids=["light", "dark", "narrow"])
def test_every_window_opens_without_a_fault(open_windows, scheme, size):
    tree = make_world()
    windows = open_windows(make_admin("root"), scheme=scheme, size=size)
    look = f"{scheme}-{size['width']}"
    too_wide = {}

    for name, path in every_address(tree):
        windows.open(path)
        windows.picture(f"{look}-{name}")
        if windows.overflow > 0:
            too_wide[name] = windows.overflow

    assert windows.faults == []
    assert too_wide == {}


@pytest.mark.parametrize(("scheme", "size"), LOOKS, ids=["light", "dark", "narrow"])
def test_the_login_page_opens_without_a_fault(open_windows, scheme, size):
    windows = open_windows(scheme=scheme, size=size)

    windows.open(reverse("admin:login"))
    windows.picture(f"{scheme}-{size['width']}-login")

    assert (windows.faults, windows.overflow) == ([], 0)


@pytest.mark.parametrize("role", [STORE_OPERATOR, READ_ONLY])
def test_those_who_may_only_look_meet_no_fault_either(open_windows, role):
    tree = make_world()
    user = make_user("looker", role=role, is_staff=True)
    user.organizations.set([tree["NORTH"]])
    windows = open_windows(user)

    for path in (
        reverse("admin:index"),
        reverse("admin:organizations_organization_tree"),
        reverse("admin:organizations_organization_tree") + f"?at={tree['OSLO'].pk}",
        *(address(model, "changelist") for model in (Organization, Terminal, MobileServer, PreferenceValue)),
        address(Organization, "change", tree["OSLO"].pk),
        address(MobileServer, "change", MobileServer.objects.get(name="Oslo box").pk),
        address(MobileServer, "history", MobileServer.objects.get(name="Oslo box").pk),
        address(Terminal, "change", Terminal.objects.get(search_key="OSLO-1").pk),
    ):
        windows.open(path)
        windows.picture(f"{role}-{path.strip('/').replace('/', '-')[:40]}")

    assert windows.faults == []
