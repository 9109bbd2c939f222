"""A system administrator limited to part of the tree leaves the rest of it alone, whichever way he comes in."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from accounts.scope import SYSTEM_ADMINISTRATOR
from organizations.models import Organization
from servers.models import MobileServer
from tests.backoffice.api import as_user
from tests.factories import make_module, make_server, make_service, make_tree, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def tree():
    return make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", SOUTH="ACME", ROME="SOUTH")


@pytest.fixture
def limited(client, tree):
    user = make_user("limited", role=SYSTEM_ADMINISTRATOR, is_staff=True)
    user.organizations.add(tree["NORTH"], tree["OSLO"])
    client.force_login(user)
    return user


def address(model, view, *args):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{view}", args=args)


def refused_rows(client, model, text):
    file = SimpleUploadedFile("rows.csv", text.encode())
    page = client.post(address(model, "import"), {"import_file": file, "format": "0"})
    return [str(row.error) for row in page.context["result"].invalid_rows]


def test_he_neither_changes_nor_deletes_a_server_of_the_whole_client(client, tree, limited):
    server = make_server("central", client=tree["ACME"])

    changed = client.post(address(MobileServer, "change", server.pk), {"url": "https://evil.example"})
    deleted = client.post(address(MobileServer, "delete", server.pk), {"post": "yes"})
    client.post(
        address(MobileServer, "changelist"),
        {"action": "delete_selected", "_selected_action": server.pk, "post": "yes"},
    )
    imported = refused_rows(client, MobileServer, "key,url\ncentral,https://evil.example\n")

    assert (changed.status_code, deleted.status_code) == (403, 403)
    assert "whole client" in imported[0]
    assert list(MobileServer.objects.values_list("url")) == [(server.url,)]


def test_he_changes_a_server_of_a_client_that_is_his_whole(client, tree, limited):
    limited.organizations.add(tree["ACME"])
    server = make_server("central", client=tree["ACME"])

    imported = refused_rows(client, MobileServer, "key,url\ncentral,https://new.example\n")
    deleted = client.post(address(MobileServer, "delete", server.pk), {"post": "yes"})

    assert imported == []
    assert (deleted.status_code, MobileServer.objects.count()) == (302, 0)


def test_he_changes_nothing_of_the_services_that_all_stores_share(client, limited):
    service = make_service("org.example.Order", module=make_module(in_development=True))

    statuses = [
        as_user(limited).patch(f"/api/v1/services/{service.pk}/", {"is_active": False}).status_code,
        as_user(limited).post("/api/v1/modules/", {"name": "evil", "version": "1"}).status_code,
        client.get(reverse("admin:services_module_manifest")).status_code,
        client.post(address(type(service), "change", service.pk), {"timeout_s": "1"}).status_code,
        client.post(address(type(service), "delete", service.pk), {"post": "yes"}).status_code,
    ]

    service.refresh_from_db()
    assert (statuses, service.is_active) == ([403] * 5, True)
    assert as_user(limited).get(f"/api/v1/services/{service.pk}/").status_code == 200


def test_he_adds_organizations_only_below_his_own(client, limited):
    new = {"code": "MINE", "name": "Mine", "kind": "client"}

    api = as_user(limited).post("/api/v1/organizations/", new)
    window = client.post(address(Organization, "add"), {**new, "is_active": "on"})
    imported = refused_rows(client, Organization, "code,name,kind,parent,is_active\nMINE,Mine,client,,true\n")
    below = as_user(limited).post("/api/v1/organizations/", {**new, "kind": "store", "parent": "NORTH"})

    assert api.status_code == 403
    assert "parent" in window.context["adminform"].form.errors
    assert "adds clients" in imported[0]
    assert (below.status_code, Organization.objects.get(code="MINE").parent.code) == (201, "NORTH")


def test_he_neither_moves_nor_recodes_organizations(client, tree, limited):
    limited.organizations.add(tree["SOUTH"])
    oslo = tree["OSLO"]

    moved = client.get(reverse("admin:organizations_organization_move", args=[oslo.pk]))
    imported = refused_rows(client, Organization, "code,name,kind,parent,is_active\nOSLO,Oslo,store,SOUTH,true\n")
    client.post(address(Organization, "change", oslo.pk), {"code": "NEW", "name": "New", "is_active": "on"})

    oslo.refresh_from_db()
    assert moved.status_code == 403
    assert "changes parents" in imported[0]
    assert (oslo.code, oslo.parent_id, oslo.name) == ("OSLO", tree["NORTH"].pk, "New")
