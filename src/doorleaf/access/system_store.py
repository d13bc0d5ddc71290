"""The system database, read and written through the operations every store has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import bson

from doorleaf.documents import CODEC, Document
from doorleaf.errors import DataError, DuplicateKey, PermissionDenied, StoreUnavailable
from doorleaf.operations import (
    OWN_TURN,
    CreateIndex,
    DeleteMany,
    DropIndex,
    Find,
    FindOne,
    FindOneAndUpdate,
    InsertMany,
    InsertOne,
    Namespace,
    Operation,
    R,
    UpdateMany,
    UpdateOne,
)
from doorleaf.stores.base import Store

TIME_LIMIT_MS = 2000
"""Longest any of these operations may take, so that a change is seen within five seconds."""
RESERVE_LIMIT_MS = 10_000
"""Longest that a request waits for its part of a quota."""
MOST = 50_000
PAGE = 10_000
"""Documents that are read at once where all are."""
_INDEX_OPTIONS_CONFLICT = 85


class SystemStore:
    """Keys and sessions live in ``database`` of the default data source. Raises what ``Store.execute`` raises."""

    def __init__(self, store: Store, database: str) -> None:
        self._store = store
        self._database = database

    def _at(self, collection: str) -> Namespace:
        return Namespace(self._database, collection)

    async def _execute(self, operation: Operation[R]) -> R:
        operation.turn = OWN_TURN
        try:
            return await self._store.execute(operation)
        except PermissionDenied as error:
            if error.code != "Unauthorized":
                raise
            raise StoreUnavailable(
                f"the database user may not use the system database: grant it the role readWrite on "
                f'"{self._database}" (or name another database with the setting system_database)'
            ) from error

    async def try_rights(self) -> None:
        """Read and write without changing anything; raises what keys and sessions would be refused with."""
        nothing: Document = {"_id": {"$in": []}}
        await self.find_one("keys", nothing)
        await self.update("keys", nothing, {"$set": {"disabled": True}})
        await self.delete("keys", nothing)

    async def find_one(self, collection: str, filter: Document) -> Document | None:
        """The first matching document, or None."""
        result = await self._execute(FindOne(namespace=self._at(collection), filter=filter, max_time_ms=TIME_LIMIT_MS))
        document = result.document
        return bson.decode(document, CODEC) if isinstance(document, bytes) else document

    async def find(
        self,
        collection: str,
        filter: Document,
        *,
        sort: Document | None = None,
        limit: int = MOST,
        projection: Document | None = None,
    ) -> list[Document]:
        """The matching documents, at most ``limit``."""
        operation = Find(
            namespace=self._at(collection),
            filter=filter,
            sort=sort,
            limit=limit,
            projection=projection,
            max_time_ms=TIME_LIMIT_MS,
        )
        return (await self._execute(operation)).documents.decode()

    async def all(self, collection: str, filter: Document, *, projection: Document | None = None) -> list[Document]:
        """The matching documents by ``_id``, however many; what is put in meanwhile may be missing."""
        found: list[Document] = []
        rest = filter
        while True:
            page = await self.find(collection, rest, sort={"_id": 1}, limit=PAGE, projection=projection)
            found += page
            if len(page) < PAGE:
                return found
            rest = {"$and": [filter, {"_id": {"$gt": page[-1]["_id"]}}]}

    async def insert(self, collection: str, document: Document) -> None:
        """Insert one document; DuplicateKey when its ``_id`` is taken."""
        await self._execute(InsertOne(namespace=self._at(collection), document=document))

    async def update(
        self, collection: str, filter: Document, update: Mapping[str, Any], *, upsert: bool = False
    ) -> int:
        """Update one document and answer how many matched; with ``upsert`` insert one when none did."""
        result = await self._execute(
            UpdateOne(
                namespace=self._at(collection),
                filter=filter,
                update=dict(update),
                upsert=upsert,
                max_time_ms=TIME_LIMIT_MS,
            )
        )
        return result.matched_count

    async def update_many(self, collection: str, filter: Document, update: Mapping[str, Any]) -> int:
        """Update every matching document and answer how many matched."""
        result = await self._execute(
            UpdateMany(namespace=self._at(collection), filter=filter, update=dict(update), max_time_ms=TIME_LIMIT_MS)
        )
        return result.matched_count

    async def delete(self, collection: str, filter: Document) -> int:
        """Delete every matching document and answer how many there were."""
        result = await self._execute(
            DeleteMany(namespace=self._at(collection), filter=filter, max_time_ms=TIME_LIMIT_MS)
        )
        return result.deleted_count

    async def index(self, collection: str, *fields: str, unique: bool = False, sparse: bool = False) -> None:
        """Make sure that ``fields`` are indexed together; with ``unique`` no two documents may have all the same, with
        ``sparse`` but for those that have none of them."""
        keys, options = dict.fromkeys(fields, 1), {"unique": True} if unique else {}
        options |= {"sparse": True} if sparse else {}
        await self._execute(CreateIndex(namespace=self._at(collection), keys=keys, options=options))

    async def insert_many(self, collection: str, documents: list[Document]) -> None:
        """Insert each document by itself; WriteFailed when some could not be, after all were tried."""
        await self._execute(
            InsertMany(namespace=self._at(collection), documents=documents, ordered=False, max_time_ms=TIME_LIMIT_MS)
        )

    async def add(
        self, collection: str, identifier: str, amounts: Mapping[str, int], fields: Mapping[str, Any]
    ) -> Document:
        """Add ``amounts`` to the numbers of one document, made with ``fields`` if there is none; how it is now."""
        result = await self._execute(
            FindOneAndUpdate(
                namespace=self._at(collection),
                filter={"_id": identifier},
                update={"$inc": dict(amounts), "$setOnInsert": dict(fields)},
                upsert=True,
                max_time_ms=TIME_LIMIT_MS,
            )
        )
        document = result.document
        return bson.decode(document, CODEC) if isinstance(document, bytes) else document or {}

    async def dated(self, collection: str, identifier: str, field: str) -> Document | None:
        """One document as it is, with the time by the database's own clock put into ``field``; None where there is
        none."""
        operation = FindOneAndUpdate(
            namespace=self._at(collection),
            filter={"_id": identifier},
            update={"$currentDate": {field: True}},
            max_time_ms=TIME_LIMIT_MS,
        )
        document = (await self._execute(operation)).document
        return bson.decode(document, CODEC) if isinstance(document, bytes) else document

    async def reserve(
        self, collection: str, identifier: str, field: str, amount: int, most: int, fields: Mapping[str, Any]
    ) -> Document | None:
        """Add ``amount`` to the number ``field`` of one document, made with ``fields`` if there is none, unless it
        would be above ``most`` then; how the document is now, or None."""
        if amount > most:  # a document that is made now would not be looked at
            return None
        operation = FindOneAndUpdate(
            namespace=self._at(collection),
            filter={"_id": identifier, field: {"$not": {"$gt": most - amount}}},
            update={"$inc": {field: amount}, "$setOnInsert": dict(fields)},
            upsert=True,
            max_time_ms=RESERVE_LIMIT_MS,
        )
        for _ in range(2):  # the first time, somebody else may have made the document in this moment
            try:
                document = (await self._execute(operation)).document
            except DuplicateKey:
                continue
            return bson.decode(document, CODEC) if isinstance(document, bytes) else document or {}
        return None

    async def expire(self, collection: str, field: str, seconds: int) -> None:
        """Make sure that documents end ``seconds`` after the date in ``field``."""
        index = CreateIndex(namespace=self._at(collection), keys={field: 1}, options={"expireAfterSeconds": seconds})
        try:
            await self._execute(index)
        except DataError as error:
            if error.number != _INDEX_OPTIONS_CONFLICT:
                raise
            await self._execute(DropIndex(namespace=self._at(collection), index=f"{field}_1"))
            await self._execute(index)


class Readings:
    """Readings of the same documents, some of them at once: what was read earlier is never put over what was later."""

    def __init__(self) -> None:
        self._begun = self._done = 0

    def begin(self) -> Callable[[], bool]:
        """Begin to read; what is answered says, once that is done, whether none that began later was faster."""
        self._begun += 1
        number = self._begun

        def is_latest() -> bool:
            self._done = max(self._done, number)
            return self._done == number

        return is_latest


def as_date(seconds: float) -> datetime:
    """Seconds since 1970 as the naive UTC date that documents hold."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def as_seconds(date: datetime | None) -> float | None:
    """A document's date as seconds since 1970."""
    return None if date is None else date.replace(tzinfo=UTC).timestamp()
