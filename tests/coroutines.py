"""Running coroutines in tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in this thread, even where the browser tests have left a loop running in it."""
    running = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        return asyncio.run(coroutine)
    finally:
        asyncio._set_running_loop(running)


def outside_the_loop(action: Callable[[], Any]) -> Any:
    """Call `action` as if no loop were running: with the test's own connection to the database."""
    running = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        return action()
    finally:
        asyncio._set_running_loop(running)
