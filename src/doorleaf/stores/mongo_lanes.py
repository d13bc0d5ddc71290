"""A short way for reads: connections of PyMongo's pool, kept at hand and spoken to directly.

PyMongo's asynchronous client spends most of a small read on sessions, locks and tasks around it. A lane is one of its
pooled connections (made, secured and authenticated by the driver), checked out once and used for many reads. Whatever
is out of the ordinary goes the driver's own way: another read preference, a busy pool, a broken connection, a primary
that has stepped down. Every change in the driver's picture of the deployment hands all lanes back.

Lanes use parts of PyMongo that it does not promise to keep. They are therefore only there in the versions that the
tests ran with, and the first sign of a difference turns them off; nothing but speed depends on them.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from struct import Struct
from typing import Any

import bson
import pymongo
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.errors import AutoReconnect, PyMongoError, ServerSelectionTimeoutError
from pymongo.server_selectors import writable_server_selector

from doorleaf.documents import CODEC, Document

LOG = logging.getLogger("doorleaf.stores")
TESTED = ((4, 20),)
"""Minor versions of PyMongo whose insides are known."""

_HEADER = Struct("<iiiiIB")
_OP_MSG = 2013
_OPENING = 2
_CLOSING = 2.0
_BODY = 5  # flags and section kind come before a message's document

Follow = Callable[[bytes], Document | None]
"""Given a reply, the command that must come next on the same connection, or None."""


@dataclass(slots=True, eq=False)
class Lane:
    """One connection: PyMongo's checkout, to give it back by; and the picture of the deployment it was made under."""

    checkout: Any
    connection: Any
    picture: Any


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
        )

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

    async def _exchange(self, lane: Lane, body: bytes) -> bytes:
        number = next(self._ids) & 0x7FFFFFFF
        protocol = lane.connection.conn.get_conn
        await protocol.write(_HEADER.pack(len(body) + 21, number, 0, _OP_MSG, 0, 0) + body)
        data, _ = await protocol.read(number, lane.connection.max_message_size)
        return bytes(data[_BODY:])

    # --- taking and giving ---------------------------------------------------------------------------------------

    async def _lane(self) -> Lane | None:
        """A lane that is free, or the next to become so; None when all that may be are busy."""
        picture = self._client.topology_description
        if picture is not self._picture:
            self._picture = picture
            await self.hand_back()
        if self._free:
            return self._free.pop()
        if self._held >= self._most and not self._opening:
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
                lane = Lane(checkout, await checkout.__aenter__(), self._picture)
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

    async def _end(self, lane: Lane, *, close: bool = True) -> None:
        """Give the connection back to the pool, closed if nothing more can be read from it."""
        self._held -= 1
        if close:
            await lane.connection.close_conn(None)
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
            "PyMongo %s differs from the versions known here (%s): reads go its own way", pymongo.version, error
        )


def _encoded(database: str, command: Document) -> bytes:
    return bson.encode({**command, "$db": database}, codec_options=CODEC)
