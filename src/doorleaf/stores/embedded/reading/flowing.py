"""Documents that are read as they are taken: one snapshot, a batch at a time, each in its own time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor

from doorleaf.mql.context import Context
from doorleaf.stores.base import Batches
from doorleaf.stores.embedded.file.storage import Session

BATCH_BYTES = 128 * 1024
BATCH_SECONDS = 0.2
"""A batch is handed on at this size or after this time, if it has any document."""

SECONDS = 600.0
"""How long one may last: what is deleted meanwhile cannot leave the file, whose log grows with every write."""


def flowing(session: Session, documents: Iterator[bytes], context: Context, seconds: float) -> Iterator[bytes]:
    """``documents`` in batches, with ``seconds`` for each, which begin when it is asked for."""
    while True:
        context.deadline = time.monotonic() + seconds
        with session.limited(context):
            batch = _batch(documents)
        if not batch:
            return
        yield batch


def _batch(documents: Iterator[bytes]) -> bytes:
    held: list[bytes] = []
    size = 0
    until = time.monotonic() + BATCH_SECONDS
    for document in documents:
        held.append(document)
        size += len(document)
        if size >= BATCH_BYTES or time.monotonic() >= until:
            break
    return b"".join(held)


class Walk(Batches):
    """The same in threads, for what waits for no worker: see :class:`doorleaf.operations.results.DocumentStream`.

    ``begin`` makes the documents in the ``session``'s snapshot; ``over`` is called with the session at the end.
    """

    def __init__(
        self,
        threads: Executor,
        session: Session,
        begin: Callable[[], Iterator[bytes]],
        over: Callable[[Session], None],
        context: Context,
        seconds: float,
    ) -> None:
        super().__init__(context.max_bytes)
        self._threads = threads
        self._session = session
        self._begin = begin
        self._over: Callable[[Session], None] | None = over
        self._context = context
        self._seconds = seconds
        self._batches: Iterator[bytes] | None = None
        self._asking: asyncio.Future[bytes | None] | None = None

    async def read(self) -> bytes | None:
        """The next batch, from a thread."""
        if self._over is None:
            return None
        self._asking = asyncio.get_running_loop().run_in_executor(self._threads, self._next)
        return await asyncio.shield(self._asking)

    def _next(self) -> bytes | None:
        if self._batches is None:
            self._session.begin()
            self._context.deadline = time.monotonic() + self._seconds
            with self._session.limited(self._context):
                documents = self._begin()
            self._batches = flowing(self._session, documents, self._context, self._seconds)
        return self.counted(next(self._batches, None))

    async def close(self) -> None:
        """Leave the snapshot, once nobody reads in it."""
        over, self._over = self._over, None
        if over is None:
            return
        if self._asking is not None and not self._asking.done():
            self._context.deadline = time.monotonic()
            await asyncio.wait({self._asking})
        if self._asking is not None and not self._asking.cancelled():
            self._asking.exception()  # told to whoever asked
        self._session.end()
        over(self._session)
