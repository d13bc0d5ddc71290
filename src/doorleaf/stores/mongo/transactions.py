"""Transactions of MongoDB's that end when they should: also when the time of what is done in one is over."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pymongo
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError

from doorleaf.documents import Document

T = TypeVar("T")

_ABORTING_SECONDS = 5.0
"""How long the server is waited for when it is told to abort a transaction."""


async def as_one(client: AsyncMongoClient[Document], body: Callable[[AsyncClientSession], Awaitable[T]]) -> T:
    """Carry out ``body`` in a transaction of its own, again where the server says so, and return what it answers."""

    async def aborting(session: AsyncClientSession) -> T:
        try:
            return await body(session)
        except BaseException:
            await abort(session)
            raise

    async with client.start_session() as session:
        return await session.with_transaction(aborting, read_preference=ReadPreference.PRIMARY)


async def abort(session: AsyncClientSession) -> None:
    """Abort what is open, whoever is cancelled meanwhile; a server that cannot be told does so by itself, after a
    minute in which nobody else can write what was written.

    The time limit of an operation, which the driver would keep here too, may be what has ended the transaction.
    """
    if session.in_transaction:
        work: Any = asyncio.get_running_loop().create_task(_aborted(session), context=contextvars.Context())
        await asyncio.shield(work)


async def _aborted(session: AsyncClientSession) -> None:
    with contextlib.suppress(PyMongoError, asyncio.TimeoutError), pymongo.timeout(_ABORTING_SECONDS):
        await session.abort_transaction()
