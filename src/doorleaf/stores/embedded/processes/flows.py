"""Answers that a worker gives as they are taken: documents of one snapshot, some of them ahead."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from doorleaf.documents import Documents
from doorleaf.errors import DataError, DoorleafError, StoreUnavailable
from doorleaf.mql.context import timed_out
from doorleaf.stores.embedded.processes.answers import WORKER_ENDED, WorkerLost
from doorleaf.stores.embedded.reading.flowing import SECONDS

AHEAD_BYTES = 512 * 1024
"""What may have come of an answer before it is taken. A shorter one keeps no worker from others, whoever reads it."""

LATE_SECONDS = 0.25
"""How long past its time a batch is waited for, so that the worker may say so itself."""

STANDING_SECONDS = 10.0
"""An answer of which nothing has been taken for so long gives way when another waits for its place."""


class Flow:
    """The documents of one scan: see :class:`doorleaf.operations.results.DocumentStream`.

    ``seconds`` is the time for a batch. ``over`` is called once, when the worker is done or has to be ended.
    """

    def __init__(self, seconds: float, over: Callable[[Flow], None]) -> None:
        self._seconds = seconds
        self._over: Callable[[Flow], None] | None = over
        self._loop = asyncio.get_running_loop()
        self._batches: deque[bytes] = deque()
        self._held = 0
        self._resume: Callable[[], None] | None = None
        self._wanted: asyncio.Future[None] | None = None
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._failure: DoorleafError | None = None
        self._stands_since = float("inf")
        self._lifetime = self._loop.call_later(SECONDS, self.end, _too_old())

    # --- what the worker sends ---------------------------------------------------------------------------------------

    def follow(self, done: asyncio.Future[None]) -> None:
        """``done`` is when the worker has sent all, or raises what it says."""
        self._done = done
        done.add_done_callback(self._ended)

    def add(self, kind: int, payload: bytes) -> bool:
        """Take a batch; False once, when there is no room for more."""
        self._batches.append(payload)
        self._held += len(payload)
        self._tell()
        if self._held <= AHEAD_BYTES or self._resume is not None:
            return True
        self._stands_since = time.monotonic()
        return False

    def wait(self, then: Callable[[], None], failed: Callable[[DoorleafError], None]) -> None:
        """Call ``then`` once there is room."""
        self._resume = then

    def finish(self, payload: bytes) -> None:
        """The end has come."""

    def _tell(self) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    def _ended(self, done: asyncio.Future[None]) -> None:
        if not done.cancelled():
            done.exception()  # told to whoever asks for the next batch
        self._leave()

    def _leave(self) -> None:
        self._lifetime.cancel()
        self._stands_since = float("inf")
        over, self._over = self._over, None
        if over is not None:
            over(self)

    # --- whoever takes it --------------------------------------------------------------------------------------------

    async def begun(self, seconds: float) -> bool:
        """Whether a batch or the end has come, after so many seconds at most; raises what ended it."""
        if not self._batches and not self._done.done():
            self._wanted = self._loop.create_future()
            await asyncio.wait({self._wanted, self._done}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not self._batches:
            self._require()
        return bool(self._batches) or self._done.done()

    async def next(self) -> Documents | None:
        """Answer as :meth:`doorleaf.operations.results.DocumentStream.next`."""
        try:
            await self.ready()
        except WorkerLost:
            raise StoreUnavailable(WORKER_ENDED) from None
        if not self._batches:
            return None
        batch = self._batches.popleft()
        self._held -= len(batch)
        resume = self._resume
        if resume is not None and self._held <= AHEAD_BYTES:
            self._resume, self._stands_since = None, float("inf")
            resume()
        return Documents([batch])

    async def ready(self) -> None:
        """Wait for a batch or the end, in the time of one; raises what ended it before a batch."""
        if not await self.begun(self._seconds + LATE_SECONDS):
            self.end(timed_out())
            self._require()

    def _require(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._done.done():
            self._done.result()

    @property
    def standing(self) -> float:
        """Seconds for which its worker has waited for somebody to take what came; below 0 when it does not."""
        return time.monotonic() - self._stands_since

    def give_way(self) -> None:
        """End, because others wait."""
        self.end(
            DataError(
                "the documents were read too slowly while others waited to read theirs; read them faster, or in parts",
                number=237,
            )
        )

    def end(self, error: DoorleafError) -> None:
        """End it now: ``error`` is what whoever asks next is told."""
        self._failure = error
        self._batches.clear()
        self._leave()
        self._tell()

    async def close(self) -> None:
        """Let the worker go, which ends it if it is not done."""
        if self._over is not None:
            self.end(StoreUnavailable("the documents are not read any more"))
        self._batches.clear()


def _too_old() -> DataError:
    return DataError(
        f"reading lasted longer than {SECONDS:g} s, the longest that one snapshot is kept; read faster, or in parts",
        number=239,
    )
