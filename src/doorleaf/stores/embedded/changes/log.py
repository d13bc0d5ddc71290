"""The log of changes: what happens to the collections that somebody watches, in the transactions of the changes.

A collection, a database or everything is logged from when it is first watched until nobody has renewed its watch for
:data:`LEASE_TICKS`; what nobody watches costs nothing. A change is one row, whoever watches it. The log is short:
readers that fall behind are told so. A watch begins with a row of its own: what came before it was maybe not logged.

Time is counted in ticks, a number in the file that whoever has it open moves on, once for every :data:`TICK_SECONDS`
that have passed by a clock that only goes forward. What the wall clock does ends nothing, nor does a time without any
process.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp

from doorleaf.documents import CODEC, Document
from doorleaf.errors import DataError
from doorleaf.operations import Namespace
from doorleaf.stores.embedded.catalog import TEMPORARY, Collection, check_database, check_namespace
from doorleaf.stores.embedded.file.storage import Session

TICK_SECONDS = 60.0
LEASE_TICKS = 10
"""Ticks that a watch lasts without being renewed."""

RENEW_SECONDS = TICK_SECONDS * LEASE_TICKS / 3

KEPT_TICKS = 10
KEPT_CHANGES = 100_000
"""How long, and how many of them, changes stay in the log."""

PRUNED_AT_ONCE = 1_000

BEGIN = "begin"
"""The kind of the row that a watch begins with, which is no change."""

_RAW = CODEC.with_options(document_class=RawBSONDocument)


@dataclass(frozen=True, slots=True)
class Log:
    """Where changes of one collection, or with an empty ``name`` of a database as a whole, are written."""

    session: Session
    database: str
    name: str

    def inserted(self, identity: Any, encoded: bytes) -> None:
        self._note("insert", identity, {"fullDocument": RawBSONDocument(encoded, _RAW)})

    def changed(self, identity: Any, old: bytes, encoded: bytes, description: Document | None) -> None:
        """Note that ``encoded`` stands in the place of ``old``, and what is different unless it is a new document."""
        fields: Document = {"fullDocument": RawBSONDocument(encoded, _RAW)}
        if description is not None:
            fields["updateDescription"] = description
        self._note("replace" if description is None else "update", identity, fields, old)

    def deleted(self, identity: Any, encoded: bytes) -> None:
        self._note("delete", identity, {}, encoded)

    def dropped(self) -> None:
        """Note that the collection is gone, or the database."""
        self.write("drop" if self.name else "dropDatabase", {}, None)

    def renamed(self, name: str) -> None:
        """Note that the collection has another name of the same database."""
        self.write("rename", {"to": {"db": self.database, "coll": name}}, None)

    def _note(self, kind: str, identity: Any, fields: Document, before: bytes | None = None) -> None:
        self.write(kind, {"documentKey": {"_id": identity}, **fields}, before)

    def write(self, kind: str, event: Document, before: bytes | None) -> int:
        """Add a row; answers its number. Its time is never before that of another: a cluster's goes forward only."""
        session = self.session
        latest: int = session.execute("SELECT time FROM changes ORDER BY id DESC LIMIT 1").get or 0
        session.execute(
            "INSERT INTO changes (time, database, name, kind, event, before) VALUES (?, ?, ?, ?, ?, ?)",
            (
                max(latest, int(time.time() * 1000)),
                *(self.database, self.name, kind),
                *(bson.encode(event, codec_options=CODEC), before),
            ),
        )
        return session.connection.last_insert_rowid()


def log_of(session: Session, collection: Collection) -> Log | None:
    """Where changes of ``collection`` are written; None when nobody watches it, nor its database, nor everything."""
    if not session.catalog.watched or TEMPORARY in collection.options:
        return None
    return log_at(session, collection.database, collection.name)


def log_at(session: Session, database: str, name: str = "") -> Log | None:
    """The same by names; a database as a whole has no ``name``."""
    watched = session.catalog.watched
    if not watched or watched.keys().isdisjoint(_watches(database, name)):
        return None
    return Log(session, database, name)


def _watches(database: str, name: str) -> Iterator[tuple[str, str]]:
    """What may be watched for a place to be: itself, its database, and everything."""
    yield database, name
    yield database, ""
    yield "", ""


@dataclass(frozen=True, slots=True)
class Place:
    """A watch, and the last change in the log that is known."""

    watch: int
    change: int
    at: int
    """The time of that change."""
    ends: bool = False
    """Whether that change was the end of what is watched, which is still to be told."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a stream is to begin: behind the change of a token, or at a time of the cluster; else now."""

    token: str | None = None
    after_end: bool = False
    """Whether the token may be that of an ``invalidate``."""
    time: Timestamp | None = None


def token_of(change: int, at: int, *, ends: bool = False) -> str:
    """The resume token of a change at the time ``at``; ``ends`` is for the ``invalidate`` that follows it."""
    return f"{change:016X}{at:012X}{int(ends):02X}"


def begin(session: Session, key: tuple[str, str], start: Start) -> Place:
    """Watch a collection, with an empty name a database, or with two everything: every change behind the place is in
    the log. Raises the error of a resume where that cannot be."""
    check_key(key)
    catalog = session.catalog
    change, ends = _started(session, key, start)
    until = _lease(session)
    watch = catalog.watched.get(key)
    if watch is None:
        since = Log(session, "", "").write(BEGIN, {}, None)
        session.execute("INSERT INTO watched (database, name, until, since) VALUES (?, ?, ?, ?)", (*key, until, since))
        watch = session.connection.last_insert_rowid()
        session.bump(replace(catalog, watched={**catalog.watched, key: watch}))
    else:
        session.execute("UPDATE watched SET until = ? WHERE id = ?", (until, watch))
    change = last(session) if change is None else change
    return Place(watch, change, time_of(session, change), ends)


def time_of(session: Session, change: int) -> int:
    """The time of a change, in milliseconds since 1970; 0 where it is no longer in the log."""
    return session.execute("SELECT time FROM changes WHERE id = ?", (change,)).get or 0


def check_key(key: tuple[str, str]) -> None:
    """Raise code 73 for a place that cannot be."""
    if key[1]:
        check_namespace(Namespace(*key))
    elif key[0]:
        check_database(key[0])


def _started(session: Session, key: tuple[str, str], start: Start) -> tuple[int | None, bool]:
    """The change that a stream begins behind, None for the last, and whether the end of what is watched is to come."""
    if start.token is not None:
        change, kind, ended = _resumed(session, start.token, after_end=start.after_end)
    elif start.time is not None:
        found = session.execute(
            "SELECT id, kind FROM changes WHERE time < ? OR (time < ? AND id < ?) ORDER BY id DESC LIMIT 1",
            (start.time.time * 1000, (start.time.time + 1) * 1000, start.time.inc),
        ).get
        if found is None:
            raise lost("the log does not reach back to that time")
        (change, kind), ended = found, True
    else:
        return None, False
    if not _is_covered(session, key, change):
        raise lost("nobody has watched this all the time since then, so that changes may not have been logged")
    return change, not ended and is_end(kind, key)


def is_end(kind: str, key: tuple[str, str]) -> bool:
    """Whether what the watch ``key`` is about is not there any more after a change of that kind."""
    return kind in ("drop", "rename") if key[1] else kind == "dropDatabase" and key[0] != ""


def _resumed(session: Session, token: str, *, after_end: bool) -> tuple[int, str, bool]:
    """The change that a token is of, its kind, and whether the token is that of the end which follows."""
    try:
        change, at, ended = int(token[:16], 16), int(token[16:28], 16), int(token[28:], 16)
    except ValueError:
        change = at = ended = -1
    if ended not in (0, 1) or not 0 <= change < 1 << 63 or token != token_of(change, at, ends=bool(ended)):
        raise DataError("the resume token is not one of this database", number=260)
    if ended and not after_end:
        raise DataError("resumeAfter cannot go on behind an invalidate event; use startAfter", number=260)
    pruned: int = session.execute("SELECT pruned FROM state WHERE id = 1").get
    if change < pruned:
        raise lost("the log does not reach back to the resume token")
    found = session.execute("SELECT time, kind FROM changes WHERE id = ?", (change,)).get
    if found is None and change == pruned:
        return change, "", bool(ended)
    if found is None or found[0] != at:
        raise DataError("cannot resume the change stream: the resume token was not found", number=280)
    return change, found[1], bool(ended)


def _is_covered(session: Session, key: tuple[str, str], change: int) -> bool:
    """Whether everything behind ``change`` that belongs to ``key`` has been logged."""
    return any(
        session.execute("SELECT EXISTS (SELECT 1 FROM watched WHERE id = ? AND since <= ?)", (watch, change)).get
        for watch in map(session.catalog.watched.get, _watches(*key))
        if watch is not None
    )


def lost(why: str) -> DataError:
    """The error of a stream that cannot have all changes."""
    return DataError(f"the change stream has lost events: {why}; watch again", number=286)


def last(session: Session) -> int:
    """The number of the last change that was ever logged."""
    found = session.execute("SELECT seq FROM sqlite_sequence WHERE name = 'changes'").get
    return found or 0


def renew(session: Session, watch: int) -> None:
    """Keep a watch for another lease; one that has ended stays so."""
    session.execute("UPDATE watched SET until = ? WHERE id = ?", (_lease(session), watch))


def _lease(session: Session) -> int:
    tick: int = session.execute("SELECT tick FROM state WHERE id = 1").get
    return tick + 1 + LEASE_TICKS  # the tick under way may be nearly over


def _tick(session: Session) -> int:
    """The tick of this moment, moved on when this process has seen the last one for long enough."""
    tick: int = session.execute("SELECT tick FROM state WHERE id = 1").get
    now, (seen, since) = time.monotonic(), session.storage.ticked
    if tick == seen and now - since >= TICK_SECONDS:
        tick += 1
        session.execute("UPDATE state SET tick = ? WHERE id = 1", (tick,))
        session.execute("INSERT OR REPLACE INTO ticks VALUES (?, ?)", (tick, last(session)))
        session.execute("DELETE FROM ticks WHERE tick < ?", (tick - KEPT_TICKS,))
    if tick != seen:
        session.storage.ticked = tick, now
    return tick


def is_idle(session: Session) -> bool:
    """Whether there is nothing to prune: no watch and no log."""
    return not session.execute("SELECT EXISTS (SELECT 1 FROM watched) OR EXISTS (SELECT 1 FROM changes)").get


def prune(session: Session) -> int:
    """End watches whose lease is over, and take old changes out, up to :data:`PRUNED_AT_ONCE`; answers how many."""
    tick = _tick(session)
    catalog = session.catalog
    over = {watch for (watch,) in session.execute("SELECT id FROM watched WHERE until < ?", (tick,))}
    if over:
        session.execute("DELETE FROM watched WHERE until < ?", (tick,))
        left = {namespace: watch for namespace, watch in catalog.watched.items() if watch not in over}
        session.bump(replace(catalog, watched=left))
    old: int = session.execute("SELECT MAX(change) FROM ticks WHERE tick <= ?", (tick - KEPT_TICKS,)).get or 0
    until = max(old, last(session) - KEPT_CHANGES)
    found = session.execute("SELECT id FROM changes WHERE id <= ? ORDER BY id LIMIT ?", (until, PRUNED_AT_ONCE))
    gone = [change for (change,) in found]
    if gone:
        session.execute("DELETE FROM changes WHERE id <= ?", (gone[-1],))
        session.execute("UPDATE state SET pruned = ?", (gone[-1],))
    return len(gone)
