"""An answer as it comes in from a worker, and the bytes that all answers of a process may have together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import bson

from doorleaf.apart.turns import Turn, Turns
from doorleaf.documents import CODEC, Document
from doorleaf.errors import DoorleafError
from doorleaf.operations.results import DocumentResult
from doorleaf.stores.embedded.processes import wire

SMALL_BYTES = 256 * 1024
"""Answers up to this size are not counted."""

HELD_BYTES = 128 * 1024 * 1024
"""What all larger answers may have together, from when they begin to come in until nobody needs them any more."""

SET_ASIDE = HELD_BYTES // 2
"""What is set aside at once for an answer whose bound is not less: one in this size never waits in the middle."""

WORKER_ENDED = "the process that carried out the operation ended"


class WorkerLost(Exception):
    """A worker ended before it had answered. ``prepared`` says that it may have committed, ``reason`` what it ended
    of, if that is known."""

    def __init__(self, *, prepared: bool) -> None:
        super().__init__()
        self.prepared = prepared
        self.reason: DoorleafError | None = None


class Held(list[bytes]):
    """Batches of documents, with the room that they take."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop
        self.turns: list[Turn] = []

    @property
    def room(self) -> int:
        """The bytes that are set aside."""
        return sum(turn.amount for turn in self.turns)

    def __del__(self) -> None:
        # Whoever needs them last may be a thread.
        for turn in self.turns:
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(turn.release)


class Answer:
    """The answer of a worker, as far as it was sent. Above :data:`SMALL_BYTES` it waits for its turn, and the worker
    with it."""

    def __init__(self, room: Turns, caller: str, until: float, most: int | None) -> None:
        self._room = room
        self._caller = caller
        self._until = until
        self._more = min(most or SET_ASIDE, SET_ASIDE)
        self._waiting: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.restart()

    def restart(self) -> None:
        """Forget what came: somebody else begins again."""
        self.leave()
        self.batches = Held(self._loop)
        self.values: list[bytes] = []
        self.size = 0
        self.result: Any = None

    def add(self, kind: int, payload: bytes) -> bool:
        """Take a piece; whether there is room for more at once."""
        self.size += len(payload)
        (self.batches if kind == wire.DOCUMENTS else self.values).append(payload)
        if self.size <= SMALL_BYTES or self.size <= self.batches.room:
            return True
        turn = self._room.try_take(self._caller, self._more)
        if turn is not None:
            self.batches.turns.append(turn)
        return turn is not None

    def wait(self, then: Callable[[], None], failed: Callable[[DoorleafError], None]) -> None:
        """Call ``then`` once there is room, or ``failed`` with the reason why there is none."""

        async def waiting() -> None:
            try:
                self.batches.turns.append(await self._room.take(self._caller, self._until, self._more))
            except DoorleafError as error:
                failed(error)
            else:
                then()

        self._waiting = self._loop.create_task(waiting())

    def leave(self) -> None:
        """Wait no more."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    @property
    def complete(self) -> bool:
        """Whether its end has come."""
        return self.result is not None

    def finish(self, payload: bytes) -> None:
        """The end has come: keep no more room than the answer takes."""
        self.result = payload
        if self.batches.turns:
            self.batches.turns[-1].shrink(max(1, self.size - self.batches.room + self.batches.turns[-1].amount))

    def value(self) -> Any:
        """The value that the work returned; documents are :class:`Held` batches."""
        if self.values:
            return [item for piece in self.values for item in bson.decode(piece, CODEC)["v"]]
        result = wire.result_of(self.result)
        if isinstance(result, DocumentResult):
            document: bytes | Document | None = self.batches[0] if self.batches else None
            return DocumentResult(document)
        return self.batches if result is None else result

    @property
    def lengthy(self) -> bool:
        """Whether :meth:`value` has so much to decode that it should not be done on the event loop."""
        return bool(self.values) and self.size > SMALL_BYTES // 4
