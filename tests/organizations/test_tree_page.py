import pytest
from django.urls import reverse

from accounts.scope import STORE_OPERATOR
from organizations import tree_page
from organizations.models import Organization
from tests.factories import make_admin, make_tree, make_user

pytestmark = pytest.mark.django_db

TREE = "/admin/organizations/organization/tree/"


@pytest.fixture
def tree():
    return make_tree(ACME=None, NORTH="ACME", BERGEN="NORTH", OSLO="NORTH", SOUTH="ACME", ROME="SOUTH")


@pytest.fixture
def administrator(client):
    user = make_admin("root")
    client.force_login(user)
    return user


@pytest.fixture
def operator(client, tree):
    user = make_user("operator", role=STORE_OPERATOR, is_staff=True)
    user.organizations.set([tree["NORTH"], tree["ROME"]])
    client.force_login(user)
    return user


def shape(branches):
    """Return what the page shows unfolded, as nested codes."""
    return {branch.node.code: shape(branch.children) for branch in branches}


def test_the_page_opens_the_only_client(client, administrator, tree):
    page = client.get(TREE)

    assert shape(page.context["branches"]) == {"ACME": {"NORTH": {}, "SOUTH": {}}}


def test_the_page_opens_the_way_to_an_organization(client, administrator, tree):
    page = client.get(TREE, {"at": tree["OSLO"].pk})

    assert shape(page.context["branches"]) == {"ACME": {"NORTH": {"BERGEN": {}, "OSLO": {}}, "SOUTH": {}}}


def test_the_page_opens_the_way_beyond_the_first_page_of_children(client, administrator, tree, monkeypatch):
    monkeypatch.setattr(tree_page, "PAGE", 1)

    page = client.get(TREE, {"at": tree["ROME"].pk})

    assert shape(page.context["branches"]) == {"ACME": {"NORTH": {}, "SOUTH": {"ROME": {}}}}
    assert "?offset=1" in page.content.decode()


def test_children_come_in_pages(client, administrator, tree, monkeypatch):
    monkeypatch.setattr(tree_page, "PAGE", 1)
    children = reverse("admin:organizations_organization_children", args=[tree["NORTH"].pk])

    first, last, odd = (client.get(children, {"offset": offset}) for offset in ("0", "1", "x"))

    assert [shape(page.context["branches"]) for page in (first, last, odd)] == [
        {"BERGEN": {}},
        {"OSLO": {}},
        {"BERGEN": {}},
    ]
    assert [page.context["next_offset"] for page in (first, last, odd)] == [1, None, 1]


def test_search_finds_by_code_and_name(client, administrator, tree):
    page = client.get(TREE, {"q": "os"})

    assert [node.code for node in page.context["found"]] == ["OSLO"]


@pytest.mark.parametrize("rows", [1, 3])
def test_the_page_takes_the_same_queries_for_any_number_of_children(
    client, administrator, django_assert_max_num_queries, rows
):
    make_tree(ACME=None, **{f"S{number}": "ACME" for number in range(rows)})
    client.get(TREE)

    with django_assert_max_num_queries(12):
        client.get(TREE)


def test_an_operator_sees_the_topmost_organizations_he_was_given_as_roots(client, operator, tree):
    page = client.get(TREE)

    assert shape(page.context["branches"]) == {"NORTH": {}, "ROME": {}}


def test_an_operator_reaches_nothing_outside_his_organizations(client, operator, tree):
    foreign = tree["SOUTH"]

    answers = {
        "panel": client.get(TREE, {"at": foreign.pk}),
        "children": client.get(reverse("admin:organizations_organization_children", args=[foreign.pk])),
        "rename": client.post(
            reverse("admin:organizations_organization_quick_change", args=[foreign.pk]), {"name": "Mine"}
        ),
        "move": client.get(reverse("admin:organizations_organization_move", args=[tree["ROME"].pk])),
    }

    assert {name: answer.status_code for name, answer in answers.items()} == {
        "panel": 404,
        "children": 404,
        "rename": 404,
        "move": 403,
    }
    assert not Organization.objects.filter(name="Mine").exists()


def test_an_operator_renames_and_switches_off_his_organizations(client, operator, tree):
    change = reverse("admin:organizations_organization_quick_change", args=[tree["OSLO"].pk])

    client.post(change, {"name": "Oslo City"})
    client.post(change, {"is_active": "no"})
    client.post(
        reverse("admin:organizations_organization_change", args=[tree["BERGEN"].pk]),
        {"code": "HACKED", "name": "Bergen City", "is_active": "on"},
    )

    assert list(tree["NORTH"].children.order_by("code").values_list("code", "name", "is_active")) == [
        ("BERGEN", "Bergen City", True),
        ("OSLO", "Oslo City", False),
    ]


def test_characters_that_no_column_can_hold_do_no_harm(client, administrator, tree):
    searched = client.get(TREE, {"q": "os\0lo"})
    client.post(
        reverse("admin:organizations_organization_quick_change", args=[tree["OSLO"].pk]), {"name": " Os\0lo City "}
    )

    assert searched.status_code == 400
    assert Organization.objects.get(code="OSLO").name == "Oslo City"


@pytest.mark.parametrize("at", ["x", "0", "-1", "9" * 30])
def test_an_impossible_place_in_the_tree_is_not_found(client, administrator, at):
    assert client.get(TREE, {"at": at}).status_code == 404
