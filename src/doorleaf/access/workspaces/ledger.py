"""A ledger of what the writes of one transaction add, kept by guards that see every document."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import bson

from doorleaf.documents import CODEC, Document
from doorleaf.operations import Guard


class Ledger:
    """Sums up ``documents`` and ``bytes`` over its pages; ``room`` raises for sums that are too much.

    It travels with its pages to whatever process carries out the transaction, and its sums come back with the result.
    """

    def __init__(self, room: Callable[[int, int], None]) -> None:
        self._room = room
        self.documents = 0
        self.bytes = 0

    def page(self, guard: Guard | None) -> Page:
        """The guard of one more write, which asks ``guard`` as well."""
        return Page(self, guard)

    def add(self, documents: int, size: int) -> None:
        """Account for a change; raises where it makes more and all together is too much."""
        self.documents += documents
        self.bytes += size
        if documents > 0 or size > 0:
            self._room(self.documents, self.bytes)


class Page:
    """A guard that notes what one write does to each document."""

    small: ClassVar[bool] = False
    sufficient: ClassVar[bool | Document | None] = None

    def __init__(self, ledger: Ledger, guard: Guard | None) -> None:
        self._ledger = ledger
        self._guard = guard
        self._met: set[bytes] = set()
        self._documents = self._bytes = 0

    @property
    def portable(self) -> bool:
        return self._guard is None or self._guard.portable

    @property
    def added(self) -> tuple[int, int]:
        """How many documents and bytes there are more by this write."""
        return self._documents, self._bytes

    def __call__(self, before: Document | None, after: Document | None) -> None:
        if self._guard is not None:
            self._guard(before, after)
        document = after if before is None else before
        key = bson.encode({"": (document or {}).get("_id")}, codec_options=CODEC)
        if key in self._met:  # the database does it all again, and a write meets a document once
            self._met.clear()
            self._note(-self._documents, -self._bytes)
        self._met.add(key)
        self._note((after is not None) - (before is not None), _size(after) - _size(before))

    def _note(self, documents: int, size: int) -> None:
        self._documents += documents
        self._bytes += size
        self._ledger.add(documents, size)


def _size(document: Document | None) -> int:
    return 0 if document is None else len(bson.encode(document, codec_options=CODEC))
