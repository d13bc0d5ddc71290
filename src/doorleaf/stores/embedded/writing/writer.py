"""The one writer of a process: a thread that carries out what waits in one transaction, then answers all at once.

One commit, and so one flush to disk, serves every operation of a batch. Each operation has a savepoint of its own, so
one that fails leaves no trace and disturbs no other. Nothing is answered before the commit has returned.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import apsw

from doorleaf.errors import InternalError, StoreError, StoreUnavailable, WriteFailed, WriteOutcomeUnknown
from doorleaf.mql.context import Context, timed_out
from doorleaf.stores.embedded.file.folding import Folding
from doorleaf.stores.embedded.file.sqlite import failure, is_full
from doorleaf.stores.embedded.file.storage import Storage, begin_writing
from doorleaf.stores.embedded.writing.rows import Refused, Transaction

BATCH_OPERATIONS = 256
BATCH_SECONDS = 0.02
"""A batch takes operations until it has this many or this time has passed: nobody waits long for its commit."""

CLOSE_SECONDS = 60.0
"""How long closing waits for the writes that are under way; each has a deadline of its own before."""

Work = Callable[[Transaction], Any]

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
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
        self._closing = ""
        """Why nothing more is taken, once that is so."""
        self._underway: list[Job] = []
        """What the batch at hand, or the last one, has begun to carry out."""
        self._thread = threading.Thread(target=self._run, name="doorleaf-writer", daemon=True)

    def start(self) -> None:
        """Open the writing connection and start the thread."""
        self._session = self._storage.session(cache_pages=4000, busy=0.0, writing=True)
        self._storage.room.keep()
        self._thread.start()

    async def submit(self, work: Work, context: Context) -> Any:
        """Carry out ``work`` in a transaction; answers after its commit, or raises what it raised."""
        loop = asyncio.get_running_loop()
        job = Job(work, context, loop, loop.create_future())
        with self._waiting:
            if self._closing:
                raise StoreUnavailable(self._closing)
            self._jobs.append(job)
            self._waiting.notify()
        try:
            # A caller that goes away must not take back a write that another thread is carrying out.
            await asyncio.wait({job.future}, timeout=context.remaining())
        except BaseException:
            self._take_back(job)
            raise
        if not job.future.done() and self._take_back(job):
            raise timed_out()
        try:
            return await asyncio.shield(job.future)
        finally:
            del job  # an error in it holds this call, and so all that was to be written

    def _take_back(self, job: Job) -> bool:
        """Carry ``job`` out no more, if nobody has begun to; whether that is so."""
        with self._waiting, contextlib.suppress(ValueError):
            self._jobs.remove(job)
            return True
        return False

    def close(self) -> None:
        """Carry out what waits, then stop. Blocks; call it off the event loop."""
        with self._waiting:
            self._closing = self._closing or "the database is shutting down"
            self._waiting.notify()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_SECONDS)
            if self._thread.is_alive():
                _log.error("the writes that are under way did not end in %g seconds, and are left", CLOSE_SECONDS)

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:
            _log.critical("the thread that writes has ended: nothing is written any more", exc_info=error)
            with self._waiting:
                self._closing = "the database cannot write any more: nothing was written"
            waiting = self._take_all()
            for job in waiting:
                job.error = StoreUnavailable(self._closing)
            for job in self._underway:
                job.error = WriteOutcomeUnknown("the database has stopped writing; whether this was written is unknown")
            _answer([*self._underway, *waiting])

    def _serve(self) -> None:
        session = self._session
        folding = Folding(session.connection, self._storage.sharing)
        try:
            while True:
                with self._waiting:
                    if not self._jobs and not self._closing:
                        self._waiting.wait(folding.wait or self._storage.room.wait)
                    if not self._jobs and self._closing:
                        return
                if not self._jobs or self._batch(Transaction(session)):
                    self._fold(folding)
        finally:
            session.close()

    def _fold(self, folding: Folding) -> None:
        room = self._storage.room
        if self._storage.presence.gone:
            return
        try:
            folding.fold()
            room.tend(self._session.connection, folding.bytes)
        except OSError as error:  # the folder is gone
            _log.warning("the space of the database cannot be looked at: %s", error.strerror)
        except apsw.Error as error:
            if is_full(error) and room.release():
                return
            _log.warning("the write-ahead log could not be folded into the database file: %s", error)

    def _batch(self, transaction: Transaction) -> bool:
        """Carry out what waits; whether it is answered, and has not to be carried out again with more space."""
        session = transaction.session
        done: list[Job] = []
        self._underway = done
        before = session.catalog
        try:
            self._storage.sharing.take()
            begin_writing(session)
            session.refresh()
            before = session.catalog
            self._carry_out(transaction, done, self._storage.room.limit(session.connection))
            transaction.finish()
            session.finish()
            self._storage.presence.require()
            session.execute("COMMIT")
            self._storage.presence.require()
        except BaseException as error:
            lost, full = _lost(error), is_full(_cause(error))
            try:
                session.end()
            except apsw.Error:
                _log.exception("cannot roll back")
            session.catalog = before
            if not done:
                done += self._take_all()
            if full and self._storage.room.release():
                self._put_back(done)
                return False
            if isinstance(error, BatchLost) and not full:
                # One of them was ended in a statement that writes, and SQLite has undone all: the others begin again.
                done[-1].error = lost
                self._put_back(done[:-1])
                done = done[-1:]
            for job in done:
                job.error = lost
        else:
            if session.catalog is not before:
                self._storage.latest = session.catalog
        finally:
            self._storage.sharing.give()
        _answer(done)
        return True

    def _put_back(self, jobs: list[Job]) -> None:
        """Carry ``jobs`` out again, before what came after them."""
        for job in jobs:
            job.answer = job.error = None
        with self._waiting:
            self._jobs.extendleft(reversed(jobs))

    def _take_all(self) -> list[Job]:
        with self._waiting:
            taken = list(self._jobs)
            self._jobs.clear()
        return taken

    def _carry_out(self, transaction: Transaction, done: list[Job], limit: int | None) -> None:
        until = time.monotonic() + BATCH_SECONDS
        while len(done) < BATCH_OPERATIONS:
            with self._waiting:
                if not self._jobs:
                    return
                job = self._jobs.popleft()
            done.append(job)
            _one(transaction, job, limit)
            if time.monotonic() >= until:
                return


def _one(transaction: Transaction, job: Job, limit: int | None) -> None:
    """Carry out one operation inside its savepoint; its failure is its own unless the transaction is gone."""
    session = transaction.session
    connection = session.connection
    mark = transaction.mark()
    transaction.budget = None
    session.finish()
    session.execute("SAVEPOINT operation")
    try:
        job.context.check_now()
        with session.limited(job.context):
            job.answer = job.work(transaction)
            session.storage.room.require(connection, limit)
        session.execute("RELEASE operation")
    except WriteFailed as error:
        # Some writes of several failed, each undone by itself: what the others did stays.
        session.execute("RELEASE operation")
        job.error = error.with_traceback(None)  # which has this call, and so the job
    except BaseException as error:
        if not connection.in_transaction or (limit is None and is_full(error)):
            raise BatchLost from error
        session.execute("ROLLBACK TO operation")
        session.execute("RELEASE operation")
        transaction.restore(mark)
        job.error = _reason(error)


def _reason(error: BaseException) -> BaseException:
    if isinstance(error, Refused):
        return error.error
    return failure(error) if isinstance(error, apsw.Error) else error


def _cause(error: BaseException) -> BaseException | None:
    return error.__cause__ if isinstance(error, BatchLost) else error


def _lost(error: BaseException) -> BaseException:
    """What the operations of a lost batch answer."""
    if isinstance(error, BatchLost):
        return _lost(error.__cause__) if error.__cause__ is not None else StoreUnavailable("nothing was written")
    if isinstance(error, apsw.Error):
        return failure(error)
    if isinstance(error, StoreError):
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
