import pytest

from backoffice.visibility import visible
from organizations.models import Organization
from preferences.models import PreferenceValue
from services.models import MobileService
from terminals.models import Terminal
from tests.factories import make_admin, make_service, make_terminal, make_tree, make_user

pytestmark = pytest.mark.django_db


def see(user):
    return {
        "organizations": sorted(visible(Organization, user).values_list("code", flat=True)),
        "terminals": sorted(visible(Terminal, user).values_list("search_key", flat=True)),
        "preferences": sorted(visible(PreferenceValue, user).values_list("value", flat=True)),
        "services": sorted(visible(MobileService, user).values_list("name", flat=True)),
    }


@pytest.fixture
def tree():
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", SOUTH="ACME", ROME="SOUTH")
    make_terminal("OSLO-1", tree["OSLO"])
    make_terminal("ROME-1", tree["ROME"])
    PreferenceValue.objects.create(key="request_retries", value="1")
    PreferenceValue.objects.create(key="request_retries", organization=tree["NORTH"], value="2")
    PreferenceValue.objects.create(key="request_retries", organization=tree["ROME"], value="3")
    make_service("Order")
    return tree


def test_a_limited_user_sees_what_belongs_to_the_organizations_below_those_given(tree):
    user = make_user()
    user.organizations.add(tree["NORTH"])

    assert see(user) == {
        "organizations": ["NORTH", "OSLO"],
        "terminals": ["OSLO-1"],
        "preferences": ["2"],
        "services": ["Order"],
    }


def test_an_administrator_sees_everything(tree):
    assert see(make_admin()) == {
        "organizations": ["ACME", "NORTH", "OSLO", "ROME", "SOUTH"],
        "terminals": ["OSLO-1", "ROME-1"],
        "preferences": ["1", "2", "3"],
        "services": ["Order"],
    }
