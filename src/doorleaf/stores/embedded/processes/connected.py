"""The server's end of a worker: what goes to it, and what comes of it."""

from __future__ import annotations

import asyncio
import logging
import time

from doorleaf.stores.embedded.processes import wire
from doorleaf.stores.embedded.processes.answers import Answer, WorkerLost
from doorleaf.stores.embedded.processes.flows import Flow
from doorleaf.stores.embedded.processes.forking import FORKS
from doorleaf.stores.embedded.processes.wire import HEAD, Place

_log = logging.getLogger(__name__)


class Worker(asyncio.Protocol):
    """The server's end of a worker."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.place: Place | None = None
        self.gone = False
        self.leaves = False
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._answer: Answer | Flow | None = None
        self._done: asyncio.Future[None] | None = None
        self.prepared = False
        self.begun = False
        """Whether it would have to do again what it has committed; all that is ``prepared`` is."""
        self._resting: asyncio.Future[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether it is to be waited for, or stopped."""
        return self._done is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a socket's

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self._fail(WorkerLost(prepared=self.prepared))

    def eof_received(self) -> None:
        return None

    def start(self, place: Place, request: list[bytes], answer: Answer | Flow) -> asyncio.Future[None]:
        """Send a request; the future is done when its answer is, or raises what the worker says."""
        assert self._transport is not None  # noqa: S101  # connected before it is handed out
        self.place = place
        self._answer, self.prepared, self.begun = answer, False, False
        self._done = done = asyncio.get_running_loop().create_future()
        if self.gone or self._transport.is_closing():  # one that has ended may not have been noticed yet
            self._fail(WorkerLost(prepared=False))
        else:
            self._transport.writelines(request)
        return done

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        position = 0
        while len(buffer) - position >= HEAD.size:
            size, kind = HEAD.unpack_from(buffer, position)
            end = position + HEAD.size + size
            if end > len(buffer):
                break
            self._frame(kind, bytes(memoryview(buffer)[position + HEAD.size : end]))
            position = end
        del buffer[:position]

    def _frame(self, kind: int, payload: bytes) -> None:
        answer, done = self._answer, self._done
        if answer is None or done is None or done.done():
            return
        self.leaves = self.leaves or bool(kind & wire.LAST)
        kind &= ~wire.LAST
        if kind == wire.PREPARED:
            self.prepared = self.begun = True
        elif kind == wire.BEGUN:
            self.begun = True
        elif kind == wire.RESTING:
            if self._resting is not None and not self._resting.done():
                self._resting.set_result(None)
        elif kind == wire.ERROR:
            error, trace = wire.error_of(payload)
            if trace:
                _log.error("a worker failed\n%s", trace)
            self._fail(error)
        elif kind == wire.RESULT:
            answer.finish(payload)
            self._done = self._answer = None
            done.set_result(None)
        elif not answer.add(kind, payload):
            assert self._transport is not None  # noqa: S101  # who else sent this
            self._transport.pause_reading()
            answer.wait(self._transport.resume_reading, self._give_up)

    def _fail(self, error: Exception) -> None:
        done = self._done
        self._done = self._answer = None
        if done is not None and not done.done():
            done.set_exception(error)

    def _give_up(self, error: Exception) -> None:
        self.leaves = True
        self._fail(error)

    def slow(self) -> None:
        """Leave the processor to others, for good."""
        self.leaves = True
        FORKS.slow(self.number)

    async def rested(self, until: float) -> bool:
        """Have it rest before its next transaction; whether it does, up to an instant, else it goes on."""
        done = self._done
        if done is None or self._transport is None:
            return False
        self._resting = asyncio.get_running_loop().create_future()
        self._transport.write(wire.frame(wire.PAUSE, b""))
        await asyncio.wait(
            {self._resting, done}, timeout=max(0.0, until - time.monotonic()), return_when="FIRST_COMPLETED"
        )
        rests = self._resting.done()
        self._resting = None
        if not rests:
            self.go_on()
        return rests

    def go_on(self) -> None:
        """Have it rest no longer."""
        if self._transport is not None:
            self._transport.write(wire.frame(wire.GO_ON, b""))

    async def stopped(self, until: float) -> bool:
        """End it and wait for its last word, up to an instant: whether it has changed nothing and not answered.

        One that commits is not ended before it has answered.
        """
        done = self._done
        if done is None:
            return False
        self.leaves = True
        FORKS.stop_worker(self.number)
        if self._transport is not None:
            self._transport.resume_reading()
        if not await within(done, until - time.monotonic()):
            return False
        error = done.exception()
        return isinstance(error, WorkerLost) and not error.prepared

    def end(self) -> None:
        """Kill it, whatever it does."""
        self.gone = True
        done = self._done
        self._done = self._answer = None
        if done is not None:
            done.cancel()
        FORKS.kill(self.number)
        if self._transport is not None:
            self._transport.abort()


async def within(done: asyncio.Future[None], seconds: float) -> bool:
    """Whether ``done`` is, after so many seconds at most."""
    if seconds > 0:
        await asyncio.wait({done}, timeout=seconds)
    return done.done()
