"""Parts of strings and searches in them, by bytes of UTF-8 or by code points."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN
from typing import Any

from bson.decimal128 import Decimal128

from doorleaf.documents import is_string
from doorleaf.mql.display import display
from doorleaf.mql.expressions.array import int32, search_bounds
from doorleaf.mql.expressions.compile import fail, function, nullish
from doorleaf.mql.expressions.text import coerce, utf8
from doorleaf.mql.numbers import INT64_MAX, INT64_MIN, is_number
from doorleaf.mql.values import type_name


def _long(value: Any) -> int:
    """A number of any kind as a 64-bit integer: doubles cut, decimals rounded to even and wrapped when too large."""
    if isinstance(value, Decimal128):
        exact = value.to_decimal()
        if not exact.is_finite() or exact.adjusted() > 20:
            return INT64_MIN
        number = int(exact.to_integral_value(ROUND_HALF_EVEN))
        return number if INT64_MIN <= number <= INT64_MAX else INT64_MIN
    if isinstance(value, float) and not -(2.0**63) <= value < 2.0**63:
        fail(31109, f"Can't coerce out of range value {display(value)} to long")
    return int(value)


def _substr_bytes(value: Any, start: Any, length: Any) -> str:
    text = coerce(value)
    if not is_number(start):
        fail(16034, f"$substrBytes:  starting index must be a numeric type (is BSON type {type_name(start)})")
    if not is_number(length):
        fail(16035, f"$substrBytes:  length must be a numeric type (is BSON type {type_name(length)})")
    first, count = _long(start), _long(length)
    if first < 0:
        fail(50752, f"$substrBytes:  starting index must be non-negative (got: {first})")
    data = utf8(text)
    last = len(data) if count < 0 else min(len(data), first + count)
    if first >= len(data):
        return ""
    if data[first] & 0xC0 == 0x80:
        fail(28656, "$substrBytes:  Invalid range, starting index is a UTF-8 continuation byte.")
    if last < len(data) and data[last] & 0xC0 == 0x80:
        fail(28657, "$substrBytes:  Invalid range, ending index is in the middle of a UTF-8 character.")
    return data[first:last].decode("utf-8", "surrogatepass")


function("$substrBytes", 3)(_substr_bytes)
function("$substr", 3)(_substr_bytes)


@function("$substrCP", 3)
def _substr_cp(value: Any, start: Any, length: Any) -> str:
    text = coerce(value)
    first = _point(start, "starting index", 34450)
    count = _point(length, "length", 34452)
    if count < 0:
        fail(34454, "$substrCP: length must be a nonnegative integer.")
    if first < 0:
        fail(34455, "$substrCP: the starting index must be nonnegative integer.")
    return text[first : first + count]


def _point(value: Any, what: str, code: int) -> int:
    if not is_number(value):
        fail(code, f"$substrCP: {what} must be a numeric type (is BSON type {type_name(value)})")
    number = int32(value)
    if number is None:
        fail(code + 1, f"$substrCP: {what} cannot be represented as a 32-bit integral value: {display(value)}")
    return number


@function("$indexOfBytes", 2, 4)
def _index_of_bytes(text: Any, part: Any, *bounds: Any) -> Any:
    if nullish(text):
        return None
    _require_strings("$indexOfBytes", 40091, text, part)
    data = utf8(text)
    start, end = search_bounds("$indexOfBytes", bounds, len(data))
    return -1 if start > end else data.find(utf8(part), start, end)


@function("$indexOfCP", 2, 4)
def _index_of_cp(text: Any, part: Any, *bounds: Any) -> Any:
    if nullish(text):
        return None
    _require_strings("$indexOfCP", 40093, text, part)
    start, end = search_bounds("$indexOfCP", bounds, len(text))
    # A match begins before the end, and may go on after it.
    if not text and not part:
        return 0 if start == 0 else -1
    found = text.find(part, start) if start < end else -1
    return found if found < end else -1


def _require_strings(name: str, code: int, text: Any, part: Any) -> None:
    if not is_string(text):
        fail(code, f"{name} requires a string as the first argument, found: {type_name(text)}")
    if not is_string(part):
        fail(code + 1, f"{name} requires a string as the second argument, found: {type_name(part)}")
