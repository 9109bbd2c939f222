import pytest
from django.core.management import CommandError, call_command

from organizations.integrity import find_faults
from organizations.models import Organization
from organizations.tree import delete_organization, move_organization
from tests.factories import make_organization, make_tree

pytestmark = pytest.mark.django_db
DERIVED = ("code", "tree_id", "level", "lft", "rght", "path")


@pytest.fixture
def tree():
    """Two clients whose siblings stand in an order of their own, with gaps closed after a deletion."""
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", BERGEN="NORTH", SOUTH="ACME", ROME="SOUTH")
    make_organization("OTHER")
    delete_organization(make_organization("GONE", "NORTH").pk)
    move_organization(tree["NORTH"].pk, tree["SOUTH"].pk)
    move_organization(tree["NORTH"].pk, tree["ACME"].pk)
    return tree


def derived():
    return sorted(Organization.objects.values_list(*DERIVED))


def test_check_tree_finds_a_sound_tree_sound(tree, capsys):
    call_command("check_tree")

    assert capsys.readouterr().out == "The tree is sound.\n"


@pytest.mark.parametrize(
    "damage",
    [
        {"lft": 40, "rght": 41},
        {"level": 0},
        {"path": "Elsewhere"},
        {"tree_id": 999},
        {"rght": 1},
    ],
    ids=str,
)
def test_check_tree_names_the_damage_and_fix_repairs_it(tree, damage):
    before = derived()
    Organization.objects.filter(code="ROME").update(**damage)

    with pytest.raises(CommandError, match="The tree has 1 fault"):
        call_command("check_tree")
    call_command("check_tree", "--fix")

    assert derived() == before


def test_fix_parts_two_clients_of_one_tree_id(tree):
    Organization.objects.update(tree_id=1)

    call_command("check_tree", "--fix")

    assert find_faults() == []
    assert Organization.objects.clients().values("tree_id").distinct().count() == 2


def test_fix_rebuilds_a_tree_that_lost_all_numbers(tree):
    Organization.objects.update(tree_id=1, lft=0, rght=0, level=0, path="")

    call_command("check_tree", "--fix")

    assert find_faults() == []
    rome = Organization.objects.get(code="ROME")
    assert [node.code for node in rome.lineage()] == ["ACME", "SOUTH", "ROME"]


def test_check_tree_reports_what_it_cannot_fix(tree, capsys):
    Organization.objects.filter(code="NORTH").update(parent=tree["OSLO"])
    Organization.objects.filter(code="SOUTH").update(kind="store")

    with pytest.raises(CommandError):
        call_command("check_tree", "--fix")

    printed = capsys.readouterr().out
    for code in ("NORTH", "OSLO", "BERGEN"):
        assert f"{code}: does not hang from a client: its parents run in a circle" in printed
    assert "ROME: a store cannot lie below the store SOUTH" in printed


def test_find_faults_takes_one_query_whatever_the_size(tree, django_assert_num_queries):
    with django_assert_num_queries(1):
        find_faults()
