"""The only place that reads the configuration from the database into a `Landscape`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from django.db import transaction

from organizations.models import Organization as OrganizationRow
from preferences.models import PreferenceValue as PreferenceRow
from routing import revision
from routing.landscape import Assignment, Landscape, Organization, OrganizationCode, PreferenceValue, Server, Service
from routing.models import Revision
from servers.models import MobileServer, OrganizationByServer, ServiceByServer
from services.models import MobileService

OPTIMISTIC_READS = 3

SERVICE_COLUMNS = ("pk", "name", "routing_type", "is_transactional", "default_timeout_s", "timeout_s", "is_active")
SERVER_COLUMNS = (
    "key",
    "name",
    "server_type",
    "url",
    "priority",
    "all_organizations",
    "all_services",
    "defined_services",
    "is_active",
)


def load_landscape() -> Landscape:
    """Read the whole configuration, in a number of queries that does not depend on its size."""
    return load().landscape


class Loaded(NamedTuple):
    """A landscape, the revision it belongs to, and the codes of its organizations by row id."""

    revision: int
    landscape: Landscape
    organization_codes: dict[int, OrganizationCode]


def load() -> Loaded:
    """Return the landscape together with the revision it belongs to.

    Every committed change moves the revision, so rows read between two equal revisions are of one
    moment. Where writers keep moving it, the last read holds the revision's row: they wait for it.
    """
    for _ in range(OPTIMISTIC_READS):
        before = revision.numbers()[revision.LANDSCAPE]
        try:
            landscape, codes = _read()
        except KeyError:
            continue  # a row names what was created after its own table had been read
        if revision.numbers()[revision.LANDSCAPE] == before:
            return Loaded(before, landscape, codes)
    with transaction.atomic():
        Revision.objects.select_for_update().filter(scope=revision.LANDSCAPE).first()
        return Loaded(revision.numbers()[revision.LANDSCAPE], *_read())


def _read() -> tuple[Landscape, dict[int, OrganizationCode]]:
    organizations = list(
        OrganizationRow.objects.order_by().values_list("pk", "code", "name", "kind", "parent_id", "is_active")
    )
    codes = {pk: code for pk, code, *_ in organizations}
    services = {pk: Service(*values) for pk, *values in MobileService.objects.order_by().values_list(*SERVICE_COLUMNS)}
    preferences = PreferenceRow.objects.order_by().values_list("key", "organization_id", "value")
    landscape = Landscape.of(
        organizations=(
            Organization(code, name, kind, codes.get(parent_id) if parent_id else None, is_active)
            for _, code, name, kind, parent_id, is_active in organizations
        ),
        services=services.values(),
        servers=_servers(codes, {pk: service.name for pk, service in services.items()}),
        preferences=(
            PreferenceValue(key, codes[organization_id] if organization_id else None, value)
            for key, organization_id, value in preferences
        ),
    )
    return landscape, codes


def _servers(codes: dict[int, str], service_names: dict[int, str]) -> Iterator[Server]:
    organizations = _assignments(OrganizationByServer, "organization_id", codes)
    services = _assignments(ServiceByServer, "service_id", service_names)
    for pk, client_id, *values in MobileServer.objects.order_by().values_list("pk", "client_id", *SERVER_COLUMNS):
        yield Server(
            client=codes[client_id],
            organizations=organizations.get(pk, ()),
            services=services.get(pk, ()),
            **dict(zip(SERVER_COLUMNS, values, strict=True)),
        )


def _assignments(
    model: type[OrganizationByServer] | type[ServiceByServer], column: str, names: dict[int, str]
) -> dict[int, tuple[Assignment, ...]]:
    """Return the rows of a tab by server, in an order that does not depend on the database."""
    found: defaultdict[int, list[Assignment]] = defaultdict(list)
    rows = model._default_manager.order_by().values_list("server_id", column, "is_active")
    for server_id, target_id, is_active in rows:
        found[server_id].append(Assignment(names[target_id], is_active))
    return {
        server_id: tuple(sorted(assignments, key=lambda row: row.target)) for server_id, assignments in found.items()
    }
