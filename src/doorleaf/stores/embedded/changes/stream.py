"""Change streams: reading the log of changes, those of this process and of others, once and in order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from bson.timestamp import Timestamp

from doorleaf.apart import CODING, JUDGING
from doorleaf.documents import Document
from doorleaf.ejson.parts import decode
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.operations import Watch
from doorleaf.operations.results import Event
from doorleaf.stores.embedded.changes import log as change_log
from doorleaf.stores.embedded.changes.log import Place, Start
from doorleaf.stores.embedded.encoding import check_bson
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

_AT_ONCE_BYTES = 64 * 1024
"""What the log has of the changes that are read at once is decoded on the event loop when it is less than that."""

_DECODING_SECONDS = 30.0

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
    """The place that a stream is about: a collection, a database with an empty name, or everything."""
    if operation.scope == "server":
        return "", ""
    return operation.namespace.database, operation.namespace.collection


class _Row(NamedTuple):
    """A change as the log has it, in the order of its columns."""

    change: int
    at: int
    database: str
    name: str
    kind: str
    event: bytes
    before: bytes | None

    @property
    def size(self) -> int:
        return len(self.event) + len(self.before or b"")


class Changes:
    """A change stream of the embedded database: see :class:`doorleaf.operations.results.ChangeStream`."""

    def __init__(self, store: Host, operation: Watch, place: Place) -> None:
        self._store = store
        self._key = key_of(operation)
        self._filter = operation.filter
        self._turn = operation.turn
        self._wait = operation.wait_ms / 1000
        self._full = operation.full_document != "default"
        self._before = operation.full_document_before_change != "off"
        self._from = operation.start_at_operation_time
        self._watch = place.watch
        self._after = place.change
        self._ends = place.ends
        self._last: Document | None = None
        """The event that ends the stream, until it is told."""
        self._seen = -1
        self._renewed = time.monotonic()
        self._over = False
        self.token: Document | None = None if place.ends else {"_data": change_log.token_of(place.change, place.at)}

    async def next(self) -> list[Document] | None:
        """The events that have come; see :class:`doorleaf.operations.results.ChangeStream`."""
        if self._over:
            return None
        until = time.monotonic() + min(WAIT_SECONDS, self._wait)
        if until - self._renewed > change_log.RENEW_SECONDS:
            self._renewed = until
            await self._store.write(lambda transaction: change_log.renew(transaction.session, self._watch), _brief())
        while True:
            version = self._store.version()
            events: list[Document] = [] if version == self._seen else await self._events(self._store.now(self._page))
            if events and self._filter:
                events = await self._wanted(events)
            if events or self._over or time.monotonic() >= until:
                return events
            await asyncio.sleep(POLL_SECONDS if self._seen >= 0 else 0)

    async def moment(self) -> Timestamp:
        """The time of the last change there is."""
        change, at = self._store.now(_last)
        return _timestamp(change, at)

    async def close(self) -> None:
        """Read no more; the watch ends by itself."""
        self._over = True

    def _page(self, session: Session) -> list[_Row]:
        """The next changes, and the place behind them."""
        self._seen, seen = -1, self._store.version()
        if session.execute("SELECT pruned FROM state WHERE id = 1").get > self._after:
            raise change_log.lost("the log does not reach back to where this stream has come to")
        rows: list[_Row] = []
        is_whole = self._read(session, rows)
        if self._over or not is_whole:
            return rows
        if session.catalog.watched.get(self._key) != self._watch:
            if rows:
                return rows
            raise change_log.lost("its lease ran out while nobody read it")
        self._seen = seen
        self._move(session, change_log.last(session))
        return rows

    def _read(self, session: Session, taken: list[_Row]) -> bool:
        """Add the next changes; tells whether those are all that the log has."""
        if self._ends:
            self._end(self._after, change_log.time_of(session, self._after))
            return True
        size = count = 0
        database, name = self._key
        end = 0 if name else min(self._after + PAGE_ROWS, change_log.last(session))
        if name:
            rows = session.rows(_OF_COLLECTION, (database, name, self._after, PAGE_CHANGES))
        else:
            of_many = (self._after, end, database, database, change_log.BEGIN, PAGE_CHANGES)
            rows = session.rows(_OF_MANY, of_many)
        for row in map(_Row._make, rows):
            self._after = row.change
            self.token = {"_data": change_log.token_of(row.change, row.at)}
            count += 1
            if self._from is None or _timestamp(row.change, row.at) >= self._from:
                taken.append(row)
            if change_log.is_end(row.kind, self._key):
                self._end(row.change, row.at)
                return True
            size += row.size
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

    def _end(self, change: int, at: int) -> None:
        """What is watched is gone, and with it the stream."""
        self._over = True
        self.token = {"_data": change_log.token_of(change, at, ends=True)}
        self._last = {"_id": self.token, "operationType": "invalidate", **_clock(change, at)}

    async def _events(self, rows: Sequence[_Row]) -> list[Document]:
        """The events of what was read; one may have a document of 16 MB in it, and another as it was before."""
        if sum(row.size for row in rows) < _AT_ONCE_BYTES:
            events = self._all_made(rows)
        else:
            events = await CODING.run(_DECODING_SECONDS, self._all_made, rows)
        if self._last is not None:
            events.append(self._last)
            self._last = None
        return events

    async def _wanted(self, events: list[Document]) -> list[Document]:
        """Those that the filter asks for; it is judged where harm can be ended, whoever wrote it."""
        context = _brief()
        context.turn = self._turn
        if small.filter_tests(self._filter) is not None:
            found = await JUDGING.run(WAIT_SECONDS, matching, None, self._filter, events, context)
        else:
            found = await self._store.read(matching, self._filter, events, context=context)
        return [events[number] for number in found]

    def _all_made(self, rows: Sequence[_Row]) -> list[Document]:
        return [Event(self._made(row), row.size) for row in rows]

    def _made(self, row: _Row) -> Document:
        """An event in MongoDB's form and order of fields."""
        event = decode(row.event)
        event["ns"] = {"db": row.database, "coll": row.name} if row.name else {"db": row.database}
        if row.kind == "update" and not self._full:
            del event["fullDocument"]
        if self._before and row.before is not None:
            event["fullDocumentBeforeChange"] = decode(row.before)
        token = {"_data": change_log.token_of(row.change, row.at)}
        head = {"_id": token, "operationType": row.kind, **_clock(row.change, row.at)}
        return head | {name: event[name] for name in _ORDER if name in event}


def _timestamp(change: int, at: int) -> Timestamp:
    return Timestamp(at // 1000, change & 0xFFFFFFFF)


def _clock(change: int, at: int) -> Document:
    """The times of a change, in a cluster's way and by the wall clock."""
    return {
        "clusterTime": _timestamp(change, at),
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
