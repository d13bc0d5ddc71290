"""The system database, read and written through the operations every store has."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import bson

from doorleaf.documents import CODEC, Document
from doorleaf.errors import DataError
from doorleaf.operations import (
    CreateIndex,
    DeleteMany,
    DropIndex,
    Find,
    FindOne,
    FindOneAndUpdate,
    InsertMany,
    InsertOne,
    Namespace,
    UpdateMany,
    UpdateOne,
)
from doorleaf.stores.base import Store

TIME_LIMIT_MS = 2000
"""Longest any of these operations may take, so that a change is seen within five seconds."""
MOST = 50_000
_INDEX_OPTIONS_CONFLICT = 85


class SystemStore:
    """Keys and sessions live in ``database`` of the default data source. Raises what ``Store.execute`` raises."""

    def __init__(self, store: Store, database: str) -> None:
        self._store = store
        self._database = database

    def _at(self, collection: str) -> Namespace:
        return Namespace(self._database, collection)

    async def find_one(self, collection: str, filter: Document) -> Document | None:
        """The first matching document, or None."""
        result = await self._store.execute(
            FindOne(namespace=self._at(collection), filter=filter, max_time_ms=TIME_LIMIT_MS)
        )
        document = result.document
        return bson.decode(document, CODEC) if isinstance(document, bytes) else document

    async def find(
        self, collection: str, filter: Document, *, sort: Document | None = None, limit: int = MOST
    ) -> list[Document]:
        """The matching documents, at most ``limit``."""
        result = await self._store.execute(
            Find(namespace=self._at(collection), filter=filter, sort=sort, limit=limit, max_time_ms=TIME_LIMIT_MS)
        )
        return result.documents.decode()

    async def insert(self, collection: str, document: Document) -> None:
        """Insert one document; DuplicateKey when its ``_id`` is taken."""
        await self._store.execute(InsertOne(namespace=self._at(collection), document=document))

    async def update(
        self, collection: str, filter: Document, update: Mapping[str, Any], *, upsert: bool = False
    ) -> int:
        """Update one document and answer how many matched; with ``upsert`` insert one when none did."""
        result = await self._store.execute(
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
        result = await self._store.execute(
            UpdateMany(namespace=self._at(collection), filter=filter, update=dict(update), max_time_ms=TIME_LIMIT_MS)
        )
        return result.matched_count

    async def delete(self, collection: str, filter: Document) -> int:
        """Delete every matching document and answer how many there were."""
        result = await self._store.execute(
            DeleteMany(namespace=self._at(collection), filter=filter, max_time_ms=TIME_LIMIT_MS)
        )
        return result.deleted_count

    async def index(self, collection: str, *fields: str, unique: bool = False) -> None:
        """Make sure that ``fields`` are indexed together; with ``unique`` no two documents may have all the same."""
        keys, options = dict.fromkeys(fields, 1), {"unique": True} if unique else {}
        await self._store.execute(CreateIndex(namespace=self._at(collection), keys=keys, options=options))

    async def insert_many(self, collection: str, documents: list[Document]) -> None:
        """Insert each document by itself; WriteFailed when some could not be, after all were tried."""
        await self._store.execute(
            InsertMany(namespace=self._at(collection), documents=documents, ordered=False, max_time_ms=TIME_LIMIT_MS)
        )

    async def add(
        self, collection: str, identifier: str, amounts: Mapping[str, int], fields: Mapping[str, Any]
    ) -> Document:
        """Add ``amounts`` to the numbers of one document, made with ``fields`` if there is none; how it is now."""
        result = await self._store.execute(
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

    async def expire(self, collection: str, field: str, seconds: int) -> None:
        """Make sure that documents end ``seconds`` after the date in ``field``."""
        index = CreateIndex(namespace=self._at(collection), keys={field: 1}, options={"expireAfterSeconds": seconds})
        try:
            await self._store.execute(index)
        except DataError as error:
            if error.number != _INDEX_OPTIONS_CONFLICT:
                raise
            await self._store.execute(DropIndex(namespace=self._at(collection), index=f"{field}_1"))
            await self._store.execute(index)


def as_date(seconds: float) -> datetime:
    """Seconds since 1970 as the naive UTC date that documents hold."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def as_seconds(date: datetime | None) -> float | None:
    """A document's date as seconds since 1970."""
    return None if date is None else date.replace(tzinfo=UTC).timestamp()
