"""Documents to be put in, as BSON that is handed on as it was read: nobody makes values of them on the way.

A document needs its ``_id`` first, as a server stores it. Where one may have it elsewhere, all are read as values.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

from bson import ObjectId

from doorleaf.documents import Encoded, new_id
from doorleaf.ejson import read
from doorleaf.ejson.parts import behind, decode, decoded

_LENGTH = Struct("<i")
_FIRST = b"_id\0"
_TYPES = frozenset((*range(0x01, 0x14), 0x7F, 0xFF))

_SLICE_BYTES = 256 * 1024

_ARRAY, _OBJECT, _OBJECT_ID = 0x04, 0x03, 0x07


def with_id(document: bytes, made: Callable[[], ObjectId]) -> tuple[bytes, Any] | None:
    """``document`` with its ``_id`` first, which is ``made`` where it has none, and that; None where it may be
    elsewhere. It is what our own reader or encoder made."""
    if document[5:9] == _FIRST:
        if document[4] == _OBJECT_ID:
            return document, ObjectId(document[9:21])
        return document, decoded(document, 4, behind(document, document[4], 9))["_id"]
    if _may_be_elsewhere(document):
        return None
    identity = made()
    size = _LENGTH.pack(len(document) + 17)
    return b"".join((size, b"\x07_id\0", identity.binary, document[4:])), identity


def _may_be_elsewhere(document: bytes) -> bool:
    """Whether the type of a value and the name ``_id`` are anywhere, maybe in a text or a document inside."""
    at = 0
    while at < len(document):
        found = document.find(_FIRST, at, at + _SLICE_BYTES + len(_FIRST) - 1)  # no call lasts long
        if found >= 0 and document[found - 1] in _TYPES:
            return True
        at = at + _SLICE_BYTES if found < 0 else found + 1
    return False


def loads_insert(body: bytes) -> dict[str, Any]:
    """Read a JSON object as :func:`loads` does; its ``documents`` are :class:`Encoded` where they are many and
    ordinary. Raises InvalidParameter."""
    if len(body) < read.SHORT_BYTES:
        return read.loads(body)
    found = read.loads_bson(body)
    if found is None:
        return read.loads_rest(body)
    at = 4
    while at < len(found) - 1:
        value = found.index(0, at + 1) + 1
        end = behind(found, found[at], value)
        if found[at] == _ARRAY and found[at + 1 : value] == b"documents\0":
            documents = _split(found, value, end)
            if documents is None:
                break
            rest = b"".join((_LENGTH.pack(len(found) - (end - at)), found[4:at], found[end:]))
            return {**decode(rest), "documents": documents}
        at = end
    return decode(found)


def _split(data: bytes, begin: int, end: int) -> Encoded | None:
    """The documents of the array that lies between ``begin`` and ``end``."""
    raw: list[bytes] = []
    ids: list[Any] = []
    at, last = begin + 4, end - 1
    while at < last:
        value = data.index(0, at) + 1
        if data[at] != _OBJECT:
            return None
        at = value + _LENGTH.unpack_from(data, value)[0]
        found = with_id(data[value:at], new_id)
        if found is None:
            return None
        raw.append(found[0])
        ids.append(found[1])
    return Encoded(raw, ids) if raw else None
