"""The file: opening it safely, connections to it, and what SQLite's errors mean."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import apsw
from bson.errors import BSONError

from doorleaf.errors import StoreUnavailable
from doorleaf.mql.context import Context, timed_out
from doorleaf.stores.embedded.catalog import SCHEMAS, VERSION, Catalog, Collection, load, seal
from doorleaf.stores.embedded.file.presence import Presence
from doorleaf.stores.embedded.file.room import Room
from doorleaf.stores.embedded.file.sharing import LOCK_SECONDS, Sharing
from doorleaf.stores.embedded.file.sqlite import (
    DamagedDatabase,
    beginning,
    connect,
    connect_to_look,
    opening_failure,
    require_current,
    version,
)

FILE = "doorleaf.sqlite3"
SYSTEM_FILE = "doorleaf-system.sqlite3"
"""The documents of callers, and what the server knows about them: see :mod:`doorleaf.stores.embedded.file.files`."""

APPLICATION_ID = 0x446F6F72
FORMAT = len(SCHEMAS)

CHECK_SECONDS = 1.0
"""How long opening may look for damage; what is larger is checked as it is read."""

_PROGRESS_STEPS = 20_000
_HELD_SECONDS = 0.002
_MOST_COUNTED = 128


class Session:
    """A connection with the catalog that its transaction sees; used by one thread at a time."""

    def __init__(self, storage: Storage, connection: apsw.Connection) -> None:
        self.storage = storage
        self.connection = connection
        self.execute = connection.execute
        self.catalog = storage.latest
        self._open: set[apsw.Cursor] = set()
        self._counted: tuple[int, dict[Hashable, int]] = (0, {})

    def begin(self) -> None:
        """Start reading one snapshot, with the catalog that belongs to it."""
        self.execute("BEGIN")
        self.refresh()

    def refresh(self) -> None:
        """Load the catalog when another connection or process has changed it."""
        version: int = self.execute(VERSION).get
        if version != self.catalog.version:
            latest = self.storage.latest
            self.catalog = latest if latest.version == version else load(self.connection, latest)

    def counted(self, what: Hashable, count: Callable[[], int]) -> int:
        """The answer of ``count``, remembered until anybody else writes to the file: for connections that do not."""
        version: int = self.execute("PRAGMA data_version").get
        known, counts = self._counted
        if version != known or len(counts) >= _MOST_COUNTED:
            counts = {}
            self._counted = version, counts
        found = counts.get(what)
        if found is None:
            found = counts[what] = count()
        return found

    def bump(self, catalog: Catalog) -> None:
        """Make ``catalog`` this session's, under a new version that other sessions and processes will see."""
        version = catalog.version + 1
        self.execute("UPDATE state SET catalog = ? WHERE id = 1", (version,))
        self.catalog = replace(catalog, version=version)

    def rows(self, statement: str, parameters: Sequence[Any]) -> Iterator[Any]:
        """The rows of a statement, which ends with them or with the transaction, whoever stopped asking.

        A statement left open would keep the snapshot, and tables from being dropped.
        """
        with self.opened(statement, parameters) as cursor:
            for row in cursor:  # noqa: UP028  # `yield from` would close the cursor by itself
                yield row

    @contextlib.contextmanager
    def opened(self, statement: str, parameters: Sequence[Any]) -> Iterator[apsw.Cursor]:
        """The cursor of a statement, for whoever reads very many rows; it ends as :meth:`rows` does."""
        cursor = self.execute(statement, parameters)
        self._open.add(cursor)
        try:
            yield cursor
        finally:
            self._finish(cursor)

    def _finish(self, cursor: apsw.Cursor) -> None:
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
        """One snapshot, with statements that stop at ``context``'s deadline; it may have to wait for its beginning."""
        while self.storage.sharing.held():
            time.sleep(_HELD_SECONDS)
            context.check_now()
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
        except apsw.InterruptError:
            raise timed_out() from None
        finally:
            self.connection.set_progress_handler(None)

    def close(self) -> None:
        """Close the connection."""
        if self.storage.presence.gone:
            # The last one would take away the log by its name, which may be that of another file now.
            self.connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self.connection.close()


class Storage:
    """One file of a data folder. ``latest`` is the newest catalog that this process has committed or read."""

    def __init__(self, folder: Path, synchronous: str = "FULL", file: str = FILE) -> None:
        require_current(version())
        if synchronous not in ("FULL", "NORMAL", "OFF", "EXTRA"):
            raise ValueError(f"synchronous is FULL, NORMAL, OFF or EXTRA, not {synchronous!r}")
        self.folder = folder
        self.path = folder / file
        self.synchronous = synchronous
        self.latest = Catalog(0, {})
        self.sharing = Sharing(self.path)
        self.presence = Presence(self.path)
        self.room = Room(folder)
        self.ticked = (-1, 0.0)
        self.apart = 0
        """Whether a file that is made notes that the one of the system database is beside it."""

    def prepare(self) -> None:
        """Create the file or check it. Raises :class:`DamagedDatabase`, or ``StoreUnavailable`` with the reason."""
        self.presence.forget()
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not self.path.exists():
                self.require_no_log()
                self._create()
            if self.path.stat().st_size == 0:
                raise DamagedDatabase(f"the database file {self.path} is damaged: it is empty")
            self._check_length()
        except OSError as error:
            raise StoreUnavailable(f"cannot open the database file {self.path}: {error.strerror}") from error
        except apsw.Error as error:
            raise StoreUnavailable(f"cannot make the database file {self.path}: {error}") from error
        connection = None
        try:
            connection = self._connect(cache_pages=4000, busy=10.0)
            self._check_format(connection)
            self._switch_to_wal(connection)
            _upgrade(connection)
            connection.execute("BEGIN")  # others may make and drop collections and indexes meanwhile
            self.latest = load(connection)
            self._look_for_damage(connection, self.latest)
            connection.execute("ROLLBACK")
            self.sharing.open()
            self.sharing.release()  # what an earlier process left counts no more
        except (apsw.Error, BSONError) as error:
            raise opening_failure(self.path, error) from error
        finally:
            if connection is not None:
                connection.close()

    def inspect(self) -> int:
        """Check the file that is there as :meth:`prepare` does, and change nothing; its format."""
        try:
            if self.path.stat().st_size == 0:
                raise DamagedDatabase(f"the database file {self.path} is damaged: it is empty")
            self._check_length()
            with contextlib.closing(self.look()) as connection:
                connection.set_busy_timeout(5000)
                self._check_format(connection)
                found: int = connection.execute("PRAGMA user_version").get
                if found == FORMAT:
                    connection.execute("BEGIN")
                    self._look_for_damage(connection, load(connection))
                return found
        except OSError as error:
            raise StoreUnavailable(f"cannot open the database file {self.path}: {error.strerror}") from error
        except (apsw.Error, BSONError) as error:
            raise opening_failure(self.path, error) from error

    def look(self) -> apsw.Connection:
        """A connection that changes nothing and leaves nothing beside the file."""
        return connect_to_look(self.path)

    def session(self, *, cache_pages: int = 2000, busy: float = 5.0, writing: bool = False) -> Session:
        """A new connection; one that is not ``writing`` cannot change anything."""
        self.sharing.open()
        connection = self._connect(cache_pages=cache_pages, busy=busy)
        if not writing:
            connection.execute("PRAGMA query_only = ON")
        session = Session(self, connection)
        if writing:
            session.begin()
            session.end()
            self.presence.writing()
        return session

    def _connect(self, *, cache_pages: int, busy: float) -> apsw.Connection:
        connection = connect(self.path)
        try:
            self.presence.opened()
            connection.set_busy_timeout(int(busy * 1000))
            for pragma in (
                f"synchronous = {self.synchronous}",
                "cell_size_check = ON",
                "temp_store = MEMORY",
                # What was deleted is overwritten where that costs no more writing.
                "secure_delete = FAST",
                f"cache_size = {cache_pages}",
                f"journal_size_limit = {64 * 1024 * 1024}",
            ):
                connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _create(self) -> None:
        """Make the file whole before it has its name: one that is there is never half made, however we are stopped."""
        new = self.folder / f".{self.path.name}.{secrets.token_hex(8)}"
        os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            connection = connect(new)
            with contextlib.closing(connection):
                # Nobody knows it yet, and it is flushed as a whole before it has its name.
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                connection.execute("PRAGMA journal_mode = MEMORY")
                connection.execute("BEGIN")
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                _add_schemas(connection)
                connection.execute("UPDATE state SET system = ?", (self.apart,))
                connection.execute("COMMIT")
                connection.execute("PRAGMA journal_mode = WAL")
            _flush(new)
            _name(new, self.path)
        finally:
            new.unlink(missing_ok=True)

    def require_no_log(self) -> None:
        """Raise where there is only the log of a database: SQLite would write it into a new file."""
        log = self.path.with_name(f"{self.path.name}-wal")
        if log.exists() and log.stat().st_size and not self.path.exists():
            raise DamagedDatabase(
                f"the database file {self.path} is missing, but its log {log.name} is there:"
                " put the file back, or move the log away to begin with an empty database"
            )

    def _switch_to_wal(self, connection: apsw.Connection) -> None:
        # Two processes that create the file at once can meet here, and SQLite does not wait for this switch.
        until = time.monotonic() + 10
        while True:
            try:
                mode = connection.execute("PRAGMA journal_mode = WAL").get
            except apsw.BusyError:
                if time.monotonic() > until:
                    raise
                time.sleep(random.uniform(0.005, 0.05))  # noqa: S311 - jitter
                continue
            if mode != "wal":
                raise StoreUnavailable(f"the folder {self.folder} cannot hold a database: its file system lacks locks")
            return

    def _check_length(self) -> None:
        """Raise for a file that was cut off: SQLite reads what is missing as zeros."""
        log = self.path.with_name(f"{self.path.name}-wal")
        for attempt in range(3):
            head, size = beginning(self.path)
            page, pages = int.from_bytes(head[16:18], "big"), int.from_bytes(head[28:32], "big")
            known = head[24:28] == head[92:96]  # else something has written the file that does not keep the number
            if not known or size >= (65536 if page == 1 else page) * pages or (log.exists() and log.stat().st_size):
                return
            if attempt < 2:
                time.sleep(0.05)  # another process may be folding its log in at this moment
        raise DamagedDatabase(f"the database file {self.path} is damaged: its end is missing")

    def _check_format(self, connection: apsw.Connection) -> None:
        version: int = connection.execute("PRAGMA user_version").get
        if connection.execute("PRAGMA application_id").get != APPLICATION_ID:
            raise DamagedDatabase(f"the file {self.path} is no database of Doorleaf")
        if version > FORMAT:
            raise StoreUnavailable(
                f"the database file {self.path} has format {version}; this version reads formats up to {FORMAT}"
            )
        if version < 1:
            raise DamagedDatabase(f"the database file {self.path} is damaged: its format number is {version}")

    def _look_for_damage(self, connection: apsw.Connection, catalog: Catalog) -> None:
        """Check the file as the transaction at hand sees it, to which ``catalog`` belongs, for a while."""
        until = time.monotonic() + CHECK_SECONDS
        connection.set_progress_handler(lambda: time.monotonic() >= until, _PROGRESS_STEPS)
        try:
            answer = connection.execute("PRAGMA quick_check(1)").get
            if answer != "ok":
                raise DamagedDatabase(f"the database file {self.path} is damaged: {' '.join(answer.split())}")
            for collection in catalog.collections.values():
                documents = connection.execute(f"SELECT document, sum FROM {collection.table}")  # noqa: S608
                for document, checksum in documents:
                    if crc32(document) != checksum:
                        place = f"a document of {collection.namespace} is not as it was written"
                        raise DamagedDatabase(f"the database file {self.path} is damaged: {place}")
        except apsw.InterruptError:
            pass
        finally:
            connection.set_progress_handler(None)

    def close(self) -> None:
        """Fold the log into the file and let go of what is shared; the sessions are closed before."""
        self.checkpoint()
        self.sharing.close()
        self.room.close()

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file; another process that reads may keep that from happening."""
        with contextlib.suppress(apsw.Error, StoreUnavailable):
            connection = self._connect(cache_pages=200, busy=1.0)
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                connection.close()


def counts(session: Session, collection: Collection) -> tuple[int, int]:
    """Documents and bytes of ``collection`` as of the last commit."""
    found = session.execute("SELECT documents, size FROM counts WHERE collection = ?", (collection.id,)).get
    return found or (0, 0)


def _add_schemas(connection: apsw.Connection) -> None:
    """Bring the file from its format to the newest, in the transaction at hand."""
    version: int = connection.execute("PRAGMA user_version").get
    for schema in SCHEMAS[version:]:
        for statement in schema:
            connection.execute(statement)
    if version < 4:
        seal(connection)
    connection.execute(f"PRAGMA user_version = {FORMAT}")


def _upgrade(connection: apsw.Connection) -> None:
    """Bring a file of an earlier format to the newest, unless another process has done so."""
    version: int = connection.execute("PRAGMA user_version").get
    if version < FORMAT:
        connection.execute("BEGIN IMMEDIATE")
        _add_schemas(connection)
        connection.execute("COMMIT")


def _flush(new: Path) -> None:
    handle = os.open(new, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
        except apsw.BusyError:
            if time.monotonic() > until:
                raise StoreUnavailable("the database is busy: another process holds it") from None
            time.sleep(random.uniform(0.0002, 0.0015))  # noqa: S311 - jitter
