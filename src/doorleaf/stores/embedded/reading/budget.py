"""How much an operation may read where others wait for it: on the event loop, and in the writer's thread."""

from __future__ import annotations

KEYS = 5_000
"""Keys of indexes that an operation may write where others wait for it."""


def sorting(fields: int) -> int:
    """How many times as long as reading documents it takes to sort them by so many ``fields``, at most."""
    return 1 + (fields - 1) // 2


class Postponed(Exception):
    """The budget of a scan is used up: it has to run off the event loop."""


class Budget:
    """How much a scan may read, of which ``tests`` conditions are tested, and all of which is looked at ``weight``
    times; without one it may read everything."""

    __slots__ = ("bytes", "documents", "keys", "tests")

    def __init__(self, documents: int, size: int, tests: int = 1, weight: int = 1) -> None:
        self.documents = documents
        self.keys = KEYS
        self.bytes = size // weight
        self.tests = tests

    def share(self) -> None:
        """Read less, for what is read is tested: an array of many elements against each condition."""
        self.bytes //= self.tests

    def order(self, fields: int) -> None:
        """Read less, for what is read is sorted: an array of many elements has a key for each, of all ``fields``."""
        self.bytes //= sorting(fields)

    def index(self, keys: int) -> None:
        """Account for keys of an index that are to be written; raises :class:`Postponed` for too many."""
        self.keys -= keys
        if self.keys < 0:
            raise Postponed

    def spend(self, size: int) -> None:
        """Account for one document; raises :class:`Postponed` when too much was read."""
        self.documents -= 1
        self.bytes -= size
        if self.documents < 0 or self.bytes < 0:
            raise Postponed
