"""Writes that are one command by the short way: on a lane, and the driver's own way when there is none.

Commands are what PyMongo would send, and their answers are read as PyMongo would read them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

from pymongo.errors import BulkWriteError, OperationFailure, WriteConcernError

from doorleaf.documents import Document, Encoded
from doorleaf.ejson.transcoder import encode
from doorleaf.operations import (
    DeleteMany,
    DeleteOne,
    FindOneAndDelete,
    FindOneAndReplace,
    FindOneAndUpdate,
    InsertMany,
    InsertOne,
    Operation,
    ReplaceOne,
    UpdateMany,
    UpdateOne,
)
from doorleaf.operations.capabilities import Parametrized
from doorleaf.operations.results import (
    DeleteResult,
    DocumentResult,
    InsertManyResult,
    InsertOneResult,
    Result,
    UpdateResult,
)
from doorleaf.stores.mongo import bulks
from doorleaf.stores.mongo.arguments import (
    DEFAULT_TIME_LIMIT,
    check_replacement,
    check_update,
    hinted,
    ordering,
    present,
)
from doorleaf.stores.mongo.lanes.commands import LARGEST_WRITE, ShortWay, encoded
from doorleaf.stores.mongo.lanes.replies import Counts
from doorleaf.stores.mongo.writes import identified

Hinted = (
    UpdateOne
    | UpdateMany
    | ReplaceOne
    | DeleteOne
    | DeleteMany
    | FindOneAndUpdate
    | FindOneAndReplace
    | FindOneAndDelete
)


async def insert_one(way: ShortWay, operation: InsertOne, deadline: float) -> InsertOneResult | None:
    document = identified(operation.document)
    reply = await _reply(way, operation, deadline, "insert", b"documents\0", document)
    return None if reply is None else InsertOneResult(document["_id"])


async def insert_many(way: ShortWay, operation: InsertMany, deadline: float) -> InsertManyResult | None:
    given = operation.documents
    if len(given) > bulks.PARTS:
        return None  # the driver gets them some at a time
    if isinstance(given, Encoded):
        parts, ids = given.raw, given.ids
        if sum(map(len, parts)) > LARGEST_WRITE:
            return None
    else:
        documents = [identified(document) for document in given]
        ids = [document["_id"] for document in documents]
        parts, size = [], 0
        for document in documents:
            parts.append(encode(document))
            size += len(parts[-1])
            if size > LARGEST_WRITE:
                return None
    try:
        fields = {"ordered": operation.ordered}
        reply = await _sent(way, operation, deadline, "insert", fields, b"documents\0", b"".join(parts))
    except OperationFailure as error:
        details = error.details or {}
        failures, concern = details.get("writeErrors", []), isinstance(error, WriteConcernError)
        if not failures and not concern:
            raise
        told = {"writeErrors": failures, "writeConcernErrors": [details] if concern else []}
        raise bulks.insert_failed(BulkWriteError(told), ids, ordered=operation.ordered) from error
    return None if reply is None else InsertManyResult(ids)


async def update(way: ShortWay, operation: UpdateOne | UpdateMany, deadline: float) -> UpdateResult | None:
    check_update(operation.update)
    if not operation.update:
        return None  # the driver refuses it
    return await _update(way, operation, deadline, operation.update, arrayFilters=operation.array_filters or None)


async def replace_one(way: ShortWay, operation: ReplaceOne, deadline: float) -> UpdateResult | None:
    check_replacement(operation.replacement, upsert=operation.upsert)
    return await _update(way, operation, deadline, operation.replacement)


async def _update(
    way: ShortWay,
    operation: UpdateOne | UpdateMany | ReplaceOne,
    deadline: float,
    change: Any,
    **options: Any,
) -> UpdateResult | None:
    many = isinstance(operation, UpdateMany)
    statement = {"q": operation.filter, "u": change, "multi": many, "upsert": operation.upsert}
    if not isinstance(operation, UpdateMany) and operation.sort:
        statement["sort"] = operation.sort
    statement |= present(**options)
    statement |= _choice(operation)
    reply = await _reply(way, operation, deadline, "update", b"updates\0", statement)
    if reply is None:
        return None
    if isinstance(reply, tuple):
        return UpdateResult(*reply)
    if "upserted" in reply:
        return UpdateResult(0, 0, reply["upserted"][0]["_id"])
    return UpdateResult(reply.get("n", 0), reply.get("nModified", 0))


async def delete_one(way: ShortWay, operation: DeleteOne, deadline: float) -> DeleteResult | None:
    return await _delete(way, operation, deadline, 1)


async def delete_many(way: ShortWay, operation: DeleteMany, deadline: float) -> DeleteResult | None:
    return await _delete(way, operation, deadline, 0)


async def _delete(way: ShortWay, operation: DeleteOne | DeleteMany, deadline: float, limit: int) -> DeleteResult | None:
    statement = {"q": operation.filter, "limit": limit}
    reply = await _reply(way, operation, deadline, "delete", b"deletes\0", statement | _choice(operation))
    if reply is None:
        return None
    return DeleteResult(reply[0] if isinstance(reply, tuple) else reply.get("n", 0))


async def find_one_and_update(way: ShortWay, operation: FindOneAndUpdate, deadline: float) -> DocumentResult | None:
    check_update(operation.update)
    if not operation.update:
        return None  # the driver refuses it
    filters = operation.array_filters or None
    changes = present(update=operation.update, upsert=operation.upsert, arrayFilters=filters)
    return await _modified(way, operation, deadline, {"new": operation.return_new_document, **changes})


async def find_one_and_replace(way: ShortWay, operation: FindOneAndReplace, deadline: float) -> DocumentResult | None:
    check_replacement(operation.replacement, upsert=operation.upsert)
    changes = {"update": operation.replacement, "upsert": operation.upsert}
    return await _modified(way, operation, deadline, {"new": operation.return_new_document, **changes})


async def find_one_and_delete(way: ShortWay, operation: FindOneAndDelete, deadline: float) -> DocumentResult | None:
    return await _modified(way, operation, deadline, {"remove": True})


async def _modified(
    way: ShortWay,
    operation: FindOneAndUpdate | FindOneAndReplace | FindOneAndDelete,
    deadline: float,
    changes: Document,
) -> DocumentResult | None:
    """``findAndModify``; the document stays the BSON that came."""
    sort = ordering(operation.sort)
    fields = present(
        query=operation.filter,
        sort=dict(sort) if sort else None,
        fields=operation.projection or None,
        **changes,
        **_choice(operation),
    )
    reply = await _sent(way, operation, deadline, "findAndModify", fields)
    if reply is None:
        return None
    found = None if isinstance(reply, tuple) else reply.get("value")
    return DocumentResult(None if found is None else bytes(found.raw))


def _choice(operation: Hinted) -> Document:
    if operation.collation is None and operation.hint is None:
        return {}
    hint = hinted(operation.hint)
    return present(collation=operation.collation, hint=dict(hint) if isinstance(hint, list) else hint)


def _reply(
    way: ShortWay,
    operation: Operation[Any],
    deadline: float,
    name: str,
    array: bytes,
    statement: Document,
) -> Awaitable[Counts | Document | None]:
    """The reply to the command ``name`` with one ``statement``, which was carried out."""
    member = encode(statement)
    return _sent(way, operation, deadline, name, {"ordered": True}, array, member)


def _sent(
    way: ShortWay,
    operation: Operation[Any],
    deadline: float,
    name: str,
    fields: Document,
    array: bytes = b"",
    statement: bytes = b"",
) -> Awaitable[Counts | Document | None]:
    concern = way.concern
    if not way.acknowledged:
        return _nothing()
    variables = operation.let if isinstance(operation, Parametrized) else None
    limit, place = operation.max_time_ms or DEFAULT_TIME_LIMIT, operation.namespace
    if array and variables is None and operation.comment is None and not concern:
        command = _ordinary(place.database, name, place.collection, fields["ordered"], limit)
    else:
        further = present(let=variables, comment=operation.comment, writeConcern=concern or None)
        command = encoded(place.database, {name: place.collection, **fields, "maxTimeMS": limit, **further})
    # A server knows a write of many documents by their filter no more when it comes again.
    once = type(operation) not in (UpdateMany, DeleteMany)
    return way.write(command, array, statement, deadline, operation.turn, numbered=once)


async def _nothing() -> None:
    """The reply where nothing was sent."""


@lru_cache(maxsize=256)
def _ordinary(database: str, name: str, collection: str, ordered: bool, limit: int) -> bytes:
    """The fields of a command that has nothing of its own beside its documents."""
    return encoded(database, {name: collection, "ordered": ordered, "maxTimeMS": limit})


WRITES: dict[type[Operation[Any]], Callable[[ShortWay, Any, float], Awaitable[Result | None]]] = {
    InsertOne: insert_one,
    InsertMany: insert_many,
    UpdateOne: update,
    UpdateMany: update,
    ReplaceOne: replace_one,
    DeleteOne: delete_one,
    DeleteMany: delete_many,
    FindOneAndUpdate: find_one_and_update,
    FindOneAndReplace: find_one_and_replace,
    FindOneAndDelete: find_one_and_delete,
}
"""For each such operation its function: the result, or None when nothing was written and the driver has to do it."""
