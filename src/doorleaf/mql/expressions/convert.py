"""Conversions: ``$convert`` and its short forms ``$toBool`` … ``$toString``."""

from __future__ import annotations

import decimal
import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.timestamp import Timestamp

from doorleaf.documents import is_string
from doorleaf.mql.display import display
from doorleaf.mql.expressions.compile import Evaluate, Named, Scope, apply, fail, nullish, parser
from doorleaf.mql.expressions.convert_binary import (
    ConversionError,
    Form,
    read_byte_order,
    read_format,
    read_subtype,
    to_binary,
    to_number,
    to_text,
)
from doorleaf.mql.expressions.dates.calendar import instant
from doorleaf.mql.expressions.dates.parse import BadDate
from doorleaf.mql.expressions.dates.text import iso_text, read_date
from doorleaf.mql.expressions.text import double_text, number_text
from doorleaf.mql.numbers import (
    DECIMAL,
    INT32_MAX,
    INT32_MIN,
    INT64_MAX,
    INT64_MIN,
    integral,
    is_number,
    to_decimal,
    to_decimal128,
    to_double,
)
from doorleaf.mql.values import TYPE_CODES, date_millis, is_date, millis_date, type_name

_TAIL = "in $convert with no onError value"


def _fail(message: str) -> Any:
    raise ConversionError(message)


# --- to numbers ------------------------------------------------------------------------------------------------------

# Digits can be read in one way alone: with two, a long string that is no number takes time with the square of it.
_INTEGER = re.compile(r"([+-]?)0*((?:[1-9]\d*)?)", re.A)
_DOUBLE = re.compile(r"[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?|nan)", re.A | re.I)
_HEXADECIMAL = re.compile(r"[+-]?0x[0-9a-f]*(?:\.[0-9a-f]*)?(?:p[+-]?\d+)?", re.A | re.I)
_UNTRAPPED = decimal.Context(prec=34, traps=[])
_INT64_DIGITS = 19


def _whole(value: Any, low: int, high: int) -> int:
    """A number cut towards zero, between ``low`` and ``high``."""
    if isinstance(value, (float, Decimal128)):
        exact = Decimal(value) if isinstance(value, float) else value.to_decimal()
        if exact.is_nan():
            _fail(f"Attempt to convert NaN value to integer type {_TAIL}")
        if exact.is_infinite():
            _fail(f"Attempt to convert infinity value to integer type {_TAIL}")
        if exact.adjusted() > 20:
            _fail(f"Conversion would overflow target type {_TAIL}: {_shown(value)}")
        value = int(exact)
    if not low <= value <= high:
        _fail(f"Conversion would overflow target type {_TAIL}: {_shown(value)}")
    return int(value)


def _shown(value: Any) -> str:
    return number_text(value)


def _parse_integer(text: str, low: int, high: int) -> int:
    if text[:2].lower() == "0x":
        _fail(f"Illegal hexadecimal input {_TAIL}: {text[:100]}")
    match = _INTEGER.fullmatch(text)
    if match is None or not text[-1:].isdigit():
        _fail(f"Failed to parse number '{text[:100]}' {_TAIL}: {_why_not_integer(text)}")
    sign, digits = match.groups() if match is not None else ("", "")
    number = int(sign + (digits or "0")) if len(digits) <= _INT64_DIGITS else high + 1
    if not low <= number <= high:
        _fail(f"Failed to parse number '{text[:100]}' {_TAIL}: Overflow")
    return number


def _why_not_integer(text: str) -> str:
    if not text:
        return "Empty string"
    digits = text[1:] if text[0] in "+-" else text
    if not digits:
        return "No digits"
    bad = next((letter for letter in digits if not letter.isdigit()), digits[0])
    return "Did not consume whole string." if digits[0].isdigit() else f'Bad digit "{bad}" while parsing {text[:100]}'


def _bad_number(text: str, reason: str) -> Any:
    _fail(f"Failed to parse number '{text[:100]}' {_TAIL}: {reason}")


def _check_number(text: str) -> None:
    if text[:2] == "0x":
        _fail(f"Illegal hexadecimal input {_TAIL}: {text[:100]}")
    if not _DOUBLE.fullmatch(text):
        _bad_number(text, "Did not consume whole string." if text else "Empty string")


def _parse_double(text: str) -> float:
    if text[:2] != "0x" and _HEXADECIMAL.fullmatch(text):
        try:
            return float.fromhex(text)
        except (ValueError, OverflowError):
            _bad_number(text, "Out of range")
    _check_number(text)
    number = float(text)
    if (number == 0 and _mantissa(text)) or (math.isinf(number) and "inf" not in text.lower()):
        _bad_number(text, "Out of range")
    return number


def _parse_decimal(text: str) -> Decimal:
    _check_number(text)
    number = DECIMAL.create_decimal(Decimal(text, _UNTRAPPED))
    lost = number.is_infinite() and "inf" not in text.lower()
    if lost or (number.is_nan() and "nan" not in text.lower()) or (number == 0 and _mantissa(text)):
        _bad_number(text, "Conversion from string to decimal would overflow or underflow")
    return number


def _mantissa(text: str) -> bool:
    """Whether the digits before the exponent say anything but zero."""
    return bool(set(re.split("[eE]", text)[0]) & set("123456789"))


def _to_int(value: Any) -> Any:
    kind = type_name(value)
    if kind == "string":
        return _parse_integer(value, INT32_MIN, INT32_MAX)
    if kind == "bool":
        return int(value)
    return _whole(value, INT32_MIN, INT32_MAX)


def _to_long(value: Any) -> Any:
    kind = type_name(value)
    if kind == "string":
        return Int64(_parse_integer(value, INT64_MIN, INT64_MAX))
    if kind == "date":
        return Int64(date_millis(value))
    return Int64(int(value) if kind == "bool" else _whole(value, INT64_MIN, INT64_MAX))


def _to_double(value: Any) -> Any:
    kind = type_name(value)
    if kind == "string":
        return _parse_double(value)
    if kind == "date":
        return float(date_millis(value))
    if kind == "decimal":
        number = to_double(value)
        if math.isinf(number) and value.to_decimal().is_finite():
            _fail(f"Conversion would overflow target type {_TAIL}: {_shown(value)}")
        return number
    return float(value)


def _to_decimal(value: Any) -> Any:
    kind = type_name(value)
    if kind == "string":
        return to_decimal128(_parse_decimal(value))
    if kind == "date":
        return to_decimal128(Decimal(date_millis(value)))
    return to_decimal128(Decimal(int(value)) if kind == "bool" else to_decimal(value))


# --- to everything else ----------------------------------------------------------------------------------------------


def _to_bool(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if is_number(value):
        number = to_decimal(value) if isinstance(value, Decimal128) else value
        return bool(number != 0)
    return True


def _to_string(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return double_text(value)
    if is_number(value):
        return number_text(value)
    if is_date(value):
        return iso_text(date_millis(value))
    return str(value)


def _to_object_id(value: Any) -> Any:
    if isinstance(value, ObjectId):
        return value
    if len(value) != 24:
        _fail(
            f"Failed to parse objectId '{value[:100]}' {_TAIL}: "
            f"Invalid string length for parsing to OID, expected 24 but found {len(value.encode())}"
        )
    if not re.fullmatch(r"[0-9a-fA-F]{24}", value):
        _fail(f"Failed to parse objectId '{value}' {_TAIL}: Invalid character found in hex string")
    return ObjectId(value)


def _to_date(value: Any) -> Any:
    if is_date(value):
        return value
    if isinstance(value, (ObjectId, Timestamp)):
        return millis_date(instant(value))
    if is_string(value):
        try:
            return read_date("$convert", value, None, None)
        except BadDate as error:
            return _fail(f"{error}")
    return millis_date(_whole(value, INT64_MIN, INT64_MAX))


# --- the table of what goes ------------------------------------------------------------------------------------------

_NUMBERS = ("int", "long", "double", "decimal")
Convert = Callable[[Any], Any]

_TARGETS: dict[str, tuple[Convert, tuple[str, ...]]] = {
    "int": (_to_int, (*_NUMBERS, "bool", "string")),
    "long": (_to_long, (*_NUMBERS, "bool", "string", "date")),
    "double": (_to_double, (*_NUMBERS, "bool", "string", "date")),
    "decimal": (_to_decimal, (*_NUMBERS, "bool", "string", "date")),
    "string": (_to_string, (*_NUMBERS, "bool", "string", "date", "objectId")),
    "objectId": (_to_object_id, ("string", "objectId")),
    "date": (_to_date, ("long", "double", "decimal", "string", "date", "objectId", "timestamp")),
}
"""Each target type with its conversion and the types that it takes; every type converts to bool."""

_AUTO = Form("auto")


def convert(value: Any, target: str, form: Form = _AUTO) -> Any:
    """``value`` as type ``target``; ``form`` counts for binary data. Raises :class:`ConversionError`."""
    kind = type_name(value)
    if target == "bool":
        return _to_bool(value)
    if target == "binData" and kind in ("binData", "string", "int", "long", "double"):
        return to_binary(value, form)
    if kind == "binData" and target == "string":
        return to_text(value, form)
    if kind == "binData" and target in ("int", "long", "double"):
        return to_number(value, target, form)
    found = _TARGETS.get(target)
    if found is None or kind not in found[1]:
        return _fail(f"Unsupported conversion from {kind} to {target} {_TAIL}")
    return found[0](value)


_NAMES_BY_CODE = {code: name for name, code in TYPE_CODES.items()}


def _target(value: Any) -> tuple[str, int]:
    """The type and the subtype that the operand ``to`` asks for."""
    subtype: Any = 0
    if isinstance(value, dict):
        if "type" not in value:
            fail(9, "Missing 'type' parameter to $convert's 'to'")
        subtype = value.get("subtype", 0)
        value = value["type"]
    return _type(value), read_subtype(subtype)


def _type(value: Any) -> str:
    if type_name(value) == "string":
        if value not in TYPE_CODES:
            fail(2, f"Unknown type name: {value}")
        return str(value)
    if not is_number(value):
        fail(9, f"$convert's 'to' argument must be a string or number, but is {type_name(value)}")
    code = integral(value)
    if code is None:
        fail(9, f"In $convert, numeric 'to' argument is not an integer: {display(value)}")
    if code == 0:
        return "missing"
    if code not in _NAMES_BY_CODE:
        fail(9, f"In $convert, numeric value for 'to' does not correspond to a BSON type: {code}")
    return _NAMES_BY_CODE[code]


_CONVERT = Named(
    (9, "$convert expects an object of named arguments but found: {found}"),
    (9, "$convert found an unknown argument: {name}"),
    {"input": (9, "Missing 'input' parameter to $convert"), "to": (9, "Missing 'to' parameter to $convert")},
    ("onError", "onNull", "format", "byteOrder"),
)


@parser("$convert")
def _convert(argument: Any, scope: Scope) -> Evaluate:
    items = {name: scope.compile(item) for name, item in _CONVERT.take(argument).items()}
    on_error, on_null = items.get("onError"), items.get("onNull")

    def evaluate(root: Any, variables: dict[str, Any]) -> Any:
        values = {name: item(root, variables) for name, item in items.items() if name not in ("onError", "onNull")}
        value, to = values["input"], values["to"]
        if nullish(value):
            return None if on_null is None else on_null(root, variables)
        if nullish(to):
            return None
        target = _target(to)
        form = Form(read_format(values.get("format")), read_byte_order(values.get("byteOrder")))
        try:
            return convert(value, target[0], form._replace(subtype=target[1]))
        except ConversionError as error:
            if on_error is not None:
                return on_error(root, variables)
            fail(241, str(error))

    return scope.fold(evaluate, items.values())


def _short(name: str, target: str, form: Form = _AUTO) -> None:
    def compute(value: Any) -> Any:
        if nullish(value):
            return None
        try:
            return convert(value, target, form)
        except ConversionError as error:
            fail(241, str(error))

    def parse(argument: Any, scope: Scope) -> Evaluate:
        items = argument if isinstance(argument, (list, tuple)) else [argument]
        if len(items) != 1:
            fail(50723, f"{name} requires a single argument, got {len(items)}")
        return apply(compute, [scope.compile(items[0])], scope)

    parser(name)(parse)


for _name, _kind in (
    ("$toBool", "bool"),
    ("$toDate", "date"),
    ("$toDecimal", "decimal"),
    ("$toDouble", "double"),
    ("$toInt", "int"),
    ("$toLong", "long"),
    ("$toObjectId", "objectId"),
    ("$toString", "string"),
):
    _short(_name, _kind)
_short("$toUUID", "binData", Form("uuid", subtype=4))
