"""Transitions, incidents, maintenance and uptime over REST."""

from datetime import UTC, datetime, timedelta

import pytest

from accounts.scope import STORE_OPERATOR, SYSTEM_ADMINISTRATOR
from fleet.models import Incident, Maintenance
from servers.models import ServerState, StatusTransition
from tests.backoffice.api import as_user, outcome, pointers
from tests.factories import make_server, make_terminal, make_tree, make_user

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TRANSITIONS, INCIDENTS, MAINTENANCE = "/api/v1/status-transitions/", "/api/v1/incidents/", "/api/v1/maintenance/"
BODY = {
    "organization": "OSLO",
    "starts_at": "2026-03-01T10:00:00Z",
    "ends_at": "2026-03-01T14:00:00Z",
    "reason": "New disks",
}


@pytest.fixture(autouse=True)
def _now(time_machine):
    time_machine.move_to(NOW, tick=False)


@pytest.fixture
def tree():
    return make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", BERGEN="NORTH", SOUTH="ACME", ROME="SOUTH", OTHER=None)


@pytest.fixture
def servers(tree):
    return {
        "central": make_server("central", client=tree["ACME"]),
        "oslo": make_server("oslo", client=tree["ACME"], organizations=[tree["OSLO"]], server_type="store"),
        "north": make_server("north", client=tree["ACME"], organizations=[tree["OSLO"], tree["ROME"]]),
        "rome": make_server("rome", client=tree["ACME"], organizations=[tree["ROME"]], server_type="store"),
    }


def went(server, to_status="online", at=NOW, **fields):
    return StatusTransition.objects.create(
        **{"server": server, "server_key": server.key, "from_status": "transition_to_online", "to_status": to_status}
        | {"at": at, "cause": "It is ready.", "observer": "agent"}
        | fields
    )


def operator(*organizations, role=STORE_OPERATOR):
    user = make_user(role=role)
    user.organizations.set(organizations)
    return as_user(user)


def ref(collection, target, display):
    return {"id": target.pk, "url": f"/api/v1/{collection}/{target.pk}/", "display": display}


def keys(answer, member="server"):
    assert answer.status_code == 200
    return [row[member] for row in answer.json()["results"]]


def test_transitions_are_listed_latest_first_with_who_saw_what_and_why(servers):
    first = went(servers["oslo"], at=NOW - timedelta(hours=1))
    second = went(servers["oslo"], "transition_to_offline", from_status="online", cause="No heartbeat for 90 s.")
    servers["oslo"].delete()

    answer = as_user().get(TRANSITIONS)

    assert answer.json()["results"] == [
        {
            "id": second.pk,
            "server": "oslo",
            "server_ref": None,
            "from_status": "online",
            "to_status": "transition_to_offline",
            "at": "2026-03-01T12:00:00Z",
            "cause": "No heartbeat for 90 s.",
            "observer": "agent",
        },
        {
            "id": first.pk,
            "server": "oslo",
            "server_ref": None,
            "from_status": "transition_to_online",
            "to_status": "online",
            "at": "2026-03-01T11:00:00Z",
            "cause": "It is ready.",
            "observer": "agent",
        },
    ]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("server=OSLO", ["oslo"]),
        ("to_status=offline", ["rome"]),
        ("from_status=transition_to_online", ["oslo", "rome", "central"]),
        ("since=2026-03-01T12:00:00Z", ["oslo"]),
        ("until=2026-03-01T12:00:00Z", ["rome", "central"]),
        ("since=2026-03-01T12:00:00%2B01:00&until=2026-03-01T12:00:00Z", ["rome"]),
        ("organization=OSLO", ["oslo"]),
        ("organization=SOUTH&scope=subtree", ["rome"]),
    ],
)
def test_transitions_are_filtered(servers, query, found):
    went(servers["central"], at=NOW - timedelta(days=1))
    went(servers["rome"], "offline", at=NOW - timedelta(hours=1))
    went(servers["oslo"])

    assert keys(as_user().get(f"{TRANSITIONS}?{query}")) == found


@pytest.mark.parametrize(
    "text", ["yesterday", "2026-03-01", "2026-03-01T12:00:00", "2026-13-01T12:00:00Z", "0001-01-01T00:00:00%2B14:00"]
)
def test_a_time_that_is_none_is_refused(text):
    answer = as_user().get(f"{TRANSITIONS}?since={text}")

    assert (outcome(answer), pointers(answer)) == ((400, "/problems/invalid"), [("?since", "invalid")])


def test_a_limited_user_sees_the_transitions_and_incidents_of_what_he_may_see(tree, servers):
    for server in servers.values():
        went(server)
        Incident.objects.create(server=server, opened_at=NOW, cause="Gone.")
    for terminal in (make_terminal("OSLO-2", tree["OSLO"]), make_terminal("ROME-2", tree["ROME"])):
        Incident.objects.create(kind="terminal", terminal=terminal, opened_at=NOW, cause="Unseen.")
    Incident.objects.create(kind="booster", opened_at=NOW, cause="Nothing answers.")
    servers["rome"].delete()
    caller = operator(tree["OSLO"])

    assert sorted(keys(caller.get(TRANSITIONS))) == ["central", "north", "oslo"]
    assert sorted(filter(None, keys(caller.get(INCIDENTS)))) == ["central", "north", "oslo"]
    assert list(filter(None, keys(caller.get(INCIDENTS), "terminal"))) == ["OSLO-2"]
    assert len(keys(caller.get(INCIDENTS))) == 4


@pytest.mark.parametrize("url", [TRANSITIONS, INCIDENTS])
@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_what_the_booster_wrote_is_not_written_by_hand(servers, url, method):
    went(servers["oslo"])
    Incident.objects.create(server=servers["oslo"], opened_at=NOW, cause="Gone.")
    address = url if method == "post" else f"{url}{as_user().get(url).json()['results'][0]['id']}/"

    answer = getattr(as_user(), method)(address, {})

    assert outcome(answer) == (405, "/problems/method-not-allowed")
    assert (StatusTransition.objects.count(), Incident.objects.count()) == (1, 1)


def test_an_incident_tells_from_when_to_when_and_with_which_it_belongs(servers):
    main = Incident.objects.create(server=servers["central"], opened_at=NOW, cause="Gone.")
    follower = Incident.objects.create(
        server=servers["oslo"], opened_at=NOW, cause="Gone.", closed_at=NOW, closing_cause="Ready.", follows=main
    )

    answer = as_user().get(f"{INCIDENTS}{follower.pk}/")

    assert answer.json() == {
        "id": follower.pk,
        "kind": "server",
        "server": "oslo",
        "server_ref": ref("servers", servers["oslo"], "oslo"),
        "terminal": None,
        "terminal_ref": None,
        "opened_at": "2026-03-01T12:00:00Z",
        "cause": "Gone.",
        "closed_at": "2026-03-01T12:00:00Z",
        "closing_cause": "Ready.",
        "follows": main.pk,
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("open=true", ["terminal OSLO-1", "server oslo"]),
        ("open=false", ["server rome"]),
        ("kind=terminal", ["terminal OSLO-1"]),
        ("server=rome", ["server rome"]),
        ("terminal=OSLO-1", ["terminal OSLO-1"]),
        ("organization=OSLO", ["terminal OSLO-1", "server oslo"]),
        ("organization=SOUTH&scope=subtree", ["server rome"]),
        ("until=2026-03-01T11:00:00Z", ["server rome"]),
    ],
)
def test_incidents_are_filtered(tree, servers, query, found):
    terminal = make_terminal("OSLO-1", tree["OSLO"])
    Incident.objects.create(server=servers["rome"], opened_at=NOW - timedelta(days=1), cause="Gone.", closed_at=NOW)
    Incident.objects.create(server=servers["oslo"], opened_at=NOW, cause="Gone.")
    Incident.objects.create(kind="terminal", terminal=terminal, opened_at=NOW, cause="Unseen.")

    rows = as_user().get(f"{INCIDENTS}?{query}").json()["results"]

    assert [f"{row['kind']} {row['server'] or row['terminal']}" for row in rows] == found


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize(("url", "queries"), [(TRANSITIONS, 3), (INCIDENTS, 3), (MAINTENANCE, 3)])
def test_a_list_takes_the_same_queries_for_any_number_of_rows(tree, django_assert_num_queries, url, queries, rows):
    for _ in range(rows):
        server = make_server(client=tree["ACME"])
        went(server)
        Incident.objects.create(server=server, opened_at=NOW, cause="Gone.")
        Maintenance.objects.create(
            server=server, starts_at=NOW, ends_at=NOW + timedelta(hours=1), reason="Disks", created_by=make_user()
        )
    caller = as_user()
    caller.get(url)

    with django_assert_num_queries(queries):
        found = keys(caller.get(url))

    assert len(found) == rows


# --- Maintenance ---


def test_maintenance_is_planned_and_tells_who_planned_it(tree, servers):
    user = make_user("rita", role=SYSTEM_ADMINISTRATOR)

    answer = as_user(user).post(MAINTENANCE, BODY)

    row = Maintenance.objects.get()
    assert (answer.status_code, answer["Location"]) == (201, f"{MAINTENANCE}{row.pk}/")
    assert answer.json() == {
        "id": row.pk,
        "server": None,
        "server_ref": None,
        "organization": "OSLO",
        "organization_ref": ref("organizations", tree["OSLO"], "OSLO"),
        "starts_at": "2026-03-01T10:00:00Z",
        "ends_at": "2026-03-01T14:00:00Z",
        "reason": "New disks",
        "created_by": "rita",
        "phase": "running",
    }


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"organization": None}, ("", "maintenance_of_a_server_or_an_organization")),
        ({"server": "oslo"}, ("", "maintenance_of_a_server_or_an_organization")),
        ({"ends_at": BODY["starts_at"]}, ("/ends_at", "ends_too_early")),
        ({"ends_at": "soon"}, ("/ends_at", "invalid")),
        ({"reason": ""}, ("/reason", "blank")),
        ({"organization": "NOWHERE"}, ("/organization", "does_not_exist")),
        ({"server": "nowhere", "organization": None}, ("/server", "does_not_exist")),
        ({"created_at": "now"}, ("/created_at", "unknown_member")),
    ],
)
def test_maintenance_that_makes_no_sense_is_refused(tree, servers, change, complaint):
    answer = as_user().post(MAINTENANCE, BODY | change)

    assert outcome(answer) == (400, "/problems/invalid")
    assert complaint[0] in [pointer for pointer, _ in pointers(answer)]
    assert complaint[0] == "" or complaint in pointers(answer)
    assert not Maintenance.objects.exists()


def test_ending_early_is_a_change_of_the_end_under_its_etag(tree):
    caller = as_user()
    planned = caller.post(MAINTENANCE, BODY)
    address, tag = planned["Location"], planned["ETag"]

    tried = caller.patch(f"{address}?dry_run=true", {"ends_at": "2026-03-01T12:00:00Z"}, headers={"If-Match": tag})
    ended = caller.patch(address, {"ends_at": "2026-03-01T12:00:00Z"}, headers={"If-Match": tag})
    late = caller.patch(address, {"reason": "Old disks"}, headers={"If-Match": tag})

    row = Maintenance.objects.get()
    assert [answer.json()["phase"] for answer in (planned, tried, ended)] == ["running", "past", "past"]
    assert outcome(late) == (412, "/problems/precondition-failed")
    assert (row.ends_at, row.reason, row.history.count()) == (NOW, "New disks", 2)


def test_the_passing_of_time_does_not_change_the_etag(tree, time_machine):
    caller = as_user()
    planned = caller.post(MAINTENANCE, BODY)
    time_machine.shift(timedelta(days=1))

    read = caller.get(planned["Location"])

    assert (read.json()["phase"], read["ETag"]) == ("past", planned["ETag"])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("phase=running", ["running"]),
        ("phase=coming", ["coming"]),
        ("phase=past", ["past"]),
        ("since=2026-03-01T12:00:00Z", ["coming", "running"]),
        ("until=2026-03-01T12:00:00Z", ["past"]),
        ("organization=OSLO", ["past"]),
        ("organization=NORTH&scope=subtree", ["running", "past"]),
        ("server=ROME", ["coming"]),
    ],
)
def test_maintenance_is_filtered(tree, servers, query, found):
    hour = timedelta(hours=1)
    Maintenance.objects.create(organization=tree["OSLO"], starts_at=NOW - hour, ends_at=NOW, reason="past")
    Maintenance.objects.create(organization=tree["NORTH"], starts_at=NOW, ends_at=NOW + hour, reason="running")
    Maintenance.objects.create(server=servers["rome"], starts_at=NOW + hour, ends_at=NOW + 2 * hour, reason="coming")

    assert keys(as_user().get(f"{MAINTENANCE}?{query}"), "reason") == found


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ({"organization": "OSLO"}, 403),  # would silence the server "north", which ROME needs too
        ({"organization": "BERGEN"}, 201),
        ({"organization": "ROME"}, 400),
        ({"organization": "ACME"}, 400),
        ({"server": "oslo"}, 201),
        ({"server": "north"}, 403),
        ({"server": "central"}, 403),
        ({"server": "rome"}, 400),
    ],
)
def test_a_store_operator_silences_only_what_his_own_stores_need(tree, servers, target, status):
    body = {name: value for name, value in BODY.items() if name != "organization"} | target

    answer = operator(tree["OSLO"], tree["BERGEN"]).post(MAINTENANCE, body)

    assert (answer.status_code, Maintenance.objects.count()) == (status, int(status == 201))


def test_a_store_operator_sees_but_does_not_change_the_maintenance_of_others_servers(tree, servers):
    made = {
        name: Maintenance.objects.create(server=server, starts_at=NOW, ends_at=NOW + timedelta(hours=1), reason=name)
        for name, server in servers.items()
    }
    caller = operator(tree["OSLO"])

    statuses = {
        name: caller.patch(f"{MAINTENANCE}{row.pk}/", {"reason": "Mine"}).status_code for name, row in made.items()
    }
    moved = caller.patch(f"{MAINTENANCE}{made['oslo'].pk}/", {"server": "central"})

    assert sorted(keys(caller.get(MAINTENANCE))) == ["central", "north", "oslo"]
    assert statuses == {"central": 403, "oslo": 200, "north": 403, "rome": 404}
    assert outcome(moved) == (403, "/problems/forbidden")
    assert Maintenance.objects.get(pk=made["oslo"].pk).server == servers["oslo"]


def test_a_limited_administrator_deletes_only_what_he_may_plan(tree, servers):
    made = {
        name: Maintenance.objects.create(
            server=servers[name], starts_at=NOW, ends_at=NOW + timedelta(hours=1), reason=name
        )
        for name in ("central", "oslo")
    }
    caller = operator(tree["OSLO"], role=SYSTEM_ADMINISTRATOR)

    statuses = {name: caller.delete(f"{MAINTENANCE}{row.pk}/").status_code for name, row in made.items()}

    assert statuses == {"central": 403, "oslo": 204}
    assert list(Maintenance.objects.values_list("reason", flat=True)) == ["central"]


# --- Uptime ---


def test_uptime_is_told_without_maintenance(tree, servers):
    server = servers["oslo"]
    day = timedelta(days=1)
    ServerState.objects.create(server=server, status="online", since=NOW, cause="Ready.", proved_at=NOW - 10 * day)
    went(server, at=NOW - 10 * day)
    went(server, "offline", at=NOW - day / 2, from_status="transition_to_offline")
    Maintenance.objects.create(
        organization=tree["NORTH"], starts_at=NOW - day / 2, ends_at=NOW - day / 4, reason="Disks"
    )

    answer = as_user().get(f"/api/v1/servers/{server.pk}/uptime/")

    assert answer.json() == {
        "server": "oslo",
        "until": "2026-03-01T12:00:00Z",
        "periods": [
            {"days": 1, "since": "2026-02-28T12:00:00Z", "uptime": 2 / 3},
            {"days": 7, "since": "2026-02-22T12:00:00Z", "uptime": 6.5 / 6.75},
            {"days": 30, "since": "2026-01-30T12:00:00Z", "uptime": 9.5 / 9.75},
            {"days": 90, "since": "2025-12-01T12:00:00Z", "uptime": 9.5 / 9.75},
        ],
    }


def test_uptime_of_a_server_one_may_not_see_does_not_exist(tree, servers):
    caller = operator(tree["OSLO"])

    statuses = [caller.get(f"/api/v1/servers/{servers[name].pk}/uptime/").status_code for name in ("oslo", "rome")]

    assert statuses == [200, 404]
