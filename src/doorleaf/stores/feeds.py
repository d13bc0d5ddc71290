"""A change stream of the database that many listen to, and their places in it.

A feed reads one stream and keeps its latest events; a subscriber is a place in them. Who asks for older ones, or has
fallen behind what is kept, reads a backlog of its own until it has come up to the feed: it delays nobody, and has one
page of events in memory. It has come up when the feed knows its resume token, or where that is behind the oldest one
that is kept: tokens of MongoDB and of the embedded database are in the order of the events.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Protocol, runtime_checkable

import bson
from bson.timestamp import Timestamp

from doorleaf.apart import JUDGING, TURN
from doorleaf.apart.turns import Turns
from doorleaf.documents import CODEC, Document
from doorleaf.errors import DataError, DoorleafError, StoreError, StoreUnavailable
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.operations import OWN_TURN, Watch, altered
from doorleaf.operations.results import ChangeStream, Event, Events
from doorleaf.stores.backlog import WAIT_SECONDS, Backlog, Open

KEPT_EVENTS = 1_000
KEPT_BYTES = 4 * 1024 * 1024
"""How many of the latest events a feed keeps, and how many bytes of BSON."""

PAGE_EVENTS = 100
PAGE_BYTES = 256 * 1024
KEPT_PAGES = 8
"""How much a subscriber is told at once, and how many such pages are kept for others who are at the same place."""

LINGERING_SECONDS = 10.0
"""How long a feed goes on without subscribers: those that were cut off come back."""

AWAY_SECONDS = 120.0
"""How long a database may be away before subscribers are told."""

SLOW_SECONDS = 60.0
"""How long a subscriber that fell behind may take to come up again, without the time that it waits for its turn."""

REST_SECONDS = 60.0
"""How long a subscriber that was told all there was does not look again, while its feed has nothing new either."""

_PAUSES = (0.05, 0.1, 0.25, 0.5, 1.0)
"""Seconds between attempts to reach a database that is away; the last one from then on."""

JUDGING_SECONDS = 1.0


@runtime_checkable
class Dated(Protocol):
    """A stream that can tell the time of its cluster, None where it cannot at this moment."""

    async def moment(self) -> Timestamp | None: ...


class Feed:
    """One stream of the database, and its latest events. ``floor`` is the token before the first of them."""

    def __init__(self, operation: Watch, opening: Open, forget: Callable[[Feed], None]) -> None:
        self.operation = operation
        self.opening = opening
        self._forget = forget
        self.floor: str | None = None
        self._begin: str | None = None
        self.first = 0
        """The number of the first event that is kept; they are counted from when the feed began."""
        self.events: deque[Event] = deque()
        self._bytes = 0
        self._pages: dict[int, Events] = {}
        self.token: Document | None = None
        self.error: DoorleafError | None = None
        self.over = False
        self.callers: dict[str, int] = {}
        """How often each caller listens, in the order of their coming."""
        self._stream: ChangeStream | None = None
        self._attempts, self._until = 0, 0.0
        """How often the stream was opened anew since it was last read, and how long that may go on."""
        self._reading: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._waiting: set[asyncio.Future[None]] = set()
        self._lingering: asyncio.TimerHandle | None = None

    @property
    def ended(self) -> bool:
        """Whether there will be no more events."""
        return self.over or self.error is not None

    @property
    def end(self) -> int:
        """The number that the next event will have."""
        return self.first + len(self.events)

    def enter(self, caller: str) -> None:
        """Count a subscriber of ``caller``."""
        self.callers[caller] = self.callers.get(caller, 0) + 1
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None

    def leave(self, caller: str) -> None:
        """Count one less of ``caller``; a feed without any ends after a while."""
        self.callers[caller] -= 1
        if not self.callers[caller]:
            del self.callers[caller]
        if not self.callers and not self.ended:
            self._lingering = asyncio.get_running_loop().call_later(LINGERING_SECONDS, self.stop)
        elif not self.callers:
            self._forget(self)

    async def open(self) -> None:
        """Open the stream, once; raises what is wrong with that."""
        async with self._opening:
            if self._reading is None:
                try:
                    self._stream = await self.opening(self.operation)
                except DoorleafError as error:
                    self._fail(error)
                    raise
                self.token = self._stream.token
                self.floor = self._begin = _data(self.token)
                self._reading = asyncio.create_task(self._read(), name="change feed")

    @property
    def lingering(self) -> bool:
        """Whether it goes on for nobody."""
        return self._lingering is not None

    def stop(self) -> None:
        """End a feed that nobody listens to."""
        if self._lingering is not None:
            self._lingering.cancel()
        self.over = True
        self._forget(self)
        if self._reading is not None:
            self._reading.cancel()

    def refuse(self, error: DoorleafError) -> None:
        """End the feed; who still listens is told."""
        if self.callers and not self.ended:
            self._fail(error)
        self.stop()

    async def close(self) -> None:
        """End the feed with its store."""
        self.refuse(StoreUnavailable("the database is closed"))
        if self._reading is not None:
            await asyncio.wait({self._reading})

    async def subscribe(self, operation: Watch, turns: Turns) -> Subscriber:
        """A place in the events: from now on, or behind a token. What is not kept any more is read in ``turns``."""
        token = operation.start_after or operation.resume_after
        if operation.start_at_operation_time is None:
            stream = self._stream
            moment = await stream.moment() if token is None and isinstance(stream, Dated) else None
            # Where the feed began the end of what is watched may be yet to come for others, which was before it.
            known = token is None or _data(token) != self._begin
            place = self.end if token is None else self.place_of(_data(token)) if known else None
            if place is not None:
                return Subscriber(self, operation, turns, token, place, moment)
        own = Backlog(altered(operation, filter={}), self.opening, turns, operation.turn)
        try:
            await own.open()
            subscriber = Subscriber(self, operation, turns, own.token or token, self.end, own=own)
            if token is not None:
                await subscriber.join(own)
        except BaseException:
            await own.close()
            raise
        return subscriber

    def place_of(self, token: str | None) -> int | None:
        """The number of the first event behind ``token``, where this feed has seen that."""
        if token is None or self.ended:
            return None
        if token == self.floor:
            return self.first
        if token == _data(self.token):
            return self.end
        known = (number for number, event in enumerate(self.events, 1) if _data(event.get("_id")) == token)
        number = next(known, None)
        return None if number is None else self.first + number

    def covers(self, token: str | None) -> bool:
        """Whether everything behind ``token`` is kept or yet to come, by the order of tokens."""
        return _in_order(token) and _in_order(self.floor) and str(self.floor) <= str(token)

    async def arrival(self, seconds: float) -> None:
        """Return when something has come, or after some seconds."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[None] = loop.create_future()
        over = loop.call_later(seconds, _release, waiting)
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            over.cancel()
            self._waiting.discard(waiting)

    def page(self, place: int) -> Events:
        """The events from ``place`` on, not too many: the same for all who ask for them before others come."""
        page = self._pages.get(place)
        if page is None:
            if len(self._pages) >= KEPT_PAGES:
                self._pages.clear()
            page, size, start = Events(), 0, place - self.first
            for event in islice(self.events, start, start + PAGE_EVENTS):
                page.append(event)
                size += event.size
                if size > PAGE_BYTES:
                    break
            self._pages[place] = page
        return page

    async def _read(self) -> None:
        """Read the stream to its end, and again where the database was away."""
        assert self._stream is not None  # noqa: S101  # opened before
        TURN.set(OWN_TURN)  # it is for all who listen, whoever came first
        try:
            while True:
                try:
                    events = await self._stream.next()
                except StoreError as error:
                    await self._reopen(error)
                    continue
                self._attempts = 0
                if events is None:
                    self.over = True
                    return
                self.token = self._stream.token or self.token
                if events:
                    self._add(events)
                    await asyncio.sleep(0)  # who waits for them goes first
        except DoorleafError as error:
            self._fail(error)
        except Exception:
            self._fail(StoreUnavailable("the change stream has failed"))
            raise
        finally:
            self._wake()
            await self._stream.close()

    async def _reopen(self, error: DoorleafError) -> None:
        """Go on behind what was read last, as soon as the database is there again; raises when it stays away, or lets
        the stream be opened again and again and not be read."""
        assert self._stream is not None  # noqa: S101  # it has just failed
        await self._stream.close()
        if not self._attempts:
            self._until = time.monotonic() + AWAY_SECONDS
        if self.token is None or (self._attempts and time.monotonic() > self._until):
            raise error
        again = altered(self.operation, start_after=self.token)
        while True:
            await asyncio.sleep(_PAUSES[min(self._attempts, len(_PAUSES) - 1)])
            self._attempts += 1
            try:
                self._stream = await self.opening(again)
                return
            except StoreError:
                if time.monotonic() > self._until:
                    raise

    def _add(self, events: list[Document]) -> None:
        self._pages.clear()
        for event in events:
            shared = event if type(event) is Event else Event(event, len(bson.encode(event, codec_options=CODEC)))
            self.events.append(shared)
            self._bytes += shared.size
            # Before whoever hears it asks for another feed.
            self.over = self.over or shared["operationType"] == "invalidate"
            if self.floor is None:
                self.floor = _data(shared.get("_id"))
        while len(self.events) > KEPT_EVENTS or (self._bytes > KEPT_BYTES and len(self.events) > 1):
            gone = self.events.popleft()
            self._bytes -= gone.size
            self.first += 1
            self.floor = _data(gone.get("_id")) or self.floor
        self._wake()

    def _fail(self, error: DoorleafError) -> None:
        self.error = self.error or error
        self._wake()

    def _wake(self) -> None:
        for waiting in self._waiting:
            _release(waiting)


def _release(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


class Subscriber:
    """A place in a feed, as a stream: see :class:`doorleaf.operations.results.ChangeStream`."""

    def __init__(
        self,
        feed: Feed,
        operation: Watch,
        turns: Turns,
        token: Document | None,
        place: int,
        moment: Timestamp | None = None,
        *,
        own: Backlog | None = None,
    ) -> None:
        self._feed = feed
        self._caller = operation.turn
        self._filter = operation.filter
        self._turns = turns
        self._own = own
        self._moment = moment
        self._place = place
        self._passed: str | None = None
        """The token up to which everything was told, while it may come once more."""
        self._fell = 0.0
        self._rested, self._rest = -1, 0.0
        """The number of the feed's next event when all was told, and until when that is so."""
        self._over = False
        self.token = token or feed.token

    async def next(self) -> list[Document] | None:
        """The events that have come; see :class:`doorleaf.operations.results.ChangeStream`."""
        if self._over:
            return None
        events = await (self._come() if self._own is None else self._catch_up(self._own))
        if events and self._filter:
            context = Context(time.monotonic() + JUDGING_SECONDS)
            events = await JUDGING.run(JUDGING_SECONDS, _matching, self._filter, events, context)
        return events

    async def close(self) -> None:
        """Leave the feed."""
        if not self._over:
            self._over = True
            self._feed.leave(self._caller)
        own, self._own = self._own, None
        if own is not None:
            await own.close()

    async def _come(self) -> list[Document] | None:
        """What the feed has for this place."""
        feed, until = self._feed, time.monotonic() + WAIT_SECONDS
        while True:
            if self._place < feed.first:
                return await self._fall(feed)
            events = self._taken(feed)
            left = until - time.monotonic()
            if events or left <= 0:
                self._told(events, feed.token)
                return events
            if self._place < feed.end:
                continue
            if feed.error is not None:
                raise feed.error
            if feed.over:
                return None
            await feed.arrival(left)

    def _taken(self, feed: Feed) -> list[Document]:
        """The next events, without those from before this subscriber came."""
        page = feed.page(self._place)
        self._place += len(page)
        if self._passed is None and self._moment is None:
            return page
        taken = [event for event in page if not self._was_before(event)]
        return page if len(taken) == len(page) else taken

    def _was_before(self, event: Document) -> bool:
        if self._passed is not None:
            data = _data(event.get("_id"))
            if data is not None and data <= self._passed:
                return True
            self._passed = None
        if self._moment is not None:
            at = event.get("clusterTime")
            if isinstance(at, Timestamp) and at <= self._moment:
                return True
            self._moment = None
        return False

    def _told(self, events: list[Document], token: Document | None) -> None:
        if events:
            self.token = events[-1].get("_id", self.token)
        elif self._passed is None and self._moment is None and self._place == self._feed.end:
            self.token = token or self.token

    async def _fall(self, feed: Feed) -> list[Document] | None:
        """Go on by what is older: what the feed keeps has run away from this place."""
        if self.token is None:
            raise _slow()
        self._fell = self._fell or time.monotonic()
        behind = altered(feed.operation, start_after=self.token)
        self._own = Backlog(behind, feed.opening, self._turns, self._caller)
        return await self._catch_up(self._own)

    async def _catch_up(self, own: Backlog) -> list[Document] | None:
        """What is older than what the feed has, until there is no more of it."""
        feed, began, was_open, end = self._feed, time.monotonic(), own.is_open, self._feed.end
        if not was_open and end == self._rested and began < self._rest and not feed.ended:
            await feed.arrival(WAIT_SECONDS)
            return []
        try:
            events = await own.next()
        except StoreError:
            if not was_open:
                if feed.ended:
                    raise
                await asyncio.sleep(WAIT_SECONDS)  # the feed finds out whether the database comes back
            return []
        if events is None:
            return None
        if not events and own.is_waiting:
            self._fell += time.monotonic() - began if self._fell else 0.0
            return []
        self.token = own.token or self.token
        if await self.join(own):
            return events
        if events:
            if self._fell and time.monotonic() - self._fell > SLOW_SECONDS:
                raise _slow()
            return events
        self._fell = 0.0
        if feed.error is not None:
            raise feed.error
        if not _in_order(_data(self.token)):  # it comes up by the next event, for which both need not look
            self._rested, self._rest = end, time.monotonic() + REST_SECONDS
            await own.rest()
            if feed.end == end:
                await feed.arrival(WAIT_SECONDS)
        return events

    async def join(self, own: Backlog) -> bool:
        """Go on by the feed if it has all that comes behind what ``own`` has told; whether it does."""
        if own.over or not self._joins(self._feed, _data(own.token)):
            return False
        self._own, self._fell = None, 0.0
        await own.close()
        return True

    def _joins(self, feed: Feed, token: str | None) -> bool:
        """Take the place in the feed that is behind ``token``, if it has one."""
        place = feed.place_of(token)
        if place is not None:
            self._place = place
        elif feed.covers(token) and not feed.ended:
            self._place, self._passed = feed.first, token
        else:
            return False
        return True


_EMBEDDED, _MONGODB = re.compile(r"[0-9A-F]{30}"), re.compile(r"82[0-9A-F]{16,}")


def _in_order(token: str | None) -> bool:
    """Whether a token is of a kind whose order is that of the events."""
    return token is not None and bool(_EMBEDDED.fullmatch(token) or _MONGODB.fullmatch(token))


def _matching(filter: Document, events: list[Document], context: Context) -> list[Document]:
    """Those of ``events`` that a filter is true for, and those that end a stream."""
    matches = compile_filter(filter, context)
    return [event for event in events if event["operationType"] == "invalidate" or matches(event)]


def _data(token: Document | None) -> str | None:
    data = None if token is None else token.get("_data")
    return data if isinstance(data, str) else None


def _slow() -> DataError:
    return DataError("the change stream was read too slowly, and fell behind what is kept; watch again", number=286)
