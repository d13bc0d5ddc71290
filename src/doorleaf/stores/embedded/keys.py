"""Values as byte strings that sort as MongoDB sorts: ``encode(a) < encode(b)`` exactly when ``compare(a, b) < 0``.

No encoding is a prefix of another, so compound keys are plain concatenations and :func:`invert` turns a component's
order around. The first byte is the type's bracket. Numbers of all kinds share one order: the greatest double that is
not above the value, then, only where the value is no double, its exact decimal digits.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from struct import Struct
from typing import Any

from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

from doorleaf.errors import DataError
from doorleaf.mql.paths import array_index
from doorleaf.mql.values import MISSING, Missing, date_millis, regex_flags

END = b"\x00"
MIN_KEY, UNDEFINED, NULL, NAN, NUMBER, STRING = b"\x10", b"\x18", b"\x20", b"\x27", b"\x28", b"\x38"
OBJECT, ARRAY, BINARY, OBJECT_ID, BOOL, DATE = b"\x40", b"\x48", b"\x50", b"\x58", b"\x60", b"\x68"
TIMESTAMP, REGEX, CODE, CODE_WITH_SCOPE, MAX_KEY = b"\x70", b"\x78", b"\x88", b"\x90", b"\xe0"
"""Brackets in BSON order; an empty array's elements are indexed as UNDEFINED, which is nothing else's encoding."""

_INVERSION = bytes(255 - byte for byte in range(256))
_DOUBLE = Struct(">d").pack
_INT64 = Struct(">Q").pack
_SIGN = 1 << 63
_EXACT_INT = 1 << 53
_EXPONENT_BIAS = 0x4000


def invert(key: bytes) -> bytes:
    """The same component in descending order."""
    return key.translate(_INVERSION)


def successor(prefix: bytes) -> bytes | None:
    """The least byte string above everything that begins with ``prefix``; None when there is no such string."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,)) if stripped else None


def following(prefix: bytes) -> bytes:
    """:func:`successor` of what begins with a bracket, or with one inverted: all of those have one."""
    return successor(prefix) or b"\xff"


def encode(value: Any) -> bytes:
    """The key of one BSON value; a missing field has null's. Raises ``TypeError`` for what is no BSON value."""
    encoder = _ENCODERS.get(value.__class__)
    return encoder(value) if encoder is not None else _other(value)


def _other(value: Any) -> bytes:
    if isinstance(value, Code):
        text = _text(value)
        return CODE + text if value.scope is None else CODE_WITH_SCOPE + text + encode(dict(value.scope))
    for kind, encoder in _ENCODERS.items():
        if isinstance(value, kind) and kind is not int:
            return encoder(value)
    if isinstance(value, int):
        return _int(value)
    raise TypeError(f"not a BSON value: {type(value).__name__}")


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    if b"\x00" in data:
        data = data.replace(b"\x00", b"\x00\xff")
    return data + b"\x00\x00"


def _string(value: str) -> bytes:
    return STRING + _text(value)


def _int(value: int) -> bytes:
    if -_EXACT_INT <= value <= _EXACT_INT:
        return NUMBER + _ordered(float(value)) + END
    return _inexact(value, float(value))


def _float(value: float) -> bytes:
    return NUMBER + _ordered(value) + END if value == value else NAN


def _decimal(value: Decimal128) -> bytes:
    number = value.to_decimal()
    if number.is_nan():
        return NAN
    return _inexact(number, float(number))


def _ordered(value: float) -> bytes:
    """Eight bytes in the order of doubles; both zeros are one."""
    return _DOUBLE(-value) if value > 0 else _DOUBLE(value).translate(_INVERSION) if value else b"\x80" + bytes(7)


def _inexact(value: int | Decimal, nearest: float) -> bytes:
    """A number that may lie between two doubles: the lower of them, then the exact digits."""
    if nearest == value:
        return NUMBER + _ordered(nearest) + END
    floor = nearest if nearest < value else math.nextafter(nearest, -math.inf)
    sign, digits, exponent = Decimal(value).as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    point = len(text) + int(exponent) + _EXPONENT_BIAS
    magnitude = point.to_bytes(2, "big") + text.rstrip("0").encode() + END
    return NUMBER + _ordered(floor) + b"\x01" + (invert(magnitude) if sign else magnitude)


def _document(value: dict[str, Any]) -> bytes:
    parts = [OBJECT]
    for name, item in value.items():
        key = encode(item)
        # Fields compare by type, then name, then value; NaN shares the bracket of numbers there.
        parts += (NUMBER if key[:1] == NAN else key[:1], _text(name), key)
    parts.append(END)
    return b"".join(parts)


def _array(value: Sequence[Any]) -> bytes:
    return ARRAY + b"".join([encode(item) for item in value]) + END


def _bytes(value: bytes) -> bytes:
    subtype = value.subtype if isinstance(value, Binary) else 0
    return BINARY + len(value).to_bytes(4, "big") + bytes((subtype,)) + bytes(value)


def _uuid(value: uuid.UUID) -> bytes:
    return BINARY + (16).to_bytes(4, "big") + b"\x04" + value.bytes


def _date(value: datetime | DatetimeMS) -> bytes:
    return DATE + _INT64(date_millis(value) + _SIGN)


def _timestamp(value: Timestamp) -> bytes:
    return TIMESTAMP + value.time.to_bytes(4, "big") + value.inc.to_bytes(4, "big")


def _regex(value: Regex[Any] | re.Pattern[Any]) -> bytes:
    pattern = value.pattern
    text = pattern if isinstance(pattern, str) else pattern.decode("utf-8", "replace")
    return REGEX + _text(text) + _text(regex_flags(value))


_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    str: _string,
    int: _int,
    Int64: _int,
    float: _float,
    ObjectId: lambda value: OBJECT_ID + value.binary,
    bool: lambda value: BOOL + (b"\x01" if value else b"\x00"),
    type(None): lambda value: NULL,
    Missing: lambda value: NULL,
    datetime: _date,
    DatetimeMS: _date,
    dict: _document,
    list: _array,
    tuple: _array,
    Decimal128: _decimal,
    Binary: _bytes,
    bytes: _bytes,
    uuid.UUID: _uuid,
    DBRef: lambda value: _document(value.as_doc()),
    Timestamp: _timestamp,
    Regex: _regex,
    re.Pattern: _regex,
    MinKey: lambda value: MIN_KEY,
    MaxKey: lambda value: MAX_KEY,
}


class _EmptyArray:
    """The one element that an index keeps for an empty array."""


_EMPTY_ARRAY = _EmptyArray()


_Emit = Callable[[list[Any]], None]


class KeyPattern:
    """The fields of an index, and the keys that a document has in it."""

    __slots__ = ("_descending", "_paths", "_single", "_weight", "sparse")

    def __init__(self, fields: Sequence[tuple[str, bool]], *, sparse: bool = False) -> None:
        """``fields`` are (dotted path, descending)."""
        self._paths = [path.split(".") for path, _ in fields]
        self._descending = [descending for _, descending in fields]
        self._single = fields[0][0] if len(fields) == 1 and "." not in fields[0][0] else None
        self._weight = 1 + sum(map(len, self._paths)) // 8
        self.sparse = sparse

    def keys(
        self, document: dict[str, Any], step: Callable[[int], None] = lambda weight: None
    ) -> tuple[list[bytes], int]:
        """The distinct keys of ``document``, and a bit mask of the fields in which an array was met.

        ``step`` is called before each is made, with its work: elements that are alike have one key, and take as long
        as if they had many. Raises what it raises, and code 171 when two fields are arrays that are not the same one.
        """
        if self._single is not None:
            value = document.get(self._single, MISSING)
            if value.__class__ is not list:
                if value is MISSING and self.sparse:
                    return [], 0
                step(self._weight)
                key = encode(value)
                return [invert(key) if self._descending[0] else key], 0
        found: dict[bytes, None] = {}

        def emit(values: list[Any]) -> None:
            step(self._weight)
            if not (self.sparse and all(value is MISSING for value in values)):
                found[self._key(values)] = None

        pending = [(number, document, 0) for number in range(len(self._paths))]
        arrays = self._expand([MISSING] * len(self._paths), pending, emit)
        return list(found), arrays

    def _expand(self, values: list[Any], pending: list[tuple[int, Any, int]], emit: _Emit) -> int:
        """Walk the ``pending`` (field, node, position) down to values, once for every element of the array met."""
        array: list[Any] | None = None
        crossing: list[tuple[int, int]] = []
        mask = 0
        for number, start, at in pending:
            node, position, indexed = self._descend(self._paths[number], start, at)
            mask |= indexed << number
            if node.__class__ is not list:
                values[number] = node
                continue
            if array is not None and array is not node:
                raise DataError(f"cannot index parallel arrays {self._names(number, crossing[0][0])}", number=171)
            array = node
            crossing.append((number, position))
            mask |= 1 << number
        if array is None:
            emit(values)
        elif not array:
            for number, position in crossing:
                values[number] = _EMPTY_ARRAY if position == len(self._paths[number]) else None
            emit(values)
        else:
            for item in array:
                mask |= self._element(item, values, crossing, emit)
        return mask

    def _element(self, item: Any, values: list[Any], crossing: list[tuple[int, int]], emit: _Emit) -> int:
        copied = list(values)
        pending = []
        for number, position in crossing:
            if position == len(self._paths[number]):
                copied[number] = item
            elif isinstance(item, (dict, DBRef)):
                pending.append((number, item, position))
            else:
                copied[number] = None
        return self._expand(copied, pending, emit)

    @staticmethod
    def _descend(parts: Sequence[str], node: Any, position: int) -> tuple[Any, int, bool]:
        """Follow ``parts`` to a value or to an array that has to be gone through."""
        indexed = False
        while True:
            if position == len(parts):
                return node, position, indexed
            if node.__class__ is DBRef:
                node = node.as_doc()
            if isinstance(node, dict):
                node = node.get(parts[position], MISSING)
            elif node.__class__ is list:
                index = array_index(parts[position])
                if not 0 <= index < len(node):
                    return node, position, indexed
                node, indexed = node[index], True
            else:
                return MISSING, position, indexed
            position += 1

    def _key(self, values: list[Any]) -> bytes:
        parts = []
        for value, descending in zip(values, self._descending, strict=True):
            key = UNDEFINED if value is _EMPTY_ARRAY else encode(value)
            parts.append(invert(key) if descending else key)
        return b"".join(parts)

    def _names(self, first: int, second: int) -> str:
        return f"[{'.'.join(self._paths[first])}] [{'.'.join(self._paths[second])}]"
