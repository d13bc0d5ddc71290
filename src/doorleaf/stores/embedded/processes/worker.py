"""A worker: one operation at a time, in bounded memory, answered in pieces as fast as the server takes them."""

from __future__ import annotations

import pickle
import resource
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import apsw
from bson.errors import InvalidBSON

from doorleaf.errors import DataError, DoorleafError, InternalError, StoreUnavailable
from doorleaf.mql.context import Context
from doorleaf.operations.results import DocumentResult
from doorleaf.stores.base import answer_too_large
from doorleaf.stores.embedded import statistics  # noqa: F401  # what requests name
from doorleaf.stores.embedded.file.folding import Folding
from doorleaf.stores.embedded.file.sqlite import DISK_FULL, FULL_IN_PART, failure, is_full
from doorleaf.stores.embedded.file.storage import Session, Storage
from doorleaf.stores.embedded.processes import wire
from doorleaf.stores.embedded.processes.memory import MEMORY, out_of_memory
from doorleaf.stores.embedded.processes.wire import Place, Request
from doorleaf.stores.embedded.reading.flowing import flowing
from doorleaf.stores.embedded.writing.planned import Overdue, Writing
from doorleaf.stores.embedded.writing.rows import Refused

KEPT_MEMORY = 24 * 1024 * 1024
"""Bytes that it may still have after an operation and go on."""

_LATE_SECONDS = 3
"""After the deadline an operation ends its process by an alarm, should the server not have done so."""


_REST_SECONDS = 0.1
"""How often one that rests looks at its deadline."""


class _Opened:
    """The data folder that the last request named, and sessions on it."""

    def __init__(self) -> None:
        self._place: Place | None = None
        self._session: Session | None = None
        self._writer: Session | None = None
        self._folding: Folding | None = None

    def at(self, place: Place) -> Session:
        """A session that reads in ``place``."""
        if self._session is None or place != self._place:
            for session in (self._session, self._writer):
                if session is not None:
                    session.close()
            if self._session is not None:
                self._session.storage.sharing.close()
            storage = Storage(Path(place.folder), place.synchronous, place.file)
            storage.sharing.open()
            self._session, self._writer, self._place = storage.session(), None, place
        return self._session

    def writing(self, place: Place, prepared: Callable[[], None]) -> Writing:
        """A way to write in ``place``, which says so before it commits."""
        reader = self.at(place)
        if self._writer is None:
            self._writer = reader.storage.session(busy=0.0, writing=True)
            self._folding = Folding(self._writer.connection, reader.storage.sharing)
        assert self._folding is not None  # noqa: S101  # just made
        return Writing(reader, self._writer, prepared, self._folding.ease_quietly)


class _Sender:
    """Sends the pieces of an answer, the last of them together with its end."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._held = b""

    def piece(self, kind: int, payload: bytes) -> None:
        if self._held:
            self._connection.sendall(self._held)
        self._held = wire.frame(kind, payload)

    def now(self, kind: int, payload: bytes = b"") -> None:
        """Send a frame, and what was before it."""
        self.piece(kind, payload)
        self._connection.sendall(self._held)
        self._held = b""

    def order(self, seconds: float) -> int | None:
        """What the server has said, up to so many seconds from now; None for nothing."""
        if not select.select([self._connection], [], [], seconds)[0]:
            return None
        head = wire.order(self._connection)
        if head is None:
            raise ConnectionResetError
        return head[1]

    def end(self, kind: int, payload: bytes) -> None:
        held, self._held = self._held, b""
        self._connection.sendall(held + wire.frame(kind, payload))


def serve(connection: socket.socket) -> None:
    """Answer requests until the server closes ``connection``, or an operation has left too much memory in use."""
    began = _bound_memory()
    most = _most_bytes() + KEPT_MEMORY
    opened, sender = _Opened(), _Sender(connection)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    received: list[bytearray] = []
    while (payload := wire.receive(connection)) is not None:
        received.append(payload)
        del payload
        kind, answer = _carried_out(received, opened, sender)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _watch(0)
        full = _most_bytes() > most and (not began or _data_bytes() > began + KEPT_MEMORY)
        sender.end(kind | wire.LAST if full else kind, answer)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        if full:
            return


def _carried_out(received: list[bytearray], opened: _Opened, sender: _Sender) -> tuple[int, bytes]:
    """The frame that ends the answer to what was ``received``, which is let go; the rest is with ``sender``."""
    try:
        request: Request = pickle.loads(received.pop())  # noqa: S301  # the server's own
        _alarm(request.deadline + _LATE_SECONDS)
        context = Context(request.deadline)
        context.max_scan, context.max_bytes = request.max_scan, request.max_bytes
        if request.writes:
            writing = opened.writing(request.place, lambda: _prepared(sender))
            writing.sliced, writing.behind = request.sliced, request.behind
            writing.alarm = lambda until: _alarm(until or request.deadline + _LATE_SECONDS)
            writing.watch = _watch
            writing.begun = lambda: sender.now(wire.BEGUN)
            if request.sliceable and not request.sliced:
                writing.moment /= 2  # what takes longer begins anew in slices of that time
            if request.sliced:
                writing.turn = lambda: _rest(sender, context)
            return wire.RESULT, _sent(_written(request, writing, context), context, sender)
        session = opened.at(request.place)
        with session.reading(context):
            if request.pace:
                return wire.RESULT, _flowed(request, session, context, sender)
            return wire.RESULT, _sent(request.work(session, *request.arguments, context), context, sender)
    except BaseException as error:
        told, trace = _told(error)
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
    return wire.ERROR, wire.error_payload(told, trace)


def _prepared(sender: _Sender) -> None:
    """Say that a commit follows; being told to make room for others waits until it is answered."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    sender.now(wire.PREPARED)


def _rest(sender: _Sender, context: Context) -> None:
    """Rest if the server wants that, until it has this go on; raises when the time is over."""
    pausing, seconds = False, 0.0
    while (order := sender.order(seconds)) is not None or pausing:
        context.check_now()
        if order == wire.PAUSE:
            sender.now(wire.RESTING)
        pausing = pausing if order is None else order == wire.PAUSE
        seconds = _REST_SECONDS if pausing else 0.0


def _alarm(until: float) -> None:
    """End this process at an instant, unless it is set anew."""
    signal.setitimer(signal.ITIMER_REAL, max(0.001, until - time.monotonic()))


def _watch(seconds: float) -> None:
    """End this process when it has worked for so long, unless that is set anew; 0 for never."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _written(request: Request, writing: Writing, context: Context) -> Any:
    """What a write answers, which is carried out again when the disk was full and there is a reserve to use."""
    try:
        return request.work(writing, *request.arguments, context)
    except Overdue:
        if request.sliceable and not request.sliced:
            signal.pause()  # it has had more than its time in the quick lane: the server ends it, and begins anew
        raise
    except StoreUnavailable as error:
        if writing.committed and error.message == DISK_FULL:
            raise StoreUnavailable(FULL_IN_PART) from None
        raise
    except apsw.Error as error:
        if writing.committed and is_full(error):
            raise StoreUnavailable(FULL_IN_PART) from error
        if not is_full(error) or not writing.session.storage.room.release():
            raise
    return request.work(writing, *request.arguments, context)


def _sent(answer: Any, context: Context, sender: _Sender) -> bytes:
    """Send documents and long lists; the payload of the result that ends them."""
    result: Any = None
    pieces: Iterable[bytes] = ()
    kind = wire.DOCUMENTS
    if isinstance(answer, DocumentResult):
        pieces, result = ([] if answer.document is None else [cast(bytes, answer.document)]), DocumentResult(None)
    elif isinstance(answer, Iterator):
        pieces = answer
    elif isinstance(answer, list):
        kind, pieces = wire.VALUES, answer if isinstance(answer, wire.Values) else wire.values(answer)
    else:
        result = answer
    size = 0
    for piece in wire.batches(pieces) if kind == wire.DOCUMENTS else pieces:
        size += len(piece)
        if context.max_bytes and size > context.max_bytes:
            raise answer_too_large(context.max_bytes)
        sender.piece(kind, piece)
        context.check_now()
    return wire.result_payload(result)


def _flowed(request: Request, session: Session, context: Context, sender: _Sender) -> bytes:
    """Send documents as the server takes them, each batch in its time; the payload of the result that ends them."""
    size = 0
    for piece in flowing(session, request.work(session, *request.arguments, context), context, request.pace):
        size += len(piece)
        if context.max_bytes and size > context.max_bytes:
            raise answer_too_large(context.max_bytes)
        signal.setitimer(signal.ITIMER_REAL, 0)  # the server may take its time, and ends who waits for it
        sender.now(wire.DOCUMENTS, piece)
        _alarm(time.monotonic() + request.pace + _LATE_SECONDS)
    return wire.result_payload(None)


def _told(error: BaseException) -> tuple[DoorleafError, str]:
    """What the caller learns of ``error``, and what the log does."""
    if isinstance(error, Refused) and isinstance(error.error, Exception):
        return _told(error.error)
    if isinstance(error, DoorleafError):
        return error, ""
    if isinstance(error, (MemoryError, apsw.NoMemError)) or _lacked_memory(error):
        return out_of_memory(), ""
    if isinstance(error, RecursionError):
        return DataError("the operation is nested too deeply to be carried out", number=15), ""
    if isinstance(error, apsw.Error):
        return failure(error), ""
    return InternalError("internal error"), "".join(traceback.format_exception(error))


def _lacked_memory(error: BaseException) -> bool:
    """Whether BSON could not be decoded for lack of memory: PyMongo then says that it is invalid, and nothing else."""
    return isinstance(error, InvalidBSON) and not str(error)


def _bound_memory() -> int:
    """Put the limit; the bytes that are in use before the first operation, 0 where the system does not tell."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    began = _data_bytes()
    if began:
        # Linux counts all private writable memory as data; elsewhere limits of this kind are not kept by the system.
        limit = began + MEMORY
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    return began


def _most_bytes() -> int:
    """The most memory that this process ever had, which costs little to ask."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _data_bytes() -> int:
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_bytes().split()[5]) * resource.getpagesize()
