"""The addresses of the pair, and the role that follows from them (OMF-01 to OMF-06)."""

import socket

import pytest

from boosters.node import is_own_host, own_address
from boosters.parameters import Address, ParameterRefused, Parameters, Role, read, role_of
from tests.backoffice.processes import manage

PAIR = {"BOOSTER_IP": "10.0.0.1", "SECOND_BOOSTER_IP": "booster-b.example"}


def test_parameters_take_names_and_addresses_and_the_default_port():
    """OMF-01."""
    assert read({**PAIR, "SECOND_BOOSTER_PORT": "6000", "LOCAL_IP": "0.0.0.0"}, is_sqlite=False) == Parameters(
        Address("10.0.0.1", 5169), Address("booster-b.example", 6000)
    )


def test_parameters_without_a_second_booster_are_no_pair():
    """OMF-02."""
    single = read({"BOOSTER_IP": "10.0.0.1"}, is_sqlite=False)

    assert (single.is_pair, role_of(single, None, {"10.0.0.1"}.__contains__)) == (False, Role.PRIMARY)


def test_parameters_may_all_be_absent():
    assert role_of(read({}, is_sqlite=True), 8000, lambda host: False) is Role.SINGLE


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({**PAIR, "BOOSTER_PORT": "0"}, "BOOSTER_PORT must be a port from 1 to 65535, not '0'."),
        ({**PAIR, "SECOND_BOOSTER_PORT": "65536"}, "SECOND_BOOSTER_PORT must be a port from 1 to 65535, not '65536'."),
        ({"LOCAL_PORT": "web"}, "LOCAL_PORT must be a port from 1 to 65535, not 'web'."),
        ({"BOOSTER_IP": "http://a"}, "BOOSTER_IP must be an IP address or a host name, not 'http://a'."),
        (
            {"SECOND_BOOSTER_IP": "b"},
            "SECOND_BOOSTER_IP is set, but BOOSTER_IP is not: set BOOSTER_IP to the primary node.",
        ),
        (
            {"BOOSTER_IP": "A.example", "SECOND_BOOSTER_IP": "a.example", "SECOND_BOOSTER_PORT": "5169"},
            "SECOND_BOOSTER_IP and SECOND_BOOSTER_PORT name the same node as BOOSTER_IP and BOOSTER_PORT: "
            "A.example:5169.",
        ),
    ],
)
def test_parameters_that_cannot_be_are_refused_by_name(values, message):
    """OMF-03."""
    with pytest.raises(ParameterRefused) as refused:
        read(values, is_sqlite=False)

    assert str(refused.value) == message


def test_sqlite_is_refused_where_a_booster_is_set():
    """OMF-05."""
    with pytest.raises(ParameterRefused) as refused:
        read({"BOOSTER_IP": "10.0.0.1"}, is_sqlite=True)

    assert str(refused.value) == "BOOSTER_IP needs a PostgreSQL database (DATABASE_URL): SQLite serves one node alone."


@pytest.mark.parametrize(
    ("local", "listening_port", "own", "role"),
    [
        ({}, None, {"10.0.0.1"}, Role.PRIMARY),
        ({}, 5169, {"booster-b.example"}, Role.SECONDARY),
        ({"LOCAL_IP": "Booster-B.example"}, 5169, set(), Role.SECONDARY),
        ({"LOCAL_IP": "10.0.0.1", "LOCAL_PORT": "5169"}, 8000, {"booster-b.example"}, Role.PRIMARY),
    ],
)
def test_role_follows_from_the_nodes_own_address(local, listening_port, own, role):
    """OMF-04."""
    assert role_of(read({**PAIR, **local}, is_sqlite=False), listening_port, own.__contains__) is role


@pytest.mark.parametrize(("first", "second", "role"), [(7001, 7002, Role.SECONDARY), (7002, 7001, Role.PRIMARY)])
def test_role_of_two_nodes_on_one_machine_follows_from_the_port(first, second, role):
    """OMF-04."""
    pair = Parameters(Address("127.0.0.1", first), Address("127.0.0.1", second))

    assert role_of(pair, 7002, is_own_host) is role


def test_a_node_that_is_neither_is_refused():
    """OMF-04."""
    with pytest.raises(ParameterRefused) as refused:
        role_of(read({**PAIR, "LOCAL_IP": "10.0.0.9"}, is_sqlite=False), None, lambda host: True)

    assert str(refused.value) == (
        "LOCAL_IP and LOCAL_PORT: 10.0.0.9:5169 is neither BOOSTER_IP (10.0.0.1:5169) nor "
        "SECOND_BOOSTER_IP (booster-b.example:5169). Set them to this node's own address."
    )


def test_only_addresses_of_this_machine_are_its_own():
    assert [is_own_host(host) for host in ("127.0.0.1", "localhost", "192.0.2.1", "no-such-host.invalid")] == [
        True,
        True,
        False,
        False,
    ]


def test_a_refused_parameter_stops_the_start_with_one_line_and_a_status(tmp_path):
    """OMF-03, OMF-05."""
    refused = manage("check", data_dir=tmp_path / "data", BOOSTER_IP="10.0.0.1")

    assert (refused.returncode, refused.stderr) == (
        1,
        "Not configured properly: BOOSTER_IP needs a PostgreSQL database (DATABASE_URL): "
        "SQLite serves one node alone.\n",
    )


@pytest.mark.parametrize(("given", "port"), [({}, ""), ({"LOCAL_PORT": "8080"}, ":8080")])
def test_a_single_node_is_known_by_the_name_of_its_machine(settings, given, port):
    settings.BOOSTER_PARAMETERS = read(given, is_sqlite=True)

    assert own_address() == f"{socket.gethostname()}{port}"
