"""Triggers of the database: the events of a change stream, in order or several at once, and how far they were told."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from datetime import datetime

from doorleaf.apart import JUDGING
from doorleaf.documents import Document
from doorleaf.errors import DataError, DoorleafError, StoreError, TooManyRequests
from doorleaf.functions.triggers.turn import Ended, Turn
from doorleaf.functions.triggers.watched import Watched
from doorleaf.mql.context import Context
from doorleaf.mql.projections.compile import compile_project
from doorleaf.operations.results import ChangeStream

SAVE_SECONDS = 1.0
"""How often it is written down how far a trigger has come while events come …"""
IDLE_SAVE_SECONDS = 30.0
"""… and while none do: a place in the stream that nobody goes on from grows too old."""
MOST_AHEAD = 1000
"""Events that may have been told before an earlier one was."""
PROJECT_SECONDS = 5.0

NO_STREAMS = 40573
"""MongoDB's number for change streams where there are none."""
LOST = frozenset({136, 260, 280, 286})
"""Its numbers for places that a stream cannot go on from."""


async def run(turn: Turn) -> None:
    """Call the function with each event, from the place on that was written down last."""
    assert turn.trigger.watched is not None  # noqa: S101  # what a database trigger has
    token: Document | None = turn.record.get("token")
    while True:
        stream = await _opened(turn, turn.trigger.watched, token)
        flow = _Flow(turn, turn.trigger.watched, stream)
        try:
            token = await flow.run()
        finally:
            flow.cancel()
            await stream.close()


async def _opened(turn: Turn, watched: Watched, token: Document | None) -> ChangeStream:
    """The stream behind ``token``. What cannot be opened suspends the trigger, unless the database is only away."""
    try:
        return await turn.means.functions.database.watch(watched, token)
    except (StoreError, TooManyRequests):
        raise
    except DoorleafError as error:
        number = error.number if isinstance(error, DataError) else None
        if number == NO_STREAMS:
            await turn.suspend("the database has no change streams: it has to be a replica set or a sharded cluster")
        if token is None or number not in LOST:
            await turn.suspend(error.message)
        if not watched.tolerates:
            await turn.suspend(f"events were lost, resume it with --from-now: {error.message}")
    turn.log(logging.WARNING, "has lost events, and goes on with what comes now")
    return await _opened(turn, watched, None)


class _Flow:
    """The events of ``stream`` on their way to the function."""

    def __init__(self, turn: Turn, watched: Watched, stream: ChangeStream) -> None:
        self._turn = turn
        self._watched = watched
        self._stream = stream
        self._calls: deque[tuple[Document, asyncio.Task[datetime]]] = deque()
        """The events under way or told before an earlier one was, in their order, by the places behind them."""
        self._reached: Document | None = None
        self._saved: Document | None = turn.record.get("token")
        self._saved_at = 0.0
        self._ran: datetime | None = None

    def cancel(self) -> None:
        """Cut the calls that go on."""
        for _, task in self._calls:
            task.cancel()

    async def run(self) -> Document | None:
        """Tell all events to the stream's end; the place behind that. Raises Ended."""
        try:
            self._reached = self._stream.token
            await self._save(idle=False)
            while True:
                self._turn.check()
                events = await self._stream.next()
                for event in events or ():
                    if event["operationType"] != "invalidate":
                        await self._tell(event)
                await self._settle(everything=events is None)
                if not self._calls:
                    self._reached = self._stream.token or self._reached
                if events is None:
                    await self._save(idle=False)
                    return self._reached
                await self._save(idle=not events)
        except (Ended, DoorleafError):
            with contextlib.suppress(Ended, DoorleafError):
                await self._finish()
            raise

    async def _finish(self) -> None:
        """Write down what was told when the turn ends."""
        self._turn.end()
        if self._calls:
            await asyncio.wait([task for _, task in self._calls])
            self._advance()
        self._saved_at = 0.0
        await self._save(idle=False)

    async def _tell(self, event: Document) -> None:
        token = event["_id"]
        if self._watched.at_once == 1:
            self._ran = await self._turn.deliver(await self._projected(event))
            self._reached = token
        else:
            while len(going := self._going()) >= self._watched.at_once or len(self._calls) >= MOST_AHEAD:
                await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)
                await self._settle()
            given = await self._projected(event)
            self._calls.append((token, asyncio.create_task(self._turn.deliver(given), name="event")))
        await self._save(idle=False)

    def _going(self) -> list[asyncio.Task[datetime]]:
        return [task for _, task in self._calls if not task.done()]

    async def _settle(self, *, everything: bool = False) -> None:
        """Look at the calls that have ended. Raises what ended one of them."""
        if everything and self._calls:
            await asyncio.wait([task for _, task in self._calls])
        for _, task in self._calls:
            if task.done():
                task.result()
        self._advance()

    def _advance(self) -> None:
        """Be behind the events that were told, up to the first that was not."""
        while self._calls and (task := self._calls[0][1]).done() and not task.cancelled() and task.exception() is None:
            self._reached, _ = self._calls.popleft()
            self._ran = task.result()

    async def _projected(self, event: Document) -> Document:
        if not self._watched.project:
            return event
        return await JUDGING.run(PROJECT_SECONDS, _project, self._watched.project, event)

    async def _save(self, *, idle: bool) -> None:
        """Write down how far the trigger has come, if it is time to."""
        moment = time.monotonic()
        since = IDLE_SAVE_SECONDS if idle and self._ran is None else SAVE_SECONDS
        if self._reached is None or self._reached == self._saved or moment - self._saved_at < since:
            return
        ran = {} if self._ran is None else {"ran": self._ran}
        await self._turn.progress(token=self._reached, **ran)
        self._saved, self._saved_at, self._ran = self._reached, moment, None


def _project(project: Document, event: Document) -> Document:
    return compile_project(project, Context(time.monotonic() + PROJECT_SECONDS))(event)
