"""Whom the agent calls, in which order (OMF-12, OMF-13), and its token (design, section 6)."""

import json
import time

import pytest

from booster_agent.agent import Agent
from booster_agent.calling import Boosters, Unreachable
from booster_agent.configuration import Address
from booster_agent.files import read_json
from booster_agent.tokens import Caller, Tokens
from tests.clients.agent.fake_booster import (
    GOOD,
    HEARTBEAT,
    NEXT_TOKEN,
    ROLL,
    TOKEN,
    fake_booster,
    make_configuration,
)
from tests.serving import free_port

DAY_S = 86_400


@pytest.fixture
def primary():
    with fake_booster() as booster:
        yield booster


@pytest.fixture
def secondary():
    with fake_booster() as booster:
        yield booster


def make_agent(tmp_path, *boosters, **changes):
    return Agent(make_configuration(tmp_path, *(booster.address for booster in boosters), **changes))


def test_a_report_goes_to_the_primary_alone_while_it_answers(tmp_path, primary, secondary):
    """OMF-12, OMF-14"""
    pause_s = make_agent(tmp_path, primary, secondary).report_once(is_running=True)

    assert (len(primary.calls), len(secondary.calls), pause_s) == (1, 0, 30)
    told = primary.calls[0]
    assert told.token == TOKEN
    assert {name: told.body[name] for name in ("key", "ready", "pending", "cause")} == {
        "key": "lyon",
        "ready": True,
        "pending": 0,
        "cause": "",
    }


@pytest.mark.parametrize("status", [500, 503, 302])
def test_a_primary_that_fails_or_redirects_lets_the_secondary_have_the_report_in_the_same_cycle(
    tmp_path, primary, secondary, status
):
    """OMF-12, OMF-13"""
    primary.answers["POST", HEARTBEAT] = (status, {}, {"Location": f"http://{secondary.address}/stolen"})
    agent = make_agent(tmp_path, primary, secondary)

    assert agent.report_once(is_running=True) == 30
    primary.answers["POST", HEARTBEAT] = (200, GOOD, {})
    agent.report_once(is_running=True)

    assert [call.path for call in secondary.calls] == [HEARTBEAT]
    assert len(primary.calls) == 2


def test_a_primary_that_refuses_connections_lets_the_secondary_have_the_report(tmp_path, secondary):
    """OMF-12"""
    agent = Agent(make_configuration(tmp_path, Address("127.0.0.1", free_port()), secondary.address))

    assert agent.report_once(is_running=True) == 30
    assert len(secondary.calls) == 1


def test_no_answer_in_time_lets_the_secondary_have_it_even_when_single_bytes_come(primary, secondary):
    """OMF-12"""
    primary.delay_s = 3.0
    boosters = Boosters((primary.address, secondary.address), uses_tls=False, answer_within_s=0.3)
    began = time.monotonic()

    answer = boosters.call("POST", HEARTBEAT, TOKEN, {})

    assert (answer.status, answer.booster) == (200, str(secondary.address))
    assert 0.25 < time.monotonic() - began < 2


def test_a_refusal_is_an_answer_and_not_asked_of_the_secondary(tmp_path, primary, secondary):
    """OMF-15"""
    primary.answers["POST", HEARTBEAT] = (401, {"detail": "unknown"}, {})

    assert make_agent(tmp_path, primary, secondary).report_once(is_running=True) == 60
    assert secondary.calls == []


def test_the_agent_waits_as_long_as_it_is_told_when_it_reports_too_often(tmp_path, primary):
    primary.answers["POST", HEARTBEAT] = (429, {}, {"Retry-After": "17"})

    assert make_agent(tmp_path, primary).report_once(is_running=True) == 17


def test_with_every_booster_away_the_pause_grows_and_the_latest_state_is_sent_when_one_is_back(tmp_path):
    """OMF-17, OMF-60"""
    port = free_port()
    agent = Agent(make_configuration(tmp_path, Address("127.0.0.1", port)))

    pauses = [agent.report_once(is_running=True) for _ in range(3)]
    agent.report_once(is_running=False)
    with fake_booster(port) as back:
        agent.report_once(is_running=False)

    assert [round(pause / expected, 1) <= 1.0 for pause, expected in zip(pauses, (2, 4, 8), strict=True)] == [True] * 3
    assert [(told["ready"], told["cause"]) for told in back.said(HEARTBEAT)] == [(False, "The server does not run.")]
    assert read_json(tmp_path / "state.json")["last_report"]["ready"] is False


def test_the_token_is_never_in_the_log(tmp_path, primary, caplog):
    primary.answers["POST", HEARTBEAT] = (400, {"detail": "malformed"}, {})
    primary.answers["POST", ROLL] = (201, {"token": NEXT_TOKEN}, {})
    agent = make_agent(tmp_path, primary)
    caplog.set_level("DEBUG")

    agent.report_once(is_running=True)
    agent._tokens.roll(agent._caller.boosters, 0.0)

    assert caplog.records
    assert TOKEN[27:] not in caplog.text
    assert NEXT_TOKEN[27:] not in caplog.text


# --- The token ---


def make_caller(tmp_path, booster, moment=0.0):
    tokens = Tokens(tmp_path / "token.json", TOKEN, moment)
    return Caller(Boosters((booster.address,), uses_tls=False), tokens), tokens


def test_a_token_is_due_after_its_days_and_never_without_any(tmp_path, primary):
    _, tokens = make_caller(tmp_path, primary)

    assert [tokens.is_due(moment * DAY_S, days) for moment, days in ((29.9, 30), (30, 30), (400, 0))] == [
        False,
        True,
        False,
    ]


def test_a_new_token_is_on_disk_before_its_use_and_alone_there_once_it_was_taken(tmp_path, primary):
    primary.answers["POST", ROLL] = (201, {"token": NEXT_TOKEN}, {})
    caller, tokens = make_caller(tmp_path, primary)

    tokens.roll(caller.boosters, 5.0)
    kept = json.loads((tmp_path / "token.json").read_text())
    _, restarted = make_caller(tmp_path, primary)
    caller.call("POST", HEARTBEAT, 6.0, {})

    assert (kept["token"], kept["next"], restarted.current) == (TOKEN, NEXT_TOKEN, NEXT_TOKEN)
    assert (tmp_path / "token.json").stat().st_mode & 0o777 == 0o600
    kept = json.loads((tmp_path / "token.json").read_text())
    assert ("next" in kept, kept["token"], primary.calls[-1].token) == (False, NEXT_TOKEN, NEXT_TOKEN)


def test_a_roll_whose_answer_was_lost_is_asked_for_again_within_minutes_also_after_a_restart(tmp_path, primary):
    primary.answers["POST", ROLL] = (500, {}, {})
    caller, tokens = make_caller(tmp_path, primary)

    with pytest.raises(Unreachable):
        tokens.roll(caller.boosters, 1_000.0)
    _, restarted = make_caller(tmp_path, primary)

    assert restarted.current == TOKEN
    assert [restarted.is_due(1_000.0 + later, 30) for later in (29, 30)] == [False, True]


def test_a_new_token_that_the_booster_does_not_know_gives_way_to_the_old_one(tmp_path, primary):
    primary.answers["POST", ROLL] = (201, {"token": NEXT_TOKEN}, {})
    primary.answers["POST", HEARTBEAT] = lambda call: (200 if call.token == TOKEN else 401, {}, {})
    caller, tokens = make_caller(tmp_path, primary)
    tokens.roll(caller.boosters, 5.0)

    answer = caller.call("POST", HEARTBEAT, 6.0, {})

    assert (answer.status, tokens.current) == (200, TOKEN)


def test_a_call_that_a_new_token_overtook_is_made_again_with_it(tmp_path, primary):
    primary.answers["POST", ROLL] = (201, {"token": NEXT_TOKEN}, {})
    caller, tokens = make_caller(tmp_path, primary)

    def overtaken(call):
        if call.token == TOKEN:
            tokens.roll(caller.boosters, 5.0)
            return 401, {}, {}
        return 200, {}, {}

    primary.answers["POST", HEARTBEAT] = overtaken

    assert caller.call("POST", HEARTBEAT, 6.0, {}).status == 200
    assert (tokens.current, [call.token for call in primary.asked(HEARTBEAT)]) == (NEXT_TOKEN, [TOKEN, NEXT_TOKEN])


def test_a_token_that_the_administrator_configures_anew_wins(tmp_path, primary):
    primary.answers["POST", ROLL] = (201, {"token": NEXT_TOKEN}, {})
    caller, tokens = make_caller(tmp_path, primary)
    tokens.roll(caller.boosters, 5.0)
    other = TOKEN[:-1] + "B"

    assert Tokens(tmp_path / "token.json", other, 9.0).current == other
