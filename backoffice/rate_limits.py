"""Counting what must not happen too often, in the cache that all processes share."""

from __future__ import annotations

from datetime import datetime

import redis
import structlog
from django.core.cache import cache

from backoffice.refusals import TooManyAttempts

logger = structlog.get_logger(__name__)


def count(what: str, *, limit: int, window_s: int, moment: datetime, detail: str) -> None:
    """Count `what` once more; raises TooManyAttempts above `limit` per window of `window_s` seconds.

    Without the shared cache nothing is counted: that is better than refusing everybody.
    """
    window, elapsed = divmod(int(moment.timestamp()), window_s)
    key = f"{what}:{window}"
    try:
        cache.add(key, 0, timeout=window_s)
        counted = cache.incr(key)
    except (redis.RedisError, ValueError) as error:
        logger.warning("not-counted", what=what.partition(":")[0], error=type(error).__name__)
        return
    if counted > limit:
        raise TooManyAttempts(detail, retry_after_s=window_s - elapsed)
