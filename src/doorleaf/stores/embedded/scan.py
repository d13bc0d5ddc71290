"""Carrying out a plan: the candidates of a collection, row by row, checked against damage and the deadline."""

from __future__ import annotations

from collections.abc import Iterator
from zlib import crc32

from doorleaf.errors import InvalidParameter
from doorleaf.mql.context import Context
from doorleaf.stores.embedded.bounds import POINT, Interval
from doorleaf.stores.embedded.planner import Plan
from doorleaf.stores.embedded.storage import DamagedDatabase, Session

Row = tuple[int, bytes]
"""A document's row id and its BSON."""

MOST_RESULT_BYTES = 256 * 1024 * 1024
"""Bytes of documents that one answer may have: it is held in memory as a whole."""

PROBE = 1_000
"""Candidates above which reading in the order of the sort beats sorting them."""


class Postponed(Exception):
    """The budget of a scan is used up: it has to run off the event loop."""


class Budget:
    """How much a scan may read; without one it may read everything."""

    __slots__ = ("bytes", "documents")

    def __init__(self, documents: int, size: int) -> None:
        self.documents = documents
        self.bytes = size

    def spend(self, size: int) -> None:
        """Account for one document; raises :class:`Postponed` when too much was read."""
        self.documents -= 1
        self.bytes -= size
        if self.documents < 0 or self.bytes < 0:
            raise Postponed


class Scan:
    """One reading of ``plan``. ``keys`` counts the index entries looked at, ``examined`` the documents."""

    __slots__ = ("_budget", "_context", "_session", "examined", "keys", "plan")

    def __init__(self, session: Session, plan: Plan, context: Context, budget: Budget | None = None) -> None:
        self._session = session
        self._context = context
        self._budget = budget
        self.plan = plan
        self.keys = 0
        self.examined = 0

    def rows(self) -> Iterator[Row]:
        """Every candidate once, in the plan's order."""
        seen: set[int] | None = None if self.plan.distinct else set()
        spend = self._budget.spend if self._budget is not None else None
        check = self._context.check
        indexed = self.plan.index is not None
        for statement, parameters in self._statements():
            for row, document, checksum in self._session.rows(statement, parameters):
                check()
                self.keys += indexed
                if seen is not None:
                    if row in seen:
                        continue
                    seen.add(row)
                self.examined += 1
                if spend is not None:
                    spend(len(document))
                if crc32(document) != checksum:
                    raise DamagedDatabase("the database file is damaged")
                yield row, document

    def exact(self, skip: int, limit: int) -> list[bytes]:
        """The documents of an exact plan; ``limit`` 0 is none. SQLite does the skipping where there is one interval."""
        offset = skip if len(self.plan.intervals) <= 1 else 0
        first = skip - offset
        most = first + limit if limit else -1
        if self._budget is not None and not 0 <= most <= self._budget.documents:
            most = self._budget.documents + 1
        spend = self._budget.spend if self._budget is not None else None
        found: list[bytes] = []
        size = 0
        for statement, parameters in self._statements():
            room = most - len(found) if most >= 0 else -1
            rows = self._session.execute(statement + " LIMIT ? OFFSET ?", (*parameters, room, offset))
            for _, document, checksum in rows:
                self._context.check()
                if crc32(document) != checksum:
                    raise DamagedDatabase("the database file is damaged")
                size += len(document)
                if spend is not None:
                    spend(len(document))
                elif size > MOST_RESULT_BYTES:
                    raise too_large()
                found.append(document)
            if len(found) == most:
                break
        self.examined = len(found)
        return found[first:] if first else found

    def count(self, most: int = 0) -> int:
        """How many candidates an exact plan has, without reading documents; at most ``most`` when that is not 0."""
        total = 0
        for source, parameters in self._sources():
            statement = f"SELECT COUNT(*) FROM {source}"  # noqa: S608 - tables named by integers
            if most:
                statement = f"SELECT COUNT(*) FROM (SELECT 1 FROM {source} LIMIT {most - total:d})"  # noqa: S608
            total += self._session.execute(statement, parameters).fetchone()[0]
            self._context.check()
            if most and total >= most:
                break
        return total

    def _sources(self) -> Iterator[tuple[str, tuple[bytes, ...]]]:
        plan = self.plan
        if plan.index is None:
            yield plan.collection.table, ()
            return
        table = plan.index.table
        for interval in plan.intervals:
            condition, parameters = _condition(interval)
            yield f"{table} AS i WHERE {condition}", parameters

    def _statements(self) -> Iterator[tuple[str, tuple[bytes, ...]]]:
        plan = self.plan
        documents = plan.collection.table
        order = " DESC" if plan.reverse else ""
        if plan.index is None:
            yield f"SELECT id, document, sum FROM {documents} ORDER BY id{order}", ()  # noqa: S608
            return
        head = (
            f"SELECT d.id, d.document, d.sum FROM {plan.index.table} AS i"  # noqa: S608
            f" CROSS JOIN {documents} AS d ON d.id = i.row WHERE "
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


def too_large() -> InvalidParameter:
    """The error of an answer that would not fit in memory."""
    return InvalidParameter(
        f"the answer has more than {MOST_RESULT_BYTES} bytes, the most that one answer may have; lower the limit"
    )


def chosen(session: Session, plan: Plan, context: Context) -> Plan:
    """``plan``, or its alternative when there is too much to sort."""
    if plan.alternative is None or Scan(session, plan, context).count(PROBE) < PROBE:
        return plan
    return plan.alternative
