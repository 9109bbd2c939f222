"""The demo installation: a client with regions, stores, servers and terminals to look around in.

Source: reference/omnileads, OML-51.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import Group

from accounts.administrators import create_administrator, one_time_password
from accounts.models import User
from accounts.scope import STORE_OPERATOR
from backoffice.refusals import Conflict
from organizations.models import Organization, OrganizationKind
from organizations.tree import create_organization, tree_write
from preferences.models import PreferenceValue
from servers.definition import Assignment, save_server
from servers.models import DefinedServices, MobileServer, ServerType
from services.manifest import install_manifest, standard_manifests
from services.models import MobileService, Module
from terminals.models import Terminal

CLIENT = "ACME"
AGENT_PASSWORD = "agent1*"  # noqa: S105 - the manual's; never given in production
RETAIL = "org.openbravo.retail.posterminal"

# Region code and name, then its stores: code, name, number of terminals.
REGIONS: dict[tuple[str, str], tuple[tuple[str, str, int], ...]] = {
    ("FRANCE", "France"): (("LYON", "Lyon", 3), ("NANTES", "Nantes", 2), ("LILLE", "Lille", 2)),
    ("NORDICS", "Nordics"): (("OSLO", "Oslo", 3), ("BERGEN", "Bergen", 2), ("MALMO", "Malmö", 2)),
    ("IBERIA", "Iberia"): (("PORTO", "Porto", 2), ("SEVILLA", "Sevilla", 3)),
}


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """A server of the demo; without organizations or services it is for all of them."""

    key: str
    name: str
    server_type: ServerType
    priority: int
    organizations: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    defined_services: DefinedServices = DefinedServices.ALL_EXCLUDING


SERVERS = (
    ServerPlan("central", "Central", ServerType.MAIN, 10),
    ServerPlan("central_2", "Central 2", ServerType.MAIN, 20),
    ServerPlan("lyon", "Lyon store server", ServerType.STORE, 5, organizations=("LYON",)),
    ServerPlan(
        "nordics_data",
        "Nordics master data",
        ServerType.STORE,
        7,
        organizations=("NORDICS",),
        services=(f"{RETAIL}.master",),
        defined_services=DefinedServices.ONLY,
    ),
    ServerPlan(
        "iberia",
        "Iberia store server",
        ServerType.STORE,
        5,
        organizations=("PORTO", "SEVILLA"),
        services=(f"{RETAIL}.stock.OtherStoresDetailedStock", f"{RETAIL}.PaidReceiptsHeader"),
    ),
)


class OtherDataPresent(Conflict):
    type = "/problems/other-data-present"
    title = "The installation holds other data"


@dataclass(frozen=True, slots=True)
class Filled:
    """What filling did: `is_new` is false when the demo was there already; `people` says who may log in."""

    is_new: bool
    people: str = ""


def fill(*, force: bool = False) -> Filled:
    """Load the demo in one transaction; a second time changes nothing.

    Users that exist keep their passwords. Raises OtherDataPresent where anything else was
    configured, unless `force` is set.
    """
    with tree_write():
        if Organization.objects.filter(code=CLIENT).exists():
            return Filled(is_new=False)
        if not force and any(
            model._default_manager.exists() for model in (Organization, Module, PreferenceValue, MobileServer)
        ):
            raise OtherDataPresent("This installation holds other data; --force adds the demo to it.")
        for path in standard_manifests():
            install_manifest(path.read_bytes())
        organizations = _organizations()
        for plan in SERVERS:
            _server(plan, organizations)
        PreferenceValue.objects.update_or_create(key="multi_server_enabled", organization=None, defaults={"value": "Y"})
        return Filled(is_new=True, people=" ".join([_admin(), _agent(organizations["FRANCE"])]).strip())


def _organizations() -> dict[str, Organization]:
    client = create_organization(code=CLIENT, name="Acme Retail", kind=OrganizationKind.CLIENT)
    made = {CLIENT: client}
    for (code, name), stores in REGIONS.items():
        region = create_organization(code=code, name=name, kind=OrganizationKind.REGION, parent_id=client.pk)
        made[code] = region
        for store_code, store_name, tills in stores:
            store = create_organization(
                code=store_code, name=store_name, kind=OrganizationKind.STORE, parent_id=region.pk
            )
            made[store_code] = store
            for number in range(1, tills + 1):
                # A third till is a spare: kept, but not in use.
                Terminal.objects.create(
                    search_key=f"{store_code}-{number}",
                    name=f"{store_name} till {number}",
                    organization=store,
                    is_active=number < 3,  # noqa: PLR2004
                )
    return made


def _server(plan: ServerPlan, organizations: dict[str, Organization]) -> None:
    save_server(
        MobileServer(
            client=organizations[CLIENT],
            key=plan.key,
            name=plan.name,
            server_type=plan.server_type,
            url=f"https://{plan.key.replace('_', '-')}.acme.example/openbravo",
            priority=plan.priority,
            all_organizations=not plan.organizations,
            all_services=not plan.services,
            defined_services=plan.defined_services,
        ),
        organizations=[Assignment(organizations[code]) for code in plan.organizations],
        services=[Assignment(MobileService.objects.get(name=name)) for name in plan.services],
    )


def _admin() -> str:
    if User.objects.filter(username="admin").exists():
        return ""
    password = one_time_password()
    create_administrator("admin", password, must_change_password=True)
    return f"User admin, one-time password {password}, to be changed at the first login."


def _agent(region: Organization) -> str:
    if User.objects.filter(username="agent").exists():
        return ""
    password = one_time_password() if settings.IS_PRODUCTION else AGENT_PASSWORD
    agent = User.objects.create_user(
        "agent", password=password, is_staff=True, must_change_password=settings.IS_PRODUCTION
    )
    agent.groups.add(Group.objects.get(name=STORE_OPERATOR))
    agent.organizations.add(region)
    return f"Store operator agent ({region.name}), password {password}."
