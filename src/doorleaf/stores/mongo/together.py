"""Several operations in one transaction of MongoDB, which the driver begins, commits and repeats."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from pymongo import ReadPreference
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from doorleaf.documents import CODEC, Document, Documents
from doorleaf.errors import DataError, DoorleafError, Unsupported
from doorleaf.operations import (
    Aggregate,
    BulkWrite,
    CountDocuments,
    Distinct,
    Find,
    FindOne,
    InsertMany,
    Operation,
    Transaction,
)
from doorleaf.operations.results import (
    CountResult,
    DistinctResult,
    DocumentResult,
    DocumentsResult,
    Result,
    TransactionResult,
)
from doorleaf.stores.base import MOST_RESULT_BYTES, answer_too_large, failed_part
from doorleaf.stores.mongo import bulks, guard, reads, transactions
from doorleaf.stores.mongo.arguments import aggregating, hinted, ordering, present
from doorleaf.stores.mongo.errors import mapped, transactions_missing

Database = AsyncDatabase[Document]

MISSING = (
    "transactions are not supported by this data source: its MongoDB must be a replica set or a sharded cluster, and a "
    "single server is neither"
)


async def execute(database: Database, operation: Transaction) -> TransactionResult:
    """Carry out every operation, or none."""
    if not guard.has_transactions(database):
        raise Unsupported(MISSING)

    async def body(session: AsyncClientSession) -> TransactionResult:
        return await _all(database, operation, session)

    try:
        return await transactions.as_one(database.client, body)
    except OperationFailure as error:
        if transactions_missing(error):
            raise Unsupported(MISSING) from error
        raise


async def _all(database: Database, operation: Transaction, session: AsyncClientSession) -> TransactionResult:
    left = most = operation.max_bytes or MOST_RESULT_BYTES
    results: list[Result] = []
    for index, part in enumerate(operation.operations):
        place = database.client.get_database(
            part.namespace.database, codec_options=CODEC, read_preference=ReadPreference.PRIMARY
        )
        try:
            result = await one(place, part, session)
            left -= result.size()
            if left < 0:
                raise answer_too_large(most)
        except OperationFailure as error:
            if error.has_error_label("TransientTransactionError") or transactions_missing(error):
                raise  # the driver begins again, or there are none
            failure = mapped(error)
            raise (failed_part(index, part, failure) if isinstance(failure, DataError) else failure) from error
        except DoorleafError as error:
            raise failed_part(index, part, error) from None
        results.append(result)
    return TransactionResult(results)


async def one(database: Database, part: Any, session: AsyncClientSession) -> Result:
    """The result of one operation in the transaction of ``session``."""
    read = _READS.get(type(part))
    if read is not None:
        return await read(database, part, session)
    if isinstance(part, BulkWrite):
        return await guard.bulk(database, part, session)
    if isinstance(part, InsertMany):
        inserts = await guard.asked(part)
        return await bulks.insert_many(database, inserts, session)
    return await guard.seen(database, part, session)  # type: ignore[no-any-return]  # a result


async def _find(database: Database, part: Find | FindOne, session: AsyncClientSession) -> Documents:
    cursor: Any = database[part.namespace.collection].find_raw_batches(
        part.filter,
        part.projection or None,
        skip=part.skip,
        limit=1 if isinstance(part, FindOne) else part.limit,
        sort=ordering(part.sort),
        collation=part.collation,
        hint=hinted(part.hint),
        let=part.let,
        comment=part.comment,
        session=session,
    )
    return Documents([found async for found in reads.each_batch(cursor, part)])


async def _find_many(database: Database, part: Find, session: AsyncClientSession) -> Result:
    return DocumentsResult(await _find(database, part, session))


async def _find_one(database: Database, part: FindOne, session: AsyncClientSession) -> Result:
    return DocumentResult((await _find(database, part, session)).first())


async def _aggregate(database: Database, part: Aggregate, session: AsyncClientSession) -> Result:
    options = aggregating(part)
    collection = database[part.namespace.collection]
    cursor = await collection.aggregate_raw_batches(part.pipeline, session=session, **options)
    return DocumentsResult(Documents([found async for found in reads.each_batch(cursor, part, part.cap)]))


async def _count(database: Database, part: CountDocuments, session: AsyncClientSession) -> Result:
    hint = hinted(part.hint)
    options = present(
        skip=part.skip or None,
        limit=part.limit or None,
        collation=part.collation,
        hint=dict(hint) if isinstance(hint, list) else hint,
        comment=part.comment,
    )
    return CountResult(
        await database[part.namespace.collection].count_documents(part.filter, session=session, **options)
    )


async def _distinct(database: Database, part: Distinct, session: AsyncClientSession) -> Result:
    options = present(collation=part.collation, comment=part.comment)
    values = await database[part.namespace.collection].distinct(part.key, part.filter, session=session, **options)
    return DistinctResult(values)


_READS: dict[type[Operation[Any]], Callable[[Database, Any, AsyncClientSession], Awaitable[Result]]] = {
    Find: _find_many,
    FindOne: _find_one,
    Aggregate: _aggregate,
    CountDocuments: _count,
    Distinct: _distinct,
}
