"""Every operation with its result: the vocabulary that dialects, access and stores share.

An operation is a plain value. Its class says its ``name`` (MongoDB's word), its ``effect`` and, field by field, the
name, kind, default and meaning on the wire; dialects, OpenAPI, rules, limits and audit read them from there, so
nothing keeps a second list. Documents in results stay BSON bytes until somebody has to look inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from doorleaf.documents import Document, Pipeline
from doorleaf.operations import results
from doorleaf.operations.base import Effect, Operation
from doorleaf.operations.capabilities import (
    Changing,
    Collated,
    Filtered,
    Guard,
    Guarded,
    Hinted,
    Ordered,
    Parametrized,
    Projected,
    Replacing,
    Returning,
    Skipping,
    Sorted,
    Updating,
    Upserting,
)
from doorleaf.operations.parameters import Alias, Kind, parameter

OPERATIONS: dict[str, type[Operation[Any]]] = {}
"""Every operation that answers at once, and so is an action, by name, in the order of this file."""


C = TypeVar("C", bound="type[Operation[Any]]")


def _listed(cls: C) -> C:
    OPERATIONS[cls.name] = cls
    return cls


@_listed
@dataclass(kw_only=True)
class FindOne(Parametrized, Hinted, Collated, Skipping, Sorted, Projected, Filtered, Operation[results.DocumentResult]):
    name = "findOne"
    summary = "Find one document"
    result = results.DocumentResult


@_listed
@dataclass(kw_only=True)
class Find(Parametrized, Hinted, Collated, Skipping, Sorted, Projected, Filtered, Operation[results.DocumentsResult]):
    """``limit`` 0 is the default limit. ``total`` asks for the number of matches beside the documents: up to so many, 0
    for all, and None for none."""

    name = "find"
    summary = "Find documents"
    result = results.DocumentsResult

    limit: int = parameter(Kind.COUNT, "Most documents to answer; 0 and absent are the default limit.", default=0)
    total: int | None = None

    @property
    def counting(self) -> CountDocuments:
        """The operation that counts what this matches, before it skips anything."""
        return CountDocuments(
            namespace=self.namespace,
            filter=self.filter,
            hint=self.hint,
            collation=self.collation,
            limit=self.total or 0,
            comment=self.comment,
            max_time_ms=self.max_time_ms,
            max_scan=self.max_scan,
            turn=self.turn,
        )

    def told(self, found: int) -> int | None:
        """The number of matches where ``found`` documents tell it: the last is among them."""
        return self.skip + found if found < self.limit and (found or not self.skip) else None


@_listed
@dataclass(kw_only=True)
class InsertOne(Guarded, Operation[results.InsertOneResult]):
    name = "insertOne"
    effect = Effect.WRITE
    summary = "Insert one document"
    result = results.InsertOneResult

    document: Document = parameter(Kind.DOCUMENT, "The document; without `_id` it gets an ObjectId.", required=True)


@_listed
@dataclass(kw_only=True)
class InsertMany(Guarded, Ordered, Operation[results.InsertManyResult]):
    name = "insertMany"
    effect = Effect.WRITE
    summary = "Insert several documents"
    result = results.InsertManyResult

    documents: Sequence[Document] = parameter(Kind.DOCUMENTS, "The documents, inserted in this order.", required=True)


@_listed
@dataclass(kw_only=True)
class UpdateOne(Sorted, Upserting, Updating, Operation[results.UpdateResult]):
    name = "updateOne"
    effect = Effect.WRITE
    summary = "Update one document"
    result = results.UpdateResult


@_listed
@dataclass(kw_only=True)
class UpdateMany(Upserting, Updating, Operation[results.UpdateResult]):
    name = "updateMany"
    effect = Effect.WRITE
    many = True
    summary = "Update every matching document"
    result = results.UpdateResult


@_listed
@dataclass(kw_only=True)
class ReplaceOne(Sorted, Upserting, Replacing, Operation[results.UpdateResult]):
    name = "replaceOne"
    effect = Effect.WRITE
    summary = "Replace one document"
    result = results.UpdateResult


@_listed
@dataclass(kw_only=True)
class DeleteOne(Changing, Operation[results.DeleteResult]):
    name = "deleteOne"
    effect = Effect.WRITE
    deletes = True
    summary = "Delete one document"
    result = results.DeleteResult


@_listed
@dataclass(kw_only=True)
class DeleteMany(Changing, Operation[results.DeleteResult]):
    name = "deleteMany"
    effect = Effect.WRITE
    many = True
    deletes = True
    summary = "Delete every matching document"
    result = results.DeleteResult


@_listed
@dataclass(kw_only=True)
class Aggregate(Parametrized, Hinted, Collated, Operation[results.DocumentsResult]):
    """``cap`` is the most documents the answer may have; more is an error, never a cut."""

    name = "aggregate"
    summary = "Run an aggregation pipeline"
    result = results.DocumentsResult

    pipeline: Pipeline = parameter(Kind.PIPELINE, "The stages.", required=True)
    allow_disk_use: bool = parameter(Kind.BOOLEAN, "Let large sorts and groups spill to disk.", default=False)
    cap: int = 50_000


@_listed
@dataclass(kw_only=True)
class CountDocuments(Hinted, Collated, Skipping, Filtered, Operation[results.CountResult]):
    name = "countDocuments"
    summary = "Count matching documents"
    result = results.CountResult

    limit: int = parameter(Kind.COUNT, "Stop counting here; 0 counts all.", default=0)


@_listed
@dataclass(kw_only=True)
class EstimatedDocumentCount(Operation[results.CountResult]):
    name = "estimatedDocumentCount"
    summary = "Count all documents from the collection's metadata"
    result = results.CountResult


@_listed
@dataclass(kw_only=True)
class Distinct(Collated, Filtered, Operation[results.DistinctResult]):
    name = "distinct"
    summary = "List the distinct values of a field"
    result = results.DistinctResult

    key: str = parameter(Kind.STRING, "The field, dotted for nested ones.", required=True)


@_listed
@dataclass(kw_only=True)
class FindOneAndUpdate(Returning, Upserting, Sorted, Projected, Updating, Operation[results.DocumentResult]):
    name = "findOneAndUpdate"
    effect = Effect.WRITE
    summary = "Update one document and answer with it"
    result = results.DocumentResult


@_listed
@dataclass(kw_only=True)
class FindOneAndReplace(Returning, Upserting, Sorted, Projected, Replacing, Operation[results.DocumentResult]):
    name = "findOneAndReplace"
    effect = Effect.WRITE
    summary = "Replace one document and answer with it"
    result = results.DocumentResult


@_listed
@dataclass(kw_only=True)
class FindOneAndDelete(Sorted, Projected, Changing, Operation[results.DocumentResult]):
    name = "findOneAndDelete"
    effect = Effect.WRITE
    deletes = True
    summary = "Delete one document and answer with it"
    result = results.DocumentResult


Write = InsertOne | UpdateOne | UpdateMany | ReplaceOne | DeleteOne | DeleteMany
"""What a bulk write is made of: the operations themselves, each with the bulk's namespace."""

Change = (
    UpdateOne
    | UpdateMany
    | ReplaceOne
    | DeleteOne
    | DeleteMany
    | FindOneAndUpdate
    | FindOneAndReplace
    | FindOneAndDelete
)
"""The writes that act on documents which are there: those that are ``Changing``."""

WRITES: dict[str, type[Operation[Any]]] = {
    cls.name: cls for cls in (InsertOne, UpdateOne, UpdateMany, ReplaceOne, DeleteOne, DeleteMany)
}


@_listed
@dataclass(kw_only=True)
class BulkWrite(Parametrized, Ordered, Operation[results.BulkWriteResult]):
    """``let`` is how a request gives variables to all writes; it is decoded into the ``let`` of each."""

    name = "bulkWrite"
    effect = Effect.WRITE
    summary = "Run several writes"
    result = results.BulkWriteResult

    operations: list[Write] = parameter(Kind.WRITES, "The writes, each an object with one key.", required=True)

    @property
    def guards(self) -> Sequence[Guard]:
        return [guard for write in self.operations for guard in write.guards]


@_listed
@dataclass(kw_only=True)
class CreateIndex(Operation[results.CreateIndexResult]):
    name = "createIndex"
    effect = Effect.ADMIN
    summary = "Create an index"
    result = results.CreateIndexResult

    keys: Document = parameter(Kind.DOCUMENT, "Fields and directions or index types, in order.", required=True)
    options: Document = parameter(Kind.DOCUMENT, "Index options such as `name` and `unique`.", default={})


@_listed
@dataclass(kw_only=True)
class DropIndex(Operation[results.DropIndexResult]):
    name = "dropIndex"
    effect = Effect.ADMIN
    summary = "Drop an index"
    result = results.DropIndexResult

    index: str = parameter(Kind.STRING, "The index's name.", required=True, wire="name", alias=Alias("index"))


@_listed
@dataclass(kw_only=True)
class ListIndexes(Operation[results.IndexesResult]):
    name = "listIndexes"
    summary = "List the indexes of a collection"
    result = results.IndexesResult


@_listed
@dataclass(kw_only=True)
class ListCollections(Operation[results.CollectionsResult]):
    name = "listCollections"
    scope = "database"
    summary = "List the collections of a database"
    result = results.CollectionsResult


@_listed
@dataclass(kw_only=True)
class CreateCollection(Operation[results.OkResult]):
    name = "createCollection"
    effect = Effect.ADMIN
    summary = "Create a collection"
    result = results.OkResult

    options: Document = parameter(Kind.DOCUMENT, "Collection options such as `validator`.", default={})


@_listed
@dataclass(kw_only=True)
class RenameCollection(Operation[results.OkResult]):
    """The collection stays in its database, with its documents, options and indexes."""

    name = "renameCollection"
    effect = Effect.ADMIN
    summary = "Rename a collection, in its database"
    result = results.OkResult

    to: str = parameter(Kind.STRING, "The new name.", required=True)
    drop_target: bool = parameter(
        Kind.BOOLEAN, "Whether a collection that has the new name already is dropped.", default=False
    )


@_listed
@dataclass(kw_only=True)
class DropCollection(Operation[results.OkResult]):
    name = "dropCollection"
    effect = Effect.ADMIN
    summary = "Drop a collection"
    result = results.OkResult


@_listed
@dataclass(kw_only=True)
class ListDatabases(Operation[results.DatabasesResult]):
    name = "listDatabases"
    effect = Effect.ADMIN
    scope = "server"
    summary = "List the databases"
    result = results.DatabasesResult


@_listed
@dataclass(kw_only=True)
class RunCommand(Operation[results.CommandResult]):
    name = "runCommand"
    effect = Effect.ADMIN
    scope = "database"
    summary = "Run an allowed database command"
    result = results.CommandResult

    command: Document = parameter(Kind.DOCUMENT, "The command; its first key is the command's name.", required=True)
