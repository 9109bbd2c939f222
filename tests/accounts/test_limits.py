import pytest

from accounts.scope import READ_ONLY, visible_organizations
from organizations.models import Organization
from organizations.tree import OrganizationInUse, delete_organization
from tests.factories import make_tree, make_user

pytestmark = pytest.mark.django_db


def test_deleting_the_only_organization_of_a_user_is_refused_as_it_would_lift_his_limit():
    tree = make_tree(ACME=None, OSLO="ACME", BERGEN="ACME")
    user = make_user("olga", role=READ_ONLY)
    user.organizations.add(tree["OSLO"])

    with pytest.raises(OrganizationInUse) as refusal:
        delete_organization(tree["OSLO"].pk)

    assert "1 user (olga)" in refusal.value.detail
    assert [organization.code for organization in visible_organizations(user)] == ["OSLO"]


def test_an_organization_nobody_is_limited_to_can_be_deleted():
    tree = make_tree(ACME=None, OSLO="ACME", BERGEN="ACME")
    make_user("olga", role=READ_ONLY).organizations.add(tree["OSLO"])

    delete_organization(tree["BERGEN"].pk)

    assert set(Organization.objects.values_list("code", flat=True)) == {"ACME", "OSLO"}
