"""The short way to MongoDB: commands sent on lanes, one exchange each, with all that PyMongo would send and heed.

A command carries a session and the newest cluster time; an answer brings the server's. A connection that breaks, and a
server that is not the one to ask, are told to the driver. What is worth it is sent again as
:mod:`doorleaf.stores.mongo.lanes.retries` says.

A write may have been carried out when its connection breaks, so it is never handed on to the driver's way: it is sent
again under the same session and number, by which the server knows it, and not at all where the server or the URI has no
such retries.

Most operations find a free lane and get a reply as most are: that is one message and the one that answers it. What is
different (no lane is free, an error, a cursor with more batches) goes on in ``_read`` and ``_write``.
"""

from __future__ import annotations

import asyncio
import itertools
import math
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
from doorleaf.ejson.transcoder import encode
from doorleaf.stores.mongo.arguments import RAW
from doorleaf.stores.mongo.codes import NOT_PRIMARY
from doorleaf.stores.mongo.errors import MALFORMED
from doorleaf.stores.mongo.lanes.connections import Lane, Lanes
from doorleaf.stores.mongo.lanes.replies import (
    Counts,
    batch,
    carried_out,
    cluster_time,
    cursor_id,
    is_error,
    refused,
    stamp,
    unwritten,
    whole,
)
from doorleaf.stores.mongo.lanes.retries import ReadRetries, Retries, WriteRetries
from doorleaf.stores.mongo.lanes.wire import OP_MSG, PLAIN, Answer, Reply
from doorleaf.stores.mongo.limits import Limits

_HEAD = Struct("<iiii5si")
_SIZE = Struct("<i")
_LONG = Struct("<q")
_BEFORE = 16
_LARGEST_NUMBER = 0x7FFFFFFF
LARGEST_WRITE = 1024 * 1024
"""Bytes of a command beyond which the driver's part of the time is small; and it knows what is too large."""

_SEQUENCE = b"\x01"
_ENDS_EXCHANGE = (OSError, PyMongoError, AttributeError, TypeError)
_TRANSACTION = b"\x12txnNumber\x00"

Follow = Callable[[bytes, int], Document | None]
"""Given the documents of a batch and the id of its cursor, the command that must come next on the same connection, or
None. What it raises ends the read."""


@dataclass(slots=True)
class _Reading:
    """A reading command by its fields, the database that they name, whose turn it is, whether a cursor answers it, and
    what makes a :data:`Follow` for each attempt; without one a cursor has one batch."""

    fields: bytes
    database: str
    caller: str
    cursor: bool
    following: Callable[[], Follow] | None = None


@dataclass(slots=True)
class _Writing:
    """A writing command by its fields, the sequence of documents beside it, whose turn it is, and how its reply is
    decoded; and where its server knows it again, the session that it has to itself until its last answer, and the
    fields of that."""

    fields: bytes
    sequence: bytes
    caller: str
    codec: CodecOptions[Any]
    session: Any = None
    lsid: bytes = b""
    number: bytes = b""


class ShortWay:
    """Runs commands on ``lanes``. What is called fields is BSON without the size before it and the NUL behind it."""

    def __init__(self, client: AsyncMongoClient[Document], lanes: Lanes, limits: Limits) -> None:
        self._client: Any = client
        self._limits = limits
        self._lanes = lanes
        self._ids = itertools.count(1)
        self._silence: float | None = client.options.pool_options.socket_timeout
        self._time: Document | None = None
        self._stamp = 0
        self._time_field = b""
        self.acknowledged: bool = client.write_concern.acknowledged
        self.concern: Document = client.write_concern.document
        """What the URI asks of writes."""

    # --- reading -------------------------------------------------------------------------------------------------

    async def documents(
        self,
        fields: bytes,
        database: str,
        deadline: float,
        following: Callable[[], Follow] | None,
        caller: str,
    ) -> list[bytes] | None:
        """The batches of documents, as BSON end to end, that answer the reading command with ``fields``.

        Its fields name the ``database``. What ``following`` makes says which command comes after a batch. ``deadline``
        is a time of the loop's, at which TimeoutError is raised. It is the turn of ``caller``.

        None when nothing was sent and the operation has to go the driver's way. Raises what PyMongo would.
        """
        lane, answer, failed = self._lanes.free(), None, None
        if lane is not None:
            try:
                answer = await self._ask(lane, fields, lane.lsid, b"", deadline)
                if type(answer) is Reply:
                    self._hear(answer)
                    documents = whole(answer.bson)
                    answer = answer if documents is None else documents
            except BaseException as error:
                failed = await self._lost(lane, error)
            if isinstance(answer, bytes):
                self._lanes.give(lane)
                return [answer]
        reading = _Reading(fields, database, caller, True, following)
        return await self._read(reading, deadline, lane, answer, failed)  # type: ignore[return-value]

    async def reply(self, database: str, command: Document, deadline: float, caller: str) -> Document | None:
        """The reply to a reading ``command`` that no cursor answers. Returns None and raises as :meth:`documents`."""
        reading = _Reading(encoded(database, command), database, caller, cursor=False)
        answers = await self._read(reading, deadline)
        if answers is None:
            return None
        (answer,) = answers
        if type(answer) is Reply:
            return bson.decode(answer.bson, CODEC)
        return {"n": answer[0]} if type(answer) is tuple else {}

    async def _read(
        self,
        reading: _Reading,
        deadline: float,
        lane: Lane | None = None,
        answer: Answer | None = None,
        failed: PyMongoError | None = None,
    ) -> list[Answer] | None:
        """The answers to a command, batches of documents where they are a cursor's.

        Its first attempt may have come to an ``answer`` on ``lane``, or ``failed``.
        """
        with self._limits.until(deadline):
            retries: ReadRetries | None = None
            while True:
                if failed is not None:
                    retries = retries or ReadRetries(self._client)
                    await retries.again(failed)
                    lane, answer = await self._another(retries, reading.caller), None
                elif lane is None and (lane := await self._lanes.take(reading.caller)) is None:
                    return None
                try:
                    return await self._conversation(lane, reading, answer)
                except (ConnectionFailure, OperationFailure) as error:
                    failed = error

    async def _another(self, retries: Retries, caller: str) -> Lane:
        """A lane for a further attempt; raises what the attempts so far have come to when there is none."""
        try:
            lane = await self._lanes.take(caller, patient=True)
        except ServerSelectionTimeoutError:
            lane = None
        if lane is None:
            raise retries.given_up()
        return lane

    async def _conversation(self, lane: Lane, reading: _Reading, answer: Answer | None) -> list[Answer]:
        """The answers to a command and to those that follow it; the first may be there."""
        found: list[Answer] = []
        follow = reading.following and reading.following()
        fields, more, after = reading.fields, 0, None
        try:
            while True:
                if answer is None:
                    answer = await self._exchange(lane, fields)
                if type(answer) is Reply and (error := self._refused(lane, answer.bson)) is not None:
                    await self._back(lane, error)
                    raise error
                if not reading.cursor:
                    found.append(answer)
                    break
                documents, more = self._batch(lane, answer)
                found.append(documents)
                after = follow and self._following(lane, follow, documents, more)
                if after is None:
                    break
                fields, answer = encoded(reading.database, after), None
        except BaseException:
            if more:
                self._forget(lane, more, reading.database, after)
            raise
        self._lanes.give(lane)
        return found

    def _refused(self, lane: Lane, reply: bytes) -> PyMongoError | None:
        """What a reply says that is wrong; raises AutoReconnect for one that cannot be read, as if none had come."""
        if not is_error(reply):
            return None
        try:
            return refused(reply)
        except MALFORMED as error:
            raise self._unreadable(lane) from error

    def _batch(self, lane: Lane, answer: Answer) -> tuple[bytes, int]:
        """The documents of a cursor's batch, and its id; raises AutoReconnect for what is no cursor."""
        if type(answer) is bytes:
            return answer, 0
        try:
            if type(answer) is Reply:
                return batch(answer.bson), cursor_id(answer.bson)
        except PyMongoError:
            self._lanes.give(lane)
            raise
        except MALFORMED as error:
            raise self._unreadable(lane) from error
        raise self._unreadable(lane)

    def _unreadable(self, lane: Lane) -> AutoReconnect:
        """What to raise for a reply that nobody can read: as if none had come, and the lane is gone."""
        self._lanes.drop(lane)
        return AutoReconnect("the reply is of no form that MongoDB's have")

    def _following(self, lane: Lane, follow: Follow, documents: bytes, more: int) -> Document | None:
        try:
            return follow(documents, more)
        except BaseException:
            self._lanes.give(lane)
            raise

    def _forget(self, lane: Lane, number: int, database: str, command: Document | None) -> None:
        """Let the driver end the cursor with this id, which nobody reads on: within a second or so."""
        collection = (command or {}).get("collection", "$cmd")
        address = driver._CursorAddress(lane.connection.address, f"{database}.{collection}")
        self._client._close_cursor_soon(number, address)

    # --- writing -------------------------------------------------------------------------------------------------

    async def write(
        self, fields: bytes, array: bytes, statement: bytes, deadline: float, caller: str, *, numbered: bool
    ) -> Counts | Document | None:
        """Run a writing command, and return what the server says of it: mostly its counts alone.

        Its array, whose name and NUL are ``array``, has the members ``statement``; where there is none, documents in
        the reply are left as BSON. It is the turn of ``caller``. A command that is ``numbered`` is known again by its
        server.

        None when nothing was sent and the operation has to go the driver's way. Raises what PyMongo would, and
        AutoReconnect or TimeoutError when it is not known whether the write was carried out.
        """
        if len(fields) + len(statement) > LARGEST_WRITE:
            return None
        size = _SIZE.pack(len(array) + len(statement) + 4)
        sequence = b"".join((_SEQUENCE, size, array, statement)) if array else b""
        lane, answer, failed = self._lanes.free(), None, None
        writing: _Writing | None = None
        if lane is not None:
            session, number = lane.session, b""
            if numbered and lane.knows:
                session._transaction_id += 1
                number = _TRANSACTION + _LONG.pack(session._transaction_id)
            try:
                answer = await self._ask(lane, fields, lane.lsid + number, sequence, deadline)
                if type(answer) is Reply:
                    self._hear(answer)
                    answer = carried_out(answer.bson) or answer
            except BaseException as error:
                writing = self._begun(lane, fields, sequence, caller, number)
                failed = await self._lost(lane, error)
            if isinstance(answer, tuple):
                self._lanes.give(lane)
                return answer
            writing = writing or self._begun(lane, fields, sequence, caller, number)
        writing = writing or _Writing(fields, sequence, caller, CODEC if sequence else RAW)
        return await self._write(writing, deadline, lane, answer, failed, numbered=numbered)

    def _begun(self, lane: Lane, fields: bytes, sequence: bytes, caller: str, number: bytes) -> _Writing:
        """A write that was sent on ``lane``; one with a ``number`` has the lane's session to itself from here on."""
        writing = _Writing(fields, sequence, caller, CODEC if sequence else RAW)
        if number:
            writing.session, writing.lsid, writing.number = self._lanes.part(lane), lane.lsid, number
        return writing

    async def _write(
        self,
        writing: _Writing,
        deadline: float,
        lane: Lane | None,
        answer: Answer | None,
        failed: PyMongoError | None,
        *,
        numbered: bool,
    ) -> Counts | Document | None:
        """What the server says of a write, whose first attempt may have come to an ``answer``, or ``failed``."""
        sent = lane is not None
        try:
            with self._limits.until(deadline):
                if lane is None:
                    if (lane := await self._lanes.take(writing.caller)) is None:
                        return None
                    self._lanes.join(lane)
                    if numbered and lane.knows and lane.session is not None:
                        lane.session._transaction_id += 1
                        number = _TRANSACTION + _LONG.pack(lane.session._transaction_id)
                        writing = self._begun(lane, writing.fields, writing.sequence, writing.caller, number)
                sent = True
                return await self._written(lane, writing, answer, failed)
        except TimeoutError:
            if sent:
                raise
            if self._client.topology_description.has_writable_server():
                raise WaitQueueTimeoutError("no connection in time") from None
            raise ServerSelectionTimeoutError("no server in time") from None

    async def _written(
        self, lane: Lane, writing: _Writing, answer: Answer | None, failed: PyMongoError | None
    ) -> Counts | Document:
        """Repeat a write until it is carried out, as often as that is worth it."""
        session = writing.session
        retries: WriteRetries | None = None
        try:
            while True:
                if failed is not None:
                    retries = retries or WriteRetries(self._client, able=session is not None)
                    await retries.again(failed)
                    lane, answer = await self._another(retries, writing.caller), None
                    if session is not None and not lane.knows:
                        self._lanes.give(lane)
                        raise retries.given_up()
                try:
                    return await self._attempt(lane, writing, answer)
                except (ConnectionFailure, OperationFailure) as error:
                    failed = error
        except BaseException as error:
            if session is not None:
                if not isinstance(error, (OperationFailure, NotPrimaryError)):
                    session.mark_dirty()
                self._client._topology.return_server_session(session)
            raise

    async def _attempt(self, lane: Lane, writing: _Writing, answer: Answer | None) -> Counts | Document:
        if answer is None:
            answer = await self._exchange(lane, writing.fields, writing)
        try:
            reply, error = _told(answer, writing)
        except MALFORMED as unreadable:
            raise self._unreadable(lane) from unreadable
        if error is not None:
            await self._back(lane, error)
            raise error
        if writing.session is not None:
            self._lanes.keep(lane, writing.session, writing.lsid)
        self._lanes.give(lane)
        return reply

    # --- one exchange --------------------------------------------------------------------------------------------

    def _ask(
        self, lane: Lane, fields: bytes, session: bytes, sequence: bytes, deadline: float = math.inf
    ) -> asyncio.Future[Answer]:
        """Send a command with the fields of its ``session``, and a ``sequence`` of documents beside it."""
        if self._lanes.topology._max_cluster_time is not self._time:
            self._gossip()
        told = self._time_field
        size = 5 + len(fields) + len(session) + len(told)
        number = next(self._ids) & _LARGEST_NUMBER
        head = _HEAD.pack(_HEAD.size - 4 + size + len(sequence), number, 0, OP_MSG, PLAIN, size)
        message = b"".join((head, fields, session, told, b"\0", sequence))
        if lane.compression is not None:
            number, message = driver._compress(OP_MSG, message[_BEFORE:], lane.compression)
        return lane.wire.ask(number, message, self._stamp, deadline)

    async def _exchange(self, lane: Lane, fields: bytes, writing: _Writing | None = None) -> Answer:
        """The answer to a command. When it raises, the lane is gone and the driver knows why."""
        try:
            if writing is None or writing.session is None:
                self._lanes.join(lane)
                session = lane.lsid
            else:
                session = writing.lsid + writing.number
            answer = self._ask(lane, fields, session, b"" if writing is None else writing.sequence)
            reply = await (answer if self._silence is None else self._limited(answer))
            if type(reply) is Reply:
                self._hear(reply)
            return reply
        except BaseException as error:
            raise await self._lost(lane, error) from error

    async def _limited(self, answer: asyncio.Future[Answer]) -> Answer:
        """An answer, if it comes within the URI's ``socketTimeoutMS``."""
        try:
            async with asyncio.timeout(self._silence):
                return await answer
        except TimeoutError as error:
            raise NetworkTimeout("timed out") from error

    def _hear(self, reply: Reply) -> None:
        """Tell the driver the cluster time of a reply, if it is a later one; what is no time tells nothing."""
        try:
            told = cluster_time(reply.bson, self._stamp)
            later = stamp(told) > self._stamp
        except MALFORMED:
            return
        if later:
            self._client._topology._receive_cluster_time_no_lock(told)

    async def _lost(self, lane: Lane, error: BaseException) -> PyMongoError:
        """What the driver, which is told, calls the ``error`` that ended an exchange; it may be worth another attempt.

        Raises what ends the operation. The lane is gone in any case.
        """
        if not isinstance(error, _ENDS_EXCHANGE) or isinstance(error, TimeoutError):
            self._lanes.drop(lane)
            raise error
        if isinstance(error, (AttributeError, TypeError)):
            self._lanes.give_up(error)
        lost = error if isinstance(error, PyMongoError) else AutoReconnect(type(error).__name__)
        await self._lanes.end(lane, because=lost)
        if not isinstance(lost, ConnectionFailure):
            raise lost
        return lost

    async def _back(self, lane: Lane, error: PyMongoError) -> None:
        """A lane whose server refused something: it is kept, unless the server is no longer the one to ask."""
        code = error.code if isinstance(error, OperationFailure) else None
        if isinstance(error, NotPrimaryError) or code in NOT_PRIMARY:
            await self._lanes.end(lane, close=False, because=error)
        else:
            self._lanes.give(lane)

    def _gossip(self) -> None:
        """Note the newest cluster time that anybody told, as a field of every command."""
        newest = self._lanes.topology._max_cluster_time
        self._time, self._stamp = newest, stamp(newest)
        self._time_field = bson.encode({"$clusterTime": newest})[4:-1] if newest else b""


def _told(answer: Answer, writing: _Writing) -> tuple[Counts | Document, PyMongoError | None]:
    """What an answer to a write says, and what PyMongo would raise for it. Raises BSONError when it is none."""
    if isinstance(answer, tuple):
        return answer, None
    if isinstance(answer, bytes):
        raise BSONError("a cursor's reply")
    counts = carried_out(answer.bson) if writing.sequence else None
    if counts is not None:
        return counts, None
    reply = bson.decode(answer.bson, writing.codec)
    return reply, unwritten(reply)


def encoded(database: str, command: Document) -> bytes:
    """The fields of ``command`` for ``database``."""
    return encode({**command, "$db": database})[4:-1]
