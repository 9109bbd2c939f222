import pytest

from organizations.models import Organization
from organizations.tree import move_organization, update_organization
from tests.factories import make_tree

pytestmark = pytest.mark.django_db


def test_rename_rewrites_the_path_of_the_whole_subtree():
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", SOUTH="ACME", ROME="SOUTH")

    update_organization(tree["NORTH"].pk, name="Nordics")

    paths = dict(Organization.objects.values_list("code", "path"))
    assert paths == {
        "ACME": "Acme",
        "NORTH": "Acme / Nordics",
        "OSLO": "Acme / Nordics / Oslo",
        "SOUTH": "Acme / South",
        "ROME": "Acme / South / Rome",
    }


def test_move_carries_the_subtree_and_its_paths_along():
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", SOUTH="ACME", ROME="SOUTH")

    move_organization(tree["NORTH"].pk, tree["SOUTH"].pk)

    oslo = Organization.objects.get(code="OSLO")
    assert [node.code for node in oslo.lineage()] == ["ACME", "SOUTH", "NORTH", "OSLO"]
    assert oslo.path == "Acme / South / North / Oslo"
