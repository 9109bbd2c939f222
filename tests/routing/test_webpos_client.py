"""What an unmodified Web POS makes of its answer (reference/openbravo, sections 2.3, 2.5, 3 and 4.1)."""

from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from preferences.models import PreferenceValue
from routing.document import current_server, webpos
from servers.models import DefinedServices, ServerType
from terminals.tokens import issue_token
from tests.factories import make_server, make_service, make_terminal, make_tree
from tests.routing.generated import configurations

SERVER_MEMBERS = {
    "name": str,
    "address": str,
    "online": bool,
    "priority": int,
    "allServices": bool,
    "mainServer": bool,
    "currentServer": bool,
    "services": list,
}
SERVICE_MEMBERS = {"name": str, "type": str}
SERVICE_MEMBERS_IF_SET = {"defaultTimeout": int, "timeout": int}
TYPES = {"Failover", "Broadcast", "Ping", "Transaction"}


@dataclass(frozen=True)
class Client:
    """The original client as far as it routes: from the answer and the page's own address."""

    answer: dict
    page: str

    @property
    def servers(self):
        """Its list: the answer's, and a nameless one of its own where none is current (2.3)."""
        listed = self.answer["servers"]
        return listed if any(self.is_current(server) for server in listed) else [*listed, None]

    def is_current(self, server):
        flagged = next((one for one in self.answer["servers"] if one["currentServer"]), None)
        return server is flagged

    def address(self, server):
        """Trimmed, with a slash at the end, and with the page's scheme where it is current (4.1)."""
        address = server["address"].strip().rstrip("/") + "/"
        parts = urlsplit(address)
        return parts._replace(scheme=urlsplit(self.page).scheme).geturl() if self.is_current(server) else address

    def match(self, request):
        """Contained, case-sensitive, the longest, the earlier of two alike; else Generic (2.5)."""
        found = [service for service in self.answer["services"] if service["name"] in request]
        return (
            max(found, key=lambda service: len(service["name"])) if found else {"name": "Generic", "type": "Failover"}
        )

    def providers(self, request):
        """Whoever has all services, or lists exactly the winning one (2.5)."""
        name = self.match(request)["name"]
        return [one["name"] for one in self.answer["servers"] if one["allServices"] or name in one["services"]]


@pytest.mark.django_db
def test_every_member_of_the_answer_is_of_the_kind_that_the_original_reads(api_client):
    tree = make_tree(ACME=None, LYON="ACME")
    PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
    product = make_service("org.example.Product", default_timeout_s=5)
    make_service("org.example.OrderLoader", is_transactional=True, timeout_s=7)
    make_service("org.example.Old", is_active=False)
    make_server("Central", client=tree["ACME"], url="https://central.example/openbravo", server_type=ServerType.MAIN)
    box = make_server(
        "Box",
        client=tree["ACME"],
        url="http://box.example:8080/openbravo",
        server_type=ServerType.STORE,
        priority=5,
        all_services=False,
        defined_services=DefinedServices.ONLY,
    )
    box.services_by_server.create(service=product)
    token = issue_token(make_terminal("LY-1", tree["LYON"]), timezone.now()).text

    answer = api_client.get(
        "/api/v1/terminal/webpos", HTTP_AUTHORIZATION=f"Bearer {token}", HTTP_ORIGIN="https://central.example"
    ).json()

    assert set(answer) == {"servers", "services", "permissions"}
    for server in answer["servers"]:
        assert {name: type(value) for name, value in server.items()} == SERVER_MEMBERS
        assert server["online"] is True
    for service in answer["services"]:
        kinds = {name: type(value) for name, value in service.items()}
        assert kinds == SERVICE_MEMBERS | {name: int for name in SERVICE_MEMBERS_IF_SET if name in service}
        assert service["type"] in TYPES
    assert [(one["name"], one["mainServer"], one["currentServer"], one["services"]) for one in answer["servers"]] == [
        ("Box", False, False, ["org.example.Product"]),
        ("Central", True, True, []),
    ]
    assert answer["services"] == [
        {"name": "org.example.OrderLoader", "type": "Transaction", "timeout": 7},
        {"name": "org.example.Product", "type": "Failover", "defaultTimeout": 5},
    ]
    assert all(name.startswith("OBMOBC_") for name in answer["permissions"])
    client = Client(answer, "https://central.example/openbravo/web/pos")
    assert [client.address(one) for one in client.servers] == [
        "http://box.example:8080/openbravo/",
        "https://central.example/openbravo/",
    ]


@settings(max_examples=80, deadline=None)
@given(generated=configurations(), request=st.sampled_from(["a.Order", "ab/Order", "x", "éOrder.a", "AB"]))
def test_the_original_routes_as_the_landscape_does(generated, request):
    landscape = generated.landscape()

    for code in landscape.organizations:
        client = Client(webpos(landscape, code, current_server(landscape, code, "")), "https://one.example/ob")
        wanted = [request, *(service.name for service in landscape.active_services)]
        for one in wanted:
            assert client.match(one)["name"] == landscape.match(one).name
            assert client.providers(one) == [server.name for server in landscape.providers(code, one)]


@settings(max_examples=80, deadline=None)
@given(generated=configurations())
def test_one_server_is_current_so_the_original_adds_none_of_its_own(generated):
    landscape = generated.landscape()

    for code in landscape.organizations:
        client = Client(webpos(landscape, code, current_server(landscape, code, "")), "https://one.example/ob")
        servers = client.answer["servers"]
        assert sum(server["currentServer"] for server in servers) == min(len(servers), 1)
        assert client.servers == (servers or [None])
