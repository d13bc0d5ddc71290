"""Space on the disk: some is kept back, so that a disk that is full can be emptied by deleting.

The reserve is a file beside the database, whose first byte tells every process whether the disk was full. Then only
what does not make the database larger is written, until there is space again: the pages inside it that deletes and
drops have given back may be used. Where even that lacks space the reserve is emptied for it, and taken back after it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
from pathlib import Path

import apsw

from doorleaf.errors import StoreUnavailable
from doorleaf.stores.embedded.file.sqlite import DISK_FULL

FILE = "doorleaf.reserve"

MOST_BYTES = 16 * 1024 * 1024
SHARE = 16
"""The reserve takes this part of the disk, but no more than :data:`MOST_BYTES`."""

TEND_SECONDS = 0.25
IDLE_SECONDS = 1.0
VACUUM_SECONDS = 0.1

NOTE = "disk full: only what does not make the database larger is written, deletes and drops above all"

_MARK = b"\x01"

_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))

_log = logging.getLogger(__name__)


class Room:
    """The reserve of ``folder``, and what is written when it is used up."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / FILE
        self._file = -1
        self._tended = 0.0
        self._told = -60.0

    @property
    def is_full(self) -> bool:
        """Whether the disk was full, and there is not enough space since."""
        try:
            if self._file < 0:
                self._file = os.open(self._path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            return os.pread(self._file, 1, 0) in (b"", _MARK)
        except OSError:
            return False

    @property
    def wait(self) -> float:
        """Seconds after which :meth:`tend` wants to be called again: others may have used the disk up."""
        return TEND_SECONDS if self.is_full else IDLE_SECONDS

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def limit(self, connection: apsw.Connection) -> int | None:
        """The pages that the database may have at the end of ``connection``'s transaction; None for any number."""
        return connection.execute("PRAGMA page_count").get if self.is_full else None

    def require(self, connection: apsw.Connection, limit: int | None) -> None:
        """Raise ``StoreUnavailable`` when the transaction at hand has made the database larger than ``limit``."""
        if limit is not None and connection.execute("PRAGMA page_count").get > limit:
            raise StoreUnavailable(DISK_FULL)

    def release(self) -> bool:
        """Give the reserve's space back, since the disk is full; whether there was any, so that it may help."""
        try:
            if os.stat(self._path).st_size == 0:
                return False
            os.truncate(self._path, 0)
        except OSError:
            return False
        self._tell()
        return True

    def keep(self) -> None:
        """Take the space of the reserve, if there is any, and note whether there is as much again beside it."""
        try:
            size = self._size()
            with open(self._path, "ab", opener=_private) as file:
                if os.fstat(file.fileno()).st_size < size:
                    _allocate(file.fileno(), size)
            self._note(full=self._free() < size)
        except OSError as error:
            if error.errno in _FULL:
                self.release()
                return
            _log.warning("no space can be kept for a full disk in %s: %s", self._folder, error.strerror)
            self.close()
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def tend(self, connection: apsw.Connection, log_bytes: int) -> None:
        """After a transaction: see to it that the log can be folded in, and take the reserve back when that can be."""
        if not self.is_full:
            if self._free() >= log_bytes + self._size():
                return
            _fold(connection)
            if self._free() < self._size():
                self._note(full=True)
            return
        now = time.monotonic()
        if now - self._tended >= TEND_SECONDS:
            self._shrink(connection)
            self._tended = time.monotonic()
        _fold(connection)
        self.keep()

    def _shrink(self, connection: apsw.Connection) -> None:
        """Make the file smaller in steps whose log fits into the reserve, whose space they may need."""
        pages = max(1, self._size() // 4096 // 4)
        try:
            shrink(connection, pages, VACUUM_SECONDS)
        except (apsw.FullError, apsw.IOError):
            _fold(connection)
            if self.release():
                with contextlib.suppress(apsw.FullError, apsw.IOError):
                    shrink(connection, pages, VACUUM_SECONDS)

    def _note(self, *, full: bool) -> None:
        was = self.is_full
        with open(self._path, "r+b", buffering=0) as file:
            file.write(_MARK if full else b"\x00")
        if full:
            self._tell()
        elif was:
            _log.info("there is space again for the database in %s", self._folder)

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._told >= 60:
            self._told = now
            _log.error("%s (in %s)", NOTE, self._folder)

    def _size(self) -> int:
        disk = os.statvfs(self._folder)
        return min(MOST_BYTES, disk.f_blocks * disk.f_frsize // SHARE) // 4096 * 4096

    def _free(self) -> int:
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize


def shrink(connection: apsw.Connection, pages: int, seconds: float) -> bool:
    """Give unused pages back to the disk, ``pages`` at a time and for ``seconds``; whether that is all there is."""
    until = time.monotonic() + seconds
    while connection.execute("PRAGMA freelist_count").get and connection.execute("PRAGMA auto_vacuum").get == 2:
        if time.monotonic() >= until:
            return False
        for _ in connection.execute(f"PRAGMA incremental_vacuum({pages})"):
            pass
        _fold(connection)
    return True


def _fold(connection: apsw.Connection) -> None:
    try:
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except (apsw.BusyError, apsw.LockedError):
        return


def _allocate(file: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
        return
    block = bytes(64 * 1024)  # pragma: no cover - macOS
    for start in range(0, size, len(block)):  # pragma: no cover
        os.pwrite(file, block[: size - start], start)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
