"""Turns: something of which there is room for so much at once, given to callers so that nobody waits for the greedy."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass

from doorleaf.errors import StoreTimeout

HALF_LIFE = 10.0
"""Seconds after which half of what a caller has used is forgotten."""

_REMEMBERED = 1_000


@dataclass(slots=True, eq=False)
class _Waiting:
    caller: str
    amount: int
    future: asyncio.Future[None]


class Turn:
    """A turn that a caller has until it is released."""

    __slots__ = ("_since", "_turns", "amount", "caller")

    def __init__(self, turns: Turns, caller: str, amount: int) -> None:
        self._turns = turns
        self.caller = caller
        self.amount = amount
        self._since = time.monotonic()

    def shrink(self, amount: int) -> None:
        """Keep no more than ``amount``."""
        if amount < self.amount:
            self._turns.give_back(self.caller, self.amount - amount)
            self.amount = amount

    def release(self) -> None:
        """Give it back; a second time does nothing."""
        if self.amount:
            amount, self.amount = self.amount, 0
            self._turns.used(self.caller, amount * (time.monotonic() - self._since))
            self._turns.give_back(self.caller, amount)


class Turns:
    """``room`` for all callers together, ``each`` of it for one at most.

    The next turn is that of the caller who has used the least of late, in seconds times amount; those of one caller
    come in their order.
    """

    def __init__(self, room: int, each: int | None = None) -> None:
        self.room = room
        self.each = room if each is None else each
        self.free = room
        self._held: dict[str, int] = {}
        self._used: dict[str, tuple[float, float]] = {}
        self._waiting: dict[str, deque[_Waiting]] = {}

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiting.values()))

    def held(self, caller: str) -> int:
        """How much ``caller`` has at this moment."""
        return self._held.get(caller, 0)

    def wanted_by_less_than(self, amount: int) -> bool:
        """Whether somebody waits who has less than ``amount``."""
        return any(self.held(caller) < amount for caller in self._waiting)

    def wanted_beside(self, caller: str) -> bool:
        """Whether anybody but ``caller`` waits."""
        return any(waiting != caller for waiting in self._waiting)

    def wanted_by_poorer(self, caller: str, seconds: float) -> bool:
        """Whether somebody waits for what ``caller`` has had for ``seconds``, and has used less of late."""
        now = time.monotonic()
        used = self._of_late(caller, now) + seconds
        return any(
            other != caller and self._may(other, entries[0].amount) and self._of_late(other, now) < used
            for other, entries in self._waiting.items()
        )

    def is_wanted(self, caller: str) -> bool:
        """Whether somebody waits for what ``caller`` would give back."""
        return any(other == caller or self._may(other, entries[0].amount) for other, entries in self._waiting.items())

    def try_take(self, caller: str, amount: int = 1) -> Turn | None:
        """A turn at once, or None when there is no room or others have waited for it."""
        if self.free < amount or not self._may(caller, amount) or self._next() is not None:
            return None
        return self._taken(caller, amount)

    async def take(self, caller: str, until: float | None, amount: int = 1, *, first: bool = False) -> Turn:
        """A turn when it comes, with ``first`` before others of the same caller.

        Raises ``StoreTimeout`` at ``until``, an instant of ``time.monotonic()``; None is never.
        """
        turn = self.try_take(caller, amount)
        if turn is not None:
            return turn
        left = None if until is None else until - time.monotonic()
        if left is not None and left <= 0:
            raise StoreTimeout("operation exceeded time limit")
        entry = _Waiting(caller, amount, asyncio.get_running_loop().create_future())
        entries = self._waiting.setdefault(caller, deque())
        (entries.appendleft if first else entries.append)(entry)
        try:
            await asyncio.wait({entry.future}, timeout=left)
        except asyncio.CancelledError:
            if entry.future.done():
                self.give_back(caller, amount)
            raise
        finally:
            self._forget(entry)
        if not entry.future.done():
            raise StoreTimeout("operation exceeded time limit")
        return Turn(self, caller, amount)

    def give_back(self, caller: str, amount: int) -> None:
        """Make room again, and give it to who waits."""
        self.free += amount
        left = self._held[caller] - amount
        if left:
            self._held[caller] = left
        else:
            del self._held[caller]
        self._give()

    def used(self, caller: str, amount: float) -> None:
        """Note what a caller has used."""
        now = time.monotonic()
        if len(self._used) >= _REMEMBERED and caller not in self._used:
            self._used = {name: entry for name, entry in self._used.items() if now - entry[1] < HALF_LIFE}
        self._used[caller] = (self._of_late(caller, now) + amount, now)

    def _of_late(self, caller: str, now: float) -> float:
        amount, at = self._used.get(caller, (0.0, now))
        return float(amount * 0.5 ** ((now - at) / HALF_LIFE))

    def _may(self, caller: str, amount: int) -> bool:
        held = self._held.get(caller, 0)
        return held + amount <= self.each or not held

    def _taken(self, caller: str, amount: int) -> Turn:
        self._note(caller, amount)
        return Turn(self, caller, amount)

    def _note(self, caller: str, amount: int) -> None:
        self.free -= amount
        self._held[caller] = self._held.get(caller, 0) + amount

    def _next(self) -> _Waiting | None:
        """Whose turn it is, of those who may."""
        now = time.monotonic()
        able = [entries[0] for entries in self._waiting.values() if self._may(entries[0].caller, entries[0].amount)]
        return min(able, key=lambda entry: self._of_late(entry.caller, now), default=None)

    def _give(self) -> None:
        while (entry := self._next()) is not None and entry.amount <= self.free:
            self._forget(entry)
            self._note(entry.caller, entry.amount)
            entry.future.set_result(None)

    def _forget(self, entry: _Waiting) -> None:
        entries = self._waiting.get(entry.caller)
        if entries is not None and entry in entries:
            entries.remove(entry)
            if not entries:
                del self._waiting[entry.caller]
