"""The one writer of a process: a thread that carries out what waits in one transaction, then answers all at once.

One commit, and so one flush to disk, serves every operation of a batch. Each operation has a savepoint of its own, so
one that fails leaves no trace and disturbs no other. Nothing is answered before the commit has returned.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from doorleaf.errors import InternalError, StoreUnavailable, WriteFailed
from doorleaf.mql.context import Context
from doorleaf.stores.embedded.rows import Refused, Transaction
from doorleaf.stores.embedded.storage import Storage, begin_writing, failure

BATCH_OPERATIONS = 256
BATCH_SECONDS = 0.02
"""A batch takes operations until it has this many or this time has passed: nobody waits long for its commit."""

PAUSE_SECONDS = 0.0002

Work = Callable[[Transaction], Any]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Job:
    """One operation that waits, and where its answer goes."""

    work: Work
    context: Context
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    answer: Any = None
    error: BaseException | None = None


class BatchLost(Exception):
    """SQLite has undone the whole transaction: no operation of the batch counts."""


class Writer:
    """The writing thread and its queue."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._jobs: deque[Job] = deque()
        self._waiting = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="doorleaf-writer", daemon=True)

    def start(self) -> None:
        """Open the writing connection and start the thread."""
        self._session = self._storage.session(cache_pages=4000, busy=0.0, writing=True)
        self._thread.start()

    async def submit(self, work: Work, context: Context) -> Any:
        """Carry out ``work`` in a transaction; answers after its commit, or raises what it raised."""
        loop = asyncio.get_running_loop()
        job = Job(work, context, loop, loop.create_future())
        with self._waiting:
            if self._closing:
                raise StoreUnavailable("the database is shutting down")
            self._jobs.append(job)
            self._waiting.notify()
        # A caller that goes away must not take back a write that another thread is carrying out.
        return await asyncio.shield(job.future)

    def close(self) -> None:
        """Carry out what waits, then stop. Blocks; call it off the event loop."""
        with self._waiting:
            self._closing = True
            self._waiting.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        session = self._session
        try:
            while True:
                with self._waiting:
                    while not self._jobs and not self._closing:
                        self._waiting.wait()
                    if not self._jobs:
                        return
                self._batch(Transaction(session))
                # Without a pause another process that polls for the lock would hardly ever find it free.
                time.sleep(PAUSE_SECONDS)
        finally:
            session.close()

    def _batch(self, transaction: Transaction) -> None:
        session = transaction.session
        done: list[Job] = []
        before = session.catalog
        try:
            begin_writing(session)
            session.refresh()
            before = session.catalog
            self._carry_out(transaction, done)
            transaction.finish()
            session.finish()
            session.execute("COMMIT")
        except BaseException as error:
            lost = _lost(error)
            try:
                session.end()
            except sqlite3.Error:
                _log.exception("cannot roll back")
            session.catalog = before
            if not done:
                done += self._take_all()
            for job in done:
                job.error = lost
        else:
            if session.catalog is not before:
                self._storage.latest = session.catalog
        _answer(done)

    def _take_all(self) -> list[Job]:
        with self._waiting:
            taken = list(self._jobs)
            self._jobs.clear()
        return taken

    def _carry_out(self, transaction: Transaction, done: list[Job]) -> None:
        until = time.monotonic() + BATCH_SECONDS
        while self._jobs and len(done) < BATCH_OPERATIONS:
            job = self._jobs.popleft()
            done.append(job)
            _one(transaction, job)
            if time.monotonic() >= until:
                return


def _one(transaction: Transaction, job: Job) -> None:
    """Carry out one operation inside its savepoint; its failure is its own unless the transaction is gone."""
    session = transaction.session
    connection = session.connection
    mark = transaction.mark()
    session.finish()
    session.execute("SAVEPOINT operation")
    try:
        job.context.check_now()
        with session.limited(job.context):
            job.answer = job.work(transaction)
        session.execute("RELEASE operation")
    except WriteFailed as error:
        # Some writes of several failed, each undone by itself: what the others did stays.
        session.execute("RELEASE operation")
        job.error = error
    except BaseException as error:
        if not connection.in_transaction:
            raise BatchLost(_lost(error)) from error
        session.execute("ROLLBACK TO operation")
        session.execute("RELEASE operation")
        transaction.restore(mark)
        job.error = _reason(error)


def _reason(error: BaseException) -> BaseException:
    if isinstance(error, Refused):
        return error.error
    return failure(error) if isinstance(error, sqlite3.Error) else error


def _lost(error: BaseException) -> BaseException:
    """What the operations of a lost batch answer."""
    if isinstance(error, BatchLost):
        return _lost(error.__cause__) if error.__cause__ is not None else StoreUnavailable("nothing was written")
    if isinstance(error, sqlite3.Error):
        return failure(error)
    if isinstance(error, StoreUnavailable):
        return error
    _log.error("a batch of writes failed", exc_info=error)
    return InternalError("internal error")


def _answer(done: list[Job]) -> None:
    loops: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in done:
        loops.setdefault(job.loop, []).append(job)
    for loop, jobs in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve, jobs)
        except RuntimeError:
            _log.warning("the event loop closed before %d writes were answered", len(jobs))


def _resolve(jobs: list[Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.error is None:
            job.future.set_result(job.answer)
        else:
            job.future.set_exception(job.error)
