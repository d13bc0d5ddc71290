"""The administrative operations on MongoDB, each one command of the server's own."""

from __future__ import annotations

from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from doorleaf.documents import CODEC, Document
from doorleaf.errors import DataError, InvalidParameter
from doorleaf.operations import (
    CreateCollection,
    CreateIndex,
    DropCollection,
    DropIndex,
    ListIndexes,
    Operation,
    RenameCollection,
    RunCommand,
)
from doorleaf.operations.results import CommandResult, CreateIndexResult, DropIndexResult, OkResult
from doorleaf.stores.mongo.arguments import may_write, present, time_limit
from doorleaf.stores.mongo.lanes.retries import repeated
from doorleaf.stores.mongo.reads import list_indexes

Database = AsyncDatabase[Document]

_NAMESPACE_NOT_FOUND = 26
_BOOKKEEPING = ("$clusterTime", "operationTime", "signature", "$gleStats", "lastCommittedOpTime", "electionId")
_COMMAND_OPTIONS = ("commitQuorum",)


async def _run(database: Database, operation: Operation[Any], command: Document) -> Document:
    """Run ``command`` with the operation's time limit and comment, and the URI's write concern."""
    options = present(maxTimeMS=time_limit(operation), comment=operation.comment)
    concern = database.write_concern
    if not concern.is_server_default:
        options["writeConcern"] = concern.document
    return await database.command({**command, **options}, codec_options=CODEC)


async def create_index(database: Database, operation: CreateIndex) -> CreateIndexResult:
    """``createIndexes`` with one index; what a sharded cluster or another server leaves out is filled in."""
    options = dict(operation.options)
    top = {name: options.pop(name) for name in _COMMAND_OPTIONS if name in options}
    index = {**options, "key": operation.keys, "name": options.get("name") or index_name(operation.keys)}
    command = {"createIndexes": operation.namespace.collection, "indexes": [index], **top}
    reply = _of_a_shard(await _run(database, operation, command))
    after = reply.get("numIndexesAfter")
    if after is None:
        after = await _index_count(database, operation)
    before = reply.get("numIndexesBefore")
    if before is None:
        before = after if "note" in reply else max(after - 1, 0)
    return CreateIndexResult(bool(reply.get("createdCollectionAutomatically", False)), before, after)


def index_name(keys: Document) -> str:
    """The name MongoDB's drivers give: fields and directions joined by underscores."""
    return "_".join(f"{field}_{_written(direction)}" for field, direction in keys.items())


def _written(direction: Any) -> str:
    return str(int(direction)) if isinstance(direction, float) and direction.is_integer() else str(direction)


def _of_a_shard(reply: Document) -> Document:
    """The reply itself, or the first shard's inside it."""
    shards = reply.get("raw")
    return {**next(iter(shards.values())), **reply} if isinstance(shards, dict) and shards else reply


async def _index_count(database: Database, operation: CreateIndex | DropIndex) -> int:
    listing = ListIndexes(namespace=operation.namespace, max_time_ms=operation.max_time_ms)
    return len((await list_indexes(database, listing)).indexes)


async def drop_index(database: Database, operation: DropIndex) -> DropIndexResult:
    """Drop one index by name; ``*``, which would drop them all, is refused."""
    if operation.index == "*":
        raise InvalidParameter("name must be the name of one index: '*' would drop all of them")
    command = {"dropIndexes": operation.namespace.collection, "index": operation.index}
    reply = _of_a_shard(await _run(database, operation, command))
    was = reply.get("nIndexesWas")
    return DropIndexResult(await _index_count(database, operation) + 1 if was is None else was)


async def create_collection(database: Database, operation: CreateCollection) -> OkResult:
    """``create``; an existing collection is an error, also where newer servers say yes when the options agree."""
    name = operation.namespace.collection
    listed = await database.list_collections(filter={"name": name}, nameOnly=True)
    if [item async for item in listed]:
        raise DataError(f"Collection {operation.namespace} already exists.", number=48)
    await _run(database, operation, _create(operation))
    return OkResult()


def _create(operation: CreateCollection) -> Document:
    options = {key: value for key, value in operation.options.items() if key != "create"}
    return {"create": operation.namespace.collection, **options}


async def drop_collection(database: Database, operation: DropCollection) -> OkResult:
    """``drop``; a collection that is not there counts as dropped, as on MongoDB 7 and later."""
    try:
        await _run(database, operation, {"drop": operation.namespace.collection})
    except OperationFailure as error:
        if error.code != _NAMESPACE_NOT_FOUND:
            raise
    return OkResult()


async def rename_collection(database: Database, operation: RenameCollection) -> OkResult:
    """``renameCollection``, which the server takes on its database ``admin``, with both namespaces as a whole."""
    admin = database.client.get_database("admin", write_concern=database.write_concern)
    target = f"{operation.namespace.database}.{operation.to}"
    names = {"renameCollection": str(operation.namespace), "to": target}
    await _run(admin, operation, {**names, "dropTarget": operation.drop_target})
    return OkResult()


async def run_command(database: Database, operation: RunCommand) -> CommandResult:
    """The command as it came, with a time limit; the reply without the cluster's bookkeeping."""
    command = {**operation.command}
    command.setdefault("maxTimeMS", time_limit(operation))
    if operation.comment is not None:
        command.setdefault("comment", operation.comment)
    if may_write(operation):
        reply = await database.command(command, codec_options=CODEC)
    else:
        reply = await repeated(database.client, lambda: database.command(command, codec_options=CODEC))
    result = {key: value for key, value in reply.items() if key not in _BOOKKEEPING}
    if result.get("ok") == 1:
        result["ok"] = 1
    return CommandResult(result)
