"""Every rule K1 to K19 fires on what it is about, and is silent on a landscape that works."""

import string

import pytest

from routing import checks as rules
from routing.checks import checks
from routing.landscape import Assignment, Landscape, Organization, PreferenceValue, Server, Service
from tests.effort import calls_of

PING = "org.openbravo.mobile.core.login.ContextInformation"
STANDARD = (
    Service(rules.ORDERS, is_transactional=True),
    Service(rules.CASH_CLOSE, is_transactional=True),
    Service(rules.CASH_MANAGEMENT, is_transactional=True),
    Service(rules.CUSTOMERS, is_transactional=True),
    Service(rules.CUSTOMER_ADDRESSES, is_transactional=True),
    *(Service(name) for name in rules.TO_LOG_IN),
    Service(rules.TOKEN),
    Service(PING, "ping"),
)
ORGANIZATIONS = (
    Organization("ACME", "Acme", "client"),
    Organization("NORTH", "North", "region", "ACME"),
    Organization("OSLO", "Oslo", "store", "NORTH"),
    Organization("OTHER", "Other", "client"),
    Organization("ROME", "Rome", "store", "OTHER"),
)
ON = PreferenceValue("multi_server_enabled", None, "Y")


def make_main(key="central", **fields):
    defaults = {"name": key, "client": "ACME", "server_type": "main", "url": f"https://{key}.example/ob"}
    return Server(**{"key": key} | defaults | fields)


def make_store(key="local", **fields):
    return make_main(key, **{"server_type": "store", "priority": 5} | fields)


def rows(*targets, is_active=True):
    return tuple(Assignment(target, is_active) for target in targets)


def only(*services):
    return {"all_services": False, "defined_services": "only", "services": rows(*services)}


def excluding(*services):
    return {"all_services": False, "defined_services": "all_excluding", "services": rows(*services)}


def make_landscape(*servers, services=STANDARD, organizations=ORGANIZATIONS, preferences=(ON,)):
    return Landscape.of(organizations, services, servers, preferences)


def found(landscape, *only_rules, stores=("OSLO",)):
    """Return what was found, without messages; of the given rules alone where some are given."""
    return [
        (finding.rule, finding.level, finding.organization, finding.server, finding.service)
        for finding in checks(landscape, stores)
        if not only_rules or finding.rule in only_rules
    ]


def test_a_landscape_that_works_has_no_findings():
    landscape = make_landscape(make_main(), make_store(**excluding(rules.TOKEN), priority=20))

    assert found(landscape) == []


def test_an_empty_landscape_has_no_findings():
    assert checks(Landscape.of(), ()) == ()


def test_rules_about_stores_are_silent_while_multi_server_is_off_or_no_terminal_is_active():
    broken = make_store(**only(rules.CASH_CLOSE))
    of_stores = [f"K{number}" for number in (1, 2, 3, 4, 5, 6, 17, 18, 19)]

    assert found(make_landscape(broken), *of_stores) != []
    assert found(make_landscape(broken, preferences=()), *of_stores) == []
    assert found(make_landscape(broken), *of_stores, stores=()) == []
    assert found(make_landscape(broken), *of_stores, stores=("ROME",)) == []


def test_an_inactive_store_is_not_checked():
    organizations = [
        *ORGANIZATIONS[:2],
        Organization("OSLO", "Oslo", "store", "NORTH", is_active=False),
    ]

    assert found(make_landscape(make_store(), organizations=organizations), "K1") == []


@pytest.mark.parametrize(
    "servers",
    [
        [make_store()],
        [make_store(), make_main(is_active=False)],
        [make_main(**excluding(rules.ORDERS)), make_store(priority=20)],
        [make_main(**only(rules.CASH_CLOSE)), make_store(priority=20)],
    ],
)
def test_k1_tickets_must_reach_a_main_server(servers):
    assert found(make_landscape(*servers), "K1") == [("K1", "error", "OSLO", None, rules.ORDERS)]


@pytest.mark.parametrize(("rule", "service"), [("K2", rules.CASH_CLOSE), ("K3", rules.CASH_MANAGEMENT)])
def test_k2_and_k3_cash_data_follows_tickets(rule, service):
    alone = make_store(**only(service))
    together = make_store(**only(service, rules.ORDERS))
    tickets_only = make_store(**only(rules.ORDERS))

    assert found(make_landscape(make_main(), alone), rule) == [(rule, "error", "OSLO", "local", service)]
    assert found(make_landscape(make_main(), together), rule) == []
    assert found(make_landscape(make_main(), tickets_only), rule) == []


@pytest.mark.parametrize("service", [rules.CUSTOMERS, rules.CUSTOMER_ADDRESSES])
def test_k4_customers_are_stored_where_tickets_are(service):
    everything = [rules.ORDERS, rules.CUSTOMERS, rules.CUSTOMER_ADDRESSES]
    without = make_store(**only(*(name for name in everything if name != service)))
    without_tickets = make_store(**excluding(rules.ORDERS, *(set(everything[1:]) - {service})))

    assert found(make_landscape(make_main(), without), "K4") == [("K4", "error", "OSLO", "local", service)]
    assert ("K4", "error", "OSLO", "local", service) in found(make_landscape(make_main(), without_tickets), "K4")
    assert found(make_landscape(make_main(), make_store(**only(*everything))), "K4") == []


def test_k4_is_silent_where_no_service_creates_customers():
    services = [service for service in STANDARD if service.name not in (rules.CUSTOMERS, rules.CUSTOMER_ADDRESSES)]

    landscape = make_landscape(make_main(), make_store(**only(rules.ORDERS)), services=services)

    assert found(landscape, "K4") == []


def test_k5_every_active_service_has_a_provider():
    services = [*STANDARD, Service("org.example.Gone", is_active=False), Service("org.example.Special")]
    main = make_main(**excluding("org.example.Special", rules.TOKEN))
    local = make_store(**only(rules.TOKEN))

    assert found(make_landscape(main, local, services=services), "K5") == [
        ("K5", "error", "OSLO", None, "org.example.Special")
    ]
    assert found(make_landscape(main, local, make_store("all"), services=services), "K5") == []


@pytest.mark.parametrize("service", rules.TO_LOG_IN)
def test_k6_one_server_provides_all_that_a_login_needs(service):
    split = [make_main(**excluding(service)), make_store(**only(service))]

    assert found(make_landscape(*split), "K6") == [("K6", "error", "OSLO", None, rules.LOGIN)]
    assert found(make_landscape(split[0], make_store(**only(*rules.TO_LOG_IN))), "K6") == []


def test_k7_a_ping_service_exists():
    services = [Service("org.example.Order"), Service("org.example.Ping", "ping", is_active=False)]

    assert found(make_landscape(make_main(), services=services), "K7") == [("K7", "error", None, None, None)]
    assert found(make_landscape(make_main()), "K7") == []


@pytest.mark.parametrize(
    ("servers", "levels"),
    [
        ([make_main()], []),
        ([make_store()], ["error"]),
        ([make_store(), make_main(is_active=False)], ["error"]),
        ([make_main(priority=1), make_main("second", priority=1)], ["error"]),
        ([make_main(priority=1), make_main("second", priority=2)], ["warning"]),
        ([make_main(priority=1), make_main("second", priority=1, is_active=False)], []),
        ([make_main(), make_main("second", client="OTHER")], []),
    ],
)
def test_k8_a_client_has_one_central_server(servers, levels):
    assert found(make_landscape(*servers), "K8") == [("K8", level, "ACME", None, None) for level in levels]


def test_k9_names_and_keys_are_unique():
    landscape = make_landscape(
        make_main("one", name="Box"),
        make_main("ONE", name="Other box"),
        make_main("two", name="Box"),
        make_main("three", name="Box", client="OTHER"),
    )

    assert found(landscape, "K9") == [
        ("K9", "error", "ACME", "ONE", None),
        ("K9", "error", "ACME", "one", None),
        ("K9", "error", "ACME", "one", None),
        ("K9", "error", "ACME", "two", None),
    ]


@pytest.mark.parametrize(
    ("url", "levels"),
    [
        ("https://central.example/openbravo", []),
        ("https://central.example", ["warning"]),
        ("https://central.example/", ["warning"]),
        ("central.example/openbravo", ["error"]),
        ("ftp://central.example/openbravo", ["error"]),
        ("https:///openbravo", ["error"]),
        ("https://[nonsense/", ["error"]),
        ("", ["error"]),
    ],
)
def test_k10_an_address_has_scheme_host_and_context_path(url, levels):
    landscape = make_landscape(make_main(url=url))

    assert found(landscape, "K10") == [("K10", level, "ACME", "central", None) for level in levels]


def test_k10_two_active_servers_do_not_share_an_address():
    url = "https://same.example/ob"
    active, inactive = make_store(url=url), make_store(url=url, is_active=False)

    assert found(make_landscape(make_main(url=url), active), "K10") == [
        ("K10", "warning", "ACME", "central", None),
        ("K10", "warning", "ACME", "local", None),
    ]
    assert found(make_landscape(make_main(url=url), inactive), "K10") == []


@pytest.mark.parametrize(
    ("fields", "fires"),
    [
        ({"all_organizations": True}, False),
        ({"all_organizations": False}, True),
        ({"all_organizations": False, "organizations": rows("OSLO")}, False),
        ({"all_organizations": False, "organizations": rows("OSLO", is_active=False)}, True),
        ({"all_organizations": False, "organizations": rows("CLOSED")}, True),
        ({"all_organizations": False, "is_active": False}, False),
    ],
)
def test_k11_a_server_reaches_somebody(fields, fires):
    organizations = [*ORGANIZATIONS, Organization("CLOSED", "Closed", "store", "ACME", is_active=False)]

    landscape = make_landscape(make_main(**fields), organizations=organizations)

    assert found(landscape, "K11") == ([("K11", "warning", "ACME", "central", None)] if fires else [])


@pytest.mark.parametrize(
    ("fields", "fires"),
    [
        ({"all_services": True, "defined_services": "only"}, False),
        (only(), True),
        (only(rules.ORDERS), False),
        (only("org.example.Gone"), True),
        ({**only(), "services": rows(rules.ORDERS, is_active=False)}, True),
        (excluding(), False),
    ],
)
def test_k12_a_server_provides_something(fields, fires):
    services = [*STANDARD, Service("org.example.Gone", is_active=False)]

    landscape = make_landscape(make_main(**fields), services=services)

    assert found(landscape, "K12") == ([("K12", "warning", "ACME", "central", None)] if fires else [])


@pytest.mark.parametrize(
    ("organizations", "levels"),
    [
        (rows("OSLO"), []),
        (rows("OSLO", "ROME"), ["error"]),
        (rows("OSLO", "NOWHERE"), ["error"]),
        (rows("OSLO", "OSLO"), ["warning"]),
        (rows("OSLO", is_active=False), ["warning"]),
        (rows("NORTH", "OSLO"), ["warning"]),
        (rows("ACME", "NORTH", "OSLO"), ["warning", "warning"]),
        (rows("NORTH", is_active=False) + rows("OSLO"), ["warning"]),
    ],
)
def test_k13_every_organization_row_counts_once(organizations, levels):
    landscape = make_landscape(make_main(all_organizations=False, organizations=organizations))

    assert found(landscape, "K13") == [("K13", level, "ACME", "central", None) for level in levels]


def test_k13_finds_service_rows_that_count_for_nothing_and_ignores_idle_tabs():
    services = [*STANDARD, Service("org.example.Gone", is_active=False)]
    tab = only("org.example.Gone", rules.ORDERS, rules.ORDERS)
    idle = make_main("idle", organizations=rows("NORTH", "OSLO"), services=rows("org.example.Gone"))

    assert found(make_landscape(make_main(**tab), idle, services=services), "K13") == [
        ("K13", "warning", "ACME", "central", "org.example.Gone"),
        ("K13", "warning", "ACME", "central", rules.ORDERS),
    ]


@pytest.mark.parametrize(
    ("long", "fires"),
    [
        (Service("org.example.OrderList", is_transactional=False), True),
        (Service("org.example.OrderList", "broadcast", is_transactional=True), True),
        (Service("org.example.OrderList", is_transactional=True), False),
        (Service("org.example.OrderList", "broadcast", is_active=False), False),
        (Service("org.example.orderlist", "broadcast"), False),
    ],
)
def test_k14_contained_names_behave_alike(long, fires):
    services = [Service("org.example.Order", is_transactional=True), long]

    assert found(make_landscape(services=services), "K14") == (
        [("K14", "warning", None, None, "org.example.Order")] if fires else []
    )


@pytest.mark.parametrize(
    ("longer", "assigned", "fires"),
    [
        ("a.OrderList", ["a.Order"], True),
        ("a.Order.Line", ["a.Order"], False),
        ("a.Order/Line", ["a.Order"], False),
        ("x/a.Order", ["a.Order"], True),
        ("a.OrderList", ["a.Order", "a.OrderList"], False),
        ("a.OrderList", ["a.OrderList"], False),
    ],
)
def test_k15_a_longer_name_does_not_take_an_assigned_services_requests_away(longer, assigned, fires):
    services = [Service("a.Order"), Service(longer)]
    landscape = make_landscape(make_main(**only(*assigned)), services=services)

    assert found(landscape, "K15") == ([("K15", "warning", "ACME", "central", "a.Order")] if fires else [])


@pytest.mark.parametrize(
    ("key", "place", "value", "fires"),
    [
        ("ping_interval_ms", None, "60000", False),
        ("ping_interval_ms", None, "59999", True),
        ("ping_interval_ms", "OSLO", "often", True),
        ("token_refresh_interval_ms", "NORTH", "599999", True),
        ("request_retries", "OSLO", "", True),
        ("multi_server_enabled", "OSLO", "Y", True),
        ("token_max_age_ms", None, "1800000", True),
        ("token_max_age_ms", None, "1800001", False),
        ("token_max_age_ms", "OSLO", "60000", True),
        ("token_refresh_interval_ms", "OSLO", "43200000", True),
        ("ping_interval_ms", "CLOSED", "often", False),
        ("unknown", "OSLO", "often", False),
    ],
)
def test_k16_preferences_hold_and_tokens_are_refreshed_in_time(key, place, value, fires):
    organizations = [*ORGANIZATIONS, Organization("CLOSED", "Closed", "store", "ACME", is_active=False)]
    landscape = make_landscape(organizations=organizations, preferences=[ON, PreferenceValue(key, place, value)])

    assert found(landscape, "K16") == ([("K16", "error", place, None, None)] if fires else [])


def test_k17_tokens_are_refreshed_where_users_log_in():
    first = make_store(**excluding(rules.TOKEN))

    assert found(make_landscape(make_main(), first), "K17") == [("K17", "warning", "OSLO", "local", rules.TOKEN)]
    assert found(make_landscape(make_main(), make_store(**excluding(rules.LOGIN))), "K17") == []


def test_k18_schemes_are_not_mixed():
    plain, secure = make_store(url="http://local.example/ob"), make_store()

    assert found(make_landscape(make_main(), plain), "K18") == [("K18", "warning", "OSLO", None, None)]
    assert found(make_landscape(make_main(), secure), "K18") == []
    assert found(make_landscape(make_main(url="http://central.example/ob"), plain), "K18") == []


def test_k19_priorities_are_distinct_within_a_store():
    tied = make_store(priority=10)
    elsewhere = make_store(priority=10, client="OTHER")

    assert found(make_landscape(make_main(), tied), "K19") == [("K19", "warning", "OSLO", None, None)]
    assert found(make_landscape(make_main(), elsewhere), "K19") == []


def test_every_message_is_a_sentence_that_says_what_to_do():
    landscape = make_landscape(make_store(url="http://x", **only(rules.CASH_CLOSE)), make_store("l2"))

    findings = checks(landscape, ("OSLO",))

    assert findings
    assert all(
        finding.message[0] in string.ascii_uppercase + "'" and finding.message.endswith(".") for finding in findings
    )


def test_a_few_stores_with_the_same_servers_are_told_one_by_one_and_many_at_once():
    def chain(size):
        stores = [Organization(f"S{number:03}", "Store", "store", "NORTH") for number in range(size)]
        return make_landscape(make_store(), organizations=[*ORGANIZATIONS, *stores]), [s.code for s in stores]

    few, few_stores = chain(20)
    many, many_stores = chain(21)

    assert [row[2] for row in found(few, "K1", stores=few_stores)] == few_stores
    assert found(many, "K1", stores=many_stores) == [("K1", "error", "NORTH", None, rules.ORDERS)]
    told = next(finding for finding in checks(many, many_stores) if finding.rule == "K1")
    assert told.message.startswith("21 stores with the same servers (S000, S001, S002, …): None of")


def test_findings_come_by_number_of_their_rule():
    landscape = make_landscape(make_store(url="http://x", **only(rules.CASH_CLOSE)), make_store("l2"))

    numbers = [int(finding.rule[1:]) for finding in checks(landscape, ("OSLO",))]

    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 5


def make_large(size):
    """Make a chain of `size` stores, a tenth as many store servers, and 200 services; and its stores."""
    services = [Service(f"org.example.module{number % 10}.Service{number:03}") for number in range(200)]
    stores = [Organization(f"S{number:05}", "Store", "store", "NORTH") for number in range(size)]
    locals_ = [
        make_store(
            f"local{number:03}",
            all_organizations=False,
            organizations=rows(*(store.code for store in stores[number * 10 : number * 10 + 10])),
            **only(*(service.name for service in services[number % 100 : number % 100 + 50])),
        )
        for number in range(size // 10)
    ]
    landscape = make_landscape(
        make_main(), *locals_, services=[*STANDARD, *services], organizations=[*ORGANIZATIONS, *stores]
    )
    return landscape, [store.code for store in stores]


def test_checking_costs_at_most_in_proportion_to_the_chain():
    calls = {size: calls_of(checks, *make_large(size)) for size in (100, 2_000)}

    assert calls[2_000] <= 1.2 * 2_000 / 100 * calls[100]
