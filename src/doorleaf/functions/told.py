"""What functions did of late in this process: calls, how they went, and lines that they logged. Nothing is stored."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from doorleaf.documents import Document
from doorleaf.observability import REQUEST_ID

KEPT = 500
_MOST_TEXT = 2000


class Told:
    """The last :data:`KEPT` lines, each with a number that is one more than that of the line before."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lines: deque[Document] = deque(maxlen=KEPT)
        self._number = 0

    def line(self, function: str, level: int, text: str) -> None:
        """Remember a line of the log."""
        self._add(function, kind="line", level=logging.getLevelName(level).lower(), text=text[:_MOST_TEXT])

    def call(self, function: str, outcome: str, seconds: float, caller: str) -> None:
        """Remember a call that is over; ``outcome`` is ``ok``, ``cancelled``, or the code of an error."""
        self._add(function, kind="call", outcome=outcome, seconds=round(seconds, 4), caller=caller)

    def _add(self, function: str, **told: object) -> None:
        self._number += 1
        now = datetime.fromtimestamp(self._clock(), UTC).replace(tzinfo=None)
        line: Document = {"number": self._number, "time": now, "function": function, "request": REQUEST_ID.get()}
        self._lines.append(line | told)

    def since(self, number: int) -> list[Document]:
        """The lines after the one with this number."""
        return [line for line in self._lines if line["number"] > number]
