"""The reading operations on MongoDB. Documents stay the BSON that came."""

from __future__ import annotations

from typing import Any

import bson
from bson import Int64
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ConnectionFailure, OperationFailure, ServerSelectionTimeoutError, WaitQueueTimeoutError

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
)
from doorleaf.results import (
    CollectionsResult,
    CountResult,
    DatabasesResult,
    DistinctResult,
    DocumentResult,
    DocumentsResult,
    IndexesResult,
)
from doorleaf.stores.mongo.arguments import RAW, hinted, ordering, present, time_limit
from doorleaf.stores.mongo.lanes import Follow, Lanes
from doorleaf.stores.mongo.replies import NOT_PRIMARY, batch, cursor_id, is_error

Database = AsyncDatabase[Document]

_NAMESPACE_NOT_FOUND = 26
_MOST_INDEXES = 1_000
_FIRST_BATCH = 1_000


async def find_one(lanes: Lanes, database: Database, operation: FindOne) -> DocumentResult:
    """One ``find`` command without a cursor."""
    command = _find_command(operation) | {"limit": 1, "singleBatch": True}
    replies = await _replies(lanes, database, command)
    if replies is not None:
        return DocumentResult(batch(replies[0]) or None)
    try:
        reply = await _command(database, command)
    except (ServerSelectionTimeoutError, WaitQueueTimeoutError):
        raise
    except ConnectionFailure:
        # The driver retries reads of its own helpers once; a command of ours is ours to retry.
        if not database.client.options.retry_reads:
            raise
        reply = await _command(database, command)
    found = reply["cursor"]["firstBatch"]
    return DocumentResult(bytes(found[0].raw) if found else None)


async def _command(database: Database, command: Document) -> Any:
    if level := database.read_concern.document:
        command["readConcern"] = level
    return await database.command(command, read_preference=database.read_preference, codec_options=RAW)


def _find_command(operation: FindOne | Find) -> Document:
    command: Document = {
        "find": operation.namespace.collection,
        "filter": operation.filter,
        "maxTimeMS": time_limit(operation),
    }
    for name, value in (
        ("sort", operation.sort),
        ("projection", operation.projection),
        ("skip", operation.skip),
        ("collation", operation.collation),
        ("hint", operation.hint),
        ("let", operation.let),
    ):
        if value:
            command[name] = value
    if operation.comment is not None:
        command["comment"] = operation.comment
    return command


async def _replies(lanes: Lanes, database: Database, command: Document, follow: Follow | None = None) -> Any:
    """The replies by a lane; None when there is none, or its server is no longer the one to ask."""
    replies = await lanes.run(database.name, command, follow)
    if replies is None or not is_error(replies[-1]):
        return replies
    document = bson.decode(replies[-1], CODEC)
    if document.get("ok") != 1 and document.get("code") in NOT_PRIMARY:
        await lanes.renew()
        return None
    return replies


async def find(lanes: Lanes, database: Database, operation: Find) -> DocumentsResult:
    """All batches, up to ``limit``; the first is asked to hold them all, so that there is seldom a second."""
    command = _find_command(operation) | {"batchSize": operation.limit or _FIRST_BATCH}
    if operation.limit:
        command["limit"] = operation.limit

    def follow(reply: bytes) -> Document | None:
        more = cursor_id(reply)
        return {"getMore": Int64(more), "collection": operation.namespace.collection} if more else None

    replies = await _replies(lanes, database, command, follow)
    if replies is not None:
        return DocumentsResult(Documents([found for reply in replies if (found := batch(reply))]))
    cursor = database[operation.namespace.collection].find_raw_batches(
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
    async with cursor:
        return DocumentsResult(Documents([_bytes(found) async for found in cursor if found]))


async def aggregate(database: Database, operation: Aggregate) -> DocumentsResult:
    """All batches; more documents than ``cap`` are an error, and reading stops there."""
    options = present(
        collation=operation.collation,
        hint=hinted(operation.hint),
        let=operation.let,
        comment=operation.comment,
        allowDiskUse=True if operation.allow_disk_use else None,
    )
    cursor = await database[operation.namespace.collection].aggregate_raw_batches(
        operation.pipeline, batchSize=operation.cap + 1, maxTimeMS=time_limit(operation), **options
    )
    batches: list[bytes] = []
    count = 0
    async with cursor:
        async for batch in cursor:
            raw = _bytes(batch)
            count += _count(raw)
            if count > operation.cap:
                raise InvalidParameter(
                    f"the pipeline answers more than {operation.cap} documents, the most that one answer may have; "
                    "add a $limit stage"
                )
            if raw:
                batches.append(raw)
    return DocumentsResult(Documents(batches))


def _bytes(batch: Any) -> bytes:
    """A raw batch, which is BSON although the cursor's type says documents; no copy where it is bytes already."""
    return bytes(batch)


def _count(batch: bytes) -> int:
    count, position, end = 0, 0, len(batch)
    while position < end:
        position += int.from_bytes(batch[position : position + 4], "little")
        count += 1
    return count


async def count_documents(database: Database, operation: CountDocuments) -> CountResult:
    options = present(
        collation=operation.collation,
        hint=hinted(operation.hint),
        comment=operation.comment,
        skip=operation.skip or None,
        limit=operation.limit or None,
        maxTimeMS=time_limit(operation),
    )
    return CountResult(await database[operation.namespace.collection].count_documents(operation.filter, **options))


async def estimated_document_count(database: Database, operation: EstimatedDocumentCount) -> CountResult:
    options = present(maxTimeMS=time_limit(operation), comment=operation.comment)
    return CountResult(await database[operation.namespace.collection].estimated_document_count(**options))


async def distinct(database: Database, operation: Distinct) -> DistinctResult:
    options = present(collation=operation.collation, comment=operation.comment, maxTimeMS=time_limit(operation))
    collection = database[operation.namespace.collection]
    return DistinctResult(await collection.distinct(operation.key, operation.filter, **options))


async def list_indexes(database: Database, operation: ListIndexes) -> IndexesResult:
    """The index documents as the server has them; none for a collection that is not there."""
    command = present(
        listIndexes=operation.namespace.collection,
        cursor={"batchSize": _MOST_INDEXES},
        maxTimeMS=time_limit(operation),
        comment=operation.comment,
    )
    try:
        reply = await database.command(command, codec_options=CODEC)
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
    async with cursor:
        listed = [{"name": item["name"], "type": item.get("type", "collection")} async for item in cursor]
    return CollectionsResult(listed)


async def list_databases(database: Database, operation: ListDatabases) -> DatabasesResult:
    command = present(listDatabases=1, maxTimeMS=time_limit(operation), comment=operation.comment)
    reply = await database.client.admin.command(command, codec_options=CODEC)
    databases = [
        {"name": item["name"], "sizeOnDisk": item.get("sizeOnDisk", 0), "empty": item.get("empty", False)}
        for item in reply["databases"]
    ]
    return DatabasesResult(databases, reply.get("totalSize", sum(item["sizeOnDisk"] for item in databases)))
