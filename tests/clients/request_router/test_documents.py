"""Documents from a Booster: whole or not at all."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from request_router.documents import (
    Preferences,
    RoutingType,
    ServerStatus,
    WrongDocument,
    configuration_of,
    parsed,
    status_of,
)
from tests.clients.request_router.scenarios import SCENARIOS

GOOD = SCENARIOS["no-tickets-for-a-server-in-transition"]["configuration"]
STATUS = SCENARIOS["no-tickets-for-a-server-in-transition"]["status"]


A_TIMEOUT = "must be a whole number of seconds from 1, or null."


def changed(*path, value):
    document = copy.deepcopy(GOOD)
    place = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return document


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], "the document must be an object."),
        (None, "the document must be an object."),
        ({**GOOD, "format": 2}, "The document's format must be 1."),
        ({**GOOD, "format": True}, "The document's format must be 1."),
        (changed("organization", value="LYON"), "organization must be an object."),
        (changed("multi_server", value="Y"), "the document.multi_server must be true or false."),
        (changed("servers", value={}), "servers must be a list."),
        (changed("servers", 0, "key", value=7), "servers[0].key must be a text."),
        (changed("servers", 1, "type", value="spare"), "servers[1].type must be main or store."),
        (changed("servers", 0, "services", value=[1]), "servers[0].services must be a list of texts."),
        (changed("servers", 1, value=GOOD["servers"][0]), "servers has a key twice."),
        (changed("services", 0, "timeout_s", value=0), f"services[0].timeout_s {A_TIMEOUT}"),
        (changed("services", 0, "transactional", value=1), "services[0].transactional must be true or false."),
        (changed("boosters", value=["ftp://x"]), "boosters[0] must be an http or https address."),
        (changed("servers", 0, "url", value="file:///etc/passwd"), "servers[0].url must be an http or https address."),
        (changed("servers", 0, "url", value="javascript:alert(1)"), "servers[0].url must be an http or https address."),
        (changed("servers", 0, "url", value="https://u:p@x"), "servers[0].url must have no user, query or fragment."),
        (changed("servers", 0, "url", value="https://x:99999"), "servers[0].url is no address."),
        (changed("servers", 0, "url", value="https://x /a"), "servers[0].url must have no user, query or fragment."),
    ],
)  # fmt: skip
def test_a_configuration_with_one_wrong_member_is_refused_whole(document, reason):
    with pytest.raises(WrongDocument) as refused:
        configuration_of(document)

    assert str(refused.value) == reason


def test_preferences_out_of_bounds_fall_back_one_by_one():
    document = changed(
        "preferences",
        value={
            "ping_interval_ms": 59_999,
            "token_refresh_interval_ms": "soon",
            "token_max_age_ms": None,
            "request_retries": True,
            "request_timeout_s": 20,
            "poll_interval_s": 1e9,
        },
    )

    assert configuration_of(document).preferences == Preferences(request_timeout_s=20)


def test_a_routing_type_of_a_later_booster_is_routed_as_fail_over():
    document = changed("services", 0, "routing_type", value="anycast")

    assert configuration_of(document).services[0].routing_type is RoutingType.FAILOVER


def test_a_status_is_taken_whole_or_refused():
    assert status_of(STATUS) == {"a": ServerStatus.TRANSITION_TO_ONLINE, "b": ServerStatus.ONLINE}
    for wrong, reason in (
        ({"format": 1}, "servers must be a list."),
        ({"format": 1, "servers": [{"key": "a", "status": "great"}]}, "servers[0].status is no state."),
        ({"format": 1, "servers": [{"key": "", "status": "online"}]}, "servers[0].key must be a text."),
    ):
        with pytest.raises(WrongDocument, match=reason.replace("[", r"\[").replace("]", r"\]")):
            status_of(wrong)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_is_refused(body):
    with pytest.raises(WrongDocument):
        parsed(body)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_stands_in_a_place_the_document_is_taken_or_refused_and_nothing_else_happens(data):
    document = json.loads(json.dumps(GOOD))
    place, name = document, data.draw(st.sampled_from(sorted(document)))
    while isinstance(place[name], dict | list) and place[name] and data.draw(st.booleans()):
        place = place[name]
        name = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
    place[name] = data.draw(anything)

    try:
        configuration = configuration_of(document)
    except WrongDocument:
        return
    assert all(server.url.startswith(("http://", "https://")) for server in configuration.servers)
