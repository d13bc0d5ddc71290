"""What the processes that share a data folder tell one another, by a small file beside the database.

Whose turn it is to write: two locks, so that whoever has written and wants to go on stands behind those who wait. And
whether long reads have to wait for a moment, so that the write-ahead log can be folded in.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from pathlib import Path

from doorleaf.errors import StoreUnavailable

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

LOCK_SECONDS = 30.0
"""How long a batch of writes waits for other processes to finish theirs."""

LONGEST_HOLD = 300.0
"""Seconds that long reads can be held back. A time that is further off was written before the machine started."""

_QUEUE, _TURN, _WORK = 1024, 1025, 2048
_PAUSE_SECONDS = 0.0002


class Sharing:
    """The file beside the ``database``. Where there can be none, or no locks, processes take turns by pausing."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_suffix(".lock")
        self._file = -1
        self._held_until = 0.0
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

    def take(self) -> None:
        """Wait for this process's turn to write; raises ``StoreUnavailable`` when the others do not let go."""
        if self._file < 0 or fcntl is None:
            return
        until = time.monotonic() + LOCK_SECONDS
        self._wait(_QUEUE, until)
        try:
            self._wait(_TURN, until)
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _QUEUE)

    def give(self) -> None:
        """Let the next process write."""
        if self._file < 0 or fcntl is None:
            time.sleep(_PAUSE_SECONDS)
            return
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _TURN)

    def wanted(self) -> bool:
        """Whether another process waits for the turn that this one has."""
        if self._file < 0 or fcntl is None:
            return True  # nobody can tell
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _QUEUE)
        except (BlockingIOError, PermissionError):
            return True
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _QUEUE)
        return False

    def _wait(self, place: int, until: float) -> None:
        while True:
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
                return
            except (BlockingIOError, PermissionError):  # which of them is the system's choice
                pass
            if time.monotonic() > until:
                raise StoreUnavailable("the database is busy: another process holds it")
            time.sleep(random.uniform(0.0001, 0.0004))  # noqa: S311 - jitter

    # --- long work ---------------------------------------------------------------------------------------------------

    def claim(self, number: int) -> None:
        """Tell other processes that this one works on something, until :meth:`disclaim` or its end."""
        if self._file >= 0 and fcntl is not None:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _WORK + number)

    def disclaim(self, number: int) -> None:
        """Take a claim back."""
        if self._file >= 0 and fcntl is not None:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _WORK + number)

    def claimed(self, number: int) -> bool:
        """Whether another process works on it."""
        try:
            self.claim(number)
        except (BlockingIOError, PermissionError):
            return True
        self.disclaim(number)
        return False

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
