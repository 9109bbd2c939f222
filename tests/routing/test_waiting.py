"""Waiting for a document to change, without any server: in an event loop with a clock that the test turns."""

import asyncio
import itertools
import random
import threading

import pytest

from routing import waiting
from routing.document import Door
from routing.waiting import WAITS_PER_TOKEN, Waiting, Woken
from tests.coroutines import run

LYON, OSLO = (Door.CONFIGURATION, "LYON"), (Door.CONFIGURATION, "OSLO")
LYON_STATUS = (Door.STATUS, "LYON")


def nobody_is_over(token_id, topics):
    return False


class Tags(dict):
    """The present tags by topic."""

    def of(self, topic):
        return self.get(topic)


@pytest.fixture
def tags():
    return Tags({LYON: "1", OSLO: "1", LYON_STATUS: "1"})


async def settle():
    for _ in range(60):
        await asyncio.sleep(0)


def begin(held, tags, *topics, token="t", seconds=60.0):
    return asyncio.ensure_future(held.wait(token, topics, tuple(tags[topic] for topic in topics), seconds, tags.of))


def test_a_change_wakes_only_those_whose_document_changed(tags):
    async def scene():
        held = Waiting(1_000)
        lyon, oslo = begin(held, tags, LYON, token="a"), begin(held, tags, OSLO, token="b")
        await settle()
        tags[LYON] = "2"
        held.moved(tags.of, nobody_is_over)
        await settle()
        seen = (lyon.done() and lyon.result(), oslo.done(), len(held))
        held.stop()
        await asyncio.gather(lyon, oslo)
        return seen, oslo.result(), len(held)

    assert run(scene()) == ((Woken.CHANGED, False, 1), Woken.STOPPED, 0)


def test_a_change_from_another_thread_wakes_waiters_of_any_of_their_documents(tags):
    async def scene():
        held = Waiting(1_000)
        both = begin(held, tags, LYON, LYON_STATUS)
        await settle()
        tags[LYON_STATUS] = "2"
        thread = threading.Thread(target=held.moved, args=(tags.of, nobody_is_over))
        thread.start()
        return await asyncio.wait_for(both, 5)

    assert run(scene()) is Woken.CHANGED


def test_a_change_between_the_answer_and_the_wait_is_not_missed(tags):
    async def scene():
        held = Waiting(1_000)
        return await held.wait("t", (LYON,), ("an older one",), 60, tags.of), len(held)

    assert run(scene()) == (Woken.CHANGED, 0)


def test_a_document_that_is_no_more_wakes_its_waiters(tags):
    async def scene():
        held = Waiting(1_000)
        lyon = begin(held, tags, LYON)
        await settle()
        del tags[LYON]
        held.moved(tags.of, nobody_is_over)
        return await asyncio.wait_for(lyon, 5)

    assert run(scene()) is Woken.CHANGED


def test_the_bearer_of_a_token_that_opens_nothing_any_more_is_woken(tags):
    async def scene():
        held = Waiting(1_000)
        ended, other = begin(held, tags, LYON, token="ended"), begin(held, tags, LYON, token="other")
        await settle()
        held.moved(tags.of, lambda token_id, topics: (token_id, topics) == ("ended", (LYON,)))
        await settle()
        seen = ended.done(), other.done()
        held.stop()
        await other
        return seen

    assert run(scene()) == (True, False)


def test_the_oldest_of_too_many_waits_of_one_terminal_ends(tags):
    async def scene():
        held = Waiting(1_000)
        waits = [begin(held, tags, LYON) for _ in range(WAITS_PER_TOKEN + 1)]
        await settle()
        ended = [wait.result() for wait in waits if wait.done()]
        first_is = waits[0].done()
        held.stop()
        await asyncio.gather(*waits)
        return ended, first_is

    assert run(scene()) == ([Woken.DISPLACED], True)


def test_waits_end_when_their_time_has_come_and_not_all_at_once(tags, monkeypatch):
    monkeypatch.setattr(waiting, "random", random.Random(1))

    async def scene():
        loop = asyncio.get_running_loop()
        start, turned = loop.time(), 0.0
        monkeypatch.setattr(loop, "time", lambda: start + turned)
        held = Waiting(1_000)
        waits = [begin(held, tags, LYON, token=str(number), seconds=40) for number in range(200)]
        await settle()
        ended_at = {}
        while len(held) and turned < 60:
            turned += waiting.SLOT_S
            held._end_waits()
            held._tick and held._tick.cancel()
            await settle()
            ended_at |= {n: turned for n, wait in enumerate(waits) if wait.done() and n not in ended_at}
        return {wait.result() for wait in waits}, sorted(ended_at.values())

    reasons, moments = run(scene())

    assert reasons == {Woken.TIME}
    assert moments[0] >= 36
    assert moments[-1] <= 40 + waiting.SLOT_S
    assert len(set(moments)) > 10


def test_many_are_woken_in_portions_with_other_work_between(tags):
    async def scene():
        held = Waiting(1_000)
        waits = [begin(held, tags, LYON, token=str(number)) for number in range(3 * waiting.WOKEN_AT_ONCE)]
        await settle()
        tags[LYON] = "2"
        held.moved(tags.of, nobody_is_over)
        portions = []
        while not all(wait.done() for wait in waits):
            await asyncio.sleep(0)
            portions.append(sum(wait.done() for wait in waits))
        return portions

    portions = [0, *run(scene())]

    steps = [later - earlier for earlier, later in itertools.pairwise(portions)]
    assert max(steps) <= waiting.WOKEN_AT_ONCE
    assert portions[-1] == 3 * waiting.WOKEN_AT_ONCE


def test_nobody_waits_once_the_process_is_told_to_stop(tags):
    async def scene():
        held = Waiting(1_000)
        held.stop()
        return await held.wait("t", (LYON,), ("1",), 60, tags.of)

    assert run(scene()) is Woken.STOPPED


def test_a_wait_that_is_cancelled_leaves_nothing_behind(tags):
    async def scene():
        held = Waiting(1_000)
        lyon = begin(held, tags, LYON)
        await settle()
        lyon.cancel()
        await settle()
        return len(held), held._by_topic, held._by_token

    assert run(scene()) == (0, {}, {})


def test_no_more_wait_than_there_is_room_for(tags):
    async def scene():
        held = Waiting(1)
        first = begin(held, tags, LYON, token="a")
        await settle()
        second = await begin(held, tags, LYON, token="b")
        held.stop()
        return second, await first, len(held)

    assert run(scene()) == (Woken.FULL, Woken.STOPPED, 0)
