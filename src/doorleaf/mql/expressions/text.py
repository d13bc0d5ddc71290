"""Text of values: what string operators make of numbers and dates, and UTF-8."""

from __future__ import annotations

import math
import string
from typing import Any

from bson.code import Code
from bson.decimal128 import Decimal128
from bson.timestamp import Timestamp

from doorleaf.documents import is_string
from doorleaf.mql.context import RUN, Context
from doorleaf.mql.expressions.compile import fail, nullish
from doorleaf.mql.expressions.dates.calendar import parts_of
from doorleaf.mql.expressions.dates.parse import MONTHS
from doorleaf.mql.expressions.dates.text import iso_text
from doorleaf.mql.values import date_millis, is_date, type_name

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_UPPER = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)
_PIECE = 64 * RUN


def lower(text: str, context: Context) -> str:
    """``text`` with the capital letters of ASCII made small."""
    return text.lower() if text.isascii() else _translated(text, _LOWER, context)


def upper(text: str, context: Context) -> str:
    """``text`` with the small letters of ASCII made capital."""
    return text.upper() if text.isascii() else _translated(text, _UPPER, context)


def _translated(text: str, table: dict[int, int], context: Context) -> str:
    return "".join([piece.translate(table) for piece in context.runs(text, _PIECE)])  # type: ignore[attr-defined]


def utf8(text: str) -> bytes:
    """The bytes of a string."""
    return text.encode("utf-8", "surrogatepass")


def utf8_length(text: str) -> int:
    """The bytes that a string takes."""
    return len(text) if text.isascii() else len(utf8(text))


def double_text(value: float) -> str:
    """A double as ``$toString`` writes it: the shortest digits that give it back."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value).removesuffix(".0")


def number_text(value: Any) -> str:
    """A number of any kind as ``$toString`` writes it."""
    if isinstance(value, float):
        return double_text(value)
    return decimal_text(value) if isinstance(value, Decimal128) else str(int(value))


def decimal_text(value: Decimal128) -> str:
    """A decimal as text, in scientific notation when its exponent asks for it."""
    number = value.to_decimal()
    return "NaN" if number.is_nan() else str(Decimal128(number))


def coerce(value: Any) -> str:
    """The text of a value in ``$toLower``, ``$substrBytes`` and their kin; null and missing are empty."""
    if is_string(value):
        return str(value)
    if nullish(value):
        return ""
    if isinstance(value, float):
        # Six digits, as C's streams print: only the conversions keep them all.
        return f"{value:g}"
    if isinstance(value, (int, Decimal128)) and not isinstance(value, bool):
        return number_text(value)
    if is_date(value):
        return iso_text(date_millis(value))
    if isinstance(value, Timestamp):
        return _timestamp_text(value)
    if isinstance(value, Code) and value.scope is None:
        return str(value)
    return fail(16007, f"can't convert from BSON type {type_name(value)} to String")


def _timestamp_text(value: Timestamp) -> str:
    parts = parts_of(value.time * 1000)
    clock = f"{parts.hour:02}:{parts.minute:02}:{parts.second:02}"
    return f"{MONTHS[parts.month - 1][:3]} {parts.day:2} {clock}:{value.inc}"
