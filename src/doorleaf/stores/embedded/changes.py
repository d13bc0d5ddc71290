"""Change streams: reading the log of changes, those of this process and of others, once and in order."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bson.timestamp import Timestamp

from doorleaf.documents import Document
from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.mql.match import compile_filter
from doorleaf.operations import Watch
from doorleaf.stores.embedded import change_log
from doorleaf.stores.embedded.change_log import Place
from doorleaf.stores.embedded.encoding import check_bson, decode
from doorleaf.stores.embedded.storage import Session

if TYPE_CHECKING:
    from doorleaf.stores.embedded.store import EmbeddedStore

POLL_SECONDS = 0.04
WAIT_SECONDS = 1.0
"""How long a reader waits for a change before it says that there is none."""

PAGE_CHANGES = 100
PAGE_BYTES = 256 * 1024


class Changes:
    """A change stream of the embedded database: see :class:`doorleaf.results.ChangeStream`."""

    def __init__(self, store: EmbeddedStore, operation: Watch, place: Place) -> None:
        self._store = store
        self._namespace = operation.namespace
        self._filter = operation.filter
        self._before = operation.before
        self._watch = place.watch
        self._after = place.change
        self._seen = -1
        self._renewed = time.monotonic()
        self._over = False

    async def next(self) -> list[Document] | None:
        """The events that have come; see :class:`doorleaf.results.ChangeStream`."""
        if self._over:
            return None
        until = time.monotonic() + WAIT_SECONDS
        if until - self._renewed > change_log.LEASE_SECONDS / 3:
            self._renewed = until
            await self._store.write(lambda transaction: change_log.renew(transaction.session, self._watch), _brief())
        while True:
            version = self._store.version()
            events = [] if version == self._seen else self._store.now(self._page)
            if events or self._over or time.monotonic() >= until:
                return events
            await asyncio.sleep(POLL_SECONDS if self._seen >= 0 else 0)

    async def close(self) -> None:
        """Read no more; the watch ends by itself."""
        self._over = True

    def _page(self, session: Session) -> list[Document]:
        """The next events, and the place behind them."""
        self._seen, seen = -1, self._store.version()
        (pruned,) = session.execute("SELECT pruned FROM state WHERE id = 1").fetchone()
        if pruned > self._after:
            raise _lost("the log does not reach back to where this stream has come to")
        matches = compile_filter(self._filter, _brief()) if self._filter else None
        events: list[Document] = []
        count = size = 0
        rows = session.rows(
            "SELECT id, time, event, before FROM changes WHERE watch = ? AND id > ? ORDER BY id LIMIT ?",
            (self._watch, self._after, PAGE_CHANGES),
        )
        for change, at, event, before in rows:
            self._after = change
            count += 1
            made = self._made(change, at, decode(event), before)
            if made["operationType"] == "invalidate":
                self._over = True
                events.append(made)
                return events
            if matches is None or matches(made):
                events.append(made)
            size += len(event)
            if size > PAGE_BYTES:
                return events
        if count == PAGE_CHANGES:
            return events
        if session.catalog.watched.get((self._namespace.database, self._namespace.collection)) != self._watch:
            if events:
                return events
            raise _lost("its lease ran out while nobody read it")
        self._seen, self._after = seen, change_log.last(session)
        return events

    def _made(self, change: int, at: int, event: Document, before: bytes | None) -> Document:
        """An event in MongoDB's form and order of fields."""
        kind = event["operationType"]
        made: Document = {
            "_id": {"_data": f"{change:016X}"},
            "operationType": kind,
            "clusterTime": Timestamp(at // 1000, change & 0xFFFFFFFF),
            "wallTime": datetime.fromtimestamp(at / 1000, UTC).replace(tzinfo=None),
        }
        if "fullDocument" in event:
            made["fullDocument"] = event["fullDocument"]
        if kind != "invalidate":
            made["ns"] = {"db": self._namespace.database, "coll": self._namespace.collection}
        for name in ("documentKey", "updateDescription"):
            if name in event:
                made[name] = event[name]
        if self._before and before is not None:
            made["fullDocumentBeforeChange"] = decode(before)
        return made


async def watch(store: EmbeddedStore, operation: Watch, context: Context) -> Changes:
    """Open a change stream; raises what is wrong with its filter."""
    check_bson("the filter", operation.filter)
    compile_filter(operation.filter, context)
    place = await store.write(lambda transaction: change_log.begin(transaction.session, operation.namespace), context)
    return Changes(store, operation, place)


def _brief() -> Context:
    """What looking at one page may take."""
    return Context(time.monotonic() + WAIT_SECONDS)


def _lost(why: str) -> DataError:
    return DataError(f"the change stream has lost events: {why}; watch again", number=286)
