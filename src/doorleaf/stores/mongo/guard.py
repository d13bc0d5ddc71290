"""Writes that somebody must look at, document by document, before they count.

A guard sees every document before and after, inside the write's atomic unit. That unit is a transaction. Where the
server has none, one document that is deleted or replaced can still be written only if it is what the guard saw;
everything else is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from pymongo import ReadPreference
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from doorleaf.documents import ABSENT, CODEC, Document
from doorleaf.errors import DataError, Unsupported, WriteFailed
from doorleaf.operations import (
    BulkWrite,
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
)
from doorleaf.results import (
    BulkWriteResult,
    DeleteResult,
    DocumentResult,
    Result,
    UpdateResult,
)
from doorleaf.stores.mongo import writes as unguarded
from doorleaf.stores.mongo.arguments import RAW, check_replacement, hinted, ordering, present
from doorleaf.stores.mongo.errors import operation_failure, transactions_missing

Database = AsyncDatabase[Document]
Matching = (
    UpdateOne
    | UpdateMany
    | ReplaceOne
    | DeleteOne
    | DeleteMany
    | FindOneAndUpdate
    | FindOneAndReplace
    | FindOneAndDelete
)
"""The writes that act on documents which are there."""

_DELETES = (DeleteOne, DeleteMany, FindOneAndDelete)
_MANY = (UpdateMany, DeleteMany)
_ATTEMPTS = 10

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
    if isinstance(operation, BulkWrite):
        return any(write.guard is not None for write in operation.operations)
    return getattr(operation, "guard", None) is not None


async def execute(database: Database, operation: Operation[Any]) -> Any:
    """Run a guarded write; what a guard raises leaves everything as it was."""
    if (prepared := _guarded_inserts(operation)) is not None:
        return await _insert(database, prepared)
    # What is written is read where it is written, whatever the URI prefers for other reads.
    database = database.with_options(read_preference=ReadPreference.PRIMARY)
    if not await _has_transactions(database):
        return await _compared(database, operation)

    async def body(session: AsyncClientSession) -> Any:
        if isinstance(operation, BulkWrite):
            return await _bulk(database, operation, session)
        return await _seen(database, operation, session)

    try:
        async with database.client.start_session() as session:
            return await session.with_transaction(body, read_preference=ReadPreference.PRIMARY)
    except OperationFailure as error:
        if not transactions_missing(error):
            raise
    return await _compared(database, operation)


def _guarded_inserts(operation: Operation[Any]) -> InsertOne | InsertMany | BulkWrite | None:
    """``operation`` with its guards asked and gone, where it guards only inserts: their documents are known."""
    if isinstance(operation, InsertOne):
        document = unguarded.identified(operation.document)
        _ask(operation.guard, None, document)
        return replace(operation, document=document, guard=None)
    if isinstance(operation, InsertMany):
        documents = [unguarded.identified(document) for document in operation.documents]
        for document in documents:
            _ask(operation.guard, None, document)
        return replace(operation, documents=documents, guard=None)
    if isinstance(operation, BulkWrite) and all(
        isinstance(write, InsertOne) or write.guard is None for write in operation.operations
    ):
        writes: list[Any] = [_guarded_inserts(write) or write for write in operation.operations]
        return replace(operation, operations=writes)
    return None


async def _insert(database: Database, operation: InsertOne | InsertMany | BulkWrite) -> Result:
    if isinstance(operation, InsertOne):
        return await unguarded.insert_one(database, operation)
    if isinstance(operation, InsertMany):
        return await unguarded.insert_many(database, operation)
    return await unguarded.bulk_write(database, operation)


def _ask(guard: Guard | None, before: Document | None, after: Document | None) -> None:
    if guard is not None:
        guard(before, after)


async def _has_transactions(database: Database) -> bool:
    """Replica sets and sharded clusters have them, a single server has not."""
    hello = await database.client.admin.command("hello")
    clustered = "setName" in hello or hello.get("msg") == "isdbgrid" or "serviceId" in hello
    return clustered and hello.get("logicalSessionTimeoutMinutes") is not None


# --- in a transaction ---------------------------------------------------------------------------------------------


async def _seen(database: Database, operation: Any, session: AsyncClientSession) -> Any:
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
    if not isinstance(operation, _MANY):
        await _refuse_twins(database, operation, befores[0]["_id"], session)
        write = _narrowed(operation, befores[0]["_id"])
    try:
        result = await _RUN[type(operation)](database, write, session)
    except OperationFailure:
        # Who may not write the documents is told that, and not what stands in the way of writing them.
        for before in () if isinstance(operation, _DELETES) else befores:
            guard(before, before)
        raise
    if isinstance(operation, _DELETES):
        for before in befores:
            guard(before, None)
        return result
    afters = await _by_id(database, operation, [before["_id"] for before in befores], session)
    for before in befores:
        guard(before, afters.get(_id_key(before)))
    return result


async def _matching(database: Database, operation: Matching, session: AsyncClientSession | None) -> list[Document]:
    """The documents the write will touch, whole."""
    options = present(
        sort=ordering(getattr(operation, "sort", None)),
        collation=operation.collation,
        hint=hinted(operation.hint),
        let=operation.let,
    )
    limit = 0 if isinstance(operation, _MANY) else 1
    cursor = database[operation.namespace.collection].find(operation.filter, limit=limit, session=session, **options)
    async with cursor:
        return await cursor.to_list()


async def _refuse_twins(database: Database, operation: Matching, key: Any, session: AsyncClientSession) -> None:
    """Under a collation one ``_id`` may equal several: then it cannot say which document was seen."""
    if not operation.collation or not isinstance(key, (str, dict)):
        return
    collection = database[operation.namespace.collection]
    cursor = collection.find({"_id": {"$eq": key}}, limit=2, collation=operation.collation, session=session)
    async with cursor:
        if len(await cursor.to_list()) > 1:
            raise Unsupported("several documents have this _id under the collation: leave the collation out")


def _narrowed(operation: Any, key: Any) -> Any:
    """The same write for this one document; the filter stays, for positional operators need it."""
    condition = {"_id": {"$eq": key}}
    narrow = {"$and": [condition, operation.filter]} if "_id" in operation.filter else {**operation.filter, **condition}
    changes: Document = {"filter": narrow, "guard": None}
    if hasattr(operation, "sort"):
        changes["sort"] = None
    if hasattr(operation, "upsert"):
        changes["upsert"] = False
    return replace(operation, **changes)


def _raw(database: Database, operation: Matching) -> AsyncCollection[RawBSONDocument]:
    return database.get_collection(operation.namespace.collection, codec_options=RAW)  # type: ignore[return-value]


def _id_key(document: Document) -> bytes:
    return bson.encode({"": document["_id"]}, codec_options=CODEC)


async def _by_id(
    database: Database, operation: Matching, keys: list[Any], session: AsyncClientSession
) -> dict[bytes, Document]:
    cursor = database[operation.namespace.collection].find({"_id": {"$in": keys}}, session=session)
    async with cursor:
        return {_id_key(document): document async for document in cursor}


async def _nothing_there(database: Database, operation: Matching, session: AsyncClientSession) -> Any:
    """No document matches: an upsert inserts one, anything else runs for the errors it may have."""
    if not getattr(operation, "upsert", False):
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


def _as_update(operation: Matching) -> Any:
    """The write whose result names the upserted ``_id``, which a find-and-modify may not show."""
    if not isinstance(operation, (FindOneAndUpdate, FindOneAndReplace)):
        return operation
    common = {
        name: getattr(operation, name)
        for name in ("namespace", "comment", "max_time_ms", "filter", "upsert", "collation", "hint", "let")
    }
    if isinstance(operation, FindOneAndReplace):
        return ReplaceOne(replacement=operation.replacement, **common)
    return UpdateOne(update=operation.update, array_filters=operation.array_filters, **common)


async def _bulk(database: Database, operation: BulkWrite, session: AsyncClientSession) -> BulkWriteResult:
    """The writes one after the other; the first that fails undoes them all, ordered or not."""
    total = BulkWriteResult()
    for index, write in enumerate(operation.operations):
        try:
            total.add(index, await _seen(database, write, session))
        except OperationFailure as error:
            if error.has_error_label("TransientTransactionError") or transactions_missing(error):
                raise
            failure = operation_failure(error)
            number = failure.number if isinstance(failure, DataError) else 8
            entry = {"index": index, "code": number, "message": failure.message}
            fields = {**BulkWriteResult().wire(), "writeErrors": [entry]}
            raise WriteFailed(failure.message, number=number, fields=fields) from error
    return total


# --- without one --------------------------------------------------------------------------------------------------


async def _compared(database: Database, operation: Any) -> Any:
    """Delete or replace one document only if it is still what the guard saw; try again when it is not."""
    sufficient = getattr(getattr(operation, "guard", None), "sufficient", None)
    if sufficient is not None and not operation.collation:
        return await _where_allowed(database, operation, sufficient)
    replaces = isinstance(operation, (ReplaceOne, FindOneAndReplace))
    alone = isinstance(operation, (DeleteOne, FindOneAndDelete)) or (replaces and not operation.upsert)
    if not alone or operation.collation:  # under a collation, equal is not unchanged
        raise Unsupported(
            f"{operation.name} under this rule needs the documents before and after the write in one transaction: "
            "the data source must be a replica set or a sharded cluster"
        )
    if replaces:
        check_replacement(operation.replacement)
    collection = _raw(database, operation)
    for _ in range(_ATTEMPTS):
        befores = await _matching(database, operation, None)
        if not befores:
            return _untouched(operation)
        seen = await collection.find_one({"_id": {"$eq": befores[0]["_id"]}})
        if seen is None:
            continue
        before = bson.decode(seen.raw, CODEC)
        _ask(operation.guard, before, {"_id": before["_id"], **operation.replacement} if replaces else None)
        result = await _RUN[type(operation)](database, _unless_changed(operation, before["_id"], seen), None)  # type: ignore[arg-type]
        if not _nothing_written(result):
            return result
    raise DataError(
        "the document kept changing while it was being written; try again", number=112, code="WriteConflict"
    )


async def _where_allowed(database: Database, operation: Any, sufficient: bool | Document) -> Any:
    """A write that its guard allows in the documents of ``sufficient`` and refuses in others: it meets those alone."""
    allowed = {"_id": {"$exists": sufficient}} if isinstance(sufficient, bool) else sufficient
    others = operation
    if isinstance(operation, _MANY):
        others = replace(operation, filter={"$and": [operation.filter, {"$nor": [allowed]}]})
    befores = await _matching(database, others, None)
    for before in befores:
        operation.guard(before, None if isinstance(operation, _DELETES) else before)
    write = replace(operation, guard=None)
    if befores and not isinstance(operation, _MANY):
        write = _narrowed(operation, befores[0]["_id"])
    # Nothing holds the documents still, so the condition goes along.
    write = replace(write, filter={"$and": [allowed, write.filter]})
    return await _RUN[type(operation)](database, write, None)  # type: ignore[arg-type]


def _unless_changed(operation: Any, key: Any, seen: RawBSONDocument) -> Any:
    narrow = _narrowed(operation, key)
    unchanged = {"$expr": {"$eq": ["$$ROOT", {"$literal": seen}]}}
    return replace(narrow, filter={"$and": [narrow.filter, unchanged]})


def _untouched(operation: Any) -> Result:
    if isinstance(operation, DeleteOne):
        return DeleteResult(0)
    return UpdateResult(0, 0) if isinstance(operation, ReplaceOne) else DocumentResult(None)


def _nothing_written(result: Result) -> bool:
    if isinstance(result, DeleteResult):
        return result.deleted_count == 0
    if isinstance(result, UpdateResult):
        return result.matched_count == 0
    return isinstance(result, DocumentResult) and result.document is None
