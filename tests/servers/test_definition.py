import re

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st

from backoffice.refusals import Invalid
from organizations.tree import move_organization
from servers.definition import Assignment, key_from_name, save_server
from servers.models import MobileServer, OrganizationByServer, ServiceByServer
from tests.factories import make_organization, make_server, make_service, make_tree


@pytest.mark.parametrize(
    ("name", "taken", "key"),
    [
        ("Central Office", [], "central_office"),
        ("  Lyon \t Box ", [], "lyon_box"),
        ("LyonBox", ["lyonbox"], "lyonbox_2"),
        ("LyonBox", ["LYONBOX", "lyonbox_2"], "lyonbox_3"),
        ("Zürich (main)", [], "zrich_main"),
        ("東京", [], "server"),
        ("", ["server"], "server_2"),
        ("x" * 60, [], "x" * 32),
        ("x" * 60, ["x" * 32], "x" * 30 + "_2"),
        ("x" * 60, ["x" * 32, *("x" * 30 + f"_{n}" for n in range(2, 10))], "x" * 29 + "_10"),
    ],
)
def test_key_from_name_is_short_plain_and_free(name, taken, key):
    assert key_from_name(name, taken) == key


@given(st.text(max_size=60), st.sets(st.text("abcABC_123", max_size=32), max_size=10))
def test_key_from_name_always_gives_an_allowed_key(name, taken):
    taken = {*taken, key_from_name(name, taken)}

    key = key_from_name(name, taken)

    assert re.fullmatch(r"[a-z0-9_-]{1,32}", key)
    assert key not in {other.lower() for other in taken}


@pytest.mark.django_db
class TestSaveServer:
    def test_it_makes_a_key_and_normalises_the_url(self):
        client = make_organization("ACME")

        save_server(
            MobileServer(
                client=client,
                name="Central Office",
                server_type="main",
                url="HTTPS://Central.example:443/ob/",
            )
        )

        assert list(MobileServer.objects.values_list("key", "url", "priority")) == [
            ("central_office", "https://central.example/ob", 10)
        ]

    def test_it_keeps_a_given_key_as_it_is(self):
        client = make_organization("ACME")

        save_server(MobileServer(client=client, key="LYON-Box_1", name="Lyon", server_type="store", url="http://lyon"))

        assert MobileServer.objects.get().key == "LYON-Box_1"

    @pytest.mark.parametrize(
        ("fields", "wrong"),
        [
            ({"url": "ftp://central.example"}, "url"),
            ({"url": ""}, "url"),
            ({"key": "a key"}, "key"),
            ({"key": "schlüssel"}, "key"),
            ({"key": "k" * 33}, "key"),
            ({"key": "key\n"}, "key"),
            ({"key": "CENTRAL"}, "key"),
            ({"name": "central"}, "name"),
            ({"name": "n" * 61}, "name"),
            ({"server_type": "other"}, "server_type"),
            ({"server_type": ""}, "server_type"),
            ({"defined_services": "some"}, "defined_services"),
            ({"priority": -1}, "priority"),
            ({"priority": 1_000_000}, "priority"),
            ({"priority": "high"}, "priority"),
        ],
    )
    def test_it_refuses_bad_fields_and_names_them(self, fields, wrong):
        client = make_organization("ACME")
        make_server("central", client=client)

        with pytest.raises(ValidationError) as refusal:
            make_server(**{"name": "second", "client": client} | fields)

        assert wrong in refusal.value.message_dict
        assert MobileServer.objects.count() == 1

    def test_it_refuses_a_client_that_is_none(self):
        tree = make_tree(ACME=None, OSLO="ACME")

        with pytest.raises(ValidationError) as refusal:
            make_server("local", client=tree["OSLO"])

        assert "OSLO is not a client." in refusal.value.message_dict["client"]

    def test_two_clients_may_use_the_same_name(self):
        make_server("central", client=make_organization("ACME"))

        make_server("central", client=make_organization("OTHER"))

        assert list(MobileServer.objects.order_by("pk").values_list("key", flat=True)) == [
            "central",
            "central_2",
        ]

    def test_it_refuses_bad_rows_and_then_changes_nothing(self):
        tree = make_tree(ACME=None, OSLO="ACME", BERGEN="ACME", OTHER=None, ROME="OTHER")
        server = make_server("local", client=tree["ACME"], organizations=[tree["OSLO"]])
        server.name = "renamed"

        with pytest.raises(Invalid) as refusal:
            save_server(
                server,
                organizations=[
                    Assignment(tree["BERGEN"]),
                    Assignment(tree["BERGEN"], is_active=False),
                    Assignment(tree["ROME"]),
                ],
            )

        assert [(error.pointer, error.code) for error in refusal.value.errors] == [
            ("/organizations/1/organization", "duplicate"),
            ("/organizations/2/organization", "other_client"),
        ]
        assert MobileServer.objects.get().name == "local"
        assert list(OrganizationByServer.objects.values_list("organization__code", flat=True)) == ["OSLO"]

    def test_a_refused_service_row_also_undoes_the_organizations(self):
        tree = make_tree(ACME=None, OSLO="ACME", BERGEN="ACME")
        service = make_service("org.example.Order")
        server = make_server("local", client=tree["ACME"], organizations=[tree["OSLO"]])

        with pytest.raises(Invalid) as refusal:
            save_server(
                server,
                organizations=[Assignment(tree["BERGEN"])],
                services=[Assignment(service), Assignment(service)],
            )

        assert [(error.pointer, error.code) for error in refusal.value.errors] == [("/services/1/service", "duplicate")]
        assert list(OrganizationByServer.objects.values_list("organization__code", flat=True)) == ["OSLO"]
        assert not ServiceByServer.objects.exists()

    def test_it_touches_only_the_rows_that_differ(self):
        tree = make_tree(ACME=None, OSLO="ACME", BERGEN="ACME", ROME="ACME")
        server = make_server("local", client=tree["ACME"], organizations=[tree["OSLO"], tree["BERGEN"], tree["ROME"]])
        kept = OrganizationByServer.objects.get(organization__code="OSLO").pk

        save_server(server, organizations=[Assignment(tree["OSLO"]), Assignment(tree["BERGEN"], is_active=False)])

        rows = OrganizationByServer.objects.order_by("pk").values_list("organization__code", "is_active")
        assert list(rows) == [("OSLO", True), ("BERGEN", False)]
        assert OrganizationByServer.objects.get(organization__code="OSLO").pk == kept
        assert OrganizationByServer.history.count() == 5

    def test_tabs_that_are_not_given_stay(self):
        tree = make_tree(ACME=None, OSLO="ACME")
        server = make_server(
            "local",
            client=tree["ACME"],
            organizations=[tree["OSLO"]],
            services=[make_service("org.example.A")],
        )
        server.priority = 3

        save_server(server)

        assert (OrganizationByServer.objects.count(), ServiceByServer.objects.count()) == (1, 1)

    def test_it_refuses_another_client_while_the_old_ones_organizations_are_assigned(self):
        tree = make_tree(ACME=None, OSLO="ACME", OTHER=None)
        server = make_server("local", client=tree["ACME"], organizations=[tree["OSLO"]])
        server.client = tree["OTHER"]

        with pytest.raises(Invalid) as refusal:
            save_server(server)

        assert [error.pointer for error in refusal.value.errors] == ["/client"]
        assert MobileServer.objects.get().client == tree["ACME"]

    def test_it_refuses_an_organization_that_moved_to_another_client_meanwhile(self):
        tree = make_tree(ACME=None, OSLO="ACME", OTHER=None)
        move_organization(tree["OSLO"].pk, tree["OTHER"].pk)

        with pytest.raises(Invalid) as refusal:
            make_server("local", client=tree["ACME"], organizations=[tree["OSLO"]])

        assert [error.code for error in refusal.value.errors] == ["other_client"]
        assert not MobileServer.objects.exists()

    @pytest.mark.parametrize(
        "change",
        [
            {"key": ""},
            {"key": "CENTRAL"},
            {"name": "central"},
            {"server_type": "other"},
            {"defined_services": "some"},
            {"priority": -1},
            {"client": None},
        ],
    )
    def test_the_database_refuses_what_no_code_may_store(self, change):
        client = make_organization("ACME")
        make_server("central", client=client)
        make_server("second", client=client)

        with pytest.raises(IntegrityError), transaction.atomic():
            MobileServer.objects.filter(name="second").update(**change)

    @pytest.mark.parametrize("tab", ["organization", "service"])
    def test_the_database_refuses_the_same_row_twice(self, tab):
        tree = make_tree(ACME=None, OSLO="ACME")
        server = make_server(
            "local",
            client=tree["ACME"],
            organizations=[tree["OSLO"]],
            services=[make_service("org.example.A")],
        )
        model = OrganizationByServer if tab == "organization" else ServiceByServer
        row = model.objects.get(server=server)

        with pytest.raises(IntegrityError), transaction.atomic():
            model.objects.bulk_create([model(server=server, **{f"{tab}_id": getattr(row, f"{tab}_id")})])
