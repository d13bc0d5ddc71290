"""Decoding large BSON in parts, so that no call into C holds the interpreter for long.

The BSON is what our own reader made, so that each value's length follows from its type (https://bsonspec.org).
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Any

import bson

from doorleaf.documents import CODEC

PART_BYTES = 256 * 1024

_OBJECT, _ARRAY, _BINARY, _REGEX, _SCOPED = 0x03, 0x04, 0x05, 0x0B, 0x0F
_FIXED = {
    0x01: 8,
    0x06: 0,
    0x07: 12,
    0x08: 1,
    0x09: 8,
    0x0A: 0,
    0x10: 4,
    0x11: 8,
    0x12: 8,
    0x13: 16,
    0x7F: 0,
    0xFF: 0,
}
_PREFIXED = {0x02: 4, 0x0D: 4, 0x0E: 4, _BINARY: 5, 0x0C: 16, _OBJECT: 0, _ARRAY: 0, _SCOPED: 0}
"""What is added to the length that a value begins with: it counts itself, or what comes behind it."""

_LENGTH = Struct("<i")


def decode(document: bytes) -> dict[str, Any]:
    """Decode one document as ``bson.decode`` does."""
    if len(document) <= PART_BYTES:
        return bson.decode(document, CODEC)
    return _members(document, 0, len(document))


def _members(data: bytes, begin: int, end: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for part in _parts(data, begin, end):
        if type(part) is tuple:
            name, values[data[name[0] : name[1]].decode()] = part[0], part[1]
        else:
            values.update(part)
    return values


def _elements(data: bytes, begin: int, end: int) -> list[Any]:
    values: list[Any] = []
    for part in _parts(data, begin, end):
        if type(part) is tuple:
            values.append(part[1])
        else:
            values += part.values()
    return values


def _parts(data: bytes, begin: int, end: int) -> Iterator[Any]:
    """The members of what lies between ``begin`` and ``end``: many together as a dict, and a large one by itself, as
    the place of its name with its value."""
    first = at = begin + 4
    while at < end - 1:
        name = at + 1, data.index(0, at + 1)
        after = behind(data, data[at], name[1] + 1)
        if data[at] in (_OBJECT, _ARRAY) and after - at > PART_BYTES:
            if first < at:
                yield decoded(data, first, at)
            inside = _members if data[at] == _OBJECT else _elements
            yield name, inside(data, name[1] + 1, after)
            first = after
        elif after - first >= PART_BYTES:
            yield decoded(data, first, after)
            first = after
        at = after
    if first < at:
        yield decoded(data, first, at)


def behind(data: bytes, kind: int, at: int) -> int:
    """Where the value of a ``kind`` that begins at ``at`` is over."""
    fixed = _FIXED.get(kind)
    if fixed is not None:
        return at + fixed
    if kind == _REGEX:
        return data.index(0, data.index(0, at) + 1) + 1
    length: int = _LENGTH.unpack_from(data, at)[0]
    return at + length + _PREFIXED[kind]


def decoded(data: bytes, begin: int, end: int) -> dict[str, Any]:
    """The elements of a document between ``begin`` and ``end``, as one of their own."""
    return bson.decode(b"".join((_LENGTH.pack(end - begin + 5), data[begin:end], b"\0")), CODEC)
