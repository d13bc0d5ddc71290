"""Reading in rounds what clients send much of, a little of all in each, so that nobody else waits for a flood."""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter
from typing import Protocol

ROUND_BYTES = 1024
"""Most that is read in a round, or as much as one connection has to be read at once: a frame or a line of six bytes
takes as long as a large one."""

TURN_SECONDS = 0.00025
MOST_TURNS = 64
"""A round that took long is followed by a turn of the loop for each so many seconds of it, but not more than so many:
in one turn the loop takes a single new connection, and what many at once send keeps the next from being taken."""


class Speaker(Protocol):
    """A connection whose client has said more than has been read."""

    def read_some(self, most: int) -> int:
        """Read ``most`` bytes, or more where that has no end there; how many it were."""
        ...


class Rounds:
    """The connections of one server process that wait to be read."""

    def __init__(self) -> None:
        self._waiting: deque[Speaker] = deque()
        self._begun = False
        self._turns = 0  # of the loop, until the next round

    def add(self, speaker: Speaker) -> None:
        """Have ``speaker`` read after those who wait already."""
        self._waiting.append(speaker)
        if not self._begun:
            self._begun = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """What is done in each turn of the loop while somebody waits."""
        began = perf_counter()
        try:
            if self._turns:
                self._turns -= 1
            else:
                self._read()
                self._turns = min(int((perf_counter() - began) / TURN_SECONDS), MOST_TURNS)
        finally:
            self._begun = bool(self._waiting)
            if self._begun:
                asyncio.get_running_loop().call_soon(self._turn)

    def _read(self) -> None:
        left = ROUND_BYTES
        while self._waiting and left > 0:
            left -= self._waiting.popleft().read_some(left)
