"""Time limits of operations: as :func:`asyncio.timeout_at`, for a seventh of what that costs.

A limit is only noticed when it is over, by one look at all of them every :data:`LOOK_SECONDS`: so it costs no timer.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Protocol

LOOK_SECONDS = 0.05
"""How often somebody looks, and so by how much later than its limit an operation may end."""


class Timed(Protocol):
    """Work with a ``deadline``, a time of the loop's, which is told by ``end`` when it is over."""

    deadline: float

    def end(self) -> None: ...


class Limits:
    """The limits of one event loop. ``running`` is what is timed; who is done takes itself out."""

    __slots__ = ("_looking", "_loop", "now", "running")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.now = loop.time
        self.running: set[Timed] = set()
        self._looking = False

    def until(self, deadline: float) -> TimeLimit:
        """Within it the task is cancelled at ``deadline``, a time of the loop's, and TimeoutError raised."""
        return TimeLimit(self, deadline)

    def begin(self, limit: Timed) -> None:
        """Have ``limit`` ended at its deadline."""
        self.running.add(limit)
        if not self._looking:
            self._looking = True
            self._loop.call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        now = self.now()
        for limit in [limit for limit in self.running if limit.deadline <= now]:
            self.running.discard(limit)
            limit.end()
        self._looking = bool(self.running)
        if self._looking:
            self._loop.call_later(LOOK_SECONDS, self._look)


class TimeLimit:
    """One limit, entered once."""

    __slots__ = ("_before", "_limits", "_over", "_task", "deadline")

    def __init__(self, limits: Limits, deadline: float) -> None:
        self._limits = limits
        self._over = False
        self.deadline = deadline

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a time limit is for a task")
        self._task: asyncio.Task[Any] = task
        self._before = task.cancelling()
        self._limits.begin(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._limits.running.discard(self)
        # Whoever was cancelled by somebody else too is cancelled.
        if self._over and self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def end(self) -> None:
        """Cancel what goes on within it."""
        self._over = True
        self._task.cancel()
