"""Explaining and checking over the API and by command, within what a caller may see."""

import json
from io import StringIO

import pytest
from django.core.management import call_command

from accounts.scope import READ_ONLY, STORE_OPERATOR
from preferences.models import PreferenceValue
from tests.factories import (
    make_admin,
    make_server,
    make_service,
    make_terminal,
    make_tree,
    make_user,
    make_user_token,
)

pytestmark = pytest.mark.django_db
EXPLAIN, CHECKS = "/api/v1/routing/explain/", "/api/v1/routing/checks/"


@pytest.fixture
def tree():
    """Two clients; ACME has a server for all of it and one for Oslo, OTHER one that lacks nothing."""
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", BERGEN="NORTH", OTHER=None, ROME="OTHER")
    order = make_service("org.example.Order", is_transactional=True, default_timeout_s=10)
    make_service("org.example.Ping", routing_type="ping")
    make_server("central", client=tree["ACME"], priority=20)
    make_server(
        "local",
        client=tree["ACME"],
        server_type="store",
        priority=5,
        organizations=[tree["OSLO"]],
        services=[order],
        defined_services="only",
    )
    make_server("roman", client=tree["OTHER"], server_type="store")
    for store in ("OSLO", "BERGEN", "ROME"):
        make_terminal(f"{store}-1", tree[store])
    PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
    return tree


def ask(api_client, url, user=None, **query):
    token = make_user_token(user or make_admin())
    return api_client.get(url, query, headers={"Authorization": f"Bearer {token}"})


def operator_of(organization):
    operator = make_user(role=STORE_OPERATOR)
    operator.organizations.add(organization)
    return operator


def test_explain_tells_service_type_and_servers_in_calling_order(api_client, tree):
    answer = ask(api_client, EXPLAIN, terminal="OSLO-1", request="/ws/org.example.Order")

    assert answer.status_code == 200
    assert answer.json() == {
        "terminal": "OSLO-1",
        "organization": "OSLO",
        "request": "/ws/org.example.Order",
        "service": "org.example.Order",
        "matched": True,
        "routing_type": "failover",
        "transactional": True,
        "timeout_s": 10,
        "multi_server": True,
        "rule": "N6",
        "reason": "Only org.example.Order is contained in the request.",
        "servers": [
            {
                "key": "local",
                "name": "local",
                "type": "store",
                "url": "https://local.example/openbravo",
                "priority": 5,
                "provides": True,
                "rule": "N5",
                "reason": "It is assigned to the organization itself. It provides only the services "
                "defined, and provides org.example.Order, as it is listed.",
            },
            {
                "key": "central",
                "name": "central",
                "type": "main",
                "url": "https://central.example/openbravo",
                "priority": 20,
                "provides": True,
                "rule": "N5",
                "reason": "It serves all organizations of ACME. It provides all services.",
            },
        ],
        "others": [],
    }


def test_explain_tells_why_the_clients_other_servers_are_not_called(api_client, tree):
    make_server("bergen only", client=tree["ACME"], key="bergen", organizations=[tree["BERGEN"]])

    answer = ask(api_client, EXPLAIN, terminal="OSLO-1", request="/ws/org.example.Order").json()

    assert [server["key"] for server in answer["servers"]] == ["local", "central"]
    assert [(server["key"], server["provides"], server["rule"], server["reason"]) for server in answer["others"]] == [
        ("bergen", False, "N3", "It is assigned neither to OSLO nor to an organization above it.")
    ]


def test_explain_answers_what_nothing_matches_with_generic(api_client, tree):
    answer = ask(api_client, EXPLAIN, terminal="OSLO-1", request="/other").json()

    assert (answer["service"], answer["matched"], answer["routing_type"]) == ("Generic", False, "failover")
    assert [(server["key"], server["provides"]) for server in answer["servers"]] == [
        ("local", False),
        ("central", True),
    ]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 400),
        ({"terminal": "OSLO-1"}, 400),
        ({"request": "x"}, 400),
        ({"terminal": "OSLO-1", "request": ""}, 400),
        ({"terminal": "OSLO-1", "request": "x", "colour": "red"}, 400),
        ({"terminal": "OSLO-2", "request": "x"}, 404),
    ],
)
def test_explain_refuses_what_is_missing_or_unknown(api_client, tree, query, status):
    answer = ask(api_client, EXPLAIN, **query)

    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")


def test_explain_hides_terminals_and_servers_outside_ones_organizations(api_client, tree):
    operator = operator_of(tree["BERGEN"])

    own = ask(api_client, EXPLAIN, operator, terminal="BERGEN-1", request="x")
    foreign = ask(api_client, EXPLAIN, operator, terminal="OSLO-1", request="x")

    assert [server["key"] for server in own.json()["servers"]] == ["central"]
    assert foreign.status_code == 404


def rules(answer):
    assert answer.status_code == 200
    return {(row["rule"], row["organization"], row["server"]) for row in answer.json()}


def test_checks_lists_findings_with_everything_they_are_about(api_client, tree):
    PreferenceValue.objects.create(key="ping_interval_ms", value="often")

    answer = ask(api_client, CHECKS)

    assert next(row for row in answer.json() if row["rule"] == "K16") == {
        "rule": "K16",
        "level": "error",
        "organization": None,
        "server": None,
        "service": None,
        "message": "Request Router Ping Time Interval must be a whole number of milliseconds. The value "
        "'often' is ignored and the default holds. Correct or remove it.",
    }
    assert {("K1", "ROME", None), ("K8", "OTHER", None), ("K16", None, None)} <= rules(answer)


def test_checks_are_limited_to_what_the_caller_may_see(api_client, tree):
    PreferenceValue.objects.create(key="ping_interval_ms", value="often")

    of_oslo = rules(ask(api_client, CHECKS, operator_of(tree["OSLO"])))
    of_rome = rules(ask(api_client, CHECKS, operator_of(tree["ROME"])))
    of_all = rules(ask(api_client, CHECKS, make_user(role=READ_ONLY)))

    assert of_oslo == set()
    assert of_rome == {("K1", "ROME", None)}
    assert of_all == of_rome | {("K8", "OTHER", None), ("K16", None, None)}


def test_only_users_with_the_right_ask(api_client, tree):
    statuses = [ask(api_client, url, make_user()).status_code for url in (EXPLAIN, CHECKS)]

    assert statuses == [403, 403]
    assert [api_client.get(url).status_code for url in (EXPLAIN, CHECKS)] == [401, 401]


def run(*arguments):
    output, status = StringIO(), 0
    try:
        call_command("check_landscape", *arguments, stdout=output)
    except SystemExit as end:
        status = end.code
    return status, output.getvalue()


def test_the_command_prints_a_line_per_finding_and_fails_on_errors(tree):
    status, printed = run()

    assert status == 1
    assert printed.splitlines()[0].startswith("K1 error ROME: None of the store's servers is a main server")
    assert printed.splitlines()[-1] == "2 errors, 0 warnings"


def test_the_command_prints_json(tree):
    status, printed = run("--json")

    assert status == 1
    assert [(row["rule"], row["level"], row["organization"]) for row in json.loads(printed)] == [
        ("K1", "error", "ROME"),
        ("K8", "error", "OTHER"),
    ]


def test_the_command_succeeds_without_errors():
    assert run() == (0, "0 errors, 0 warnings\n")
    assert run("--json") == (0, "[]\n")


@pytest.mark.parametrize("stores", [1, 3])
def test_checks_make_the_same_number_of_queries_whatever_the_size(api_client, stores, django_assert_num_queries):
    tree = make_tree(ACME=None, **{f"S{number}": "ACME" for number in range(stores)})
    for number in range(stores):
        make_terminal(f"T{number}", tree[f"S{number}"])
        make_server(f"server {number}", client=tree["ACME"], organizations=[tree[f"S{number}"]])
    from routing.audit import audit
    from routing.store import store

    store.current()

    with django_assert_num_queries(2):
        audit()
