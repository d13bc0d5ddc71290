"""Distinct values read from an index: from each value on to the next, with one document for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from zlib import crc32

from doorleaf.documents import Document
from doorleaf.mql.context import Context
from doorleaf.mql.paths import lookup
from doorleaf.mql.values import MISSING, approximate_size
from doorleaf.stores.embedded.catalog import Collection, Index
from doorleaf.stores.embedded.encoding import check_bson, decode
from doorleaf.stores.embedded.file.sqlite import DamagedDatabase
from doorleaf.stores.embedded.file.storage import Session
from doorleaf.stores.embedded.keys import NULL, UNDEFINED, encode, following, invert
from doorleaf.stores.embedded.reading.bounds import POINT, Interval
from doorleaf.stores.embedded.reading.candidates import by_path, constant_prefix, reach
from doorleaf.stores.embedded.reading.conditions import Conditions, conditions

VALUE_WEIGHT = 100
"""Bytes that keeping one of many values takes beside the value."""


def values_of(document: Document, path: str) -> Iterator[Any]:
    """The values that ``distinct`` sees in a document: elements of an array count each."""
    for value in lookup(document, path, leaf_arrays=False):
        for item in value if value.__class__ is list else (value,):
            if item is not MISSING:
                yield item


class Leaps:
    """The distinct values of ``path`` by ``index``, within ``intervals`` of keys that begin alike.

    ``keys`` and ``examined`` count what was read.
    """

    def __init__(self, index: Index, number: int, intervals: list[Interval], start: int) -> None:
        self.index = index
        self.keys = 0
        self.examined = 0
        self._path, self._descending = index.fields[number]
        self._intervals = intervals
        self._start = start

    def values(self, session: Session, collection: Collection, context: Context) -> list[tuple[int, Any]] | None:
        """Row of a document and value, None where a key tells of no value: then the documents have to."""
        found: list[tuple[int, Any]] = []
        statement = (
            f"SELECT i.key, i.row, d.document, d.sum FROM {self.index.table} AS i"  # noqa: S608 - integer ids
            f" LEFT JOIN {collection.table} AS d ON d.id = i.row WHERE i.key >= ? AND i.key < ?"
            " ORDER BY i.key, i.row"
        )
        for low, high in self._intervals:
            end = low + b"\x00" if high == POINT else high
            while True:
                context.check()
                entry = session.execute(f"{statement} LIMIT 1", (low, end)).get
                if entry is None:
                    break
                key, row, _, _ = entry
                place, component = self._nothing(key)
                if component and place != UNDEFINED:
                    with_null = self._explicit_null(session, statement, component, end, context)
                    if with_null is not None:
                        found.append((with_null, None))
                elif not component:
                    value, component = self._value(entry)
                    if not component:
                        return None
                    context.charge(VALUE_WEIGHT + approximate_size(value), "distinct", 146)
                    found.append((row, value))
                low = following(component)
        return found

    def _nothing(self, key: bytes) -> tuple[bytes, bytes]:
        """Which of null, missing and empty array a key stands for, and the key up to there; empty for a value."""
        for place in (NULL, UNDEFINED):
            component = key[: self._start] + (invert(place) if self._descending else place)
            if key.startswith(component):
                return place, component
        return b"", b""

    def _value(self, entry: tuple[bytes, int, bytes | None, int]) -> tuple[Any, bytes]:
        """The value of which the entry is, and its key up to there."""
        key = entry[0]
        for item in values_of(self._read(entry), self._path):
            encoded = encode(item)
            component = key[: self._start] + (invert(encoded) if self._descending else encoded)
            if key.startswith(component):
                return item, component
        return None, b""

    def _explicit_null(self, session: Session, statement: str, low: bytes, end: bytes, context: Context) -> int | None:
        """The row of a document that has null there, rather than nothing."""
        for entry in session.rows(statement, (low, min(end, following(low)))):
            context.check()
            if any(item is None for item in values_of(self._read(entry), self._path)):
                return int(entry[1])
        return None

    def _read(self, entry: tuple[bytes, int, bytes | None, int]) -> Document:
        _, _, document, checksum = entry
        self.keys += 1
        self.examined += 1
        if document is None or crc32(document) != checksum:
            raise DamagedDatabase("the database file is damaged")
        return decode(document)


def leaps(collection: Collection, filter: Document, path: str) -> Leaps | None:
    """How an index gives the distinct values of ``path`` among the matches of ``filter``; None where none does."""
    check_bson("the filter", filter)
    found = conditions(filter)
    if not found.complete or found.unions:
        return None
    for index in collection.indexes:
        if index.sparse or index.partial is not None or (index.unique and len(index.fields) == 1):
            continue  # not all documents are there, or no two have the same value
        made = _by(index, found, path)
        if made is not None:
            return made
    return None


def _by(index: Index, found: Conditions, path: str) -> Leaps | None:
    names = [name for name, _ in index.fields[: index.usable]]
    if path not in names:
        return None
    number = names.index(path)
    reached = reach(index, by_path(found.predicates), len(found.predicates))
    if reached is None or not reached.exact:
        return None
    fixed = reached.consumed[:number]
    if len(fixed) < number or not all(bounds.points and len(bounds.intervals) == 1 for bounds in fixed):
        return None
    arrays = index.arrays
    if arrays >> number & 1 and (len(reached.consumed) > number or arrays & ((1 << number) - 1)):
        return None  # what else is in the array counts too
    return Leaps(index, number, reached.intervals, len(constant_prefix(index, fixed)))
