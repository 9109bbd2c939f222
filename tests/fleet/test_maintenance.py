"""Which servers a maintenance covers, and when."""

import pytest

from fleet.maintenance import Window, in_maintenance, organizations_in_maintenance, windows, windows_of
from fleet.models import Maintenance
from servers.models import OrganizationByServer
from tests.factories import make_server, make_tree
from tests.fleet.makers import START, seconds

pytestmark = pytest.mark.django_db


@pytest.fixture
def world():
    tree = make_tree(ACME=None, NORTH="ACME", LYON="NORTH", OSLO="NORTH", SOUTH="ACME", NICE="SOUTH", OTHER=None)
    client = tree["ACME"]
    servers = {
        "central": make_server("central", client=client),
        "regional": make_server("regional", client=client, organizations=[tree["NORTH"]]),
        "lyon": make_server("lyon", client=client, organizations=[tree["LYON"]]),
        "nice": make_server("nice", client=client, organizations=[tree["NICE"]]),
        "both": make_server("both", client=client, organizations=[tree["LYON"], tree["NICE"]]),
        "foreign": make_server("foreign", client=tree["OTHER"]),
    }
    return tree, servers


def maintain(subject, start=0, end=100):
    field = "organization" if hasattr(subject, "code") else "server"
    return Maintenance.objects.create(
        starts_at=START + seconds(start), ends_at=START + seconds(end), reason="Cabling", **{field: subject}
    )


@pytest.mark.parametrize(
    ("place", "covered"),
    [
        ("ACME", {"central", "regional", "lyon", "nice", "both"}),
        ("NORTH", {"regional", "lyon", "both"}),
        ("LYON", {"lyon", "both"}),
        ("OSLO", set()),
        ("OTHER", {"foreign"}),
    ],
)
def test_an_organization_covers_the_servers_assigned_to_it_or_below(world, place, covered):
    tree, servers = world
    maintain(tree[place])

    assert in_maintenance(START) == {servers[name].pk for name in covered}


def test_a_server_covers_itself_and_a_switched_off_assignment_nothing(world):
    tree, servers = world
    OrganizationByServer.objects.filter(server=servers["lyon"]).update(is_active=False)
    maintain(tree["LYON"])
    maintain(servers["central"])

    assert in_maintenance(START) == {servers["central"].pk, servers["both"].pk}
    assert in_maintenance(START, [servers["both"].pk, servers["nice"].pk]) == {servers["both"].pk}


@pytest.mark.parametrize(("at", "is_in"), [(-1, False), (0, True), (99, True), (100, False)])
def test_maintenance_runs_from_its_start_until_before_its_end(world, at, is_in):
    _, servers = world
    maintain(servers["lyon"])

    assert (in_maintenance(START + seconds(at)) == {servers["lyon"].pk}) is is_in


def test_windows_are_told_by_server_in_order(world):
    tree, servers = world
    maintain(servers["lyon"], 200, 300)
    maintain(tree["NORTH"], 0, 100)
    maintain(servers["lyon"], 5000, 6000)
    first, second, third = (
        Window(START + seconds(a), START + seconds(b)) for a, b in [(0, 100), (200, 300), (5000, 6000)]
    )

    assert windows(START + seconds(50), START + seconds(250), [servers["lyon"].pk, servers["nice"].pk]) == {
        servers["lyon"].pk: (first, second)
    }
    assert windows_of(servers["lyon"]) == (first, second, third)
    assert windows_of(servers["nice"]) == ()


@pytest.mark.parametrize("number", [1, 3])
def test_maintenance_is_three_queries_at_most(world, number, django_assert_num_queries):
    tree, servers = world
    for code in ["ACME", "NORTH", "LYON"][:number]:
        maintain(tree[code])
        maintain(servers["lyon"])

    with django_assert_num_queries(3):
        in_maintenance(START)


def test_organizations_in_maintenance_are_the_subtree(world):
    tree, _ = world
    maintain(tree["NORTH"])

    assert {organization.code for organization in organizations_in_maintenance(START)} == {"NORTH", "LYON", "OSLO"}
