"""A short way to MongoDB: connections of PyMongo's pool, kept at hand and spoken to directly.

PyMongo's asynchronous client spends most of a small operation on sessions, locks and tasks around it. A lane is one of
its pooled connections (made, secured and authenticated by the driver), checked out once and used for many operations.
Whatever is out of the ordinary goes the driver's own way: another read preference, a busy pool, and for reads a broken
connection or a primary that has stepped down. Every change in the driver's picture of the deployment hands all lanes
back.

A write may have been carried out when its connection breaks, so it is never handed on to the driver's way. It is
retried as MongoDB's specification of retryable writes says: once, under the same session and number, by which the
server knows it again; and not at all where the server or the URI has no such retries. The session is one of the
driver's, which the write has to itself until its last answer.

Lanes use parts of PyMongo that it does not promise to keep. They are therefore only there in the versions that the
tests ran with, and the first sign of a difference turns them off; nothing but speed depends on them.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from struct import Struct
from typing import Any

import bson
import pymongo
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.errors import AutoReconnect, NotPrimaryError, PyMongoError, ServerSelectionTimeoutError
from pymongo.server_selectors import writable_server_selector

from doorleaf.documents import CODEC, Document
from doorleaf.stores.mongo.replies import NOT_PRIMARY

LOG = logging.getLogger("doorleaf.stores")
TESTED = ((4, 20),)
"""Minor versions of PyMongo whose insides are known."""

_HEADER = Struct("<iiiiIB")
_SIZE = Struct("<i")
_OP_MSG = 2013
_OPENING = 2
_LARGEST_WRITE = 1024 * 1024
_CLOSING = 2.0
_BODY = 5  # flags and section kind come before a message's document
_SEQUENCE = b"\x01"
_REPEATABLE = "RetryableWriteError"
_NOT_BEGUN = frozenset({"SystemOverloadedError", "RetryableError"})
_SAYS_LITTLE = frozenset({"SystemOverloadedError", "NoWritesPerformed"})
"""Labels of an answer to a second attempt that leave open what became of the first."""

Follow = Callable[[bytes], Document | None]
"""Given a reply, the command that must come next on the same connection, or None."""


@dataclass(slots=True, eq=False)
class Lane:
    """One connection: PyMongo's checkout, to give it back by; the picture of the deployment it was made under; and
    whether its server knows a write that comes again."""

    checkout: Any
    connection: Any
    picture: Any
    knows: bool


class Lanes:
    """The lanes of one client; ``most`` bounds how many of its connections they may hold."""

    def __init__(self, client: AsyncMongoClient[Document], most: float) -> None:
        self._client: Any = client
        self._most = most
        self._free: list[Lane] = []
        self._held = 0
        self._opening = 0
        self._waiting: deque[asyncio.Future[Lane | None]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._picture: Any = None
        self._ids = itertools.count(1)
        self._usable = (
            pymongo.version_tuple[:2] in TESTED
            and client.read_preference == ReadPreference.PRIMARY
            and not client.read_concern.document
            and client.options.pool_options.server_api is None
            and not client.options.pool_options.load_balanced
            and getattr(client.options.pool_options._credentials, "mechanism", "") != "MONGODB-OIDC"
        )
        self._retries = client.options.retry_writes

    async def run(self, database: str, command: Document, follow: Follow | None = None) -> list[bytes] | None:
        """The server's replies to a reading ``command`` and what ``follow`` says comes after it, as BSON; None when
        the operation has to go the driver's way."""
        if not self._usable:
            return None
        body = _encoded(database, command)
        lane = await self._lane()
        if lane is None:
            return None
        try:
            replies = [await self._exchange(lane, body)]
            while follow is not None and (after := follow(replies[-1])) is not None:
                replies.append(await self._exchange(lane, _encoded(database, after)))
        except (OSError, AutoReconnect):
            await self._end(lane)
            return None
        except (AttributeError, TypeError) as error:
            await self._end(lane)
            self._give_up(error)
            return None
        except BaseException:
            # Cancelled in the middle of an answer: nobody may read the rest of it.
            self._later(self._end(lane))
            raise
        self._give(lane)
        return replies

    # --- writing -------------------------------------------------------------------------------------------------

    async def write(self, database: str, command: Document, name: str, statement: bytes) -> Document | None:
        """The server's reply to a writing ``command``, whose array ``name`` has one member, ``statement``.

        None when nothing was written and the operation has to go the driver's way. Raises AutoReconnect when it is not
        known whether the write was carried out, and ServerSelectionTimeoutError when there is no server to ask.
        """
        if not self._usable:
            return None
        body = _encoded(database, command)
        if len(body) + len(statement) > _LARGEST_WRITE:
            return None  # the driver's part of the time is small, and it knows what is too large
        array = name.encode() + b"\0" + statement
        sequence = _SEQUENCE + _SIZE.pack(len(array) + 4) + array
        lane = await self._lane()
        if lane is None:
            return None
        if not lane.knows:
            return await self._sent(lane, body + sequence)
        session = self._session(lane)
        if session is None:
            return None
        numbered = _joined(body, bson.encode({"lsid": session.session_id, "txnNumber": session.transaction_id}))
        try:
            return await self._retried(lane, numbered + sequence, session)
        except BaseException:
            session.mark_dirty()
            raise
        finally:
            self._client._topology.return_server_session(session)

    def _session(self, lane: Lane) -> Any:
        """One of the driver's sessions with the number of the next write; None, the lane given back, if unknown."""
        try:
            session = self._client._topology.get_server_session(lane.connection.logical_session_timeout_minutes)
            session.inc_transaction_id()
            session.last_use = time.monotonic()
        except (AttributeError, TypeError) as error:
            self._give(lane)
            self._give_up(error)
            return None
        return session

    async def _retried(self, lane: Lane, message: bytes, session: Any) -> Document | None:
        """The reply to a write that its server knows again, or None as for :meth:`write`. What became of the first
        attempt is the answer, or raised, where the second cannot tell."""
        try:
            reply = await self._sent(lane, message)
        except AutoReconnect:
            session.mark_dirty()
            if (again := await self._sent_again(message)) is None:
                raise
            return again
        if _labels(reply) >= _NOT_BEGUN:
            return None  # an overloaded server; the driver knows how long to wait before it asks again
        if _REPEATABLE in _labels(reply):
            return await self._sent_again(message) or reply
        return reply

    async def _sent_again(self, message: bytes) -> Document | None:
        """The reply to a write sent once more, on whatever lane is free first; None when it was not, or in vain."""
        try:
            lane = await self._lane(patient=True) if self._usable else None
        except ServerSelectionTimeoutError:
            return None
        if lane is None:
            return None
        if not lane.knows:
            self._give(lane)
            return None
        reply = await self._sent(lane, message)
        return None if _labels(reply) & _SAYS_LITTLE else reply

    async def _sent(self, lane: Lane, message: bytes) -> Document:
        """The reply to a write; raises AutoReconnect when there is none. The lane is given back or ended."""
        try:
            reply = bson.decode(await self._exchange(lane, message), CODEC)
        except (OSError, AutoReconnect, AttributeError, TypeError) as error:
            if isinstance(error, (AttributeError, TypeError)):
                self._give_up(error)
            lost = error if isinstance(error, AutoReconnect) else AutoReconnect(type(error).__name__)
            await self._end(lane, because=lost)
            raise lost from error
        except BaseException:
            self._later(self._end(lane))
            raise
        refusal = reply if reply.get("ok") != 1 else reply.get("writeConcernError", {})
        if refusal.get("code") in NOT_PRIMARY:
            await self._end(lane, close=False, because=NotPrimaryError(str(refusal.get("errmsg", "")), refusal))
        else:
            self._give(lane)
        return reply

    async def _exchange(self, lane: Lane, body: bytes) -> bytes:
        number = next(self._ids) & 0x7FFFFFFF
        protocol = lane.connection.conn.get_conn
        await protocol.write(_HEADER.pack(len(body) + 21, number, 0, _OP_MSG, 0, 0) + body)
        data, _ = await protocol.read(number, lane.connection.max_message_size)
        return bytes(data[_BODY:])

    # --- taking and giving ---------------------------------------------------------------------------------------

    async def _lane(self, *, patient: bool = False) -> Lane | None:
        """A lane that is free, or the next to become so; None when all that may be are busy, unless ``patient``."""
        picture = self._client.topology_description
        if picture is not self._picture:
            self._picture = picture
            await self.hand_back()
        if self._free:
            return self._free.pop()
        if self._held >= self._most and not self._opening and not patient:
            return None
        turn: asyncio.Future[Lane | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._grow()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None and (lane := turn.result()):
                self._give(lane)
            raise

    def _give(self, lane: Lane) -> None:
        """Hand a lane to whoever waits longest, or keep it; one from before a change goes back to the pool."""
        if lane.picture is not self._picture:
            self._later(self._end(lane, close=False))
            return
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(lane)
                return
        self._free.append(lane)

    def _grow(self) -> None:
        """Open lanes for those who wait, a few at a time, as the pool does: whoever finishes first serves them."""
        while self._opening < min(_OPENING, len(self._waiting)) and self._held < self._most:
            self._opening += 1
            self._held += 1
            self._later(self._open())

    async def _open(self) -> None:
        lane: Lane | None = None
        failure: ServerSelectionTimeoutError | None = None
        try:
            server = await self._client._select_server(writable_server_selector, None, "find")
            if server.description.is_writable:
                checkout = self._client._checkout(server, None)
                connection = await checkout.__aenter__()
                knows = server.description.retryable_writes_supported and connection.supports_sessions
                lane = Lane(checkout, connection, self._picture, self._retries and knows)
        except ServerSelectionTimeoutError as error:
            failure = error
        except (OSError, PyMongoError):
            pass  # the driver's own way meets the same error, and says it
        except (AttributeError, TypeError) as error:
            self._give_up(error)
        finally:
            self._opening -= 1
        if lane is not None:
            self._give(lane)
            self._grow()
            return
        self._held -= 1
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                if failure is not None:
                    turn.set_exception(failure)
                else:
                    turn.set_result(None)

    async def _end(self, lane: Lane, *, close: bool = True, because: PyMongoError | None = None) -> None:
        """Give the connection back to the pool, closed if nothing more can be read from it.

        The driver, told ``because`` of what, thinks of the server accordingly.
        """
        self._held -= 1
        try:
            if close:
                await lane.connection.close_conn(None)
            if because is not None:
                await lane.checkout.handle(type(because), because)
        finally:
            # Whoever is cancelled meanwhile leaves no connection behind that the pool would wait for.
            await lane.checkout.__aexit__(None, None, None)
            self._grow()

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def hand_back(self) -> None:
        """Give every lane that is free back to the pool."""
        while self._free:
            await self._end(self._free.pop(), close=False)

    async def renew(self) -> None:
        """After an answer that shows a lane's server to have changed its role: all lanes go back."""
        self._picture = None
        await self.hand_back()

    async def close(self) -> None:
        """Give everything back; those who wait go the driver's way, which is closing too."""
        self._usable = False
        await self.renew()
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_CLOSING)

    def _give_up(self, error: Exception) -> None:
        self._usable = False
        LOG.warning(
            "PyMongo %s differs from the versions known here (%s): all goes its own way", pymongo.version, error
        )


def _encoded(database: str, command: Document) -> bytes:
    return bson.encode({**command, "$db": database}, codec_options=CODEC)


def _joined(one: bytes, other: bytes) -> bytes:
    """A BSON document with the fields of both."""
    return _SIZE.pack(len(one) + len(other) - 5) + one[4:-1] + other[4:]


def _labels(reply: Document) -> frozenset[str]:
    return frozenset(reply.get("errorLabels", ()))
