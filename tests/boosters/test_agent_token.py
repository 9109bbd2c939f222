"""The agent rolls its own token."""

import pytest
from django.utils import timezone

from servers.agent_tokens import issue_agent_token, revoke_agent_tokens
from servers.models import AgentToken, MobileServer
from terminals.tokens import issue_token
from tests.factories import make_server, make_terminal, make_tree, make_user_token

pytestmark = pytest.mark.django_db
ROLL = "/api/v1/agent/token"


def bearer(token):
    return {"HTTP_AUTHORIZATION": f"Bearer {token}"}


@pytest.fixture
def tree():
    return make_tree(ACME=None, LYON="ACME")


@pytest.fixture
def server(tree):
    return make_server("LyonBox", client=tree["ACME"])


def test_a_rolled_token_works_and_ends_the_old_one_on_first_use(api_client, server):
    old = issue_agent_token(server.pk, timezone.now()).text

    new = api_client.post(ROLL, **bearer(old))
    statuses = [api_client.post(ROLL, **bearer(token)).status_code for token in (old, new.json()["token"], old)]

    assert (new.status_code, statuses) == (201, [201, 201, 401])


def test_other_credentials_do_not_open_the_agents_door_nor_the_agents_the_others(api_client, tree, server):
    agent = issue_agent_token(server.pk, timezone.now()).text
    terminal = issue_token(make_terminal("LY-1", tree["LYON"]), timezone.now()).text
    sent = (bearer(terminal), bearer(make_user_token()), {}, bearer("nonsense"), bearer(f"{agent[:-1]}!"))

    at_the_agents = [api_client.post(ROLL, **headers) for headers in sent]
    at_the_others = [
        api_client.post("/api/v1/terminal/token", **bearer(agent)),
        api_client.get("/api/v1/servers/", **bearer(agent)),
    ]

    assert [answer.status_code for answer in at_the_agents] == [403, 403, 401, 401, 401]
    assert [(answer.status_code, answer.json()["type"]) for answer in (at_the_agents[0], *at_the_others)] == [
        (403, "/problems/other-kind-of-credential")
    ] * 3
    assert AgentToken.objects.count() == 1


@pytest.mark.parametrize("end", ["deactivated", "deleted", "revoked"])
def test_a_token_whose_server_is_inactive_or_gone_is_unknown(api_client, server, end):
    token = issue_agent_token(server.pk, timezone.now()).text
    if end == "deactivated":
        MobileServer.objects.update(is_active=False)
    elif end == "deleted":
        server.delete()
    else:
        revoke_agent_tokens(server.pk, timezone.now())
    before = list(AgentToken.objects.values())

    answer = api_client.post(ROLL, **bearer(token))

    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/not-authenticated")
    assert answer["WWW-Authenticate"] == "Bearer"
    assert list(AgentToken.objects.values()) == before


def test_whoever_rolls_again_and_again_is_told_to_wait_and_leaves_no_further_trace(api_client, tree, server):
    token = issue_agent_token(server.pk, timezone.now()).text
    neighbour = issue_agent_token(make_server("NiceBox", client=tree["ACME"]).pk, timezone.now()).text
    statuses = []
    for _ in range(10):
        answer = api_client.post(ROLL, **bearer(token))
        statuses.append(answer.status_code)
        token = answer.json()["token"]
    before = AgentToken.objects.count()

    refused = api_client.post(ROLL, **bearer(token))

    assert (statuses, refused.status_code, refused.json()["type"]) == ([201] * 10, 429, "/problems/too-many-attempts")
    assert AgentToken.objects.count() == before
    assert api_client.post(ROLL, **bearer(neighbour)).status_code == 201


def test_the_door_has_both_slash_forms_and_knows_only_post(api_client, server):
    token = issue_agent_token(server.pk, timezone.now()).text

    statuses = [
        (api_client.post(path, **bearer(token)).status_code, api_client.get(path, **bearer(token)).status_code)
        for path in (ROLL, f"{ROLL}/")
    ]

    assert statuses == [(201, 405)] * 2
