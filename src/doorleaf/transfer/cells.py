"""The types of cells in a table: how each is read, how it is written, and how that of a column is guessed."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import DecimalException
from typing import Any

from bson import Decimal128, Int64, ObjectId
from bson.errors import InvalidId

from doorleaf import ejson
from doorleaf.errors import DoorleafError

MEANINGS = {
    "string": "a string",
    "int": "an integer of 32 bits, or else of 64",
    "long": "an integer of 64 bits",
    "double": "a number",
    "decimal": "a decimal number of at most 34 digits",
    "boolean": "true or false",
    "date": "a date such as 2030-01-31 or 2030-01-31T12:00:00Z",
    "objectId": "24 hexadecimal digits",
    "binary": "base64",
    "json": "a value in Extended JSON",
}
"""The types that a column can have, and what a cell of it has to be."""

_INT = re.compile(r"-?(?:0|[1-9][0-9]{0,18})", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?",
    re.ASCII,
)


def _int(text: str) -> int:
    value = int(text) if re.fullmatch(r"[+-]?[0-9]{1,30}", text, re.ASCII) else None
    if value is None or not -(2**63) <= value < 2**63:
        raise ValueError
    return value if -(2**31) <= value < 2**31 else Int64(value)


def _long(text: str) -> Int64:
    return Int64(_int(text))


def _double(text: str) -> float:
    if text in ("NaN", "Infinity", "-Infinity"):
        return float(text)
    if len(text) > 400 or re.fullmatch(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", text) is None:
        raise ValueError
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("it is beyond a double")
    return value


def _decimal(text: str) -> Decimal128:
    try:
        return Decimal128(text)
    except (DecimalException, OverflowError):
        raise ValueError from None


def _boolean(text: str) -> bool:
    value = {"true": True, "false": False}.get(text.lower())
    if value is None:
        raise ValueError
    return value


def _date(text: str) -> datetime:
    """A date without a zone is in UTC; digits beyond milliseconds are cut, because BSON has none."""
    if _DATE.fullmatch(text) is None:
        raise ValueError
    try:
        value = datetime.fromisoformat(text)
        if value.tzinfo is not None:
            value = value.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise ValueError("there is no such date and time") from None
    return value.replace(microsecond=value.microsecond // 1000 * 1000)


def _object_id(text: str) -> ObjectId:
    try:
        return ObjectId(text)
    except InvalidId:
        raise ValueError from None


def _binary(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except Base64Error:
        raise ValueError from None


def _json(text: str) -> Any:
    try:
        [value] = ejson.loads(b'{"v":%b}' % text.encode(errors="replace")).values()
    except DoorleafError:
        raise ValueError from None
    return value


_CONVERTERS: dict[str, Callable[[str], Any]] = {
    "string": str,
    "int": _int,
    "long": _long,
    "double": _double,
    "decimal": _decimal,
    "boolean": _boolean,
    "date": _date,
    "objectId": _object_id,
    "binary": _binary,
    "json": _json,
}


def converter(kind: str) -> Callable[[str], Any]:
    """A function that reads a cell of a column of type ``kind``; it raises ValueError for what is none."""
    return _CONVERTERS[kind]


def guess(texts: Iterable[str]) -> str:
    """The type of a column with ``texts`` in its cells: the first that all of them fit, strings where none does.

    Numbers are written as JSON writes them: 007 and +49 are strings, as numbers of houses and telephones are. No text
    is taken for an ObjectId, a decimal or binary.
    """
    there = [text for text in texts if text]
    if not there:
        return "string"
    for kind, fits in _GUESSED:
        if all(map(fits, there)):
            return kind
    return "string"


def _fits(kind: str, pattern: re.Pattern[str]) -> Callable[[str], bool]:
    convert = _CONVERTERS[kind]

    def fits(text: str) -> bool:
        if pattern.fullmatch(text) is None:
            return False
        try:
            convert(text)
        except ValueError:
            return False
        return True

    return fits


_GUESSED = (
    ("int", _fits("int", _INT)),
    ("double", _fits("double", _NUMBER)),
    ("boolean", _fits("boolean", re.compile("true|false", re.IGNORECASE))),
    ("date", _fits("date", _DATE)),
    ("json", _fits("json", re.compile(r"\{.*\}|\[.*\]", re.DOTALL))),
)


def text(value: Any) -> str:
    """A value as a cell: as people write it where that can be read again, as Extended JSON where it is an object or
    array, or of a type that is rare."""
    kind = type(value)
    if kind is str:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if kind in (int, Int64, ObjectId, Decimal128):
        return str(value)
    if kind is float:
        return _number(value)
    if kind is datetime:
        return f"{value.isoformat(timespec='milliseconds')}Z"
    if value is None:
        return ""
    return ejson.dumps({"v": value}, ejson.Mode.RELAXED)[5:-1].decode()


def _number(value: float) -> str:
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)
