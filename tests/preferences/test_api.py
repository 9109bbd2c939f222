import pytest

from accounts.scope import STORE_OPERATOR
from preferences.models import PreferenceValue
from preferences.registry import DEFINITIONS, Origin
from routing.load import load_landscape
from tests.backoffice.api import as_user, outcome, pointers
from tests.factories import make_tree, make_user

pytestmark = pytest.mark.django_db
URL = "/api/v1/preferences/"
PING = "ping_interval_ms"


@pytest.fixture
def tree():
    return make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", SOUTH="ACME", ROME="SOUTH")


def set_value(key, value, organization=None):
    return PreferenceValue.objects.create(key=key, value=value, organization=organization)


def effective(client, code, **query):
    rows = client.get(URL, {"effective_for": code, **query}).json()["results"]
    return {row["key"]: (row["value"], row["source"], row["organization"]) for row in rows}


def test_create_for_the_system():
    answer = as_user().post(URL, {"key": "multi_server_enabled", "value": "Y"})

    assert answer.status_code == 201
    assert answer.json() == {
        "id": PreferenceValue.objects.get().pk,
        "key": "multi_server_enabled",
        "organization": None,
        "organization_ref": None,
        "value": "Y",
        "source": "system",
    }


def test_create_for_an_organization(tree):
    answer = as_user().post(URL, {"key": PING, "organization": "NORTH", "value": " 60000 "})

    north = tree["NORTH"].pk
    assert answer.status_code == 201
    assert answer.json() == {
        "id": PreferenceValue.objects.get().pk,
        "key": PING,
        "organization": "NORTH",
        "organization_ref": {"id": north, "url": f"/api/v1/organizations/{north}/", "display": "NORTH"},
        "value": "60000",
        "source": "organization",
    }


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"key": "nonsense", "value": "1"}, ("/key", "invalid_choice")),
        ({"key": PING, "value": "59999"}, ("/value", "out_of_range")),
        ({"key": PING, "value": "86400001"}, ("/value", "out_of_range")),
        ({"key": PING, "value": "soon"}, ("/value", "out_of_range")),
        ({"key": PING, "value": ""}, ("/value", "blank")),
        ({"key": "token_max_age_ms", "value": "59999"}, ("/value", "out_of_range")),
        ({"key": "multi_server_enabled", "value": "y"}, ("/value", "out_of_range")),
        ({"key": "multi_server_enabled", "value": "Y", "organization": "ACME"}, ("/organization", "system_only")),
        ({"key": PING, "value": "60000", "organization": "NOWHERE"}, ("/organization", "does_not_exist")),
        ({"key": "request_retries", "value": "1"}, ("/key", "unique")),
        ({"key": "request_retries", "value": "1", "organization": "SOUTH"}, ("/key", "unique")),
    ],
)
def test_create_refuses_and_points_at_the_member(tree, body, complaint):
    set_value("request_retries", "2")
    set_value("request_retries", "2", tree["SOUTH"])

    answer = as_user().post(URL, body)

    assert outcome(answer) == (400, "/problems/invalid")
    assert pointers(answer) == [complaint]
    assert PreferenceValue.objects.count() == 2


def test_patch_changes_the_value():
    value = set_value(PING, "60000")

    answer = as_user().patch(f"{URL}{value.pk}/", {"value": "120000"})

    value.refresh_from_db()
    assert (answer.status_code, answer.json()["value"], value.value) == (200, "120000", "120000")


def test_delete_returns_to_the_default():
    value = set_value(PING, "60000")
    client = as_user()

    answer = client.delete(f"{URL}{value.pk}/")

    assert answer.status_code == 204
    assert effective(client, "")[PING] == ("300000", "default", None)


def test_effective_values_come_from_the_nearest_active_organization(tree):
    set_value(PING, "60000")
    set_value(PING, "70000", tree["ACME"])
    set_value(PING, "80000", tree["NORTH"])
    client = as_user()

    found = {code: effective(client, code)[PING] for code in ("", "ACME", "OSLO", "ROME")}
    tree["NORTH"].is_active = False
    tree["NORTH"].save()

    assert found == {
        "": ("60000", "system", None),
        "ACME": ("70000", "organization", "ACME"),
        "OSLO": ("80000", "organization", "NORTH"),
        "ROME": ("70000", "organization", "ACME"),
    }
    assert effective(client, "OSLO")[PING] == ("70000", "organization", "ACME")


def test_effective_values_list_every_key_and_can_name_one(tree):
    client = as_user()

    assert list(effective(client, "OSLO")) == [definition.key for definition in DEFINITIONS]
    assert effective(client, "OSLO", key=PING) == {PING: ("300000", "default", None)}


def test_effective_values_are_those_of_the_landscape(tree):
    set_value("multi_server_enabled", "Y")
    set_value(PING, "1", tree["NORTH"])
    set_value("token_max_age_ms", "70000", tree["ACME"])
    set_value("request_timeout_s", "7", tree["OSLO"])

    landscape = load_landscape()
    found = effective(as_user(), "OSLO")

    assert found == {
        definition.key: (
            definition.spell((held := landscape.preference(definition.key, "OSLO")).value),
            held.source if held.source in (Origin.SYSTEM, "default") else "organization",
            None if held.source in (Origin.SYSTEM, "default") else held.source,
        )
        for definition in DEFINITIONS
    }


@pytest.mark.parametrize("depth", [1, 3])
def test_effective_values_cost_the_same_however_deep(depth, django_assert_num_queries):
    parents = {"O1": None, **{f"O{number}": f"O{number - 1}" for number in range(2, depth + 1)}}
    for organization in make_tree(**parents).values():
        set_value(PING, "60000", organization)
    client = as_user()

    with django_assert_num_queries(5 + 1):  # token, its use, the organization, its place, its lineage, values
        client.get(URL, {"effective_for": f"O{depth}"})


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ({"effective_for": "NOWHERE"}, ("?effective_for", "does_not_exist")),
        ({"effective_for": "OSLO", "organization": "OSLO"}, ("?organization", "incompatible")),
        ({"effective_for": "OSLO", "key": "nonsense"}, ("?key", "invalid_choice")),
        ({"key": "nonsense"}, ("?key", "invalid_choice")),
    ],
)
def test_list_refuses_what_it_does_not_understand(tree, query, complaint):
    answer = as_user().get(URL, query)

    assert outcome(answer) == (400, "/problems/invalid")
    assert pointers(answer) == [complaint]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [(PING, None), (PING, "NORTH"), ("request_retries", "OSLO")]),
        ({"key": PING}, [(PING, None), (PING, "NORTH")]),
        ({"organization": "OSLO", "scope": "ancestors"}, [(PING, "NORTH"), ("request_retries", "OSLO")]),
        ({"organization": "OSLO"}, [("request_retries", "OSLO")]),
    ],
)
def test_list_filters(tree, query, found):
    set_value(PING, "60000")
    set_value(PING, "60000", tree["NORTH"])
    set_value("request_retries", "1", tree["OSLO"])

    rows = as_user().get(URL, query).json()["results"]

    assert sorted([(row["key"], row["organization"]) for row in rows], key=str) == sorted(found, key=str)


@pytest.mark.parametrize("rows", [1, 3])
def test_list_costs_the_same_however_long(tree, rows, django_assert_num_queries):
    for code in ("ACME", "NORTH", "OSLO")[:rows]:
        set_value(PING, "60000", tree[code])
    client = as_user()

    with django_assert_num_queries(4):  # token, its use, count, rows
        client.get(URL)


def test_store_operator_sets_values_below_his_organizations_only(tree):
    operator = make_user(role=STORE_OPERATOR)
    operator.organizations.add(tree["NORTH"])
    system, foreign = set_value(PING, "60000"), set_value(PING, "60000", tree["ROME"])
    client = as_user(operator)

    own = client.post(URL, {"key": PING, "organization": "OSLO", "value": "70000"})

    assert (own.status_code, client.get(URL).json()["count"]) == (201, 1)
    assert effective(client, "OSLO")[PING] == ("70000", "organization", "OSLO")
    assert [client.get(f"{URL}{value.pk}/").status_code for value in (system, foreign)] == [404, 404]
    assert [client.delete(f"{URL}{value.pk}/").status_code for value in (system, foreign)] == [404, 404]
    assert outcome(client.post(URL, {"key": "request_retries", "value": "1"})) == (403, "/problems/forbidden")
    assert outcome(client.patch(f"{URL}{own.json()['id']}/", {"organization": None})) == (403, "/problems/forbidden")
    assert pointers(client.post(URL, {"key": PING, "organization": "ROME", "value": "70000"})) == [
        ("/organization", "does_not_exist")
    ]
    assert pointers(client.get(URL, {"effective_for": "ROME"})) == [("?effective_for", "does_not_exist")]
