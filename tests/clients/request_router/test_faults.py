"""Whatever fails and when: nothing is lost, nothing is doubled, the order holds, and every request ends."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from request_router.router import Outcome
from tests.clients.request_router.scenarios import SCENARIOS, UNEXECUTED, run

LOADER = "org.openbravo.retail.posterminal.OrderLoader"
PRODUCT = "org.openbravo.retail.posterminal.master.Product"
TEMPLATE = SCENARIOS["first-server-is-called"]
PASSING = sorted({*UNEXECUTED, "lost_answer", "ok"} - {"refusal", "http_400"})
"""What a server may do that says nothing against the ticket itself."""

steps = st.one_of(
    st.tuples(st.just("fault"), st.sampled_from("ab"), st.sampled_from(PASSING)),
    st.tuples(st.just("ticket")),
    st.tuples(st.just("query")),
    st.tuples(st.just("restart")),
    st.tuples(st.just("advance"), st.integers(1, 90_000)),
)


def scenario_of(script):
    """Return the scenario that a generated script spells, with both servers well in the end."""
    told, number = [], 0
    for kind, *rest in script:
        if kind == "fault":
            told.append({"fault": {"server": rest[0], "mode": rest[1]}})
        elif kind == "restart":
            told.append({"restart": True})
        elif kind == "advance":
            told.append({"advance_ms": rest[0]})
        else:
            number += 1
            asked = {"id": f"{kind}{number}", "path": LOADER if kind == "ticket" else PRODUCT}
            told.append({"request": asked | ({"data": [number]} if kind == "ticket" else {}), "expect": None})
    well = [{"fault": {"server": key, "mode": "ok"}} for key in "ab"]
    return {**TEMPLATE, "steps": [*told, *well, {"advance_ms": 10_000_000}]}


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=25))
def test_no_ticket_is_lost_or_doubled_and_every_request_ends(script):
    with tempfile.TemporaryDirectory(prefix="booster-queue-") as folder:
        world, router, results = run(scenario_of(script), Path(folder) / "queue.sqlite3")
        delivered = [delivery.message_id for delivery in router.queue.deliveries()]
        left = [*router.queue.waiting(), *router.queue.errors()]

    sold = [asked for asked, _, _ in results if asked.startswith("ticket")]
    held = [message_id for ids in world.accepted.values() for message_id in ids]
    assert set(held) == set(sold)
    assert all(len(ids) == len(set(ids)) for ids in world.accepted.values())
    assert left == []
    assert delivered == sold
    assert all(told["outcome"] == Outcome.STORED for asked, told, _ in results if asked.startswith("ticket"))
    for asked, told, _ in results:
        if asked.startswith("query"):
            assert told["outcome"] in (Outcome.SUCCESS, Outcome.FAILURE)
            assert len(told["tried"]) == len(set(told["tried"])) <= 2
