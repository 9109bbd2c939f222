import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from backoffice.refusals import Invalid
from organizations.models import Organization
from organizations.tree import (
    OrganizationInUse,
    TreeConflict,
    create_organization,
    delete_organization,
    move_organization,
    update_organization,
)
from preferences.models import PreferenceValue
from tests.factories import make_organization, make_server, make_terminal, make_tree

pytestmark = pytest.mark.django_db

MISSING = 999_999


def parents():
    return dict(Organization.objects.values_list("code", "parent__code"))


@pytest.mark.parametrize(
    ("kind", "parent", "message"),
    [
        ("region", None, "A region needs a parent."),
        ("store", None, "A store needs a parent."),
        ("client", "ACME", "A client has no parent: it is the root of its tree."),
        ("client", "OSLO", "A client has no parent: it is the root of its tree."),
        ("region", "OSLO", "Nothing can lie below a store, and OSLO is one."),
        ("store", "OSLO", "Nothing can lie below a store, and OSLO is one."),
    ],
)
def test_create_refuses_a_parent_that_cannot_hold_the_kind(kind, parent, message):
    tree = make_tree(ACME=None, OSLO="ACME")

    with pytest.raises(Invalid) as refusal:
        create_organization(code="NEW", name="New", kind=kind, parent_id=tree[parent].pk if parent else None)

    assert [(error.pointer, error.code, error.detail) for error in refusal.value.errors] == [
        ("/parent", "wrong_parent", message)
    ]
    assert parents() == {"ACME": None, "OSLO": "ACME"}


def test_create_allows_regions_in_regions_and_stores_below_clients_and_regions():
    client = make_organization("ACME")
    north = make_organization("NORTH", client, "region")
    fjords = make_organization("FJORDS", north, "region")

    make_organization("BERGEN", fjords, "store")
    make_organization("HQ", client, "store")

    assert parents() == {"ACME": None, "NORTH": "ACME", "FJORDS": "NORTH", "BERGEN": "FJORDS", "HQ": "ACME"}


def test_create_refuses_a_parent_that_does_not_exist():
    with pytest.raises(Invalid) as refusal:
        create_organization(code="OSLO", name="Oslo", kind="store", parent_id=MISSING)

    assert [error.code for error in refusal.value.errors] == ["does_not_exist"]


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"code": ""}, {"code"}),
        ({"code": "two words"}, {"code"}),
        ({"code": "-OSLO"}, {"code"}),
        ({"code": "OSLO\n"}, {"code"}),
        ({"code": "x" * 41}, {"code"}),
        ({"code": "ACME"}, {"code"}),
        ({"name": ""}, {"name"}),
        ({"name": "x" * 61}, {"name"}),
        ({"kind": "district"}, {"kind"}),
        ({"code": "", "name": ""}, {"code", "name"}),
    ],
)
def test_create_refuses_bad_fields_and_names_them(fields, wrong):
    client = make_organization("ACME")

    with pytest.raises(ValidationError) as refusal:
        create_organization(**{"code": "OSLO", "name": "Oslo", "kind": "store", "parent_id": client.pk} | fields)

    assert wrong <= set(refusal.value.message_dict)
    assert parents() == {"ACME": None}


@pytest.mark.parametrize("target", ["NORTH", "FJORDS"])
def test_move_refuses_a_place_below_itself(target):
    tree = make_tree(ACME=None, NORTH="ACME", FJORDS="NORTH", BERGEN="FJORDS")

    with pytest.raises(TreeConflict) as refusal:
        move_organization(tree["NORTH"].pk, tree[target].pk)

    assert [(error.pointer, error.code) for error in refusal.value.errors] == [("/parent", "own_descendant")]
    assert parents() == {"ACME": None, "NORTH": "ACME", "FJORDS": "NORTH", "BERGEN": "FJORDS"}


@pytest.mark.parametrize(
    ("moved", "target"),
    [("OSLO", "BERGEN"), ("NORTH", "BERGEN"), ("ACME", "OTHER"), ("OSLO", None), ("NORTH", None)],
)
def test_move_refuses_a_parent_that_cannot_hold_the_kind(moved, target):
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", BERGEN="ACME", OTHER=None)
    before = parents()

    with pytest.raises(Invalid) as refusal:
        move_organization(tree[moved].pk, tree[target].pk if target else None)

    assert [error.code for error in refusal.value.errors] == ["wrong_parent"]
    assert parents() == before


@pytest.mark.parametrize("missing", ["moved", "parent"])
def test_move_refuses_organizations_that_do_not_exist(missing):
    tree = make_tree(ACME=None, OSLO="ACME")

    with pytest.raises(Invalid):
        move_organization(
            MISSING if missing == "moved" else tree["OSLO"].pk,
            MISSING if missing == "parent" else tree["ACME"].pk,
        )


def test_move_to_another_client_is_refused_while_servers_are_assigned_below():
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", OTHER=None)
    make_server("northern", client=tree["ACME"], organizations=[tree["OSLO"]])

    with pytest.raises(TreeConflict) as refusal:
        move_organization(tree["NORTH"].pk, tree["OTHER"].pk)

    assert "northern" in refusal.value.detail
    assert [error.code for error in refusal.value.errors] == ["other_client"]
    assert parents()["NORTH"] == "ACME"


def test_move_to_another_client_without_assignments_takes_the_subtree_along():
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", OTHER=None)
    make_server("central", client=tree["ACME"])

    move_organization(tree["NORTH"].pk, tree["OTHER"].pk)

    oslo = Organization.objects.get(code="OSLO")
    assert [node.code for node in oslo.lineage()] == ["OTHER", "NORTH", "OSLO"]
    assert oslo.path == "Other / North / Oslo"


def test_move_within_a_client_is_allowed_with_assignments():
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", SOUTH="ACME", ROME="SOUTH")
    make_server("northern", client=tree["ACME"], organizations=[tree["OSLO"]])

    move_organization(tree["OSLO"].pk, tree["SOUTH"].pk)

    assert parents()["OSLO"] == "SOUTH"


def test_move_writes_one_line_of_history_and_none_when_nothing_moves():
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", SOUTH="ACME", ROME="SOUTH")

    move_organization(tree["OSLO"].pk, tree["SOUTH"].pk)
    move_organization(tree["OSLO"].pk, tree["SOUTH"].pk)

    history = Organization.history.filter(code="OSLO").order_by("history_id")
    assert [(line.history_type, line.parent.code) for line in history] == [("+", "NORTH"), ("~", "SOUTH")]


def test_update_refuses_a_code_that_is_taken():
    tree = make_tree(ACME=None, OSLO="ACME", BERGEN="ACME")

    with pytest.raises(ValidationError) as refusal:
        update_organization(tree["OSLO"].pk, code="BERGEN")

    assert set(refusal.value.message_dict) == {"code"}


def test_deactivation_leaves_what_lies_below_active():
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH")

    update_organization(tree["NORTH"].pk, is_active=False)

    assert dict(Organization.objects.values_list("code", "is_active")) == {
        "ACME": True,
        "NORTH": False,
        "OSLO": True,
    }


def test_delete_names_everything_that_blocks_it():
    tree = make_tree(ACME=None, OSLO="ACME")
    make_terminal("OSLO-1", tree["OSLO"])
    make_terminal("OSLO-2", tree["OSLO"])
    make_server("local", client=tree["ACME"], organizations=[tree["OSLO"]])
    PreferenceValue.objects.create(key="request_retries", organization=tree["OSLO"], value="2")

    with pytest.raises(OrganizationInUse) as refusal:
        delete_organization(tree["OSLO"].pk)

    for blocker in ("2 POS terminals (OSLO-1, OSLO-2)", "local", "Number of Request Retries = 2"):
        assert blocker in refusal.value.detail
    assert set(parents()) == {"ACME", "OSLO"}


def test_delete_is_refused_while_something_lies_below_or_a_server_belongs_to_the_client():
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", OTHER=None)
    make_server("central", client=tree["OTHER"])

    with pytest.raises(OrganizationInUse) as below:
        delete_organization(tree["NORTH"].pk)
    with pytest.raises(OrganizationInUse) as owner:
        delete_organization(tree["OTHER"].pk)

    assert "Oslo" in below.value.detail
    assert "central" in owner.value.detail


def test_delete_removes_what_nothing_names():
    tree = make_tree(ACME=None, OSLO="ACME", BERGEN="ACME")

    delete_organization(tree["OSLO"].pk)

    assert parents() == {"ACME": None, "BERGEN": "ACME"}
    with pytest.raises(Invalid):
        delete_organization(tree["OSLO"].pk)


@pytest.mark.parametrize(
    "change",
    [{"kind": "client"}, {"kind": "district"}, {"parent": None}, {"code": "ACME"}],
)
def test_the_database_refuses_what_no_code_may_store(change):
    make_tree(ACME=None, OSLO="ACME")

    with pytest.raises(IntegrityError), transaction.atomic():
        Organization.objects.filter(code="OSLO").update(**change)
