"""The JavaScript processes of one worker for one version of an app: started when needed, given out one by one."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from doorleaf.errors import FunctionsUnavailable, FunctionTimeout
from doorleaf.functions.sandbox.process import Process, Server

_LATE = "no JavaScript process was free in time"


class Served(Server, Protocol):
    """A call's server, told which process it serves."""

    process: Process | None


class Pool:
    """At most ``most`` processes, each with ``memory_mb`` of heap and the functions of ``setup``."""

    def __init__(self, setup: bytes, *, most: int, memory_mb: int) -> None:
        self._setup = setup
        self._most = most
        self._memory_mb = memory_mb
        self._idle: list[Process] = []
        self._all: set[Process] = set()
        self._queue: deque[asyncio.Future[Process | None]] = deque()
        self._stopping: set[asyncio.Task[None]] = set()
        self._starting = 0
        self._closed = False

    @property
    def processes(self) -> tuple[Process, ...]:
        """Those that there are at this moment."""
        return tuple(self._all)

    async def call(self, text: bytes, server: Served, seconds: float) -> bytes:
        """Do as :meth:`Process.call` does; waiting for a process is part of the time.

        A call that a process has certainly not begun, which was ended while it had nothing to do, is made once more.
        """
        until = asyncio.get_running_loop().time() + seconds
        process = self._free() or await self._taken(until)
        try:
            return await self._called(process, text, server, until)
        except FunctionsUnavailable:
            if process.begun or self._closed:
                raise
        return await self._called(await self._taken(until), text, server, until)

    async def _taken(self, until: float) -> Process:
        """A process that is started, or waited for. Raises FunctionTimeout."""
        while True:
            if len(self._all) + self._starting < self._most:
                return await self._started(until)
            process = await self._turn(until)
            if process is not None and process.alive:
                return process
            if process is not None:
                self._all.discard(process)

    async def _called(self, process: Process, text: bytes, server: Served, until: float) -> bytes:
        server.process = process
        try:
            answer = await process.call(text, server, max(until - asyncio.get_running_loop().time(), 0.001))
        finally:
            server.process = None
            others = bool(self._queue)
            self._settled(process)
        if others:
            await asyncio.sleep(0)  # the process begins its next call before this one's answer is written and sent
        return answer

    def _free(self) -> Process | None:
        while self._idle:
            process = self._idle.pop()
            if process.alive:
                return process
            self._all.discard(process)
        return None

    async def _turn(self, until: float) -> Process | None:
        """What the next call that ends leaves: its process, or None, a turn to start one."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[Process | None] = loop.create_future()
        self._queue.append(turn)
        limit = loop.call_at(until, _late, turn)
        try:
            return await turn
        except BaseException:
            if turn in self._queue:
                self._queue.remove(turn)
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._give(turn.result())
            raise
        finally:
            limit.cancel()

    async def _started(self, until: float) -> Process:
        self._starting += 1
        process = Process(self._setup, self._memory_mb)
        try:
            async with asyncio.timeout_at(until):
                await process.start()
        except BaseException as error:
            process.kill()
            self._give(None)
            if isinstance(error, TimeoutError):
                raise FunctionTimeout(_LATE) from None
            raise
        finally:
            self._starting -= 1
        self._all.add(process)
        return process

    def _settled(self, process: Process) -> None:
        """Take a process back whose call has ended, or let it go."""
        if process.alive and not self._closed:
            self._give(process)
            return
        self._all.discard(process)
        stopping = asyncio.get_running_loop().create_task(process.stop())
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopping.discard)
        self._give(None)

    def _give(self, process: Process | None) -> None:
        """Give the next call that waits a process, or with None its turn to start one."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(process)
                return
        if process is not None:
            self._idle.append(process)

    async def close(self) -> None:
        """End all processes, also those in the middle of a call."""
        self._closed = True
        for process in tuple(self._all):
            await process.stop()
        self._all.clear()
        self._idle.clear()
        while self._stopping:
            await asyncio.wait(self._stopping)
            await asyncio.sleep(0)  # each leaves the set by a callback, which needs its turn


def _late(turn: asyncio.Future[Process | None]) -> None:
    if not turn.done():
        turn.set_exception(FunctionTimeout(_LATE))
