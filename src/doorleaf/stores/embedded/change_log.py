"""The log of changes: what happens to the collections that somebody watches, in the transactions of the changes.

A collection is logged from when it is first watched until nobody has renewed its watch for :data:`LEASE_SECONDS`; what
nobody watches costs nothing. The log is short: readers that fall behind are told so.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

from doorleaf.documents import CODEC, Document
from doorleaf.mql.difference import difference
from doorleaf.operations import Namespace
from doorleaf.stores.embedded.catalog import Collection, check_namespace
from doorleaf.stores.embedded.storage import Session

LEASE_SECONDS = 600
KEPT_SECONDS = 600
KEPT_CHANGES = 100_000
"""How long, and how many of them, changes stay in the log."""

PRUNED_AT_ONCE = 1_000

_RAW = CODEC.with_options(document_class=RawBSONDocument)


@dataclass(frozen=True, slots=True)
class Log:
    """The log of one collection inside a transaction; ``watch`` is the number of its watch."""

    session: Session
    watch: int

    def inserted(self, identity: Any, encoded: bytes) -> None:
        self._note("insert", identity, {"fullDocument": RawBSONDocument(encoded, _RAW)})

    def changed(self, before: Document, after: Document, encoded: bytes, *, replacing: bool) -> None:
        fields: Document = {"fullDocument": RawBSONDocument(encoded, _RAW)}
        if not replacing:
            fields["updateDescription"] = difference(before, after)
        self._note("replace" if replacing else "update", after["_id"], fields)

    def deleted(self, identity: Any, encoded: bytes) -> None:
        self._note("delete", identity, {}, encoded)

    def ended(self) -> None:
        """The collection is gone, and with it the watch."""
        for kind in ("drop", "invalidate"):
            self._write({"operationType": kind}, None)
        session, catalog = self.session, self.session.catalog
        session.execute("DELETE FROM watched WHERE id = ?", (self.watch,))
        left = {namespace: watch for namespace, watch in catalog.watched.items() if watch != self.watch}
        session.bump(replace(catalog, watched=left))

    def _note(self, kind: str, identity: Any, fields: Document, before: bytes | None = None) -> None:
        self._write({"operationType": kind, "documentKey": {"_id": identity}, **fields}, before)

    def _write(self, event: Document, before: bytes | None) -> None:
        self.session.execute(
            "INSERT INTO changes (watch, time, event, before) VALUES (?, ?, ?, ?)",
            (self.watch, int(time.time() * 1000), bson.encode(event, codec_options=CODEC), before),
        )


def log_of(session: Session, collection: Collection) -> Log | None:
    """Where changes of ``collection`` are written; None when nobody watches it."""
    watch = session.catalog.watched.get((collection.database, collection.name))
    return None if watch is None else Log(session, watch)


@dataclass(frozen=True, slots=True)
class Place:
    """A watch, and the last change in the log that is known."""

    watch: int
    change: int


def begin(session: Session, namespace: Namespace) -> Place:
    """Watch ``namespace``, which may hold a collection or not: every later change is in the log behind the place."""
    check_namespace(namespace)
    catalog = session.catalog
    key = (namespace.database, namespace.collection)
    until = int(time.time()) + LEASE_SECONDS
    watch = catalog.watched.get(key)
    if watch is None:
        cursor = session.execute("INSERT INTO watched (database, name, until) VALUES (?, ?, ?)", (*key, until))
        watch = cursor.lastrowid or 0
        session.bump(replace(catalog, watched={**catalog.watched, key: watch}))
    else:
        session.execute("UPDATE watched SET until = ? WHERE id = ?", (until, watch))
    return Place(watch, last(session))


def last(session: Session) -> int:
    """The number of the last change that was ever logged."""
    found = session.execute("SELECT seq FROM sqlite_sequence WHERE name = 'changes'").fetchone()
    return found[0] if found is not None else 0


def renew(session: Session, watch: int) -> None:
    """Keep a watch for another lease; one that has ended stays so."""
    until = int(time.time()) + LEASE_SECONDS
    session.execute("UPDATE watched SET until = ? WHERE id = ?", (until, watch))


def is_idle(session: Session) -> bool:
    """Whether there is nothing to prune: no watch and no log."""
    (busy,) = session.execute("SELECT EXISTS (SELECT 1 FROM watched) OR EXISTS (SELECT 1 FROM changes)").fetchone()
    return not busy


def prune(session: Session) -> int:
    """End watches whose lease is over, and take old changes out, up to :data:`PRUNED_AT_ONCE`; answers how many."""
    now = time.time()
    catalog = session.catalog
    over = {watch for (watch,) in session.execute("SELECT id FROM watched WHERE until < ?", (int(now),))}
    if over:
        session.execute("DELETE FROM watched WHERE until < ?", (int(now),))
        left = {namespace: watch for namespace, watch in catalog.watched.items() if watch not in over}
        session.bump(replace(catalog, watched=left))
    oldest, excess = int((now - KEPT_SECONDS) * 1000), last(session) - KEPT_CHANGES
    found = session.execute("SELECT id, time FROM changes ORDER BY id LIMIT ?", (PRUNED_AT_ONCE,)).fetchall()
    gone = [change for change, at in found if at < oldest or change <= excess]
    if gone:
        session.execute("DELETE FROM changes WHERE id <= ?", (gone[-1],))
        session.execute("UPDATE state SET pruned = ?", (gone[-1],))
    return len(gone)
