"""The reading operations on MongoDB. Documents stay the BSON that came."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from typing import Any

import bson
from bson import Int64
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from doorleaf.documents import CODEC, Document, Documents
from doorleaf.errors import InvalidParameter
from doorleaf.operations import (
    Aggregate,
    CountDocuments,
    Distinct,
    EstimatedDocumentCount,
    Find,
    FindOne,
    ListCollections,
    ListDatabases,
    ListIndexes,
    altered,
)
from doorleaf.operations.results import (
    CollectionsResult,
    CountResult,
    DatabasesResult,
    DistinctResult,
    DocumentResult,
    DocumentsResult,
    IndexesResult,
)
from doorleaf.stores.base import require_small
from doorleaf.stores.mongo.arguments import RAW, aggregating, hinted, ordering, outputs, present, time_limit
from doorleaf.stores.mongo.lanes.commands import Follow, ShortWay, encoded, extended
from doorleaf.stores.mongo.lanes.replies import batch, cursor_id
from doorleaf.stores.mongo.lanes.retries import repeated

Database = AsyncDatabase[Document]

_NAMESPACE_NOT_FOUND = 26
_MOST_INDEXES = 1_000
_FIRST_BATCH = 1_000


async def find_one(way: ShortWay, database: Database, operation: FindOne) -> DocumentResult:
    """One ``find`` command without a cursor."""
    collection, limit = operation.namespace.collection, time_limit(operation)
    ordinary = _first(database.name, collection, limit)
    replies = await way.read(database.name, extended(ordinary, _choosing(operation)))
    if replies is not None:
        return DocumentResult(batch(replies[0]) or None)
    command = {"find": collection, "maxTimeMS": limit, "limit": 1, "singleBatch": True} | _choosing(operation)
    if level := database.read_concern.document:
        command["readConcern"] = level
    reply: Any = await repeated(
        database.client,
        lambda: database.command(command, read_preference=database.read_preference, codec_options=RAW),
    )
    found = reply["cursor"]["firstBatch"]
    return DocumentResult(bytes(found[0].raw) if found else None)


@lru_cache(maxsize=256)
def _first(database: str, collection: str, limit: int) -> bytes:
    """The part of the command for one document that most requests to a collection have in common."""
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


def _choosing(operation: FindOne | Find) -> Document:
    """The fields of a ``find`` command that say which documents, and in what form."""
    fields: Document = {"filter": operation.filter}
    if operation.sort:
        fields["sort"] = operation.sort
    if operation.projection:
        fields["projection"] = operation.projection
    if operation.skip:
        fields["skip"] = operation.skip
    if operation.collation:
        fields["collation"] = operation.collation
    if operation.hint:
        fields["hint"] = operation.hint
    if operation.let:
        fields["let"] = operation.let
    if operation.comment is not None:
        fields["comment"] = operation.comment
    return fields


async def find(way: ShortWay, database: Database, operation: Find) -> DocumentsResult:
    """All batches, up to ``limit``, and the number of matches where that is asked for too."""
    if operation.total is None:
        return DocumentsResult(await _found(way, database, operation))
    until = time.monotonic() + time_limit(operation) / 1000
    documents = await _found(way, database, operation)
    total = operation.told(len(documents))
    if total is None:
        counting = altered(operation.counting, max_time_ms=max(1, int((until - time.monotonic()) * 1000)))
        total = (await count_documents(way, database, counting)).count
    return DocumentsResult(documents, total)


async def _found(way: ShortWay, database: Database, operation: Find) -> Documents:
    """The documents of a find. The first batch is asked to hold them all, so that there is seldom a second."""
    ordinary = _all(database.name, operation.namespace.collection, time_limit(operation), operation.limit)
    replies = await way.read(database.name, extended(ordinary, _choosing(operation)), _reading(operation))
    if replies is not None:
        return Documents([found for reply in replies if (found := batch(reply))])
    return Documents([found async for found in each_batch(_opened(database, operation), operation)])


def _opened(database: Database, operation: Find) -> Any:
    return database[operation.namespace.collection].find_raw_batches(
        operation.filter,
        operation.projection or None,
        skip=operation.skip,
        limit=operation.limit,
        batch_size=operation.limit,
        sort=ordering(operation.sort),
        collation=operation.collation,
        hint=hinted(operation.hint),
        let=operation.let,
        comment=operation.comment,
        max_time_ms=time_limit(operation),
    )


def _reading(operation: Find | Aggregate, most: int | None = None) -> Callable[[], Follow]:
    """What gets the batches of a cursor, anew for each attempt. An answer of more than ``max_bytes``, or ``most``
    documents, is refused while it comes."""

    def begin() -> Follow:
        size = count = 0

        def follow(reply: bytes) -> Document | None:
            nonlocal size, count
            size += len(reply)
            require_small(size, operation.max_bytes)
            more = cursor_id(reply)
            if not more:
                return None
            if most is not None:
                count += _count(batch(reply))
                _require_few(count, most)
            return {"getMore": Int64(more), "collection": operation.namespace.collection}

        return follow

    return begin


async def each_batch(
    cursor: Any, operation: Find | FindOne | Aggregate, most: int | None = None
) -> AsyncIterator[bytes]:
    """The batches of a cursor of the driver's, each as the BSON of its documents. Nobody else may hold the cursor.

    One that is not read to its end is let go, and the driver ends it a second later: to wait for a server that may have
    fallen silent would take longer than the operation may.
    """
    size = count = 0
    try:
        async for found in cursor:
            raw = bytes(found)
            size += len(raw)
            require_small(size, operation.max_bytes)
            if most is not None:
                count += _count(raw)
                _require_few(count, most)
            if raw:
                yield raw
    finally:
        del cursor


async def aggregate(way: ShortWay, database: Database, operation: Aggregate) -> DocumentsResult:
    """All batches; more documents than ``cap`` are an error, and reading stops there."""
    options, limit = aggregating(operation), time_limit(operation)
    collection, size = operation.namespace.collection, operation.cap + 1
    batches: list[bytes] | None = None
    if isinstance(operation.pipeline, list) and not outputs(operation.pipeline):
        ordinary = _piped(database.name, collection, limit, size)
        command = extended(ordinary, {"pipeline": operation.pipeline, **options})
        replies = await way.read(database.name, command, _reading(operation, operation.cap))
        if replies is not None:
            batches = [found for reply in replies if (found := batch(reply))]
    if batches is None:
        stages = operation.pipeline
        opened = database[collection].aggregate_raw_batches(stages, batchSize=size, maxTimeMS=limit, **options)
        batches = [found async for found in each_batch(await opened, operation, operation.cap)]
    # A document has five bytes at least, so that few of them need no counting.
    if sum(map(len, batches)) > 5 * operation.cap:
        _require_few(sum(map(_count, batches)), operation.cap)
    return DocumentsResult(Documents(batches))


def _require_few(count: int, most: int) -> None:
    if count > most:
        raise InvalidParameter(
            f"the pipeline answers more than {most} documents, the most that one answer may have; add a $limit stage"
        )


def _count(batch: bytes) -> int:
    count, position, end = 0, 0, len(batch)
    while position < end:
        position += int.from_bytes(batch[position : position + 4], "little")
        count += 1
    return count


async def count_documents(way: ShortWay, database: Database, operation: CountDocuments) -> CountResult:
    hint = hinted(operation.hint)
    options = present(
        collation=operation.collation,
        hint=dict(hint) if isinstance(hint, list) else hint,
        comment=operation.comment,
        maxTimeMS=time_limit(operation),
    )
    bounds = present(skip=operation.skip or None, limit=operation.limit or None)
    pipeline = [
        {"$match": operation.filter},
        *({f"${name}": number} for name, number in bounds.items()),
        {"$group": {"_id": 1, "n": {"$sum": 1}}},
    ]
    collection = operation.namespace.collection
    replies = await way.read(database.name, {"aggregate": collection, "pipeline": pipeline, "cursor": {}, **options})
    if replies is not None:
        counted = batch(replies[0])
        return CountResult(bson.decode(counted, CODEC)["n"] if counted else 0)
    return CountResult(await database[collection].count_documents(operation.filter, **bounds, **options))


async def estimated_document_count(way: ShortWay, database: Database, operation: EstimatedDocumentCount) -> CountResult:
    options = present(maxTimeMS=time_limit(operation), comment=operation.comment)
    collection = operation.namespace.collection
    replies = await way.read(database.name, {"count": collection, **options})
    if replies is not None:
        return CountResult(int(bson.decode(replies[0], CODEC)["n"]))
    return CountResult(await database[collection].estimated_document_count(**options))


async def distinct(way: ShortWay, database: Database, operation: Distinct) -> DistinctResult:
    options = present(collation=operation.collation, comment=operation.comment, maxTimeMS=time_limit(operation))
    collection = operation.namespace.collection
    command = {"distinct": collection, "key": operation.key, "query": operation.filter, **options}
    replies = await way.read(database.name, command)
    if replies is not None:
        return DistinctResult(bson.decode(replies[0], CODEC)["values"])
    return DistinctResult(await database[collection].distinct(operation.key, operation.filter, **options))


async def list_indexes(database: Database, operation: ListIndexes) -> IndexesResult:
    """The index documents as the server has them; none for a collection that is not there."""
    command = present(
        listIndexes=operation.namespace.collection,
        cursor={"batchSize": _MOST_INDEXES},
        maxTimeMS=time_limit(operation),
        comment=operation.comment,
    )
    try:
        reply = await repeated(database.client, lambda: database.command(command, codec_options=CODEC))
    except OperationFailure as error:
        if error.code != _NAMESPACE_NOT_FOUND:
            raise
        return IndexesResult([])
    return IndexesResult(reply.get("cursor", {}).get("firstBatch", []))


async def list_collections(database: Database, operation: ListCollections) -> CollectionsResult:
    options = present(
        nameOnly=True, authorizedCollections=True, maxTimeMS=time_limit(operation), comment=operation.comment
    )
    cursor = await database.list_collections(**options)
    listed = [{"name": item["name"], "type": item.get("type", "collection")} async for item in cursor]
    return CollectionsResult(listed)


async def list_databases(database: Database, operation: ListDatabases) -> DatabasesResult:
    command = present(listDatabases=1, maxTimeMS=time_limit(operation), comment=operation.comment)
    admin = database.client.admin
    reply = await repeated(database.client, lambda: admin.command(command, codec_options=CODEC))
    databases = [
        {"name": item["name"], "sizeOnDisk": item.get("sizeOnDisk", 0), "empty": item.get("empty", False)}
        for item in reply["databases"]
    ]
    return DatabasesResult(databases, reply.get("totalSize", sum(item["sizeOnDisk"] for item in databases)))
