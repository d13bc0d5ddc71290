"""Replies with a cursor, read as bytes: a batch's documents are cut out, not decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import index
from struct import Struct
from typing import Any

import bson
from pymongo.errors import (
    ExecutionTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
    WTimeoutError,
)

from doorleaf.documents import CODEC, Document
from doorleaf.stores.mongo.codes import NOT_PRIMARY
from doorleaf.stores.mongo.errors import MALFORMED

_CURSOR = b"\x03cursor\x00"
_FIRST = b"\x04firstBatch\x00"
_NEXT = b"\x04nextBatch\x00"
_ID = b"\x12id\x00"
_CLUSTER_TIME_FIELD = b"\x03$clusterTime\x00"
_OPERATION_TIME = b"\x11operationTime\x00"
_CLUSTER_TIME = b"\x11clusterTime\x00"
_COUNT = b"\x10n\x00"
_CHANGED = b"\x10nModified\x00"
_OK = b"\x01ok\x00\x00\x00\x00\x00\x00\x00\xf0?"
_ERRORS, _CONCERN, _UPSERTED = b"writeErrors\x00", b"writeConcernError\x00", b"upserted\x00"
_SIZE = Struct("<i").unpack_from
_LONG = Struct("<q").unpack_from
_STAMP = Struct("<Q").unpack_from

_TIME_LIMIT = 50

Counts = tuple[int, int]
"""How many documents a write matched, inserted or deleted, and how many it changed."""


def batch(reply: bytes) -> bytes:
    """The documents of ``reply``'s batch, end to end. Raises what PyMongo would for a reply that is an error."""
    start = _array(reply)
    if not start:
        return _decoded(reply)
    return _concatenated(memoryview(reply)[start : start + _SIZE(reply, start)[0]])


def whole(reply: bytes) -> bytes | None:
    """The documents of a cursor whose batch has them all; None where there are more, or the reply is another one."""
    start = _array(reply)
    if not start:
        return None
    try:
        end = start + _SIZE(reply, start)[0]
        if reply.startswith(_ID, end) and not _LONG(reply, end + len(_ID))[0]:
            return _concatenated(memoryview(reply)[start:end])
    except MALFORMED:
        pass
    return None


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


def members(array: bytes | memoryview) -> bytes:
    """The documents of a BSON array, end to end: of type, index, NUL and document only the document is kept."""
    array, found = bytes(array), []
    position = 4
    while array[position]:
        position = array.index(0, position + 1) + 1
        after = position + _SIZE(array, position)[0]
        found.append(array[position:after])
        position = after
    return b"".join(found)


_concatenated: Callable[[bytes | memoryview], bytes] = getattr(bson, "_array_of_documents_to_buffer", members)
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
    message, code = str(document.get("errmsg", "")), _number(document)
    if code in NOT_PRIMARY:
        return NotPrimaryError(message, document)
    if code == _TIME_LIMIT:
        return ExecutionTimeout(message, code, document)
    return OperationFailure(message, code, document)


def _number(error: Mapping[str, Any]) -> int | None:
    """The code of an error, None for none; raises what :data:`MALFORMED` names where it is no number."""
    code = error.get("code")
    return None if code is None else index(int(code) if isinstance(code, float) else code)


def refused(reply: bytes) -> PyMongoError | None:
    """The exception PyMongo would raise for this reply to a reading command; None when it is no error."""
    document = bson.decode(reply, CODEC)
    return None if document.get("ok") == 1 else failure(document)


def carried_out(reply: bytes) -> Counts | None:
    """Read what was done for one document or many from a reply to a write that is as most are; else None.

    The server begins with the count, and what is behind it up to ``ok`` is its own; so nothing need be decoded.
    """
    if not reply.startswith(_COUNT, 4) or _ERRORS in reply or _CONCERN in reply or _UPSERTED in reply:
        return None
    ok, changed = reply.find(_OK, 11), reply.find(_CHANGED, 11)
    if ok < 0 or changed > ok:
        return None
    return _SIZE(reply, 7)[0], 0 if changed < 0 else _SIZE(reply, changed + len(_CHANGED))[0]


def unwritten(reply: Mapping[str, Any]) -> PyMongoError | None:
    """The exception PyMongo would raise for this reply to a write; None when it was done and replicated as asked."""
    if reply.get("ok") != 1:
        return failure(dict(reply))
    if errors := reply.get("writeErrors"):
        numbers = [_number(entry) for entry in errors]
        return OperationFailure(str(errors[0].get("errmsg", "")), numbers[0], {"writeErrors": errors})
    if error := reply.get("writeConcernError"):
        timed_out = error.get("code") == _TIME_LIMIT or error.get("errInfo", {}).get("wtimeout")
        kind = WTimeoutError if timed_out else WriteConcernError
        told = {**error, "errorLabels": reply.get("errorLabels", ())}
        return kind(str(error.get("errmsg", "")), _number(error), told)
    return None


def cluster_time(reply: bytes, known: int) -> Any:
    """The ``$clusterTime`` of a reply, if it is later than ``known``, else None; nothing is decoded to find that out,
    and mostly nothing else after it.

    In a reply with a cursor it stands behind the documents, which may hold anything.
    """
    start = 4
    if reply.startswith(_CURSOR, 4):
        start += len(_CURSOR)
        start += _SIZE(reply, start)[0]
    found = reply.find(_CLUSTER_TIME, start)
    if found < 0 or _STAMP(reply, found + len(_CLUSTER_TIME))[0] <= known:
        return None
    begin, end = found - 4, found - 4 + _SIZE(reply, found - 4)[0]
    if reply.endswith(_CLUSTER_TIME_FIELD, start, begin):
        # One inside of another field, which a caller may have named so, has a NUL more behind it.
        last = end + len(_OPERATION_TIME) + 8 if reply.startswith(_OPERATION_TIME, end) else end
        if last + 1 == len(reply):
            return bson.decode(reply[begin:end], CODEC)
    tail = reply[start:]
    return bson.decode((len(tail) + 4).to_bytes(4, "little") + tail, CODEC).get("$clusterTime")


def stamp(time: Document | None) -> int:
    """A cluster time as the number that :func:`cluster_time` compares; 0 for none."""
    told = time["clusterTime"] if time else None
    return 0 if told is None else (told.time << 32) + told.inc
