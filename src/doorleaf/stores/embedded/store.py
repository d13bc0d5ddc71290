"""The embedded database as a store: MongoDB's operations over one SQLite file in a folder.

Short reads run on the event loop, everything else that reads in a few threads, every write in the writer's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from doorleaf.documents import Documents
from doorleaf.errors import DoorleafError, InternalError, StoreUnavailable, Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.stages import split_output
from doorleaf.operations import (
    Aggregate,
    CountDocuments,
    CreateCollection,
    CreateIndex,
    Distinct,
    DropCollection,
    DropIndex,
    EstimatedDocumentCount,
    Find,
    FindOne,
    ListCollections,
    ListDatabases,
    ListIndexes,
    Operation,
    R,
    RunCommand,
    Watch,
)
from doorleaf.results import (
    ChangesResult,
    CollectionsResult,
    CountResult,
    DatabasesResult,
    DistinctResult,
    DocumentResult,
    DocumentsResult,
    IndexesResult,
)
from doorleaf.stores.embedded import administration, change_log, changes, outputs, reads, writes
from doorleaf.stores.embedded.commands import run_command
from doorleaf.stores.embedded.points import find_point
from doorleaf.stores.embedded.rows import Transaction
from doorleaf.stores.embedded.scan import Budget, Postponed
from doorleaf.stores.embedded.storage import Session, Storage, failure
from doorleaf.stores.embedded.writer import Writer

T = TypeVar("T")

DEFAULT_TIME_LIMIT = 30_000
"""Milliseconds for an operation that has no limit of its own."""

READERS = 4
SWEEP_SECONDS = 60.0

INLINE_DOCUMENTS = 100
INLINE_BYTES = 256 * 1024
"""What a read may look at on the event loop."""

_log = logging.getLogger(__name__)

_WRITES: dict[type, Callable[[Transaction, Any, Context], Any]] = {
    **writes.WRITES,
    CreateIndex: administration.create_index,
    DropIndex: administration.drop_index,
    CreateCollection: administration.create_collection,
    DropCollection: administration.drop_collection,
}


class EmbeddedStore:
    """A store in ``folder``. ``synchronous`` is SQLite's: FULL makes every acknowledged write survive a power cut.

    Several processes may open one folder. ``open`` raises ``StoreUnavailable`` with the reason, which names the file,
    when it cannot be used.
    """

    def __init__(self, folder: Path, *, synchronous: str = "FULL", sweep_seconds: float = SWEEP_SECONDS) -> None:
        self._storage = Storage(Path(folder), synchronous)
        self._writer: Writer | None = None
        self._inline: Session | None = None
        self._idle: list[Session] = []
        self._pool: ThreadPoolExecutor | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._sweep_seconds = sweep_seconds
        self.opened_at = time.monotonic()

    async def open(self) -> None:
        """Create or check the file, and start the writer and the readers."""
        await asyncio.to_thread(self._storage.prepare)
        self._inline = self._storage.session(busy=1.0)
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="doorleaf-reader")
        self._writer = Writer(self._storage)
        self._writer.start()
        self._sweeper = asyncio.create_task(self._sweep_for_ever())
        self.opened_at = time.monotonic()

    async def close(self) -> None:
        """Carry out the writes that wait, fold the log into the file, and let go of it."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        if self._writer is not None:
            await asyncio.to_thread(self._writer.close)
        if self._pool is not None:
            await asyncio.to_thread(self._pool.shutdown)
        for session in (*self._idle, self._inline):
            if session is not None:
                session.close()
        if self._writer is not None:
            await asyncio.to_thread(self._storage.checkpoint)
        self._idle, self._inline, self._writer, self._pool, self._sweeper = [], None, None, None, None

    async def execute(self, operation: Operation[R]) -> R:
        """Carry out one operation; see :class:`doorleaf.stores.base.Store`."""
        try:
            if type(operation) is FindOne and self._inline is not None:
                found = find_point(self._inline, operation)
                if found is not None:
                    return found  # type: ignore[return-value]  # what R is for a FindOne
            limit = operation.max_time_ms or DEFAULT_TIME_LIMIT
            context = Context(time.monotonic() + limit / 1000)
            context.max_scan = operation.max_scan
            return await self._execute(operation, context)  # type: ignore[no-any-return]
        except DoorleafError:
            raise
        except sqlite3.Error as error:
            raise failure(error) from error
        except (RecursionError, MemoryError) as error:
            raise InternalError("internal error") from error

    async def _execute(self, operation: Operation[Any], context: Context) -> Any:
        kind = type(operation)
        if kind is FindOne:
            return DocumentResult((await self._find(operation, context)).first())
        if kind is Find:
            return DocumentsResult(await self._find(operation, context))
        if kind in _WRITES:
            work = _WRITES[kind]
            return await self.write(lambda transaction: work(transaction, operation, context), context)
        return await self._other(operation, context)

    async def _other(self, operation: Operation[Any], context: Context) -> Any:
        namespace = operation.namespace
        if isinstance(operation, Aggregate):
            return await self._aggregate(operation, context)
        if isinstance(operation, CountDocuments):
            return CountResult(await self._count(operation, context))
        if isinstance(operation, EstimatedDocumentCount):
            return CountResult(self.now(lambda session: reads.estimate(session, namespace)))
        if isinstance(operation, Distinct):
            return DistinctResult(await self.read(lambda session: reads.distinct(session, operation, context), context))
        if isinstance(operation, ListIndexes):
            return IndexesResult(self.now(lambda session: administration.list_indexes(session, namespace)))
        if isinstance(operation, ListCollections):
            listed = self.now(lambda session: administration.list_collections(session, namespace.database))
            return CollectionsResult(listed)
        if isinstance(operation, ListDatabases):
            return await self._list_databases(context)
        if isinstance(operation, Watch):
            return ChangesResult(await changes.watch(self, operation, context))
        if isinstance(operation, RunCommand):
            return await run_command(self, operation, context)
        raise Unsupported(f"{operation.name} is not supported by this data source")

    # --- reading -----------------------------------------------------------------------------------------------------

    def now(self, work: Callable[[Session], T]) -> T:
        """Read on the event loop, at once."""
        session = self._inline
        if session is None:
            raise StoreUnavailable("the database is closed")
        session.begin()
        try:
            return work(session)
        finally:
            session.end()

    def version(self) -> int:
        """A number that changes with every commit of others than the reader on the event loop, whoever they are."""
        if self._inline is None:
            raise StoreUnavailable("the database is closed")
        version: int = self._inline.execute("PRAGMA data_version").fetchone()[0]
        return version

    async def read(self, work: Callable[[Session], T], context: Context) -> T:
        """Read in a thread, in one snapshot, up to the deadline."""
        if self._pool is None:
            raise StoreUnavailable("the database is closed")
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._reading, work, context)

    def _reading(self, work: Callable[[Session], T], context: Context) -> T:
        context.check_now()
        session = self._idle.pop() if self._idle else self._storage.session()
        try:
            with session.reading(context):
                return work(session)
        finally:
            self._idle.append(session)

    async def _find(self, operation: Any, context: Context) -> Documents:
        budget = Budget(INLINE_DOCUMENTS, INLINE_BYTES)
        with contextlib.suppress(Postponed):
            return self.now(lambda session: reads.find(session, operation, context, budget))
        return await self.read(lambda session: reads.find(session, operation, context), context)

    async def _count(self, operation: CountDocuments, context: Context) -> int:
        with contextlib.suppress(Postponed):
            return self.now(lambda session: reads.count(session, operation, context, inline=True))
        return await self.read(lambda session: reads.count(session, operation, context), context)

    async def _list_databases(self, context: Context) -> DatabasesResult:
        return await self.read(administration.list_databases, context)

    async def _aggregate(self, operation: Aggregate, context: Context) -> DocumentsResult:
        pipeline, output = split_output(operation.pipeline)
        if output is None:
            found = await self.read(lambda session: reads.aggregate(session, operation, pipeline, context), context)
            return DocumentsResult(Documents(found))
        target = outputs.output_of(output, operation.namespace)
        everything = reads.uncapped(operation)
        found = await self.read(lambda session: reads.aggregate(session, everything, pipeline, context), context)
        await self.write(lambda transaction: outputs.write_output(transaction, target, found, context), context)
        return DocumentsResult(Documents([]))

    # --- writing -----------------------------------------------------------------------------------------------------

    async def write(self, work: Callable[[Transaction], T], context: Context) -> T:
        """Carry out ``work`` in the writer's thread; answers when it is durable."""
        if self._writer is None:
            raise StoreUnavailable("the database is closed")
        return await self._writer.submit(work, context)  # type: ignore[no-any-return]

    # --- documents that expire ---------------------------------------------------------------------------------------

    async def sweep(self) -> int:
        """Take out the documents and the logged changes whose time has come; answers how many documents."""
        total = 0
        while not self.now(change_log.is_idle):
            context = Context(time.monotonic() + DEFAULT_TIME_LIMIT / 1000)
            pruned = await self.write(lambda transaction: change_log.prune(transaction.session), context)
            if pruned < change_log.PRUNED_AT_ONCE:
                break
        for namespace, name in self.now(administration.expiring):
            while True:
                context = Context(time.monotonic() + DEFAULT_TIME_LIMIT / 1000)
                taken = await self.write(_expiry(namespace, name, context), context)
                total += taken
                if taken < administration.SWEEP:
                    break
        return total

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_seconds)
            try:
                await self.sweep()
            except (DoorleafError, sqlite3.Error):
                _log.exception("expired documents could not be taken out")


def _expiry(namespace: Any, name: str, context: Context) -> Callable[[Transaction], int]:
    return lambda transaction: administration.expire(transaction, namespace, name, context)
