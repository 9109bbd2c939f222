from datetime import UTC, datetime

import pytest

from accounts.scope import STORE_OPERATOR, SYSTEM_ADMINISTRATOR
from servers.models import MobileServer, OrganizationByServer, ServerReport, ServerState
from tests.backoffice.api import as_user, outcome, pointers
from tests.factories import make_organization, make_server, make_service, make_tree, make_user

pytestmark = pytest.mark.django_db
URL = "/api/v1/servers/"
BODY = {"client": "ACME", "name": "Lyon Box", "server_type": "store", "url": "https://lyon.example/openbravo"}


@pytest.fixture
def tree():
    return make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", BERGEN="NORTH", SOUTH="ACME", ROME="SOUTH", OTHER=None)


def url(server):
    return f"{URL}{server.pk}/"


def names(answer):
    return [row["name"] for row in answer.json()["results"]]


def ref(collection, target, display):
    return {"id": target.pk, "url": f"/api/v1/{collection}/{target.pk}/", "display": display}


def test_create_writes_the_tabs_and_answers_with_everything(tree):
    product = make_service("org.example.Product")
    body = BODY | {
        "url": "HTTPS://Lyon.Example:443/openbravo/",
        "priority": 5,
        "all_organizations": False,
        "all_services": False,
        "defined_services": "only",
        "organizations": [{"organization": "OSLO"}, {"organization": tree["BERGEN"].pk, "is_active": False}],
        "services": [{"service": "org.example.Product"}],
    }

    answer = as_user().post(URL, body)

    server = MobileServer.objects.get()
    assert (answer.status_code, answer["Location"]) == (201, url(server))
    assert answer.json() == {
        "id": server.pk,
        "client": "ACME",
        "client_ref": ref("organizations", tree["ACME"], "ACME"),
        "key": "lyon_box",
        "name": "Lyon Box",
        "description": "",
        "server_type": "store",
        "url": "https://lyon.example/openbravo",
        "priority": 5,
        "all_organizations": False,
        "all_services": False,
        "defined_services": "only",
        "organizations": [
            {
                "organization": "BERGEN",
                "organization_ref": ref("organizations", tree["BERGEN"], "BERGEN"),
                "is_active": False,
            },
            {"organization": "OSLO", "organization_ref": ref("organizations", tree["OSLO"], "OSLO"), "is_active": True},
        ],
        "services": [
            {
                "service": "org.example.Product",
                "service_ref": ref("services", product, "org.example.Product"),
                "is_active": True,
            }
        ],
        "is_active": True,
        "ping_url": "",
        "probe_interval_s": None,
        "probe_timeout_s": 5,
        "expected_status": 200,
        "status": "offline",
        "status_since": None,
        "status_cause": "",
        "is_flapping": False,
        "last_seen_at": None,
        "has_agent": False,
    }


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"client": "NOWHERE"}, ("/client", "does_not_exist")),
        ({"client": "NORTH"}, ("/client", "does_not_exist")),
        ({"key": "with blank"}, ("/key", "invalid_key")),
        ({"key": "K" * 33}, ("/key", "max_length")),
        ({"key": "TAKEN"}, ("/key", "unique")),
        ({"name": "Taken"}, ("/name", "unique")),
        ({"server_type": "shop"}, ("/server_type", "invalid_choice")),
        ({"url": "ftp://lyon.example"}, ("/url", "invalid_url")),
        ({"url": "https://lyon.example/?a=b"}, ("/url", "invalid_url")),
        ({"url": "https://lyon.example/#top"}, ("/url", "invalid_url")),
        ({"url": "https://me:secret@lyon.example"}, ("/url", "invalid_url")),
        ({"url": "https:///openbravo"}, ("/url", "invalid_url")),
        ({"url": ""}, ("/url", "blank")),
        ({"priority": -1}, ("/priority", "min_value")),
        ({"priority": 2**64}, ("/priority", "max_value")),
        ({"defined_services": "some"}, ("/defined_services", "invalid_choice")),
        ({"all_services": None}, ("/all_services", "null")),
        ({"organizations": [{"organization": "OSLO"}] * 2}, ("/organizations/1/organization", "duplicate")),
        ({"organizations": [{"organization": "OTHER"}]}, ("/organizations/0/organization", "other_client")),
        ({"organizations": [{"organization": "X"}]}, ("/organizations/0/organization", "does_not_exist")),
        ({"organizations": [{"organization": []}]}, ("/organizations/0/organization", "invalid")),
        ({"organizations": [{}]}, ("/organizations/0/organization", "required")),
        ({"organizations": ["OSLO"]}, ("/organizations/0", "invalid")),
        ({"organizations": "OSLO"}, ("/organizations", "not_a_list")),
        ({"organizations": [{"organization": "OSLO", "x": 1}]}, ("/organizations/0/x", "unknown_member")),
        ({"services": [{"service": "org.example.Product"}] * 2}, ("/services/1/service", "duplicate")),
        ({"services": [{"service": "org.example.None"}]}, ("/services/0/service", "does_not_exist")),
        ({"ping_uri": "https://lyon.example"}, ("/ping_uri", "unknown_member")),
        ({"ping_url": "ftp://lyon.example"}, ("/ping_url", "invalid_url")),
        ({"probe_interval_s": 4}, ("/probe_interval_s", "min_value")),
        ({"probe_timeout_s": 31}, ("/probe_timeout_s", "max_value")),
        ({"expected_status": 99}, ("/expected_status", "min_value")),
    ],
)
def test_create_refuses_and_points_at_the_member(tree, change, complaint):
    make_service("org.example.Product")
    make_server("Taken", key="taken", client=tree["ACME"])

    answer = as_user().post(URL, BODY | change)

    assert outcome(answer) == (400, "/problems/invalid")
    assert pointers(answer) == [complaint]
    assert MobileServer.objects.count() == 1


def test_what_was_read_can_be_written_back(tree):
    server = make_server(client=tree["ACME"], organizations=[tree["OSLO"]], services=[make_service("a.B")])
    client = as_user()
    read = client.get(url(server)).json()

    answer = client.put(url(server), read)

    assert (answer.status_code, answer.json()) == (200, read)


def test_patch_leaves_the_tabs_it_does_not_name_and_replaces_those_it_does(tree):
    server = make_server(client=tree["ACME"], organizations=[tree["OSLO"]], services=[make_service("a.B")])
    kept = OrganizationByServer.objects.get()

    answer = as_user().patch(url(server), {"services": []})

    assert (answer.status_code, answer.json()["services"]) == (200, [])
    assert list(OrganizationByServer.objects.all()) == [kept]


def test_a_refused_tab_leaves_the_whole_server_as_it_was(tree):
    server = make_server("Before", client=tree["ACME"], organizations=[tree["OSLO"]])

    as_user().patch(url(server), {"name": "After", "organizations": [{"organization": "OTHER"}]})

    server.refresh_from_db()
    assert (server.name, server.organizations_by_server.get().organization) == ("Before", tree["OSLO"])


def test_delete_takes_the_tabs_along(tree):
    server = make_server(client=tree["ACME"], organizations=[tree["OSLO"]])

    answer = as_user().delete(url(server))

    assert (answer.status_code, OrganizationByServer.objects.count()) == (204, 0)


def test_status_is_told_and_never_written(tree):
    server = make_server(client=tree["ACME"])
    seen = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    ServerState.objects.create(server=server, status="online", since=seen, cause="It is ready.")
    ServerReport.objects.create(server=server, last_seen_at=seen)

    answer = as_user().patch(url(server), {"status": "offline", "last_seen_at": None, "status_cause": "by hand"})

    told = [answer.json()[name] for name in ("status", "status_since", "status_cause", "last_seen_at")]
    assert told == ["online", "2026-01-02T03:04:05Z", "It is ready.", "2026-01-02T03:04:05Z"]


def test_etag_does_not_move_with_a_heartbeat(tree):
    server = make_server(client=tree["ACME"])
    client = as_user()
    etag = client.get(url(server))["ETag"]

    ServerState.objects.create(server=server, status="online")

    assert client.get(url(server))["ETag"] == etag
    assert client.patch(url(server), {"priority": 7}, headers={"If-Match": etag}).status_code == 200


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["store", "A main", "a main", "foreign"]),
        ({"key": "STORE"}, ["store"]),
        ({"name": "a main"}, ["a main"]),
        ({"client": "OTHER"}, ["foreign"]),
        ({"server_type": "store"}, ["store"]),
        ({"all_organizations": "false"}, ["store"]),
        ({"is_active": "false"}, ["a main"]),
        ({"organization": "NORTH", "scope": "subtree"}, ["store"]),
        ({"organization": "NORTH"}, []),
    ],
)
def test_list_filters_and_keeps_the_calling_order(tree, query, found):
    make_server("foreign", client=tree["OTHER"], priority=11)
    make_server("a main", client=tree["ACME"], is_active=False)
    make_server("A main", client=tree["ACME"])
    make_server(
        "store", client=tree["ACME"], priority=1, server_type="store", organizations=[tree["OSLO"], tree["BERGEN"]]
    )

    assert names(as_user().get(URL, query)) == found


@pytest.mark.parametrize("rows", [1, 3])
def test_list_costs_the_same_however_long(tree, rows, django_assert_num_queries):
    services = [make_service(f"org.example.Service{number}") for number in range(rows)]
    for _ in range(rows):
        make_server(client=tree["ACME"], organizations=[tree["OSLO"], tree["ROME"]][:rows], services=services)
    client = as_user()

    with django_assert_num_queries(6):  # token, its use, count, rows, both tabs
        client.get(URL)


@pytest.mark.parametrize("rows", [1, 3])
def test_tabs_are_looked_up_at_once(tree, rows, django_assert_max_num_queries):
    listed = [{"organization": code} for code in ("OSLO", "BERGEN", "ROME")[:rows]]
    body = BODY | {"organizations": listed, "all_organizations": False}

    with django_assert_max_num_queries(60) as queries:
        as_user().post(URL, body)

    looked_up = [query for query in queries if "'OSLO'" in query["sql"]]
    assert len(looked_up) == 1


def test_store_operator_sees_the_servers_of_his_stores_and_changes_none(tree):
    make_server("everywhere", client=tree["ACME"])
    regional = make_server("regional", client=tree["ACME"], organizations=[tree["NORTH"], tree["ROME"]])
    elsewhere = make_server("elsewhere", client=tree["ACME"], organizations=[tree["ROME"]])
    make_server("foreign", client=tree["OTHER"])
    operator = make_user(role=STORE_OPERATOR)
    operator.organizations.add(tree["OSLO"])
    client = as_user(operator)

    seen = {row["name"]: row["organizations"] for row in client.get(URL).json()["results"]}

    assert list(seen) == ["everywhere", "regional"]
    assert [row["organization"] for row in seen["regional"]] == ["NORTH"]
    assert outcome(client.get(url(elsewhere))) == (404, "/problems/not-found")
    assert outcome(client.patch(url(regional), {"priority": 1})) == (403, "/problems/forbidden")


def test_administrator_of_a_part_cannot_drop_rows_he_does_not_see(tree):
    server = make_server(client=tree["ACME"], organizations=[tree["OSLO"], tree["ROME"]])
    user = make_user(role=SYSTEM_ADMINISTRATOR)
    user.organizations.add(tree["NORTH"])
    client = as_user(user)

    changed = client.patch(url(server), {"organizations": []})
    deleted = client.delete(url(server))
    added = client.post(URL, BODY)

    assert outcome(changed) == outcome(deleted) == (403, "/problems/forbidden")
    assert pointers(added) == [("/client", "does_not_exist")]
    assert server.organizations_by_server.count() == 2


def test_two_clients_may_use_the_same_name(tree):
    make_server("Central", client=make_organization("THIRD"))

    answer = as_user().post(URL, BODY | {"name": "Central"})

    assert (answer.status_code, answer.json()["key"]) == (201, "central_2")


@pytest.mark.parametrize("first", ["nothing", 4711])
def test_rows_that_name_nothing_cost_one_query_together(tree, first, django_assert_max_num_queries):
    client = as_user()
    rows = [{"service": first if isinstance(first, int) else f"{first} {number}"} for number in range(50)]

    with django_assert_max_num_queries(20):
        answer = client.post(URL, BODY | {"services": rows})

    assert answer.status_code == 400
    assert pointers(answer)[49] == ("/services/49/service", "does_not_exist")


def test_a_list_of_too_many_rows_is_refused_at_once(tree):
    answer = as_user().post(URL, BODY | {"services": [{}] * 10_001})

    assert pointers(answer) == [("/services", "max_length")]
