"""The file: opening it safely, connections to it, and what SQLite's errors mean."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

from bson.errors import BSONError

from doorleaf.errors import DoorleafError, StoreTimeout, StoreUnavailable
from doorleaf.mql.context import Context, timed_out
from doorleaf.stores.embedded.catalog import SCHEMAS, VERSION, Catalog, load

FILE = "doorleaf.sqlite3"
APPLICATION_ID = 0x446F6F72
FORMAT = len(SCHEMAS)

CHECK_SECONDS = 1.0
"""How long opening may look for damage; what is larger is checked as it is read."""

LOCK_SECONDS = 30.0
"""How long a batch of writes waits for another process to finish its own."""

_PROGRESS_STEPS = 20_000


class DamagedDatabase(StoreUnavailable):
    """The file is not a database of ours, or its content is damaged; the message is for the operator."""


class Session:
    """A connection with the catalog that its transaction sees; used by one thread at a time."""

    def __init__(self, storage: Storage, connection: sqlite3.Connection) -> None:
        self.storage = storage
        self.connection = connection
        self.execute = connection.execute
        self.catalog = storage.latest
        self._open: set[sqlite3.Cursor] = set()

    def begin(self) -> None:
        """Start reading one snapshot, with the catalog that belongs to it."""
        self.execute("BEGIN")
        self.refresh()

    def refresh(self) -> None:
        """Load the catalog when another connection or process has changed it."""
        (version,) = self.execute(VERSION).fetchone()
        if version != self.catalog.version:
            latest = self.storage.latest
            self.catalog = latest if latest.version == version else load(self.connection)

    def bump(self, catalog: Catalog) -> None:
        """Make ``catalog`` this session's, under a new version that other sessions and processes will see."""
        version = catalog.version + 1
        self.execute("UPDATE state SET catalog = ? WHERE id = 1", (version,))
        self.catalog = replace(catalog, version=version)

    def rows(self, statement: str, parameters: Sequence[Any]) -> Iterator[Any]:
        """The rows of a statement, which ends with them or with the transaction, whoever stopped asking.

        A statement left open would keep the snapshot, and tables from being dropped.
        """
        cursor = self.execute(statement, parameters)
        self._open.add(cursor)
        try:
            for row in cursor:  # noqa: UP028  # `yield from` would close the cursor by itself
                yield row
        finally:
            self._finish(cursor)

    def _finish(self, cursor: sqlite3.Cursor) -> None:
        # A reader that is collected late finds its statement ended, perhaps with the connection.
        try:
            self._open.remove(cursor)
        except KeyError:
            return
        cursor.close()

    def finish(self) -> None:
        """End every statement that is still open."""
        for cursor in tuple(self._open):
            self._finish(cursor)

    def end(self) -> None:
        """Leave the snapshot."""
        self.finish()
        if self.connection.in_transaction:
            self.execute("ROLLBACK")

    @contextlib.contextmanager
    def reading(self, context: Context) -> Iterator[None]:
        """One snapshot, with statements that stop at ``context``'s deadline."""
        self.begin()
        try:
            with self.limited(context):
                yield
        finally:
            self.end()

    @contextlib.contextmanager
    def limited(self, context: Context) -> Iterator[None]:
        """Interrupt long statements at ``context``'s deadline."""
        deadline = context.deadline
        if deadline is None:
            yield
            return
        self.connection.set_progress_handler(lambda: time.monotonic() >= deadline, _PROGRESS_STEPS)
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                raise timed_out() from None
            raise
        finally:
            self.connection.set_progress_handler(None, 0)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


class Storage:
    """One data folder's file. ``latest`` is the newest catalog that this process has committed or read."""

    def __init__(self, folder: Path, synchronous: str = "FULL") -> None:
        if synchronous not in ("FULL", "NORMAL", "OFF", "EXTRA"):
            raise ValueError(f"synchronous is FULL, NORMAL, OFF or EXTRA, not {synchronous!r}")
        self.folder = folder
        self.path = folder / FILE
        self.synchronous = synchronous
        self.latest = Catalog(0, {})

    def prepare(self) -> None:
        """Create the file or check it. Raises :class:`DamagedDatabase`, or ``StoreUnavailable`` with the reason."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not self.path.exists():
                self._create()
            if self.path.stat().st_size == 0:
                raise DamagedDatabase(f"the database file {self.path} is damaged: it is empty")
            self._check_length()
        except OSError as error:
            raise StoreUnavailable(f"cannot open the database file {self.path}: {error.strerror}") from error
        except sqlite3.Error as error:
            raise StoreUnavailable(f"cannot make the database file {self.path}: {error}") from error
        connection = None
        try:
            connection = self._connect(cache_pages=4000, busy=10.0)
            self._check_format(connection)
            self._switch_to_wal(connection)
            _upgrade(connection)
            self._look_for_damage(connection)
            self.latest = load(connection)
        except (sqlite3.Error, BSONError) as error:
            raise self._opening_failed(error) from error
        finally:
            if connection is not None:
                connection.close()

    def session(self, *, cache_pages: int = 2000, busy: float = 5.0, writing: bool = False) -> Session:
        """A new connection; one that is not ``writing`` cannot change anything."""
        connection = self._connect(cache_pages=cache_pages, busy=busy)
        if not writing:
            connection.execute("PRAGMA query_only = ON")
        return Session(self, connection)

    def _connect(self, *, cache_pages: int, busy: float) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, cached_statements=512, timeout=busy
        )
        for pragma in (
            f"synchronous = {self.synchronous}",
            "trusted_schema = OFF",
            "cell_size_check = ON",
            "temp_store = MEMORY",
            f"cache_size = {cache_pages}",
            f"journal_size_limit = {64 * 1024 * 1024}",
        ):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _create(self) -> None:
        """Make the file whole before it has its name: one that is there is never half made, however we are stopped."""
        new = self.folder / f".{FILE}.{secrets.token_hex(8)}"
        os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            connection = sqlite3.connect(new, isolation_level=None)
            with contextlib.closing(connection):
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("BEGIN")
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                _add_schemas(connection)
                connection.execute("COMMIT")
            _name(new, self.path)
        finally:
            new.unlink(missing_ok=True)

    def _switch_to_wal(self, connection: sqlite3.Connection) -> None:
        # Two processes that create the file at once can meet here, and SQLite does not wait for this switch.
        until = time.monotonic() + 10
        while True:
            try:
                (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(random.uniform(0.005, 0.05))  # noqa: S311 - jitter
                continue
            if mode != "wal":
                raise StoreUnavailable(f"the folder {self.folder} cannot hold a database: its file system lacks locks")
            return

    def _check_length(self) -> None:
        """Raise for a file that was cut off: SQLite reads what is missing as zeros."""
        log = self.path.with_name(f"{FILE}-wal")
        for attempt in range(3):
            with self.path.open("rb") as file:
                head = file.read(100)
                size = file.seek(0, os.SEEK_END)
            page, pages = int.from_bytes(head[16:18], "big"), int.from_bytes(head[28:32], "big")
            known = head[24:28] == head[92:96]  # else something has written the file that does not keep the number
            if not known or size >= (65536 if page == 1 else page) * pages or (log.exists() and log.stat().st_size):
                return
            if attempt < 2:
                time.sleep(0.05)  # another process may be folding its log in at this moment
        raise DamagedDatabase(f"the database file {self.path} is damaged: its end is missing")

    def _check_format(self, connection: sqlite3.Connection) -> None:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise DamagedDatabase(f"the file {self.path} is no database of Doorleaf")
        if version > FORMAT:
            raise StoreUnavailable(
                f"the database file {self.path} has format {version}; this version reads formats up to {FORMAT}"
            )
        if version < 1:
            raise DamagedDatabase(f"the database file {self.path} is damaged: its format number is {version}")

    def _look_for_damage(self, connection: sqlite3.Connection) -> None:
        until = time.monotonic() + CHECK_SECONDS
        connection.set_progress_handler(lambda: time.monotonic() >= until, _PROGRESS_STEPS)
        try:
            (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if answer != "ok":
                raise DamagedDatabase(f"the database file {self.path} is damaged: {' '.join(answer.split())}")
            for collection in load(connection).collections.values():
                documents = connection.execute(f"SELECT document, sum FROM {collection.table}")  # noqa: S608
                for document, checksum in documents:
                    if crc32(document) != checksum:
                        place = f"a document of {collection.namespace} is not as it was written"
                        raise DamagedDatabase(f"the database file {self.path} is damaged: {place}")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
        finally:
            connection.set_progress_handler(None, 0)

    def _opening_failed(self, error: sqlite3.Error | BSONError) -> StoreUnavailable:
        code = _code(error)
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or not isinstance(error, sqlite3.OperationalError):
            return DamagedDatabase(f"the database file {self.path} is damaged: {error}")
        return StoreUnavailable(f"cannot open the database file {self.path}: {error}")

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file; another process that reads may keep that from happening."""
        with contextlib.suppress(sqlite3.Error):
            connection = self._connect(cache_pages=200, busy=1.0)
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                connection.close()


def _add_schemas(connection: sqlite3.Connection) -> None:
    """Bring the file from its format to the newest, in the transaction at hand."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for schema in SCHEMAS[version:]:
        for statement in schema:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {FORMAT}")


def _upgrade(connection: sqlite3.Connection) -> None:
    """Bring a file of an earlier format to the newest, unless another process has done so."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version < FORMAT:
        connection.execute("BEGIN IMMEDIATE")
        _add_schemas(connection)
        connection.execute("COMMIT")


def _name(new: Path, path: Path) -> None:
    """Give the file ``new`` its name, unless another process was faster."""
    try:
        os.link(new, path)
    except FileExistsError:
        return
    except OSError:
        # A file system without links: the name may then be taken twice, by files that are equally empty.
        if not path.exists():
            new.rename(path)


def begin_writing(session: Session) -> None:
    """Take the write lock, waiting for other processes; raises ``StoreUnavailable`` when they do not let go."""
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            session.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY:
                raise
            if time.monotonic() > until:
                raise StoreUnavailable("the database is busy: another process holds it") from None
            time.sleep(random.uniform(0.0002, 0.0015))  # noqa: S311 - jitter


def _code(error: BaseException) -> int:
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) or sqlite3.SQLITE_ERROR) & 0xFF


def failure(error: sqlite3.Error) -> DoorleafError:
    """What a client is told about SQLite's ``error`` at run time: no path, no SQL."""
    code = _code(error)
    if code == sqlite3.SQLITE_FULL:
        return StoreUnavailable("disk full: nothing was written")
    if code == sqlite3.SQLITE_INTERRUPT:
        return StoreTimeout("operation exceeded time limit")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DamagedDatabase("the database file is damaged")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreUnavailable("the database is busy: another process holds it")
    if code == sqlite3.SQLITE_READONLY:
        return StoreUnavailable("the database file cannot be written")
    if code == sqlite3.SQLITE_TOOBIG:
        return StoreUnavailable("a document or key is too large for the database file")
    return StoreUnavailable("the database file cannot be read or written")
