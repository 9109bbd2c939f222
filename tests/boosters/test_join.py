"""Joining a server: by command and in its window, twice the same (OMF-70, OMF-71)."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from backoffice.credentials import parse_credential
from booster_agent.configuration import load
from boosters.parameters import Address, Parameters, Role
from events.models import Event
from servers.agent_tokens import find_agent_token, issue_agent_token, note_first_use
from servers.models import AgentToken, MobileServer
from tests.boosters.pairs import node
from tests.factories import make_admin, make_server, make_tree, make_user

pytestmark = pytest.mark.django_db
REMINDER = "Before the first additional server joins: back up the database and the first server.\n"
URL = "https://lyon.acme.example/openbravo"


@pytest.fixture(autouse=True)
def tree(settings):
    settings.BOOSTER_PARAMETERS = node(Role.PRIMARY)
    return make_tree(ACME=None, LYON="ACME")


def join(*arguments):
    """Run the command; return what it prints and what it notes."""
    out, err = StringIO(), StringIO()
    call_command("join", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def values(text):
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def use(token):
    moment = timezone.now()
    note_first_use(find_agent_token(parse_credential(token), moment), moment)


def test_join_registers_the_server_and_prints_what_its_agent_needs(tree):
    """OMF-70."""
    printed, notes = join("LyonBox", "--url", URL, "--organization", "LYON")

    server = MobileServer.objects.get()
    token = values(printed).pop("AGENT_TOKEN")
    assert (server.key, server.url, server.server_type, server.all_organizations) == ("lyonbox", URL, "store", False)
    assert values(printed) == {
        "BOOSTER_IP": "10.0.0.1",
        "BOOSTER_PORT": "5169",
        "SECOND_BOOSTER_IP": "10.0.0.2",
        "SECOND_BOOSTER_PORT": "5169",
        "SERVER_KEY": "lyonbox",
        "AGENT_TOKEN": token,
    }
    assert find_agent_token(parse_credential(token), timezone.now()).server == server
    assert notes == ""


def test_join_twice_changes_nothing_and_prints_the_same():
    """OMF-70."""
    first = join("LyonBox", "--url", URL)
    before = (MobileServer.objects.count(), AgentToken.objects.count(), Event.objects.count())

    second = join("LyonBox")

    assert second == first
    assert (
        (MobileServer.objects.count(), AgentToken.objects.count(), Event.objects.count()) == before == (1, 1, before[2])
    )


def test_join_prints_no_token_once_the_agent_has_used_it():
    printed, _ = join("LyonBox", "--url", URL)
    use(values(printed)["AGENT_TOKEN"])

    again, notes = join("LyonBox")

    assert "AGENT_TOKEN" not in values(again)
    assert {**values(again), "AGENT_TOKEN": values(printed)["AGENT_TOKEN"]} == values(printed)
    assert notes == "The agent of lyonbox has its token already. For another one: agent_token lyonbox.\n"
    assert AgentToken.objects.count() == 1


def test_join_leaves_a_token_that_was_made_otherwise(tree):
    server = make_server("LyonBox", client=tree["ACME"], url=URL)
    issue_agent_token(server.pk, timezone.now())

    printed, _ = join("LyonBox")

    assert ("AGENT_TOKEN" in values(printed), AgentToken.objects.count()) == (False, 1)


def test_join_stores_nothing_that_gives_the_token_away():
    printed, _ = join("LyonBox", "--url", URL)
    secret = values(printed)["AGENT_TOKEN"].partition(".")[2]

    stored = [str(value) for row in AgentToken.objects.values() for value in row.values()]
    told = [str(event.data) + event.cause for event in Event.objects.all()]

    assert [text for text in stored + told if secret in text] == []


def test_join_derives_another_secret_for_another_server_and_another_key(settings):
    one, _ = join("LyonBox", "--url", URL)
    other, _ = join("RomeBox", "--url", URL)
    settings.TOKEN_DIGEST_KEY = "another"
    without, _ = join("LyonBox")

    assert values(one)["AGENT_TOKEN"] != values(other)["AGENT_TOKEN"]
    assert "AGENT_TOKEN" not in values(without)


def test_join_reminds_of_the_backup_before_the_first_additional_server(tree):
    """OMF-71."""
    make_server("Central", client=tree["ACME"])

    notes = [join("LyonBox", "--url", URL)[1], join("LyonBox")[1], join("RomeBox", "--url", URL)[1]]

    assert notes == [REMINDER, REMINDER, ""]


def test_join_of_a_single_booster_names_one(settings):
    """OMF-02."""
    settings.BOOSTER_PARAMETERS = Parameters(Address("booster.acme.example", 6000))

    printed, _ = join("LyonBox", "--url", URL)

    assert [name for name in values(printed) if "BOOSTER" in name] == ["BOOSTER_IP", "BOOSTER_PORT"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["New"], "New is not registered yet: its URL must be given."),
        (["LyonBox", "--url", "https://other.example"], "LyonBox is registered with another URL; change it there."),
        (
            ["LyonBox", "--type", "main", "--key", "x"],
            "LyonBox is registered with another key and type; change it there.",
        ),
        (
            ["LyonBox", "--organization", "LYON"],
            "LyonBox is registered with another list of organizations; change it there.",
        ),
        (["LyonBox", "--client", "NONE"], "There is no client with the code NONE."),
        (["LyonBox", "--organization", "NONE"], "There is no organization with the code NONE."),
        (["New", "--url", "nonsense"], None),
    ],
)  # fmt: skip
def test_join_refuses_in_one_line_and_changes_nothing(arguments, message):
    join("LyonBox", "--url", URL)

    with pytest.raises(CommandError) as refused:
        join(*arguments)

    assert "\n" not in str(refused.value)
    assert message is None or str(refused.value) == message
    assert [server.name for server in MobileServer.objects.all()] == ["LyonBox"]


def test_join_without_a_booster_address_is_refused(settings):
    settings.BOOSTER_PARAMETERS = Parameters()

    with pytest.raises(CommandError, match="BOOSTER_IP is not set"):
        join("LyonBox", "--url", URL)

    assert not MobileServer.objects.exists()


def test_join_writes_a_file_that_only_its_owner_reads(tmp_path):
    path = tmp_path / "agent.env"
    path.write_text("old")
    path.chmod(0o644)

    printed, _ = join("LyonBox", "--url", URL, "--file", str(path))

    assert (printed, path.stat().st_mode & 0o777) == ("", 0o600)
    assert path.read_text() == join("LyonBox")[0]


def window(user):
    client = Client()
    client.force_login(user)
    return client


def test_window_shows_and_downloads_what_the_agent_needs(tree):
    """OMF-70, OMF-71."""
    server = make_server("LyonBox", client=tree["ACME"], url=URL)
    make_server("Central", client=tree["ACME"])
    client, address = window(make_admin("root")), reverse("pair:join", args=[server.pk])

    asked = client.get(address)
    made = AgentToken.objects.count()
    shown = client.post(address)
    file = client.post(address, {"download": "yes"})

    printed, _ = join("LyonBox")
    assert (made, REMINDER.strip() in asked.content.decode()) == (0, True)
    assert values(printed)["AGENT_TOKEN"] in shown.content.decode()
    assert file.content.decode() == printed
    assert file["Content-Disposition"] == 'attachment; filename="agent-LyonBox.env"'.replace("LyonBox", server.key)
    assert "no-store" in shown["Cache-Control"]


def test_window_is_closed_to_those_who_may_not_change_the_server(tree):
    server = make_server("LyonBox", client=tree["ACME"])

    answers = [
        window(make_user(name, is_staff=True, role=role)).post(reverse("pair:join", args=[server.pk])).status_code
        for name, role in (("reader", "Read-only"), ("stranger", ""))
    ]

    assert ({*answers} <= {403, 404}, AgentToken.objects.count()) == (True, 0)


def test_the_agent_reads_what_join_prints_as_its_configuration(tree, tmp_path):
    """OMF-01, OMF-70"""
    file = tmp_path / "agent.conf"
    file.write_text(join("LyonBox", "--url", URL, "--organization", "LYON")[0])
    file.chmod(0o600)

    configuration = load(file, {})

    assert [str(address) for address in configuration.boosters] == ["10.0.0.1:5169", "10.0.0.2:5169"]
    assert configuration.server_key == "lyonbox"
