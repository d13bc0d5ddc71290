"""A ledger of what the writes of one transaction add, kept by guards that see every document."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import bson

from doorleaf.documents import CODEC, Document
from doorleaf.operations import Guard


class Ledger:
    """Sums up ``documents`` and ``bytes`` over its pages; ``room`` raises for sums that are too much."""

    def __init__(self, room: Callable[[int, int], None]) -> None:
        self._room = room
        self._pages: list[Page] = []

    @property
    def documents(self) -> int:
        """How many documents there are more."""
        return sum(documents for page in self._pages for documents, _ in page.entries.values())

    @property
    def bytes(self) -> int:
        """How many bytes there are more."""
        return sum(size for page in self._pages for _, size in page.entries.values())

    def page(self, guard: Guard | None) -> Page:
        """The guard of one more write, which asks ``guard`` as well."""
        page = Page(self, guard)
        self._pages.append(page)
        return page

    def require_room(self) -> None:
        """Raise where all together is too much."""
        self._room(self.documents, self.bytes)


class Page:
    """A guard that notes what one write does to each document."""

    portable: ClassVar[bool] = False
    small: ClassVar[bool] = False
    sufficient: ClassVar[bool | Document | None] = None

    def __init__(self, ledger: Ledger, guard: Guard | None) -> None:
        self._ledger = ledger
        self._guard = guard
        self.entries: dict[bytes, tuple[int, int]] = {}

    def __call__(self, before: Document | None, after: Document | None) -> None:
        if self._guard is not None:
            self._guard(before, after)
        document = after if before is None else before
        key = bson.encode({"": (document or {}).get("_id")}, codec_options=CODEC)
        if key in self.entries:  # the database does it all again, and a write meets a document once
            self.entries.clear()
        count = (after is not None) - (before is not None)
        self.entries[key] = count, _size(after) - _size(before)
        if count > 0 or self.entries[key][1] > 0:
            self._ledger.require_room()


def _size(document: Document | None) -> int:
    return 0 if document is None else len(bson.encode(document, codec_options=CODEC))
