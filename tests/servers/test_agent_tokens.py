"""The agent's token: in its window, by command and over REST."""

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from accounts.scope import READ_ONLY, SYSTEM_ADMINISTRATOR
from backoffice.credentials import parse_credential
from events.models import Event
from servers.agent_tokens import find_agent_token, has_agent, issue_agent_token, note_first_use, revoke_agent_tokens
from servers.models import AgentToken, MobileServer, ServerReport
from tests.backoffice.api import as_user, outcome
from tests.factories import make_admin, make_organization, make_server, make_tree, make_user

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


@pytest.fixture
def server():
    return make_server("LyonBox", client=make_organization("ACME"))


def use(credential, moment=NOON):
    note_first_use(find_agent_token(credential, moment), moment)


def is_valid(credential, moment=NOON):
    return find_agent_token(credential, moment) is not None


def reports_for_itself():
    return MobileServer.objects.annotate(has_agent=has_agent()).get().has_agent


def test_a_replaced_token_ends_when_its_successor_is_first_used(server):
    old = issue_agent_token(server.pk, NOON)
    new = issue_agent_token(server.pk, NOON)
    before = (is_valid(old), is_valid(new))

    use(new, NOON + timedelta(minutes=1))

    assert (before, is_valid(old), is_valid(new)) == ((True, True), False, True)


def test_a_replaced_token_stays_valid_for_ten_minutes_and_not_longer(server):
    old = issue_agent_token(server.pk, NOON)
    issue_agent_token(server.pk, NOON)

    assert is_valid(old, NOON + timedelta(minutes=10))
    assert not is_valid(old, NOON + timedelta(minutes=10, seconds=1))


def test_a_token_counts_only_with_its_secret_and_while_its_server_is_active(server):
    token = issue_agent_token(server.pk, NOON)
    forged = parse_credential(f"bst_agent_{token.id}.{'A' * 43}")
    found = [is_valid(token), is_valid(forged)]

    MobileServer.objects.update(is_active=False)

    assert (found, is_valid(token)) == ([True, False], False)
    assert AgentToken.objects.get().digest != token.secret


def test_a_server_has_an_agent_from_the_first_use_of_a_token_until_it_is_revoked(server):
    token = issue_agent_token(server.pk, NOON)
    made = reports_for_itself()
    use(token)
    used = reports_for_itself()
    issue_agent_token(server.pk, NOON)
    rolled = reports_for_itself()
    revoked = revoke_agent_tokens(server.pk, NOON)

    assert (made, used, rolled, revoked, reports_for_itself()) == (False, True, True, 2, False)


def test_making_and_revoking_is_recorded_without_the_secret(server):
    token = issue_agent_token(server.pk, NOON, actor_name="LyonBox")
    revoke_agent_tokens(server.pk, NOON)

    told = list(Event.objects.order_by("pk").values_list("kind", "object_type", "object_key", "actor_name", "data"))
    assert told == [
        ("agent-token-made", "server", "lyonbox", "LyonBox", {"token_id": token.id}),
        ("agent-token-revoked", "server", "lyonbox", "", {"tokens": 1}),
    ]


def command(*arguments):
    out, err = StringIO(), StringIO()
    call_command("agent_token", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_the_command_prints_the_token_alone_and_revokes_it(server):
    printed, _ = command("LYONBOX")
    token = parse_credential(printed.removesuffix("\n"))
    before = is_valid(token, NOON)

    revoked = command("lyonbox", "--revoke")

    assert (before, revoked, is_valid(token)) == (True, ("", "1 token of lyonbox revoked.\n"), False)


def test_the_command_refuses_an_unknown_and_an_inactive_server_in_one_line(server):
    MobileServer.objects.update(is_active=False)

    with pytest.raises(CommandError, match=r"^There is no server with the key nobody\.$"):
        command("nobody")
    with pytest.raises(CommandError, match=r"^The server lyonbox is not active: its agent would be refused\.$"):
        command("lyonbox")
    assert not AgentToken.objects.exists()


def test_rest_makes_a_token_shown_once_and_revokes_it(server):
    client, url = as_user(), f"/api/v1/servers/{server.pk}/"

    made = client.post(f"{url}agent-token/")
    token = parse_credential(made.json()["token"])
    use(token)
    told = client.get(url).json()["has_agent"]
    revoked = [client.delete(f"{url}agent-token/") for _ in range(2)]

    assert (made.status_code, made.json()) == (201, {"token": token.text, "server": "lyonbox"})
    assert made["Cache-Control"] == "no-store"
    assert [(answer.status_code, answer.content) for answer in revoked] == [(204, b"")] * 2
    assert (told, client.get(url).json()["has_agent"], is_valid(token)) == (True, False, False)


def test_rest_does_nothing_on_a_dry_run_and_for_whoever_may_not_change_the_server(server):
    tree = make_tree(OTHER=None, ROME="OTHER")
    stranger, reader = make_user(role=SYSTEM_ADMINISTRATOR), make_user(role=READ_ONLY)
    stranger.organizations.add(tree["ROME"])
    url = f"/api/v1/servers/{server.pk}/agent-token/"

    answers = [
        as_user().post(f"{url}?dry_run=true").status_code,
        outcome(as_user(stranger).post(url)),
        outcome(as_user(reader).post(url)),
        outcome(as_user(reader).delete(url)),
    ]

    forbidden = (403, "/problems/forbidden")
    assert answers == [201, (404, "/problems/not-found"), forbidden, forbidden]
    assert not AgentToken.objects.exists()


@pytest.mark.parametrize("rows", [1, 3])
def test_listing_servers_with_agents_costs_the_same_however_long(rows, django_assert_num_queries):
    acme = make_organization("ACME")
    for _ in range(rows):
        use(issue_agent_token(make_server(client=acme).pk, NOON))
    client = as_user()

    with django_assert_num_queries(6):  # token, its use, count, rows, both tabs
        answer = client.get("/api/v1/servers/")

    assert [row["has_agent"] for row in answer.json()["results"]] == [True] * rows


def window(view, server):
    return reverse(f"admin:servers_mobileserver_{view}", args=[server.pk])


def test_the_window_shows_a_token_once_and_revokes_after_a_confirmation(client, server):
    client.force_login(make_admin())

    asked = client.get(window("agent_token", server))
    before = AgentToken.objects.count()
    made = client.post(window("agent_token", server))
    token = parse_credential(made.context["token"])
    again = client.get(window("agent_token", server)).content.decode()
    looked = client.get(window("revoke_agent", server))
    still = is_valid(token)
    revoked = client.post(window("revoke_agent", server), follow=True)

    assert (asked.status_code, before, looked.status_code, still) == (200, 0, 200, True)
    assert token.text in made.content.decode()
    assert "no-store" in made["Cache-Control"]
    assert token.secret not in again
    assert "The agent of LyonBox is revoked: it needs a new token." in revoked.content.decode()
    assert not is_valid(token)


@pytest.mark.parametrize("view", ["agent_token", "revoke_agent"])
def test_only_those_who_may_change_the_server_reach_the_agents_pages(client, view):
    tree = make_tree(ACME=None, LYON="ACME", OTHER=None, ROME="OTHER")
    server = make_server(client=tree["ACME"], organizations=[tree["LYON"]])
    statuses = []
    for role, organization in ((READ_ONLY, None), (SYSTEM_ADMINISTRATOR, "LYON"), (SYSTEM_ADMINISTRATOR, "ROME")):
        user = make_user(role=role, is_staff=True)
        if organization:
            user.organizations.add(tree[organization])
        client.force_login(user)
        statuses += [client.get(window(view, server)).status_code, client.post(window(view, server)).status_code]

    assert statuses == [403] * 6
    assert not AgentToken.objects.exists()


def test_the_window_tells_what_the_agent_reports_and_warns_of_its_clock(client, server):
    client.force_login(make_admin())
    report = ServerReport.objects.create(
        server=server,
        reported_at=NOON,
        software_version="26.2",
        pending=12,
        host_name="lyon-1",
        os="Debian 13",
        address="192.0.2.7",
        modules=[{"name": "org.example.pos", "version": "3.1"}],
        clock_offset_s=-7200,
    )

    wrong = client.get(window("change", server)).content.decode()
    report.clock_offset_s = 60
    report.save()
    right = client.get(window("change", server)).content.decode()

    shown = ("26.2", "12", "lyon-1", "Debian 13", "192.0.2.7", "org.example.pos 3.1", "7200 s behind: set it.")
    assert [text for text in shown if text not in wrong] == []
    assert ("set it." in right, ">Right<" in right.replace("\n", "").replace(" ", "")) == (False, True)
