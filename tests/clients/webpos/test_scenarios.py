"""The router for browsers does what the scenarios of all routers say, in Node."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.request_router.scenarios import SCENARIOS

NODE = shutil.which("node")
HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(NODE is None, reason="no Node is installed here")


@pytest.fixture(scope="session")
def told():
    answer = subprocess.run(
        [str(NODE), str(HERE / "run_scenarios.mjs")],
        input=json.dumps(SCENARIOS),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(answer.stdout)


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
