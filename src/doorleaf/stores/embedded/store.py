"""The embedded database as a store: MongoDB's operations over the SQLite files of a folder.

Short reads run on the event loop and short writes in the writer's thread, everything else in worker processes. What the
server itself asks has a few threads, and waits for no caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import apsw

from doorleaf.apart import CODING
from doorleaf.documents import Document, Documents
from doorleaf.errors import DoorleafError, InternalError, StoreUnavailable, Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.stages.compile import split_output
from doorleaf.operations import (
    OWN_TURN,
    Aggregate,
    CountDocuments,
    Distinct,
    EstimatedDocumentCount,
    Find,
    FindOne,
    InsertMany,
    ListCollections,
    ListDatabases,
    ListIndexes,
    Operation,
    R,
    RunCommand,
    Scan,
    Watch,
)
from doorleaf.operations.results import (
    ChangesResult,
    CollectionsResult,
    CountResult,
    DatabasesResult,
    DistinctResult,
    DocumentResult,
    DocumentsResult,
    DocumentStream,
    IndexesResult,
    InsertManyResult,
    ScanResult,
)
from doorleaf.stores.embedded import administration, sweeping
from doorleaf.stores.embedded.changes import stream as changes
from doorleaf.stores.embedded.commands import run_command
from doorleaf.stores.embedded.file.files import SYSTEM_DATABASE, Files
from doorleaf.stores.embedded.file.room import NOTE
from doorleaf.stores.embedded.file.sqlite import failure
from doorleaf.stores.embedded.file.storage import Session, Storage
from doorleaf.stores.embedded.processes.counts import Counts
from doorleaf.stores.embedded.processes.forking import AVAILABLE
from doorleaf.stores.embedded.processes.pool import Pool
from doorleaf.stores.embedded.processes.wire import Place, Request
from doorleaf.stores.embedded.reading import reads, small
from doorleaf.stores.embedded.reading.budget import Budget, Postponed
from doorleaf.stores.embedded.reading.flowing import Walk
from doorleaf.stores.embedded.reading.points import find_point
from doorleaf.stores.embedded.writing import output_slices, outputs, planned, slices
from doorleaf.stores.embedded.writing.rows import Transaction
from doorleaf.stores.embedded.writing.writer import Writer

T = TypeVar("T")

DEFAULT_TIME_LIMIT = 30_000
"""Milliseconds for an operation that has no limit of its own."""

READERS = 2
"""Threads for what the server itself reads."""

WARM_SECONDS = 0.5
"""After so long a store that is still open has a worker ready."""

CLOSE_SECONDS = 5.0
"""How long closing waits for the sweep to be left."""

SWEEP_SECONDS = 60.0

INLINE_DOCUMENTS = 100
INLINE_BYTES = 256 * 1024
"""What a read may look at on the event loop."""

INLINE_COLLECTIONS = 2_000
"""Of how many collections those of a database are listed on the event loop."""


class FileStore:
    """The operations over one file of a folder, which has been prepared. ``beside`` are the databases that are in
    another file, each with the store of that."""

    def __init__(self, storage: Storage, sweep_seconds: float) -> None:
        self._storage = storage
        self.beside: dict[str, FileStore] = {}
        self._writer: Writer | None = None
        self._inline: Session | None = None
        self._idle: list[Session] = []
        self._pool: ThreadPoolExecutor | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._sweep_seconds = sweep_seconds
        self._place = Place(str(storage.folder.absolute()), storage.synchronous, storage.path.name)
        self._workers: Pool | None = None
        self._warming: asyncio.TimerHandle | None = None
        self.opened_at = time.monotonic()

    def start(self) -> None:
        """Start the writer and the readers."""
        self._inline = self._storage.session(busy=1.0)
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="doorleaf-reader")
        self._writer = Writer(self._storage)
        self._writer.start()
        self._sweeper = asyncio.create_task(sweeping.sweep_for_ever(self, self._sweep_seconds))
        if AVAILABLE:
            self._workers = Pool.attach()
        self.opened_at = time.monotonic()

    async def close(self) -> None:
        """Carry out the writes that wait, fold the log into the file, and let go of it."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait({self._sweeper}, timeout=CLOSE_SECONDS)
        if self._warming is not None:
            self._warming.cancel()
        if self._workers is not None:
            await self._workers.detach(self._place)
        if self._writer is not None:
            await asyncio.to_thread(self._writer.close)
        if self._pool is not None:
            await asyncio.to_thread(self._pool.shutdown)
        for session in (*self._idle, self._inline):
            if session is not None:
                session.close()
        if self._writer is not None:
            await asyncio.to_thread(self._storage.close)
        self._idle, self._inline, self._writer, self._pool, self._sweeper = [], None, None, None, None
        self._workers = self._warming = None

    async def execute(self, operation: Operation[R]) -> R:
        """Carry out one operation; see :class:`doorleaf.stores.base.Store`."""
        if operation.within is not None:
            raise Unsupported("the embedded database has no transactions over several operations; bulkWrite is one")
        try:
            other = self.beside.get(operation.namespace.database)
            if other is not None:
                return await other.execute(operation)
            if type(operation) is FindOne and self._inline is not None:
                found = find_point(self._inline, operation)
                if found is not None:
                    return found  # type: ignore[return-value]  # what R is for a FindOne
            limit = operation.max_time_ms or DEFAULT_TIME_LIMIT
            context = Context(time.monotonic() + limit / 1000)
            context.max_scan, context.max_bytes, context.turn = operation.max_scan, operation.max_bytes, operation.turn
            return await self._execute(operation, context)  # type: ignore[no-any-return]
        except DoorleafError:
            raise
        except apsw.Error as error:
            raise failure(error) from error
        except (RecursionError, MemoryError) as error:
            raise InternalError("internal error") from error

    async def _execute(self, operation: Operation[Any], context: Context) -> Any:
        if isinstance(operation, FindOne):
            return DocumentResult((await self._find(operation, context))[0].first())
        if isinstance(operation, Find):
            found, total = await self._find(operation, context)
            if total is None and operation.total is not None:
                told = operation.told(len(found))
                total = await self._count(operation.counting, context) if told is None else told
            return DocumentsResult(found, total)
        if type(operation) in planned.WRITES:
            return await self._write(operation, context)
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
            return DistinctResult(await self.read(reads.distinct, operation, context=context))
        if isinstance(operation, ListIndexes):
            return IndexesResult(self.now(lambda session: administration.list_indexes(session, namespace)))
        if isinstance(operation, ListCollections):
            return CollectionsResult(await self._list_collections(namespace.database, context))
        if isinstance(operation, ListDatabases):
            return await self._list_databases(context)
        if isinstance(operation, Watch):
            return ChangesResult(await changes.watch(self, operation, context))
        if isinstance(operation, Scan):
            return ScanResult(await self._scan(operation, context))
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
        version: int = self._inline.execute("PRAGMA data_version").get
        return version

    async def read(self, work: Callable[..., Any], *arguments: Any, context: Context) -> Any:
        """Call ``work(session, *arguments, context)``, a function of a module, in one snapshot up to the deadline, and
        return its result; documents that it yields come as a list of batches."""
        if self._pool is None:
            raise StoreUnavailable("the database is closed")
        if self._workers is None or context.turn == OWN_TURN:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, self._reading, work, arguments, context)
        return await self._workers.carry_out(self._request(work, arguments, context), context.turn)

    def _request(
        self, work: Callable[..., Any], arguments: tuple[Any, ...], context: Context, *, writes: bool = False
    ) -> Request:
        if writes:
            self.require_present()  # a worker that is made now would know no other file
        deadline = time.monotonic() + DEFAULT_TIME_LIMIT / 1000 if context.deadline is None else context.deadline
        most = None if writes else context.max_bytes
        return Request(self._place, work, arguments, deadline, context.max_scan, most, writes)

    def _reading(self, work: Callable[..., Any], arguments: tuple[Any, ...], context: Context) -> Any:
        context.check_now()
        session = self._idle.pop() if self._idle else self._storage.session()
        try:
            with session.reading(context):
                found = work(session, *arguments, context)
                return [*found] if isinstance(found, Iterator) else found
        finally:
            self._idle.append(session)

    def workers(self) -> Counts:
        """Counts of what the worker processes have done so far and do now; zeros where there are none."""
        return Counts() if self._workers is None else self._workers.counts()

    async def _find(self, operation: Find | FindOne, context: Context) -> tuple[Documents, int | None]:
        """The documents of a find, and the total that it asks for where the same reading tells it."""
        weights = small.tests(operation)
        if weights is not None:
            budget = Budget(INLINE_DOCUMENTS, INLINE_BYTES, *weights)
            with contextlib.suppress(Postponed):
                return self.now(lambda session: reads.find_soon(session, operation, context, budget))
        return Documents(await self.read(reads.find, operation, context=context)), None

    async def _scan(self, operation: Scan, context: Context) -> DocumentStream:
        """The documents of a query as they are taken, the first of them read already."""
        work, *arguments = reads.scanned(operation.query)
        seconds = (operation.max_time_ms or DEFAULT_TIME_LIMIT) / 1000
        context.max_bytes = context.max_bytes or sys.maxsize
        if self._pool is None:
            raise StoreUnavailable("the database is closed")
        if self._workers is not None and context.turn != OWN_TURN:
            request = self._request(work, tuple(arguments), context)
            request.pace = seconds
            return await self._workers.flow(request, context.turn)
        session = self._idle.pop() if self._idle else self._storage.session()
        walk = Walk(
            self._pool, session, lambda: work(session, *arguments, context), self._idle.append, context, seconds
        )
        return await walk.open()

    async def _count(self, operation: CountDocuments, context: Context) -> int:
        weights = small.tests(operation)
        if weights is not None:
            budget = Budget(INLINE_DOCUMENTS, INLINE_BYTES, *weights)
            with contextlib.suppress(Postponed):
                return self.now(lambda session: reads.count(session, operation, context, budget))
        return int(await self.read(reads.count, operation, context=context))

    @property
    def parts(self) -> tuple[FileStore, ...]:
        """All files of the folder that have a store: this one, and those beside it."""
        return (self, *dict.fromkeys(self.beside.values()))

    async def _list_collections(self, database: str, context: Context) -> list[Document]:
        if len(self._storage.latest.collections) > INLINE_COLLECTIONS:
            listed: list[Document] = await self.read(administration.named, database, context=context)
            return listed
        return self.now(lambda session: administration.list_collections(session, database))

    async def _list_databases(self, context: Context) -> DatabasesResult:
        listed = await self.databases(administration.list_databases, context=context)
        return DatabasesResult(listed, sum(item["sizeOnDisk"] for item in listed))

    async def databases(self, work: Callable[..., Any], *arguments: Any, context: Context) -> list[Document]:
        """The databases of all files that ``work`` lists, by name."""
        found = [
            item
            for part in self.parts
            for item in await part.read(work, *arguments, context=context)
            if part.holds(item["name"])
        ]
        return sorted(found, key=itemgetter("name"))

    async def _aggregate(self, operation: Aggregate, context: Context) -> DocumentsResult:
        pipeline, output = split_output(operation.pipeline)
        if output is None:
            weights = small.pipeline(operation)
            if weights is not None:
                budget = Budget(INLINE_DOCUMENTS, INLINE_BYTES, *weights)
                with contextlib.suppress(Postponed):
                    return DocumentsResult(
                        Documents(
                            self.now(lambda session: [*reads.aggregate(session, operation, pipeline, context, budget)])
                        )
                    )
            return DocumentsResult(Documents(await self.read(reads.aggregate, operation, pipeline, context=context)))
        target = outputs.output_of(output, operation.namespace)
        if not self.holds(target.target.database):
            raise Unsupported("$out and $merge between these databases are not supported by this data source")
        context.max_bytes = None
        if self._workers is None:
            await self.work(planned.output, operation, pipeline, target, context=context)
        else:
            request = self._request(output_slices.output, (operation, pipeline, target), context, writes=True)
            request.sliceable = True
            await self._workers.carry_out(request, context.turn)
        return DocumentsResult(Documents([]))

    # --- writing -----------------------------------------------------------------------------------------------------

    async def write(self, work: Callable[[Transaction], T], context: Context) -> T:
        """Carry out ``work`` in the writer's thread; answers when it is durable."""
        if self._writer is None:
            raise StoreUnavailable("the database is closed")
        return await self._writer.submit(work, context)  # type: ignore[no-any-return]

    def holds(self, database: str) -> bool:
        """Whether the collections of ``database`` are in this file."""
        return database not in self.beside

    def require_present(self) -> None:
        """Raise ``StoreUnavailable`` when a file was removed or replaced."""
        for part in self.parts:
            part._storage.presence.require()

    async def work(self, work: Callable[..., Any], *arguments: Any, context: Context, sliceable: bool = False) -> Any:
        """Call ``work(writing, *arguments, context)``, a function of a module that takes long to write, and return its
        result when it is durable."""
        if self._workers is None:
            return await self.write(lambda transaction: _alone(transaction, work, arguments, context), context)
        request = self._request(work, arguments, context, writes=True)
        request.sliceable = sliceable
        return await self._workers.carry_out(request, context.turn)

    async def _write(self, operation: Operation[Any], context: Context) -> Any:
        """Carry out a write: what is small in the writer's thread, all else in a worker."""
        work = planned.WRITES[type(operation)]
        if context.turn == OWN_TURN or self._workers is None or not small.is_portable(operation):
            return await self.write(lambda transaction: work(transaction, operation, context), context)
        tests = small.write(operation)
        if tests is not None:

            def quickly(transaction: Transaction) -> Any:
                transaction.budget = Budget(INLINE_DOCUMENTS, INLINE_BYTES, tests)
                return work(transaction, operation, context)

            with contextlib.suppress(Postponed):
                return await self.write(quickly, context)
        if isinstance(operation, InsertMany):
            batches = await CODING.run(context.remaining() or 0, slices.batches, operation.documents)
            some = replace(operation, documents=[])
            request = self._request(slices.insert_many, (some, batches), context, writes=True)
            request.sliceable, request.sliced = True, len(operation.documents) > slices.MANY
            return InsertManyResult(await self._workers.carry_out(request, context.turn))
        return await self.work(slices.write, operation, context=context, sliceable=slices.is_sliceable(operation))

    def note(self) -> str:
        """A warning for the operator though operations are served; "" for none."""
        return NOTE if self._storage.room.is_full else ""

    async def sweep(self) -> int:
        """Take out the documents and the logged changes whose time has come; answers how many documents."""
        return await sweeping.sweep(self)


class _SystemStore(FileStore):
    """The store of what the server knows about callers."""

    def __init__(self, files: Files, sweep_seconds: float) -> None:
        super().__init__(files.system, sweep_seconds)
        self._files = files

    def holds(self, database: str) -> bool:
        return database in self._files.names


class EmbeddedStore(FileStore):
    """A store in ``folder``. ``synchronous`` is SQLite's: FULL makes every acknowledged write survive a power cut.
    ``system_database`` is in a file of its own.

    Several processes may open one folder. ``open`` raises ``StoreUnavailable`` with the reason, which names the file,
    when it cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        *,
        synchronous: str = "FULL",
        sweep_seconds: float = SWEEP_SECONDS,
        system_database: str = SYSTEM_DATABASE,
    ) -> None:
        self._files = Files(Path(folder), synchronous, system_database)
        self._system = _SystemStore(self._files, sweep_seconds)
        super().__init__(self._files.main, sweep_seconds)

    async def open(self) -> None:
        """Create or check the files, and start to serve."""
        await asyncio.to_thread(self._files.prepare)
        self.beside = dict.fromkeys(self._files.names, self._system)
        self._system.start()
        self.start()
        if self._workers is not None:
            self._warming = asyncio.get_running_loop().call_later(WARM_SECONDS, self._workers.warm, self._place)

    async def close(self) -> None:
        """Carry out the writes that wait, fold the logs into the files, and let go of them."""
        await self._system.close()
        await super().close()


def _alone(transaction: Transaction, work: Callable[..., Any], arguments: tuple[Any, ...], context: Context) -> Any:
    """The same where there are no workers."""
    return work(planned.Held(transaction), *arguments, context)
