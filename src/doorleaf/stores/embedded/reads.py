"""The reading operations over a session: finding, counting, distinct values, aggregation.

Each takes a budget when it runs on the event loop, and raises ``Postponed`` when that is not enough.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from operator import itemgetter
from typing import Any

import bson

from doorleaf.documents import CODEC, Document, Documents, Pipeline
from doorleaf.errors import DataError, InvalidParameter
from doorleaf.mql.context import Context
from doorleaf.mql.expressions import compile_expression
from doorleaf.mql.match import Matcher, compile_filter
from doorleaf.mql.order import compile_sort, sort_documents, top, validate_collation
from doorleaf.mql.paths import lookup
from doorleaf.mql.project import compile_projection
from doorleaf.mql.stages import Head, compile_pipeline, pushdown
from doorleaf.mql.values import MISSING, canonical
from doorleaf.operations import Aggregate, CountDocuments, Distinct, Find, FindOne, Namespace
from doorleaf.stores.base import scan_refused
from doorleaf.stores.embedded.catalog import Collection
from doorleaf.stores.embedded.encoding import check_bson, decode
from doorleaf.stores.embedded.planner import Plan, plan
from doorleaf.stores.embedded.rows import counts
from doorleaf.stores.embedded.scan import MOST_RESULT_BYTES, Budget, Postponed, Row, Scan, chosen, too_large
from doorleaf.stores.embedded.storage import Session

MOST_DISTINCT_BYTES = 16 * 1024 * 1024

INLINE_COUNT = 5_000
"""Index entries that a count may walk over on the event loop."""


@dataclass(slots=True)
class Query:
    """What to look for in one collection. ``limit`` 0 is none; ``variables`` are the values of ``let``."""

    collection: Collection
    filter: Document
    sort: Document | None = None
    skip: int = 0
    limit: int = 0
    hint: str | Document | None = None
    variables: Mapping[str, Any] | None = None


def let_values(let: Document | None, context: Context) -> dict[str, Any]:
    """The values of ``let``: expressions that may not look at a document."""
    check_bson("let", let)
    values: dict[str, Any] = {}
    for name, expression in (let or {}).items():
        value = compile_expression(expression, context)({}, {})
        if value is MISSING:
            raise DataError(
                "Command let Expression tried to access a field, but this is not allowed because Command let"
                " expressions run before the query examines any documents.",
                number=4890500,
            )
        values[name] = value
    return values


class Matches:
    """The documents that a query matches, in its order. ``scan`` tells what it read."""

    __slots__ = ("_context", "_keep", "_predicate", "_query", "_sort_key", "scan")

    def __init__(self, session: Session, query: Query, context: Context, budget: Budget | None = None) -> None:
        made = plan(query.collection, query.filter, query.sort, hint=query.hint)
        if budget is not None and not suits_the_loop(made, query):
            raise Postponed
        made = chosen(session, made, context)
        if made.index is None and context.max_scan is not None:
            require_small(session, made, query, context.max_scan)
        self._query = query
        self._context = context
        self._predicate: Matcher | None = None
        if not made.exact:
            tested = query.filter if made.residual is None else made.residual
            self._predicate = compile_filter(tested, context, variables=query.variables)
        self._sort_key = None if made.sorted else compile_sort(query.sort or {})
        self._keep = query.skip + query.limit if query.limit else 0
        self.scan = Scan(session, made, context, budget)

    @property
    def whole(self) -> bool:
        """Whether the stored bytes can be handed out as SQLite finds them."""
        made = self.scan.plan
        return made.exact and made.sorted and made.distinct

    def rows(self) -> Iterator[tuple[Row, Document | None]]:
        """Row and BSON of each match, and the document where somebody had to look inside."""
        query = self._query
        found = self._tested() if self._sort_key is None else self._in_order(self._sort_key)
        if query.skip or query.limit:
            found = islice(found, query.skip, self._keep or None)
        return found

    def documents(self) -> Iterator[Document]:
        """Each match as Python values."""
        for (_, encoded), document in self.rows():
            yield decode(encoded) if document is None else document

    def found(self) -> Documents:
        """All matches, decoded where that was needed to find them."""
        if self.whole:
            return Documents(self.scan.exact(self._query.skip, self._query.limit))
        if self._predicate is None or self._sort_key is not None:
            return Documents(bounded(encoded for (_, encoded), _ in self.rows()))
        encoded: list[bytes] = []
        decoded: list[Document] = []
        size = 0
        for (_, document), values in self.rows():
            size += len(document)
            if size > MOST_RESULT_BYTES:
                raise too_large()
            encoded.append(document)
            decoded.append(values)  # type: ignore[arg-type]  # a predicate had to look at each
        return Documents(encoded, decoded)

    def _tested(self) -> Iterator[tuple[Row, Document | None]]:
        predicate = self._predicate
        if predicate is None:
            for row in self.scan.rows():
                yield row, None
            return
        for row in self.scan.rows():
            document = decode(row[1])
            if predicate(document):
                yield row, document

    def _in_order(self, key: Callable[[Document], Any]) -> Iterator[tuple[Row, Document | None]]:
        """All matches sorted, or the first of them when there is a limit; stable, and bounded in memory."""
        keyed = ((key(decode(row[1]) if document is None else document), row) for row, document in self._tested())
        if self._keep:
            found = top(keyed, itemgetter(0), self._keep, self._context, size=_weight)
        else:
            found = sort_documents(keyed, itemgetter(0), self._context, size=_weight)
        for _, row in found:
            yield row, None


def _weight(entry: tuple[Any, Row]) -> int:
    return len(entry[1][1]) + 64


def suits_the_loop(made: Plan, query: Query) -> bool:
    """Whether carrying ``made`` out is likely to be short, and cannot meet anything slow."""
    if query.variables or not (made.exact or made.cheap):
        return False
    if made.index is None:
        return made.exact and made.sorted and 0 < query.limit + query.skip <= 100
    return len(made.intervals) <= 100 and query.skip <= 100


def require_small(session: Session, made: Plan, query: Query, most: int) -> None:
    """Raise code 291 for a collection scan, unless its limit or the collection's size keep it within ``most``."""
    if made.exact and made.sorted and query.limit and query.limit + query.skip <= most:
        return
    if counts(session, query.collection)[0] > most:
        raise scan_refused(f"{query.collection.database}.{query.collection.name}", most)


def bounded(documents: Iterable[bytes]) -> list[bytes]:
    """A list of documents that together fit in memory; more is an error."""
    found: list[bytes] = []
    size = 0
    for document in documents:
        size += len(document)
        if size > MOST_RESULT_BYTES:
            raise too_large()
        found.append(document)
    return found


# --- find ------------------------------------------------------------------------------------------------------------


def find(session: Session, operation: Find | FindOne, context: Context, budget: Budget | None = None) -> Documents:
    """The documents of a find."""
    validate_collation(operation.collation)
    limit = operation.limit if isinstance(operation, Find) else 1
    query = _query(session, operation, context, limit)
    projection = operation.projection
    if budget is not None and (lengthy(operation.filter) or not simple_projection(projection or {})):
        raise Postponed
    if query is None:
        _validate(operation, context)
        return Documents([])
    matches = Matches(session, query, context, budget)
    project = compile_projection(projection, context, filter=operation.filter, variables=query.variables or {})
    if project is None:
        return matches.found()
    return Documents(bounded(bson.encode(project(document), codec_options=CODEC) for document in matches.documents()))


def _query(session: Session, operation: Find | FindOne, context: Context, limit: int) -> Query | None:
    collection = session.catalog.get(operation.namespace)
    if collection is None:
        return None
    return Query(
        collection,
        operation.filter,
        operation.sort or None,
        operation.skip,
        limit,
        operation.hint or None,
        let_values(operation.let, context) if operation.let else None,
    )


def _validate(operation: Find | FindOne, context: Context) -> None:
    """A query of a collection that is not there is still right or wrong."""
    variables = let_values(operation.let, context)
    check_filter(operation.filter, context, variables)
    if operation.sort and "$natural" not in operation.sort:
        compile_sort(operation.sort)
    if operation.projection:
        compile_projection(operation.projection, context, filter=operation.filter, variables=variables)


def check_filter(filter: Document, context: Context, variables: Mapping[str, Any] | None = None) -> None:
    """Raise what is wrong with a filter that has nothing to be tested on."""
    check_bson("the filter", filter)
    compile_filter(filter, context, variables=variables)


def lengthy(filter: Document) -> bool:
    """Whether only looking at a filter takes long: a list of many values or conditions."""
    for condition in filter.values():
        if condition.__class__ is list and len(condition) > 100:
            return True
        if condition.__class__ is dict and any(
            part.__class__ is list and len(part) > 100 for part in condition.values()
        ):
            return True
    return False


def simple_projection(projection: Document) -> bool:
    """Whether a projection only takes or leaves out fields."""
    return all(value.__class__ in (int, bool, float) for value in projection.values()) and not any(
        name.endswith(".$") for name in projection
    )


# --- counting and distinct values ------------------------------------------------------------------------------------


def count(session: Session, operation: CountDocuments, context: Context, *, inline: bool = False) -> int:
    """How many documents match, after skip and limit."""
    validate_collation(operation.collation)
    collection = session.catalog.get(operation.namespace)
    if collection is None:
        check_filter(operation.filter, context)
        return 0
    query = Query(collection, operation.filter, hint=operation.hint or None)
    if inline and lengthy(operation.filter):
        raise Postponed
    most = operation.skip + operation.limit if operation.limit else 0
    total = _count(session, query, context, most, inline)
    total = max(0, total - operation.skip)
    return min(total, operation.limit) if operation.limit else total


def _count(session: Session, query: Query, context: Context, most: int, inline: bool) -> int:
    if not query.filter and query.hint is None:
        return counts(session, query.collection)[0]
    made = plan(query.collection, query.filter, hint=query.hint)
    if made.exact and made.distinct:
        scan = Scan(session, made, context)
        if not inline:
            return scan.count(most)
        if len(made.intervals) > 100:
            raise Postponed
        total = scan.count(min(most or INLINE_COUNT, INLINE_COUNT))
        if total >= INLINE_COUNT:
            raise Postponed
        return total
    matches = Matches(session, query, context, Budget(100, 1 << 18) if inline else None)
    rows = matches.rows()
    return sum(1 for _ in (islice(rows, most) if most else rows))


def estimate(session: Session, namespace: Namespace) -> int:
    """The number of documents by the kept count, which is exact here."""
    collection = session.catalog.get(namespace)
    return counts(session, collection)[0] if collection is not None else 0


def distinct(session: Session, operation: Distinct, context: Context) -> list[Any]:
    """The distinct values of a field, in the order they were first met; elements of arrays count each."""
    validate_collation(operation.collation)
    collection = session.catalog.get(operation.namespace)
    if collection is None:
        check_filter(operation.filter, context)
        return []
    found: dict[Any, Any] = {}
    for document in Matches(session, Query(collection, operation.filter), context).documents():
        for value in lookup(document, operation.key, leaf_arrays=False):
            for item in value if value.__class__ is list else (value,):
                if item is not MISSING:
                    found.setdefault(canonical(item), item)
    values = list(found.values())
    if len(values) > 1000 and len(bson.encode({"v": values}, codec_options=CODEC)) > MOST_DISTINCT_BYTES:
        raise DataError("distinct too big, 16mb cap", number=17217)
    return values


# --- aggregation -----------------------------------------------------------------------------------------------------


class Collections:
    """The other collections that a pipeline reads, in the same snapshot."""

    def __init__(self, session: Session, database: str, context: Context) -> None:
        self._session = session
        self._database = database
        self._context = context

    def __call__(self, collection: str, database: str | None = None) -> Iterable[Document]:
        """All documents of a collection in natural order; none when it is not there."""
        found = self._session.catalog.get(Namespace(database or self._database, collection))
        return () if found is None else Matches(self._session, Query(found, {}), self._context).documents()

    def matching(self, collection: str, filter: Document) -> Iterable[Document] | None:
        """The documents that match, in natural order, or None when no index would help."""
        found = self._session.catalog.get(Namespace(self._database, collection))
        if found is None:
            return ()
        if plan(found, filter).index is None:
            return None
        rows = Matches(self._session, Query(found, filter), self._context).rows()
        return (decode(row[1]) for row, _ in sorted(rows, key=lambda match: match[0][0]))


def aggregate(session: Session, operation: Aggregate, pipeline: Pipeline, context: Context) -> list[bytes]:
    """The documents that ``pipeline``, which has no ``$out`` and no ``$merge``, answers, as BSON.

    More of them than the operation's cap are an error.
    """
    validate_collation(operation.collation)
    check_bson("the pipeline", pipeline)
    variables = let_values(operation.let, context)
    head = pushdown(pipeline)
    reader = Collections(session, operation.namespace.database, context)
    transform = compile_pipeline(head.rest, context, variables, reader)
    query = head_query(session, operation, head, variables)
    if head.sort:
        compile_sort(head.sort)
    if query is None:
        compile_filter(head.filter or {}, context, variables=variables)
        return bounded(_capped((_encode(document) for document in transform(())), operation.cap))
    matches = Matches(session, query, context)
    if not head.rest:
        return bounded(_capped((row[1] for row, _ in matches.rows()), operation.cap))
    answers = (_encode(document) for document in transform(matches.documents()))
    return bounded(_capped(answers, operation.cap))


def uncapped(operation: Aggregate) -> Aggregate:
    """The same pipeline for an output that is a collection, which no cap bounds."""
    return replace(operation, cap=sys.maxsize)


def head_query(session: Session, operation: Aggregate, head: Head, variables: Mapping[str, Any]) -> Query | None:
    """What the planner carries out of a pipeline, or None where there is no collection."""
    collection = session.catalog.get(operation.namespace)
    if collection is None:
        return None
    hint = operation.hint or None
    return Query(collection, head.filter or {}, head.sort, head.skip, head.limit or 0, hint, variables or None)


def _capped(documents: Iterable[bytes], cap: int) -> Iterator[bytes]:
    for number, document in enumerate(documents):
        if number >= cap:
            raise InvalidParameter(
                f"the pipeline answers more than {cap} documents, the most that one answer may have; add a $limit stage"
            )
        yield document


def _encode(document: Document) -> bytes:
    encoded = bson.encode(document, codec_options=CODEC)
    if len(encoded) > 16 * 1024 * 1024 + 16 * 1024:
        raise DataError("BSONObj size is invalid: a document of the result is larger than 16 MiB", number=10334)
    return encoded
