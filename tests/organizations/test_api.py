import pytest

from accounts.scope import STORE_OPERATOR
from organizations.models import Organization
from tests.backoffice.api import as_user, outcome, pointers
from tests.factories import make_server, make_terminal, make_tree, make_user

pytestmark = pytest.mark.django_db
URL = "/api/v1/organizations/"


def url(organization):
    return f"{URL}{organization.pk}/"


@pytest.fixture
def tree():
    return make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", BERGEN="NORTH", SOUTH="ACME", ROME="SOUTH")


def codes(answer):
    return [row["code"] for row in answer.json()["results"]]


def test_create_answers_with_the_whole_representation(tree):
    answer = as_user().post(URL, {"code": "LYON", "name": "Lyon", "kind": "store", "parent": "SOUTH"})

    made = Organization.objects.get(code="LYON")
    assert answer.status_code == 201
    assert answer["Location"] == url(made)
    assert answer.json() == {
        "id": made.pk,
        "code": "LYON",
        "name": "Lyon",
        "kind": "store",
        "parent": "SOUTH",
        "parent_ref": {"id": tree["SOUTH"].pk, "url": url(tree["SOUTH"]), "display": "SOUTH"},
        "is_active": True,
    }
    assert made.path == "Acme / South / Lyon"


def test_create_takes_the_parent_by_id(tree):
    answer = as_user().post(URL, {"code": "LYON", "name": "Lyon", "kind": "store", "parent": tree["SOUTH"].pk})

    assert (answer.status_code, answer.json()["parent"]) == (201, "SOUTH")


def test_create_makes_a_client_at_the_root():
    answer = as_user().post(URL, {"code": "ACME", "name": "Acme", "kind": "client", "parent": None})

    assert answer.status_code == 201
    assert (answer.json()["parent"], answer.json()["parent_ref"]) == (None, None)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"code": "OSLO"}, ("/code", "unique")),
        ({"code": "with blank"}, ("/code", "invalid_code")),
        ({"name": "a\0b"}, ("/name", "null_characters_not_allowed")),
        ({"code": "X" * 41}, ("/code", "max_length")),
        ({"name": ""}, ("/name", "blank")),
        ({"kind": "shop"}, ("/kind", "invalid_choice")),
        ({"kind": "client"}, ("/parent", "wrong_parent")),
        ({"parent": None}, ("/parent", "wrong_parent")),
        ({"parent": "OSLO"}, ("/parent", "wrong_parent")),
        ({"parent": "NOWHERE"}, ("/parent", "does_not_exist")),
        ({"parent": 10**30}, ("/parent", "does_not_exist")),
        ({"parent": True}, ("/parent", "invalid")),
        ({"parent": ["OSLO"]}, ("/parent", "invalid")),
        ({"path": "Acme"}, ("/path", "unknown_member")),
    ],
)
def test_create_refuses_and_points_at_the_member(tree, change, complaint):
    body = {"code": "LYON", "name": "Lyon", "kind": "store", "parent": "SOUTH"} | change

    answer = as_user().post(URL, body)

    assert outcome(answer) == (400, "/problems/invalid")
    assert pointers(answer) == [complaint]
    assert Organization.objects.count() == 6


def test_create_names_every_missing_member():
    answer = as_user().post(URL, {})

    assert pointers(answer) == [("/code", "required"), ("/name", "required"), ("/kind", "required")]


def test_what_was_read_can_be_written_back(tree):
    client = as_user()
    read = client.get(url(tree["OSLO"])).json()

    answer = client.put(url(tree["OSLO"]), read)

    assert (answer.status_code, answer.json()) == (200, read)


def test_patch_moves_with_everything_below(tree):
    answer = as_user().patch(url(tree["NORTH"]), {"parent": "SOUTH", "name": "Nordics"})

    assert (answer.status_code, answer.json()["parent"]) == (200, "SOUTH")
    assert Organization.objects.get(code="OSLO").path == "Acme / South / Nordics / Oslo"


def test_patch_refuses_a_move_below_an_own_descendant(tree):
    as_user().patch(url(tree["SOUTH"]), {"parent": "NORTH"})

    answer = as_user().patch(url(tree["NORTH"]), {"parent": "SOUTH"})

    assert outcome(answer) == (409, "/problems/organization-tree")
    assert pointers(answer) == [("/parent", "own_descendant")]


def test_patch_refuses_a_move_to_another_client_while_servers_are_assigned(tree):
    make_tree(OTHER=None)
    make_server("LyonBox", client=tree["ACME"], organizations=[tree["OSLO"]])

    answer = as_user().patch(url(tree["NORTH"]), {"parent": "OTHER"})

    assert outcome(answer) == (409, "/problems/organization-tree")
    assert "LyonBox" in answer.json()["detail"]


def test_patch_refuses_another_kind(tree):
    answer = as_user().patch(url(tree["OSLO"]), {"kind": "region"})

    assert outcome(answer) == (400, "/problems/invalid")
    assert pointers(answer) == [("/kind", "fixed")]


def test_a_refused_move_keeps_the_new_name_out_too(tree):
    as_user().patch(url(tree["ACME"]), {"name": "Changed", "parent": "NORTH"})

    assert Organization.objects.get(code="ACME").name == "Acme"


def test_delete_removes_what_nothing_names(tree):
    answer = as_user().delete(url(tree["ROME"]))

    assert (answer.status_code, answer.content) == (204, b"")
    assert not Organization.objects.filter(code="ROME").exists()


def test_delete_names_what_blocks(tree):
    make_terminal("OSLO-1", tree["OSLO"])

    children = as_user().delete(url(tree["NORTH"]))
    terminal = as_user().delete(url(tree["OSLO"]))

    assert outcome(children) == outcome(terminal) == (409, "/problems/in-use")
    assert "Oslo" in children.json()["detail"]
    assert "OSLO-1" in terminal.json()["detail"]
    assert Organization.objects.count() == 6


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"code": "OSLO"}, ["OSLO"]),
        ({"code": "oslo"}, []),
        ({"name": "Rome"}, ["ROME"]),
        ({"kind": "region"}, ["NORTH", "SOUTH"]),
        ({"parent": "NORTH"}, ["OSLO", "BERGEN"]),
        ({"is_active": "false"}, []),
        ({"organization": "NORTH"}, ["NORTH"]),
        ({"organization": "NORTH", "scope": "subtree"}, ["NORTH", "OSLO", "BERGEN"]),
        ({"organization": "OSLO", "scope": "ancestors"}, ["ACME", "NORTH", "OSLO"]),
        ({"limit": "2", "offset": "1"}, ["NORTH", "OSLO"]),
    ],
)
def test_list_filters(tree, query, found):
    answer = as_user().get(URL, query)

    assert (answer.status_code, codes(answer)) == (200, found)


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ({"cod": "OSLO"}, ("?cod", "unknown_parameter")),
        ({"dry_run": "true"}, ("?dry_run", "unknown_parameter")),
        ({"kind": "shop"}, ("?kind", "invalid_choice")),
        ({"is_active": "yes"}, ("?is_active", "invalid")),
        ({"code": ["OSLO", "ROME"]}, ("?code", "repeated")),
        ({"code": "a\0b"}, ("?code", "invalid")),
        ({"organization": "NOWHERE"}, ("?organization", "does_not_exist")),
        ({"organization": "OSLO", "scope": "below"}, ("?scope", "invalid_choice")),
        ({"scope": "subtree"}, ("?scope", "incomplete")),
        ({"limit": "0"}, ("?limit", "invalid")),
        ({"limit": "ten"}, ("?limit", "invalid")),
        ({"offset": "-1"}, ("?offset", "invalid")),
    ],
)
def test_list_refuses_what_it_does_not_understand(tree, query, complaint):
    answer = as_user().get(URL, query)

    assert outcome(answer) == (400, "/problems/invalid")
    assert pointers(answer) == [complaint]


def test_list_pages_with_links(tree):
    page = as_user().get(URL, {"limit": 4}).json()

    assert (page["count"], page["previous"], len(page["results"])) == (6, None, 4)
    assert page["next"].endswith("?limit=4&offset=4")


@pytest.mark.parametrize("rows", [1, 3])
def test_list_costs_the_same_however_long(rows, django_assert_num_queries):
    make_tree(ACME=None, **{f"S{number}": "ACME" for number in range(rows)})
    client = as_user()

    with django_assert_num_queries(4):  # token, its use, count, rows
        client.get(URL)


def test_store_operator_renames_but_leaves_the_shape_of_the_tree(tree):
    operator = make_user(role=STORE_OPERATOR)
    operator.organizations.add(tree["NORTH"])
    client = as_user(operator)

    renamed = client.patch(url(tree["OSLO"]), {"name": "Oslo S", "is_active": False, "code": "OSLO"})
    recoded = client.patch(url(tree["OSLO"]), {"code": "X"})
    moved = client.patch(url(tree["OSLO"]), {"parent": "BERGEN"})

    assert (renamed.status_code, renamed.json()["name"]) == (200, "Oslo S")
    assert outcome(recoded) == outcome(moved) == (403, "/problems/forbidden")
    assert codes(client.get(URL)) == ["NORTH", "OSLO", "BERGEN"]
