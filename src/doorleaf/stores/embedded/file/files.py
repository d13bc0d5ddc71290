"""The files of a data folder: one for the documents of callers, and one for what the server knows about callers.

Each has its own log, its own turns to write and its own catalog, so that nothing that callers do keeps a login waiting.
What the server knows was in the one file up to format 4, and is moved when that is opened, once: first it is put into
its own file, then it is taken out of the other, which notes that at the same instant. Until then the other counts.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import apsw
import bson

from doorleaf.documents import CODEC
from doorleaf.operations import Namespace
from doorleaf.stores.embedded.administration import drop_database, make_collection
from doorleaf.stores.embedded.catalog import Collection, load, seal_index
from doorleaf.stores.embedded.file import verify
from doorleaf.stores.embedded.file.sqlite import DamagedDatabase, opening_failure
from doorleaf.stores.embedded.file.storage import FILE, FORMAT, SYSTEM_FILE, Session, Storage, begin_writing, counts
from doorleaf.stores.embedded.indexes import ID_INDEX, add_index
from doorleaf.stores.embedded.writing.rows import Transaction

SYSTEM_DATABASE = "doorleaf"
"""The database of what the server knows about callers, unless the settings name another."""

_log = logging.getLogger(__name__)


def there(folder: Path) -> list[Path]:
    """The database files of ``folder`` that are there; the logs beside them have their names and ``-wal``."""
    return [path for path in (folder / FILE, folder / SYSTEM_FILE) if path.exists()]


class Files:
    """Both files of ``folder``; ``database`` is the one that has a file of its own."""

    def __init__(self, folder: Path, synchronous: str = "FULL", database: str = SYSTEM_DATABASE) -> None:
        self.main = Storage(folder, synchronous)
        self.system = Storage(folder, synchronous, SYSTEM_FILE)
        self.database = database

    def prepare(self) -> None:
        """Create or check both, and move what is in the wrong one; raises as :meth:`Storage.prepare` does."""
        if not self.main.path.exists():
            self.main.require_no_log()
            self.system.prepare()
            self.main.apart = 1
        self.main.prepare()
        try:
            with contextlib.closing(self.main.session(busy=10.0, writing=True)) as session:
                if not self._settled(session):
                    self._settle(session)
                elif not self.system.path.exists():
                    raise DamagedDatabase(_missing(self.system.path))
            self.main.presence.forget()  # nobody has the log open that was there
            self.system.prepare()
        except apsw.Error as error:
            raise opening_failure(self.main.path, error) from error

    @property
    def names(self) -> frozenset[str]:
        """The databases that are in the file of their own."""
        return frozenset((self.database, *self.system.latest.databases()))

    def inspect(self) -> tuple[int, list[str]]:
        """The format of the files that are there, and what is wrong with their content; nothing is changed."""
        format = self.main.inspect()
        if format < FORMAT:
            return format, []
        problems = verify.file(self.main.path)
        if self.system.path.exists():
            self.system.inspect()
            problems += [f"{SYSTEM_FILE}: {problem}" for problem in verify.file(self.system.path)]
        elif _notes_the_other(self.main.path):
            problems.append(_missing(self.system.path))
        return format, problems

    # --- moving ------------------------------------------------------------------------------------------------------

    def _settled(self, session: Session) -> bool:
        noted = bool(session.execute("SELECT system FROM state WHERE id = 1").get)
        return noted and not session.catalog.of(self.database)

    def _settle(self, session: Session) -> None:
        """Move the database into its own file, unless another process has."""
        sharing = self.main.sharing
        sharing.take()
        try:
            begin_writing(session)
            session.refresh()
            self.system.prepare()
            if not self._settled(session) and self._may_move(session):
                self._move(session)
            session.execute("COMMIT")
            self.main.latest = session.catalog
        finally:
            session.end()
            sharing.give()

    def _may_move(self, session: Session) -> bool:
        """Whether what is in the main file counts. What comes into it later, from a server of an earlier version that
        was still running, does not."""
        if not session.execute("SELECT system FROM state WHERE id = 1").get:
            return True
        if self.system.latest.of(self.database):
            _log.warning(
                "%s holds collections of the database %s, which is in %s: an earlier version has written them, and"
                " nobody reads them",
                *(self.main.path, self.database, self.system.path),
            )
            return False
        # From here on what is in the main file counts, until it has been moved.
        session.execute("UPDATE state SET system = 0 WHERE id = 1")
        session.execute("COMMIT")
        begin_writing(session)
        session.refresh()
        return True

    def _move(self, session: Session) -> None:
        """Copy, make sure that it is on the disk, then take out what was copied; the caller commits."""
        moved = session.catalog.of(self.database)
        if moved:
            with contextlib.closing(self.system.session(busy=10.0, writing=True)) as there:
                there.execute("PRAGMA synchronous = FULL")
                self._copy(session, there, moved)
                self.system.latest = load(there.connection)
        flush_names(self.main.folder)
        transaction = Transaction(session)
        drop_database(transaction, self.database)
        transaction.finish()
        session.execute("UPDATE state SET system = 1 WHERE id = 1")

    def _copy(self, here: Session, there: Session, collections: list[Collection]) -> None:
        """Exchange what the file of ``there`` has of the database for ``collections``, in one transaction."""
        begin_writing(there)
        try:
            there.refresh()
            transaction = Transaction(there)
            drop_database(transaction, self.database)
            for collection in collections:
                _copy(here, transaction, collection)
            transaction.finish()
            there.execute("COMMIT")
        finally:
            there.end()


def _copy(here: Session, transaction: Transaction, collection: Collection) -> None:
    """Make a collection with the rows of another file: documents, checksums and keys as they are."""
    there = transaction.session
    made = make_collection(transaction, Namespace(collection.database, collection.name), collection.options)
    _rows(here, there, collection.table, made.table, "id, document, sum")
    documents, size = counts(here, collection)
    transaction.count(made, documents, size)
    for index in collection.indexes:
        if index.name != ID_INDEX["name"]:
            made = add_index(transaction, made, index.specification)
        copy = made.index(index.name)
        assert copy is not None  # noqa: S101  # it was made just now
        _rows(here, there, index.table, copy.table, "key, row")
        encoded = bson.encode(index.specification, codec_options=CODEC)
        seal_index(there.connection, copy.id, made.id, encoded, index.arrays)


def _rows(here: Session, there: Session, table: str, other: str, columns: str) -> None:
    places = ", ".join("?" * len(columns.split(",")))
    insert = f"INSERT INTO {other} ({columns}) VALUES ({places})"  # noqa: S608 - tables named by integers
    found: Iterator[tuple[object, ...]] = here.rows(f"SELECT {columns} FROM {table}", ())  # noqa: S608
    there.connection.executemany(insert, found)


def _missing(path: Path) -> str:
    return (
        f"the database file {path} is missing, which holds keys, users and accounts: put it back,"
        " or run `doorleaf repair` to begin with none"
    )


def _notes_the_other(path: Path) -> bool:
    storage = Storage(path.parent)
    with contextlib.closing(storage.look()) as connection:
        return bool(connection.execute("SELECT system FROM state WHERE id = 1").get)


def begin_without(folder: Path) -> bool:
    """Make an empty file where the one of what is known about callers is missing; whether that was so."""
    storage = Storage(folder, file=SYSTEM_FILE)
    if storage.path.exists() or not (folder / FILE).exists() or not _notes_the_other(folder / FILE):
        return False
    storage.prepare()
    storage.close()
    return True


def flush_names(folder: Path) -> None:
    """See to it that the names of new files are on the disk."""
    with contextlib.suppress(OSError):  # not every file system can
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
