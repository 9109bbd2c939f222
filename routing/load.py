"""The only place that reads the configuration from the database into a `Landscape`."""

from __future__ import annotations

from collections import defaultdict

from django.db import transaction

from organizations.models import Organization as OrganizationRow
from preferences.models import PreferenceValue as PreferenceRow
from routing import revision
from routing.landscape import Assignment, Landscape, Organization, PreferenceValue, Server, Service
from routing.models import Revision
from servers.models import MobileServer, OrganizationByServer, ServiceByServer
from services.models import MobileService

OPTIMISTIC_READS = 3


def load_landscape() -> Landscape:
    """Read the whole configuration, in a number of queries that does not depend on its size."""
    return load_revisioned()[1]


def load_revisioned() -> tuple[int, Landscape]:
    """Return the landscape together with the revision it belongs to.

    Every committed change moves the revision, so rows read between two equal revisions are of one
    moment. Where writers keep moving it, the last read holds the revision's row: they wait for it.
    """
    for _ in range(OPTIMISTIC_READS):
        before = revision.numbers()[revision.LANDSCAPE]
        try:
            landscape = _read()
        except KeyError:
            continue  # a row names what was created after its own table had been read
        if revision.numbers()[revision.LANDSCAPE] == before:
            return before, landscape
    with transaction.atomic():
        Revision.objects.select_for_update().filter(scope=revision.LANDSCAPE).first()
        return revision.numbers()[revision.LANDSCAPE], _read()


def _read() -> Landscape:
    codes: dict[int, str] = {}
    organization_rows = OrganizationRow.objects.order_by().values_list(
        "pk", "code", "name", "kind", "parent_id", "is_active"
    )
    organization_rows = list(organization_rows)
    for pk, code, *_ in organization_rows:
        codes[pk] = code
    names: dict[int, str] = {}
    services: list[Service] = []
    for (
        pk,
        name,
        routing_type,
        is_transactional,
        default_timeout_s,
        timeout_s,
        is_active,
    ) in MobileService.objects.order_by().values_list(
        "pk", "name", "routing_type", "is_transactional", "default_timeout_s", "timeout_s", "is_active"
    ):
        names[pk] = name
        services.append(Service(name, routing_type, is_transactional, default_timeout_s, timeout_s, is_active))
    organizations_of: defaultdict[int, list[Assignment]] = defaultdict(list)
    for server_id, organization_id, is_active in OrganizationByServer.objects.order_by().values_list(
        "server_id", "organization_id", "is_active"
    ):
        organizations_of[server_id].append(Assignment(codes[organization_id], is_active))
    services_of: defaultdict[int, list[Assignment]] = defaultdict(list)
    for server_id, service_id, is_active in ServiceByServer.objects.order_by().values_list(
        "server_id", "service_id", "is_active"
    ):
        services_of[server_id].append(Assignment(names[service_id], is_active))
    return Landscape.of(
        organizations=(
            Organization(code, name, kind, codes.get(parent_id) if parent_id else None, is_active)
            for _, code, name, kind, parent_id, is_active in organization_rows
        ),
        services=services,
        servers=(
            Server(
                key=key,
                name=name,
                client=codes[client_id],
                server_type=server_type,
                url=url,
                priority=priority,
                all_organizations=all_organizations,
                all_services=all_services,
                defined_services=defined_services,
                organizations=_sorted(organizations_of[pk]),
                services=_sorted(services_of[pk]),
                is_active=is_active,
            )
            for (
                pk,
                key,
                name,
                client_id,
                server_type,
                url,
                priority,
                all_organizations,
                all_services,
                defined_services,
                is_active,
            ) in MobileServer.objects.order_by().values_list(
                "pk",
                "key",
                "name",
                "client_id",
                "server_type",
                "url",
                "priority",
                "all_organizations",
                "all_services",
                "defined_services",
                "is_active",
            )
        ),
        preferences=(
            PreferenceValue(key, codes[organization_id] if organization_id else None, value)
            for key, organization_id, value in PreferenceRow.objects.order_by().values_list(
                "key", "organization_id", "value"
            )
        ),
    )


def _sorted(assignments: list[Assignment]) -> tuple[Assignment, ...]:
    """Return assignments in an order that does not depend on the database."""
    return tuple(sorted(assignments, key=lambda row: (row.target, row.is_active)))
