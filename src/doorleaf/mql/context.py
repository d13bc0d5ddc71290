"""What one operation may still spend: time and memory. Passed to everything that loops."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from heapq import merge
from typing import Any, TypeVar

from doorleaf.errors import DataError, StoreTimeout

MEMORY_LIMIT = 100 * 1024 * 1024
"""Bytes that one operation may hold: what stages, accumulators and expressions made and have not let go."""

RUN = 1024
"""Elements that may be gone through between two looks at the clock."""

_CALLS_PER_CLOCK = 64
_KEY_WEIGHT = 120
_SORTED_AT_ONCE = 16 * RUN

T = TypeVar("T")


class Context:
    """The deadline, the clock and the memory of one operation; used by one thread at a time.

    ``deadline`` is a ``time.monotonic()`` instant or None; ``now`` is naive UTC, the value of ``$$NOW``. ``max_scan``
    is the most documents that a collection may have to be read without an index, ``max_bytes`` the most bytes that the
    answer may have, None for any number. ``turn`` says for whom it is.
    """

    __slots__ = ("_calls", "_charged", "_now", "deadline", "later", "max_bytes", "max_scan", "memory_limit", "turn")

    def __init__(
        self, deadline: float | None = None, now: datetime | None = None, *, memory_limit: int = MEMORY_LIMIT
    ) -> None:
        self.deadline = deadline
        self.later: Callable[[], float | None] | None = None
        """Asked when the deadline has come: answers a later one, or None where it holds."""
        self._now = None if now is None else _whole_milliseconds(now)
        self.memory_limit = memory_limit
        self.max_scan: int | None = None
        self.max_bytes: int | None = None
        self.turn = ""
        self._calls = 0
        self._charged = 0

    @property
    def now(self) -> datetime:
        """The instant of the operation, in whole milliseconds: when somebody first asks, and the same ever after."""
        if self._now is None:
            self._now = _whole_milliseconds(datetime.now(UTC).replace(tzinfo=None))
        return self._now

    # --- time ----------------------------------------------------------------------------------------------------

    def check(self, weight: int = 1) -> None:
        """Raise :class:`StoreTimeout` past the deadline; looks at the clock once in 64 calls of ``weight`` 1."""
        self._calls += weight
        if self._calls >= _CALLS_PER_CLOCK:
            self._calls = 0
            self.check_now()

    def check_now(self) -> None:
        """Raise :class:`StoreTimeout` past the deadline; always looks at the clock."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            later = None if self.later is None else self.later()
            if later is None:
                raise timed_out()
            self.deadline = later

    def remaining(self) -> float | None:
        """Seconds until the deadline, always above zero, or None without one; raises past it."""
        if self.deadline is None:
            return None
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise timed_out()
        return left

    def runs(self, items: Sequence[T], run: int = RUN) -> Iterator[Sequence[T]]:
        """``items`` in pieces of ``run``, with a look at the clock before each but the first."""
        if len(items) <= run:
            yield items
            return
        for start in range(0, len(items), run):
            self.check_now()
            yield items[start : start + run]

    def each(self, items: Sequence[T]) -> Iterable[T]:
        """``items`` one by one, with looks at the clock: for loops over what a document or a request has."""
        if len(items) <= _CALLS_PER_CLOCK:
            self.check()
            return items
        self.check_now()
        return items if len(items) <= RUN else (item for run in self.runs(items) for item in run)

    def sort(self, items: list[T], key: Callable[[T], Any], *, reverse: bool = False) -> list[T]:
        """``sorted``, stable, in pieces that are merged: no step of it takes longer than the clock may be left alone.

        Charges for the keys while it lasts.
        """
        if len(items) <= _CALLS_PER_CLOCK:
            self.check()
            return sorted(items, key=key, reverse=reverse)
        weight = _KEY_WEIGHT * len(items)
        self.charge(weight)
        try:
            pieces = []
            for piece in self.runs(items, _SORTED_AT_ONCE):
                # Of few items each may be large, and its key take long.
                check = self.check if len(items) > RUN else self.check_now
                keyed = []
                for item in piece:
                    check()
                    keyed.append((key(item), item))
                keyed.sort(key=_first, reverse=reverse)
                pieces.append(keyed)
            if len(pieces) == 1:
                return [item for _, item in pieces[0]]
            found: list[T] = []
            for _, item in merge(*pieces, key=_first, reverse=reverse):
                self.check()
                found.append(item)
            return found
        finally:
            self.release(weight)

    # --- memory --------------------------------------------------------------------------------------------------

    def charge(self, size: int, stage: str = "Sort", number: int = 292) -> None:
        """Account for ``size`` bytes held by ``stage``; raises error ``number`` (292 or 146) above the limit."""
        self._charged += size
        if self._charged > self.memory_limit:
            self._refuse(stage, number)

    def _refuse(self, stage: str, number: int) -> None:
        if number == 146:
            text = f"{stage} used too much memory and cannot spill to disk. Used: {self._charged} bytes."
            raise DataError(f"{text} Memory limit: {self.memory_limit} bytes", number=146)
        raise DataError(
            f"{stage} exceeded memory limit of {self.memory_limit} bytes, but did not opt in to external sorting.",
            number=292,
        )

    def release(self, size: int) -> None:
        """Give back bytes charged before."""
        self._charged -= size

    @contextmanager
    def holding(self, size: int, stage: str) -> Iterator[None]:
        """``size`` bytes charged to ``stage`` for as long as the block lasts; error 146 above the limit."""
        self.charge(size, stage, 146)
        try:
            yield
        finally:
            self.release(size)


def _first(entry: tuple[Any, Any]) -> Any:
    return entry[0]


def _whole_milliseconds(instant: datetime) -> datetime:
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def timed_out() -> StoreTimeout:
    """The error of an operation that used up its time."""
    return StoreTimeout("operation exceeded time limit")
