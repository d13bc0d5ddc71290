"""What the routes of workspaces take and give."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.bodies import Body, Nothing, Query

TAG = "Workspaces"
OPEN = ConfigDict(extra="allow")
Any_ = dict[str, Any]


class WorkspaceDocument(Body):
    """A document, whatever it has."""

    model_config = ConfigDict(extra="allow")


class WorkspaceQuery(Query):
    filter: Annotated[
        str | None,
        Field(description="A filter as Extended JSON; `filter.<path>=value` and `filter.<path>[gte]=value` beside it."),
    ] = None
    projection: Annotated[str | None, Field(description="Fields to include, with commas between.")] = None
    sort: Annotated[str | None, Field(description="Fields with commas between; `-` before one is descending.")] = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 20
    skip: Annotated[int, Field(ge=0)] = 0
    count: Annotated[str, Field(description="`exact`, `estimated` (up to 10,000) or `none`.")] = "exact"
    cursor: Annotated[
        str | None, Field(description="`nextCursor` of the page before; empty for the first page by cursor.")
    ] = None


class WorkspaceProjection(Query):
    projection: Annotated[str | None, Field(description="Fields to include, with commas between.")] = None


class WorkspacePagination(TypedDict):
    limit: int
    skip: int
    total: int | None
    hasMore: bool  # as the envelope has it
    nextCursor: NotRequired[str | None]


class WorkspaceDocuments(TypedDict):
    data: list[Any_]
    pagination: WorkspacePagination


class WorkspaceInserted(TypedDict):
    data: Any_
    inserted: int


class WorkspaceOne(TypedDict):
    data: Any_


@with_config(OPEN)
class WorkspaceWritten(TypedDict):
    data: Any_
    matched: int
    modified: int
    updated: NotRequired[int]
    replaced: NotRequired[int]


class WorkspaceDeleted(TypedDict):
    deleted: int


class WorkspaceOperations(Body):
    operations: Annotated[
        list[Any_],
        Field(
            min_length=1,
            max_length=500,
            description="Each an object with one key: `insertOne`, `updateOne`, `updateMany`, `deleteOne`, "
            "`deleteMany` or `replaceOne`.",
        ),
    ]


@with_config(OPEN)
class WorkspaceBulk(TypedDict):
    inserted: int
    matched: int
    modified: int
    deleted: int
    upserted: int
    results: NotRequired[list[Any_]]


class WorkspaceBulkWritten(WorkspaceBulk):
    data: WorkspaceBulk


class WorkspacePipeline(Body):
    pipeline: Annotated[list[Any_], Field(min_length=1, max_length=12, description="The stages.")]


class WorkspaceAggregated(TypedDict):
    data: list[Any_]


class WorkspaceCollection(TypedDict):
    name: str
    type: str


class WorkspaceCollections(TypedDict):
    data: list[WorkspaceCollection]


class WorkspaceMade(TypedDict):
    data: Any_


class WorkspaceDropped(TypedDict):
    dropped: int


class WorkspaceNewCollection(Body):
    name: str
    schema_: Annotated[Any_ | None, Field(alias="schema", description="As in `$jsonSchema`.")] = None


class WorkspaceSchema(Body):
    schema_: Annotated[Any_, Field(alias="schema", description="As in `$jsonSchema`.")]


class WorkspaceIndex(Body):
    keys: Annotated[dict[str, Any], Field(description="Fields and directions or types, in order.")]
    name: str | None = None
    unique: bool | None = None
    sparse: bool | None = None
    expireAfterSeconds: int | None = None  # MongoDB's name
    partialFilterExpression: Any_ | None = None


class WorkspaceIndexes(TypedDict):
    data: list[Any_]


class WorkspaceCredentialsRequest(Body):
    ttlSeconds: Annotated[
        int | None, Field(description="How long they are good for; from 60 to 3600, which it is without this.")
    ] = None


class WorkspaceCredentials(TypedDict):
    host: str
    database: str
    username: str
    password: Annotated[str, Field(description="Answered this once.")]
    expiresAt: str
    permissions: list[str]


class WorkspaceTicket(TypedDict):
    ticket: Annotated[str, Field(description="Good for one connection.")]
    expiresAt: str


_about = partial(About, tag=TAG)
_of_one = partial(_about, refuses=("WorkspaceNotFound", "DocumentNotFound"))
_writes_one = partial(
    _about, refuses=("WorkspaceNotFound", "DocumentNotFound", "PreconditionFailed", "DuplicateKey", "QuotaExceeded")
)

QUERY = _about(
    summary="Query the documents of a collection",
    query=WorkspaceQuery,
    gives=Gives(content=WorkspaceDocuments),
    refuses=("WorkspaceNotFound",),
)
INSERT = _about(
    summary="Insert a document",
    takes=WorkspaceDocument,
    example={"orderId": "ORD-2026-0002", "total": 149.99, "status": "pending"},
    gives=Gives(content=WorkspaceInserted, status=201, description="Inserted."),
    refuses=("WorkspaceNotFound", "DuplicateKey", "QuotaExceeded"),
)
READ = _of_one(summary="Read a document", query=WorkspaceProjection, gives=Gives(content=WorkspaceOne))
UPDATE = _writes_one(
    summary="Update a document",
    takes=WorkspaceDocument,
    example={"$set": {"status": "shipped"}, "$inc": {"version": 1}},
    gives=Gives(content=WorkspaceWritten),
)
REPLACE = _writes_one(
    summary="Replace a document",
    takes=WorkspaceDocument,
    example={"orderId": "ORD-2026-0002", "status": "closed"},
    gives=Gives(content=WorkspaceWritten),
)
DELETE = _writes_one(summary="Delete a document", gives=Gives(content=WorkspaceDeleted))
BULK = _about(
    summary="Write to a collection several times, or not at all",
    takes=WorkspaceOperations,
    example={
        "operations": [
            {"insertOne": {"document": {"name": "Product A", "price": 29.99}}},
            {"updateMany": {"filter": {"category": "electronics"}, "update": {"$set": {"onSale": True}}}},
            {"deleteOne": {"filter": {"sku": "DISCONTINUED-001"}}},
        ]
    },
    gives=Gives(content=WorkspaceBulkWritten),
    refuses=("WorkspaceNotFound", "DuplicateKey", "QuotaExceeded"),
)
AGGREGATE = _about(
    summary="Run a pipeline of eleven stages",
    takes=WorkspacePipeline,
    example={"pipeline": [{"$match": {"status": "completed"}}, {"$count": "orders"}]},
    gives=Gives(content=WorkspaceAggregated),
    refuses=("WorkspaceNotFound",),
)
_of_collection = partial(_about, refuses=("WorkspaceNotFound", "CollectionNotFound"))
LIST_COLLECTIONS = _about(
    summary="List the collections of a workspace",
    gives=Gives(content=WorkspaceCollections),
    refuses=("WorkspaceNotFound",),
)
CREATE_COLLECTION = _about(
    summary="Create a collection",
    takes=WorkspaceNewCollection,
    example={"name": "orders", "schema": {"required": ["total"]}},
    gives=Gives(content=WorkspaceMade, status=201, description="Created."),
    refuses=("WorkspaceNotFound", "CollectionExists", "QuotaExceeded"),
)
DROP_COLLECTION = _of_collection(summary="Drop a collection", gives=Gives(content=WorkspaceDropped))
SET_SCHEMA = _of_collection(
    summary="Judge what is written to a collection by a schema",
    takes=WorkspaceSchema,
    example={"schema": {"required": ["total"], "properties": {"total": {"bsonType": "number"}}}},
    gives=Gives(content=WorkspaceMade),
)
GET_SCHEMA = _of_collection(
    summary="Read the schema of a collection; null where nothing is judged", gives=Gives(content=WorkspaceMade)
)
DROP_SCHEMA = _of_collection(summary="Judge by no schema any more", gives=Gives(content=WorkspaceDropped))
LIST_INDEXES = _of_collection(summary="List the indexes of a collection", gives=Gives(content=WorkspaceIndexes))
CREATE_INDEX = _about(
    summary="Create an index",
    takes=WorkspaceIndex,
    example={"keys": {"orderId": 1}, "unique": True},
    gives=Gives(content=WorkspaceMade, status=201, description="Created."),
    refuses=("WorkspaceNotFound", "QuotaExceeded"),
)
DROP_INDEX = _of_collection(summary="Drop an index", gives=Gives(content=WorkspaceDropped))
CREDENTIALS = _about(
    summary="Make credentials that read the database of the workspace, for an hour at most",
    takes=WorkspaceCredentialsRequest,
    optional=True,
    example={"ttlSeconds": 600},
    gives=Gives(content=WorkspaceCredentials, status=201, description="Made."),
    refuses=("WorkspaceNotFound", "CapabilityDisabled", "QuotaExceeded"),
)


TICKET = _about(
    summary="Make a ticket for one connection to the realtime gateway",
    takes=Nothing,
    optional=True,
    gives=Gives(content=WorkspaceTicket, status=201, description="Made."),
    refuses=("WorkspaceNotFound", "CapabilityDisabled"),
)


class WorkspaceListening(Query):
    operations: Annotated[
        str | None, Field(description="`INSERT`, `UPDATE`, `DELETE` and `REPLACE`, with commas between; all without.")
    ] = None
    filter: Annotated[
        str | None,
        Field(description="Of which documents, as Extended JSON; `filter.<path>=value` and so on beside it."),
    ] = None
    token: Annotated[str | None, Field(description="The token or key, for clients that can set no header.")] = None


CHANGES = _about(
    summary="Listen to the changes of a collection: server-sent events",
    description="The id of an event is its resume token, which `Last-Event-ID` goes on behind.",
    query=WorkspaceListening,
    gives=Gives(content=str, content_type="text/event-stream", description="Events, until the caller leaves."),
    refuses=("WorkspaceNotFound", "CapabilityDisabled", "QuotaExceeded"),
)
