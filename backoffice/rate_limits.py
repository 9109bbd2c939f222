"""Counting what must not happen too often, in the cache that all processes share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import redis
import structlog
from django.core.cache import cache

from backoffice.refusals import TooManyAttempts

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limit:
    """How often something may happen for the same caller: `most` times in each window of `window_s` seconds."""

    what: str
    most: int
    window_s: int
    detail: str

    def count(self, whom: object, moment: datetime) -> None:
        """Count it once more for `whom`; raises TooManyAttempts above the limit.

        Without the shared cache nothing is counted: that is better than refusing everybody.
        """
        window, elapsed = divmod(int(moment.timestamp()), self.window_s)
        key = f"{self.what}:{whom}:{window}"
        try:
            cache.add(key, 0, timeout=self.window_s)
            counted = cache.incr(key)
        except (redis.RedisError, ValueError) as error:
            logger.warning("not-counted", what=self.what, error=type(error).__name__)
            return
        if counted > self.most:
            raise TooManyAttempts(self.detail, retry_after_s=self.window_s - elapsed)


DEVICE_REPORTS_PER_MINUTE = 60
TOKEN_ROLLS = Limit("token-rolls", 10, 3_600, "This device's token is rolled too often.")
"""Every roll leaves a row for good, and lets all processes read the terminals' tokens again."""
