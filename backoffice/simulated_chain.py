"""The chain of a simulation, written into an installation of its own that holds nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.utils import timezone

from organizations.models import OrganizationKind
from organizations.tree import create_organization
from preferences.models import PreferenceValue
from servers.definition import Assignment, save_server
from servers.models import DefinedServices, MobileServer, ServerType
from services.manifest import install_manifest, standard_manifests
from services.models import MobileService
from terminals.activation import create_activation_code
from terminals.models import Terminal

RETAIL = "org.openbravo.retail.posterminal"
PREFERENCES = {"multi_server_enabled": "Y", "ping_interval_ms": "60000", "request_timeout_s": "5"}


def fill(mains: Mapping[str, str], stores: Mapping[str, tuple[str, str]], tills: Mapping[str, Sequence[str]]) -> str:
    """Write main servers (address by key), store servers (key and address by store) and terminals (by store).

    Store servers answer queries for their store; tickets go to the main servers. Returns the terminals'
    activation codes as JSON.
    """
    for path in standard_manifests():
        install_manifest(path.read_bytes())
    client = create_organization(code="SIM", name="Simulated chain", kind=OrganizationKind.CLIENT)
    for priority, (key, url) in enumerate(mains.items(), start=1):
        save_server(_server(client, key, url, ServerType.MAIN, priority=priority * 10))
    codes: dict[str, Any] = {}
    master_data = MobileService.objects.filter(name__startswith=f"{RETAIL}.master.").order_by("name")
    for code, (key, url) in stores.items():
        store = create_organization(code=code, name=code.title(), kind=OrganizationKind.STORE, parent_id=client.pk)
        restricted = {"all_organizations": False, "all_services": False, "defined_services": DefinedServices.ONLY}
        save_server(
            _server(client, key, url, ServerType.STORE, priority=5, **restricted),
            organizations=[Assignment(store)],
            services=[Assignment(service) for service in master_data],
        )
        for name in tills[code]:
            terminal = Terminal.objects.create(search_key=name, name=name, organization=store)
            codes[name] = create_activation_code(terminal, moment=timezone.now()).code
    for key, value in PREFERENCES.items():
        PreferenceValue.objects.create(key=key, value=value)
    return json.dumps(codes)


def _server(client: Any, key: str, url: str, kind: ServerType, **fields: Any) -> MobileServer:
    return MobileServer(
        client=client,
        key=key,
        name=key,
        url=url,
        server_type=kind,
        ping_url=f"{url}/ping",
        probe_interval_s=5,
        probe_timeout_s=1,
        **fields,
    )
