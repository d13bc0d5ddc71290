"""The reading operations on MongoDB by the driver's own way. Documents stay the BSON that came."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from doorleaf.documents import CODEC, Document, Documents
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
from doorleaf.stores.mongo.arguments import (
    RAW,
    aggregating,
    choosing,
    counting,
    counting_options,
    distinct_options,
    document_count,
    hinted,
    ordering,
    present,
    require_few,
    require_small,
    time_limit,
)
from doorleaf.stores.mongo.errors import array
from doorleaf.stores.mongo.lanes.retries import repeated

Database = AsyncDatabase[Document]

_NAMESPACE_NOT_FOUND = 26
_MOST_INDEXES = 1_000


async def find_one(database: Database, operation: FindOne) -> DocumentResult:
    """One ``find`` command without a cursor."""
    command = {"find": operation.namespace.collection, "maxTimeMS": time_limit(operation), "limit": 1}
    command |= {"singleBatch": True} | choosing(operation)
    if level := database.read_concern.document:
        command["readConcern"] = level
    reply: Any = await repeated(
        database.client,
        lambda: database.command(command, read_preference=database.read_preference, codec_options=RAW),
    )
    found = reply["cursor"]["firstBatch"]
    return DocumentResult(bytes(found[0].raw) if found else None)


async def find(database: Database, operation: Find) -> DocumentsResult:
    """All batches, up to ``limit``, and the number of matches where that is asked for too."""
    until = time.monotonic() + time_limit(operation) / 1000
    documents = Documents([found async for found in each_batch(_opened(database, operation), operation)])
    if operation.total is None:
        return DocumentsResult(documents)
    total = operation.told(len(documents))
    if total is None:
        total = (await count_documents(database, counting(operation, until))).count
    return DocumentsResult(documents, total)


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
            require_small(size, operation)
            if most is not None:
                count += document_count(raw)
                require_few(count, most)
            if raw:
                yield raw
    finally:
        del cursor


async def aggregate(database: Database, operation: Aggregate) -> DocumentsResult:
    """All batches; more documents than ``cap`` are an error, and reading stops there."""
    options, limit = aggregating(operation), time_limit(operation)
    opened = database[operation.namespace.collection].aggregate_raw_batches(
        operation.pipeline, batchSize=operation.cap + 1, maxTimeMS=limit, **options
    )
    batches = [found async for found in each_batch(await opened, operation, operation.cap)]
    return DocumentsResult(Documents(batches))


async def count_documents(database: Database, operation: CountDocuments) -> CountResult:
    bounds = present(skip=operation.skip or None, limit=operation.limit or None)
    collection = database[operation.namespace.collection]
    return CountResult(await collection.count_documents(operation.filter, **bounds, **counting_options(operation)))


async def estimated_document_count(database: Database, operation: EstimatedDocumentCount) -> CountResult:
    options = present(maxTimeMS=time_limit(operation), comment=operation.comment)
    return CountResult(await database[operation.namespace.collection].estimated_document_count(**options))


async def distinct(database: Database, operation: Distinct) -> DistinctResult:
    collection = database[operation.namespace.collection]
    values = await collection.distinct(operation.key, operation.filter, **distinct_options(operation))
    return DistinctResult(array(values))


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
