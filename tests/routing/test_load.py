import threading

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from preferences.models import PreferenceValue
from routing import load, revision
from routing.landscape import Assignment, Landscape, Organization, Server, Service
from routing.landscape import PreferenceValue as Preference
from routing.load import load_landscape
from servers.definition import Assignment as Row
from servers.definition import save_server
from servers.models import MobileServer
from tests.factories import make_organization, make_server, make_service, make_terminal, make_tree

pytestmark = pytest.mark.django_db


def configure(size):
    """Fill every table with `size` rows per kind."""
    client = make_organization("ACME")
    for number in range(size):
        store = make_organization(f"S{number}", client)
        service = make_service(f"org.example.S{number}")
        make_server(f"server {number}", client=client, organizations=[store], services=[service])
        make_terminal(f"T{number}", store)
        PreferenceValue.objects.create(key="request_retries", organization=store, value="1")


def test_load_reads_every_table_as_it_stands():
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH")
    order = make_service("org.example.Order", is_transactional=True, default_timeout_s=10, timeout_s=30)
    logout = make_service("org.example.Logout", routing_type="broadcast", is_active=False)
    server = make_server(
        "local", client=tree["ACME"], server_type="store", priority=5, is_active=False, defined_services="only"
    )
    server.all_organizations = server.all_services = False
    save_server(
        server,
        organizations=[Row(tree["OSLO"], is_active=False), Row(tree["NORTH"])],
        services=[Row(order), Row(logout, is_active=False)],
    )
    PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
    PreferenceValue.objects.create(key="request_retries", organization=tree["OSLO"], value="broken")

    assert load_landscape() == Landscape.of(
        organizations=[
            Organization("ACME", "Acme", "client"),
            Organization("NORTH", "North", "region", "ACME"),
            Organization("OSLO", "Oslo", "store", "NORTH"),
        ],
        services=[
            Service("org.example.Order", "failover", True, 10, 30),
            Service("org.example.Logout", "broadcast", is_active=False),
        ],
        servers=[
            Server(
                key="local",
                name="local",
                client="ACME",
                server_type="store",
                url="https://local.example/openbravo",
                priority=5,
                all_organizations=False,
                all_services=False,
                defined_services="only",
                organizations=(Assignment("NORTH"), Assignment("OSLO", is_active=False)),
                services=(
                    Assignment("org.example.Logout", is_active=False),
                    Assignment("org.example.Order"),
                ),
                is_active=False,
            )
        ],
        preferences=[
            Preference("multi_server_enabled", None, "Y"),
            Preference("request_retries", "OSLO", "broken"),
        ],
    )


@pytest.mark.parametrize("size", [1, 3])
def test_load_makes_the_same_number_of_queries_whatever_the_size(size, django_assert_num_queries):
    configure(size)

    with django_assert_num_queries(8):
        load_landscape()


def test_every_table_that_load_reads_moves_the_landscape():
    configure(1)

    with CaptureQueriesContext(
        connection,
    ) as queries:
        load_landscape()

    watched = {f"{table}" for table in scope_tables(revision.LANDSCAPE)} | {"routing_revision"}
    all_tables = connection.introspection.table_names()
    read = {table for query in queries.captured_queries for table in all_tables if f'"{table}"' in query["sql"]}
    assert read == watched


def scope_tables(scope):
    from django.apps import apps

    return [apps.get_model(label)._meta.db_table for label in revision.SCOPES[scope]]


def test_what_appears_while_load_reads_makes_it_read_again(monkeypatch):
    client = make_organization("ACME")
    read = load.MobileService.objects.order_by

    def read_while_somebody_writes():
        if not load.MobileServer.objects.exists():
            store = make_organization("OSLO", client)
            make_server("local", client=client, organizations=[store])
        return read()

    monkeypatch.setattr(load.MobileService.objects, "order_by", read_while_somebody_writes)

    landscape = load_landscape()

    assert [server.key for server in landscape.servers_for("OSLO")] == ["local"]


@pytest.mark.django_db(transaction=True)
def test_a_landscape_is_of_one_moment_while_somebody_keeps_writing():
    client = make_organization("ACME")
    for name in ("one", "two"):
        make_server(name, client=client, priority=0)
    stop = threading.Event()
    failures = []

    def write():
        number = 0
        try:
            while not stop.is_set():
                number += 1
                with transaction.atomic():
                    for server in MobileServer.objects.order_by("pk"):
                        MobileServer.objects.filter(pk=server.pk).update(priority=number)
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = [{server.priority for server in load_landscape().servers.values()} for _ in range(40)]
    finally:
        stop.set()
        writer.join()

    assert failures == []
    assert {len(priorities) for priorities in seen} == {1}
    assert len(set.union(*seen)) > 1
