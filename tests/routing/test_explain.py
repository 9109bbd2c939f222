import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routing.explain import explain
from routing.landscape import Assignment, Landscape, Organization, PreferenceValue, Server, Service
from tests.routing.generated import configurations, requests

ORDER, LINE = "a.Order", "a.Order.Line"
ON = PreferenceValue("multi_server_enabled", None, "Y")


def make_landscape(*servers, services=(ORDER, LINE), preferences=(ON,), inactive=()):
    parents = {"ACME": None, "NORTH": "ACME", "OSLO": "NORTH", "OTHER": None}
    return Landscape.of(
        [
            Organization(
                code,
                code.title(),
                "client" if parent is None else "store" if code == "OSLO" else "region",
                parent,
                is_active=code not in inactive,
            )
            for code, parent in parents.items()
        ],
        [Service(name, is_active=name not in inactive) for name in services],
        servers,
        preferences,
    )


def make_server(key="central", **fields):
    defaults = {"name": key, "client": "ACME", "server_type": "main", "url": f"https://{key}.example/ob"}
    return Server(**{"key": key} | defaults | fields)


def rows(*targets, is_active=True):
    return tuple(Assignment(target, is_active) for target in targets)


def only(*services):
    return {"all_services": False, "defined_services": "only", "services": rows(*services)}


def excluding(*services):
    return {"all_services": False, "defined_services": "all_excluding", "services": rows(*services)}


@pytest.mark.parametrize(
    ("fields", "expected", "words"),
    [
        ({}, (True, True, "N5"), "serves all organizations of ACME. It provides all services."),
        ({"is_active": False}, (False, False, "N2"), "The server is inactive."),
        (
            {"all_organizations": False, "organizations": rows("OTHER")},
            (False, False, "N3"),
            "assigned neither to OSLO nor to an organization above it",
        ),
        (
            {"all_organizations": False, "organizations": rows("OSLO", is_active=False)},
            (False, False, "N3"),
            "assignment to OSLO does not count",
        ),
        (
            {"all_organizations": False, "organizations": rows("OSLO")},
            (True, True, "N5"),
            "assigned to the organization itself",
        ),
        (
            {"all_organizations": False, "organizations": rows("NORTH")},
            (True, True, "N5"),
            "assigned to NORTH, which OSLO lies below",
        ),
        (only(LINE), (True, True, "N5"), f"provides {LINE}, as it is listed"),
        (only(ORDER), (True, True, "N5"), f"as it lies below {ORDER}, which is listed"),
        (only(), (True, False, "N5"), f"no row that counts covers {LINE}"),
        (excluding(ORDER), (True, False, "N5"), f"and not {LINE}, as it lies below {ORDER}"),
        (excluding(), (True, True, "N5"), f"no row that counts covers {LINE}"),
    ],
)
def test_explain_says_of_every_server_why(fields, expected, words):
    landscape = make_landscape(make_server(**fields))

    (server,) = explain(landscape, "OSLO", f"/ws/{LINE}").servers

    assert (server.is_selected, server.provides, server.rule) == expected
    assert words in server.reason


def test_explain_says_that_multi_server_is_off():
    landscape = make_landscape(make_server(), preferences=())

    explanation = explain(landscape, "OSLO", ORDER)

    assert not explanation.is_multi_server
    assert [(item.is_selected, item.provides, item.rule) for item in explanation.servers] == [(False, False, "N1")]


@pytest.mark.parametrize(
    ("request_", "service", "is_matched", "words"),
    [
        ("/ws/a.Order/1", ORDER, True, "Only a.Order is contained"),
        ("/ws/a.Order.Line", LINE, True, "a.Order.Line is the longest of the 2 names"),
        ("a.Sale a.Tale", "a.Sale", True, "a.Sale is the alphabetically first"),
        ("/ws/A.ORDER", "Generic", False, "No active service's name is contained"),
        ("", "Generic", False, "No active service's name is contained"),
    ],
)
def test_explain_says_why_a_service_won(request_, service, is_matched, words):
    landscape = make_landscape(services=(ORDER, LINE, "a.Sale", "a.Tale"))

    explanation = explain(landscape, "OSLO", request_)

    assert (explanation.service.name, explanation.is_matched, explanation.rule) == (service, is_matched, "N6")
    assert words in explanation.reason


def test_without_a_generic_service_only_servers_with_all_services_take_what_nothing_matches():
    servers = [make_server("all", priority=2), make_server("some", priority=1, **excluding())]

    explained = explain(make_landscape(*servers), "OSLO", "/other").servers

    assert [(item.server.key, item.provides, item.rule) for item in explained] == [
        ("some", False, "N6"),
        ("all", True, "N5"),
    ]


def test_servers_of_other_clients_are_not_told():
    landscape = make_landscape(make_server("ours"), make_server("theirs", client="OTHER"))

    assert [item.server.key for item in explain(landscape, "OSLO", ORDER).servers] == ["ours"]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_explain_never_contradicts_what_terminals_are_told(data):
    configuration = data.draw(configurations())
    request = data.draw(requests(configuration))
    landscape = configuration.landscape()

    for code in configuration.codes:
        explained = explain(landscape, code, request)

        assert explained.service == landscape.match(request)
        assert tuple(item.server for item in explained.servers if item.is_selected) == (
            landscape.terminal_servers(code)
        )
        assert tuple(item.server for item in explained.servers if item.provides) == (landscape.providers(code, request))
        assert all(item.reason.endswith(".") for item in explained.servers)
