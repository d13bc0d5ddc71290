"""Every operation with its result: the vocabulary that dialects, access and stores share.

An operation is a plain value. Its class says its ``name`` (MongoDB's word), its ``effect`` and, field by field, the
name, kind, default and meaning on the wire; dialects, OpenAPI, rules, limits and audit read them from there, so
nothing keeps a second list. Documents in results stay BSON bytes until somebody has to look inside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

from doorleaf import results
from doorleaf.documents import Document, Pipeline
from doorleaf.parameters import Alias, Kind, parameter

R = TypeVar("R")


class Effect(StrEnum):
    """What an operation does to the database."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Namespace:
    """Where an operation acts. ``data_source`` None is the default one; ``collection`` is "" where there is none."""

    database: str
    collection: str = ""
    data_source: str | None = None

    def __str__(self) -> str:
        return f"{self.database}.{self.collection}" if self.collection else self.database


# --- operations --------------------------------------------------------------------------------------------------

Guard = Callable[[Document | None, Document | None], None]
"""Called by a store for every document a write touches, as (before, after), inside the write's atomic unit:
before is None for an insert, after is None for a delete. What it raises undoes the whole operation."""


_comment = partial(parameter, Kind.VALUE, "A comment that the database logs with the operation.")
_max_time = partial(
    parameter, Kind.COUNT, "Time limit on the database, in milliseconds; 0 and absent are the server's default."
)
_some = partial(parameter, Kind.DOCUMENT, "Which documents; `{}` matches all.", required=True)
_filter = partial(parameter, Kind.DOCUMENT, "Which documents; `{}` matches all.", default={})
_collation = partial(parameter, Kind.DOCUMENT, "Language rules for comparing strings.")
_hint = partial(parameter, Kind.HINT, "The index to use, by name or key pattern.")
_let = partial(parameter, Kind.DOCUMENT, "Variables for expressions, read as `$$name`.")
_sort = partial(parameter, Kind.DOCUMENT, "Fields and directions (1 or -1), in order of importance.")
_projection = partial(parameter, Kind.DOCUMENT, "Fields to include or exclude.")
_upsert = partial(parameter, Kind.BOOLEAN, "Insert a document when none matches.", default=False)
_array_filters = partial(parameter, Kind.PIPELINE, "Conditions for `$[identifier]` in update paths.")
_update = partial(parameter, Kind.UPDATE, "Update operators, or an aggregation pipeline.", required=True)
_replacement = partial(parameter, Kind.DOCUMENT, "The new document; it has no update operators.", required=True)
_ordered = partial(parameter, Kind.BOOLEAN, "Stop at the first write that fails.", default=True)
_return_new = partial(
    parameter,
    Kind.BOOLEAN,
    "Answer with the document after the change.",
    default=True,
    alias=Alias("returnDocument", (("before", False), ("after", True))),
)

OPERATIONS: dict[str, type[Operation[Any]]] = {}
"""Every operation that answers at once, and so is an action, by name, in the order of this file."""


@dataclass(kw_only=True)
class Operation(Generic[R]):
    """One thing to do. ``namespace`` is always there; ``max_time_ms`` None lets the service put its default.

    ``max_scan`` is the most documents that a collection may have to be read without an index; None is no bound.
    """

    name: ClassVar[str] = ""
    effect: ClassVar[Effect] = Effect.READ
    scope: ClassVar[str] = "collection"
    """What the namespace must name: ``collection``, ``database`` or ``server``."""
    summary: ClassVar[str] = ""
    result: ClassVar[type[results.Result]]

    namespace: Namespace
    comment: Any = _comment()
    max_time_ms: int | None = _max_time()
    max_scan: int | None = None


Same = TypeVar("Same", bound="Operation[Any]")


def altered(operation: Same, **changes: Any) -> Same:
    """A copy of ``operation`` with other values in some fields: ``dataclasses.replace``, at a fifth of its cost."""
    made = object.__new__(type(operation))
    made.__dict__.update(operation.__dict__, **changes)
    return made


C = TypeVar("C", bound="type[Operation[Any]]")


def _listed(cls: C) -> C:
    OPERATIONS[cls.name] = cls
    return cls


@_listed
@dataclass(kw_only=True)
class FindOne(Operation[results.DocumentResult]):
    name = "findOne"
    summary = "Find one document"
    result = results.DocumentResult

    filter: Document = _filter()
    projection: Document | None = _projection()
    sort: Document | None = _sort()
    skip: int = parameter(Kind.COUNT, "Matching documents to pass over.", default=0)
    collation: Document | None = _collation()
    hint: str | Document | None = _hint()
    let: Document | None = _let()


@_listed
@dataclass(kw_only=True)
class Find(Operation[results.DocumentsResult]):
    """``limit`` 0 is the default limit; ``cap`` is the server's bound on the number of documents."""

    name = "find"
    summary = "Find documents"
    result = results.DocumentsResult

    filter: Document = _filter()
    projection: Document | None = _projection()
    sort: Document | None = _sort()
    limit: int = parameter(Kind.COUNT, "Most documents to answer; 0 and absent are the default limit.", default=0)
    skip: int = parameter(Kind.COUNT, "Matching documents to pass over.", default=0)
    collation: Document | None = _collation()
    hint: str | Document | None = _hint()
    let: Document | None = _let()


@_listed
@dataclass(kw_only=True)
class InsertOne(Operation[results.InsertOneResult]):
    name = "insertOne"
    effect = Effect.WRITE
    summary = "Insert one document"
    result = results.InsertOneResult

    document: Document = parameter(Kind.DOCUMENT, "The document; without `_id` it gets an ObjectId.", required=True)
    guard: Guard | None = None


@_listed
@dataclass(kw_only=True)
class InsertMany(Operation[results.InsertManyResult]):
    name = "insertMany"
    effect = Effect.WRITE
    summary = "Insert several documents"
    result = results.InsertManyResult

    documents: list[Document] = parameter(Kind.DOCUMENTS, "The documents, inserted in this order.", required=True)
    ordered: bool = _ordered()
    guard: Guard | None = None


@_listed
@dataclass(kw_only=True)
class UpdateOne(Operation[results.UpdateResult]):
    name = "updateOne"
    effect = Effect.WRITE
    summary = "Update one document"
    result = results.UpdateResult

    filter: Document = _some()
    update: Document | Pipeline = _update()
    upsert: bool = _upsert()
    array_filters: list[Document] | None = _array_filters()
    sort: Document | None = _sort()
    collation: Document | None = _collation()
    hint: str | Document | None = _hint()
    let: Document | None = _let()
    guard: Guard | None = None


@_listed
@dataclass(kw_only=True)
class UpdateMany(Operation[results.UpdateResult]):
    name = "updateMany"
    effect = Effect.WRITE
    summary = "Update every matching document"
    result = results.UpdateResult

    filter: Document = _some()
    update: Document | Pipeline = _update()
    upsert: bool = _upsert()
    array_filters: list[Document] | None = _array_filters()
    collation: Document | None = _collation()
    hint: str | Document | None = _hint()
    let: Document | None = _let()
    guard: Guard | None = None


@_listed
@dataclass(kw_only=True)
class ReplaceOne(Operation[results.UpdateResult]):
    name = "replaceOne"
    effect = Effect.WRITE
    summary = "Replace one document"
    result = results.UpdateResult

    filter: Document = _some()
    replacement: Document = _replacement()
    upsert: bool = _upsert()
    sort: Document | None = _sort()
    collation: Document | None = _collation()
    hint: str | Document | None = _hint()
    let: Document | None = _let()
    guard: Guard | None = None


@_listed
@dataclass(kw_only=True)
class DeleteOne(Operation[results.DeleteResult]):
    name = "deleteOne"
    effect = Effect.WRITE
    summary = "Delete one document"
    result = results.DeleteResult

    filter: Document = _some()
    collation: Document | None = _collation()
    hint: str | Document | None = _hint()
    let: Document | None = _let()
    guard: Guard | None = None


@_listed
@dataclass(kw_only=True)
class DeleteMany(Operation[results.DeleteResult]):
    name = "deleteMany"
    effect = Effect.WRITE
    summary = "Delete every matching document"
    result = results.DeleteResult

    filter: Document = _some()
    collation: Document | None = _collation()
    hint: str | Document | None = _hint()
    let: Document | None = _let()
    guard: Guard | None = None


@_listed
@dataclass(kw_only=True)
class Aggregate(Operation[results.DocumentsResult]):
    """``cap`` is the most documents the answer may have; more is an error, never a cut."""

    name = "aggregate"
    summary = "Run an aggregation pipeline"
    result = results.DocumentsResult

    pipeline: Pipeline = parameter(Kind.PIPELINE, "The stages.", required=True)
    collation: Document | None = _collation()
    hint: str | Document | None = _hint()
    let: Document | None = _let()
    allow_disk_use: bool = parameter(Kind.BOOLEAN, "Let large sorts and groups spill to disk.", default=False)
    cap: int = 50_000


@_listed
@dataclass(kw_only=True)
class CountDocuments(Operation[results.CountResult]):
    name = "countDocuments"
    summary = "Count matching documents"
    result = results.CountResult

    filter: Document = _filter()
    limit: int = parameter(Kind.COUNT, "Stop counting here; 0 counts all.", default=0)
    skip: int = parameter(Kind.COUNT, "Matching documents to pass over.", default=0)
    collation: Document | None = _collation()
    hint: str | Document | None = _hint()


@_listed
@dataclass(kw_only=True)
class EstimatedDocumentCount(Operation[results.CountResult]):
    name = "estimatedDocumentCount"
    summary = "Count all documents from the collection's metadata"
    result = results.CountResult


@_listed
@dataclass(kw_only=True)
class Distinct(Operation[results.DistinctResult]):
    name = "distinct"
    summary = "List the distinct values of a field"
    result = results.DistinctResult

    key: str = parameter(Kind.STRING, "The field, dotted for nested ones.", required=True)
    filter: Document = _filter()
    collation: Document | None = _collation()


@_listed
@dataclass(kw_only=True)
class FindOneAndUpdate(Operation[results.DocumentResult]):
    name = "findOneAndUpdate"
    effect = Effect.WRITE
    summary = "Update one document and answer with it"
    result = results.DocumentResult

    filter: Document = _some()
    update: Document | Pipeline = _update()
    projection: Document | None = _projection()
    sort: Document | None = _sort()
    upsert: bool = _upsert()
    return_new_document: bool = _return_new()
    array_filters: list[Document] | None = _array_filters()
    collation: Document | None = _collation()
    hint: str | Document | None = _hint()
    let: Document | None = _let()
    guard: Guard | None = None


@_listed
@dataclass(kw_only=True)
class FindOneAndReplace(Operation[results.DocumentResult]):
    name = "findOneAndReplace"
    effect = Effect.WRITE
    summary = "Replace one document and answer with it"
    result = results.DocumentResult

    filter: Document = _some()
    replacement: Document = _replacement()
    projection: Document | None = _projection()
    sort: Document | None = _sort()
    upsert: bool = _upsert()
    return_new_document: bool = _return_new()
    collation: Document | None = _collation()
    hint: str | Document | None = _hint()
    let: Document | None = _let()
    guard: Guard | None = None


@_listed
@dataclass(kw_only=True)
class FindOneAndDelete(Operation[results.DocumentResult]):
    name = "findOneAndDelete"
    effect = Effect.WRITE
    summary = "Delete one document and answer with it"
    result = results.DocumentResult

    filter: Document = _some()
    projection: Document | None = _projection()
    sort: Document | None = _sort()
    collation: Document | None = _collation()
    hint: str | Document | None = _hint()
    let: Document | None = _let()
    guard: Guard | None = None


Write = InsertOne | UpdateOne | UpdateMany | ReplaceOne | DeleteOne | DeleteMany
"""What a bulk write is made of: the operations themselves, each with the bulk's namespace."""

WRITES: dict[str, type[Operation[Any]]] = {
    cls.name: cls for cls in (InsertOne, UpdateOne, UpdateMany, ReplaceOne, DeleteOne, DeleteMany)
}


@_listed
@dataclass(kw_only=True)
class BulkWrite(Operation[results.BulkWriteResult]):
    name = "bulkWrite"
    effect = Effect.WRITE
    summary = "Run several writes"
    result = results.BulkWriteResult

    operations: list[Write] = parameter(Kind.WRITES, "The writes, each an object with one key.", required=True)
    ordered: bool = _ordered()


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


@dataclass(kw_only=True)
class Watch(Operation[results.ChangesResult]):
    """Changes of a collection as they happen. ``filter`` is over change events, and says which of them come.

    ``before`` asks for ``fullDocumentBeforeChange`` in the events of deletions, where the database has it.
    """

    name = "watch"
    summary = "Watch a collection for changes"
    result = results.ChangesResult

    filter: Document = parameter(Kind.DOCUMENT, "Which change events; `{}` are all.", default={})
    before: bool = False
