"""The writes of one part on MongoDB: PyMongo's own methods, which retry a write safely after a failover.

Every function takes the session of a transaction, or None.
"""

from __future__ import annotations

from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection, ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.results import UpdateResult as DriverUpdateResult

from doorleaf.documents import Document, new_id
from doorleaf.operations import (
    DeleteMany,
    DeleteOne,
    FindOneAndDelete,
    FindOneAndReplace,
    FindOneAndUpdate,
    InsertOne,
    Operation,
    ReplaceOne,
    UpdateMany,
    UpdateOne,
)
from doorleaf.operations.results import (
    DeleteResult,
    DocumentResult,
    InsertOneResult,
    UpdateResult,
)
from doorleaf.stores.mongo.arguments import RAW, check_replacement, check_update, hinted, ordering, present

Database = AsyncDatabase[Document]
Session = AsyncClientSession | None


def identified(document: Document) -> Document:
    """``document`` with an ``_id``, made here when it has none, as drivers do."""
    return document if "_id" in document else {"_id": new_id(), **document}


def _collection(database: Database, operation: Operation[Any]) -> AsyncCollection[Document]:
    return database[operation.namespace.collection]


async def insert_one(database: Database, operation: InsertOne, session: Session = None) -> InsertOneResult:
    document = identified(operation.document)
    await _collection(database, operation).insert_one(document, session=session, comment=operation.comment)
    return InsertOneResult(document["_id"])


def _update_options(operation: UpdateOne | UpdateMany | ReplaceOne) -> Document:
    return present(
        upsert=operation.upsert,
        collation=operation.collation,
        hint=hinted(operation.hint),
        let=operation.let,
        comment=operation.comment,
    )


def _updated(result: DriverUpdateResult) -> UpdateResult:
    raw = result.raw_result or {}
    if "upserted" in raw:  # the driver takes an upserted `_id` of null for none
        return UpdateResult(0, 0, raw["upserted"])
    return UpdateResult(result.matched_count, result.modified_count)


async def update_one(database: Database, operation: UpdateOne, session: Session = None) -> UpdateResult:
    check_update(operation.update)
    result = await _collection(database, operation).update_one(
        operation.filter,
        operation.update,
        array_filters=operation.array_filters or None,
        sort=operation.sort or None,
        session=session,
        **_update_options(operation),
    )
    return _updated(result)


async def update_many(database: Database, operation: UpdateMany, session: Session = None) -> UpdateResult:
    check_update(operation.update)
    result = await _collection(database, operation).update_many(
        operation.filter,
        operation.update,
        array_filters=operation.array_filters or None,
        session=session,
        **_update_options(operation),
    )
    return _updated(result)


async def replace_one(database: Database, operation: ReplaceOne, session: Session = None) -> UpdateResult:
    check_replacement(operation.replacement, upsert=operation.upsert)
    result = await _collection(database, operation).replace_one(
        operation.filter,
        operation.replacement,
        sort=operation.sort or None,
        session=session,
        **_update_options(operation),
    )
    return _updated(result)


def _delete_options(operation: DeleteOne | DeleteMany) -> Document:
    return present(
        collation=operation.collation,
        hint=hinted(operation.hint),
        let=operation.let,
        comment=operation.comment,
    )


async def delete_one(database: Database, operation: DeleteOne, session: Session = None) -> DeleteResult:
    collection = _collection(database, operation)
    result = await collection.delete_one(operation.filter, session=session, **_delete_options(operation))
    return DeleteResult(result.deleted_count)


async def delete_many(database: Database, operation: DeleteMany, session: Session = None) -> DeleteResult:
    collection = _collection(database, operation)
    result = await collection.delete_many(operation.filter, session=session, **_delete_options(operation))
    return DeleteResult(result.deleted_count)


def _find_and_options(operation: FindOneAndUpdate | FindOneAndReplace | FindOneAndDelete) -> Document:
    return present(
        projection=operation.projection or None,
        sort=ordering(operation.sort),
        collation=operation.collation,
        hint=hinted(operation.hint),
        let=operation.let,
        comment=operation.comment,
    )


def _returned(operation: FindOneAndUpdate | FindOneAndReplace) -> bool:
    return ReturnDocument.AFTER if operation.return_new_document else ReturnDocument.BEFORE


def _document(found: Any) -> DocumentResult:
    return DocumentResult(None if found is None else bytes(found.raw))


async def find_one_and_update(
    database: Database, operation: FindOneAndUpdate, session: Session = None
) -> DocumentResult:
    check_update(operation.update)
    collection = database.get_collection(operation.namespace.collection, codec_options=RAW)
    found = await collection.find_one_and_update(
        operation.filter,
        operation.update,
        upsert=operation.upsert,
        return_document=_returned(operation),
        array_filters=operation.array_filters or None,
        session=session,
        **_find_and_options(operation),
    )
    return _document(found)


async def find_one_and_replace(
    database: Database, operation: FindOneAndReplace, session: Session = None
) -> DocumentResult:
    check_replacement(operation.replacement, upsert=operation.upsert)
    collection = database.get_collection(operation.namespace.collection, codec_options=RAW)
    found = await collection.find_one_and_replace(
        operation.filter,
        operation.replacement,
        upsert=operation.upsert,
        return_document=_returned(operation),
        session=session,
        **_find_and_options(operation),
    )
    return _document(found)


async def find_one_and_delete(
    database: Database, operation: FindOneAndDelete, session: Session = None
) -> DocumentResult:
    collection = database.get_collection(operation.namespace.collection, codec_options=RAW)
    found = await collection.find_one_and_delete(operation.filter, session=session, **_find_and_options(operation))
    return _document(found)
