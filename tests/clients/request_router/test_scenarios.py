"""The scenarios that every router must pass."""

import pytest

from tests.clients.request_router.scenarios import SCENARIOS, run


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_router_does_what_the_scenario_says(name, tmp_path):
    scenario = SCENARIOS[name]
    world, router, results = run(scenario, tmp_path / "queue.sqlite3")
    expected = scenario["expect"]

    assert [(asked, told) for asked, told, _ in results] == [(asked, wanted) for asked, _, wanted in results]
    assert [message.message_id for message in router.queue.waiting()] == expected["queue"]
    assert [message.message_id for message in router.queue.errors()] == expected["errors"]
    if "contacts" in expected:
        assert [list(contact) for contact in world.contacts] == expected["contacts"]
    if "accepted" in expected:
        assert {key: world.accepted.get(key, []) for key in expected["accepted"]} == expected["accepted"]
        assert set(world.accepted) <= {*expected["accepted"], *(k for k, ids in world.accepted.items() if not ids)}
    if "online" in expected:
        assert {key: router.is_online(key) for key in expected["online"]} == expected["online"]
