"""Transactions that go on over several operations: a session of the driver each, from the first one on."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from pymongo import ReadPreference, WriteConcern
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from doorleaf.documents import CODEC, Document
from doorleaf.errors import InvalidParameter, Unsupported
from doorleaf.operations import EndTransaction, Held, Operation
from doorleaf.operations.results import OkResult, Result
from doorleaf.operations.together import require_part
from doorleaf.stores.mongo import guard, together, transactions
from doorleaf.stores.mongo.errors import transactions_missing

Database = AsyncDatabase[Document]


async def carry_out(database: Database, operation: Operation[Any]) -> Result:
    """The result of ``operation`` within its transaction, which an error aborts."""
    held = operation.within
    assert held is not None  # noqa: S101  # whoever calls has looked
    async with held.lock:
        if isinstance(operation, EndTransaction):
            return await _end(held, commit=operation.commit)
        if held.ended:
            raise InvalidParameter(f"the transaction {held.ended}")
        require_part(operation)
        session = await _session(database, held)
        place = database.client.get_database(
            operation.namespace.database, codec_options=CODEC, read_preference=ReadPreference.PRIMARY
        )
        try:
            held.namespace = held.namespace or operation.namespace
            return await together.one(place, operation, session)
        except BaseException as error:
            # What was refused after it was written must not stay.
            held.ended = "was aborted by an error"
            await _closed(session)
            if isinstance(error, OperationFailure) and transactions_missing(error):
                raise Unsupported(together.MISSING) from error
            raise


async def _session(database: Database, held: Held) -> AsyncClientSession:
    session: AsyncClientSession | None = held.kept
    if session is None:
        if not guard.has_transactions(database):
            raise Unsupported(together.MISSING)
        level, concern = held.options.get("readConcern"), held.options.get("writeConcern")
        session = database.client.start_session()
        await session.start_transaction(
            ReadConcern(level) if level else None,
            None if concern is None else WriteConcern(concern),
            ReadPreference.PRIMARY,
        )
        held.kept = session
    return session


async def _end(held: Held, *, commit: bool) -> OkResult:
    session: AsyncClientSession | None = held.kept
    if commit and held.ended:
        raise InvalidParameter(f"the transaction {held.ended}")
    if held.ended or session is None:
        held.ended = held.ended or "has ended"
        return OkResult()
    held.ended = "was committed" if commit else "was aborted"
    try:
        if commit:
            await session.commit_transaction()
    finally:
        await _closed(session)
    return OkResult()


async def _closed(session: AsyncClientSession) -> None:
    """Abort what is open and let go of the session, whoever is cancelled meanwhile."""
    try:
        await transactions.abort(session)
    finally:
        with contextlib.suppress(PyMongoError):
            await asyncio.shield(session.end_session())
