"""Reading what sessions say in rounds, a little of all of them in each, so that nobody else waits for a flood."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

ROUND_BYTES = 1024
"""Most that is read of all sessions together before others have their turn: a frame of six bytes takes as long as a
large one."""


class Speaker(Protocol):
    """A session whose client has said more than has been read."""

    def read_some(self, most: int) -> int:
        """Read up to ``most`` bytes; how many it were."""
        ...


class Rounds:
    """The sessions of one server process that wait to be read."""

    def __init__(self) -> None:
        self._waiting: deque[Speaker] = deque()
        self._begun = False

    def add(self, speaker: Speaker) -> None:
        """Have ``speaker`` read after those who wait already."""
        self._waiting.append(speaker)
        if not self._begun:
            self._begun = True
            asyncio.get_running_loop().call_soon(self._read)

    def _read(self) -> None:
        left = ROUND_BYTES
        try:
            while self._waiting and left > 0:
                left -= self._waiting.popleft().read_some(left)
        finally:
            self._begun = bool(self._waiting)
            if self._begun:
                asyncio.get_running_loop().call_soon(self._read)
