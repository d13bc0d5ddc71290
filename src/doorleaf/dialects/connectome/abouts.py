"""The operations of the Connectome dialect: their methods, the kind of credential that each takes, and what they do."""

from __future__ import annotations

from functools import partial
from typing import Any

from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.connectome.models import (
    ConnectomeDeleted,
    ConnectomeInserted,
    ConnectomeUpdated,
    ConnectomeWritten,
    DeleteQuery,
    DocumentsToWrite,
    DocumentToWrite,
    MatchQuery,
    ReadWithQuery,
    UpdateWithUpsert,
)

_about = partial(About, tag="Connectome")
_DOCUMENTS = Gives(content=list[dict[str, Any]], description="The documents, read as they are sent.")

READ = _about(name="connectomeRead", summary="Read all documents of a collection", gives=_DOCUMENTS)
READ_BY_POST = _about(name="connectomeReadByPost", summary="Read all documents of a collection", gives=_DOCUMENTS)
QUERY = _about(
    name="connectomeReadWithQuery",
    summary="Read documents of a collection: filter, project, sort and limit",
    description="Without a `limit`, all that match are answered.",
    takes=ReadWithQuery,
    optional=True,
    example={
        "query": {"amount": {"$gte": 30}},
        "project": {"amount": 1, "title": 1},
        "sort": {"amount": 1},
        "limit": 10,
    },
    gives=Gives(content=list[dict[str, Any]], description="The documents."),
)
WRITE = _about(
    name="connectomeWrite",
    summary="Write one document",
    brings=DocumentToWrite,
    example={"title": "Movie ABC", "amount": 10},
    gives=Gives(content=ConnectomeWritten, description="Written."),
    refuses=("DuplicateKey",),
)
BATCH_WRITE = _about(
    name="connectomeBatchWrite",
    summary="Write several documents",
    description=(
        "All of them or none. Where the database is a single MongoDB, which has no transactions, an error says in "
        "`inserted` how many went in before."
    ),
    brings=DocumentsToWrite,
    example=[{"title": "Movie ABC", "amount": 10}, {"title": "Movie DEF", "amount": 40}],
    gives=Gives(content=ConnectomeInserted, description="Written."),
    refuses=("DuplicateKey",),
)
UPDATE = _about(
    name="connectomeUpdateWithUpsert",
    summary="Update all documents that match, or insert one where none does",
    takes=UpdateWithUpsert,
    example={"search query": {"title": "Movie ABC"}, "data": {"amount": 12}, "upsert": True},
    gives=Gives(content=ConnectomeUpdated, description="Updated, or inserted."),
    refuses=("DocumentNotFound", "DuplicateKey"),
)
BATCH_DELETE = _about(
    name="connectomeBatchDelete",
    summary="Delete all documents that match",
    brings=MatchQuery,
    optional=True,
    example={"title": "Movie ABC"},
    query=DeleteQuery,
    gives=Gives(content=ConnectomeDeleted, description="Deleted."),
)

OPERATIONS: dict[str, tuple[tuple[str, ...], str, tuple[About, ...]]] = {
    "read": (("GET", "POST"), "read", (READ, READ_BY_POST)),
    "readwithquery": (("POST",), "read", (QUERY,)),
    "write": (("POST",), "write", (WRITE,)),
    "batchwrite": (("POST",), "write", (BATCH_WRITE,)),
    "updatewithupsert": (("POST",), "write", (UPDATE,)),
    "batchdelete": (("DELETE",), "write", (BATCH_DELETE,)),
}
"""Each operation: its methods, the kind of its credential, and what is said of each method."""
