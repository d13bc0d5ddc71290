"""What the server and a worker say to each other: frames over a socket, requests, answers and errors.

A frame is its payload's length (4 bytes, little-endian), its kind (1 byte) and the payload. The server's request is a
pickle; a worker, which has looked at what callers send, answers with BSON alone.
"""

from __future__ import annotations

import pickle
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import islice
from struct import Struct
from typing import Any

import bson

from doorleaf import errors
from doorleaf.documents import ABSENT, CODEC, Document, Documents
from doorleaf.errors import DoorleafError, InternalError
from doorleaf.operations import results
from doorleaf.stores.embedded.file.sqlite import DamagedDatabase

HEAD = Struct("<IB")

REQUEST = 1
DOCUMENTS = 2
"""Whole documents of the answer, end to end."""
VALUES = 3
"""``{"v": [...]}``: some elements of an answer that is a list."""
PREPARED = 4
"""The worker is about to commit: from here on nobody but it can say whether the write is there."""
RESULT = 5
ERROR = 6
BEGUN = 7
"""What the worker has committed counts for nothing yet, but would have to be done again."""
RESTING = 8
"""The worker has nothing open, and waits until it is told to go on."""
PAUSE, GO_ON = 9, 10
"""What the server says to one that writes in several transactions: rest before the next one, and go on."""
LAST = 0x80
"""Added to the kind of the frame that ends an answer: the worker takes no further request."""

BATCH_BYTES = 128 * 1024
_BATCH_VALUES = 1_000


@dataclass(slots=True)
class Place:
    """Whose data: the arguments of ``Storage``."""

    folder: str
    synchronous: str
    file: str


@dataclass(slots=True)
class Request:
    """One operation. ``work`` is a function of a module, called with a session (with ``writes``, a way to write), the
    ``arguments`` and a context of the other fields; see :class:`doorleaf.mql.context.Context` for those."""

    place: Place
    work: Callable[..., Any]
    arguments: tuple[Any, ...]
    deadline: float
    max_scan: int | None = None
    max_bytes: int | None = None
    writes: bool = False
    sliceable: bool = False
    """It may be carried out in several transactions, where it takes long; ``sliced`` says that it is to be."""
    sliced: bool = False
    behind: float = 0.0
    """Seconds that it stands behind others who begin to wait for the turn to write."""
    pace: float = 0.0
    """Seconds for each batch of documents, which the server takes as slowly as it likes; 0 where all is one answer."""


class _Pieces:
    """A file that keeps what is written in pieces: between them other threads get their turn."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self.pieces.append(bytes(piece))
        return len(piece)


def packed(request: Request) -> list[bytes]:
    """The frame of a request, in pieces."""
    file = _Pieces()
    pickle.Pickler(file, protocol=5).dump(request)
    return [HEAD.pack(sum(map(len, file.pieces)), REQUEST), *file.pieces]


def frame(kind: int, payload: bytes) -> bytes:
    """One whole frame."""
    return HEAD.pack(len(payload), kind) + payload


def receive(connection: socket.socket) -> bytearray | None:
    """The payload of the next request; None when the other side has closed."""
    while (head := order(connection)) is not None:
        if head[1] == REQUEST:  # an order that came too late for the one before is nothing to it
            return _exactly(connection, head[0])
    return None


def order(connection: socket.socket) -> tuple[int, int] | None:
    """The length and the kind of the next frame; None when the other side has closed."""
    head = _exactly(connection, HEAD.size)
    return None if head is None else HEAD.unpack(head)


def _exactly(connection: socket.socket, size: int) -> bytearray | None:
    found = bytearray(size)
    view = memoryview(found)
    while view:
        count = connection.recv_into(view)
        if not count:
            return None
        view = view[count:]
    return found


def nothing(session: Any, context: Any) -> None:
    """Work that is none: it makes a worker open its place."""


# --- answers ---------------------------------------------------------------------------------------------------------


def batches(documents: Iterable[bytes]) -> Iterator[bytes]:
    """Documents put together to payloads of about :data:`BATCH_BYTES`."""
    held: list[bytes] = []
    size = 0
    for document in documents:
        held.append(document)
        size += len(document)
        if size >= BATCH_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


class Values(list[bytes]):
    """An answer that is a list, in payloads of :data:`VALUES` already."""


def values(items: Iterable[Any]) -> Iterator[bytes]:
    """A list in payloads of :data:`VALUES`."""
    rest = iter(items)
    while piece := list(islice(rest, _BATCH_VALUES)):
        yield _encoded({"v": piece})


def result_payload(result: Any) -> bytes:
    """A result by its class and fields, or a plain value."""
    return _encoded(_held(result) if isinstance(result, results.Result) else {"v": result})


def _held(result: results.Result) -> Document:
    held: Document = {}
    if isinstance(result, results.TransactionResult):
        held = {"results": [_held(part) for part in result.results], "added": list(result.added or ())}
        return {"c": type(result).__name__, "f": held}
    for item in fields(result):
        value = getattr(result, item.name)
        if isinstance(value, Documents):
            held[item.name] = {"b": value.batches}
        elif value is not ABSENT:
            held[item.name] = value
    return {"c": type(result).__name__, "f": held}


def result_of(payload: bytes) -> Any:
    """Decode what :func:`result_payload` encoded."""
    found = bson.decode(payload, CODEC)
    return _result(found) if "c" in found else found["v"]


def _result(found: Document) -> Any:
    cls, held = getattr(results, found["c"]), found["f"]
    if cls is results.TransactionResult:
        return cls([_result(part) for part in held["results"]], tuple(held["added"]) or None)
    if cls is results.DocumentsResult:
        return cls(Documents(held["documents"]["b"]))
    return cls(**held)


def _encoded(document: Document) -> bytes:
    return bson.encode(document, codec_options=CODEC)


# --- errors ----------------------------------------------------------------------------------------------------------

_KNOWN: dict[str, type[DoorleafError]] = {
    name: found
    for name, found in {**vars(errors), "DamagedDatabase": DamagedDatabase}.items()
    if isinstance(found, type) and issubclass(found, DoorleafError)
}


def error_payload(error: DoorleafError, trace: str = "") -> bytes:
    """An error as plain data; ``trace`` is for the server's log alone."""
    known = next(cls.__name__ for cls in type(error).__mro__ if cls.__name__ in _KNOWN)
    told: Document = {
        "e": known,
        "m": error.message.encode(errors="replace").decode(),
        "c": error.code,
        "s": error.status,
        "h": dict(error.headers),
        "n": getattr(error, "number", None),
        "r": getattr(error, "rule", None),
        "t": trace,
    }
    try:
        return _encoded({**told, "f": dict(error.fields)})
    except (bson.errors.BSONError, OverflowError, ValueError):
        return _encoded({**told, "f": {}})


def error_of(payload: bytes) -> tuple[DoorleafError, str]:
    """Decode the error that :func:`error_payload` encoded, and the trace."""
    told = bson.decode(payload, CODEC)
    cls = _KNOWN.get(told["e"], InternalError)
    error = cls.__new__(cls)
    DoorleafError.__init__(error, told["m"], code=told["c"], fields=told["f"], headers=told["h"])
    error.args = (told["m"],)
    usually = {"number": None, "rule": None, "status": cls.status}
    for (name, usual), value in zip(usually.items(), (told["n"], told["r"], told["s"]), strict=True):
        if value != usual:
            setattr(error, name, value)
    return error, told["t"]
