import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command

from accounts.roles import STORE_OPERATOR_RIGHTS
from accounts.scope import READ_ONLY, STORE_OPERATOR, SYSTEM_ADMINISTRATOR
from tests.factories import make_user

pytestmark = pytest.mark.django_db


def rights_of(role):
    return make_user(role=role).get_all_permissions()


def test_store_operator_has_exactly_the_rights_a_store_needs():
    assert rights_of(STORE_OPERATOR) == STORE_OPERATOR_RIGHTS


def test_system_administrator_may_write_everything_but_records():
    rights = rights_of(SYSTEM_ADMINISTRATOR)

    assert {
        "accounts.add_user",
        "accounts.see_all_organizations",
        "organizations.delete_organization",
        "services.add_module",
        "servers.change_mobileserver",
        "events.view_event",
    } <= rights
    assert not {"events.change_event", "servers.change_serverstate", "terminals.delete_terminaltoken"} & rights


def test_read_only_sees_everything_but_people_and_writes_nothing():
    rights = rights_of(READ_ONLY)

    assert {right for right in rights if ".view_" not in right} == {"accounts.see_all_organizations"}
    assert {"servers.view_mobileserver", "terminals.view_terminal", "events.view_event"} <= rights
    assert "accounts.view_user" not in rights


def test_migrate_again_takes_back_rights_added_by_hand():
    group = Group.objects.get(name=READ_ONLY)
    before = set(group.permissions.values_list("pk", flat=True))
    group.permissions.add(*Group.objects.get(name=SYSTEM_ADMINISTRATOR).permissions.all())

    call_command("migrate", verbosity=0)

    assert set(group.permissions.values_list("pk", flat=True)) == before
