"""The landscape and the oracle agree on thousands of generated configurations."""

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from preferences.registry import DEFINITIONS
from routing import document
from routing.checks import checks
from tests.routing import oracle
from tests.routing.generated import NUMBER_KEYS, bounds, configurations, requests

BOOSTERS = ("https://booster-a.example", "https://booster-b.example")


def keys(servers):
    return [server.key for server in servers]


@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_the_landscape_agrees_with_the_oracle(data):
    configuration = data.draw(configurations())
    request = data.draw(requests(configuration))
    landscape = configuration.landscape()

    for code in configuration.codes:
        check_selection(configuration, landscape, code)
        check_providers(configuration, landscape, code, request)
    for code in [None, *configuration.codes]:
        check_preferences(configuration, landscape, code)
    for server in configuration.servers:
        check_services(configuration, landscape, server)
        check_stores(configuration, landscape, server)
    check_match(configuration, landscape, request)


def check_selection(configuration, landscape, code):
    organizations, servers = configuration.organizations, configuration.servers
    handed_out = oracle.handed_out(organizations, servers, configuration.preferences, code)

    assert list(landscape.lineage(code)) == oracle.ancestors(organizations, code)
    assert keys(landscape.servers_for(code)) == oracle.selected(organizations, servers, code)
    assert keys(landscape.terminal_servers(code)) == handed_out
    assert landscape.is_multi_server(code) is bool(handed_out)


def check_providers(configuration, landscape, code, request):
    by_key = {server.key: server for server in configuration.servers}
    winner = oracle.winner(configuration.services, request)

    assert keys(landscape.providers(code, request)) == [
        key
        for key in oracle.handed_out(
            configuration.organizations, configuration.servers, configuration.preferences, code
        )
        if oracle.provided(configuration.services, by_key[key], winner)
    ]


def check_preferences(configuration, landscape, code):
    for key in NUMBER_KEYS:
        effective = landscape.preference(key, code)
        assert (effective.value, effective.source) == oracle.effective(
            configuration.organizations, configuration.preferences, bounds(key), key, code
        )
    switch = landscape.preference("multi_server_enabled", code)
    assert switch.value is oracle.is_enabled(configuration.preferences)


def check_services(configuration, landscape, server):
    for name in [*(service.name for service in configuration.services), "Generic", "unknown"]:
        assert landscape.provides(server, name) is oracle.provided(configuration.services, server, name)
    assert list(landscape.services_of(server)) == oracle.listed(configuration.services, server)


def check_stores(configuration, landscape, server):
    assert list(landscape.stores_served_by(server)) == sorted(
        organization.code
        for organization in configuration.organizations
        if organization.kind == "store" and oracle.serves(configuration.organizations, server, organization.code)
    )


def check_match(configuration, landscape, request):
    active = {service.name: service for service in configuration.services if service.is_active}
    matched = landscape.match(request)

    assert matched.name == oracle.winner(configuration.services, request)
    if matched.name in active:
        assert matched == active[matched.name]
    else:
        assert (matched.routing_type, matched.is_transactional) == ("failover", False)


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_documents_say_what_the_oracle_says_whatever_order_the_lists_are_in(data):
    configuration = data.draw(configurations())
    shuffled = type(configuration)(
        data.draw(st.permutations(configuration.organizations)),
        data.draw(st.permutations(configuration.services)),
        data.draw(st.permutations(configuration.servers)),
        configuration.preferences,
    )
    carried = {item.key: bounds(item.key) for item in DEFINITIONS if item.in_configuration}

    for code in configuration.codes:
        written = document.configuration(configuration.landscape(), code, BOOSTERS)
        again = document.configuration(shuffled.landscape(), code, BOOSTERS)

        assert document.canonical_json(written) == document.canonical_json(again)
        assert written == oracle.document(
            configuration.organizations,
            configuration.services,
            configuration.servers,
            configuration.preferences,
            code,
            carried,
            BOOSTERS,
        )


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_move_changes_exactly_the_stores_whose_routing_differs(data):
    configuration = data.draw(configurations())
    movable = [item.code for item in configuration.organizations if item.parent is not None]
    assume(movable)
    moved = data.draw(st.sampled_from(movable))
    target = data.draw(st.sampled_from(configuration.codes))
    landscape = configuration.landscape()

    after = landscape.with_parent(moved, target)

    assert list(landscape.changed_stores(after)) == sorted(
        item.code
        for item in configuration.organizations
        if item.kind == "store" and told(landscape, item.code) != told(after, item.code)
    )
    assert {code for code in landscape.organizations if landscape.path(code) != after.path(code)} <= set(
        landscape.subtree(moved)
    )


def told(landscape, code):
    """Return what the terminals of a store are told, without the names of where it lies."""
    written = document.configuration(landscape, code, BOOSTERS)
    webpos = document.webpos(landscape, code, document.current_server(landscape, code, ""))
    return {**written, "organization": None}, webpos


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(configurations())
def test_checks_survive_any_configuration_and_find_exactly_the_services_without_provider(configuration):
    landscape = configuration.landscape()
    stores = [item.code for item in configuration.organizations if item.kind == "store"]

    findings = checks(landscape, stores)

    by_key = {server.key: server for server in configuration.servers}
    expected = set()
    for code in stores:
        handed_out = oracle.handed_out(
            configuration.organizations, configuration.servers, configuration.preferences, code
        )
        if handed_out and oracle.is_active(configuration.organizations, code):
            expected |= {
                (code, service.name)
                for service in configuration.services
                if service.is_active
                and not any(oracle.provided(configuration.services, by_key[key], service.name) for key in handed_out)
            }
    assert {(item.organization, item.service) for item in findings if item.rule == "K5"} == expected
    assert {item.organization for item in findings} <= {None, *landscape.organizations}
    assert {item.server for item in findings} <= {None, *landscape.servers}
