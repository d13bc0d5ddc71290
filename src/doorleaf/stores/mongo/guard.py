"""Writes that somebody must look at, document by document, before they count.

A guard sees every document before and after, inside the write's atomic unit. That unit is a transaction. Where the
server has none, one document that is deleted or replaced can still be written only if it is what the guard saw;
everything else is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

import bson
from bson.raw_bson import RawBSONDocument
from pymongo import ReadPreference
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ExecutionTimeout, OperationFailure

from doorleaf.documents import ABSENT, CODEC, Document, Encoded
from doorleaf.errors import DataError, InvalidParameter, Unsupported, WriteFailed
from doorleaf.operations import (
    BulkWrite,
    Change,
    DeleteMany,
    DeleteOne,
    FindOneAndDelete,
    FindOneAndReplace,
    FindOneAndUpdate,
    Guard,
    InsertMany,
    InsertOne,
    Operation,
    ReplaceOne,
    UpdateMany,
    UpdateOne,
    Write,
)
from doorleaf.operations.capabilities import Sorted, Upserting
from doorleaf.operations.results import (
    BulkWriteResult,
    DeleteResult,
    DocumentResult,
    Result,
    UpdateResult,
)
from doorleaf.stores.base import MOST_RESULT_BYTES, answer_too_large
from doorleaf.stores.mongo import bulks, transactions
from doorleaf.stores.mongo import writes as unguarded
from doorleaf.stores.mongo.arguments import RAW, check_replacement, hinted, ordering, present
from doorleaf.stores.mongo.errors import mapped, operation_failure, transactions_missing

Database = AsyncDatabase[Document]
_ATTEMPTS = 10

ASKED = 200
"""How many documents of one write guards see in one turn of the event loop: one may take a millisecond for each."""

_RUN: dict[type[Operation[Any]], Callable[[Database, Any, AsyncClientSession], Awaitable[Any]]] = {
    InsertOne: unguarded.insert_one,
    UpdateOne: unguarded.update_one,
    UpdateMany: unguarded.update_many,
    ReplaceOne: unguarded.replace_one,
    DeleteOne: unguarded.delete_one,
    DeleteMany: unguarded.delete_many,
    FindOneAndUpdate: unguarded.find_one_and_update,
    FindOneAndReplace: unguarded.find_one_and_replace,
    FindOneAndDelete: unguarded.find_one_and_delete,
}


def is_guarded(operation: Operation[Any]) -> bool:
    """Whether anything in ``operation`` has a guard."""
    return bool(operation.guards)


async def execute(database: Database, operation: Operation[Any]) -> Any:
    """Run a guarded write; what a guard raises leaves everything as it was."""
    if (prepared := await _guarded_inserts(operation)) is not None:
        return await _insert(database, prepared)
    # What is written is read where it is written, whatever the URI prefers for other reads.
    database = database.with_options(read_preference=ReadPreference.PRIMARY)
    if not has_transactions(database):
        return await _compared(database, operation)

    async def body(session: AsyncClientSession) -> Any:
        if isinstance(operation, BulkWrite):
            return await bulk(database, operation, session)
        return await seen(database, cast("Write | Change", operation), session)

    try:
        return await transactions.as_one(database.client, body)
    except OperationFailure as error:
        if not transactions_missing(error):
            raise
    return await _compared(database, operation)


async def _guarded_inserts(operation: Operation[Any]) -> InsertOne | InsertMany | BulkWrite | None:
    """``operation`` with its guards asked and gone, where it guards only inserts: their documents are known."""
    if isinstance(operation, InsertOne):
        return _guarded_insert(operation)
    if isinstance(operation, InsertMany):
        return await asked(operation)
    if isinstance(operation, BulkWrite) and all(
        isinstance(write, InsertOne) or write.guard is None for write in operation.operations
    ):
        writes: list[Write] = []
        for index, write in enumerate(operation.operations):
            await _pause(index)
            writes.append(_guarded_insert(write) if isinstance(write, InsertOne) else write)
        return replace(operation, operations=writes)
    return None


def _guarded_insert(operation: InsertOne) -> InsertOne:
    document = unguarded.identified(operation.document)
    _ask(operation.guard, None, document)
    return replace(operation, document=document, guard=None)


async def asked(operation: InsertMany) -> InsertMany:
    """``operation`` without its guard, which has seen every document."""
    given, named = operation.documents, []
    for index, document in enumerate(given):
        await _pause(index)
        if not isinstance(given, Encoded):
            document = unguarded.identified(document)
            named.append(document)
        _ask(operation.guard, None, document)
    return replace(operation, documents=named or given, guard=None)


async def _pause(index: int) -> None:
    """Let others have their turn of the event loop before the document at ``index``, after some."""
    if index and not index % ASKED:
        await asyncio.sleep(0)


async def _insert(database: Database, operation: InsertOne | InsertMany | BulkWrite) -> Result:
    if isinstance(operation, InsertOne):
        return await unguarded.insert_one(database, operation)
    if isinstance(operation, InsertMany):
        return await bulks.insert_many(database, operation)
    return await bulks.bulk_write(database, operation)


def _ask(guard: Guard | None, before: Document | None, after: Document | None) -> None:
    if guard is not None:
        guard(before, after)


def has_transactions(database: Database) -> bool:
    """Replica sets and sharded clusters have them, a single server has not; the driver knows which it talks to."""
    picture = database.client.topology_description
    kinds = {server.server_type_name for server in picture.server_descriptions().values()}
    if "LoadBalancer" in kinds:
        return True
    return bool(kinds & {"RSPrimary", "Mongos"}) and picture.logical_session_timeout_minutes is not None


# --- in a transaction ---------------------------------------------------------------------------------------------


async def seen(database: Database, operation: Write | Change, session: AsyncClientSession) -> Any:
    """One guarded write: read what it will touch, write, read again, ask."""
    guard = operation.guard
    if isinstance(operation, InsertOne):
        document = unguarded.identified(operation.document)
        _ask(guard, None, document)
        return await unguarded.insert_one(database, replace(operation, document=document), session)
    if guard is None:
        return await _RUN[type(operation)](database, operation, session)
    befores = await _matching(database, operation, session)
    if not befores:
        return await _nothing_there(database, operation, session)
    write = operation
    if not operation.many:
        await _refuse_twins(database, operation, befores[0]["_id"], session)
        write = _narrowed(operation, befores[0]["_id"])
    try:
        result = await _RUN[type(operation)](database, write, session)
    except OperationFailure:
        # Who may not write the documents is told that, and not what stands in the way of writing them.
        for before in () if operation.deletes else befores:
            guard(before, before)
        raise
    if operation.deletes:
        for before in befores:
            guard(before, None)
        return result
    afters = await _by_id(database, operation, [before["_id"] for before in befores], session)
    for before in befores:
        guard(before, afters.get(_id_key(before)))
    return result


async def _matching(database: Database, operation: Change, session: AsyncClientSession | None) -> list[Document]:
    """The documents the write will touch, whole."""
    options = present(
        sort=ordering(operation.sort if isinstance(operation, Sorted) else None),
        collation=operation.collation,
        hint=hinted(operation.hint),
        let=operation.let,
    )
    limit = 0 if operation.many else 1
    collection = database[operation.namespace.collection]
    cursor: Any = collection.find_raw_batches(operation.filter, limit=limit, session=session, **options)
    found: list[Document] = []
    size = 0
    async with cursor:
        async for batch in cursor:
            size += len(batch)
            if size > MOST_RESULT_BYTES:
                raise InvalidParameter(
                    f"the filter matches documents of more than {MOST_RESULT_BYTES} bytes, which this caller's rules "
                    "would have to look at in one write; write fewer at once"
                )
            found += bson.decode_all(batch, CODEC)
    return found


async def _refuse_twins(database: Database, operation: Change, key: Any, session: AsyncClientSession) -> None:
    """Under a collation one ``_id`` may equal several: then it cannot say which document was seen."""
    if not operation.collation or not isinstance(key, (str, dict)):
        return
    collection = database[operation.namespace.collection]
    cursor = collection.find({"_id": {"$eq": key}}, limit=2, collation=operation.collation, session=session)
    async with cursor:
        if len(await cursor.to_list()) > 1:
            raise Unsupported("several documents have this _id under the collation: leave the collation out")


def _narrowed(operation: Change, key: Any) -> Change:
    """The same write for this one document; the filter stays, for positional operators need it."""
    condition = {"_id": {"$eq": key}}
    narrow = {"$and": [condition, operation.filter]} if "_id" in operation.filter else {**operation.filter, **condition}
    changes: Document = {"filter": narrow, "guard": None}
    if isinstance(operation, Sorted):
        changes["sort"] = None
    if isinstance(operation, Upserting):
        changes["upsert"] = False
    return replace(operation, **changes)


def _raw(database: Database, operation: Change) -> AsyncCollection[RawBSONDocument]:
    return database.get_collection(operation.namespace.collection, codec_options=RAW)  # type: ignore[return-value]


def _id_key(document: Document) -> bytes:
    return bson.encode({"": document["_id"]}, codec_options=CODEC)


async def _by_id(
    database: Database, operation: Change, keys: list[Any], session: AsyncClientSession
) -> dict[bytes, Document]:
    cursor = database[operation.namespace.collection].find({"_id": {"$in": keys}}, session=session)
    async with cursor:
        return {_id_key(document): document async for document in cursor}


async def _nothing_there(database: Database, operation: Change, session: AsyncClientSession) -> Any:
    """No document matches: an upsert inserts one, anything else runs for the errors it may have."""
    if not (isinstance(operation, Upserting) and operation.upsert):
        return await _RUN[type(operation)](database, operation, session)
    write = _as_update(operation)
    result: UpdateResult = await _RUN[type(write)](database, write, session)
    if result.upserted_id is ABSENT:
        return result
    condition = {"_id": {"$eq": result.upserted_id}}
    collection = _raw(database, operation)
    after = await collection.find_one(condition, session=session)
    _ask(operation.guard, None, bson.decode(after.raw, CODEC) if after is not None else None)
    if not isinstance(operation, (FindOneAndUpdate, FindOneAndReplace)):
        return result
    if not operation.return_new_document:
        return DocumentResult(None)
    shown = await collection.find_one(condition, operation.projection or None, session=session)
    return DocumentResult(None if shown is None else bytes(shown.raw))


def _as_update(operation: Change) -> Change:
    """The write whose result names the upserted ``_id``, which a find-and-modify may not show."""
    if not isinstance(operation, (FindOneAndUpdate, FindOneAndReplace)):
        return operation
    common: dict[str, Any] = {
        "namespace": operation.namespace,
        "comment": operation.comment,
        "max_time_ms": operation.max_time_ms,
        "filter": operation.filter,
        "upsert": operation.upsert,
        "collation": operation.collation,
        "hint": operation.hint,
        "let": operation.let,
    }
    if isinstance(operation, FindOneAndReplace):
        return ReplaceOne(replacement=operation.replacement, **common)
    return UpdateOne(update=operation.update, array_filters=operation.array_filters, **common)


async def bulk(database: Database, operation: BulkWrite, session: AsyncClientSession) -> BulkWriteResult:
    """The writes one after the other; the first that fails undoes them all, ordered or not."""
    total, room = BulkWriteResult(), MOST_RESULT_BYTES
    for index, write in enumerate(operation.operations):
        try:
            result = await seen(database, write, session)
            room -= result.size()
            if room < 0:
                raise answer_too_large(MOST_RESULT_BYTES)
            total.add(index, result)
        except OperationFailure as error:
            if error.has_error_label("TransientTransactionError") or transactions_missing(error):
                raise
            if isinstance(error, ExecutionTimeout):
                raise mapped(error) from error
            failure = operation_failure(error)
            number = failure.number if isinstance(failure, DataError) else 8
            entry = {"index": index, "code": number, "message": failure.message}
            fields = {**BulkWriteResult().wire(), "writeErrors": [entry]}
            raise WriteFailed(failure.message, number=number, fields=fields) from error
    return total


# --- without one --------------------------------------------------------------------------------------------------


async def _compared(database: Database, operation: Operation[Any]) -> Any:
    """Delete or replace one document only if it is still what the guard saw; try again when it is not."""
    if not isinstance(operation, Change):
        raise _needs_transactions(operation)
    guard = operation.guard
    sufficient = None if guard is None else guard.sufficient
    if guard is not None and sufficient is not None and not operation.collation:
        return await _where_allowed(database, operation, guard, sufficient)
    replacement = None
    if isinstance(operation, (ReplaceOne, FindOneAndReplace)) and not operation.upsert:
        replacement = operation.replacement
    alone = (operation.deletes and not operation.many) or replacement is not None
    if not alone or operation.collation:  # under a collation, equal is not unchanged
        raise _needs_transactions(operation)
    if replacement is not None:
        check_replacement(replacement, upsert=False)
    collection = _raw(database, operation)
    for _ in range(_ATTEMPTS):
        befores = await _matching(database, operation, None)
        if not befores:
            return _untouched(operation)
        seen = await collection.find_one({"_id": {"$eq": befores[0]["_id"]}})
        if seen is None:
            continue
        before = bson.decode(seen.raw, CODEC)
        _ask(guard, before, None if replacement is None else {"_id": before["_id"], **replacement})
        result = await _RUN[type(operation)](database, _unless_changed(operation, before["_id"], seen), None)  # type: ignore[arg-type]
        if not _nothing_written(result):
            return result
    raise DataError("the document kept changing while it was being written; try again", number=112)


def _needs_transactions(operation: Operation[Any]) -> Unsupported:
    return Unsupported(
        f"{operation.name} under this rule needs the documents before and after the write in one transaction: "
        "the data source must be a replica set or a sharded cluster"
    )


async def _where_allowed(database: Database, operation: Change, guard: Guard, sufficient: bool | Document) -> Any:
    """A write that its guard allows in the documents of ``sufficient`` and refuses in others: it meets those alone."""
    allowed = {"_id": {"$exists": sufficient}} if isinstance(sufficient, bool) else sufficient
    others = operation
    if operation.many:
        others = replace(operation, filter={"$and": [operation.filter, {"$nor": [allowed]}]})
    befores = await _matching(database, others, None)
    for before in befores:
        guard(before, None if operation.deletes else before)
    write = replace(operation, guard=None)
    if befores and not operation.many:
        write = _narrowed(operation, befores[0]["_id"])
    # Nothing holds the documents still, so the condition goes along.
    write = replace(write, filter={"$and": [allowed, write.filter]})
    return await _RUN[type(operation)](database, write, None)  # type: ignore[arg-type]


def _unless_changed(operation: Change, key: Any, seen: RawBSONDocument) -> Change:
    narrow = _narrowed(operation, key)
    unchanged = {"$expr": {"$eq": ["$$ROOT", {"$literal": seen}]}}
    return replace(narrow, filter={"$and": [narrow.filter, unchanged]})


def _untouched(operation: Change) -> Result:
    if isinstance(operation, DeleteOne):
        return DeleteResult(0)
    return UpdateResult(0, 0) if isinstance(operation, ReplaceOne) else DocumentResult(None)


def _nothing_written(result: Result) -> bool:
    if isinstance(result, DeleteResult):
        return result.deleted_count == 0
    if isinstance(result, UpdateResult):
        return result.matched_count == 0
    return isinstance(result, DocumentResult) and result.document is None
