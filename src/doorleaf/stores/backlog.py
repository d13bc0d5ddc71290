"""Older events of a change stream, for whoever comes back or has fallen behind: read in turns.

What a feed does not keep is read by a stream of the reader's own, which has a connection to MongoDB. So few of these
are open at once, and few of one caller: the others wait, and lose nothing but time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from doorleaf.apart.turns import Turn, Turns
from doorleaf.documents import Document
from doorleaf.operations import Watch, altered
from doorleaf.operations.results import ChangeStream

WAIT_SECONDS = 1.0
"""How long a reader waits before it is told that nothing has come."""

TURN_SECONDS = 0.5
"""How long a stream may be open while others wait, and is read on or not …"""

STUCK_SECONDS = 30.0
"""… but where it is read and has not come forward: to begin anew would look through the same once more."""

_LOOKING_MS = 100
"""How long the database waits for an event behind the older ones."""

Open = Callable[[Watch], Awaitable[ChangeStream]]


class Backlog:
    """The events from where ``operation`` begins, as a stream that is open for as long as it is its turn: see
    :class:`doorleaf.operations.results.ChangeStream`. ``turns`` are shared with others, and this one is ``caller``'s.
    """

    def __init__(self, operation: Watch, opening: Open, turns: Turns, caller: str) -> None:
        self._operation = altered(operation, wait_ms=_LOOKING_MS)
        self._opening = opening
        self._turns = turns
        self._caller = caller
        self._turn: asyncio.Task[Turn] | None = None
        """A turn, or the wait for it."""
        self._stream: ChangeStream | None = None
        self._closing: asyncio.Task[None] | None = None
        self._look: asyncio.TimerHandle | None = None
        self._busy = False
        self._began = 0.0
        self._stuck = False
        self.over = False
        """Whether there will be no more events."""
        self.token: Document | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a stream at this moment."""
        return self._stream is not None

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for its turn."""
        return self._turn is not None and not self._turn.done()

    async def open(self) -> None:
        """Return when its turn has come and the stream is open; raises what is wrong with where that begins."""
        self._busy = True
        try:
            await self._begin(None)
        finally:
            self._busy = False

    async def next(self) -> list[Document] | None:
        """The events that come next; none while :attr:`is_waiting` may be because its turn has not come.

        What is raised ends the stream and not the backlog, which goes on where it was.
        """
        if self.over:
            return None
        self._busy = True
        try:
            if self._stream is None and not await self._begin(WAIT_SECONDS):
                return []
            assert self._stream is not None  # noqa: S101  # it has just been opened
            events = await self._stream.next()
            self._read(self._stream, events)
        except Exception:
            await self._leave()
            raise
        finally:
            self._busy = False
        if self.over or (self._is_late() and self._turns.is_wanted(self._caller)):
            await self._leave()
        return events

    async def rest(self) -> None:
        """Give the turn back where others wait for it: nothing more is there for now."""
        if self._turns.is_wanted(self._caller):
            await self._leave()

    async def close(self) -> None:
        """Read no more."""
        self.over = True
        await self._leave()

    async def _begin(self, seconds: float | None) -> bool:
        """Open a stream when its turn has come; whether it has, within ``seconds``."""
        if self._closing is not None:
            await asyncio.shield(self._closing)
        if self._turn is None:
            self._turn = asyncio.get_running_loop().create_task(self._turns.take(self._caller, None))
            self._turn.add_done_callback(self._given)
        await asyncio.wait({self._turn}, timeout=seconds)
        if not self._turn.done():
            return False
        try:
            self._stream = await self._opening(self._operation)
        except BaseException:
            await self._leave()
            raise
        self.token = self._stream.token or self.token
        self._began, self._stuck = time.monotonic(), True
        return True

    def _read(self, stream: ChangeStream, events: list[Document] | None) -> None:
        """Go on behind ``events``, whoever opens the next stream."""
        before, self.token = self.token, stream.token or self.token
        self._stuck = self._stuck and not events and self.token == before
        # A stream behind the end of what is watched would be another one.
        self.over = events is None or (bool(events) and events[-1]["operationType"] == "invalidate")
        if self.token is not None:
            self._operation = altered(
                self._operation, start_after=self.token, resume_after=None, start_at_operation_time=None
            )

    def _is_late(self) -> bool:
        return time.monotonic() - self._began >= (STUCK_SECONDS if self._stuck else TURN_SECONDS)

    def _given(self, turn: asyncio.Task[Turn]) -> None:
        """See to it that a turn is given back that nobody uses."""
        if turn is self._turn and not turn.cancelled():
            self._look = asyncio.get_running_loop().call_later(TURN_SECONDS, self._look_at)

    def _look_at(self) -> None:
        if not self._busy and self._turns.is_wanted(self._caller):
            self._part()
        else:
            self._look = asyncio.get_running_loop().call_later(TURN_SECONDS, self._look_at)

    async def _leave(self) -> None:
        """Close the stream and give the turn back, whoever is cancelled meanwhile."""
        self._part()
        if self._closing is not None:
            await asyncio.shield(self._closing)

    def _part(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None
        stream, self._stream = self._stream, None
        turn, self._turn = self._turn, None
        if stream is not None and turn is not None:
            self._closing = asyncio.get_running_loop().create_task(_closed(stream, turn.result()))
        elif turn is not None and turn.done() and not turn.cancelled():
            turn.result().release()
        elif turn is not None:
            turn.cancel()


async def _closed(stream: ChangeStream, turn: Turn) -> None:
    """Close a stream, and let the next one be opened."""
    try:
        await stream.close()
    finally:
        turn.release()
