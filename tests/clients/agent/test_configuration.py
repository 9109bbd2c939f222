"""The agent's parameters (OMF-01 to OMF-03)."""

import pytest

from booster_agent.configuration import Address, ParameterRefused, check, load
from tests.clients.agent.fake_booster import TOKEN

GOOD = {"BOOSTER_IP": "booster-a.example", "SERVER_KEY": "lyon", "AGENT_TOKEN": TOKEN, "STATE_DIR": "/var/lib/agent"}


def test_ports_default_to_5169_and_names_and_addresses_are_both_accepted():
    """OMF-01"""
    configuration = check(GOOD | {"SECOND_BOOSTER_IP": "fd00::2", "SECOND_BOOSTER_PORT": "6000"})

    assert configuration.boosters == (Address("booster-a.example", 5169), Address("fd00::2", 6000))
    assert configuration.uses_tls


def test_without_a_second_booster_the_agent_knows_one_alone():
    """OMF-02"""
    assert check(GOOD | {"SECOND_BOOSTER_IP": " "}).boosters == (Address("booster-a.example", 5169),)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"BOOSTER_PORT": "0"}, "BOOSTER_PORT"),
        ({"BOOSTER_PORT": "65536"}, "BOOSTER_PORT"),
        ({"SECOND_BOOSTER_PORT": "x"}, "SECOND_BOOSTER_PORT"),
        ({"BOOSTER_IP": "", "SECOND_BOOSTER_IP": "b"}, "SECOND_BOOSTER_IP"),
        ({"SECOND_BOOSTER_IP": "BOOSTER-A.example"}, "SECOND_BOOSTER_IP"),
        ({"BOOSTER_IP": ""}, "BOOSTER_IP"),
        ({"BOOSTER_IP": "http://x"}, "BOOSTER_IP"),
        ({"SERVER_KEY": ""}, "SERVER_KEY"),
        ({"SERVER_KEY": "a b"}, "SERVER_KEY"),
        ({"AGENT_TOKEN": ""}, "AGENT_TOKEN"),
        ({"AGENT_TOKEN": "bst_terminal_" + TOKEN[10:]}, "AGENT_TOKEN"),
        ({"AGENT_TOKEN_FILE": "/etc/token"}, "AGENT_TOKEN and AGENT_TOKEN_FILE"),
        ({"AGENT_TOKEN": "", "AGENT_TOKEN_FILE": "/nowhere/token"}, "AGENT_TOKEN_FILE"),
        ({"BOOSTER_TLS": "perhaps"}, "BOOSTER_TLS"),
        ({"BOOSTER_CA_FILE": "/nowhere/ca.pem"}, "BOOSTER_CA_FILE"),
        ({"SERVER_COMMAND": "run 'it"}, "SERVER_COMMAND"),
        ({"PATCH_KEYS": "keys"}, "PATCH_KEYS"),
        ({"REPORT_INTERVAL_S": "0"}, "REPORT_INTERVAL_S"),
        ({"LOCAL_PORT": "70000"}, "LOCAL_PORT"),
    ],
)
def test_a_wrong_parameter_is_refused_in_one_line_that_names_it_and_no_secret(changes, names):
    """OMF-03"""
    with pytest.raises(ParameterRefused) as refused:
        check(GOOD | changes)

    assert str(refused.value).startswith(names)
    assert "\n" not in str(refused.value)
    assert TOKEN[27:] not in str(refused.value)


def test_a_file_gives_what_the_environment_does_not(tmp_path):
    file = tmp_path / "agent.conf"
    file.write_text(
        f"# the agent of Lyon\nexport BOOSTER_IP='a.example'\nSERVER_KEY=lyon\nAGENT_TOKEN={TOKEN}\n"
        'SERVER_COMMAND="java -jar pos.jar"\n'
    )
    file.chmod(0o600)

    configuration = load(file, {"BOOSTER_IP": "b.example", "PATH": "/bin"})

    assert (configuration.boosters, configuration.server_key) == ((Address("b.example", 5169),), "lyon")
    assert configuration.server_command == ("java", "-jar", "pos.jar")
    assert TOKEN[27:] not in repr(configuration)


def test_a_file_that_others_may_read_is_refused(tmp_path):
    file = tmp_path / "agent.conf"
    file.write_text("SERVER_KEY=lyon\n")
    file.chmod(0o640)

    with pytest.raises(ParameterRefused, match="has the mode 0640"):
        load(file, {})


def test_a_name_in_the_file_that_means_nothing_is_refused_with_its_line(tmp_path):
    file = tmp_path / "agent.conf"
    file.write_text("SERVER_KEY=lyon\nBOSTER_IP=x\n")
    file.chmod(0o600)

    with pytest.raises(ParameterRefused, match="line 2: 'BOSTER_IP' is no parameter"):
        load(file, {})
