"""Change streams of MongoDB: the driver's own, which resumes after a failover, one connection each."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.errors import PyMongoError

from doorleaf.documents import CODEC, Document
from doorleaf.operations import Watch
from doorleaf.stores.mongo.arguments import present, time_limit
from doorleaf.stores.mongo.errors import mapped

WAIT_MS = 1_000
"""How long the server waits for a change before it says that there is none."""

SILENCE_SECONDS = 30.0
"""After so long without any answer, a failover included, the connection is given up."""

_PRE_IMAGES = 17
"""The wire version of MongoDB 6.0, the first that keeps documents as they were."""


class Changes:
    """A change stream of MongoDB: see :class:`doorleaf.results.ChangeStream`."""

    def __init__(self, stream: AsyncChangeStream[Document]) -> None:
        self._stream = stream

    async def next(self) -> list[Document] | None:
        """The next event, if one comes; see :class:`doorleaf.results.ChangeStream`."""
        if not self._stream.alive:
            return None
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                event = await self._stream.try_next()
        except (PyMongoError, TimeoutError) as error:
            raise mapped(error) from error
        return [] if event is None else [dict(event)]

    async def close(self) -> None:
        """Let the server forget the stream."""
        with contextlib.suppress(PyMongoError):
            await self._stream.close()


async def watch(client: AsyncMongoClient[Document], operation: Watch) -> Changes:
    """Open a change stream; ``fullDocument`` is the document as it is when the event is read."""
    namespace = operation.namespace
    collection = client.get_database(namespace.database, codec_options=CODEC)[namespace.collection]
    stages = [{"$match": operation.filter}] if operation.filter else []
    before = "whenAvailable" if operation.before and await _keeps_images(client) else None
    stream = await collection.watch(
        stages,
        full_document="updateLookup",
        max_await_time_ms=min(WAIT_MS, time_limit(operation)),
        **present(full_document_before_change=before, comment=operation.comment),
    )
    return Changes(stream)


async def _keeps_images(client: AsyncMongoClient[Document]) -> bool:
    hello: Any = await client.admin.command("hello")
    return bool(hello.get("maxWireVersion", 0) >= _PRE_IMAGES)
