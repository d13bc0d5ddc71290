"""Writes of one document by the short way: one command on a lane, and the driver's own way when there is none.

Commands are what PyMongo would send, and their answers are read as PyMongo would read them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import bson
from pymongo.asynchronous.database import AsyncDatabase

from doorleaf.documents import CODEC, Document
from doorleaf.operations import DeleteOne, InsertOne, Operation, ReplaceOne, UpdateOne
from doorleaf.results import DeleteResult, InsertOneResult, Result, UpdateResult
from doorleaf.stores.mongo.arguments import check_replacement, check_update, hinted, present, time_limit
from doorleaf.stores.mongo.lanes import Lanes
from doorleaf.stores.mongo.replies import require_written
from doorleaf.stores.mongo.writes import identified

Database = AsyncDatabase[Document]


async def insert_one(lanes: Lanes, database: Database, operation: InsertOne) -> InsertOneResult | None:
    document = identified(operation.document)
    reply = await _reply(lanes, database, operation, "insert", "documents", document)
    return None if reply is None else InsertOneResult(document["_id"])


async def update_one(lanes: Lanes, database: Database, operation: UpdateOne) -> UpdateResult | None:
    check_update(operation.update)
    if not operation.update:
        return None  # the driver refuses it
    return await _update(lanes, database, operation, operation.update, arrayFilters=operation.array_filters or None)


async def replace_one(lanes: Lanes, database: Database, operation: ReplaceOne) -> UpdateResult | None:
    check_replacement(operation.replacement)
    return await _update(lanes, database, operation, operation.replacement)


async def _update(
    lanes: Lanes, database: Database, operation: UpdateOne | ReplaceOne, change: Any, **options: Any
) -> UpdateResult | None:
    statement = {"q": operation.filter, "u": change, "multi": False, "upsert": operation.upsert}
    statement |= present(sort=operation.sort or None, **options)
    reply = await _reply(lanes, database, operation, "update", "updates", statement | _choice(operation))
    if reply is None:
        return None
    if "upserted" in reply:
        return UpdateResult(0, 0, reply["upserted"][0]["_id"])
    return UpdateResult(reply.get("n", 0), reply.get("nModified", 0))


async def delete_one(lanes: Lanes, database: Database, operation: DeleteOne) -> DeleteResult | None:
    statement = {"q": operation.filter, "limit": 1}
    reply = await _reply(lanes, database, operation, "delete", "deletes", statement | _choice(operation))
    return None if reply is None else DeleteResult(reply.get("n", 0))


def _choice(operation: UpdateOne | ReplaceOne | DeleteOne) -> Document:
    hint = hinted(operation.hint)
    return present(collation=operation.collation, hint=dict(hint) if isinstance(hint, list) else hint)


async def _reply(
    lanes: Lanes, database: Database, operation: Operation[Any], name: str, array: str, statement: Document
) -> Document | None:
    """The reply to the command ``name`` with one ``statement``, which was carried out."""
    encoded = bson.encode(statement, codec_options=CODEC)
    concern = database.write_concern
    if not concern.acknowledged:
        return None
    command = {name: operation.namespace.collection, "ordered": True, "maxTimeMS": time_limit(operation)}
    variables = getattr(operation, "let", None)
    command |= present(let=variables, comment=operation.comment, writeConcern=concern.document or None)
    reply = await lanes.write(database.name, command, array, encoded)
    if reply is not None:
        require_written(reply)
    return reply


WRITES: dict[type[Operation[Any]], Callable[[Lanes, Database, Any], Awaitable[Result | None]]] = {
    InsertOne: insert_one,
    UpdateOne: update_one,
    ReplaceOne: replace_one,
    DeleteOne: delete_one,
}
"""For each such operation its function: the result, or None when nothing was written and the driver has to do it."""
