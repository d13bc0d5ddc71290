"""The documents that a query matches: a plan chosen, carried out, tested and put in order."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Any

import bson

from doorleaf.documents import CODEC, Document, Documents
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import Matcher, compile_filter
from doorleaf.mql.order import SortKey, compile_sort, sort_documents, top
from doorleaf.stores.base import scan_refused
from doorleaf.stores.embedded.catalog import Collection
from doorleaf.stores.embedded.encoding import decode
from doorleaf.stores.embedded.file.storage import Session, counts
from doorleaf.stores.embedded.reading.budget import Budget, Postponed
from doorleaf.stores.embedded.reading.choosing import MOST_WALKED, Choice, Match, Walking, choose
from doorleaf.stores.embedded.reading.constants import unmet
from doorleaf.stores.embedded.reading.needles import needle_test
from doorleaf.stores.embedded.reading.planner import plan
from doorleaf.stores.embedded.reading.plans import Plan
from doorleaf.stores.embedded.reading.scan import Row, Scan

MOST_SORTED_BYTES = 48 * 1024 * 1024
"""Bytes of documents, by their average, that are rather sorted than read in the order of an index."""


TINY = 100
"""Documents of a collection that is read as a whole where only little may be read."""


@dataclass(slots=True)
class Query:
    """A search in one collection. ``limit`` 0 is none; ``variables`` are the values of ``let``."""

    collection: Collection
    filter: Document
    sort: Document | None = None
    skip: int = 0
    limit: int = 0
    hint: str | Document | None = None
    variables: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        self.filter = unmet(self.collection.unasked, self.filter)

    def plan(self, context: Context, *, limited: bool) -> Plan:
        """The plan for it, with others; what all documents have is asked no more where no index is used for it."""
        made = self._plan(context, limited)
        if made.scan and (left := unmet(self.collection.constants, self.filter)) is not self.filter:
            self.filter = left
            made = self._plan(context, limited)
        return made

    def _plan(self, context: Context, limited: bool) -> Plan:
        filter, sort, variables = self.filter, self.sort, self.variables
        return plan(
            self.collection, filter, sort, hint=self.hint, limited=limited, context=context, variables=variables
        )


class Matches:
    """The documents that a query matches, in its order. ``scan`` tells what it read, ``choice`` how it came to that."""

    __slots__ = ("_context", "_keep", "_predicate", "_sort_key", "choice", "query", "scan")

    def __init__(self, session: Session, query: Query, context: Context, budget: Budget | None = None) -> None:
        limited = query.limit > 0
        made = query.plan(context, limited=limited)
        if budget is not None and not (suits_the_loop(made, query) or _is_tiny(session, made, query)):
            raise Postponed
        if made.scan and context.max_scan is not None:
            require_small(session, made, query, context.max_scan)
        self.query = query
        self._context = context
        self._predicate: Matcher | None = None
        if not (made.exact and all(way.exact for way in made.others)):
            if budget is not None:
                budget.share()
            tested = query.filter if made.residual is None else made.residual
            self._predicate = compile_filter(tested, context, variables=query.variables)
        ordered = bool(query.sort) and "$natural" not in (query.sort or ())
        self._sort_key: SortKey | None = compile_sort(query.sort or {}) if ordered else None
        if budget is not None and ordered:
            budget.order(len(query.sort or ()))
        self._keep = min(query.skip + query.limit, sys.maxsize) if limited else 0
        self.choice = self._choose(session, made, budget) if made.others else Choice(made)
        chosen = self.choice.plan
        self.scan = Scan(session, chosen, context, budget, order=self._sort_key, known=self.choice.rows)
        self.scan.keys, self.scan.examined = self.choice.keys, self.choice.examined
        if chosen.scan and self._predicate is not None:
            self.scan.test = needle_test(chosen.predicates)

    def _choose(self, session: Session, made: Plan, budget: Budget | None) -> Choice:
        """One of the plans, by reading a little of each where it cannot be told without."""
        ways = (made, *made.others)
        in_order = [way for way in ways if way.sorted or way.grouped]
        if not 0 < self._keep <= MOST_WALKED:
            choice = choose(session, [way for way in ways if way.narrows] or [made], self._context, None, budget)
            if not choice.plan.sorted and self._too_much(session, choice):
                return next((Choice(way) for way in in_order if way.sorted), choice)
            return choice
        if not in_order:
            return choose(session, ways, self._context, None, budget)
        first = in_order[0]
        if first.exact and first.sorted:
            return Choice(first)
        rest = [way for way in ways if way is not first and way.narrows]
        if not rest:
            return Choice(first)
        scan = Scan(session, first, self._context, budget, order=self._sort_key)
        return choose(session, rest, self._context, (scan, self._walk(scan), self._keep), budget)

    def _too_much(self, session: Session, choice: Choice) -> bool:
        if self._sort_key is None:
            return False
        documents, size = counts(session, self.query.collection)
        held = len(choice.rows) if choice.rows is not None else documents
        return held * size > MOST_SORTED_BYTES * max(documents, 1)

    @property
    def whole(self) -> bool:
        """Whether the stored bytes can be handed out as SQLite finds them."""
        made = self.choice.plan
        read = self.choice.matches is not None or self.choice.rows is not None
        return made.exact and made.sorted and made.distinct and not made.branches and not read

    def rows(self) -> Iterator[Match]:
        """Row and BSON of each match, and the document where somebody had to look inside."""
        query = self.query
        if self.choice.matches is not None:
            return iter(self.choice.matches[query.skip :])
        made = self.choice.plan
        found: Iterator[Match]
        if made.sorted or self._sort_key is None:
            found = self._tested()
        elif made.grouped:
            found = (step for step in self._walk(self.scan) if step is not None)
        else:
            found = self._in_order(self._sort_key)
        if query.skip or query.limit:
            found = islice(found, query.skip, self._keep or None)
        return found

    def documents(self) -> Iterator[Document]:
        """Each match as Python values."""
        if self.scan.plan.scan and self._sort_key is None and not self.query.skip and not self.query.limit:
            return self._decoded()
        return (decode(encoded) if document is None else document for (_, encoded), document in self.rows())

    def _decoded(self) -> Iterator[Document]:
        """:meth:`documents` of a whole collection, whose every row passes here."""
        predicate, read = None if self.scan.plan.exact else self._predicate, bson.decode
        for _, encoded in self.scan.rows():
            document = read(encoded, CODEC)
            if predicate is None or predicate(document):
                yield document

    def stored(self) -> Iterator[bytes]:
        """The BSON of each match."""
        if self.whole:
            return self.scan.exact(self.query.skip, self.query.limit)
        return (encoded for (_, encoded), _ in self.rows())

    def found(self) -> Documents:
        """All matches, decoded where that was needed to find them; a budget sees to it that they are few."""
        if self.whole:
            return Documents([*self.scan.exact(self.query.skip, self.query.limit)])
        encoded: list[bytes] = []
        decoded: list[Document] = []
        for (_, document), values in self.rows():
            encoded.append(document)
            if values is not None:
                decoded.append(values)
        return Documents(encoded, decoded) if len(decoded) == len(encoded) else Documents(encoded)

    def _tested(self) -> Iterator[Match]:
        predicate = None if self.scan.plan.exact else self._predicate
        if predicate is None:
            for row in self.scan.rows():
                yield row, None
            return
        for row in self.scan.rows():
            document = decode(row[1])
            if predicate(document):
                yield row, document

    def _in_order(self, key: Callable[[Document], Any]) -> Iterator[Match]:
        """All matches sorted, or the first of them when there is a limit; stable, and bounded in memory."""
        keyed = ((key(decode(row[1]) if document is None else document), row) for row, document in self._tested())
        if self._keep:
            found = top(keyed, itemgetter(0), self._keep, self._context, size=_weight)
        else:
            found = sort_documents(keyed, itemgetter(0), self._context, size=_weight)
        for _, row in found:
            yield row, None

    def _walk(self, scan: Scan) -> Walking:
        """The matches of a plan in order, and None for each document that is none, or is not yet one."""
        predicate = None if scan.plan.exact else self._predicate
        if scan.plan.keyed and predicate is None and self._sort_key is not None and scan.known is None:
            return self._walk_by_keys(scan, self._sort_key)
        return self._walk_by_documents(scan, predicate)

    def _walk_by_documents(self, scan: Scan, predicate: Matcher | None) -> Walking:
        group = compile_sort(scan.plan.grouped) if scan.plan.grouped and not scan.plan.sorted else None
        held: list[tuple[Any, Row]] = []
        place: Any = None
        for row in scan.rows():
            document = decode(row[1])
            if predicate is not None and not predicate(document):
                yield None
            elif group is None or self._sort_key is None:
                yield row, document
            else:
                before, place = place, group(document)
                if held and before != place:
                    yield from self._emptied(held)
                self._hold(held, (self._sort_key(document), row))
                yield None
        yield from self._emptied(held)

    def _walk_by_keys(self, scan: Scan, key: SortKey) -> Walking:
        """The same where equal keys of the index tell which documents are still to be put in order."""
        held: list[tuple[Any, Row]] = []
        place, first = b"", None
        for found, row in scan.keyed():
            if found != place:
                if held:
                    yield from self._emptied(held)
                elif first is not None:
                    yield first, None
                place, first = found, row
            else:
                if not held and first is not None:
                    self._hold(held, (key(decode(first[1])), first))
                self._hold(held, (key(decode(row[1])), row))
                yield None
        if held:
            yield from self._emptied(held)
        elif first is not None:
            yield first, None

    def _hold(self, held: list[tuple[Any, Row]], entry: tuple[Any, Row]) -> None:
        """Keep one of a group of documents that the index does not order, and no more of them than are wanted."""
        self._context.charge(_weight(entry))
        held.append(entry)
        if self._keep and len(held) >= 2 * self._keep + 256:
            held.sort(key=itemgetter(0))
            self._context.release(sum(map(_weight, held[self._keep :])))
            del held[self._keep :]

    def _emptied(self, held: list[tuple[Any, Row]]) -> Iterator[Match]:
        held.sort(key=itemgetter(0))
        self._context.release(sum(map(_weight, held)))
        rows = [row for _, row in held]
        held.clear()
        for row in rows:
            yield row, None


def _weight(entry: tuple[Any, Row]) -> int:
    return len(entry[1][1]) + 64


def suits_the_loop(made: Plan, query: Query) -> bool:
    """Whether carrying ``made`` out is likely to be short, and cannot meet anything slow."""
    if query.variables or not (made.exact or made.cheap):
        return False
    if made.scan:
        return made.exact and made.sorted and 0 < query.limit + query.skip <= 100
    return query.skip <= 100 and all(way.reads <= 100 for way in (made, *made.others))


def _is_tiny(session: Session, made: Plan, query: Query) -> bool:
    """Whether the whole collection is not more than a budget."""
    return made.cheap and not query.variables and counts(session, query.collection)[0] <= TINY


def require_small(session: Session, made: Plan, query: Query, most: int) -> None:
    """Raise code 291 for a collection scan, unless its limit or the collection's size keep it within ``most``."""
    if made.exact and made.sorted and query.limit and query.limit + query.skip <= most:
        return
    if counts(session, query.collection)[0] > most:
        raise scan_refused(f"{query.collection.database}.{query.collection.name}", most)
