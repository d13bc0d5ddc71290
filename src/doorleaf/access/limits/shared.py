"""Rates that all servers count together, in Redis. Imported where one is set: its library takes two megabytes."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Literal

from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter


class Shared:
    """Counts in the Redis at ``url``, which has ``patience`` seconds.

    Raises ValueError that quotes no URL where it cannot be used.
    """

    def __init__(self, url: str, patience: float) -> None:
        try:
            storage = RedisStorage(
                f"async+{url}", implementation="redispy", socket_connect_timeout=patience, socket_timeout=patience
            )
        except Exception:  # whatever is said about a URL may quote it, password included
            raise ValueError(
                "redis_url: cannot be used; it must be like redis://:password@host:6379/0, with special characters"
                " escaped"
            ) from None
        self._limiter = FixedWindowRateLimiter(storage)

    async def used_up(self, act: Literal["hit", "test"], text: str, subject: str, name: str) -> float | None:
        """The seconds until the window of the rate ``text`` ends, if it is used up; ``hit`` counts, too.

        Raises errors of the library, of the client, and of the socket: which, depends on when it broke.
        """
        item = _item(text)
        if await getattr(self._limiter, act)(item, subject, name):
            return None
        return (await self._limiter.get_window_stats(item, subject, name)).reset_time - time.time()

    async def close(self) -> None:
        """Let go of Redis."""
        await self._limiter.storage.bridge.storage.aclose()  # type: ignore[attr-defined]


@lru_cache(maxsize=1024)
def _item(text: str) -> RateLimitItem:
    return parse(text)
