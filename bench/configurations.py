"""Chains of a given size, written straight into the database."""

from __future__ import annotations

from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from backoffice.credentials import make_credential
from organizations.models import Organization
from preferences.models import PreferenceValue
from servers.models import AgentToken, MobileServer, OrganizationByServer, ServiceByServer
from services.models import MobileService, Module
from terminals.models import Terminal, TerminalToken

SMALLEST_LARGE = 100
"""Chains with fewer organizations than this have three regions, others ten."""


def refill(organizations: int, servers: int, services: int) -> None:
    """Let the database hold a chain of that size and nothing else."""
    call_command("flush", interactive=False, verbosity=0)
    with transaction.atomic():
        fill(organizations, servers, services)
    analyze()


def analyze() -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")


def fill(organizations: int, servers: int, services: int) -> None:
    """Write one client with regions and stores, a main server, store servers, services, terminals.

    Every store server has the same number of stores, and a quarter of the services.
    """
    number_of_regions = 10 if organizations >= SMALLEST_LARGE else 3
    stores_per_region = (organizations - 1 - number_of_regions) // number_of_regions
    rows = [_node("ACME", "client", None, 1, 2 * (1 + number_of_regions * (1 + stores_per_region)), 0)]
    Organization.objects.bulk_create(rows)
    left = 2
    regions = []
    for number in range(number_of_regions):
        right = left + 2 * stores_per_region + 1
        regions.append(_node(f"R{number}", "region", rows[0], left, right, 1))
        left = right + 1
    Organization.objects.bulk_create(regions)
    stores = [
        _node(f"S{index * stores_per_region + number:05}", "store", region, region.lft + 1 + 2 * number, 0, 2)
        for index, region in enumerate(regions)
        for number in range(stores_per_region)
    ]
    for store in stores:
        store.rght = store.lft + 1
    Organization.objects.bulk_create(stores)

    module = Module.objects.create(name="org.example.bench", version="1.0")
    offered = MobileService.objects.bulk_create(
        MobileService(
            module=module,
            name=f"org.example.bench.module{number % 10}.Service{number:03}",
            routing_type="ping" if number == 0 else "failover",
        )
        for number in range(services)
    )
    defined = MobileServer.objects.bulk_create(
        MobileServer(
            client=rows[0],
            key=f"server{number:04}",
            name=f"Server {number:04}",
            server_type="store" if number else "main",
            url=f"https://server{number:04}.example/openbravo",
            priority=5 if number else 20,
            all_organizations=not number,
            all_services=not number,
            defined_services="only",
        )
        for number in range(servers)
    )
    local = defined[1:]
    OrganizationByServer.objects.bulk_create(
        OrganizationByServer(server=local[number % len(local)], organization=store)
        for number, store in enumerate(stores)
    )
    ServiceByServer.objects.bulk_create(
        ServiceByServer(server=server, service=offered[(number + step) % services])
        for number, server in enumerate(local)
        for step in range(services // 4)
    )
    PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
    Terminal.objects.bulk_create(
        Terminal(search_key=f"{store.code}-1", name=store.code, organization=store) for store in stores
    )


def more_terminals(per_store: int) -> None:
    """Give every store as many terminals, counting the one it has."""
    Terminal.objects.bulk_create(
        (
            Terminal(search_key=f"{store.code}-{number}", name=store.code, organization=store)
            for store in Organization.objects.filter(kind="store")
            for number in range(2, per_store + 1)
        ),
        batch_size=5_000,
    )


def terminal_tokens(most: int | None = None) -> list[str]:
    """Give terminals (the first `most` of them) a token that was used; return the texts they send."""
    moment = timezone.now()
    credentials = [
        (terminal, make_credential(TerminalToken.KIND)) for terminal in Terminal.objects.order_by("search_key")[:most]
    ]
    TerminalToken.objects.bulk_create(
        (
            TerminalToken(
                terminal=terminal,
                token_id=credential.id,
                digest=credential.digest,
                created_at=moment,
                first_used_at=moment,
            )
            for terminal, credential in credentials
        ),
        batch_size=5_000,
    )
    return [credential.text for _, credential in credentials]


def agent_tokens() -> list[str]:
    """Give every server's agent a token that was used; return the texts they send."""
    moment = timezone.now()
    credentials = [(server, make_credential(AgentToken.KIND)) for server in MobileServer.objects.order_by("key")]
    AgentToken.objects.bulk_create(
        AgentToken(
            server=server,
            token_id=credential.id,
            digest=credential.digest,
            created_at=moment,
            first_used_at=moment,
        )
        for server, credential in credentials
    )
    return [credential.text for _, credential in credentials]


def _node(code: str, kind: str, parent: Organization | None, left: int, right: int, level: int) -> Organization:
    return Organization(
        code=code,
        name=code,
        kind=kind,
        parent=parent,
        path=f"{parent.path} / {code}" if parent else code,
        tree_id=1,
        lft=left,
        rght=right,
        level=level,
    )
