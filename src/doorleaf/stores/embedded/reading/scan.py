"""Carrying out a plan: the candidates of a collection, row by row, checked against damage and the deadline."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from heapq import merge
from typing import Any
from zlib import crc32

from doorleaf.documents import Document
from doorleaf.mql.context import Context
from doorleaf.stores.embedded.encoding import decode
from doorleaf.stores.embedded.file.sqlite import DamagedDatabase
from doorleaf.stores.embedded.file.storage import Session
from doorleaf.stores.embedded.reading.bounds import POINT, Interval
from doorleaf.stores.embedded.reading.budget import Budget, Postponed
from doorleaf.stores.embedded.reading.plans import Plan

Row = tuple[int, bytes]
"""A document's row id and its BSON."""


_ROWS_PER_CLOCK = 64


class Scan:
    """One reading of ``plan``. ``keys`` counts the index entries looked at, ``examined`` the documents.

    ``order`` is the key of the wanted order, for plans that are merged. ``known`` are the row ids of all candidates
    where they have been read from the index already. ``test`` passes whatever bytes can be of a match; it is heeded
    where a whole collection is read.
    """

    __slots__ = ("_budget", "_context", "_session", "examined", "keys", "known", "order", "plan", "test")

    def __init__(
        self,
        session: Session,
        plan: Plan,
        context: Context,
        budget: Budget | None = None,
        *,
        order: Callable[[Document], Any] | None = None,
        known: array[int] | None = None,
    ) -> None:
        self._session = session
        self._context = context
        self._budget = budget
        self.plan = plan
        self.order = order
        self.known = known
        self.test: Callable[[bytes], bool] | None = None
        self.keys = 0
        self.examined = 0

    def rows(self) -> Iterator[Row]:
        """Every candidate once, in the plan's order."""
        return self._everything() if self.plan.scan and self._budget is None else self._candidates()

    def _everything(self) -> Iterator[Row]:
        """:meth:`_candidates` of a whole collection, with as little as possible between SQLite and whoever reads."""
        check, verify, test = self._context.check_now, crc32, self.test
        ((statement, parameters),) = _statements(self.plan)
        with self._session.opened(statement, parameters) as cursor:
            for row, document, checksum in cursor:
                if verify(document) != checksum:
                    raise DamagedDatabase("the database file is damaged")
                self.examined += 1
                if not self.examined % _ROWS_PER_CLOCK:
                    check()
                if test is None or test(document):
                    yield row, document

    def _candidates(self) -> Iterator[Row]:
        seen: set[int] | None = None if self.plan.distinct and self.known is None else set()
        spend = self._budget.spend if self._budget is not None else None
        check = self._context.check
        for row, document in self._found():
            check()
            if spend is not None:  # it was read, whether it has been met before or not
                spend(len(document))
            if seen is not None:
                if row in seen:
                    continue
                seen.add(row)
            self.examined += 1
            yield row, document

    def keyed(self) -> Iterator[tuple[bytes, Row]]:
        """Every candidate of one index that meets no document twice, with its key there."""
        spend = self._budget.spend if self._budget is not None else None
        for statement, parameters in _statements(self.plan, ", i.key"):
            for row, document, checksum, key in self._session.rows(statement, parameters):
                if document is None or crc32(document) != checksum:
                    raise DamagedDatabase("the database file is damaged")
                self._context.check(1 + (len(document) >> 12))
                if spend is not None:
                    spend(len(document))
                self.keys += 1
                self.examined += 1
                yield key, (row, document)

    def _found(self) -> Iterator[Row]:
        if self.known is not None:
            return self._by_row(self.known)
        if not self.plan.merged:
            return self._of(self.plan)
        order = self.order
        if order is None:
            raise AssertionError("a merged plan needs the order")
        streams = [self._of(branch) for branch in self.plan.branches]
        return merge(*streams, key=lambda found: order(decode(found[1])))

    def _of(self, plan: Plan) -> Iterator[Row]:
        for leaf in plan.leaves():
            indexed = leaf.index is not None
            for statement, parameters in _statements(leaf):
                self._context.check()
                for row, document, checksum in self._session.rows(statement, parameters):
                    self.keys += indexed
                    if document is None or crc32(document) != checksum:
                        raise DamagedDatabase("the database file is damaged")
                    self._context.check(len(document) >> 12)
                    yield row, document

    def _by_row(self, rows: array[int]) -> Iterator[Row]:
        execute = self._session.execute
        statement = f"SELECT document, sum FROM {self.plan.collection.table} WHERE id = ?"  # noqa: S608 - an integer id
        for row in rows:
            document, checksum = execute(statement, (row,)).get or (None, 0)
            if document is None or crc32(document) != checksum:
                raise DamagedDatabase("the database file is damaged")
            yield row, document

    def exact(self, skip: int, limit: int) -> Iterator[bytes]:
        """The documents of an exact plan; ``limit`` 0 is none. SQLite does the skipping where there is one interval."""
        offset = skip if len(self.plan.intervals) <= 1 else 0
        first = skip - offset
        most = first + limit if limit else -1
        if self._budget is not None and not 0 <= most <= self._budget.documents:
            most = self._budget.documents + 1
        spend = self._budget.spend if self._budget is not None else None
        for statement, parameters in _statements(self.plan):
            room = most - self.examined if most >= 0 else -1
            rows = self._session.rows(statement + " LIMIT ? OFFSET ?", (*parameters, room, offset))
            for _, document, checksum in rows:
                if document is None or crc32(document) != checksum:
                    raise DamagedDatabase("the database file is damaged")
                self._context.check(1 + (len(document) >> 12))
                if spend is not None:
                    spend(len(document))
                self.examined += 1
                if self.examined > first:
                    yield document
            if self.examined == most:
                break

    def count(self, most: int = 0, keys: int = 0) -> int:
        """How many candidates an exact plan has, without reading documents; at most ``most`` when that is not 0.

        Raises ``Postponed`` when more than ``keys`` entries of an index have to be looked at, where that is not 0.
        """
        if not self.plan.distinct:
            return self._count_apart(most, keys)
        total = 0
        for leaf in self.plan.leaves():
            for source, parameters in _sources(leaf):
                statement = f"SELECT COUNT(*) FROM {source}"  # noqa: S608 - tables named by integers
                if most:
                    statement = f"SELECT COUNT(*) FROM (SELECT 1 FROM {source} LIMIT {most - total:d})"  # noqa: S608
                counted: int = self._session.execute(statement, parameters).get
                total += counted
                self.keys += counted
                self._context.check()
                if most and total >= most:
                    return total
        return total

    def _count_apart(self, most: int, keys: int) -> int:
        """:meth:`count` where a document may be met more than once, by each element of an array."""
        rows: set[int] = set()
        for row in self.ids():
            if keys and self.keys > keys:
                raise Postponed
            rows.add(row)
            if most and len(rows) >= most:
                break
        return len(rows)

    def ids(self) -> Iterator[int]:
        """The row of each index entry in the plan's intervals, branch by branch, without reading documents."""
        check = self._context.check
        for leaf in self.plan.leaves():
            order = " DESC" if leaf.reverse else ""
            for source, parameters in _sources(leaf):
                check()
                statement = f"SELECT i.row FROM {source} ORDER BY i.key{order}, i.row{order}"  # noqa: S608
                for (row,) in self._session.rows(statement, parameters):
                    check()
                    self.keys += 1
                    yield row


def _sources(plan: Plan) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    if plan.index is None:
        yield plan.collection.table, ()
        return
    table = plan.index.table
    for interval in reversed(plan.intervals) if plan.reverse else plan.intervals:
        condition, parameters = _condition(interval)
        yield f"{table} AS i WHERE {condition}", parameters


def _statements(plan: Plan, more: str = "") -> Iterator[tuple[str, tuple[bytes, ...]]]:
    documents = plan.collection.table
    order = " DESC" if plan.reverse else ""
    if plan.index is None:
        yield f"SELECT id, document, sum FROM {documents} ORDER BY id{order}", ()  # noqa: S608
        return
    # An entry whose document is not there gives a row without one, which is damage.
    head = (
        f"SELECT d.id, d.document, d.sum{more} FROM {plan.index.table} AS i"  # noqa: S608
        f" LEFT JOIN {documents} AS d ON d.id = i.row WHERE "
    )
    tail = f" ORDER BY i.key{order}, i.row{order}"
    for interval in reversed(plan.intervals) if plan.reverse else plan.intervals:
        condition, parameters = _condition(interval)
        yield head + condition + tail, parameters


def _condition(interval: Interval) -> tuple[str, tuple[bytes, ...]]:
    low, high = interval
    if high == POINT:
        return "i.key = ?", (low,)
    return "i.key >= ? AND i.key < ?", interval
