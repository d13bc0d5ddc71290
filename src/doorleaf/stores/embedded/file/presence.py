"""Whether the files that are open are still the ones in the folder: what is written to others is lost."""

from __future__ import annotations

import os
from pathlib import Path

from doorleaf.errors import StoreUnavailable

GONE = (
    "the database file was removed or replaced while it was open: nothing is written any more;"
    " put it back or start anew with what is there"
)


class Presence:
    """The database file ``path`` with its write-ahead log and the index of that, as they were when they were opened.

    ``gone`` tells whether one of them has turned out to be another or none; it stays so.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._known: dict[str, tuple[int, int]] = {}
        self.gone = False

    def forget(self) -> None:
        """Nothing is open yet."""
        self._known = {}
        self.gone = False

    def opened(self) -> None:
        """A connection was made: to the file that is known, or to the first."""
        if self._path in self._known:
            self._compare(self._path)
        else:
            self._remember(self._path)

    def writing(self) -> None:
        """A connection has read: its log is there, and has to stay."""
        for name in (f"{self._path}-wal", f"{self._path}-shm"):
            self._remember(name)

    def require(self) -> None:
        """Raise ``StoreUnavailable`` when a file is not what was opened."""
        if self.gone:
            raise StoreUnavailable(GONE)
        for name in self._known:
            self._compare(name)

    def _remember(self, name: str) -> None:
        found = self._look(name)
        if found is not None:
            self._known.setdefault(name, found)

    def _compare(self, name: str) -> None:
        if self._look(name) != self._known[name]:
            self.gone = True
            raise StoreUnavailable(GONE)

    @staticmethod
    def _look(name: str) -> tuple[int, int] | None:
        try:
            status = os.stat(name)
        except OSError:
            return None
        return status.st_dev, status.st_ino
