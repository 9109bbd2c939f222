"""The terminal for browsers keeps what is good, and takes nothing from whom it should not."""

import json
import re
from pathlib import Path

import pytest

from tests.clients.request_router.scenarios import SCENARIOS
from tests.clients.webpos.node import printed

TYPES = Path(__file__).parents[3] / "clients/webpos/router.d.ts"


@pytest.fixture(scope="module")
def told():
    document = {**SCENARIOS["one-server"]["configuration"], "boosters": ["https://a.example", "https://b.example"]}
    return document, json.loads(printed("run_terminal.mjs", json.dumps(document)))


def test_poll_takes_a_document_once_and_keeps_the_good_one_when_a_booster_is_hostile(told):
    document, became = told

    assert (became["first"], became["again"], became["hostile"]) == (True, False, "WrongDocument")
    assert became["keptServers"] == [document["servers"][0]["url"]]
    assert became["restored"] == [[document["servers"][0]["key"]], 7]


def test_poll_follows_no_redirect_and_sends_no_cookie(told):
    _, became = told

    assert became["nobody"] == "NoBooster"
    assert became["hosts"] == ["https://a.example", "https://b.example"]
    assert became["options"] == ["manual omit"]


def test_poll_says_when_the_terminal_was_revoked(told):
    assert told[1]["revoked"] == "Refused"


def test_boosters_return_to_the_primary_after_a_while(told):
    assert told[1]["passedOver"] == ["https://b.example", "https://a.example"]
    assert told[1]["back"] == ["https://a.example", "https://b.example"]


def test_renew_login_sends_the_new_token_and_keeps_the_old_one_while_none_is_given(told):
    assert told[1]["renewed"] == [False, True, False]
    assert told[1]["sentLogins"] == ["Bearer old", "Bearer old", "Bearer new"]


def test_the_types_name_exactly_what_the_module_exports(told):
    typed = set(re.findall(r"^export (?:class|function) (\w+)", TYPES.read_text(), re.MULTILINE))

    assert sorted(typed) == told[1]["exports"]


def test_request_refuses_what_json_would_change_in_silence(told):
    assert told[1]["unsendable"] == {"nan": "WrongRequest", "infinite": "WrongRequest", "half": "WrongRequest"}
    assert told[1]["unsendableWaiting"] == 0
