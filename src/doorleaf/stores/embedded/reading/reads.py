"""The reading operations over a session: finding, counting, distinct values, aggregation.

Each takes a budget when it runs on the event loop, and raises ``Postponed`` when that is not enough.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from operator import itemgetter
from typing import Any

import bson

from doorleaf.documents import CODEC, Document, Documents, Pipeline
from doorleaf.errors import DataError, InvalidParameter, Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.expressions import compile_expression
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.mql.order import compile_sort, validate_collation
from doorleaf.mql.projections.compile import compile_projection
from doorleaf.mql.stages.compile import Head, check_later, compile_pipeline, pushdown, split_output
from doorleaf.mql.values import MISSING, approximate_size, canonical
from doorleaf.operations import Aggregate, CountDocuments, Distinct, Find, FindOne, Namespace
from doorleaf.stores.base import MOST_RESULT_BYTES, answer_too_large
from doorleaf.stores.embedded.encoding import check_bson, decode
from doorleaf.stores.embedded.file.storage import Session, counts
from doorleaf.stores.embedded.reading.budget import Budget, Postponed
from doorleaf.stores.embedded.reading.constants import Cut, all_meet, cut
from doorleaf.stores.embedded.reading.distinct import VALUE_WEIGHT, leaps, values_of
from doorleaf.stores.embedded.reading.matches import Matches, Query
from doorleaf.stores.embedded.reading.planner import plan
from doorleaf.stores.embedded.reading.plans import Plan
from doorleaf.stores.embedded.reading.scan import Scan
from doorleaf.stores.embedded.reading.sources import source_of

MOST_DISTINCT_BYTES = 16 * 1024 * 1024

COLLECTIONLESS = "$cmd.aggregate"
"""What a pipeline without a collection has in the place of its name."""

INLINE_COUNT = 5_000
"""Index entries that a count may walk over on the event loop."""


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


def bounded(documents: Iterable[bytes], context: Context) -> Iterator[bytes]:
    """``documents``, which together may have the bytes that one answer may; more is an error."""
    left = context.max_bytes or MOST_RESULT_BYTES
    for document in documents:
        left -= len(document)
        if left < 0:
            raise answer_too_large(context.max_bytes or MOST_RESULT_BYTES)
        yield document


# --- find ------------------------------------------------------------------------------------------------------------


def find(session: Session, operation: Find | FindOne, context: Context) -> Iterator[bytes]:
    """The documents of a find, as they are found."""
    matches = _matches(session, operation, context, None)
    if matches is None:
        return iter(())
    without = cut(matches.query.collection, operation.projection)
    if without is not None:
        some = ([each] for each in matches.stored())
        return bounded(_cut_out(some, without, matches, operation, context), context)
    shown = _shown(matches, operation, context)
    return bounded(matches.stored() if shown is None else shown, context)


def find_soon(
    session: Session, operation: Find | FindOne, context: Context, budget: Budget
) -> tuple[Documents, int | None]:
    """The documents of a find that ``budget`` suffices for, and what it asks for as a total if that is soon told."""
    matches = _matches(session, operation, context, budget)
    if matches is None:
        return Documents([]), 0 if isinstance(operation, Find) and operation.total is not None else None
    without = cut(matches.query.collection, operation.projection)
    if without is not None:  # all at once, since a budget sees to it that they are few
        documents = Documents.each([*_cut_out([[*matches.stored()]], without, matches, operation, context)])
    else:
        shown = _shown(matches, operation, context)
        documents = matches.found() if shown is None else Documents.each([*shown])
    if not isinstance(operation, Find) or operation.total is None:
        return documents, None
    total = operation.told(len(documents))
    return documents, _total_soon(session, matches, operation.total, context) if total is None else total


def _total_soon(session: Session, matches: Matches, most: int, context: Context) -> int | None:
    """How many match where the plan that found the first of them tells it shortly."""
    if matches.query.hint is None and all_meet(matches.query.collection, matches.query.filter):
        total = counts(session, matches.query.collection)[0]
        return min(total, most) if most else total
    made = matches.choice.plan
    if not (made.exact and made.narrows and made.reads <= 100):
        return None
    end = min(most or INLINE_COUNT, INLINE_COUNT)
    what = (end, *((leaf.index and leaf.index.table, *leaf.intervals) for leaf in made.leaves()))
    try:
        total = session.counted(what, lambda: Scan(session, made, context).count(end, INLINE_COUNT))
    except Postponed:
        return None
    return total if total < INLINE_COUNT or total == most else None


def _matches(session: Session, operation: Find | FindOne, context: Context, budget: Budget | None) -> Matches | None:
    """What a find matches; None where there is no collection."""
    validate_collation(operation.collation)
    query = _query(session, operation, context, operation.limit if isinstance(operation, Find) else 1)
    if query is None:
        _validate(operation, context)
        return None
    return Matches(session, query, context, budget)


def _shown(matches: Matches, operation: Find | FindOne, context: Context) -> Iterator[bytes] | None:
    """The documents as the projection shows them; None where there is none."""
    project = _projection(matches, operation, context)
    if project is None:
        return None
    return (bson.encode(project(document), codec_options=CODEC) for document in matches.documents())


def _projection(matches: Matches, operation: Find | FindOne, context: Context) -> Callable[[Document], Document] | None:
    variables = matches.query.variables or {}
    return compile_projection(operation.projection, context, filter=operation.filter, variables=variables)


def _cut_out(
    batches: Iterable[list[bytes]], without: Cut, matches: Matches, operation: Find | FindOne, context: Context
) -> Iterator[bytes]:
    """What matches, some at a time, as a projection shows it that cuts out."""
    project = None
    for some in batches:
        for document, left in zip(some, without.all(some), strict=True):
            if left is None:
                project = project or _projection(matches, operation, context)
                assert project is not None  # noqa: S101  # there is something to cut out
                left = bson.encode(project(decode(document)), codec_options=CODEC)
            yield left


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


# --- counting and distinct values ------------------------------------------------------------------------------------


def count(session: Session, operation: CountDocuments, context: Context, budget: Budget | None = None) -> int:
    """How many documents match, after skip and limit."""
    validate_collation(operation.collation)
    collection = session.catalog.get(operation.namespace)
    if collection is None:
        check_filter(operation.filter, context)
        return 0
    query = Query(collection, operation.filter, hint=operation.hint or None)
    most = min(operation.skip + operation.limit, sys.maxsize) if operation.limit else 0
    total = _count(session, query, context, most, budget)
    total = max(0, total - operation.skip)
    return min(total, operation.limit) if operation.limit else total


def _count(session: Session, query: Query, context: Context, most: int, budget: Budget | None) -> int:
    if query.hint is None and all_meet(query.collection, query.filter):
        return counts(session, query.collection)[0]
    exact = exact_way(query, context)
    if exact is not None:
        scan = Scan(session, exact, context)
        if budget is None:
            return scan.count(most)
        if exact.reads > 100:
            raise Postponed
        total = scan.count(min(most or INLINE_COUNT, INLINE_COUNT), INLINE_COUNT)
        if total >= INLINE_COUNT:
            raise Postponed
        return total
    matches = Matches(session, query, context, budget)
    rows = matches.rows()
    return sum(1 for _ in (islice(rows, most) if most else rows))


def exact_way(query: Query, context: Context) -> Plan | None:
    """A plan whose candidates can be counted without looking at documents."""
    made = plan(query.collection, query.filter, hint=query.hint, context=context)
    return next((way for way in (made, *made.others) if way.exact), None)


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
    for item in _distinct_items(session, Query(collection, operation.filter), operation.key, context):
        key = canonical(item)
        if key not in found:
            context.charge(VALUE_WEIGHT + 2 * approximate_size(item), "distinct", 146)
            found[key] = item
    values = list(found.values())
    if len(values) > 1000 and len(bson.encode({"v": values}, codec_options=CODEC)) > MOST_DISTINCT_BYTES:
        raise DataError("distinct too big, 16mb cap", number=17217)
    return values


def _distinct_items(session: Session, query: Query, path: str, context: Context) -> Iterator[Any]:
    """Values in the order in which documents have them, most of which an index can leave out."""
    by_index = leaps(query.collection, query.filter, path)
    found = by_index.values(session, query.collection, context) if by_index is not None else None
    if found is not None:
        yield from (value for _, value in sorted(found, key=itemgetter(0)))
        return
    for document in Matches(session, query, context).documents():
        yield from values_of(document, path)


# --- aggregation -----------------------------------------------------------------------------------------------------


class Collections:
    """The other collections that a pipeline reads, in the same snapshot; each reading is noted in ``scans``, if any."""

    def __init__(self, session: Session, database: str, context: Context, scans: list[Scan] | None = None) -> None:
        self._session = session
        self._database = database
        self._context = context
        self._scans = scans

    def _matches(self, query: Query) -> Matches:
        matches = Matches(self._session, query, self._context)
        if self._scans is not None:
            self._scans.append(matches.scan)
        return matches

    def __call__(self, collection: str, database: str | None = None) -> Iterable[Document]:
        """All documents of a collection in natural order; none when it is not there."""
        found = self._session.catalog.get(Namespace(database or self._database, collection))
        return () if found is None else self._matches(Query(found, {})).documents()

    def matching(self, collection: str, filter: Document) -> Iterable[Document] | None:
        """The documents that match, in natural order, or None when no index would help."""
        found = self._session.catalog.get(Namespace(self._database, collection))
        if found is None:
            return ()
        matches = self._matches(Query(found, filter))
        if matches.choice.plan.scan:
            return None
        return (decode(row[1]) for row, _ in sorted(matches.rows(), key=lambda match: match[0][0]))

    def beginning(self, collection: str, head: Head, variables: Mapping[str, Any]) -> Iterable[Document] | None:
        """The documents that the head of a sub-pipeline gives, or None when no index would help."""
        found = self._session.catalog.get(Namespace(self._database, collection))
        if found is None:
            return ()
        query = Query(found, head.filter or {}, head.sort, head.skip, head.limit or 0, None, variables)
        matches = self._matches(query)
        if matches.choice.plan.scan:
            return None
        if head.sort or head.limit is not None or head.skip:
            return matches.documents()
        return (decode(row[1]) for row, _ in sorted(matches.rows(), key=lambda match: match[0][0]))


def aggregate(
    session: Session, operation: Aggregate, pipeline: Pipeline, context: Context, budget: Budget | None = None
) -> Iterator[bytes]:
    """The documents that ``pipeline``, which has no ``$out`` and no ``$merge``, answers, as BSON.

    More of them than the operation's cap are an error.
    """
    validate_collation(operation.collation)
    if operation.allow_disk_use:
        raise Unsupported("allowDiskUse is not supported by this data source: nothing spills to disk, see the limits")
    check_bson("the pipeline", pipeline)
    check_later(pipeline[1:])  # before stages are moved
    variables = let_values(operation.let, context)
    reader = Collections(session, operation.namespace.database, context)
    source = source_of(session, operation.namespace, pipeline, context)
    alone = operation.namespace.collection == COLLECTIONLESS
    if source is not None or alone:
        documents, rest = source or ([], pipeline)
        made = compile_pipeline(rest, context, variables, reader, alone=alone)(documents)
        return bounded(_capped((_encode(document) for document in made), operation.cap), context)
    head = pushdown(pipeline)
    transform = compile_pipeline(head.rest, context, variables, reader)
    query = head_query(session, operation, head, variables)
    if head.sort:
        compile_sort(head.sort)
    if query is None:
        compile_filter(head.filter or {}, context, variables=variables)
        return bounded(_capped((_encode(document) for document in transform(())), operation.cap), context)
    matches = Matches(session, query, context, budget)
    if not head.rest:
        return bounded(_capped(matches.stored(), operation.cap), context)
    answers = (_encode(document) for document in transform(matches.documents()))
    return bounded(_capped(answers, operation.cap), context)


def scanned(query: Find | Aggregate) -> tuple[Any, ...]:
    """The function that finds the documents of ``query``, and its arguments between a session and a context. Raises
    Unsupported for a pipeline that writes."""
    if isinstance(query, Find):
        return find, query
    pipeline, output = split_output(query.pipeline)
    if output is not None:
        raise Unsupported("a pipeline that ends in $out or $merge has no documents to read on")
    return aggregate, uncapped(query), pipeline


def uncapped(operation: Aggregate) -> Aggregate:
    """The same pipeline for an output that is a collection, which no cap bounds."""
    return replace(operation, cap=sys.maxsize)


def head_query(session: Session, operation: Aggregate, head: Head, variables: Mapping[str, Any]) -> Query | None:
    """The part of a pipeline that the planner carries out, or None where there is no collection."""
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
