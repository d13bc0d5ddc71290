"""BSON values: types, comparison order, equality, truth.

Values are what ``documents.CODEC`` decodes to: ``None``, ``bool``, ``int`` (int32 when it fits), ``Int64``, ``float``,
``Decimal128``, ``str``, ``bytes`` (Binary subtype 0), ``Binary``, ``ObjectId``, ``datetime`` (naive UTC) or
``DatetimeMS``, ``Timestamp``, ``Regex``, ``Code``, ``MinKey``, ``MaxKey``, ``DBRef`` (a document), ``dict``, ``list``.
:data:`MISSING` stands for a field that is not there. A value of any other Python type raises ``TypeError``.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Context
from enum import Enum
from marshal import dumps
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

from doorleaf.mql.numbers import add, integer, integral, is_long, is_nan, is_number, multiply, subtract

__all__ = [
    "DATE_TYPES",
    "MISSING",
    "TYPE_CODES",
    "Missing",
    "add",
    "approximate_size",
    "as_document",
    "canonical",
    "compare",
    "copy",
    "date_millis",
    "equal",
    "integer",
    "integral",
    "is_date",
    "is_document",
    "is_long",
    "is_nan",
    "is_number",
    "millis_date",
    "multiply",
    "regex_flags",
    "sort_token",
    "subtract",
    "truthy",
    "type_name",
    "type_order",
]


class Missing(Enum):
    """Tells "no such field" from every BSON value, null included."""

    MISSING = "missing"

    def __bool__(self) -> bool:
        return False


MISSING = Missing.MISSING

TYPE_CODES: dict[str, int] = {
    "double": 1,
    "string": 2,
    "object": 3,
    "array": 4,
    "binData": 5,
    "undefined": 6,
    "objectId": 7,
    "bool": 8,
    "date": 9,
    "null": 10,
    "regex": 11,
    "dbPointer": 12,
    "javascript": 13,
    "symbol": 14,
    "javascriptWithScope": 15,
    "int": 16,
    "timestamp": 17,
    "long": 18,
    "decimal": 19,
    "minKey": -1,
    "maxKey": 127,
}
"""Type names as ``$type`` takes them, with their BSON codes."""

ORDER_MIN_KEY, ORDER_MISSING, ORDER_NULL, ORDER_NAN, ORDER_NUMBER, ORDER_STRING = -1, 0, 5, 9, 10, 15
ORDER_OBJECT, ORDER_ARRAY, ORDER_BINARY, ORDER_OBJECT_ID, ORDER_BOOL, ORDER_DATE = 20, 25, 30, 35, 40, 45
ORDER_TIMESTAMP, ORDER_REGEX, ORDER_CODE, ORDER_CODE_WITH_SCOPE, ORDER_MAX_KEY = 47, 50, 60, 65, 127

_ORDERS: dict[type, int] = {
    MinKey: ORDER_MIN_KEY,
    Missing: ORDER_MISSING,
    type(None): ORDER_NULL,
    int: ORDER_NUMBER,
    float: ORDER_NUMBER,
    Int64: ORDER_NUMBER,
    Decimal128: ORDER_NUMBER,
    str: ORDER_STRING,
    dict: ORDER_OBJECT,
    DBRef: ORDER_OBJECT,
    list: ORDER_ARRAY,
    tuple: ORDER_ARRAY,
    bytes: ORDER_BINARY,
    Binary: ORDER_BINARY,
    uuid.UUID: ORDER_BINARY,
    ObjectId: ORDER_OBJECT_ID,
    bool: ORDER_BOOL,
    datetime: ORDER_DATE,
    DatetimeMS: ORDER_DATE,
    Timestamp: ORDER_TIMESTAMP,
    Regex: ORDER_REGEX,
    re.Pattern: ORDER_REGEX,
    MaxKey: ORDER_MAX_KEY,
}

DATE_TYPES = (datetime, DatetimeMS)

_EPOCH = datetime(1970, 1, 1)
_MILLISECOND = timedelta(milliseconds=1)
_DATE_RANGE = (int((datetime.min - _EPOCH) / _MILLISECOND), int((datetime.max - _EPOCH) / _MILLISECOND))
_SELF_ORDERED = frozenset((ORDER_STRING, ORDER_BOOL, ORDER_OBJECT_ID))
_SELF_KEYED = frozenset((str, int, Int64, ObjectId, type(None), Missing))


def type_order(value: Any) -> int:
    """The bracket of ``value``'s type in BSON comparison order; equal for types that compare with each other."""
    order = _ORDERS.get(value.__class__)
    return order if order is not None else _other_order(value)


def _other_order(value: Any) -> int:
    if isinstance(value, Code):
        return ORDER_CODE if value.scope is None else ORDER_CODE_WITH_SCOPE
    for kind, order in _ORDERS.items():
        if isinstance(value, kind) and kind is not int:
            return order
    if isinstance(value, int):
        return ORDER_NUMBER
    raise TypeError(f"not a BSON value: {type(value).__name__}")


def is_document(value: Any) -> bool:
    """Whether ``value`` is an embedded document (a DBRef is one)."""
    return isinstance(value, (dict, DBRef))


def as_document(value: Any) -> dict[str, Any] | None:
    """``value`` as a ``dict`` when it is a document, else None."""
    if isinstance(value, dict):
        return value
    return value.as_doc() if isinstance(value, DBRef) else None


def is_date(value: Any) -> bool:
    """Whether ``value`` is a date, inside years 1 to 9999 or not."""
    return isinstance(value, DATE_TYPES)


def date_millis(value: datetime | DatetimeMS) -> int:
    """Milliseconds since 1970 of a date, as BSON stores it."""
    if isinstance(value, DatetimeMS):
        return int(value)
    offset = value.utcoffset()
    if offset is not None:
        value = value.replace(tzinfo=None) - offset
    return (value - _EPOCH) // _MILLISECOND


def millis_date(millis: int) -> datetime | DatetimeMS:
    """The date of ``millis``: naive UTC ``datetime``, or ``DatetimeMS`` outside years 1 to 9999."""
    if _DATE_RANGE[0] <= millis <= _DATE_RANGE[1]:
        return _EPOCH + timedelta(milliseconds=millis)
    return DatetimeMS(millis)


def regex_flags(value: Regex[Any] | re.Pattern[Any]) -> str:
    """The options of a regular expression in BSON's order: ``ilmsux``."""
    flags = value.flags
    letters = ((re.I, "i"), (re.L, "l"), (re.M, "m"), (re.S, "s"), (re.U, "u"), (re.X, "x"))
    return "".join(letter for flag, letter in letters if flags & flag)


def type_name(value: Any) -> str:
    """The name of ``value``'s type as ``$type`` answers it."""
    name = _NAMES.get(value.__class__)
    if name is not None:
        return name
    if isinstance(value, int) and not isinstance(value, (bool, Int64)):
        return "long" if is_long(value) else "int"
    if isinstance(value, Code):
        return "javascript" if value.scope is None else "javascriptWithScope"
    for kind, other in _NAMES.items():
        if isinstance(value, kind):
            return other
    raise TypeError(f"not a BSON value: {type(value).__name__}")


_NAMES: dict[type, str] = {
    Missing: "missing",
    type(None): "null",
    bool: "bool",
    Int64: "long",
    float: "double",
    Decimal128: "decimal",
    str: "string",
    dict: "object",
    DBRef: "object",
    list: "array",
    tuple: "array",
    bytes: "binData",
    Binary: "binData",
    uuid.UUID: "binData",
    ObjectId: "objectId",
    datetime: "date",
    DatetimeMS: "date",
    Timestamp: "timestamp",
    Regex: "regex",
    re.Pattern: "regex",
    MinKey: "minKey",
    MaxKey: "maxKey",
}


def sort_token(value: Any) -> tuple[Any, ...]:
    """A tuple that sorts, compares and hashes as ``value`` does in BSON comparison order."""
    order = type_order(value)
    if order in _SELF_ORDERED:
        return (order, value)
    if order == ORDER_NUMBER:
        return _number_token(value)
    if order == ORDER_OBJECT:
        document = value if isinstance(value, dict) else value.as_doc()
        return (order, tuple([(type_order(item), name, sort_token(item)) for name, item in document.items()]))
    if order == ORDER_ARRAY:
        return (order, tuple([sort_token(item) for item in value]))
    return _rare_token(order, value)


def _number_token(value: Any) -> tuple[Any, ...]:
    if isinstance(value, Decimal128):
        value = value.to_decimal()
        return (ORDER_NAN,) if value.is_nan() else (ORDER_NUMBER, value)
    return (ORDER_NUMBER, value) if value == value else (ORDER_NAN,)


def _rare_token(order: int, value: Any) -> tuple[Any, ...]:
    if order == ORDER_DATE:
        return (order, date_millis(value))
    if order == ORDER_BINARY:
        if isinstance(value, uuid.UUID):
            return (order, 16, 4, value.bytes)
        return (order, len(value), value.subtype if isinstance(value, Binary) else 0, bytes(value))
    if order == ORDER_TIMESTAMP:
        return (order, value.time, value.inc)
    if order == ORDER_REGEX:
        pattern = value.pattern
        return (order, pattern if isinstance(pattern, str) else pattern.decode("utf-8", "replace"), regex_flags(value))
    if order == ORDER_CODE:
        return (order, str(value))
    if order == ORDER_CODE_WITH_SCOPE:
        return (order, str(value), sort_token(dict(value.scope)))
    return (order,)


def canonical(value: Any) -> Any:
    """A hashable key: equal for equal values (``1``, ``1.0`` and ``Decimal128("1")``), different for different ones.

    Nobody can choose values whose keys have one hash: what could be chosen so (decimals, documents, arrays) is a key of
    bytes, whose hash has a secret. Of integers, doubles and dates only a few dozen share a hash, whatever is tried.
    """
    kind = value.__class__
    if kind in _SELF_KEYED:
        return value
    if kind is float and value == value:
        return value
    if kind is dict or kind is list:
        return dumps(_key_parts(value), _MARSHAL)
    order = type_order(value)
    if order == ORDER_NUMBER:
        return _number_key(value)
    if order in _COMPOSED:
        return dumps(_key_parts(value), _MARSHAL)
    return sort_token(value)


_MARSHAL = 2
"""The format of marshal in which equal values always have equal bytes."""
_COMPOSED = frozenset((ORDER_OBJECT, ORDER_ARRAY, ORDER_CODE_WITH_SCOPE))
_KEY_PLAIN = frozenset((str, int, type(None), bool))


def _key_parts(value: Any) -> Any:
    """What :func:`canonical` writes of a value in a document or array: a list for an array, else a tuple or a scalar.

    The tuple of a document begins with a name or is empty, that of any other value with the order of its type.
    """
    kind = value.__class__
    if kind in _KEY_PLAIN:
        return value
    if kind is dict:
        parts: list[Any] = []
        for name, item in value.items():
            parts.append(name)
            parts.append(item if item.__class__ in _KEY_PLAIN else _key_parts(item))
        return tuple(parts)
    if kind is list:
        return [item if item.__class__ in _KEY_PLAIN else _key_parts(item) for item in value]
    order = type_order(value)
    if order == ORDER_NUMBER:
        number = _number_key(value)
        return (ORDER_NUMBER, number) if number.__class__ is bytes else number
    if order == ORDER_OBJECT_ID:
        return (order, value.binary)
    if order in (ORDER_OBJECT, ORDER_ARRAY):
        return _key_parts(list(value) if order == ORDER_ARRAY else dict(as_document(value) or ()))
    if order == ORDER_CODE_WITH_SCOPE:
        return (order, str(value), _key_parts(dict(value.scope)))
    return sort_token(value)


def _number_key(value: Any) -> Any:
    """One key for equal numbers: an int64 where there is one, else a double, else the digits; a tuple for NaN."""
    if isinstance(value, Decimal128):
        value = value.to_decimal()
        if not value.is_finite():
            return (ORDER_NAN,) if value.is_nan() else float(value)
        if value.adjusted() < 19 and value == (whole := int(value)):
            return whole
        double = float(value) if value.adjusted() < 309 else math.inf
        if math.isfinite(double) and value == double:
            return double
        return str(value.normalize(_EXACT)).encode()
    if value != value:
        return (ORDER_NAN,)
    whole = int(value) if isinstance(value, int) or abs(value) < 2.0**63 else value
    return whole if whole == value else value


_EXACT = Context(prec=40, Emin=-7000, Emax=7000)


def compare(left: Any, right: Any) -> int:
    """-1, 0 or 1 in BSON comparison order, across all types; a missing field is below null."""
    kind = left.__class__
    if kind is right.__class__ and (kind is str or kind is int or kind is ObjectId):
        return int(left > right) - int(left < right)
    first, second = sort_token(left), sort_token(right)
    return int(first > second) - int(first < second)


def equal(left: Any, right: Any) -> bool:
    """Whether two values are equal in BSON comparison (documents: same fields in the same order)."""
    kind = left.__class__
    if kind is right.__class__ and kind in _SELF_KEYED:
        return bool(left == right)
    if type_order(left) != type_order(right):
        return False
    return bool(canonical(left) == canonical(right))


def truthy(value: Any) -> bool:
    """MongoDB's truth: false, null, zero of any kind and missing are false; everything else (NaN too) is true."""
    if value is None or value is MISSING or value is False:
        return False
    if isinstance(value, Decimal128):
        decimal = value.to_decimal()
        return decimal.is_nan() or decimal != 0
    return value != 0 if isinstance(value, (int, float)) else True


def copy(value: Any) -> Any:
    """A deep copy of documents and arrays; all other values are immutable and shared."""
    kind = value.__class__
    if kind is dict:
        return {name: copy(item) if item.__class__ in _CONTAINERS else item for name, item in value.items()}
    if kind is list:
        return [copy(item) if item.__class__ in _CONTAINERS else item for item in value]
    if isinstance(value, Mapping):
        return {name: copy(item) for name, item in value.items()}
    return value


_CONTAINERS = frozenset((dict, list))


def approximate_size(value: Any) -> int:
    """Bytes that ``value`` takes in memory, roughly; for ``Context.charge``."""
    kind = value.__class__
    if kind is str or kind is bytes or kind is Binary:
        return 56 + len(value)
    if kind is dict:
        return 64 + sum([64 + len(name) + approximate_size(item) for name, item in value.items()])
    if kind is list:
        return 56 + sum([8 + approximate_size(item) for item in value])
    return 32
