"""The router for browsers does what the scenarios of all routers say, in Node."""

import json

import pytest

from tests.clients.request_router.scenarios import SCENARIOS
from tests.clients.webpos.node import printed


@pytest.fixture(scope="session")
def told():
    return json.loads(printed("run_scenarios.mjs", given=json.dumps(SCENARIOS)))


def check(scenario, told):
    """Compare what a router did with what its scenario expects."""
    expected = scenario["expect"]
    asked = [step for step in scenario["steps"] if "request" in step]

    assert told.get("error") is None
    assert told["results"] == [[step["request"]["id"], step["expect"]] for step in asked]
    assert {name: told[name] for name in ("queue", "errors")} == {name: expected[name] for name in ("queue", "errors")}
    if "contacts" in expected:
        assert told["contacts"] == expected["contacts"]
    if "accepted" in expected:
        assert {key: ids for key, ids in told["accepted"].items() if ids} == {
            key: ids for key, ids in expected["accepted"].items() if ids
        }
    if "online" in expected:
        assert {key: told["online"][key] for key in expected["online"]} == expected["online"]


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_browsers_router_does_what_the_scenario_says(name, told):
    check(SCENARIOS[name], told[name])
