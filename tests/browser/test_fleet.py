"""The pages of the fleet as a person meets them: in every look, live, and by keyboard."""

from datetime import timedelta
from importlib import import_module

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.urls import reverse
from django.utils import timezone

from fleet.models import Incident, Maintenance
from preferences.models import PreferenceValue
from servers.models import ServerState
from terminals.models import TerminalReport
from tests import serving
from tests.browser.conftest import NARROW
from tests.factories import make_admin, make_organization, make_server, make_terminal, make_tree
from tests.fleet.rows import make_incident, make_pulse, make_report, make_saying, make_state, make_transition
from tests.fleet.test_live import make_session

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
WALL = {"width": 1600, "height": 1000}
LOOKS = [("light", WALL), ("dark", WALL), ("light", NARROW), ("dark", NARROW)]
MINUTE = timedelta(minutes=1)

NAMES = {
    "FRANCE": "Lyon Nantes Lille Paris-Nord Paris-Sud Bordeaux Toulouse Nice Rennes Grenoble Metz Brest Dijon Angers",
    "NORDICS": "Oslo Bergen Malmö Stockholm Göteborg Uppsala Helsinki Turku Aarhus Odense Tromsø",
    "IBERIA": "Porto Sevilla Lisboa Madrid-Centro Valencia Bilbao Vigo Málaga Santiago-de-Compostela",
}


def make_world():
    """Make a chain on a bad day: every state is there."""
    now = timezone.now()
    tree = make_tree(ACME=None)
    for region, names in NAMES.items():
        tree |= make_region(region, names)
    PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
    make_pulse()
    central = make_server("Central Paris", client=tree["ACME"], organizations=[tree["FRANCE"], tree["NORDICS"]])
    second = make_server("Central Madrid", client=tree["ACME"], organizations=[tree["FRANCE"]], priority=20)
    lyon = make_box("Lyon box", tree, "LYON")
    for server, status, since in (
        (central, "online", timedelta(days=12)),
        (second, "online", timedelta(hours=7)),
        (lyon, "offline", 14 * MINUTE),
        (make_box("Nantes box", tree, "NANTES"), "transition_to_online", MINUTE),
        (make_box("Nice box", tree, "NICE"), "offline", 50 * MINUTE),
        (make_box("Oslo box", tree, "OSLO"), "online", timedelta(days=3)),
        (make_box("Porto box", tree, "PORTO"), "offline", 30 * MINUTE),
    ):
        make_state(server, status, since=now - since, proved_at=now - timedelta(days=12))
        make_report(server, last_seen_at=now - (since if status == "offline" else timedelta(seconds=20)))
    make_box("Vigo box", tree, "VIGO")
    Maintenance.objects.create(
        organization=tree["NICE"], starts_at=now - timedelta(hours=1), ends_at=now + timedelta(hours=2), reason="Refit"
    )
    make_incident(lyon, now - 14 * MINUTE, cause="No heartbeat for 90 s.")
    make_incident(
        lyon, now - timedelta(days=9), closed_at=now - timedelta(days=9) + 40 * MINUTE, cause="The disk was full."
    )
    ServerState.objects.filter(server=second).update(is_flapping=True)
    make_report(
        lyon,
        reported_at=now - 14 * MINUTE,
        software_version="3.1.4",
        modules=[{"name": "org.openbravo.retail.posterminal", "version": "1.8.5100"}],
        pending=3,
        host_name="lyon-box-1",
        os="Debian GNU/Linux 13",
        address="10.7.3.2",
        clock_offset_s=-7140,
    )
    for hours, before, after in (
        (300, "offline", "online"),
        (20, "online", "transition_to_offline"),
        (19.6, "transition_to_offline", "online"),
        (6, "online", "offline"),
        (5, "offline", "online"),
        (0.3, "online", "transition_to_offline"),
        (0.23, "transition_to_offline", "offline"),
    ):
        make_transition(lyon, now - timedelta(hours=hours), before, after, "No heartbeat for 90 s.", "watcher")
    for number in (1, 2, 3):
        till = make_terminal(f"LYON-{number}", tree["LYON"], name=f"Lyon till {number}", activated_at=now)
        TerminalReport.objects.create(
            terminal=till,
            last_seen_at=now - number * MINUTE,
            software="pos 3.2",
            revision=number,
            queue_length=number - 1,
        )
        make_saying(lyon, number == 3, observing_terminal=till)
    make_saying(lyon, False, observing_server=central)
    make_saying(central, False, observing_terminal=make_terminal("OSLO-1", tree["OSLO"]))
    return tree, lyon


def make_region(code, names):
    made = {code: make_organization(code, "ACME", "region", name=code.title())}
    for name in names.split():
        made[name.upper()] = make_organization(name.upper(), made[code], name=name.replace("-", " "))
    return made


def make_box(name, tree, code):
    return make_server(name, client=tree["ACME"], organizations=[tree[code]], priority=5, server_type="store")


@pytest.mark.parametrize(("scheme", "size"), LOOKS, ids=["light", "dark", "light-narrow", "dark-narrow"])
def test_every_page_opens_without_a_fault(open_windows, scheme, size):
    _, lyon = make_world()
    Incident.objects.create(kind="booster", opened_at=timezone.now(), cause="No server can be reached.")
    windows = open_windows(make_admin("root"), scheme=scheme, size=size)
    too_wide = {}

    for name, path in (
        ("fleet", reverse("fleet:fleet")),
        ("fleet-filtered", reverse("fleet:fleet") + "?state=degraded"),
        ("server", reverse("fleet:server", args=[lyon.pk])),
        ("store", reverse("fleet:store", args=["LYON"])),
        ("dashboard", reverse("admin:index")),
    ):
        windows.open(path)
        windows.picture(f"{name}-{scheme}-{size['width']}", full_page=True)
        if windows.overflow > 0:
            too_wide[name] = windows.overflow

    assert (windows.faults, too_wide) == ([], {})


@pytest.fixture
def wall(open_windows):
    """Open the fleet page for an administrator on a small chain that is well."""
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", BERGEN="NORTH", SOUTH="ACME", ROME="SOUTH")
    PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
    make_pulse()
    server = make_server("central", client=tree["ACME"])
    make_state(server)
    make_report(server, last_seen_at=timezone.now())
    windows = open_windows(make_admin("root"), size=WALL)
    return windows, server


def test_a_change_is_seen_without_reloading(wall):
    windows, server = wall
    page = windows.open(reverse("fleet:fleet"))
    page.evaluate("window.isSamePage = true")
    page.locator("#store-OSLO").focus()

    make_state(server, "offline", cause="No heartbeat for 90 s.")
    make_incident(server, cause="No heartbeat for 90 s.")
    page.locator("#store-OSLO.fleet-down").wait_for(timeout=6000)

    assert page.locator("#server-central").inner_text().split("\t")[1].split() == ["✕", "Offline"]
    assert "No heartbeat for 90 s." in page.locator("#server-central").inner_text()
    assert page.locator("#count-down").inner_text() == "3"
    assert page.evaluate("[window.isSamePage, document.activeElement.id]") == [True, "store-OSLO"]
    assert windows.faults == []


@pytest.mark.parametrize("about", ["server", "store"])
def test_the_page_of_a_server_and_of_a_store_follow_it_too(wall, about):
    windows, server = wall
    address = {"server": reverse("fleet:server", args=[server.pk]), "store": reverse("fleet:store", args=["OSLO"])}
    page = windows.open(address[about])
    page.evaluate("window.isSamePage = true")

    make_state(server, "offline", cause="No heartbeat for 90 s.")
    make_transition(server, timezone.now(), "online", "offline", "No heartbeat for 90 s.", "watcher")
    make_incident(server, cause="The line was cut.")
    page.get_by_text("The line was cut.").first.wait_for(timeout=6000)

    assert page.locator("[data-state=down]").count() > 0
    assert page.evaluate("window.isSamePage") is True
    assert windows.faults == []


def test_a_page_says_that_the_session_has_ended(wall):
    windows, _ = wall
    page = windows.open(reverse("fleet:fleet") + "?q=oslo")

    sessions = import_module(settings.SESSION_ENGINE).SessionStore
    sessions(Session.objects.get().session_key).delete()
    page.get_by_text("Your session has ended").wait_for(timeout=6000)
    windows.picture("fleet-ended")
    page.locator("[data-notice] a").click()
    page.locator("#id_username").wait_for()

    assert page.url.endswith("?next=%2Fadmin%2Ffleet%2F%3Fq%3Doslo")
    assert windows.faults == []


def shown_stores(page):
    return page.eval_on_selector_all(".fleet-cell", "cells => cells.filter(c => c.checkVisibility()).map(c => c.id)")


def test_the_filter_is_used_by_keyboard_and_kept_in_the_address(wall):
    windows, server = wall
    page = windows.open(reverse("fleet:fleet"))

    page.locator("#fleet-q").focus()
    page.keyboard.type("north")
    north = (shown_stores(page), page.url.rpartition("?")[2])
    page.keyboard.press("Enter")
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    down = (shown_stores(page), page.url.rpartition("?")[2], page.locator("[data-nothing]").is_visible())
    make_state(server, "offline")
    page.locator("#store-OSLO.fleet-down").wait_for(timeout=6000)
    after = shown_stores(page)
    page.reload()
    reloaded = (shown_stores(page), page.locator("#fleet-q").input_value())

    assert north == (["store-BERGEN", "store-OSLO"], "q=north")
    assert down == ([], "q=north&state=down", True)
    assert after == ["store-BERGEN", "store-OSLO"]
    assert reloaded == (["store-BERGEN", "store-OSLO"], "north")
    assert windows.faults == []


def test_ages_grow_by_themselves_and_keep_the_exact_time(wall):
    windows, server = wall
    make_report(server, last_seen_at=timezone.now() - timedelta(seconds=58))
    page = windows.open(reverse("fleet:fleet"))

    age = page.locator("#server-central [data-label='Last seen'] time")
    before = age.inner_text()
    page.get_by_text("1 min ago").first.wait_for(timeout=6000)

    assert before.endswith(" s ago")
    assert age.get_attribute("title").endswith(" UTC")


def test_a_stream_of_the_real_web_server_reaches_the_page(chromium, tmp_path, transactional_db):
    tree = make_tree(ACME=None, OSLO="ACME")
    PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
    make_pulse()
    server = make_server("central", client=tree["ACME"])
    make_state(server)
    session = make_session(make_admin("root"))
    environment = {"SECRET_KEY": settings.SECRET_KEY, "DATABASE_URL": serving.test_database_url()}
    errors = []

    with serving.web_server(tmp_path, **environment) as client:
        origin = str(client.base_url)
        context = chromium.new_context(viewport=WALL)
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session.session_key, "url": origin}])
        page = context.new_page()
        page.on("console", lambda message: message.type == "error" and errors.append(message.text))
        page.goto(origin + reverse("fleet:fleet"))
        page.locator("#store-OSLO.fleet-ok").wait_for(timeout=6000)
        make_state(server, "transition_to_offline")
        page.locator("#store-OSLO.fleet-transition").wait_for(timeout=6000)
        make_state(server, "offline")
        page.locator("#store-OSLO.fleet-down").wait_for(timeout=6000)
        session.delete()
        page.get_by_text("Your session has ended").wait_for(timeout=6000)
        context.close()

    assert errors == []
