"""Values as they appear in MongoDB's error messages: ``{ a: 1, b: "x" }``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from bson.binary import Binary
from bson.code import Code
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from doorleaf.documents import is_string
from doorleaf.mql.values import MISSING, as_document, date_millis, is_date, regex_flags, type_name

_LIMIT = 1000


def display(value: Any) -> str:
    """``value`` in the server's notation, cut after 1000 characters."""
    written: list[str] = []
    length = 0
    for piece in _pieces(value):
        written.append(piece)
        length += len(piece)
        if length > _LIMIT:
            return "".join(written)[:_LIMIT] + "..."
    return "".join(written)


def display_field(name: str, value: Any) -> str:
    """One field as the server prints it: ``name: value``."""
    return f"{name}: {display(value)}"


def _pieces(value: Any) -> Iterator[str]:
    """The text of ``value`` bit by bit, so that no more of it is made than is shown."""
    document = as_document(value)
    if document is not None:
        before = "{ "
        for name, item in document.items():
            yield f"{before}{name}: "
            yield from _pieces(item)
            before = ", "
        yield " }" if document else "{}"
    elif isinstance(value, (list, tuple)):
        before = "[ "
        for item in value:
            yield before
            yield from _pieces(item)
            before = ", "
        yield " ]" if value else "[]"
    else:
        yield _plain(value)


def _plain(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return _double(value)
    return _scalar(value)


def _double(value: float) -> str:
    if math.isnan(value):
        return "nan.0"
    if math.isinf(value):
        return "inf.0" if value > 0 else "-inf.0"
    return (
        f"{value:.1f}"
        if value.is_integer() and abs(value) < 1e15
        else f"{value:.17g}"
        if abs(value) > 1e15
        else repr(value)
    )


def _scalar(value: Any) -> str:
    if isinstance(value, Code):
        return str(value)
    if is_string(value):
        return f'"{value}"'
    if isinstance(value, (int, Decimal128)):
        return str(value)
    if isinstance(value, ObjectId):
        return f"ObjectId('{value}')"
    if is_date(value):
        return f"new Date({date_millis(value)})"
    if isinstance(value, Timestamp):
        return f"Timestamp({value.time}, {value.inc})"
    if isinstance(value, bytes):
        subtype = value.subtype if isinstance(value, Binary) else 0
        return f"BinData({subtype}, {bytes(value).hex().upper()})"
    name = type_name(value)
    if name == "regex":
        return f"/{value.pattern}/{regex_flags(value)}"
    if value is MISSING:
        return "EOO"
    return {"minKey": "MinKey", "maxKey": "MaxKey"}.get(name, name)
