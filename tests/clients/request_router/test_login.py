"""The user's login: sent in a header, renewed without end, and ended for good by a logout."""

import json

import pytest

from request_router import terminal as terminal_module
from request_router.login import GET_TOKEN, Login, token_in
from request_router.terminal import Terminal
from tests.clients.request_router.scenarios import SCENARIOS
from tests.clients.request_router.test_terminal import Booster, activated, configuration, running, wait_for

PRODUCT = "org.openbravo.retail.posterminal.master.Product"
TEMPLATE = SCENARIOS["no-tickets-for-a-server-in-transition"]["configuration"]


def gives(server, token):
    """Let a mobile server answer GetToken, with a token or with none."""
    answer = {"response": {"status": 0}} | ({"authenticationToken": token} if token else {})
    server.answers[f"/{GET_TOKEN}"] = (200, {}, json.dumps(answer).encode())


def sent(server):
    return [token for _, token, _ in server.asked]


@pytest.fixture
def servers():
    with running(Booster()) as first, running(Booster()) as second:
        first.key, second.key = "a", "b"
        yield first, second


@pytest.fixture
def till(servers, tmp_path):
    with running(Booster()) as booster:
        booster.gives("configuration", configuration(*servers))
        booster.gives("status", {"format": 1, "servers": []})
        booster.answers["heartbeat"] = (200, {}, b"{}")
        terminal = Terminal(activated(tmp_path / "t", booster.url))
        terminal.poll("configuration")
        yield terminal
        terminal.close()


@pytest.mark.parametrize(
    ("answer", "token"),
    [
        ({"authenticationToken": "a.b.c"}, "a.b.c"),
        ({"authenticationToken": "a b"}, ""),
        ({"authenticationToken": "a\r\nHost: x"}, ""),
        ({"authenticationToken": "é"}, ""),
        ({"authenticationToken": "a" * 8_001}, ""),
        ({"authenticationToken": 7}, ""),
        ({"response": {}}, ""),
        ([], ""),
        (None, ""),
    ],
)
def test_a_token_is_taken_from_an_answer_only_if_it_can_be_sent(answer, token):
    assert token_in(answer) == token


def test_a_renewed_token_does_not_bring_back_a_login_that_ended():
    login = Login()
    login.begin("old")
    login.begin("")

    assert (login.renew("old", "new"), login.token) == (False, "")


def test_a_login_that_cannot_be_sent_is_refused_and_the_present_one_stays():
    login = Login()
    login.begin("good")

    with pytest.raises(ValueError, match="no token that can be sent"):
        login.begin("a\nb")
    assert login.token == "good"


def test_every_server_is_told_who_the_user_is_in_a_header_until_the_logout(servers, till):
    first, _ = servers
    first.answers[f"/{PRODUCT}"] = (200, {}, b'{"response": {"status": 0}}')

    for change in (lambda: None, lambda: till.logged_in("t1"), till.logged_out):
        change()
        assert till.request(PRODUCT).outcome == "success"

    assert [(path, token) for path, token, _ in first.asked] == [
        (f"/{PRODUCT}", None),
        (f"/{PRODUCT}", "Bearer t1"),
        (f"/{PRODUCT}", None),
    ]


def test_a_first_server_that_gives_no_token_is_no_failure_the_next_one_is_asked(servers, till):
    """Defect 8: the first server was entered by a token, so that it gives none."""
    first, second = servers
    gives(first, "")
    gives(second, "t2")
    till.logged_in("t1")

    assert (till.renew_login(), till._login.token) == (True, "t2")
    assert (sent(first), sent(second)) == (["Bearer t1"], ["Bearer t1"])


def test_renewing_never_gives_up(servers, till, monkeypatch):
    """Defect 8: the original stopped for good at the fourth failure in a row."""
    first, second = servers
    for server in servers:
        server.answers[f"/{GET_TOKEN}"] = (500, {}, b"")
    monkeypatch.setattr(terminal_module, "pause_s", lambda failures, not_before_s=0.0: 0.01)
    monkeypatch.setattr(terminal_module, "login_interval_s", lambda configured: 0.02)
    till.logged_in("t1")

    till.start()
    wait_for(lambda: len(first.asked) >= 10 and len(second.asked) >= 10)
    kept = till._login.token
    gives(second, "t2")
    wait_for(lambda: till._login.token == "t2")

    assert kept == "t1"


def test_nobody_is_asked_for_a_token_while_nobody_is_logged_in(servers, till, monkeypatch):
    first, _ = servers
    gives(first, "t2")
    turns = []
    monkeypatch.setattr(terminal_module, "login_interval_s", lambda configured: turns.append(1) or 0.01)

    till.start()
    wait_for(lambda: len(turns) > 5)

    assert first.asked == []
