"""The short way to MongoDB: commands sent on lanes, one exchange each, with all that PyMongo would send and heed.

A command carries a session and the newest cluster time; an answer brings the server's. A connection that breaks, and a
server that is not the one to ask, are told to the driver. What is worth it is sent again as
:mod:`doorleaf.stores.mongo.lanes.retries` says.

A write may have been carried out when its connection breaks, so it is never handed on to the driver's way: it is sent
again under the same session and number, by which the server knows it, and not at all where the server or the URI has no
such retries.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Any

import bson
from bson.codec_options import CodecOptions
from bson.errors import BSONError
from pymongo import AsyncMongoClient
from pymongo import message as driver
from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)

from doorleaf.documents import CODEC, Document
from doorleaf.stores.mongo.arguments import RAW
from doorleaf.stores.mongo.codes import NOT_PRIMARY
from doorleaf.stores.mongo.lanes.connections import Lane, Lanes
from doorleaf.stores.mongo.lanes.replies import (
    carried_out,
    cluster_time,
    cursor_id,
    is_error,
    refused,
    stamp,
    unwritten,
)
from doorleaf.stores.mongo.lanes.retries import ReadRetries, Retries, WriteRetries
from doorleaf.stores.mongo.lanes.wire import OP_MSG, PLAIN, Wire
from doorleaf.stores.mongo.limits import Limits

_HEADER = Struct("<iiii")
_SIZE = Struct("<i")
_LONG = Struct("<q")
LARGEST_WRITE = 1024 * 1024
"""Bytes of a command beyond which the driver's part of the time is small; and it knows what is too large."""

_SEQUENCE = b"\x01"
_TRANSACTION = b"\x12txnNumber\x00"
_NUMBER = len(_TRANSACTION) + 8

Follow = Callable[[bytes], Document | None]
"""Given a reply, the command that must come next on the same connection, or None. What it raises ends the read."""


@dataclass(slots=True)
class _Write:
    """A writing command as BSON, the sequence of documents beside it, how its reply is read, whether it may have a
    number, and the fields of its session and number."""

    body: bytes
    sequence: bytes
    codec: CodecOptions[Any]
    numbered: bool
    session: bytes | None = None


@dataclass(slots=True)
class _Progress:
    sent: bool = False


class ShortWay:
    """Runs commands on ``lanes``."""

    def __init__(self, client: AsyncMongoClient[Document], lanes: Lanes, limits: Limits) -> None:
        self._client: Any = client
        self._limits = limits
        self._lanes = lanes
        self._ids = itertools.count(1)
        self._silence: float | None = client.options.pool_options.socket_timeout
        self._time: Document | None = None
        self._stamp = 0
        self._time_field = b""

    # --- reading -------------------------------------------------------------------------------------------------

    async def read(
        self, database: str, command: Document | bytes, reading: Callable[[], Follow] | None = None
    ) -> list[bytes] | None:
        """The server's replies to a reading ``command`` and to what ``reading`` says comes after it, as BSON.

        A command that is BSON names its ``database`` itself.

        None when nothing was sent and the operation has to go the driver's way. Raises what PyMongo would.
        """
        if not self._lanes.usable:
            return None
        body = command if isinstance(command, bytes) else encoded(database, command)
        retries: ReadRetries | None = None
        while True:
            lane = self._lanes.free() if retries is None else await self._another(retries)
            if lane is None and (lane := await self._lanes.take()) is None:
                return None
            try:
                if reading is not None:
                    return await self._conversation(lane, database, body, reading())
                reply = await self._exchange(lane, body)
                if is_error(reply) and (error := self._refused(lane, reply)) is not None:
                    await self._back(lane, error)
                    raise error
                self._lanes.give(lane)
                return [reply]
            except (ConnectionFailure, OperationFailure) as failed:
                if retries is None:
                    retries = ReadRetries(self._client)
                await retries.again(failed)

    async def _another(self, retries: Retries) -> Lane:
        """A lane for a further attempt; raises what the attempts so far have come to when there is none."""
        try:
            lane = await self._lanes.take(patient=True) if self._lanes.usable else None
        except ServerSelectionTimeoutError:
            lane = None
        if lane is None:
            raise retries.given_up()
        return lane

    async def _conversation(self, lane: Lane, database: str, body: bytes, follow: Follow) -> list[bytes]:
        replies: list[bytes] = []
        after: Document | None = None
        try:
            while True:
                reply = await self._exchange(lane, body)
                if is_error(reply) and (error := self._refused(lane, reply)) is not None:
                    await self._back(lane, error)
                    raise error
                replies.append(reply)
                if (after := self._following(lane, follow, reply)) is None:
                    break
                body = encoded(database, after)
        except BaseException:
            if replies:
                self._forget(lane, replies[-1], database, after)
            raise
        self._lanes.give(lane)
        return replies

    def _refused(self, lane: Lane, reply: bytes) -> PyMongoError | None:
        """What a reply says that is wrong; raises AutoReconnect for one that cannot be read, as if none had come."""
        try:
            return refused(reply)
        except BSONError as error:
            self._lanes.drop(lane)
            raise AutoReconnect("the reply is no BSON") from error

    def _following(self, lane: Lane, follow: Follow, reply: bytes) -> Document | None:
        try:
            return follow(reply)
        except BaseException:
            self._lanes.give(lane)
            raise

    def _forget(self, lane: Lane, reply: bytes, database: str, command: Document | None) -> None:
        """Let the driver end the cursor of ``reply``, which nobody reads on: within a second or so."""
        number = cursor_id(reply)
        if number:
            collection = (command or {}).get("collection", "$cmd")
            address = driver._CursorAddress(lane.connection.address, f"{database}.{collection}")
            self._client._close_cursor_soon(number, address)

    # --- writing -------------------------------------------------------------------------------------------------

    async def write(
        self, command: bytes, name: str, statement: bytes, deadline: float, *, numbered: bool
    ) -> Document | None:
        """The server's reply to a writing ``command``, which is BSON and was carried out.

        Its array ``name`` has the members ``statement``; without a ``name`` it has no array, and documents in the reply
        are left as BSON. One that is ``numbered`` is known again by its server.

        None when nothing was sent and the operation has to go the driver's way. Raises what PyMongo would, and
        AutoReconnect or TimeoutError when it is not known whether the write was carried out.
        """
        if not self._lanes.usable:
            return None
        if len(command) + len(statement) > LARGEST_WRITE:
            return None
        array = name.encode() + b"\0" + statement
        sequence = _SEQUENCE + _SIZE.pack(len(array) + 4) + array
        message = _Write(command, sequence, CODEC, numbered) if name else _Write(command, b"", RAW, numbered)
        progress = _Progress()
        try:
            with self._limits.until(deadline):
                lane = self._lanes.free() or await self._lanes.take()
                return None if lane is None else await self._written(lane, message, progress)
        except TimeoutError:
            if progress.sent:
                raise
            if self._client.topology_description.has_writable_server():
                raise WaitQueueTimeoutError("no connection in time") from None
            raise ServerSelectionTimeoutError("no server in time") from None

    async def _written(self, lane: Lane, message: _Write, progress: _Progress) -> Document:
        """The reply to ``message``, under a number by which a server that can do that knows it again."""
        session, retries = None, None
        self._join(lane)
        if message.numbered and lane.knows and lane.session is not None:
            # The write has it to itself until its last answer.
            session, lane.session = lane.session, None
            session.inc_transaction_id()
            message.session = lane.lsid + _TRANSACTION + _LONG.pack(session.transaction_id)
        try:
            progress.sent = True
            while True:
                try:
                    return await self._attempt(lane, message, session)
                except (ConnectionFailure, OperationFailure) as error:
                    retries = retries or WriteRetries(self._client, able=session is not None)
                    await retries.again(error)
                lane = await self._another(retries)
                self._join(lane)
                if session is not None and not lane.knows:
                    self._lanes.give(lane)
                    raise retries.given_up()
        except BaseException as error:
            if session is not None:
                if not isinstance(error, (OperationFailure, NotPrimaryError)):
                    session.mark_dirty()
                self._client._topology.return_server_session(session)
            raise

    async def _attempt(self, lane: Lane, message: _Write, session: Any) -> Document:
        answer = await self._exchange(lane, message.body, message)
        done = carried_out(answer) if message.sequence else None
        try:
            reply = done or bson.decode(answer, message.codec)
            error = None if done else unwritten(reply)
        except BSONError as unreadable:
            self._lanes.drop(lane)
            raise AutoReconnect("the reply is no BSON") from unreadable
        if error is not None:
            await self._back(lane, error)
            raise error
        self._keep(lane, session, message)
        self._lanes.give(lane)
        return reply

    def _keep(self, lane: Lane, session: Any, message: _Write) -> None:
        """Leave the session of a write that is done with the lane, which had it before."""
        if session is None or message.session is None:
            return
        if lane.session is None:
            lane.session, lane.lsid = session, message.session[:-_NUMBER]
        else:
            self._client._topology.return_server_session(session)

    # --- one exchange --------------------------------------------------------------------------------------------

    def _join(self, lane: Lane) -> None:
        """See to it that a lane has a session that its server still knows, if it knows any."""
        connection = lane.connection
        if not connection.supports_sessions:
            return
        minutes = connection.logical_session_timeout_minutes
        session = lane.session
        if session is None or session.timed_out(minutes):
            topology = self._client._topology
            if session is not None:
                topology.return_server_session(session)
            lane.session = session = topology.get_server_session(minutes)
            lane.lsid = bson.encode({"lsid": session.session_id})[4:-1]
        session.last_use = time.monotonic()

    async def _exchange(self, lane: Lane, body: bytes, write: _Write | None = None) -> bytes:
        """The reply to the command ``body``, as BSON. When it raises, the lane is gone and the driver knows why."""
        try:
            connection = lane.connection
            if write is None:
                self._join(lane)
                fields, sequence = lane.lsid + self._gossip(), b""
            else:
                fields, sequence = (write.session or lane.lsid) + self._gossip(), write.sequence
            size = _SIZE.pack(len(body) + len(fields))
            if connection.compression_context is None:
                number = next(self._ids) & 0x7FFFFFFF
                head = _HEADER.pack(21 + len(body) + len(fields) + len(sequence), number, 0, OP_MSG)
                message = b"".join((head, PLAIN, size, body[4:-1], fields, b"\0", sequence))
            else:
                message = b"".join((PLAIN, size, body[4:-1], fields, b"\0", sequence))
                number, message = driver._compress(OP_MSG, message, connection.compression_context)
            if self._silence is None:
                reply = await lane.wire.ask(number, message)
            else:
                reply = await self._limited(lane.wire, number, message)
            lane.used = time.monotonic()
            if (told := cluster_time(reply, self._stamp)) is not None:
                await self._client._topology.receive_cluster_time(told)
            return reply
        except (OSError, PyMongoError, AttributeError, TypeError) as error:
            if isinstance(error, (AttributeError, TypeError)):
                self._lanes.give_up(error)
            lost = error if isinstance(error, PyMongoError) else AutoReconnect(type(error).__name__)
            await self._lanes.end(lane, because=lost)
            raise lost from error
        except BaseException:
            self._lanes.drop(lane)
            raise

    async def _limited(self, wire: Wire, number: int, message: bytes) -> bytes:
        """The answer to ``message``, if it comes within the URI's ``socketTimeoutMS``."""
        try:
            async with asyncio.timeout(self._silence):
                return await wire.ask(number, message)
        except TimeoutError as error:
            raise NetworkTimeout("timed out") from error

    async def _back(self, lane: Lane, error: PyMongoError) -> None:
        """A lane whose server refused something: it is kept, unless the server is no longer the one to ask."""
        code = error.code if isinstance(error, OperationFailure) else None
        if isinstance(error, NotPrimaryError) or code in NOT_PRIMARY:
            await self._lanes.end(lane, close=False, because=error)
        else:
            self._lanes.give(lane)

    def _gossip(self) -> bytes:
        """The newest cluster time that anybody told, as a field of a command."""
        newest = self._client._topology.max_cluster_time()
        if newest is not self._time:
            self._time, self._stamp = newest, stamp(newest)
            self._time_field = bson.encode({"$clusterTime": newest})[4:-1] if newest else b""
        return self._time_field


def encoded(database: str, command: Document) -> bytes:
    """``command`` for ``database`` as BSON."""
    return bson.encode({**command, "$db": database}, codec_options=CODEC)


def extended(command: bytes, fields: Document) -> bytes:
    """A ``command`` that is BSON, with ``fields`` behind its own."""
    more = bson.encode(fields, codec_options=CODEC)
    return b"".join((_SIZE.pack(len(command) + len(more) - 5), command[4:-1], more[4:]))
