"""Places: how many operations of callers are in work on a MongoDB at once, and whose turn it is while there are none.

An operation has its place from before it is sent until it is answered, whichever way it goes. For every place there is
a connection, so that nobody waits in the driver's queue, which knows no callers.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from doorleaf.errors import StoreTimeout, StoreUnavailable
from doorleaf.stores.mongo.limits import Limits

SHARE = 3
"""One caller has at most so many times what it leaves free, but for the last place: alone three quarters of all, and
less with each other one. So there is a place for who has none, until there are as many callers as places."""


class _Waiting:
    """An operation of ``caller`` that waits in ``places``, until ``deadline`` by the loop's time."""

    __slots__ = ("_places", "caller", "deadline", "given")

    def __init__(self, places: Places, caller: str, deadline: float) -> None:
        self._places = places
        self.caller = caller
        self.deadline = deadline
        self.given: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(self) -> None:
        """Send it away: its time is over."""
        self.refuse(StoreTimeout("operation exceeded time limit"))

    def refuse(self, error: Exception) -> None:
        """Send it away with ``error``."""
        self._places.forget(self)
        if not self.given.done():
            self.given.set_exception(error)


class Places:
    """``most`` places, infinity for any number.

    Who waits with the fewest in work has the next turn, of several such callers the one that has had none for longest;
    what one caller waits with comes in its order.
    """

    __slots__ = ("_held", "_limits", "_waiting", "free", "waiting")

    def __init__(self, most: float, limits: Limits) -> None:
        self.free = most
        self.waiting = 0
        """How many operations wait."""
        self._limits = limits
        self._held: dict[str, int] = {}
        self._waiting: OrderedDict[str, OrderedDict[_Waiting, None]] = OrderedDict()

    def held(self, caller: str) -> int:
        """How many places ``caller`` has."""
        return self._held.get(caller, 0)

    def enter(self, caller: str) -> bool:
        """Whether ``caller`` has a place from now on; one that has not waits with :meth:`wait`.

        This passes nobody by: whoever waits may have no more than who may not take a place that is free.
        """
        held, free = self._held.get(caller, 0), self.free
        if free < 1 or (held and held >= SHARE * (free - 1)):
            return False
        self.free = free - 1
        self._held[caller] = held + 1
        return True

    async def wait(self, caller: str, deadline: float) -> None:
        """Return when ``caller`` has a place; raises StoreTimeout at ``deadline``, a time of the loop's."""
        entry = _Waiting(self, caller, deadline)
        self._waiting.setdefault(caller, OrderedDict())[entry] = None
        self.waiting += 1
        self._limits.begin(entry)
        try:
            await entry.given
        except asyncio.CancelledError:
            self.forget(entry)
            if entry.given.done() and not entry.given.cancelled() and entry.given.exception() is None:
                self.leave(caller)  # it came in the moment in which nobody wanted it any more
            raise

    def leave(self, caller: str) -> None:
        """Give a place back, to whose turn it is."""
        held = self._held.pop(caller) - 1
        if held:
            self._held[caller] = held
        self.free += 1
        if self._waiting:
            if caller in self._waiting:
                self._waiting.move_to_end(caller)
            self._give()

    def close(self) -> None:
        """Send all away who wait."""
        for entry in [entry for entries in self._waiting.values() for entry in entries]:
            entry.refuse(StoreUnavailable("the connection to the database is closed"))

    def forget(self, entry: _Waiting) -> None:
        """Take out one that waits no more; a second time does nothing."""
        entries = self._waiting.get(entry.caller)
        if entries is not None and entry in entries:
            self._limits.running.discard(entry)
            self.waiting -= 1
            del entries[entry]
            if not entries:
                del self._waiting[entry.caller]

    def _give(self) -> None:
        """Give what is free to those who wait."""
        while self._waiting:
            caller = self._next()
            entry = next(iter(self._waiting[caller]))
            if not entry.given.done():  # else it has just been cancelled
                if not self.enter(caller):
                    return
                entry.given.set_result(None)
            self.forget(entry)

    def _next(self) -> str:
        """Who has the fewest in work, of those who wait."""
        fewest, found = 0, ""
        for caller in self._waiting:
            held = self._held.get(caller, 0)
            if not held:
                return caller
            if not found or held < fewest:
                fewest, found = held, caller
        return found
