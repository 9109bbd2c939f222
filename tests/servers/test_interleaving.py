"""Whoever writes servers at the same time waits in turn: nobody waits for each other."""

import pytest
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from licensing.installation import LicenseLimit
from licensing.rules import COMMUNITY
from servers.definition import Assignment, save_server
from servers.models import MobileServer
from tests.factories import make_admin, make_server, make_service, make_tree, make_user_token
from tests.interleaving import outcomes
from tests.licensing.makers import DAY, make_installation

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _several_writers():
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer anyway")


@pytest.fixture
def client():
    return make_tree(ACME=None)["ACME"]


def patch(path, **fields):
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {make_user_token(make_admin('api'))}")
    answer = client.patch(path, fields, format="json")
    assert answer.status_code == 200, answer.content


def test_an_edit_and_an_addition_in_one_transaction_beside_another_addition(client, monkeypatch):
    monkeypatch.setattr("licensing.rules.COMMUNITY", COMMUNITY)
    make_installation(timezone.now() - 30 * DAY)
    central = make_server("central", client=client)

    found = outcomes(
        lambda: save_server(central),
        lambda: make_server("box 1", client=client, server_type="store"),
        lambda: make_server("box 2", client=client, server_type="store"),
    )

    assert [type(each) for each in found] == [type(None), LicenseLimit]
    assert sorted(MobileServer.objects.values_list("name", flat=True)) == ["box 2", "central"]


def test_edits_of_two_in_one_transaction_beside_a_patch_of_the_second(client):
    servers = [make_server(name, client=client) for name in ("one", "two")]

    found = outcomes(
        lambda: save_server(servers[0]),
        lambda: patch(f"/api/v1/servers/{servers[1].pk}/", priority=7),
        lambda: save_server(servers[1]),
    )

    assert found == [None, None]


def test_a_service_may_be_edited_while_a_server_gets_it(client):
    server, service = make_server("one", client=client), make_service("orders")

    found = outcomes(
        lambda: save_server(server, services=[Assignment(service)]),
        lambda: patch(f"/api/v1/services/{service.pk}/", timeout_s=9),
        lambda: None,
    )

    assert found == [None, None]
