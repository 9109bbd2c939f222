"""The documents' exact shape and bytes."""

import json
from datetime import UTC, datetime

import pytest

from routing.document import (
    Document,
    ServerState,
    canonical_json,
    configuration,
    current_server,
    status,
    webpos,
)
from routing.landscape import Service
from tests.routing.makers import make_landscape, make_server

LOADER = "org.openbravo.retail.posterminal.OrderLoader"
PRODUCT = "org.openbravo.retail.posterminal.master.Product"
SERVICES = [
    Service(LOADER, is_transactional=True, default_timeout_s=10),
    Service(PRODUCT, default_timeout_s=5, timeout_s=7),
    Service("logout", routing_type="broadcast"),
    Service("orders", routing_type="broadcast", is_transactional=True),
    Service("alive", routing_type="ping"),
]


@pytest.fixture
def landscape():
    return make_landscape(
        organizations={"ACME": None, "NORTH": "ACME", "LYON": "NORTH"},
        services=SERVICES,
        servers=[
            make_server("Central", key="central", priority=10, url="https://central.acme.example/openbravo"),
            make_server(
                "LyonBox",
                key="LYON",
                server_type="store",
                priority=5,
                organizations={"NORTH"},
                services={PRODUCT},
                defined_services="only",
                url="http://lyon.acme.example:8080/openbravo",
            ),
        ],
    )


def test_configuration_has_exactly_the_documented_members(landscape):
    document = configuration(landscape, "LYON", ["https://booster-a.example"])

    assert document == {
        "format": 1,
        "organization": {"code": "LYON", "name": "Lyon", "path": ["ACME", "NORTH", "LYON"]},
        "multi_server": True,
        "preferences": {
            "ping_interval_ms": 300_000,
            "token_refresh_interval_ms": 1_800_000,
            "token_max_age_ms": 43_200_000,
            "request_retries": 0,
            "request_timeout_s": 15,
            "poll_interval_s": 60,
        },
        "servers": [
            {
                "key": "LYON",
                "name": "LyonBox",
                "url": "http://lyon.acme.example:8080/openbravo",
                "type": "store",
                "priority": 5,
                "all_services": False,
                "services": [PRODUCT],
            },
            {
                "key": "central",
                "name": "Central",
                "url": "https://central.acme.example/openbravo",
                "type": "main",
                "priority": 10,
                "all_services": True,
                "services": [],
            },
        ],
        "services": [
            {"name": "alive", "routing_type": "ping", "transactional": False, "timeout_s": None},
            {"name": "logout", "routing_type": "broadcast", "transactional": False, "timeout_s": None},
            {"name": "orders", "routing_type": "broadcast", "transactional": True, "timeout_s": None},
            {"name": LOADER, "routing_type": "failover", "transactional": True, "timeout_s": 10},
            {"name": PRODUCT, "routing_type": "failover", "transactional": False, "timeout_s": 7},
        ],
        "boosters": ["https://booster-a.example"],
    }


def test_the_preference_off_empties_servers_and_keeps_services(landscape):
    off = make_landscape(
        organizations={"ACME": None, "LYON": "ACME"}, services=SERVICES, servers=[make_server("main")], preferences={}
    )

    document = configuration(off, "LYON", [])

    assert (document["multi_server"], document["servers"], len(document["services"])) == (False, [], 5)
    assert status(off, "LYON", {}) == {"format": 1, "servers": []}
    assert webpos(off, "LYON", "")["servers"] == []


def test_status_lists_the_servers_in_calling_order_with_since(landscape):
    since = datetime(2026, 11, 27, 8, 30, 5, 999_999, tzinfo=UTC)

    document = status(landscape, "LYON", {"central": ServerState("transition_to_offline", since)})

    assert document == {
        "format": 1,
        "servers": [
            {"key": "LYON", "status": "offline", "since": None},
            {"key": "central", "status": "transition_to_offline", "since": "2026-11-27T08:30:05Z"},
        ],
    }


def test_webpos_answers_in_the_shape_of_the_original(landscape):
    document = webpos(landscape, "LYON", "central")

    assert document["servers"] == [
        {
            "name": "LyonBox",
            "address": "http://lyon.acme.example:8080/openbravo",
            "online": True,
            "priority": 5,
            "allServices": False,
            "mainServer": False,
            "currentServer": False,
            "services": [PRODUCT],
        },
        {
            "name": "Central",
            "address": "https://central.acme.example/openbravo",
            "online": True,
            "priority": 10,
            "allServices": True,
            "mainServer": True,
            "currentServer": True,
            "services": [],
        },
    ]
    assert document["services"] == [
        {"name": "alive", "type": "Ping"},
        {"name": "logout", "type": "Broadcast"},
        {"name": "orders", "type": "Broadcast"},
        {"name": LOADER, "type": "Transaction", "defaultTimeout": 10},
        {"name": PRODUCT, "type": "Failover", "defaultTimeout": 5, "timeout": 7},
    ]
    assert document["permissions"] == {
        "OBMOBC_MultiServerArchitecture": True,
        "OBMOBC_RequestRouterPingTime": 300_000,
        "OBMOBC_RequestRouterTokenRefreshInterval": 1_800_000,
        "OBMOBC_NumberOfRequestRetries": 0,
        "OBMOBC_DefaultRequestTimeout": 15,
        "OBMOBC_SynchronizedMode": False,
    }
    assert list(document) == ["servers", "services", "permissions"]


@pytest.mark.parametrize(
    ("origin", "current"),
    [
        ("https://central.acme.example", "central"),
        ("http://lyon.acme.example:8080", "LYON"),
        ("http://lyon.acme.example", "LYON"),
        ("https://elsewhere.example", "LYON"),
        ("", "LYON"),
    ],
)
def test_the_current_server_is_the_one_at_the_pages_origin_else_the_first(landscape, origin, current):
    assert current_server(landscape, "LYON", origin) == current


def test_canonical_json_is_utf_8_without_blanks_and_escapes():
    assert canonical_json({"name": "Größe №1 店", "n": None}) == '{"name":"Größe №1 店","n":null}'.encode()


def test_the_tag_is_made_from_the_identity_bytes_and_gzip_is_repeatable():
    first, second = Document.of(b'{"a":1}'), Document.of(b'{"a":1}')

    assert first == second
    assert Document.of(b'{"a":2}').tag != first.tag


def test_equal_configurations_give_equal_bytes_in_whatever_order_they_were_read():
    servers = [make_server(name, services={"a", "c"}, defined_services="only") for name in "xyz"]
    services = [Service(name) for name in "abc"]
    preferences = {"multi_server_enabled": "Y", ("request_retries", "LYON"): "2"}

    one = make_landscape(servers=servers, services=services, preferences=preferences)
    other = make_landscape(
        organizations={"LYON": "ACME", "ACME": None},
        servers=servers[::-1],
        services=services[::-1],
        preferences=dict(reversed(preferences.items())),
    )

    assert canonical_json(configuration(one, "LYON", [])) == canonical_json(configuration(other, "LYON", []))
    assert json.loads(canonical_json(configuration(one, "LYON", [])))["preferences"]["request_retries"] == 2
