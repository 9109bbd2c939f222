import pytest

from servers.scope import visible_servers
from tests.factories import make_server, make_tree, make_user

pytestmark = pytest.mark.django_db


def test_a_limited_user_sees_the_servers_that_serve_what_he_may_see():
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", BERGEN="NORTH", SOUTH="ACME", ROME="SOUTH", OTHER=None)
    make_server("everywhere", client=tree["ACME"])
    make_server("regional", client=tree["ACME"], organizations=[tree["NORTH"]])
    make_server("store", client=tree["ACME"], organizations=[tree["OSLO"]])
    make_server("neighbour", client=tree["ACME"], organizations=[tree["BERGEN"]])
    make_server("south", client=tree["ACME"], organizations=[tree["ROME"]])
    make_server("foreign", client=tree["OTHER"])
    user = make_user()
    user.organizations.add(tree["OSLO"])

    names = sorted(visible_servers(user).values_list("name", flat=True))

    assert names == ["everywhere", "regional", "store"]


def test_a_limited_user_without_organizations_sees_no_server():
    tree = make_tree(ACME=None)
    make_server("everywhere", client=tree["ACME"])

    assert list(visible_servers(make_user())) == []
