"""Reads by the short way: on a lane, and None when there is none and the driver has to do it.

Commands are what PyMongo would send. Documents stay the BSON that came.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

import bson
from bson import Int64

from doorleaf.documents import CODEC, Document, Documents
from doorleaf.ejson.transcoder import encode
from doorleaf.operations import (
    Aggregate,
    CountDocuments,
    Distinct,
    EstimatedDocumentCount,
    Find,
    FindOne,
    Operation,
)
from doorleaf.operations.results import CountResult, DistinctResult, DocumentResult, DocumentsResult, Result
from doorleaf.stores.mongo.arguments import (
    DEFAULT_TIME_LIMIT,
    aggregating,
    choosing,
    counting,
    counting_options,
    distinct_options,
    document_count,
    outputs,
    present,
    require_few,
    require_small,
    time_limit,
)
from doorleaf.stores.mongo.errors import array
from doorleaf.stores.mongo.lanes.commands import Follow, ShortWay, encoded

_FIRST_BATCH = 1_000


async def find_one(way: ShortWay, operation: FindOne, deadline: float) -> DocumentResult | None:
    """One ``find`` command without a cursor."""
    place = operation.namespace
    head = _one(place.database, place.collection, operation.max_time_ms or DEFAULT_TIME_LIMIT)
    found = await way.documents(head + _encoded(choosing(operation)), place.database, deadline, None, operation.turn)
    return None if found is None else DocumentResult(found[0] or None)


@lru_cache(maxsize=256)
def _one(database: str, collection: str, limit: int) -> bytes:
    """The fields of the command for one document that most requests to a collection have in common."""
    return encoded(database, {"find": collection, "maxTimeMS": limit, "limit": 1, "singleBatch": True})


@lru_cache(maxsize=256)
def _all(database: str, collection: str, limit: int, most: int) -> bytes:
    """The same for ``most`` documents, 0 for any number."""
    command = {"find": collection, "maxTimeMS": limit, "batchSize": most or _FIRST_BATCH}
    return encoded(database, command | present(limit=most or None))


@lru_cache(maxsize=256)
def _piped(database: str, collection: str, limit: int, most: int) -> bytes:
    """The same for a pipeline whose first batch may have ``most`` documents."""
    return encoded(database, {"aggregate": collection, "maxTimeMS": limit, "cursor": {"batchSize": most}})


def _encoded(fields: Document) -> bytes:
    return encode(fields)[4:-1]


async def find(way: ShortWay, operation: Find, deadline: float) -> DocumentsResult | None:
    """All batches, up to ``limit``, and the number of matches where that is asked for too.

    The first batch is asked to hold them all, so that there is seldom a second.
    """
    until = time.monotonic() + time_limit(operation) / 1000
    place = operation.namespace
    head = _all(place.database, place.collection, operation.max_time_ms or DEFAULT_TIME_LIMIT, operation.limit)
    fields, follow = head + _encoded(choosing(operation)), _following(operation)
    found = await way.documents(fields, place.database, deadline, follow, operation.turn)
    if found is None:
        return None
    documents = _answered(found, operation)
    if operation.total is None:
        return DocumentsResult(documents)
    total = operation.told(len(documents))
    if total is None:
        counted = await count_documents(way, counting(operation, until), deadline)
        if counted is None:
            return None
        total = counted.count
    return DocumentsResult(documents, total)


def _answered(batches: list[bytes], operation: Find | Aggregate) -> Documents:
    documents = Documents([found for found in batches if found])
    require_small(documents.size, operation)
    return documents


def _following(operation: Find | Aggregate, most: int | None = None) -> Callable[[], Follow]:
    """What gets the batches of a cursor, anew for each attempt. An answer of more than ``max_bytes``, or ``most``
    documents, is refused while it comes."""

    def begin() -> Follow:
        size = count = 0

        def follow(documents: bytes, more: int) -> Document | None:
            nonlocal size, count
            size += len(documents)
            require_small(size, operation)
            if not more:
                return None
            if most is not None:
                count += document_count(documents)
                require_few(count, most)
            return {"getMore": Int64(more), "collection": operation.namespace.collection}

        return follow

    return begin


async def aggregate(way: ShortWay, operation: Aggregate, deadline: float) -> DocumentsResult | None:
    """All batches; more documents than ``cap`` are an error, and reading stops there."""
    if not isinstance(operation.pipeline, list) or outputs(operation.pipeline):
        return None
    place, cap = operation.namespace, operation.cap
    head = _piped(place.database, place.collection, operation.max_time_ms or DEFAULT_TIME_LIMIT, cap + 1)
    fields = head + _encoded({"pipeline": operation.pipeline, **aggregating(operation)})
    found = await way.documents(fields, place.database, deadline, _following(operation, cap), operation.turn)
    if found is None:
        return None
    documents = _answered(found, operation)
    if documents.size > 5 * cap:  # a document has five bytes at least, so that few of them need no counting
        require_few(sum(map(document_count, found)), cap)
    return DocumentsResult(documents)


async def count_documents(way: ShortWay, operation: CountDocuments, deadline: float) -> CountResult | None:
    """The number of what a pipeline counts."""
    bounds = present(skip=operation.skip or None, limit=operation.limit or None)
    pipeline = [
        {"$match": operation.filter},
        *({f"${name}": number} for name, number in bounds.items()),
        {"$group": {"_id": 1, "n": {"$sum": 1}}},
    ]
    place = operation.namespace
    command = {"aggregate": place.collection, "pipeline": pipeline, "cursor": {}, **counting_options(operation)}
    found = await way.documents(encoded(place.database, command), place.database, deadline, None, operation.turn)
    if found is None:
        return None
    return CountResult(bson.decode(found[0], CODEC)["n"] if found[0] else 0)


async def estimated_document_count(
    way: ShortWay, operation: EstimatedDocumentCount, deadline: float
) -> CountResult | None:
    options = present(maxTimeMS=time_limit(operation), comment=operation.comment)
    place = operation.namespace
    reply = await way.reply(place.database, {"count": place.collection, **options}, deadline, operation.turn)
    return None if reply is None else CountResult(int(reply["n"]))


async def distinct(way: ShortWay, operation: Distinct, deadline: float) -> DistinctResult | None:
    place = operation.namespace
    command = {"distinct": place.collection, "key": operation.key, "query": operation.filter}
    reply = await way.reply(place.database, command | distinct_options(operation), deadline, operation.turn)
    return None if reply is None else DistinctResult(array(reply["values"]))


READS: dict[type[Operation[Any]], Callable[[ShortWay, Any, float], Awaitable[Result | None]]] = {
    FindOne: find_one,
    Find: find,
    Aggregate: aggregate,
    CountDocuments: count_documents,
    EstimatedDocumentCount: estimated_document_count,
    Distinct: distinct,
}
"""For each such operation its function: the result, or None when nothing was asked and the driver has to do it."""
