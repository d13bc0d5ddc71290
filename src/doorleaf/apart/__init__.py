"""Work whose length a request decides, in threads of its own: the event loop goes on, and the request's time counts."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import ParamSpec, Protocol, TypeVar

from doorleaf.apart.collecting import undisturbed
from doorleaf.apart.turns import Turn, Turns
from doorleaf.errors import StoreTimeout

P = ParamSpec("P")
T = TypeVar("T")

SMALL_BYTES = 16 * 1024
"""What is shorter is looked at on the event loop: it takes a few milliseconds at most, whatever it is."""

DEFAULT_MS = 30_000
"""The time of an operation that nobody gave one."""

GRACE_SECONDS = 0.25
"""How long work that looks at its deadline from time to time may be late."""


TURN: ContextVar[str] = ContextVar("doorleaf_turn", default="")
"""For whom something is done, in whose turn it waits; all whom nobody knows have one together."""


class Threads:
    """``most`` threads, made when they are needed, of which each caller has ``each`` at once: its own turn comes when
    it has used less than others of late."""

    def __init__(self, name: str, most: int, each: int) -> None:
        self._name = name
        self._most = most
        self._turns = Turns(most, each)
        self._pool: ThreadPoolExecutor | None = None

    async def run(self, seconds: float, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` in a thread that sees the same context variables, and return its result.

        Raises StoreTimeout when that takes more than ``seconds``, waiting for a thread included. Work that has begun
        then has to end itself: it is given a deadline of its own, and has its thread until it does.
        """
        until = time.monotonic() + max(seconds, 0) + GRACE_SECONDS
        caller = TURN.get()
        turn = self._turns.try_take(caller) or await self._turns.take(caller, until)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._most, thread_name_prefix=f"doorleaf-{self._name}")
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        doing = self._pool.submit(context.run, lambda: undisturbed(work, *args, **kwargs))
        doing.add_done_callback(lambda _: _released(turn, loop))
        try:
            async with asyncio.timeout(until - time.monotonic()):
                return await asyncio.wrap_future(doing)
        except TimeoutError:
            raise StoreTimeout("operation exceeded time limit") from None
        finally:
            del doing  # an error in it holds this frame by its traceback, and so all that the work was given


def _released(turn: Turn, loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.call_soon_threadsafe(turn.release)
    except RuntimeError:  # the loop is closed, and nobody waits on it
        turn.release()


CODING = Threads("coding", 3, 2)
"""For reading and writing large bodies. Few, so that calls into C that hold the interpreter follow one another."""

JUDGING = Threads("judging", 4, 2)
"""For expressions and conditions that callers wrote, and for rules over many documents."""


def left(until: float) -> float:
    """Seconds to the ``time.monotonic()`` instant ``until``; raises StoreTimeout when it is over."""
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise StoreTimeout("operation exceeded time limit")
    return seconds


class Timed(Protocol):
    """Something with a time limit in milliseconds."""

    max_time_ms: int | None


def time_limit(operation: Timed) -> float:
    """The seconds that ``operation`` has in all."""
    return (operation.max_time_ms or DEFAULT_MS) / 1000
