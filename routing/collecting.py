"""Keeping the garbage collector away from what a process holds for long.

A collection looks through every object of the process, and nothing else runs meanwhile: with 50,000 terminals
that is 300 ms, and loading them makes it happen. What a snapshot holds ends by itself when the snapshot does.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Load something large in the block without any collection, and spare it from those to come.

    What can be collected is collected before: what is spared is never looked at again. That is quick, since
    the last load was spared too.
    """
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
