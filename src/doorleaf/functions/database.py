"""What a function asks of the database: each call becomes an operation and goes through the one door."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from doorleaf.access.callers import SYSTEM, Identity
from doorleaf.dialects.base import Request
from doorleaf.documents import Document
from doorleaf.errors import DataError, DoorleafError, InvalidParameter
from doorleaf.functions.triggers.watched import Watched
from doorleaf.operations import OPERATIONS, Find, Operation, Watch, WatchDatabase, WatchServer
from doorleaf.operations.decode import Decoder
from doorleaf.operations.places import Places
from doorleaf.operations.results import ChangesResult, ChangeStream, DocumentsResult, Result

Execute = Callable[[Operation[Any], Identity, Request | None, int], Awaitable[Result]]
"""Carries out an operation for an identity; the number is the bytes that the operation came in."""

ACTIONS = (
    "find", "findOne", "findOneAndUpdate", "findOneAndReplace", "findOneAndDelete", "insertOne", "insertMany",
    "updateOne", "updateMany", "replaceOne", "deleteOne", "deleteMany", "aggregate", "countDocuments",
    "estimatedDocumentCount", "distinct", "bulkWrite",
)  # fmt: skip
"""What the collections of a function can do."""


class Database:
    """The databases as functions see them. ``max_documents`` is the most that a find without ``limit`` may give."""

    def __init__(self, execute: Execute, places: Places, max_documents: int) -> None:
        self._execute = execute
        self._places = places
        self._max_documents = max_documents
        self._decoders = {name: Decoder(OPERATIONS[name], places) for name in ACTIONS}

    async def run(
        self, call: Document, identity: Identity, request: Request | None, *, size: int = 0, seconds: float
    ) -> Result:
        """The result of ``call``: ``{action, source, database, collection, fields}``. Raises DoorleafError."""
        decoder = self._decoders.get(call.get("action", ""))
        fields = call.get("fields")
        if decoder is None or type(fields) is not dict:
            raise InvalidParameter("a collection has no such method")
        for field in fields:
            if field not in decoder.names:
                raise InvalidParameter(f"{field[:100]}: {call['action']} has no such argument")
        place = {"dataSource": call.get("source"), "database": call.get("database")}
        operation = decoder.decode(fields, decoder.namespace({**place, "collection": call.get("collection")}))
        left = max(1, int(seconds * 1000))
        operation.max_time_ms = min(operation.max_time_ms or left, left)
        whole = type(operation) is Find and not operation.limit
        if type(operation) is Find and whole:
            operation.limit = self._max_documents
        result = await self._execute(operation, identity, request, size)
        if whole and type(result) is DocumentsResult and len(result.documents) >= self._max_documents:
            raise InvalidParameter(f"find: {self._max_documents} documents or more match; give it a limit")
        return result

    async def watch(self, watched: Watched, token: Document | None) -> ChangeStream:
        """The changes that ``watched`` asks for, behind ``token``, or from now on. Raises DoorleafError."""
        kind = Watch if watched.collection else WatchDatabase if watched.database else WatchServer
        operation = kind(
            namespace=self._places.locate(watched.source, watched.database, watched.collection),
            filter=watched.filter,
            full_document="updateLookup" if watched.full else "default",
            full_document_before_change="whenAvailable" if watched.before else "off",
            start_after=token,
        )
        result = await self._execute(operation, SYSTEM, None, 0)
        assert isinstance(result, ChangesResult)  # noqa: S101  # what a Watch answers
        return result.changes


def described(error: DoorleafError) -> Document:
    """``error`` as a function is given it."""
    told: Document = {"message": error.message, "codeName": error.code, "status": error.status}
    if isinstance(error, DataError):
        told["code"] = error.number
    return told
