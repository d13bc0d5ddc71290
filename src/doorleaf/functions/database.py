"""What a function asks of the database: each call becomes an operation and goes through the one door."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from doorleaf.access.callers import SYSTEM, Identity
from doorleaf.dialects.base import Request
from doorleaf.documents import Document
from doorleaf.errors import DataError, DoorleafError, InvalidParameter
from doorleaf.functions.triggers.watched import Watched
from doorleaf.operations import (
    OPERATIONS,
    EndTransaction,
    Find,
    Held,
    Namespace,
    Operation,
    Watch,
    WatchDatabase,
    WatchServer,
)
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


class Session:
    """A transaction of a function, on the data source of its first operation. InvalidParameter for wrong options."""

    def __init__(self, options: Document) -> None:
        self.held = Held(_transaction_options(options))
        self._first: Namespace | None = None

    def begin(self, operation: Operation[Any]) -> None:
        """Make ``operation`` a part of it."""
        self._first = self._first or operation.namespace
        if operation.namespace.data_source != self._first.data_source:
            raise InvalidParameter("session: the transaction is one of another data source")
        operation.within = self.held


def _transaction_options(options: Document) -> Document:
    concerns = {"readPreference": options.get("readPreference"), **dict.fromkeys(_CONCERNS)}
    for name, inner in _CONCERNS.items():
        given = options.get(name)
        if given is not None and not (isinstance(given, dict) and given.keys() <= {inner}):
            raise InvalidParameter(f"{name}: expected an object with {inner} alone")
        concerns[name] = (given or {}).get(inner)
    if unknown := options.keys() - concerns.keys():
        raise InvalidParameter(f"{min(unknown)[:100]}: startTransaction has no such option")
    preference = concerns.pop("readPreference")
    if preference not in (None, "primary") and not (isinstance(preference, dict) and preference == {"mode": "primary"}):
        raise InvalidParameter("readPreference: a transaction reads from the primary")
    if concerns["readConcern"] not in (None, "local", "majority", "snapshot"):
        raise InvalidParameter("readConcern.level: expected local, majority or snapshot")
    acknowledged = concerns["writeConcern"]
    if acknowledged not in (None, "majority") and not (type(acknowledged) is int and 1 <= acknowledged <= 50):
        raise InvalidParameter("writeConcern.w: expected majority or a number of servers")
    return concerns


_CONCERNS = {"readConcern": "level", "writeConcern": "w"}


class Database:
    """The databases as functions see them. ``max_documents`` is the most that a find without ``limit`` may give,
    ``max_time_ms`` the longest that an operation may take that does not say so itself."""

    def __init__(self, execute: Execute, places: Places, max_documents: int, max_time_ms: int) -> None:
        self._execute = execute
        self._places = places
        self._max_documents = max_documents
        self._max_time_ms = max_time_ms
        self._decoders = {name: Decoder(OPERATIONS[name], places) for name in ACTIONS}

    async def run(
        self,
        call: Document,
        identity: Identity,
        request: Request | None,
        *,
        size: int = 0,
        seconds: float,
        session: Session | None = None,
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
        operation.max_time_ms = min(operation.max_time_ms or self._max_time_ms, _milliseconds(seconds))
        whole = type(operation) is Find and not operation.limit
        if type(operation) is Find and whole:
            operation.limit = self._max_documents
        if session is not None:
            session.begin(operation)
        result = await self._execute(operation, identity, request, size)
        if whole and type(result) is DocumentsResult and len(result.documents) >= self._max_documents:
            raise InvalidParameter(f"find: {self._max_documents} documents or more match; give it a limit")
        return result

    async def end(
        self, session: Session, identity: Identity, request: Request | None, *, commit: bool, seconds: float
    ) -> None:
        """Commit or abort the transaction of ``session``, if any operation has begun it. Raises DoorleafError."""
        held = session.held
        if held.namespace is None:  # whatever came was refused before a store began it
            held.ended = held.ended or "has ended"
            return
        ending = EndTransaction(namespace=held.namespace, within=held, commit=commit)
        ending.max_time_ms = min(self._max_time_ms, _milliseconds(seconds))
        await self._execute(ending, identity, request, 0)

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


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def described(error: DoorleafError) -> Document:
    """``error`` as a function is given it."""
    told: Document = {"message": error.message, "codeName": error.code, "status": error.status}
    if isinstance(error, DataError):
        told["code"] = error.number
    return told
