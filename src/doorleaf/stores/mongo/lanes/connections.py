"""Lanes: connections of PyMongo's pool, kept at hand and spoken to directly.

PyMongo's asynchronous client spends most of a small operation on sessions, locks and tasks around it. A lane is one of
its pooled connections (made, secured and authenticated by the driver), checked out once and used for many operations;
:mod:`doorleaf.stores.mongo.lanes.commands` speaks on it. Every change in the driver's picture of the deployment hands
all lanes back, and a connection that was silent for ``maxIdleTimeMS`` or that the server closed is not used again.

Lanes use parts of PyMongo that it does not promise to keep. They are therefore only there in the versions that the
tests ran with, and the first sign of a difference turns them off; nothing but speed depends on them.
"""

from __future__ import annotations

import asyncio
import logging
import math
from bisect import insort
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from operator import itemgetter
from time import monotonic
from typing import Any

import bson
import pymongo
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.errors import PyMongoError, ServerSelectionTimeoutError
from pymongo.server_selectors import writable_server_selector

from doorleaf.documents import Document
from doorleaf.stores.mongo.lanes.wire import Wire
from doorleaf.stores.mongo.limits import Limits
from doorleaf.stores.mongo.places import Places

LOG = logging.getLogger("doorleaf.stores")
TESTED = ((4, 20),)
"""Minor versions of PyMongo whose insides are known."""

_NEEDED = ("_select_server", "_checkout", "_close_cursor_soon")
_OPENING = 2
_CLOSING = 2.0

PATIENCE_SECONDS = 1.0
"""How long who is not patient waits for a lane that others give back."""


@dataclass(slots=True, eq=False)
class Lane:
    """One connection: PyMongo's checkout, to give it back by; what speaks on it; the picture of the deployment it was
    made under; whether its server knows a write that comes again; and when it was last used.

    ``session`` is that of what is sent on it, one of the driver's, and ``lsid`` its field of a command as BSON. They
    are ``good`` for so many seconds of silence; for less than none where somebody has to look first.
    """

    checkout: Any
    connection: Any
    wire: Wire
    picture: Any
    knows: bool
    used: float
    compression: Any
    session: Any = None
    lsid: bytes = b""
    good: float = -1.0


def unfit(client: AsyncMongoClient[Document]) -> str:
    """Why a client's operations may not go over lanes, or "": what is out of the ordinary goes the driver's own way."""
    if pymongo.version_tuple[:2] not in TESTED:
        return f"PyMongo {pymongo.version} is not known"
    options = client.options
    pool: Any = options.pool_options
    listeners = pool._event_listeners
    reasons = {
        "the URI has a read preference": client.read_preference != ReadPreference.PRIMARY,
        "the URI has a read concern": bool(client.read_concern.document),
        "the URI has a timeoutMS": options.timeout is not None,
        "the URI names a version of the API": pool.server_api is not None,
        "there is a load balancer": bool(pool.load_balanced),
        "the credentials are tokens": getattr(pool._credentials, "mechanism", "") == "MONGODB-OIDC",
        "somebody listens to commands": listeners is not None and listeners.enabled_for_commands,
        "PyMongo is not what it was": not all(hasattr(client, name) for name in _NEEDED),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


class Lanes:
    """The lanes of one client; ``most`` bounds how many of its connections they may hold, together with what goes
    the driver's own way beside them. With 0 there are none."""

    def __init__(self, client: AsyncMongoClient[Document], most: float, limits: Limits, places: Places) -> None:
        self._client: Any = client
        self._limits = limits
        self._places = places
        self._most = most
        self._free: list[Lane] = []
        self._held = 0
        self._beside = 0
        self._opening = 0
        self._waiting: list[tuple[int, asyncio.Future[Lane | None]]] = []
        """Who waits, behind how many operations of the same caller that are in work."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._picture: Any = None
        self.topology: Any = None
        """The driver's, which the picture is of."""
        self._sweep: asyncio.TimerHandle | None = None
        self._idle: float | None = client.options.pool_options.max_idle_time_seconds
        self._silence: float | None = client.options.pool_options.socket_timeout
        self.reason = unfit(client) if most > 0 else "they are turned off"
        """Why there are no lanes, or ""."""
        self._usable = not self.reason
        if self.reason and most > 0:
            LOG.info("all operations on MongoDB go PyMongo's own way: %s", self.reason)

    @property
    def usable(self) -> bool:
        return self._usable

    def pool(self) -> dict[str, int]:
        """How many lanes are in use, with what goes the driver's own way beside them; how many are idle, and how many
        operations wait for one."""
        idle = len(self._free)
        return {"used": self._held + self._beside - idle, "idle": idle, "waiting": len(self._waiting)}

    @asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        """Within it one operation goes the driver's own way: it gets a lane's connection where there is no other."""
        self._beside += 1
        try:
            if self._free and self._held + self._beside > self._most:
                lane = self._free.pop(0)
                await self.end(lane, close=not self._fresh(lane))
            yield
        finally:
            self._beside -= 1
            self._grow()

    def free(self) -> Lane | None:
        """A lane that is free and as good as it was, its session too; None says nothing: ask :meth:`take`."""
        if self._free and self._usable and self.topology._description is self._picture:
            lane = self._free.pop()
            if monotonic() - lane.used < lane.good and not lane.wire.is_closing():
                return lane
            self._free.append(lane)
        return None

    async def take(self, caller: str, *, patient: bool = False) -> Lane | None:
        """A lane that is free, or the next to become so: those wait behind nobody's many whose ``caller`` has few.

        None when there are as many as may be and none comes back soon, unless ``patient``; and when none can be had:
        the driver's own way meets the same error, and says it. While there may be more, it would have to open one too.
        """
        if not self._usable:
            return None
        picture = self._client.topology_description
        if picture is not self._picture:
            self._picture, self.topology = picture, self._client._topology
            self.hand_back()
        while self._free:
            lane = self._free.pop()
            if self._fresh(lane):
                return lane
            self.drop(lane)
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[Lane | None] = loop.create_future()
        entry = (self._places.held(caller), turn)
        insort(self._waiting, entry, key=itemgetter(0))
        self._grow()
        crowded = not patient and self._held + self._beside >= self._most
        impatient = loop.call_later(PATIENCE_SECONDS, self._let_go, entry) if crowded else None
        try:
            return await turn
        except asyncio.CancelledError:
            if entry in self._waiting:
                self._waiting.remove(entry)
            elif not turn.cancelled() and turn.exception() is None and (lane_ := turn.result()):
                self.give(lane_)
            raise
        finally:
            if impatient is not None:
                impatient.cancel()

    def _let_go(self, entry: tuple[int, asyncio.Future[Lane | None]]) -> None:
        """Let who waits go the driver's own way."""
        if not entry[1].done():
            self._waiting.remove(entry)
            entry[1].set_result(None)

    def _fresh(self, lane: Lane) -> bool:
        """Whether something sent on a lane is likely to arrive: who closes a silent connection may do so unseen."""
        if self._idle is not None and monotonic() - lane.used > self._idle:
            return False
        return not lane.wire.is_closing()

    def join(self, lane: Lane) -> None:
        """See to it that a lane has a session that its server still knows, if it knows any."""
        connection, session = lane.connection, lane.session
        good = math.inf if self._idle is None else self._idle
        if connection.supports_sessions:
            minutes = connection.logical_session_timeout_minutes
            if session is not None:
                session.last_use = max(session.last_use, lane.used)
            if session is None or session.timed_out(minutes):
                if session is not None:
                    self._client._topology.return_server_session(session)
                lane.session = session = self._client._topology.get_server_session(minutes)
                lane.lsid = bson.encode({"lsid": session.session_id})[4:-1]
            session.last_use = monotonic()
            if minutes is not None:
                good = min(good, (minutes - 1) * 60)
        lane.good = good if self._silence is None else -1.0

    def part(self, lane: Lane) -> Any:
        """Take the session of a lane away."""
        session, lane.session, lane.good = lane.session, None, -1.0
        session.last_use = monotonic()
        return session

    def keep(self, lane: Lane, session: Any, lsid: bytes) -> None:
        """Leave a session that was another lane's, or this one's, with a lane that has none."""
        if lane.session is None:
            lane.session, lane.lsid = session, lsid
            self.join(lane)
        else:
            self._client._topology.return_server_session(session)

    def give(self, lane: Lane) -> None:
        """Hand a lane to who waits first, or keep it; one from before a change goes back to the pool."""
        lane.used = monotonic()
        if lane.picture is not self._picture:
            self._later(self.end(lane, close=False))
            return
        while self._waiting:
            _, turn = self._waiting.pop(0)
            if not turn.done():
                turn.set_result(lane)
                return
        self._free.append(lane)
        if self._sweep is None and self._idle is not None:
            self._sweep = asyncio.get_running_loop().call_later(self._idle, self._swept)

    def _swept(self) -> None:
        """Close the lanes that nobody used for so long that nobody may."""
        self._sweep = None
        stale = [lane for lane in self._free if not self._fresh(lane)]
        self._free = [lane for lane in self._free if lane not in stale]
        for lane in stale:
            self.drop(lane)
        if self._free and self._idle is not None:
            self._sweep = asyncio.get_running_loop().call_later(self._idle, self._swept)

    def _grow(self) -> None:
        """Open lanes for those who wait, a few at a time, as the pool does: whoever finishes first serves them."""
        while self._opening < min(_OPENING, len(self._waiting)) and self._held + self._beside < self._most:
            self._opening += 1
            self._held += 1
            self._later(self._open())

    async def _open(self) -> None:
        lane: Lane | None = None
        failure: ServerSelectionTimeoutError | None = None
        try:
            server = await self._client._select_server(writable_server_selector, None, "find")
            # What a mongodb+srv address says about itself is known from here on.
            self.reason = self.reason or unfit(self._client)
            self._usable = self._usable and not self.reason
            if server.description.is_writable and self._usable:
                checkout = self._client._checkout(server, None)
                connection = await checkout.__aenter__()
                knows = server.description.retryable_writes_supported and connection.supports_sessions
                knows = knows and self._client.options.retry_writes
                try:
                    wire, compression = Wire(connection, self._limits), connection.compression_context
                except BaseException:
                    await checkout.__aexit__(None, None, None)
                    raise
                lane = Lane(checkout, connection, wire, self._picture, knows, monotonic(), compression)
        except ServerSelectionTimeoutError as error:
            failure = error
        except (OSError, PyMongoError):
            pass
        except (AttributeError, TypeError) as error:
            self.give_up(error)
        finally:
            self._opening -= 1
        if lane is not None:
            if self._waiting or self._held + self._beside <= self._most:
                self.give(lane)
            else:  # who it was opened for has another by now
                await self.end(lane, close=False)
            self._grow()
            return
        self._held -= 1
        while self._waiting:
            _, turn = self._waiting.pop(0)
            if not turn.done():
                if failure is not None:
                    turn.set_exception(failure)
                else:
                    turn.set_result(None)

    async def end(self, lane: Lane, *, close: bool = True, because: PyMongoError | None = None) -> None:
        """Give the connection back to the pool, closed if nothing more can be read from it.

        The driver, told ``because`` of what, thinks of the server accordingly.
        """
        self._held -= 1
        lane.wire.release()
        try:
            if close:
                await lane.connection.close_conn(None)
            if because is not None:
                await lane.checkout.handle(type(because), because)
        finally:
            session, lane.session = lane.session, None
            if session is not None:
                session.last_use = max(session.last_use, lane.used)
                if close:
                    session.mark_dirty()  # what is under way in it may go on at the server
                self._client._topology.return_server_session(session)
            # Whoever is cancelled meanwhile leaves no connection behind that the pool would wait for.
            await lane.checkout.__aexit__(None, None, None)
            self._grow()

    def drop(self, lane: Lane) -> None:
        """Close a lane without waiting for it, as when it is cancelled in the middle of an answer: nobody may read
        the rest."""
        self._later(self.end(lane))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def hand_back(self) -> None:
        """Give every lane that is free back to the pool, which takes those for fresh that it gets: stale ones end.

        None is free from now on, without waiting: whoever asked may be cancelled, and some would be left under a
        picture of the deployment that is not theirs.
        """
        lanes, self._free = self._free, []
        for lane in lanes:
            self._later(self.end(lane, close=not self._fresh(lane)))

    def renew(self) -> None:
        """All lanes go back, those in use when they are given."""
        self._picture = None
        self.hand_back()

    async def close(self) -> None:
        """Give everything back; those who wait go the driver's way, which is closing too."""
        self._usable = False
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        self.renew()
        while self._waiting:
            _, turn = self._waiting.pop(0)
            if not turn.done():
                turn.set_result(None)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_CLOSING)

    def give_up(self, error: Exception) -> None:
        """Use no lanes any more: PyMongo is not what it was."""
        self._usable = False
        self.reason = f"PyMongo {pymongo.version} differs from the versions that are known"
        LOG.warning(
            "PyMongo %s differs from the versions known here (%s): all goes its own way", pymongo.version, error
        )
