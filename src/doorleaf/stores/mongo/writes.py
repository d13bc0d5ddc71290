"""The writing operations on MongoDB: PyMongo's own methods, which retry a write safely after a failover.

Every function takes the session of a transaction, or None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo import operations as models
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection, ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError
from pymongo.results import UpdateResult as DriverUpdateResult

from doorleaf.documents import Document, Encoded, Exact, ids_of, new_id
from doorleaf.errors import DoorleafError, InvalidParameter, Unsupported
from doorleaf.operations import (
    BulkWrite,
    DeleteMany,
    DeleteOne,
    FindOneAndDelete,
    FindOneAndReplace,
    FindOneAndUpdate,
    InsertMany,
    InsertOne,
    Operation,
    ReplaceOne,
    UpdateMany,
    UpdateOne,
    Write,
)
from doorleaf.operations.results import (
    BulkWriteResult,
    DeleteResult,
    DocumentResult,
    InsertManyResult,
    InsertOneResult,
    UpdateResult,
)
from doorleaf.stores.mongo.arguments import RAW, check_replacement, check_update, hinted, ordering, present
from doorleaf.stores.mongo.errors import write_failed

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


async def insert_many(database: Database, operation: InsertMany, session: Session = None) -> InsertManyResult:
    given = operation.documents
    named = given if isinstance(given, Encoded) else [*map(identified, given)]
    ids = ids_of(named)
    documents: list[Any] = [*map(RawBSONDocument, named.raw)] if isinstance(named, Encoded) else [*map(_exactly, named)]
    try:
        await _collection(database, operation).insert_many(
            documents, ordered=operation.ordered, session=session, comment=operation.comment
        )
    except BulkWriteError as error:
        raise insert_failed(error, ids, ordered=operation.ordered) from error
    return InsertManyResult(ids)


def _exactly(document: Document) -> Any:
    """What the driver writes as it is: of a dictionary with its BSON it would write the values."""
    return RawBSONDocument(document.raw) if isinstance(document, Exact) else document


def insert_failed(error: BulkWriteError, ids: list[Any], *, ordered: bool) -> DoorleafError:
    """The error of an insert of documents with ``ids``, of which some or all failed; it says which went in."""
    inserted = [ids[index] for index in _done(error, len(ids), ordered)]
    return write_failed(error, {"insertedCount": len(inserted), "insertedIds": inserted})


def _done(error: BulkWriteError, total: int, ordered: bool) -> list[int]:
    """The indexes of the writes that were carried out."""
    failed = {entry["index"] for entry in (error.details or {}).get("writeErrors", [])}
    end = min(failed) if ordered and failed else total
    return [index for index in range(end) if index not in failed]


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


Model = (
    models.InsertOne[Document]
    | models.UpdateOne
    | models.UpdateMany
    | models.ReplaceOne[Document]
    | models.DeleteOne
    | models.DeleteMany
)


async def bulk_write(database: Database, operation: BulkWrite, session: Session = None) -> BulkWriteResult:
    """PyMongo's bulk write; insert ids are known before anything is sent, so a failure can tell which went in."""
    ids: dict[int, Any] = {}
    requests: list[Model] = []
    for index, write in enumerate(operation.operations):
        if isinstance(write, InsertOne):
            document = identified(write.document)
            ids[index] = document["_id"]
            requests.append(models.InsertOne(document))
        else:
            requests.append(_model(write))
    variables = _common_variables(operation.operations)
    try:
        done = await _collection(database, operation).bulk_write(
            requests, ordered=operation.ordered, session=session, let=variables, comment=operation.comment
        )
    except BulkWriteError as error:
        carried_out = set(_done(error, len(requests), operation.ordered))
        inserted = {index: value for index, value in ids.items() if index in carried_out}
        result = _bulk_result(error.details or {}, inserted)
        raise write_failed(error, result.wire()) from error
    return _bulk_result(done.bulk_api_result, ids)


def _model(write: UpdateOne | UpdateMany | ReplaceOne | DeleteOne | DeleteMany) -> Model:
    options = present(collation=write.collation, hint=hinted(write.hint))
    if isinstance(write, DeleteOne):
        return models.DeleteOne(write.filter, **options)
    if isinstance(write, DeleteMany):
        return models.DeleteMany(write.filter, **options)
    if isinstance(write, ReplaceOne):
        check_replacement(write.replacement, upsert=write.upsert)
        sort = write.sort or None
        return models.ReplaceOne(write.filter, write.replacement, upsert=write.upsert, sort=sort, **options)
    check_update(write.update)
    options |= present(array_filters=write.array_filters or None)
    if isinstance(write, UpdateMany):
        return models.UpdateMany(write.filter, write.update, upsert=write.upsert, **options)
    return models.UpdateOne(write.filter, write.update, upsert=write.upsert, sort=write.sort or None, **options)


def _common_variables(writes: list[Write]) -> Document | None:
    """The ``let`` of the writes: MongoDB takes one for all of them, and no comment for a single one."""
    common: Document | None = None
    for index, write in enumerate(writes):
        if write.comment is not None:
            raise InvalidParameter(f"operations[{index}].comment: a comment belongs to the bulkWrite as a whole")
        variables = None if isinstance(write, InsertOne) else write.let
        if variables is None:
            continue
        if common is not None and variables != common:
            raise Unsupported(f"operations[{index}].let differs from an earlier one: MongoDB takes one for all writes")
        common = variables
    return common


def _bulk_result(details: Mapping[str, Any], inserted: dict[int, Any]) -> BulkWriteResult:
    return BulkWriteResult(
        inserted_count=details.get("nInserted", 0),
        matched_count=details.get("nMatched", 0),
        modified_count=details.get("nModified", 0),
        deleted_count=details.get("nRemoved", 0),
        upserted_count=details.get("nUpserted", 0),
        upserted_ids={str(entry["index"]): entry["_id"] for entry in details.get("upserted", [])},
        inserted_ids={str(index): value for index, value in inserted.items()},
    )
