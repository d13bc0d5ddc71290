"""Folding the write-ahead log into the file, so that it stays short however reads overlap.

SQLite can start the log anew only at an instant at which no reader looks into it. While reads overlap there is none, so
when the log is long those that are about to start wait until the ones under way have ended. Short reads do not.
"""

from __future__ import annotations

import contextlib
import time

import apsw

from doorleaf.stores.embedded.file.sharing import LONGEST_HOLD, Sharing

OFTEN = 1_000
"""Pages of the log after which as much of it as readers allow is folded in."""

LONG = 8_192
"""Pages (32 MiB) from which the log is too long: it has to be started anew."""

FIRST_HOLD = 0.25
"""Seconds that long reads wait at first; twice as many each time that this was not enough."""

HOLD_FOR_LONG = 1.0
"""Seconds that they wait at most for each :data:`LONG` pages of the log."""

REST = 2
"""How many times as long as they waited long reads then have for themselves."""

RETRY_SECONDS = 0.01


class Folding:
    """The log as one writing connection sees it. Used by its thread alone, between transactions."""

    def __init__(self, connection: apsw.Connection, sharing: Sharing) -> None:
        self._connection = connection
        self._sharing = sharing
        self._pages = 0
        self._next = OFTEN
        self._hold = FIRST_HOLD
        self._held_until = 0.0
        self._rest_until = 0.0
        connection.set_wal_hook(self._committed)

    def _committed(self, connection: apsw.Connection, database: str, pages: int) -> int:
        # A log that has become shorter was started anew, by whomever.
        if pages < self._pages:
            self._next = OFTEN
        self._pages = pages
        return apsw.SQLITE_OK

    @property
    def bytes(self) -> int:
        """How long the log was after the last commit."""
        return self._pages * 4096

    @property
    def wait(self) -> float | None:
        """Seconds after which :meth:`fold` wants to be called again, even if nothing is written; None for never."""
        if self._held_until:
            return RETRY_SECONDS
        return max(RETRY_SECONDS, self._rest_until - time.monotonic()) if self._pages >= LONG else None

    def fold(self) -> None:
        """Fold in what can be, when it is time."""
        if self._pages >= LONG:
            self._start_anew()
        else:
            self.ease()

    def ease(self) -> None:
        """Fold in what can be, if much was committed since, and leave it to others to start the log anew."""
        if self._pages >= self._next:
            self._next = self._pages + OFTEN
            with contextlib.suppress(apsw.BusyError, apsw.LockedError):
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def ease_quietly(self) -> None:
        """The same behind a commit, which stays whatever becomes of the log."""
        with contextlib.suppress(apsw.Error):
            self.ease()

    def _start_anew(self) -> None:
        now = time.monotonic()
        if not self._held_until:
            if now < self._rest_until:
                return
            most = min(LONGEST_HOLD, HOLD_FOR_LONG * self._pages / LONG)
            self._hold = min(self._hold, most)
            self._held_until = now + self._hold
            self._sharing.hold(self._hold)
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except (apsw.BusyError, apsw.LockedError):
            if now < self._held_until:
                return
            self._rest_until, self._hold = now + self._hold * REST, self._hold * 2
        else:
            self._pages, self._next, self._rest_until, self._hold = 0, OFTEN, 0.0, FIRST_HOLD
        self._held_until = 0.0
        self._sharing.release()
