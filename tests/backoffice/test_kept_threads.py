"""Requests are answered in a bounded number of threads that earlier ones left."""

import asyncio
import threading

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.handlers.asgi import ASGIHandler

from backoffice.asgi import application
from backoffice.kept_threads import KeptThreads
from tests.coroutines import run


def app(noted, meeting=None):
    """Return an application that notes which thread its synchronous work runs in, as Django's does."""

    async def answer(scope, receive, send):
        async with ThreadSensitiveContext():  # Django's own, which takes the one around it
            noted.append(await sync_to_async(threading.current_thread)())
            if meeting is not None:
                await meeting.wait()
            noted.append(await sync_to_async(threading.current_thread)())
            if scope.get("fails"):
                raise OSError

    return answer


async def call(serving, times=1, **scope):
    await asyncio.gather(*(serving(scope, None, None) for _ in range(times)), return_exceptions=True)


async def nothing(message):
    pass


def test_one_request_after_another_takes_the_same_thread_also_after_a_failure():
    noted = []

    async def three():
        serving = KeptThreads(app(noted), 4)
        await call(serving)
        await call(serving, fails=True)
        await call(serving)

    run(three())

    assert (len(noted), len(set(noted))) == (6, 1)


def test_requests_at_once_have_a_thread_each_which_the_next_ones_take():
    noted = []

    async def three_and_again():
        serving = KeptThreads(app(noted, asyncio.Barrier(3)), 4)
        await call(serving, 3)
        await call(serving, 3)

    run(three_and_again())

    assert (len(noted), len(set(noted))) == (12, 3)


def test_a_request_beyond_the_bound_waits_for_a_thread_and_keeps_it_for_all_its_calls():
    under_way, most = 0, []

    def work():
        nonlocal under_way
        under_way += 1
        most.append(under_way)
        return threading.current_thread()

    async def answer(scope, receive, send):
        nonlocal under_way
        threads = {await sync_to_async(work)()}
        await asyncio.sleep(0.002)
        threads.add(await sync_to_async(threading.current_thread)())
        under_way -= 1
        scope["noted"].append(threads)

    noted = []
    run(call(KeptThreads(answer, 2), 20, noted=noted))

    assert ([len(threads) for threads in noted], len(set.union(*noted)), max(most)) == ([1] * 20, 2, 2)


def test_a_stream_holds_no_thread_between_its_parts():
    others = []

    async def answer(scope, receive, send):
        first = await sync_to_async(threading.current_thread)()
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await scope["go_on"].wait()
        scope["noted"].append((first, await sync_to_async(threading.current_thread)()))

    async def ten_streams_and_a_request():
        scope = {"go_on": asyncio.Event(), "noted": []}
        serving = KeptThreads(answer, 1)
        streams = [asyncio.create_task(serving(scope, None, nothing)) for _ in range(10)]
        await asyncio.wait_for(serving({**scope, "go_on": _set(), "noted": others}, None, nothing), 5)
        scope["go_on"].set()
        await asyncio.wait_for(asyncio.gather(*streams), 5)
        return scope["noted"]

    noted = run(ten_streams_and_a_request())

    assert (len(noted), len({thread for pair in [*noted, *others] for thread in pair})) == (10, 1)


def _set():
    event = asyncio.Event()
    event.set()
    return event


@pytest.mark.parametrize("is_working", [True, False])
def test_a_request_that_is_broken_off_leaves_its_thread_when_its_work_is_done(is_working):
    may_end = threading.Event()
    noted = []

    async def busy(scope, receive, send):
        await sync_to_async(scope["work"])()

    async def broken_off():
        serving = KeptThreads(busy, 1)
        first = asyncio.create_task(serving({"work": lambda: may_end.wait(5)}, None, None))
        second = asyncio.create_task(serving({"work": lambda: noted.append("second")}, None, None))
        await asyncio.sleep(0.05)
        (first if is_working else second).cancel()
        await asyncio.sleep(0.05)
        may_end.set()
        await asyncio.gather(first, second, return_exceptions=True)
        await asyncio.wait_for(serving({"work": lambda: noted.append("third")}, None, None), 5)

    run(broken_off())

    assert noted == (["second", "third"] if is_working else ["third"])


def test_the_product_is_served_so():
    kept = application._django._application._application

    assert isinstance(kept, KeptThreads)
    assert isinstance(kept._application, ASGIHandler)
    assert kept._most == 16
