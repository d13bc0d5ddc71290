"""Turns at work that is dear: a few pieces at once, and one caller after the other, however much each of them wants."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from doorleaf.errors import TooManyRequests

Waiters = OrderedDict[str, deque[asyncio.Future[None]]]


class Turns:
    """At most ``at_once`` pieces of work at a time in this process.

    Of one caller ``of_one`` may wait, of all ``of_all``, and of those who go first as many again. Whoever waits gets a
    turn after each other caller had one at most, not after everything that the others wait with.
    """

    def __init__(self, at_once: int, *, of_one: int, of_all: int) -> None:
        self._free = at_once
        self._of_one = of_one
        self._of_all = of_all
        self._waiting: dict[bool, Waiters] = {True: OrderedDict(), False: OrderedDict()}
        self._counts = {True: 0, False: 0}

    @asynccontextmanager
    async def turn(self, caller: str, *, first: bool = False) -> AsyncIterator[None]:
        """Work within this. ``first`` goes before those without. Raises TooManyRequests when too much waits."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(caller, first)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, caller: str, first: bool) -> None:
        waiting = self._waiting[first]
        queue = waiting.get(caller)
        if queue is not None and len(queue) >= self._of_one:
            raise _refusal()
        if self._counts[first] >= self._of_all:
            self._make_room(first, 0 if queue is None else len(queue))
        turn = asyncio.get_running_loop().create_future()
        waiting.setdefault(caller, deque()).append(turn)
        self._counts[first] += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._pass_on()  # it came in the moment in which nobody wanted it any more
            else:
                self._leave(waiting, caller, turn, first)
            raise

    def _make_room(self, first: bool, own: int) -> None:
        """Send away the last one of the caller who waits with most; who waits with as much is sent away itself."""
        waiting = self._waiting[first]
        caller = max(waiting, key=lambda name: len(waiting[name]))
        if len(waiting[caller]) <= own + 1:
            raise _refusal()
        turn = waiting[caller][-1]
        self._leave(waiting, caller, turn, first)
        turn.set_exception(_refusal())

    def _leave(self, waiting: Waiters, caller: str, turn: asyncio.Future[None], first: bool) -> None:
        queue = waiting.get(caller)
        if queue is not None and turn in queue:
            queue.remove(turn)
            self._counts[first] -= 1
            if not queue:
                del waiting[caller]

    def _pass_on(self) -> None:
        """Give a turn that has ended to the next one."""
        for first in (True, False):
            waiting = self._waiting[first]
            while waiting:
                caller, queue = next(iter(waiting.items()))
                turn = queue.popleft()
                self._counts[first] -= 1
                if queue:
                    waiting.move_to_end(caller)
                else:
                    del waiting[caller]
                if not turn.done():
                    turn.set_result(None)
                    return
        self._free += 1


def _refusal() -> TooManyRequests:
    return TooManyRequests("too many logins at once; try again in a moment", headers={"Retry-After": "1"})
