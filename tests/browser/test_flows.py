"""The sysadmin's main job, clicked through in a real browser."""

import json

import pytest
from django.urls import reverse

from organizations.models import Organization
from preferences.models import PreferenceValue
from servers.models import MobileServer
from services.models import Module
from tests.browser.conftest import NARROW, WIDE
from tests.factories import make_admin, make_server, make_service, make_terminal, make_tree, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture(params=[WIDE, NARROW], ids=["wide", "narrow"])
def windows(request, open_windows):
    return open_windows(make_admin("root"), size=request.param)


def choose(page, field, text):
    """Pick from a search-as-you-type select, by what a person types."""
    page.locator(f"#{field} + .select2-container").click()
    page.locator(".select2-search__field").press_sequentially(text)
    page.locator(".select2-results__option", has_text=text).first.click()


def save(page):
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_load_state("networkidle")


def test_a_server_is_created_with_both_tabs(windows):
    make_tree(ACME=None, NORTH="ACME", OSLO="NORTH")
    make_service("org.example.master")
    page = windows.open(reverse("admin:servers_mobileserver_add"))

    page.fill("#id_name", "Oslo Box")
    choose(page, "id_client", "Acme")
    page.select_option("#id_server_type", "store")
    page.fill("#id_url", "https://oslo.example/openbravo")
    organizations, services = (
        page.locator(f"nav a[href='#{prefix}']") for prefix in ("organizations_by_server", "services_by_server")
    )
    hidden = [tab.is_visible() for tab in (organizations, services)] + [
        page.locator("#id_defined_services").is_visible()
    ]
    page.locator("#id_all_organizations").uncheck()
    page.locator("#id_all_services").uncheck()
    page.select_option("#id_defined_services", "only")
    for tab, prefix, field, text in (
        (organizations, "organizations_by_server", "organization", "Oslo"),
        (services, "services_by_server", "service", "master"),
    ):
        if not tab.is_visible():
            page.locator("#tabs-dropdown").locator("..").locator("> div").first.click()
        tab.click()
        page.locator(f"#{prefix}-group .add-row a, #{prefix}-group a.add-row").first.click()
        choose(page, f"id_{prefix}-0-{field}", text)
    save(page)

    server = MobileServer.objects.get()
    assert hidden == [False, False, False]
    assert windows.faults == []
    assert [row.organization.code for row in server.organizations_by_server.all()] == ["OSLO"]
    assert [row.service.name for row in server.services_by_server.all()] == ["org.example.master"]


def test_a_store_is_moved_on_the_tree_page_after_a_confirmation(windows):
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", SOUTH="ACME", ROME="SOUTH")
    PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
    make_server("southern", client=tree["ACME"], organizations=[tree["SOUTH"]])
    page = windows.open(reverse("admin:organizations_organization_tree"))

    page.get_by_role("button", name="Unfold North").click()
    page.get_by_role("link", name="Oslo").click()
    page.get_by_role("link", name="Move…").click()
    page.wait_for_load_state("networkidle")
    choose(page, "id_parent", "South")
    page.get_by_role("button", name="Continue").click()
    page.wait_for_load_state("networkidle")
    windows.picture(f"move-confirmation-{page.viewport_size['width']}")
    asked = page.locator("main, #content").first.inner_text()
    page.get_by_role("button", name="Move", exact=True).click()
    page.wait_for_load_state("networkidle")

    assert "1 store will route differently" in asked
    assert "Acme / North / Oslo" in asked
    assert windows.faults == []
    assert Organization.objects.get(code="OSLO").path == "Acme / South / Oslo"


def test_an_organization_is_added_renamed_and_switched_off_on_the_tree_page(windows):
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH")
    page = windows.open(reverse("admin:organizations_organization_tree") + f"?at={tree['NORTH'].pk}")

    page.get_by_role("link", name="Add store below").click()
    page.fill("#id_code", "BERGEN")
    page.fill("#id_name", "Bergen")
    save(page)
    windows.open(reverse("admin:organizations_organization_tree") + f"?at={tree['OSLO'].pk}")
    page.get_by_label("Name", exact=True).fill("Oslo City")
    page.get_by_role("button", name="Rename").click()
    page.get_by_role("button", name="Deactivate").click()
    page.wait_for_load_state("networkidle")

    assert windows.faults == []
    assert list(Organization.objects.stores().order_by("path").values_list("path", "is_active")) == [
        ("Acme / North / Bergen", True),
        ("Acme / North / Oslo City", False),
    ]


def test_an_activation_code_is_made_and_shown_with_its_qr_code(windows):
    tree = make_tree(ACME=None, OSLO="ACME")
    terminal = make_terminal("OSLO-1", tree["OSLO"])
    page = windows.open(reverse("admin:terminals_terminal_activation_code", args=[terminal.pk]))

    page.get_by_role("button", name="Make code").click()
    page.wait_for_load_state("networkidle")
    windows.picture(f"activation-code-{page.viewport_size['width']}")

    assert len(page.locator("#activation-code").inner_text()) == 14
    assert page.locator("img.windows-qr").evaluate("image => image.naturalWidth") > 0
    assert windows.faults == []
    assert terminal.activation_codes.count() == 1


def test_a_manifest_is_uploaded_after_its_preview(windows, tmp_path):
    manifest = tmp_path / "kiosk.json"
    manifest.write_text(
        json.dumps(
            {
                "format": 1,
                "module": {"name": "org.example.kiosk", "version": "1.0", "description": "Kiosk"},
                "services": [{"name": "org.example.kiosk.Order", "description": "", "routing_type": "failover"}],
            }
        )
    )
    page = windows.open(reverse("admin:services_module_manifest"))

    page.locator("input[type=file]").set_input_files(manifest)
    page.get_by_role("button", name="Preview").click()
    page.wait_for_load_state("networkidle")
    preview = page.locator(".windows-list").inner_text()
    page.get_by_role("button", name="Install").click()
    page.wait_for_load_state("networkidle")

    assert preview == "org.example.kiosk 1.0: new, with 1 service."
    assert windows.faults == []
    assert [str(module) for module in Module.objects.all()] == ["org.example.kiosk"]


def test_a_preference_is_set(windows):
    make_tree(ACME=None, OSLO="ACME")
    page = windows.open(reverse("admin:preferences_preferencevalue_add"))

    page.select_option("#id_key", "ping_interval_ms")
    choose(page, "id_organization", "Oslo")
    page.fill("#id_value", "10")
    save(page)
    refused = page.locator("#content").inner_text()
    page.fill("#id_value", "120000")
    save(page)

    assert "must be at least 60000 ms" in refused
    assert windows.faults == []
    assert list(PreferenceValue.objects.values_list("organization__code", "value")) == [("OSLO", "120000")]


def test_a_first_login_leads_to_a_new_password_and_then_to_the_dashboard(open_windows):
    make_user("agent", is_staff=True, is_superuser=True, must_change_password=True)
    windows = open_windows()
    page = windows.open(reverse("admin:index"))

    page.fill("#id_username", "agent")
    page.fill("#id_password", "correct-horse-9")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_load_state("networkidle")
    page.fill("#id_old_password", "correct-horse-9")
    page.fill("#id_new_password1", "staple-4-battery")
    page.fill("#id_new_password2", "staple-4-battery")
    page.get_by_role("button", name="Change password").click()
    page.wait_for_load_state("networkidle")
    windows.open(reverse("admin:index"))

    assert windows.faults == []
    assert page.get_by_text("Multi-server is").is_visible()
