"""SQLite as this engine wants it: which version, how a connection is made, and what its errors mean."""

from __future__ import annotations

from pathlib import Path

import apsw

from doorleaf.errors import DoorleafError, StoreTimeout, StoreUnavailable

OLDEST = (3, 51, 3)
"""Every earlier SQLite can lose commits when two connections write and fold in the log at the same instant."""

STATEMENTS = 512
"""Prepared statements that a connection keeps."""

_SETTINGS = (
    (apsw.SQLITE_DBCONFIG_DEFENSIVE, 1),
    (apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
    (apsw.SQLITE_DBCONFIG_DQS_DML, 0),
    (apsw.SQLITE_DBCONFIG_DQS_DDL, 0),
    # Else SQLite prepares a join anew for every value that it is given: a point read takes twice as long.
    (apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1),
)

_DAMAGE = frozenset((apsw.SQLITE_CORRUPT, apsw.SQLITE_NOTADB))

_NO_SPACE = (apsw.SQLITE_IOERR_SHMSIZE, apsw.SQLITE_IOERR_WRITE)
"""What else SQLite says where a disk, a quota or a limit of file sizes is full."""

DISK_FULL = "disk full: nothing was written"
FULL_IN_PART = "disk full: a part was written before, and stays"
"""What is said of a write in several transactions, the first of which were committed."""

_ELSEWHERE = (
    *(apsw.BusyError, apsw.CantOpenError, apsw.FullError, apsw.IOError, apsw.LockedError),
    *(apsw.InterruptError, apsw.PermissionsError, apsw.ProtocolError, apsw.ReadOnlyError),
)
"""Errors that say nothing about the content of a file."""


class DamagedDatabase(StoreUnavailable):
    """The file is not a database of ours, or its content is damaged; the message is for the operator."""


def version() -> str:
    """The version of SQLite that is in use."""
    return apsw.sqlite_lib_version()


def require_current(version: str) -> None:
    """Raise ``StoreUnavailable`` for a version of SQLite that can lose what was committed."""
    if tuple(int(part) for part in version.split(".")) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise StoreUnavailable(
            f"SQLite {version} can lose committed writes, and at least {oldest} is needed: install a current apsw"
        )


def connect(path: Path, *, create: bool = False) -> apsw.Connection:
    """A connection to the file ``path``, which is made only when ``create`` says so."""
    flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
    connection = apsw.Connection(str(path), flags, statementcachesize=STATEMENTS)
    for setting, value in _SETTINGS:
        connection.config(setting, value)
    return connection


def connect_to_look(path: Path) -> apsw.Connection:
    """A connection to the file ``path`` that changes nothing and leaves nothing beside it."""
    # Without a log nobody has the file open, and it may be taken for one that does not change.
    still = "" if path.with_name(f"{path.name}-wal").exists() else "?immutable=1"
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(path.absolute().as_uri() + still, flags)
    for setting, value in _SETTINGS:
        connection.config(setting, value)
    return connection


def beginning(path: Path) -> tuple[bytes, int]:
    """The first 100 bytes of the file ``path``, and how many it has.

    SQLite reads them: whoever else opens and closes a database file drops all locks that its process has on it.
    """
    file = apsw.VFSFile("", str(path), [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READONLY, 0])
    try:
        size = file.xFileSize()
        return file.xRead(min(size, 100), 0), size
    finally:
        file.xClose()


def code(error: BaseException) -> int:
    """SQLite's result code in ``error``."""
    return int(getattr(error, "result", apsw.SQLITE_ERROR) or apsw.SQLITE_ERROR)


def is_full(error: BaseException | None) -> bool:
    """Whether the disk had no space for what SQLite wanted to write."""
    if isinstance(error, apsw.FullError):
        return True
    return isinstance(error, apsw.IOError) and getattr(error, "extendedresult", 0) in _NO_SPACE


def failure(error: apsw.Error) -> DoorleafError:
    """The error that a client is told for SQLite's ``error`` at run time: no path, no SQL."""
    number = code(error)
    if is_full(error):
        return StoreUnavailable(DISK_FULL)
    if number == apsw.SQLITE_INTERRUPT:
        return StoreTimeout("operation exceeded time limit")
    if number in _DAMAGE:
        return DamagedDatabase("the database file is damaged")
    if number in (apsw.SQLITE_BUSY, apsw.SQLITE_LOCKED):
        return StoreUnavailable("the database is busy: another process holds it")
    if number == apsw.SQLITE_READONLY:
        return StoreUnavailable("the database file cannot be written")
    if number == apsw.SQLITE_TOOBIG:
        return StoreUnavailable("a document or key is too large for the database file")
    return StoreUnavailable("the database file cannot be read or written")


def opening_failure(path: Path, error: Exception) -> StoreUnavailable:
    """The error that the operator is told when the file ``path`` does not open."""
    if isinstance(error, _ELSEWHERE):
        return StoreUnavailable(f"cannot open the database file {path}: {error}")
    return DamagedDatabase(f"the database file {path} is damaged: {error}")
