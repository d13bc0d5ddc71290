"""Change streams: reading the log of changes, those of this process and of others, once and in order."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from bson.timestamp import Timestamp

from doorleaf.apart import JUDGING
from doorleaf.documents import Document
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.operations import Watch
from doorleaf.stores.embedded.changes import log as change_log
from doorleaf.stores.embedded.changes.log import Place, Start
from doorleaf.stores.embedded.encoding import check_bson, decode
from doorleaf.stores.embedded.file.storage import Session
from doorleaf.stores.embedded.host import Host
from doorleaf.stores.embedded.reading import small

POLL_SECONDS = 0.04
WAIT_SECONDS = 1.0
"""How long a reader waits for a change before it says that there is none."""

PAGE_CHANGES = 100
PAGE_BYTES = 256 * 1024
PAGE_ROWS = 1_000
"""How much is read at once: events, their bytes, and rows of the log that may be about something else."""

_OF_COLLECTION = (
    "SELECT id, time, database, name, kind, event, before FROM changes"
    " WHERE database = ? AND name = ? AND id > ? ORDER BY id LIMIT ?"
)
_OF_MANY = (
    "SELECT id, time, database, name, kind, event, before FROM changes"
    " WHERE id > ? AND id <= ? AND (? = '' OR +database = ?) AND kind != ? ORDER BY id LIMIT ?"
)

_ORDER = ("fullDocument", "ns", "to", "documentKey", "updateDescription", "fullDocumentBeforeChange")
"""The fields of an event behind those that it begins with, as MongoDB orders them."""


def key_of(operation: Watch) -> tuple[str, str]:
    """What a stream is about: a collection, a database with an empty name, or everything."""
    if operation.scope == "server":
        return "", ""
    return operation.namespace.database, operation.namespace.collection


class Changes:
    """A change stream of the embedded database: see :class:`doorleaf.operations.results.ChangeStream`."""

    def __init__(self, store: Host, operation: Watch, place: Place) -> None:
        self._store = store
        self._key = key_of(operation)
        self._filter = operation.filter
        self._turn = operation.turn
        self._full = operation.full_document != "default"
        self._before = operation.full_document_before_change != "off"
        self._from = operation.start_at_operation_time
        self._watch = place.watch
        self._after = place.change
        self._ends = place.ends
        self._seen = -1
        self._renewed = time.monotonic()
        self._over = False
        self.token: Document = {"_data": change_log.token_of(place.change, place.at)}

    async def next(self) -> list[Document] | None:
        """The events that have come; see :class:`doorleaf.operations.results.ChangeStream`."""
        if self._over:
            return None
        until = time.monotonic() + WAIT_SECONDS
        if until - self._renewed > change_log.RENEW_SECONDS:
            self._renewed = until
            await self._store.write(lambda transaction: change_log.renew(transaction.session, self._watch), _brief())
        while True:
            version = self._store.version()
            events = [] if version == self._seen else self._store.now(self._page)
            if events and self._filter:
                events = await self._wanted(events)
            if events or self._over or time.monotonic() >= until:
                return events
            await asyncio.sleep(POLL_SECONDS if self._seen >= 0 else 0)

    async def moment(self) -> Timestamp:
        """The time of the last change there is."""
        change, at = self._store.now(_last)
        return Timestamp(at // 1000, change & 0xFFFFFFFF)

    async def close(self) -> None:
        """Read no more; the watch ends by itself."""
        self._over = True

    def _page(self, session: Session) -> list[Document]:
        """The next events, and the place behind them."""
        self._seen, seen = -1, self._store.version()
        if session.execute("SELECT pruned FROM state WHERE id = 1").get > self._after:
            raise change_log.lost("the log does not reach back to where this stream has come to")
        events: list[Document] = []
        is_whole = self._read(session, events)
        if self._over or not is_whole:
            return events
        if session.catalog.watched.get(self._key) != self._watch:
            if events:
                return events
            raise change_log.lost("its lease ran out while nobody read it")
        self._seen = seen
        self._move(session, change_log.last(session))
        return events

    def _read(self, session: Session, events: list[Document]) -> bool:
        """Add the next events; tells whether those are all that the log has."""
        if self._ends:
            self._end(self._after, change_log.time_of(session, self._after), events)
            return True
        size = count = 0
        database, name = self._key
        end = 0 if name else min(self._after + PAGE_ROWS, change_log.last(session))
        if name:
            rows = session.rows(_OF_COLLECTION, (database, name, self._after, PAGE_CHANGES))
        else:
            of_many = (self._after, end, database, database, change_log.BEGIN, PAGE_CHANGES)
            rows = session.rows(_OF_MANY, of_many)
        for change, at, *place, kind, event, before in rows:
            self._after = change
            self.token = {"_data": change_log.token_of(change, at)}
            count += 1
            made = self._made(change, at, place, kind, decode(event), before)
            if self._from is None or made["clusterTime"] >= self._from:
                events.append(made)
            if kind == ("drop" if name else "dropDatabase" if database else ""):
                self._end(change, at, events)
                return True
            size += len(event) + len(before or b"")
            if size > PAGE_BYTES:
                return False
        if count == PAGE_CHANGES:
            return False
        if not name and end > self._after:
            self._move(session, end)
        return bool(name) or end == change_log.last(session)

    def _move(self, session: Session, change: int) -> None:
        """Be behind ``change``, the last that is known not to belong to this stream."""
        if change != self._after:
            self._after = change
            self.token = {"_data": change_log.token_of(change, change_log.time_of(session, change))}

    def _end(self, change: int, at: int, events: list[Document]) -> None:
        """What is watched is gone, and with it the stream."""
        self._over = True
        self.token = {"_data": change_log.token_of(change, at, ends=True)}
        events.append({"_id": self.token, "operationType": "invalidate", **_clock(change, at)})

    async def _wanted(self, events: list[Document]) -> list[Document]:
        """Those that the filter asks for; it is judged where harm can be ended, whoever wrote it."""
        context = _brief()
        context.turn = self._turn
        if small.filter_tests(self._filter) is not None:
            found = await JUDGING.run(WAIT_SECONDS, matching, None, self._filter, events, context)
        else:
            found = await self._store.read(matching, self._filter, events, context=context)
        return [events[number] for number in found]

    def _made(
        self, change: int, at: int, place: list[str], kind: str, event: Document, before: bytes | None
    ) -> Document:
        """An event in MongoDB's form and order of fields."""
        event["ns"] = {"db": place[0], "coll": place[1]} if place[1] else {"db": place[0]}
        if kind == "update" and not self._full:
            del event["fullDocument"]
        if self._before and before is not None:
            event["fullDocumentBeforeChange"] = decode(before)
        head = {"_id": {"_data": change_log.token_of(change, at)}, "operationType": kind, **_clock(change, at)}
        return head | {name: event[name] for name in _ORDER if name in event}


def _clock(change: int, at: int) -> Document:
    """The times of a change, in a cluster's way and by the wall clock."""
    return {
        "clusterTime": Timestamp(at // 1000, change & 0xFFFFFFFF),
        "wallTime": datetime.fromtimestamp(at / 1000, UTC).replace(tzinfo=None),
    }


def _last(session: Session) -> tuple[int, int]:
    """The last change, and its time: all later ones are after it."""
    change = change_log.last(session)
    return change, change_log.time_of(session, change)


def matching(session: object, filter: Document, events: list[Document], context: Context) -> list[int]:
    """Which of ``events`` a filter is true for, and those that end a stream."""
    matches = compile_filter(filter, context)
    return [n for n, event in enumerate(events) if event["operationType"] == "invalidate" or matches(event)]


async def watch(store: Host, operation: Watch, context: Context) -> Changes:
    """Open a change stream; raises what is wrong with its filter, and where it cannot be resumed."""
    check_bson("the filter", operation.filter)
    if small.filter_tests(operation.filter) is not None:
        compile_filter(operation.filter, context)
    else:
        await store.read(matching, operation.filter, [], context=context)
    token = operation.resume_after or operation.start_after
    data = None if token is None else str(token.get("_data", ""))
    start = Start(data, operation.start_after is not None, operation.start_at_operation_time)
    key = key_of(operation)
    place = await store.write(lambda transaction: change_log.begin(transaction.session, key, start), context)
    return Changes(store, operation, place)


def _brief() -> Context:
    """What looking at one page may take."""
    return Context(time.monotonic() + WAIT_SECONDS)
