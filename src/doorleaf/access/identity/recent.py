"""Values that were read of late, so that a caller who comes again costs no database and no cryptography."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

FRESH_SECONDS = 2.0
"""How long what was read counts as current; a change elsewhere is effective after this at the latest."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Begun(NamedTuple):
    """The moment at which something began to be read: the ends until then, and the time by ``time.monotonic()``."""

    ends: int
    at: float


class Recent(Generic[K, V]):
    """At most ``most`` values, those used longest ago given up first.

    Whoever reads a value says when they began: what ends meanwhile stays ended, and what was read earlier is never put
    over what was read later.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[K, tuple[V, float]] = OrderedDict()
        self._ends = 0
        self._ended: OrderedDict[K, int] = OrderedDict()
        self._all_ended = 0

    def fresh(self, key: K) -> V | None:
        """The value, if its reading began within the last :data:`FRESH_SECONDS`."""
        entry = self._values.get(key)
        if entry is None or time.monotonic() - entry[1] >= FRESH_SECONDS:
            return None
        return entry[0]

    def any(self, key: K) -> V | None:
        """The value, however old."""
        entry = self._values.get(key)
        return None if entry is None else entry[0]

    def begin(self) -> Begun:
        """Begin to read a value."""
        return Begun(self._ends, time.monotonic())

    def put(self, key: K, value: V, begun: Begun) -> None:
        """Remember ``value``; it counts as old already where it expired, or all was forgotten, since ``begun``."""
        entry = self._values.get(key)
        if entry is not None and entry[1] > begun.at:
            return
        ended = max(self._all_ended, self._ended.get(key, 0)) > begun.ends
        self._values[key] = (value, float("-inf") if ended else begun.at)
        self._values.move_to_end(key)
        if len(self._values) > self._most:
            self._values.popitem(last=False)

    def expire(self, key: K) -> None:
        """Let a value count as old, so that it is read again; it may turn out to be the same still."""
        self._ends += 1
        self._ended[key] = self._ends
        self._ended.move_to_end(key)
        if len(self._ended) > self._most:
            self._all_ended = self._ended.popitem(last=False)[1]
        entry = self._values.get(key)
        if entry is not None:
            self._values[key] = (entry[0], float("-inf"))

    def drop(self, key: K) -> None:
        """Forget a value that was found to be none."""
        self._values.pop(key, None)

    def clear(self) -> None:
        """Forget all values."""
        self._ends += 1
        self._all_ended = self._ends
        self._ended.clear()
        self._values.clear()
