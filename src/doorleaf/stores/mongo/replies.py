"""Replies with a cursor, read as bytes: a batch's documents are cut out, not decoded."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

import bson
from pymongo.errors import ExecutionTimeout, NotPrimaryError, OperationFailure, PyMongoError, WTimeoutError

from doorleaf.documents import CODEC, Document

_CURSOR = b"\x03cursor\x00"
_FIRST = b"\x04firstBatch\x00"
_NEXT = b"\x04nextBatch\x00"
_ID = b"\x12id\x00"
_SIZE = Struct("<i").unpack_from
_LONG = Struct("<q").unpack_from

NOT_PRIMARY = frozenset({91, 189, 10058, 10107, 11600, 11602, 13435, 13436})
"""Codes that say the server is no longer, or not yet, the one to ask."""

_TIME_LIMIT = 50


def batch(reply: bytes) -> bytes:
    """The documents of ``reply``'s batch, end to end. Raises what PyMongo would for a reply that is an error."""
    start = _array(reply)
    if not start:
        return _decoded(reply)
    return _concatenated(reply[start : start + _SIZE(reply, start)[0]])


def cursor_id(reply: bytes) -> int:
    """The id of ``reply``'s cursor; 0 when there is no more to get, and for an error."""
    start = _array(reply)
    if start:
        end = start + _SIZE(reply, start)[0]
        if reply.startswith(_ID, end):
            number: int = _LONG(reply, end + len(_ID))[0]
            return number
    return int(bson.decode(reply, CODEC).get("cursor", {}).get("id", 0))


def is_error(reply: bytes) -> bool:
    """Whether ``reply`` can be an error: a cursor is only in those that are none."""
    return not reply.startswith(_CURSOR, 4)


def _array(reply: bytes) -> int:
    """Where the batch's array begins in a reply whose fields come in the usual order, else 0."""
    start = 4 + len(_CURSOR) + 4
    if is_error(reply):
        return 0
    if reply.startswith(_FIRST, start):
        return start + len(_FIRST)
    return start + len(_NEXT) if reply.startswith(_NEXT, start) else 0


def members(array: bytes) -> bytes:
    """The documents of a BSON array, end to end: of type, index, NUL and document only the document is kept."""
    found = []
    position = 4
    while array[position]:
        position = array.index(0, position + 1) + 1
        after = position + _SIZE(array, position)[0]
        found.append(array[position:after])
        position = after
    return b"".join(found)


_concatenated: Callable[[bytes], bytes] = getattr(bson, "_array_of_documents_to_buffer", members)
"""PyMongo's own of the same in C, where it has it."""


def _decoded(reply: bytes) -> bytes:
    """The same for a reply whose fields come in another order, and for errors."""
    document = bson.decode(reply, CODEC)
    if document.get("ok") != 1:
        raise failure(document)
    cursor: Any = document["cursor"]
    documents = cursor["firstBatch"] if "firstBatch" in cursor else cursor["nextBatch"]
    return b"".join(bson.encode(member, codec_options=CODEC) for member in documents)


def failure(document: Document) -> PyMongoError:
    """The exception PyMongo would raise for this reply."""
    message, code = str(document.get("errmsg", "")), document.get("code")
    if code in NOT_PRIMARY:
        return NotPrimaryError(message, document)
    if code == _TIME_LIMIT:
        return ExecutionTimeout(message, code, document)
    return OperationFailure(message, code, document)


def require_written(reply: Document) -> None:
    """Return if ``reply`` says that a write was done and replicated as asked. Raises what PyMongo would."""
    if reply.get("ok") != 1:
        raise failure(reply)
    if errors := reply.get("writeErrors"):
        raise OperationFailure(str(errors[0].get("errmsg", "")), errors[0].get("code"), {"writeErrors": errors})
    if error := reply.get("writeConcernError"):
        timed_out = error.get("code") == _TIME_LIMIT or error.get("errInfo", {}).get("wtimeout")
        kind = WTimeoutError if timed_out else OperationFailure
        raise kind(str(error.get("errmsg", "")), error.get("code"), error)
