"""Looking for damage: SQLite's own check, each document against its checksum, every index against its collection."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from zlib import crc32

import apsw
from bson.errors import BSONError

from doorleaf.documents import Document
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import Matcher, compile_filter
from doorleaf.stores.embedded.catalog import Catalog, Collection, Index, load, tables_of, unfinished
from doorleaf.stores.embedded.encoding import decode
from doorleaf.stores.embedded.file.sqlite import DamagedDatabase, connect_to_look

MOST_PROBLEMS = 100
"""Problems that are told of one thing; more are counted as one."""

_UNREADABLE = (apsw.CorruptError, apsw.NotADBError, apsw.IOError, apsw.SQLError)


class Keys:
    """The entries that documents have in an index; ``entries`` counts them."""

    def __init__(self, index: Index, context: Context) -> None:
        self.index = index
        self.entries = 0
        self._step = context.check
        self._member: Matcher | None = None if index.partial is None else compile_filter(index.partial, context)

    def of(self, document: Document) -> tuple[list[bytes], int]:
        """The keys of ``document``, and which of the index's fields have an array in it."""
        if self._member is not None and not self._member(document):
            return [], 0
        keys, arrays = self.index.pattern.keys(document, self._step)
        self.entries += len(keys)
        return keys, arrays


def database(connection: apsw.Connection, catalog: Catalog, context: Context) -> Iterator[str]:
    """Every problem of a whole file, a line for each, as its transaction sees it. Raises the driver's errors."""
    yield from _structure(connection, "PRAGMA integrity_check(%d)")
    yield from _tables(connection, catalog)
    for collection in catalog.collections.values():
        for problem in contents(connection, collection, context):
            yield f"{collection.namespace}: {problem}"


def one_collection(connection: apsw.Connection, collection: Collection, context: Context) -> Iterator[str]:
    """Every problem of one collection and its indexes, a line for each. Raises StoreTimeout by the context."""
    for table in (collection.table, *(index.table for index in collection.indexes)):
        context.check_now()
        yield from _structure(connection, f"PRAGMA integrity_check({table})")
    yield from contents(connection, collection, context)


def contents(connection: apsw.Connection, collection: Collection, context: Context) -> Iterator[str]:
    """Each document against its checksum, each index against the documents, and the kept counts."""
    keys = [Keys(index, context) for index in collection.indexes]
    found: list[str] = []
    documents = size = 0
    rows = connection.execute(f"SELECT id, document, sum FROM {collection.table}")  # noqa: S608 - an integer id
    try:
        for row, encoded, checksum in rows:
            context.check()
            documents, size = documents + 1, size + len(encoded)
            problems = _of_row(connection, keys, row, encoded, checksum, collection.constants)
            found += islice(problems, MOST_PROBLEMS - len(found))
    except _UNREADABLE as error:
        yield f"its documents cannot be read: {error}"
        return
    finally:
        rows.close()
    yield from found
    yield from _indexes(connection, keys, context)
    kept = connection.execute("SELECT documents, size FROM counts WHERE collection = ?", (collection.id,)).get
    if kept != (documents, size):
        yield f"there are {documents} documents of {size} bytes, and not as many as is kept"


def _of_row(
    connection: apsw.Connection, keys: list[Keys], row: int, encoded: bytes, checksum: int, constants: Document
) -> Iterator[str]:
    if crc32(encoded) != checksum:
        yield f"the document in row {row} is not as it was written"
        return
    try:
        document = decode(encoded)
    except BSONError:
        yield f"the document in row {row} is no BSON"
        return
    if any(document.get(name) != text for name, text in constants.items()):
        yield f"the document in row {row} lacks what all are said to have"
    for each in keys:
        index = each.index
        expected, arrays = each.of(document)
        if arrays & ~index.arrays:
            yield f"index {index.name} does not know that fields of the document in row {row} hold arrays"
        for key in expected:
            try:
                there = connection.execute(f"SELECT 1 FROM {index.table} WHERE key = ? AND row = ?", (key, row)).get  # noqa: S608
            except _UNREADABLE as error:
                yield f"index {index.name} cannot be read: {error}"
                return
            if not there:
                yield f"index {index.name} lacks the document in row {row}"


def _indexes(connection: apsw.Connection, keys: list[Keys], context: Context) -> Iterator[str]:
    for each in keys:
        index, expected = each.index, each.entries
        context.check_now()
        try:
            there = connection.execute(f"SELECT COUNT(*) FROM {index.table}").get  # noqa: S608 - an integer id
        except _UNREADABLE as error:
            yield f"index {index.name} cannot be read: {error}"
            continue
        if there != expected:
            yield f"index {index.name} has {there} entries, and its documents {expected}"


def _structure(connection: apsw.Connection, pragma: str) -> Iterator[str]:
    try:
        for (answer,) in connection.execute(pragma % MOST_PROBLEMS if "%" in pragma else pragma):
            if answer != "ok":
                yield " ".join(str(answer).split())
    except _UNREADABLE as error:
        yield f"the file cannot be read: {error}"


def _tables(connection: apsw.Connection, catalog: Catalog) -> Iterator[str]:
    """Tables that are there and belong to nothing, and such as are missing."""
    named = {collection.table for collection in catalog.collections.values()}
    named |= {index.table for collection in catalog.collections.values() for index in collection.indexes}
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE name GLOB '[di][0-9]*'")}
    building = {table for log in unfinished(connection) for table in tables_of(log)}
    for name in sorted(there - named - building):
        yield f"table {name} belongs to no collection"
    for name in sorted(named - there):
        yield f"table {name} is missing"
    counted = {number for (number,) in connection.execute("SELECT collection FROM counts")}
    if counted != {collection.id for collection in catalog.collections.values()}:
        yield "counts are kept of other collections than there are"


def file(path: Path) -> list[str]:
    """The problems of the file ``path`` of the newest format, :data:`MOST_PROBLEMS` lines at the most; the file is only
    looked at. One that cannot be read has that as its problem."""
    try:
        with contextlib.closing(connect_to_look(path)) as connection:
            connection.set_busy_timeout(5000)
            connection.execute("BEGIN")
            return [*islice(database(connection, load(connection), Context()), MOST_PROBLEMS)]
    except DamagedDatabase as error:
        return [error.message]
    except (apsw.Error, BSONError) as error:
        return [str(error)]
