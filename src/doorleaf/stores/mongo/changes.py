"""Change streams of MongoDB: the driver's own, which resumes after a failover, one connection each."""

from __future__ import annotations

import asyncio
from typing import Any

import pymongo
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp
from pymongo import AsyncMongoClient
from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.asynchronous.command_cursor import AsyncCommandCursor
from pymongo.errors import PyMongoError

from doorleaf.apart import CODING
from doorleaf.documents import CODEC, Document
from doorleaf.ejson.parts import decode
from doorleaf.operations import Watch
from doorleaf.operations.results import Event
from doorleaf.stores.mongo.arguments import present, time_limit
from doorleaf.stores.mongo.errors import MALFORMED, mapped, overlook
from doorleaf.stores.mongo.lanes import connections

WAIT_MS = 1_000
"""How long the server waits for a change before it says that there is none."""

SILENCE_SECONDS = 30.0
"""After so long without any answer, a failover included, the connection is given up."""

_CLOSING_SECONDS = 2.0

_AT_ONCE_BYTES = 64 * 1024
"""Events of less BSON than that are decoded on the event loop, and no more are taken together."""

_TOGETHER = 100
"""How many events are taken together, of those that the driver has."""

_DECODING_SECONDS = 30.0

_RAW = CODEC.with_options(document_class=RawBSONDocument)

_PRE_IMAGES = 17
"""The wire version of MongoDB 6.0, the first that keeps documents as they were."""


def one_by_one() -> str:
    """Why events are taken one by one, or "": the driver tells of those that it has already by a part of its own."""
    if pymongo.version_tuple[:2] not in connections.TESTED:
        return f"PyMongo {pymongo.version} is not known"
    return "" if hasattr(AsyncCommandCursor, "_has_next") else "PyMongo is not what it was"


class Changes:
    """A change stream of MongoDB: see :class:`doorleaf.operations.results.ChangeStream`."""

    def __init__(
        self, client: AsyncMongoClient[Any], stream: AsyncChangeStream[RawBSONDocument], given: Document | None
    ) -> None:
        self._client = client
        self._stream = stream
        self._asking: asyncio.Task[Any] | None = None
        self._one_by_one = bool(one_by_one()) or not hasattr(stream, "_cursor")
        self._given = given
        self._begun = False

    @property
    def token(self) -> Document | None:
        """Where to go on from here; None where events may have come with the opening that nobody has taken."""
        found = self._stream.resume_token
        return None if found is None or (found == self._given and not self._begun) else dict(found)

    async def moment(self) -> Timestamp | None:
        """The time of the cluster at this moment, where it has one."""
        try:
            reply = await self._client.admin.command("ping")
        except PyMongoError as error:
            raise mapped(error) from error
        found = reply.get("operationTime")
        return found if isinstance(found, Timestamp) else None

    async def next(self) -> list[Document] | None:
        """The events that come next, if any do; see :class:`doorleaf.operations.results.ChangeStream`."""
        if not self._stream.alive:
            return None
        # A task of its own, because the driver, when it is cancelled, ends the stream first, and a server that has
        # fallen silent would keep whoever leaves.
        task = self._asking = asyncio.get_running_loop().create_task(self._taken())
        task.add_done_callback(overlook)  # whoever reads may be gone before it ends
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                events = await asyncio.shield(task)
            self._asking = None
            found = [bytes(event.raw) for event in events]
            if sum(map(len, found)) < _AT_ONCE_BYTES:
                return _decoded(found)
            return await CODING.run(_DECODING_SECONDS, _decoded, found)
        except (PyMongoError, TimeoutError, *MALFORMED) as error:
            raise mapped(error) from error

    async def _taken(self) -> list[Any]:
        """The next event, if one comes, and those that came with it: for them nobody waits."""
        event = await self._stream.try_next()
        self._begun = True
        events: list[Any] = [] if event is None else [event]
        size = 0
        while event is not None and len(events) < _TOGETHER and self._has_more():
            size += len(event.raw)
            if size >= _AT_ONCE_BYTES:
                break
            event = await self._stream.try_next()
            events += [] if event is None else [event]
        return events

    def _has_more(self) -> bool:
        """Whether the driver has another event already; False where it does not say."""
        return not self._one_by_one and bool(self._stream._cursor._has_next())

    async def close(self) -> None:
        """Let the server forget the stream, as far as it can be told: one that has fallen silent is not waited for."""
        task, self._asking = self._asking, None
        if task is not None and not task.done():
            task.cancel()
        else:
            task = asyncio.get_running_loop().create_task(self._stream.close())
        await asyncio.wait({task}, timeout=_CLOSING_SECONDS)
        task.cancel()
        await asyncio.wait({task}, timeout=_CLOSING_SECONDS)
        task.add_done_callback(overlook)  # whatever it is, the stream is over


def _decoded(found: list[bytes]) -> list[Document]:
    return [Event(decode(raw), len(raw)) for raw in found]


async def watch(client: AsyncMongoClient[Any], operation: Watch) -> Changes:
    """Open a change stream. Documents of ``client`` are raw: a stream of all databases has no options of its own."""
    namespace = operation.namespace
    before: str | None = operation.full_document_before_change
    stages = [{"$match": operation.filter}] if operation.filter else []
    if before == "off" or (before == "whenAvailable" and not await _keeps_images(client)):
        before = None
    options: dict[str, Any] = {
        "full_document": operation.full_document,
        "max_await_time_ms": min(WAIT_MS, operation.wait_ms, time_limit(operation)),
        **present(
            full_document_before_change=before,
            resume_after=operation.resume_after,
            start_after=operation.start_after,
            start_at_operation_time=operation.start_at_operation_time,
            comment=operation.comment,
        ),
    }
    target: Any = client
    if operation.scope != "server":
        target = client.get_database(namespace.database, codec_options=_RAW)
    if operation.scope == "collection":
        target = target[namespace.collection]
    return Changes(client, await target.watch(stages, **options), operation.resume_after or operation.start_after)


async def _keeps_images(client: AsyncMongoClient[Any]) -> bool:
    hello: Any = await client.admin.command("hello")
    return bool(hello.get("maxWireVersion", 0) >= _PRE_IMAGES)
