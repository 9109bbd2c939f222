"""Being told that this process is to end, in time to let go of whoever waits for an answer.

The web server ends only after its requests have: one that would wait for a minute must hear of the end
before the server's own hook comes.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from typing import Any

_stops: dict[Callable[[], object], asyncio.AbstractEventLoop] = {}


def when_told_to_stop(stop: Callable[[], object]) -> None:
    """Call `stop` in the running loop when this process is told to end, besides what the web server does then.

    The server's own handler wakes its loop by the signal's file descriptor, whatever function is set
    here. Where nobody has set one, the process is not ours to keep from ending. Safe to call again.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    _stops[stop] = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)
        if not callable(before) or getattr(before, "tells_all", False):
            continue

        def told_to(received: int, frame: Any, before: Any = before) -> None:
            for each, its_loop in list(_stops.items()):
                if not its_loop.is_closed():
                    its_loop.call_soon_threadsafe(each)
            before(received, frame)

        told_to.tells_all = True  # type: ignore[attr-defined]
        signal.signal(number, told_to)
        signal.siginterrupt(number, False)
