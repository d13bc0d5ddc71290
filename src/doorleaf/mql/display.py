"""Values as they appear in MongoDB's error messages: ``{ a: 1, b: "x" }``."""

from __future__ import annotations

import math
from typing import Any

from bson.binary import Binary
from bson.code import Code
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from doorleaf.mql.values import MISSING, as_document, date_millis, is_date, regex_flags, type_name

_LIMIT = 1000


def display(value: Any) -> str:
    """``value`` in the server's notation, cut after 1000 characters."""
    text = _text(value)
    return text if len(text) <= _LIMIT else text[:_LIMIT] + "..."


def display_field(name: str, value: Any) -> str:
    """One field as the server prints it: ``name: value``."""
    return f"{name}: {display(value)}"


def _text(value: Any) -> str:
    document = as_document(value)
    if document is not None:
        inner = ", ".join(f"{name}: {_text(item)}" for name, item in document.items())
        return "{ " + inner + " }" if inner else "{}"
    if isinstance(value, (list, tuple)):
        inner = ", ".join(_text(item) for item in value)
        return "[ " + inner + " ]" if inner else "[]"
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
    if isinstance(value, str):
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
