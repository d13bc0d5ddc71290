"""Building indexes beside the writes of others: keys go in some at a time, and triggers note what changes meanwhile.

From the first transaction to the last there is a log, a table of the rows that somebody puts in, changes or takes out,
each with the document that it had when it was noted. So of a row that is not in the log the index has the keys of its
document, once the scan has passed it; of one that is there with a document, some keys of that; of any other in the log,
none. Nobody reads the index before the last transaction puts it into the catalog. What a process leaves that ends
before, the sweep takes away.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import apsw

from doorleaf.documents import Document
from doorleaf.errors import DataError, DoorleafError
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.operations import Namespace
from doorleaf.operations.results import CreateIndexResult
from doorleaf.stores.embedded import administration
from doorleaf.stores.embedded.catalog import Collection, Index, tables_of, unfinished
from doorleaf.stores.embedded.discarding import discard
from doorleaf.stores.embedded.encoding import decode
from doorleaf.stores.embedded.file.storage import Session, counts
from doorleaf.stores.embedded.indexes import (
    existing,
    make_table,
    new_number,
    put_index,
    require_room,
    specification,
)
from doorleaf.stores.embedded.writing.planned import SLICE_SECONDS, Held, Overdue, Writing
from doorleaf.stores.embedded.writing.rows import Transaction, duplicate

FEW_DOCUMENTS, FEW_BYTES = 1_000, 256 * 1024
"""An index on so few is built in one transaction."""

KEYS_BYTES = 32 * 1024 * 1024
"""Memory that the keys may take which are computed and put in at a time, in order."""

_OVERHEAD = 160
"""Bytes that Python takes about each of them."""

_AT_ONCE = 256
_CLEARING_SECONDS = 5.0

Entry = tuple[bytes, int]


def create_indexes(
    writing: Writing, namespace: Namespace, wanted: list[tuple[Any, Document]], context: Context
) -> CreateIndexResult:
    """Make several indexes, all or none; those that are there already count for nothing."""
    specifications = [specification(keys, options) for keys, options in wanted]
    with writing.reading(context) as session:
        few = isinstance(writing, Held) or _is_few(session, session.catalog.get(namespace))
    if not few and not writing.sliced:
        raise Overdue("the index has to be built in several transactions")  # which has a lane of its own
    build = None if few else _begun(writing, namespace, specifications, context)
    if build is None:
        with writing.transaction(context) as transaction:
            return administration.create_indexes(transaction, namespace, wanted, context)
    try:
        build.scan()
        return build.finish()
    except BaseException:
        build.clear()
        raise
    finally:
        build.release()


def _is_few(session: Session, collection: Collection | None) -> bool:
    if collection is None:
        return True
    documents, size = counts(session, collection)
    return documents <= FEW_DOCUMENTS and size <= FEW_BYTES


def _begun(writing: Writing, namespace: Namespace, specifications: list[Document], context: Context) -> _Build | None:
    """A build of those ``specifications`` that are not there, None where all are."""
    build: _Build | None = None
    try:
        with writing.transaction(context, partial=True) as transaction:
            session = transaction.session
            collection = session.catalog.get(namespace)
            missing: list[Index] = []
            for made in specifications if collection is not None else ():
                assert collection is not None  # noqa: S101  # there are none otherwise
                if existing(collection, made) is None:
                    require_room(collection, made)
                    missing.append(Index(new_number(session), made, 0))
                    collection = replace(collection, indexes=(*collection.indexes, missing[-1]))
            if collection is not None and missing:
                build = _Build(writing, namespace, collection.id, missing, context)
                build.begin(session)
    except BaseException:
        if build is not None:  # its numbers are free again, for other processes too
            build.release()
        raise
    return build


class _Build:
    """Indexes of one collection on their way."""

    def __init__(
        self, writing: Writing, namespace: Namespace, collection: int, indexes: list[Index], context: Context
    ) -> None:
        self._writing = writing
        self._namespace = namespace
        self._collection = collection
        self._table = f"d{collection}"
        self._indexes = indexes
        self._context = context
        self._log = f"b{indexes[0].id}_{len(indexes)}"
        partial = [index.partial for index in indexes]
        self._members = [None if each is None else compile_filter(each, context) for each in partial]
        self._arrays = dict.fromkeys((index.id for index in indexes), 0)

    # --- beginning and end -------------------------------------------------------------------------------------------

    def begin(self, session: Session) -> None:
        """Make the tables, and have the log kept."""
        log, table = self._log, self._table
        self._writing.sharing.claim(self._indexes[0].id)
        for index in self._indexes:
            make_table(session, index)
        session.execute(f"CREATE TABLE {log} (row INTEGER PRIMARY KEY, document BLOB)")
        note = f"INSERT OR IGNORE INTO {log} VALUES"  # the first that is noted of a row stays
        for event, row in (
            ("INSERT", "new.id, NULL"),
            ("UPDATE", "old.id, old.document"),
            ("DELETE", "old.id, old.document"),
        ):
            trigger = f"CREATE TRIGGER {log}_{event} AFTER {event} ON {table}"
            session.execute(f"{trigger} BEGIN {note} ({row}); END")

    def finish(self) -> CreateIndexResult:
        """Put in what was noted, then the indexes into the catalog."""
        while True:
            with self._writing.transaction(self._context, partial=True) as transaction:
                if self._catch_up(transaction.session, time.monotonic() + SLICE_SECONDS):
                    break
        with self._writing.transaction(self._context) as transaction:
            session = transaction.session
            self._catch_up(session, None)  # what others have written in between
            collection = self._here(session)
            before = len(collection.indexes)
            for index in self._indexes:
                if existing(collection, index.specification) is None:
                    require_room(collection, index.specification)
                    collection = put_index(session, collection, replace(index, arrays=self._arrays[index.id]))
                else:  # somebody else was faster
                    discard(session, index.table)
            drop_log(session, self._log)
            return CreateIndexResult(False, before, len(collection.indexes))

    def clear(self) -> None:
        """Leave nothing; else the sweep does it."""
        brief = Context(time.monotonic() + _CLEARING_SECONDS)
        with (
            contextlib.suppress(DoorleafError, apsw.Error),
            self._writing.transaction(brief, partial=True) as transaction,
        ):
            drop_unfinished(transaction, self._log)

    def release(self) -> None:
        """Say that nobody is building any more."""
        self._writing.sharing.disclaim(self._indexes[0].id)

    # --- what is stored ----------------------------------------------------------------------------------------------

    def scan(self) -> None:
        """Put in the keys of all documents that nobody changes meanwhile."""
        last, over = 0, False
        while not over:
            found: list[list[Entry]] = [[] for _ in self._indexes]
            with self._writing.reading(self._context) as session:
                last, over = self._read(session, last, found)
            for index, entries in zip(self._indexes, found, strict=True):
                entries.sort()
                self._put(index, entries)

    def _read(self, session: Session, last: int, found: list[list[Entry]]) -> tuple[int, bool]:
        """Compute the keys of the next documents behind row ``last``; their last row, and whether there are no more."""
        self._here(session)
        statement = f"SELECT id, document FROM {self._table} WHERE id > ? ORDER BY id"  # noqa: S608 - an integer id
        size = 0
        for row, encoded in session.rows(statement, (last,)):
            self._context.check()
            for entries, keys in zip(found, self._keys(decode(encoded)), strict=True):
                entries += [(key, row) for key in keys]
                size += sum(map(len, keys)) + _OVERHEAD * len(keys)
            last = row
            if size > KEYS_BYTES:
                return last, False
        return last, True

    def _put(self, index: Index, entries: list[Entry]) -> None:
        rest = iter(entries)
        some = [*islice(rest, _AT_ONCE)]
        while some:
            with self._writing.transaction(self._context, partial=True) as transaction:
                self._here(transaction.session)
                while some:
                    self._context.check_now()
                    self._put_some(transaction.session, index, some)
                    some = [*islice(rest, _AT_ONCE)]
                    if self._writing.over():
                        break

    def _put_some(self, session: Session, index: Index, entries: list[Entry]) -> None:
        try:
            session.connection.executemany(self._insert(index), entries)
        except apsw.ConstraintError:
            for key, row in entries:  # some of them are there already
                self._add(session, index, key, row)

    def _insert(self, index: Index) -> str:
        """The statement that puts in a key, unless its row is in the log."""
        noted = f"SELECT 1 FROM {self._log} WHERE row = ?2"  # noqa: S608 - integer ids
        return f"INSERT INTO {index.table} (key, row) SELECT ?1, ?2 WHERE NOT EXISTS ({noted})"

    def _add(self, session: Session, index: Index, key: bytes, row: int) -> None:
        """Put in one key; raises 11000 where another document has it at this moment."""
        while True:
            try:
                session.execute(self._insert(index), (key, row))
                return
            except apsw.ConstraintError:
                owner = session.execute(f"SELECT row FROM {index.table} WHERE key = ?", (key,)).get  # noqa: S608
            if owner == row:
                return
            noted = session.execute(f"SELECT document FROM {self._log} WHERE row = ?", (owner,)).get  # noqa: S608
            if noted is None:
                document = session.execute(f"SELECT document FROM {self._table} WHERE id = ?", (row,)).get  # noqa: S608
                raise duplicate(self._here(session), index, key, decode(document))
            self._forget(session, owner, noted)

    def _keys(self, document: Document, *, gone: bool = False) -> Iterator[list[bytes]]:
        """What each index has of ``document``, or had where that is ``gone``."""
        for index, member in zip(self._indexes, self._members, strict=True):
            if member is not None and not member(document):
                yield []
                continue
            self._context.check_now()
            keys, arrays = index.pattern.keys(document, self._context.check)
            if arrays and index.hashed and not gone:
                raise DataError("hashed indexes do not currently support array values", number=16766)
            self._arrays[index.id] |= arrays
            yield keys

    # --- what changes meanwhile --------------------------------------------------------------------------------------

    def _catch_up(self, session: Session, until: float | None) -> bool:
        """Put in the documents of rows in the log as they are now, up to an instant; whether all of them are."""
        self._here(session)
        statement = f"SELECT row, document FROM {self._log} LIMIT {_AT_ONCE}"  # noqa: S608 - integer ids
        while noted := [*session.execute(statement)]:
            for row, before in noted:
                self._context.check_now()
                if until is not None and time.monotonic() >= until:
                    return False
                self._catch_up_with(session, row, before)
        return True

    def _catch_up_with(self, session: Session, row: int, before: bytes | None) -> None:
        if before is not None:
            self._forget(session, row, before)
        session.execute(f"DELETE FROM {self._log} WHERE row = ?", (row,))  # noqa: S608 - integer ids
        now = session.execute(f"SELECT document FROM {self._table} WHERE id = ?", (row,)).get  # noqa: S608
        if now is not None:
            for index, keys in zip(self._indexes, self._keys(decode(now)), strict=True):
                for key in keys:
                    self._context.check()
                    self._add(session, index, key, row)

    def _forget(self, session: Session, row: int, before: bytes) -> None:
        """Take out what the indexes may have of the document that a row in the log had ``before``."""
        for index, keys in zip(self._indexes, self._keys(decode(before), gone=True), strict=True):
            for key in keys:
                self._context.check()
                session.execute(index.delete, (key, row))
        session.execute(f"UPDATE {self._log} SET document = NULL WHERE row = ?", (row,))  # noqa: S608 - integer ids

    def _here(self, session: Session) -> Collection:
        """The collection as it is, which has to be the one that the build began with."""
        collection = session.catalog.get(self._namespace)
        if collection is None or collection.id != self._collection:
            raise DataError(f"Index build aborted: collection {self._namespace} was dropped", number=276)
        return collection


# --- what is left ----------------------------------------------------------------------------------------------------


def left(session: Session) -> list[str]:
    """The logs of builds that nobody carries out any more."""
    claim = session.storage.sharing.claimed
    return [log for log in unfinished(session.connection) if not claim(int(log[1:].partition("_")[0]))]


def drop_log(session: Session, log: str) -> None:
    """Note nothing more."""
    for event in ("INSERT", "UPDATE", "DELETE"):
        session.execute(f"DROP TRIGGER IF EXISTS {log}_{event}")
    session.execute(f"DROP TABLE {log}")


def drop_unfinished(transaction: Transaction, log: str) -> None:
    """Take away the indexes that were being built with ``log``, unless that has been done."""
    session = transaction.session
    if log in unfinished(session.connection):
        for table in tables_of(log):
            discard(session, table)
        drop_log(session, log)
