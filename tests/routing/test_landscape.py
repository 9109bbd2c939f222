import pytest

from routing.landscape import Assignment, Effective, Service
from tests.routing.makers import make_landscape, make_server

NORTH = {"ACME": None, "NORTH": "ACME", "OSLO": "NORTH", "BERGEN": "NORTH"}


def names(servers):
    return [server.name for server in servers]


def test_servers_for_adds_servers_of_the_region_in_calling_order():
    landscape = make_landscape(
        organizations=NORTH,
        servers=[
            make_server("main", priority=20, all_organizations=True),
            make_server("regional", priority=10, organizations={"NORTH", "OSLO"}),
            make_server("local", priority=5, organizations={"BERGEN"}),
        ],
    )

    servers = landscape.servers_for("OSLO")

    assert names(servers) == ["regional", "main"]


def test_servers_for_orders_equal_priorities_by_name_then_key_in_code_point_order():
    landscape = make_landscape(
        servers=[
            make_server("b", key="1"),
            make_server("Z", key="2"),
            make_server("é", key="3"),
            make_server("a", key="9"),
            make_server("a", key="10"),
        ]
    )

    servers = landscape.servers_for("LYON")

    assert [(s.name, s.key) for s in servers] == [("Z", "2"), ("a", "10"), ("a", "9"), ("b", "1"), ("é", "3")]


def test_servers_for_leaves_out_inactive_servers_rows_organizations_and_other_clients():
    landscape = make_landscape(
        organizations={**NORTH, "GLOBEX": None, "PARIS": "GLOBEX"},
        inactive={"BERGEN"},
        servers=[
            make_server("inactive", is_active=False),
            make_server("inactive row", organizations={Assignment("OSLO", is_active=False)}),
            make_server("inactive organization", organizations={"BERGEN"}),
            make_server("other client", client="GLOBEX"),
            make_server("foreign row", client="GLOBEX", organizations={"OSLO"}),
            make_server("rows ignored", all_organizations=True, organizations={"BERGEN"}),
        ],
    )

    assert names(landscape.servers_for("OSLO")) == ["rows ignored"]
    assert names(landscape.servers_for("BERGEN")) == ["rows ignored"]
    assert names(landscape.servers_for("PARIS")) == ["other client"]


def test_an_inactive_region_does_not_cut_off_what_lies_below_it():
    landscape = make_landscape(
        organizations=NORTH, inactive={"NORTH"}, servers=[make_server("chain", organizations={"ACME"})]
    )

    assert names(landscape.servers_for("OSLO")) == ["chain"]


def test_lineage_survives_a_circle_and_a_link_to_nowhere():
    landscape = make_landscape(organizations={"A": "B", "B": "A", "LOST": "NOWHERE"})

    assert landscape.lineage("A") == ("A", "B")
    assert landscape.lineage("LOST") == ("LOST",)


MASTER = "org.openbravo.retail.posterminal.master"
CLOSE = "org.openbravo.retail.posterminal.ProcessCashClose"


@pytest.mark.parametrize(
    ("defined_services", "rows", "provided"),
    [
        ("only", [MASTER], [MASTER, f"{MASTER}.Product"]),
        ("only", [CLOSE], [CLOSE]),
        ("only", [], []),
        ("only", [Assignment(MASTER, is_active=False)], []),
        ("only", ["retired"], []),
        ("all_excluding", [MASTER], [CLOSE, f"{CLOSE}Master"]),
        ("all_excluding", [], [CLOSE, f"{CLOSE}Master", MASTER, f"{MASTER}.Product"]),
        ("all_excluding", ["retired"], [CLOSE, f"{CLOSE}Master", MASTER, f"{MASTER}.Product"]),
    ],
)
def test_services_of_lists_exact_names_that_the_selection_covers(defined_services, rows, provided):
    landscape = make_landscape(
        services=[MASTER, f"{MASTER}.Product", CLOSE, f"{CLOSE}Master", Service("retired", is_active=False)]
    )
    server = make_server("box", services=rows, defined_services=defined_services)

    assert landscape.services_of(server) == tuple(provided)


def test_match_takes_the_longest_contained_name_and_the_first_of_equals():
    landscape = make_landscape(services=["Product", "ProductBOM", "AB", "BA", Service("ABC", is_active=False)])

    assert landscape.match("/ws/ProductBOM?x").name == "ProductBOM"
    assert landscape.match("/ws/Product/BOM").name == "Product"
    assert landscape.match("xABABCx").name == "AB"
    assert landscape.match("product") == Service("Generic")


def test_match_falls_back_to_the_defined_generic_service_with_its_timeout():
    generic = Service("Generic", default_timeout_s=20)

    assert make_landscape(services=[generic]).match("/unknown") == generic


def test_only_servers_with_all_services_take_what_matches_nothing_unless_generic_is_selected():
    everything = make_server("everything", priority=1)
    excluding = make_server("excluding", priority=2, services=())
    landscape = make_landscape(servers=[everything, excluding], services=["Product"])
    with_generic = make_landscape(servers=[everything, excluding], services=["Product", "Generic"])

    assert names(landscape.providers("LYON", "/unknown")) == ["everything"]
    assert names(with_generic.providers("LYON", "/unknown")) == ["everything", "excluding"]


@pytest.mark.parametrize("value", ["N", "y", " Y ", "Yes", ""])
def test_multi_server_is_on_only_with_y_and_a_matching_server(value):
    servers = [make_server("main")]

    off = make_landscape(servers=servers, preferences={"multi_server_enabled": value})
    without_servers = make_landscape(servers=[])
    on = make_landscape(servers=servers)

    assert (off.terminal_servers("LYON"), off.is_multi_server("LYON")) == ((), False)
    assert (without_servers.terminal_servers("LYON"), without_servers.is_multi_server("LYON")) == ((), False)
    assert (on.terminal_servers("LYON"), on.is_multi_server("LYON")) == ((servers[0],), True)


def test_a_preference_comes_from_the_nearest_organization_then_the_system_then_the_default():
    landscape = make_landscape(
        organizations={**NORTH, "ROME": "ACME"},
        preferences={("ping_interval_ms", "NORTH"): "90000", "ping_interval_ms": "120000"},
    )

    assert landscape.preference("ping_interval_ms", "OSLO") == Effective(90_000, "NORTH")
    assert landscape.preference("ping_interval_ms", "ROME") == Effective(120_000, "system")
    assert landscape.preference("request_timeout_s", "OSLO") == Effective(15, "default")


@pytest.mark.parametrize("damaged", ["59999", "-1", "soon", "", "1e6", "99999999999999999999"])
def test_a_damaged_preference_value_gives_the_default(damaged):
    landscape = make_landscape(preferences={("ping_interval_ms", "LYON"): damaged})

    assert landscape.preference("ping_interval_ms", "LYON").value == 300_000


def test_preference_values_of_an_inactive_organization_count_for_nothing():
    landscape = make_landscape(organizations=NORTH, inactive={"NORTH"}, preferences={("request_retries", "NORTH"): "3"})

    assert landscape.preference("request_retries", "OSLO") == Effective(0, "default")


def test_changed_stores_names_what_a_move_re_routes():
    landscape = make_landscape(
        organizations={**NORTH, "SOUTH": "ACME", "ROME": "SOUTH"},
        servers=[make_server("north", organizations={"NORTH"}), make_server("oslo", organizations={"OSLO"})],
    )

    moved = landscape.with_parent("NORTH", "SOUTH"), landscape.with_parent("OSLO", "SOUTH")

    assert [landscape.changed_stores(other) for other in moved] == [(), ("OSLO",)]


def test_stores_served_by_lists_the_stores_below_the_assigned_organizations():
    landscape = make_landscape(organizations={**NORTH, "ROME": "ACME"}, inactive={"BERGEN"})

    assert landscape.stores_served_by(make_server("all")) == ("BERGEN", "OSLO", "ROME")
    assert landscape.stores_served_by(make_server("north", organizations={"NORTH", "BERGEN"})) == (
        "BERGEN",
        "OSLO",
    )
    assert landscape.stores_served_by(make_server("off", is_active=False)) == ()
