"""The pages of the fleet: what they show, to whom, and at what price."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse

from accounts.scope import READ_ONLY, STORE_OPERATOR
from fleet.models import Incident, Maintenance
from fleet.states import RETIRED
from organizations.tree import update_organization
from preferences.models import PreferenceValue
from servers.models import AgentToken, ServerReport
from terminals.models import TerminalReport
from tests.factories import make_admin, make_server, make_terminal, make_tree, make_user
from tests.fleet.rows import make_incident, make_pulse, make_report, make_saying, make_state, make_transition

pytestmark = pytest.mark.django_db
FLEET = "/admin/fleet/"
NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _black_friday(time_machine):
    time_machine.move_to(NOW, tick=False)


@pytest.fixture
def tree():
    tree = make_tree(
        ACME=None, NORTH="ACME", OSLO="NORTH", BERGEN="NORTH", SOUTH="ACME", ROME="SOUTH", OTHER=None, PARIS="OTHER"
    )
    PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
    make_pulse()
    return tree


def log_in(client, role="", *organizations):
    user = make_user(role=role, is_staff=True) if role else make_admin()
    user.organizations.add(*organizations)
    client.force_login(user)
    return user


def text_of(answer):
    """Return the words of a page's own part."""
    inside = answer.content.decode().partition("data-region>")[2]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", inside))


def cells_of(answer):
    """Return code, state and whether it is shown of every cell."""
    found = re.findall(
        r'<li data-text="[^"]*"( hidden)?><a class="fleet-cell fleet-(\w+)" id="store-(\w+)"', answer.content.decode()
    )
    return {code: state if not hidden else f"({state})" for hidden, state, code in found}


def server_url(server):
    return reverse("fleet:server", args=[server.pk])


def store_url(code):
    return reverse("fleet:store", args=[code])


def test_the_fleet_page_shows_a_cell_per_store_and_a_row_per_main_server(client, tree):
    central = make_server("central", client=tree["ACME"])
    box = make_server("oslo box", client=tree["ACME"], organizations=[tree["OSLO"]], server_type="store")
    make_state(central, since=NOW - DAY)
    make_state(box, "offline", since=NOW - MINUTE)
    make_report(central, last_seen_at=NOW - 10 * MINUTE)
    log_in(client)

    page = client.get(FLEET)

    assert cells_of(page) == {"OSLO": "degraded", "BERGEN": "ok", "ROME": "ok", "PARIS": "standard"}
    text = text_of(page)
    assert "Oslo: Degraded, 1 of 2 servers online" in text
    assert [title for title in ("Acme / North", "Acme / South", "Other") if title in text] == [
        "Acme / North",
        "Acme / South",
        "Other",
    ]
    assert re.search(r"central ✓ Online 2026-11-26 09:00 2026-11-27 08:50 none", text)
    assert "oslo box" not in text
    assert f'href="{server_url(central)}"' in page.content.decode()
    assert f'href="{store_url("OSLO")}"' in page.content.decode()


def test_the_fleet_page_counts_by_state_and_explains_every_symbol(client, tree):
    central = make_server("central", client=tree["ACME"])
    make_state(central, "offline")
    log_in(client)

    page = client.get(FLEET)

    counts = dict(re.findall(r'<strong id="count-(\w+)">(\d+)</strong>', page.content.decode()))
    assert counts == {
        "down": "3",
        "degraded": "0",
        "transition": "0",
        "maintenance": "0",
        "unknown": "0",
        "ok": "0",
        "standard": "1",
    }
    assert "✕ Down no server of the store is online" in text_of(page)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ({}, {"OSLO", "BERGEN", "ROME", "PARIS"}),
        ({"q": "osl"}, {"OSLO"}),
        ({"q": "NORTH"}, {"OSLO", "BERGEN"}),
        ({"state": "standard"}, {"PARIS"}),
        ({"state": "ok", "q": "rome"}, {"ROME"}),
        ({"state": "down"}, set()),
        ({"q": "<b>\0"}, set()),
    ],
)
def test_the_filter_works_without_scripts(client, tree, query, shown):
    make_state(make_server("central", client=tree["ACME"]))
    log_in(client)

    page = client.get(FLEET, query)

    if "\0" in query.get("q", ""):
        assert page.status_code == 400
        return
    assert {code for code, state in cells_of(page).items() if "(" not in state} == shown
    assert (page.context["is_nothing"], page.context["chosen"]) == (not shown, query.get("state", ""))


def test_banners_tell_of_a_watcher_that_stands_still_and_of_a_blind_booster(client, tree):
    log_in(client)
    fine = text_of(client.get(FLEET))
    make_pulse(NOW - 2 * MINUTE)
    Incident.objects.create(kind="booster", opened_at=NOW - MINUTE, cause="No server can be reached.")

    page = text_of(client.get(FLEET))

    assert "watcher has not run" not in fine
    assert "The watcher has not run since 2026-11-27 08:58" in page
    assert "The Booster cannot reach anything since 2026-11-27 08:59" in page


def test_an_installation_that_saw_no_server_yet_says_what_to_do(client, tree):
    make_server("central", client=tree["ACME"])
    log_in(client)

    page = client.get(FLEET)

    assert cells_of(page)["OSLO"] == "unknown"
    assert "No server has been seen yet" in text_of(page)


def test_an_installation_without_multi_server_says_so(client, tree):
    PreferenceValue.objects.all().delete()
    make_server("central", client=tree["ACME"])
    log_in(client)

    page = client.get(FLEET)

    assert set(cells_of(page).values()) == {"standard"}
    assert "Multi-server is off" in text_of(page)


def test_an_empty_installation_says_where_to_begin(client):
    log_in(client)

    assert "There is no active store yet" in text_of(client.get(FLEET))


def test_maintenance_of_a_subtree_is_shown_instead_of_an_outage(client, tree):
    make_state(make_server("north box", client=tree["ACME"], organizations=[tree["OSLO"]]), "offline")
    make_state(make_server("rome box", client=tree["ACME"], organizations=[tree["ROME"]]), "offline")
    Maintenance.objects.create(organization=tree["NORTH"], starts_at=NOW, ends_at=NOW + DAY, reason="New switches")
    log_in(client)

    page = client.get(FLEET)

    assert cells_of(page) == {"OSLO": "maintenance", "BERGEN": "standard", "ROME": "down", "PARIS": "standard"}


def test_a_limited_user_sees_his_stores_and_their_servers_only(client, tree):
    make_state(make_server("central", client=tree["ACME"]))
    roman = make_server("roman", client=tree["ACME"], organizations=[tree["ROME"]])
    foreign = make_server("foreign", client=tree["OTHER"])
    log_in(client, STORE_OPERATOR, tree["NORTH"])

    page = client.get(FLEET)
    statuses = [
        client.get(url).status_code
        for url in (store_url("OSLO"), store_url("ROME"), store_url("PARIS"), server_url(roman), server_url(foreign))
    ]

    assert cells_of(page) == {"OSLO": "ok", "BERGEN": "ok"}
    assert [name in text_of(page) for name in ("central", "roman", "foreign")] == [True, False, False]
    assert statuses == [200, 404, 404, 404, 404]


def test_pages_are_for_those_with_the_right(client, tree):
    server = make_server("central", client=tree["ACME"])
    urls = [FLEET, server_url(server), store_url("OSLO")]
    anonymous = [client.get(url).status_code for url in urls]
    log_in(client, READ_ONLY)
    reader = [client.get(url).status_code for url in urls]
    client.force_login(make_user(is_staff=True))
    nobody = [client.get(url).status_code for url in urls]

    assert (anonymous, reader, nobody) == ([302] * 3, [200] * 3, [403] * 3)


@pytest.mark.parametrize(
    "url", ["servers/999999/", "servers/99999999999999999999/", "stores/NOWHERE/", "stores/NORTH/"]
)
def test_what_does_not_exist_or_is_no_store_is_not_found(client, tree, url):
    log_in(client)

    assert client.get(FLEET + url).status_code == 404


def test_a_server_page_tells_state_report_and_who_observed_what(client, tree):
    box = make_server("oslo box", client=tree["ACME"], organizations=[tree["OSLO"]], server_type="store")
    central = make_server("central", client=tree["ACME"])
    make_state(box, "transition_to_offline", since=NOW - MINUTE, cause="No heartbeat for 90 s.", is_flapping=True)
    make_report(
        box,
        last_seen_at=NOW - 3 * MINUTE,
        reported_at=NOW - 3 * MINUTE,
        software_version="3.1",
        modules=[{"name": "org.example.pos", "version": "1.2"}],
        pending=7,
        host_name="oslo-box-1",
        os="Debian 13",
        clock_offset_s=-7200,
        probed_at=NOW,
        probe_took_ms=12,
        failures=2,
        failure_cause="The connection was refused.",
    )
    make_transition(box, NOW - MINUTE, "online", "transition_to_offline", "No heartbeat for 90 s.", "watcher")
    make_incident(box, NOW - MINUTE)
    make_incident(box, NOW - 2 * DAY, closed_at=NOW - DAY, cause="The disk was full.")
    for number in (1, 2, 3):
        make_saying(box, number == 3, observing_terminal=make_terminal(f"OSLO-{number}", tree["OSLO"]))
    make_saying(box, False, observing_server=central)
    Maintenance.objects.create(server=box, starts_at=NOW + DAY, ends_at=NOW + 2 * DAY, reason="New disk")
    log_in(client)

    text = text_of(client.get(server_url(box)))

    for told in (
        "↻ Going offline flapping",
        "since 2026-11-27 08:59 : No heartbeat for 90 s.",
        "2 of 3 tills of Oslo cannot reach it (OSLO-1 since 2026-11-27 09:00 , OSLO-2 since",
        "central cannot reach it since",
        "Software 3.1",
        "oslo-box-1",
        "Debian 13",
        "7 transactions",
        "org.example.pos 1.2",
        "Its clock is 7200 s behind",
        "took 12 ms",
        "2 in a row: The connection was refused.",
        "open No heartbeat for 90 s. from 2026-11-27 08:59",
        "closed The disk was full.",
        "planned New disk",
        "2026-11-27 08:59:00 Online Transition to offline No heartbeat for 90 s. watcher",
    ):
        assert told in text


def test_a_server_nothing_was_heard_of_says_so(client, tree):
    server = make_server("central", client=tree["ACME"])
    log_in(client)

    text = text_of(client.get(server_url(server)))

    assert "? Not seen yet" in text
    assert "No agent has reported yet." in text
    assert "It has not changed its state yet." in text


@pytest.mark.parametrize(("has_agent", "shown"), [(False, True), (True, False)])
def test_a_next_call_is_announced_of_servers_without_an_agent_alone(client, tree, has_agent, shown):
    server = make_server("central", client=tree["ACME"])
    make_report(server, probed_at=NOW - MINUTE, next_probe_at=NOW + MINUTE)
    if has_agent:
        AgentToken.objects.create(server=server, token_id="t", digest="-", created_at=NOW, first_used_at=NOW)
    log_in(client)

    text = text_of(client.get(server_url(server)))

    assert "Last called 2026-11-27" in text
    assert ("Next call 09:01:00 UTC" in text) == shown


def test_a_deactivated_server_is_not_watched_and_nothing_is_known_of_it_from_then_on(client, tree):
    server = make_server("central", client=tree["ACME"], is_active=False)
    make_state(server, "offline", since=NOW - timedelta(hours=1), cause=RETIRED, proved_at=None)
    make_transition(server, NOW - timedelta(hours=2), "offline", "online")
    make_transition(server, NOW - timedelta(hours=1), "online", "offline", RETIRED, "watcher")
    log_in(client)

    page = client.get(server_url(server))

    assert [segment["state"] for segment in page.context["bar"]] == ["standard"] * 88 + ["ok"] * 4 + ["standard"] * 4
    assert "○ Not watched" in text_of(page)
    assert "Try online now" not in text_of(page)
    assert [share for _, share in page.context["uptimes"]] == [None] * 4


def test_the_heartbeat_bar_shows_a_day_in_quarters_of_an_hour(client, tree):
    server = make_server("central", client=tree["ACME"])
    make_transition(server, NOW - timedelta(hours=12), "offline", "online")
    make_transition(server, NOW - timedelta(hours=1), "online", "transition_to_offline")
    make_transition(server, NOW - timedelta(minutes=50), "transition_to_offline", "online")
    log_in(client)

    page = client.get(server_url(server))

    states = [segment["state"] for segment in page.context["bar"]]
    assert states == ["standard"] * 48 + ["ok"] * 44 + ["transition"] + ["ok"] * 3


def test_a_server_page_tells_how_much_of_the_time_it_was_online(client, tree):
    server = make_server("central", client=tree["ACME"])
    make_state(server, since=NOW - 40 * DAY)
    make_transition(server, NOW - 40 * DAY, "offline", "online")
    make_transition(server, NOW - timedelta(hours=6), "online", "offline")
    make_transition(server, NOW - timedelta(hours=3), "offline", "online")
    Maintenance.objects.create(
        server=server, starts_at=NOW - timedelta(hours=4), ends_at=NOW - timedelta(hours=3), reason="New disk"
    )
    log_in(client)

    page = client.get(server_url(server))

    assert page.context["uptimes"] == [("24 hours", 91.3), ("7 days", 98.8), ("30 days", 99.72), ("90 days", 99.79)]


def test_try_online_now_ends_the_wait_and_says_so(client, tree):
    server = make_server("central", client=tree["ACME"])
    make_state(server, "offline")
    make_report(server, attempted_at=NOW - MINUTE)
    log_in(client)

    first, second = (client.post(server_url(server) + "try-online/", follow=True) for _ in range(2))

    assert ServerReport.objects.get(server=server).attempted_at is None
    assert "central goes online as soon as it answers and is ready." in first.content.decode()
    assert "central need not wait" in second.content.decode()


def test_try_online_now_is_for_those_who_may_change_the_server(client, tree):
    server = make_server("central", client=tree["ACME"])
    report = make_report(server, attempted_at=NOW - MINUTE)
    url = server_url(server) + "try-online/"
    log_in(client)
    got = client.get(url).status_code
    log_in(client, STORE_OPERATOR, tree["NORTH"])
    operator = client.post(url).status_code
    shown = "Try online now" in text_of(client.get(server_url(server)))
    log_in(client, STORE_OPERATOR, tree["PARIS"])
    foreign = client.post(url).status_code

    report.refresh_from_db()
    assert (got, operator, shown, foreign) == (405, 403, False, 404)
    assert report.attempted_at == NOW - MINUTE


def test_transitions_are_paged(client, tree):
    server = make_server("central", client=tree["ACME"])
    for number in range(30):
        make_transition(server, NOW - number * MINUTE, "offline", "online", f"Cause {number}.")
    log_in(client)

    first, second = (text_of(client.get(server_url(server), {"page": page})) for page in (1, 2))

    assert ("Cause 24." in first, "Cause 25." in first, "Page 1 of 2" in first) == (True, False, True)
    assert ("Cause 24." in second, "Cause 29." in second, "Newer" in second) == (False, True, True)


def test_a_store_page_tells_servers_terminals_and_what_is_open(client, tree):
    central = make_server("central", client=tree["ACME"], priority=10)
    box = make_server("oslo box", client=tree["ACME"], organizations=[tree["OSLO"]], priority=5, server_type="store")
    make_state(central)
    make_state(box, "offline")
    make_incident(box, NOW - MINUTE)
    till = make_terminal("OSLO-1", tree["OSLO"], activated_at=NOW)
    make_terminal("OSLO-2", tree["OSLO"])
    make_terminal("ROME-1", tree["ROME"])
    TerminalReport.objects.create(
        terminal=till, last_seen_at=NOW - MINUTE, software="pos 3", revision=1, queue_length=4
    )
    make_saying(box, False, observing_terminal=till)
    Incident.objects.create(kind="terminal", terminal=till, opened_at=NOW, cause="Unseen for 1 h.")
    Maintenance.objects.create(organization=tree["OSLO"], starts_at=NOW, ends_at=NOW + DAY, reason="Refit")
    log_in(client)

    page = client.get(store_url("OSLO"))

    text = text_of(page)
    assert "Acme / North / Oslo OSLO" in text
    assert text.index("oslo box") < text.index("central")
    assert "1 till cannot reach a server." in text
    assert re.search(r"OSLO-1 OSLO-1 2026-11-27 08:59 unseen: incident open older \(1\) 4 pos 3 oslo box", text)
    assert "OSLO-2 OSLO-2 not activated" in text
    assert "ROME-1" not in text
    assert "open OSLO-1: Unseen for 1 h." in text
    assert "open oslo box: No heartbeat for 90 s." in text
    assert "now Refit Oslo and below" in text


def test_a_terminal_with_the_present_revision_is_current(client, tree):
    till = make_terminal("OSLO-1", tree["OSLO"], activated_at=NOW)
    log_in(client)
    revision = client.get(reverse("admin:index")).context["revision"]
    TerminalReport.objects.create(terminal=till, last_seen_at=NOW, revision=revision)

    assert f"current ({revision})" in text_of(client.get(store_url("OSLO")))


def test_a_store_page_without_the_right_shows_no_terminals(client, tree):
    from django.contrib.auth.models import Permission

    make_terminal("OSLO-1", tree["OSLO"])
    user = make_user(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=("view_mobileserver", "see_all_organizations")))
    client.force_login(user)

    page = client.get(store_url("OSLO"))

    assert (page.status_code, "OSLO-1" in text_of(page)) == (200, False)


def test_an_inactive_store_has_a_page_but_no_cell(client, tree):
    update_organization(tree["OSLO"].pk, is_active=False)
    log_in(client)

    assert "OSLO" not in cells_of(client.get(FLEET))
    assert "inactive" in text_of(client.get(store_url("OSLO")))


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("role", ["", STORE_OPERATOR])
def test_pages_make_the_same_number_of_queries_whatever_they_show(
    client, rows, role, tree, django_assert_max_num_queries
):
    for number in range(rows):
        server = make_server(f"s{number}", client=tree["ACME"], organizations=[tree["OSLO"]])
        make_state(server, "offline")
        make_report(server, last_seen_at=NOW, reported_at=NOW)
        make_incident(server)
        till = make_terminal(f"OSLO-{number}", tree["OSLO"])
        TerminalReport.objects.create(terminal=till, last_seen_at=NOW)
        Incident.objects.create(kind="terminal", terminal=till, opened_at=NOW, cause="Unseen.")
        Maintenance.objects.create(organization=tree["OSLO"], starts_at=NOW, ends_at=NOW + DAY, reason="Refit")
        make_transition(server, NOW, "online", "offline")
    for till in tree["OSLO"].terminals.all():
        make_saying(server, False, observing_terminal=till)
    log_in(client, role, *([tree["NORTH"]] if role else []))
    prices = {FLEET: 18, store_url("OSLO"): 24, server_url(server): 33}  # one is the session, without Redis
    for url in prices:
        client.get(url)

    for url, price in prices.items():
        with django_assert_max_num_queries(price):
            assert client.get(url).status_code == 200


def test_the_windows_lead_to_the_pages_of_what_they_define(client, tree):
    server = make_server("central", client=tree["ACME"])
    terminal = make_terminal("OSLO-1", tree["OSLO"])
    log_in(client)
    windows = {
        ("servers", "mobileserver", server): server_url(server),
        ("terminals", "terminal", terminal): store_url("OSLO"),
        ("organizations", "organization", tree["OSLO"]): store_url("OSLO"),
        ("organizations", "organization", tree["NORTH"]): f"{FLEET}?q=North",
    }

    for (room, model, thing), target in windows.items():
        button = reverse(f"admin:{room}_{model}_fleet_status", args=[thing.pk])
        window = client.get(reverse(f"admin:{room}_{model}_change", args=[thing.pk])).content.decode()
        assert (button in window, client.get(button)["Location"]) == (True, target)


def test_the_dashboard_counts_servers_by_state_and_what_is_open(client, tree):
    for number, status in enumerate(["online", "online", "offline", "transition_to_online"]):
        server = make_server(f"s{number}", client=tree["ACME"])
        make_state(server, status, is_flapping=number == 0)
    make_incident(server)
    make_server("inactive", client=tree["ACME"], is_active=False)
    foreign = make_server("foreign", client=tree["OTHER"])
    make_incident(foreign)
    log_in(client, STORE_OPERATOR, tree["NORTH"])

    page = client.get(reverse("admin:index"))

    assert page.context["fleet"] == {
        "states": [
            ("✕", "down", 1, "offline"),
            ("↻", "transition", 1, "in transition"),
            ("✓", "ok", 2, "online"),
        ],
        "incidents": 1,
        "flapping": 1,
    }
