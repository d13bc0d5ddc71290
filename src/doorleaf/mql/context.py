"""What one operation may still spend: time and memory. Passed to everything that loops."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from doorleaf.errors import DataError, StoreTimeout

MEMORY_LIMIT = 100 * 1024 * 1024
"""Bytes that blocking stages (sort, group and the like) of one operation may hold."""

_CALLS_PER_CLOCK = 64


class Context:
    """The deadline, the clock and the memory of one operation; used by one thread at a time.

    ``deadline`` is a ``time.monotonic()`` instant or None; ``now`` is naive UTC, the value of ``$$NOW``. ``max_scan``
    is the most documents that a collection may have to be read without an index, None for any number.
    """

    __slots__ = ("_calls", "_charged", "_now", "deadline", "max_scan", "memory_limit")

    def __init__(
        self, deadline: float | None = None, now: datetime | None = None, *, memory_limit: int = MEMORY_LIMIT
    ) -> None:
        self.deadline = deadline
        self._now = None if now is None else _whole_milliseconds(now)
        self.memory_limit = memory_limit
        self.max_scan: int | None = None
        self._calls = 0
        self._charged = 0

    @property
    def now(self) -> datetime:
        """The instant of the operation, in whole milliseconds: when somebody first asks, and the same ever after."""
        if self._now is None:
            self._now = _whole_milliseconds(datetime.now(UTC).replace(tzinfo=None))
        return self._now

    def check(self) -> None:
        """Raise :class:`StoreTimeout` past the deadline; looks at the clock once in 64 calls."""
        self._calls += 1
        if self._calls % _CALLS_PER_CLOCK == 0:
            self.check_now()

    def check_now(self) -> None:
        """Raise :class:`StoreTimeout` past the deadline; always looks at the clock."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise timed_out()

    def remaining(self) -> float | None:
        """Seconds until the deadline, always above zero, or None without one; raises past it."""
        if self.deadline is None:
            return None
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise timed_out()
        return left

    def charge(self, size: int, stage: str = "Sort") -> None:
        """Account for ``size`` bytes held by ``stage``; raises error 292 above the limit."""
        self._charged += size
        if self._charged > self.memory_limit:
            raise DataError(
                f"{stage} exceeded memory limit of {self.memory_limit} bytes, but did not opt in to external sorting.",
                number=292,
            )

    def release(self, size: int) -> None:
        """Give back bytes charged before."""
        self._charged -= size


def _whole_milliseconds(instant: datetime) -> datetime:
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def timed_out() -> StoreTimeout:
    """The error of an operation that used up its time."""
    return StoreTimeout("operation exceeded time limit")
