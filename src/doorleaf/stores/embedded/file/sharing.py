"""What the processes that share a data folder tell one another, by a small file beside the database.

Whose turn it is to write: a lock, and one for each who waits, at the instant since which it does, so that they come in
that order and those of a process that ends are gone. Instants are those of the machine, whose processes alone can share
a write-ahead log. And whether long reads have to wait for a moment, so that the
write-ahead log can be folded in.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import threading
import time
from pathlib import Path
from struct import Struct

from doorleaf.errors import StoreUnavailable

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

LOCK_SECONDS = 30.0
"""How long a batch of writes waits for other processes to finish theirs."""

STOPPED_SECONDS = 1.0
"""Who stands first and does not take a free turn for so long is stopped itself, and keeps nobody behind it waiting."""

LONGEST_HOLD = 300.0
"""Seconds that long reads can be held back. A time that is further off was written before the machine started."""

_TURN, _WORK = 1025, 2048
_TICKETS = 1 << 40
"""Where the locks of those who wait begin: each at its instant, in microseconds, behind here."""

_LAST = 1 << 61
_LINUX = sys.platform == "linux" and sys.maxsize > 2**32
_FLOCK = Struct("hhqqi4x")
"""Linux's ``struct flock`` on 64 bits."""

_PAUSE_SECONDS = 0.0002


class Sharing:
    """The file beside the ``database``. Where there can be none, or no locks, processes take turns by pausing."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_suffix(".lock")
        self._file = -1
        self._held_until = 0.0
        self._first = _TICKETS
        """The first place that counts: those before it have been passed over."""
        self._lock = threading.Lock()

    def open(self) -> None:
        """Make the file, unless it is there."""
        with self._lock:
            if self._file < 0:
                with contextlib.suppress(OSError):
                    self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    # --- taking turns ------------------------------------------------------------------------------------------------

    def take(self, behind: float = 0.0) -> None:
        """Wait for this process's turn to write, behind those who begin to within so many seconds from now.

        Raises ``StoreUnavailable`` when the others do not let go.
        """
        if self._file < 0 or fcntl is None:
            return
        now = time.monotonic()
        until = now + LOCK_SECONDS
        place = _TICKETS + int((now + behind) * 1e6)
        while not self._try(place):  # another has the same, or looks whether anybody has
            _pause(until, 1)
            place += 1
        try:
            self._wait(place, until)
        finally:
            self._free(place)

    def _wait(self, place: int, until: float) -> None:
        """Take the turn when nobody waits before ``place`` any more but who is stopped."""
        busy = time.monotonic()  # when the turn was seen with another last
        while True:
            now, first = time.monotonic(), not self._locked(self._first, place - self._first)
            if not first and self._locked(_TURN, 1):
                busy = now
            if (first or now - busy > STOPPED_SECONDS) and self._try(_TURN):
                if not first:
                    self._first = max(self._first, _TICKETS + int(busy * 1e6))
                return
            _pause(until, 1 if first else 5)

    def give(self) -> None:
        """Let the next process write."""
        if self._file < 0 or fcntl is None:
            time.sleep(_PAUSE_SECONDS)
            return
        self._free(_TURN)

    def wanted(self) -> bool:
        """Whether another process waits for the turn that this one has."""
        if self._file < 0 or fcntl is None:
            return True  # nobody can tell
        return self._locked(self._first, _LAST - self._first)

    def _locked(self, place: int, length: int) -> bool:
        """Whether another process has one of so many places."""
        if _LINUX:  # which tells it without having the places for a moment, in which nobody could take one
            asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, place, length, 0)
            found: int = _FLOCK.unpack(fcntl.fcntl(self._file, fcntl.F_GETLK, asked))[0]
            return found != fcntl.F_UNLCK
        if not self._try(place, length):
            return True
        self._free(place, length)
        return False

    def _try(self, place: int, length: int = 1) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, length, place)
        except (BlockingIOError, PermissionError):  # which of them is the system's choice
            return False
        return True

    def _free(self, place: int, length: int = 1) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, length, place)

    # --- long work ---------------------------------------------------------------------------------------------------

    def claim(self, number: int) -> None:
        """Tell other processes that this one works on something, until :meth:`disclaim` or its end."""
        if self._file >= 0 and fcntl is not None:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _WORK + number)

    def disclaim(self, number: int) -> None:
        """Take a claim back."""
        if self._file >= 0 and fcntl is not None:
            self._free(_WORK + number)

    def claimed(self, number: int) -> bool:
        """Whether another process works on it."""
        return self._file >= 0 and fcntl is not None and self._locked(_WORK + number, 1)

    # --- holding long reads back -------------------------------------------------------------------------------------

    def hold(self, seconds: float) -> None:
        """Hold long reads that are about to start back, for ``seconds`` or until :meth:`release`."""
        self._note(time.monotonic() + seconds)

    def release(self) -> None:
        """Let long reads start again."""
        self._note(0.0)

    def held(self) -> float:
        """How many seconds long reads have to wait yet, unless they are released; 0 for none."""
        until = self._held_until
        if self._file >= 0:
            try:
                until = int.from_bytes(os.pread(self._file, 8, 0), "little") / 1e6
            except OSError:
                return 0.0
        left = until - time.monotonic()
        return left if 0 < left <= LONGEST_HOLD else 0.0

    def _note(self, until: float) -> None:
        self._held_until = until
        if self._file >= 0:
            try:
                os.pwrite(self._file, int(until * 1e6).to_bytes(8, "little"), 0)
            except OSError:  # a full disk: nobody is held back, and the log grows
                return


def _pause(until: float, times: int) -> None:
    if time.monotonic() > until:
        raise StoreUnavailable("the database is busy: another process holds it")
    time.sleep(times * random.uniform(0.0001, 0.0004))  # noqa: S311 - jitter
