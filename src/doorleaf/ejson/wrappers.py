"""The wrappers of Extended JSON: what ``{"$oid": …}`` and its kin mean, each checked to the letter.

Only the names in :data:`WRAPPERS` are wrappers. ``$regex`` with ``$options``, ``$type`` alone, ``$ref`` with ``$id``
and every query or aggregation operator stay what they are: keys of a document.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import DecimalException
from typing import Any

from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
_EPOCH = datetime(1970, 1, 1)
_FIRST_MS, _LAST_MS = -62135596800000, 253402300799999  # years 1 to 9999


class Malformed(Exception):
    """A wrapper that is none. ``path`` grows from the inside out while the error travels up."""

    def __init__(self, message: str, *path: str) -> None:
        super().__init__(message)
        self.message = message
        self.path = list(reversed(path))

    def __str__(self) -> str:
        where = ".".join(reversed(self.path))
        return f"{where}: {self.message}" if where else self.message


def described(value: Any) -> str:
    """Describe a JSON value for an error message."""
    if isinstance(value, str):
        return f"a string of length {len(value)}"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return "an integer"
    if isinstance(value, float):
        return "a number"
    return "an array" if isinstance(value, list) else "an object"


def unwrap(written: dict[str, Any]) -> Any:
    """The BSON value that the wrapper ``written`` stands for.

    ``written`` has at least one key of :data:`WRAPPERS`, and the ``$scope`` of a ``$code`` is decoded already.
    Raises :class:`Malformed` with a path that starts at the wrapper's own key.
    """
    name = next(key for key in written if key in WRAPPERS)
    convert, companion = WRAPPERS[name]
    if len(written) > 1:
        other = next((key for key in written if key != name and (not companion or key != companion)), None)
        if other is not None:
            raise Malformed(f'{name} is alone in its object, and here is also "{other}"')
        return _PAIRS[name](written)
    return convert(written[name])


def object_id(text: Any) -> ObjectId:
    """``$oid``: 24 hexadecimal digits."""
    if type(text) is str and len(text) == 24:
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raise Malformed("expected 24 hexadecimal digits, got other characters", "$oid") from None
        if len(raw) == 12:  # fromhex passes over spaces
            return ObjectId(raw)
        raise Malformed("expected 24 hexadecimal digits, got other characters", "$oid")
    raise Malformed(f"expected 24 hexadecimal digits, got {described(text)}", "$oid")


_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)"
)
_DATE = "an ISO 8601 date and time with Z or an offset, or milliseconds since 1970"


def _date(content: Any) -> datetime | DatetimeMS:
    """``$date``: digits beyond milliseconds are cut, because BSON has none."""
    if type(content) is str:
        return _iso_date(content)
    if type(content) is int:
        if not INT64_MIN <= content <= INT64_MAX:
            raise Malformed("the milliseconds are beyond 64 bits", "$date")
        return moment(content)
    if type(content) is dict and content.keys() == {"$numberLong"}:
        return moment(_integer(content["$numberLong"], "$date", "$numberLong", low=INT64_MIN, high=INT64_MAX))
    raise Malformed(f"expected {_DATE}, got {described(content)}", "$date")


def _iso_date(text: str) -> datetime | DatetimeMS:
    if _ISO.fullmatch(text) is None:
        raise Malformed(f"expected {_DATE}, got {described(text)}", "$date")
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise Malformed("there is no such date and time", "$date") from None
    offset = parsed.utcoffset() or timedelta()
    parsed = parsed.replace(tzinfo=None, microsecond=parsed.microsecond // 1000 * 1000)
    try:
        return parsed - offset
    except OverflowError:  # an offset can push a date of year 1 or 9999 over the edge
        return DatetimeMS((parsed - _EPOCH) // timedelta(milliseconds=1) - offset // timedelta(milliseconds=1))


def moment(milliseconds: int) -> datetime | DatetimeMS:
    """The date so many milliseconds after 1970, as documents are read: DatetimeMS outside years 1 to 9999."""
    if _FIRST_MS <= milliseconds <= _LAST_MS:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    return DatetimeMS(milliseconds)


_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def _uuid(text: Any) -> Binary:
    if type(text) is not str or _UUID.fullmatch(text) is None:
        raise Malformed(f"expected a UUID of 8-4-4-4-12 hexadecimal digits, got {described(text)}", "$uuid")
    return Binary(bytes.fromhex(text.replace("-", "")), 4)


LONGEST_NUMBER = 1024 * 1024
"""Characters of a number; what has more is refused before anybody reads it."""


def _is_text(text: Any, *path: str) -> bool:
    """Whether ``text`` is a string. Raises Malformed for one that is too long to be looked at as a number."""
    if type(text) is str and len(text) > LONGEST_NUMBER:
        raise Malformed(f"the number has {len(text)} characters, and {LONGEST_NUMBER} is the most", *path)
    return type(text) is str


_INTEGER = re.compile(r"-?[0-9]+")


def _integer(text: Any, *path: str, low: int, high: int) -> int:
    if not _is_text(text, *path) or _INTEGER.fullmatch(text) is None:
        raise Malformed(f"expected a string with an integer, got {described(text)}", *path)
    digits = text.lstrip("-").lstrip("0")
    value = high + 1 if len(digits) > 19 else int(digits or "0") * (-1 if text[0] == "-" else 1)
    if not low <= value <= high:
        raise Malformed(f"the integer is beyond {high.bit_length() + 1} bits", *path)
    return value


def _number_int(text: Any) -> int:
    return _integer(text, "$numberInt", low=INT32_MIN, high=INT32_MAX)


def _number_long(text: Any) -> Int64:
    return Int64(_integer(text, "$numberLong", low=INT64_MIN, high=INT64_MAX))


# Digits can be read in one way alone: with two, a long string that is no number takes time with the square of it.
_DOUBLE = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def _number_double(text: Any) -> float:
    if _is_text(text, "$numberDouble"):
        if text in _NOT_FINITE:
            return _NOT_FINITE[text]
        if _DOUBLE.fullmatch(text) is not None:
            value = float(text)
            if value in (float("inf"), float("-inf")):
                raise Malformed("the number is beyond a double", "$numberDouble")
            return value
    raise Malformed(
        f"expected a string with a number, NaN, Infinity or -Infinity, got {described(text)}", "$numberDouble"
    )


_DECIMAL = re.compile(
    r"[+-]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:E[+-]?[0-9]+)?|Inf(?:inity)?|NaN)", re.IGNORECASE | re.ASCII
)


# What most are, taken apart here: the driver's way takes 40 times as long, and a body may have half a million.
_PLAIN_DECIMAL = re.compile(r"([+-]?)([0-9]{1,40})(?:\.([0-9]{0,40}))?(?:[eE]([+-]?[0-9]{1,5}))?")
_COEFFICIENTS = 10**34
_LOWEST_POWER, _HIGHEST_POWER = -6176, 6111


def _number_decimal(text: Any) -> Decimal128:
    if not _is_text(text, "$numberDecimal") or _DECIMAL.fullmatch(text) is None:
        raise Malformed(
            f"expected a string with a decimal number, NaN or Infinity, got {described(text)}", "$numberDecimal"
        )
    written = _PLAIN_DECIMAL.fullmatch(text)
    if written is not None:
        sign, whole, fraction, exponent = written.groups("")
        power = int(exponent or 0) - len(fraction)
        coefficient = int(whole + fraction)
        if coefficient < _COEFFICIENTS and _LOWEST_POWER <= power <= _HIGHEST_POWER:
            bits = (sign == "-") << 127 | (power - _LOWEST_POWER) << 113 | coefficient
            return Decimal128.from_bid(bits.to_bytes(16, "little"))
    try:
        return Decimal128(text)
    except (DecimalException, ValueError, OverflowError):
        raise Malformed("the number does not fit a Decimal128 of 34 digits exactly", "$numberDecimal") from None


_SUBTYPE = re.compile(r"[0-9a-fA-F]{1,2}")


_BASE64_PART = 256 * 1024
"""Characters that are read at once, whole groups of four."""


def _binary(content: Any) -> bytes | Binary:
    if type(content) is not dict or content.keys() != {"base64", "subType"}:
        got = "other members" if type(content) is dict else described(content)
        raise Malformed(f"expected an object of base64 and subType, got {got}", "$binary")
    subtype = _subtype(content["subType"], "$binary", "subType")
    return _bytes(content["base64"], subtype, "$binary", "base64")


def _legacy_binary(written: dict[str, Any]) -> bytes | Binary:
    return _bytes(written["$binary"], _subtype(written["$type"], "$type"), "$binary")


def _subtype(text: Any, *path: str) -> int:
    if type(text) is not str or _SUBTYPE.fullmatch(text) is None:
        raise Malformed(f"expected one or two hexadecimal digits, got {described(text)}", *path)
    return int(text, 16)


def _bytes(text: Any, subtype: int, *path: str) -> bytes | Binary:
    if type(text) is not str:
        raise Malformed(f"expected a string in base64, got {described(text)}", *path)
    try:
        data = _from_base64(text)
    except (Base64Error, ValueError):
        raise Malformed("the string is not base64", *path) from None
    return Binary(data, subtype) if subtype else data


def _from_base64(text: str) -> bytes:
    if len(text) <= _BASE64_PART:
        return a2b_base64(text, strict_mode=True)
    if text.find("=", 0, len(text) - 2) >= 0:
        raise Base64Error
    parts = (text[at : at + _BASE64_PART] for at in range(0, len(text), _BASE64_PART))
    return b"".join(a2b_base64(part, strict_mode=True) for part in parts)


_FLAGS = {"i": re.I, "l": re.L, "m": re.M, "s": re.S, "u": re.U, "x": re.X}


def _regular_expression(content: Any) -> Regex[str]:
    if type(content) is not dict or content.keys() != {"pattern", "options"}:
        got = "other members" if type(content) is dict else described(content)
        raise Malformed(f"expected an object of pattern and options, got {got}", "$regularExpression")
    pattern, options = content["pattern"], content["options"]
    if type(pattern) is not str or "\0" in pattern:
        got = "one with a NUL" if type(pattern) is str else described(pattern)
        raise Malformed(f"expected a string, got {got}", "$regularExpression", "pattern")
    if (
        type(options) is not str
        or len(options) > len(_FLAGS)
        or len(set(options)) < len(options)
        or not _FLAGS.keys() >= set(options)
    ):
        raise Malformed("expected a string of the letters i l m s u x", "$regularExpression", "options")
    return Regex(pattern, sum(int(_FLAGS[letter]) for letter in options))


def _timestamp(content: Any) -> Timestamp:
    if type(content) is not dict or content.keys() != {"t", "i"}:
        got = "other members" if type(content) is dict else described(content)
        raise Malformed(f"expected an object of t and i, got {got}", "$timestamp")
    for part in ("t", "i"):
        if type(content[part]) is not int or not 0 <= content[part] < 2**32:
            raise Malformed("expected an integer of 32 bits without a sign", "$timestamp", part)
    return Timestamp(content["t"], content["i"])


def _marker(name: str, expected: object, value: object) -> Callable[[Any], Any]:
    def convert(content: Any) -> Any:
        if content is not expected and (type(content) is not type(expected) or content != expected):
            raise Malformed(f"expected {str(expected).lower()}, got {described(content)}", name)
        return value

    return convert


def _symbol(text: Any) -> str:
    """``$symbol``: BSON's symbols are gone; they are strings."""
    if type(text) is not str:
        raise Malformed(f"expected a string, got {described(text)}", "$symbol")
    return text


def _code(text: Any) -> Code:
    if type(text) is not str:
        raise Malformed(f"expected a string, got {described(text)}", "$code")
    return Code(text)


def _code_with_scope(written: dict[str, Any]) -> Code:
    scope = written["$scope"]
    if type(scope) is not dict:
        raise Malformed(f"expected an object, got {described(scope)}", "$scope")
    return Code(_code(written["$code"]), scope)


def _db_pointer(content: Any) -> dict[str, Any]:
    """``$dbPointer``: BSON's pointers are gone; they are DBRef documents."""
    if type(content) is not dict or content.keys() != {"$ref", "$id"}:
        got = "other members" if type(content) is dict else described(content)
        raise Malformed(f"expected an object of $ref and $id, got {got}", "$dbPointer")
    reference, target = content["$ref"], content["$id"]
    if type(reference) is not str:
        raise Malformed(f"expected a string, got {described(reference)}", "$dbPointer", "$ref")
    if type(target) is not dict or target.keys() != {"$oid"}:
        raise Malformed("expected an object of $oid", "$dbPointer", "$id")
    try:
        return {"$ref": reference, "$id": object_id(target["$oid"])}
    except Malformed as error:
        error.path += ["$id", "$dbPointer"]
        raise


WRAPPERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "$oid": (object_id, ""),
    "$date": (_date, ""),
    "$uuid": (_uuid, ""),
    "$numberInt": (_number_int, ""),
    "$numberLong": (_number_long, ""),
    "$numberDouble": (_number_double, ""),
    "$numberDecimal": (_number_decimal, ""),
    "$binary": (_binary, "$type"),
    "$regularExpression": (_regular_expression, ""),
    "$timestamp": (_timestamp, ""),
    "$minKey": (_marker("$minKey", 1, MinKey()), ""),
    "$maxKey": (_marker("$maxKey", 1, MaxKey()), ""),
    "$undefined": (_marker("$undefined", True, None), ""),
    "$symbol": (_symbol, ""),
    "$code": (_code, "$scope"),
    "$dbPointer": (_db_pointer, ""),
}
"""By name: the value of the wrapper's own key → the BSON value, and the one key that may stand beside it."""

_PAIRS: dict[str, Callable[[dict[str, Any]], Any]] = {"$binary": _legacy_binary, "$code": _code_with_scope}
