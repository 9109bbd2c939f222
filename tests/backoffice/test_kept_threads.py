"""Requests are answered in threads that earlier ones left."""

import asyncio
import threading

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.handlers.asgi import ASGIHandler

from backoffice import kept_threads
from backoffice.asgi import application
from backoffice.kept_threads import KeptThreads
from tests.coroutines import run


def app(noted, meeting=None):
    """Return an application that notes which thread its synchronous work runs in, as Django's does."""

    async def answer(scope, receive, send):
        async with ThreadSensitiveContext():  # Django's own, which takes the one around it
            if meeting is not None:
                await meeting.wait()
            noted.append(await sync_to_async(threading.current_thread)())
            if scope.get("fails"):
                raise OSError

    return answer


async def call(serving, times=1, **scope):
    await asyncio.gather(*(serving(scope, None, None) for _ in range(times)), return_exceptions=True)


def test_one_request_after_another_takes_the_same_thread_also_after_a_failure():
    noted = []

    async def three():
        serving = KeptThreads(app(noted))
        await call(serving)
        await call(serving, fails=True)
        await call(serving)

    run(three())

    assert (len(noted), len(set(noted))) == (3, 1)


@pytest.mark.parametrize(("most_idle", "threads"), [(16, 3), (1, 5)])
def test_requests_at_once_have_a_thread_each_and_few_are_kept(monkeypatch, most_idle, threads):
    monkeypatch.setattr(kept_threads, "MOST_IDLE", most_idle)
    noted = []

    async def three_and_again():
        serving = KeptThreads(app(noted, asyncio.Barrier(3)))
        await call(serving, 3)
        await call(serving, 3)

    run(three_and_again())

    assert (len(noted), len(set(noted))) == (6, threads)


def test_the_product_is_served_so():
    assert isinstance(application._django._application, KeptThreads)
    assert isinstance(application._django._application._application, ASGIHandler)
