"""The landscape and the oracle agree on thousands of generated configurations."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.routing import oracle
from tests.routing.generated import NUMBER_KEYS, bounds, configurations, requests


def keys(servers):
    return [server.key for server in servers]


@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
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


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_the_order_of_the_lists_changes_nothing(data):
    configuration = data.draw(configurations())
    shuffled = type(configuration)(
        data.draw(st.permutations(configuration.organizations)),
        data.draw(st.permutations(configuration.services)),
        data.draw(st.permutations(configuration.servers)),
        configuration.preferences,
    )
    request = data.draw(requests(configuration))

    landscape, again = configuration.landscape(), shuffled.landscape()

    assert landscape.match(request) == again.match(request)
    for code in configuration.codes:
        assert landscape.servers_for(code) == again.servers_for(code)
    for server in configuration.servers:
        assert landscape.services_of(server) == again.services_of(server)
