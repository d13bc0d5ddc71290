"""Values that were read of late, so that a caller who comes again costs no database and no cryptography."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

FRESH_SECONDS = 2.0
"""How long what was read counts as current; a change elsewhere is effective after this at the latest."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """At most ``most`` values, those used longest ago given up first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[K, tuple[V, float]] = OrderedDict()

    def fresh(self, key: K) -> V | None:
        """The value, if it was read within the last :data:`FRESH_SECONDS`."""
        entry = self._values.get(key)
        if entry is None or time.monotonic() - entry[1] >= FRESH_SECONDS:
            return None
        return entry[0]

    def any(self, key: K) -> V | None:
        """The value, however old."""
        entry = self._values.get(key)
        return None if entry is None else entry[0]

    def put(self, key: K, value: V) -> None:
        """Remember ``value`` as read now."""
        self._values[key] = (value, time.monotonic())
        self._values.move_to_end(key)
        if len(self._values) > self._most:
            self._values.popitem(last=False)

    def expire(self, key: K) -> None:
        """Let a value count as old, so that it is read again; it may turn out to be the same still."""
        entry = self._values.get(key)
        if entry is not None:
            self._values[key] = (entry[0], float("-inf"))

    def drop(self, key: K) -> None:
        """Forget a value."""
        self._values.pop(key, None)

    def clear(self) -> None:
        """Forget all values."""
        self._values.clear()
