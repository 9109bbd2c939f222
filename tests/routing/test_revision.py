"""Whatever changes a table of a scope moves that scope's revision, and nothing else does."""

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from preferences.models import PreferenceValue
from routing import revision
from servers.models import MobileServer, OrganizationByServer, ServerState, ServiceByServer
from services.models import MobileService
from terminals.models import Terminal, TerminalToken
from tests.factories import make_module, make_organization, make_server, make_service, make_terminal

MODELS = [(scope, label) for scope, labels in revision.SCOPES.items() for label in labels]


def fresh_row(label):
    """Return an unsaved row of a model, with what it refers to already stored."""
    client = make_organization("ACME")
    store = make_organization("OSLO", client)
    service = make_service("org.example.Order")
    server = make_server("central", client=client)
    terminal = make_terminal("OSLO-1", store)
    rows = {
        "services.MobileService": lambda: MobileService(module=make_module(), name="org.example.New"),
        "preferences.PreferenceValue": lambda: PreferenceValue(key="request_retries", value="1"),
        "servers.MobileServer": lambda: MobileServer(
            client=client, key="new", name="new", server_type="main", url="https://new.example"
        ),
        "servers.OrganizationByServer": lambda: OrganizationByServer(server=server, organization=store),
        "servers.ServiceByServer": lambda: ServiceByServer(server=server, service=service),
        "servers.ServerState": lambda: ServerState(server=server),
        "terminals.Terminal": lambda: Terminal(search_key="OSLO-2", name="OSLO-2", organization=store),
        "terminals.TerminalToken": lambda: TerminalToken(
            terminal=terminal, token_id="a" * 16, digest="d", created_at=timezone.now()
        ),
    }
    return rows[label]()


def moved_by(change):
    """Return the scopes whose revision a change moved."""
    before = revision.numbers()
    change()
    after = revision.numbers()
    return {scope for scope in after if after[scope] > before[scope]}


FLAT = [(scope, label) for scope, label in MODELS if label != "organizations.Organization"]


@pytest.mark.django_db
@pytest.mark.parametrize(("scope", "label"), FLAT, ids=[label for _, label in FLAT])
def test_every_way_of_writing_a_table_moves_its_scope_and_no_other(scope, label):
    model = apps.get_model(label)
    table = model._meta.db_table
    row = fresh_row(label)
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    column = fields[0].column

    def run(statement):
        with connection.cursor() as cursor:
            cursor.execute(statement)

    def recreate():
        copy = model(**{field.attname: getattr(row, field.attname) for field in model._meta.concrete_fields})
        copy.save(force_insert=True)
        return copy

    assert moved_by(row.save) == {scope}
    assert moved_by(row.save) == {scope}
    assert moved_by(
        lambda: model.objects.filter(pk=row.pk).update(
            **{fields[-1].attname: None} if fields[-1].null else {fields[-1].attname: getattr(row, fields[-1].attname)}
        )
    ) == {scope}
    assert moved_by(lambda: model.objects.bulk_update([row], [fields[0].name])) == {scope}
    assert moved_by(lambda: run(f'UPDATE {table} SET "{column}" = "{column}"')) == {scope}
    assert moved_by(row.__class__.objects.get(pk=row.pk).delete) == {scope}
    assert moved_by(recreate) == {scope}
    assert moved_by(lambda: model.objects.filter(pk=row.pk)._raw_delete("default")) == {scope}
    assert moved_by(lambda: model.objects.bulk_create([row])) == {scope}
    assert moved_by(lambda: run(f"DELETE FROM {table}")) == {scope}


@pytest.mark.django_db
def test_every_way_of_writing_organizations_moves_the_landscape():
    from organizations.models import Organization
    from organizations.tree import delete_organization, move_organization, update_organization

    client = make_organization("ACME")
    north = make_organization("NORTH", client, "region")

    assert moved_by(lambda: make_organization("OSLO", client)) == {"landscape"}
    oslo = Organization.objects.get(code="OSLO")
    assert moved_by(lambda: update_organization(oslo.pk, name="Oslo S")) == {"landscape"}
    assert moved_by(lambda: move_organization(oslo.pk, north.pk)) == {"landscape"}
    assert moved_by(lambda: Organization.objects.filter(pk=oslo.pk).update(is_active=False)) == {"landscape"}
    assert moved_by(lambda: delete_organization(oslo.pk)) == {"landscape"}


@pytest.mark.django_db
def test_a_change_that_is_rolled_back_moves_nothing():
    def give_up():
        with transaction.atomic():
            make_organization("ACME")
            transaction.set_rollback(True)

    assert moved_by(give_up) == set()


@pytest.mark.django_db
def test_reading_and_what_terminals_report_move_nothing():
    from terminals.models import TerminalReport

    terminal = make_terminal("OSLO-1", make_organization("OSLO", make_organization("ACME")))

    assert moved_by(lambda: list(MobileServer.objects.all())) == set()
    assert moved_by(lambda: TerminalReport.objects.create(terminal=terminal, last_seen_at=timezone.now())) == set()


@pytest.mark.django_db
def test_a_missing_trigger_is_found_and_laid_again_by_the_next_migrate():
    assert revision.missing_triggers(connection) == set()

    name = sorted(revision.expected_triggers(connection.vendor))[0]
    table = "organizations_organization" if connection.vendor == "postgresql" else ""
    name = f"{table}_moves_revision" if table else name
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TRIGGER {name}" + (f" ON {table}" if table else ""))

    assert revision.missing_triggers(connection) == {name}
    call_command("migrate", verbosity=0)
    assert revision.missing_triggers(connection) == set()


@pytest.mark.django_db
def test_reading_the_numbers_is_one_query(django_assert_num_queries):
    with django_assert_num_queries(1):
        assert set(revision.numbers()) == {"landscape", "credentials", "status"}
