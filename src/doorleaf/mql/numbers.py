"""Arithmetic on BSON numbers with MongoDB's result types: int32 → int64 → double, and Decimal128 above all.

A Python ``int`` in the int32 range that is not an ``Int64`` is an int32, everything else integral is an int64.
"""

from __future__ import annotations

import decimal
import math
from decimal import Decimal
from typing import Any

from bson.decimal128 import Decimal128
from bson.int64 import Int64

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

DECIMAL = decimal.Context(
    prec=34, rounding=decimal.ROUND_HALF_EVEN, Emin=-6143, Emax=6144, capitals=1, clamp=1, flags=[], traps=[]
)
"""IEEE 754 decimal128: 34 digits, nothing trapped."""

_DOUBLE_DIGITS = 15


def is_number(value: Any) -> bool:
    """Whether ``value`` is an int, long, double or decimal (a bool is not)."""
    return isinstance(value, (int, float, Decimal128)) and value is not True and value is not False


def is_nan(value: Any) -> bool:
    """Whether ``value`` is the NaN of either kind."""
    if isinstance(value, float):
        return value != value
    return isinstance(value, Decimal128) and value.to_decimal().is_nan()


def is_long(value: Any) -> bool:
    """Whether an integral Python number is stored as int64."""
    return isinstance(value, Int64) or not INT32_MIN <= value <= INT32_MAX


def integral(value: Any) -> int | None:
    """The exact integer of a number of any kind, within int64; None when it has a fraction or is out of range."""
    if isinstance(value, bool) or not is_number(value):
        return None
    if isinstance(value, float):
        if not value.is_integer():
            return None
    elif isinstance(value, Decimal128):
        value = value.to_decimal()
        if not value.is_finite() or value.adjusted() > 20 or value != value.to_integral_value():
            return None
    number = int(value)
    return number if INT64_MIN <= number <= INT64_MAX else None


def integer(value: int, *, long: bool = False) -> int | float:
    """``value`` as int32, or as int64 when it is too large or ``long``; as double beyond int64."""
    if INT32_MIN <= value <= INT32_MAX and not long:
        return int(value)
    if INT64_MIN <= value <= INT64_MAX:
        return Int64(value)
    return float(value)


def to_decimal(value: Any) -> Decimal:
    """A BSON number as ``Decimal``; a double keeps 15 significant digits, as the server converts it."""
    if isinstance(value, Decimal128):
        exact = value.to_decimal()
        return exact if not exact.is_snan() else Decimal("NaN")  # comparing a signalling one raises
    if isinstance(value, float):
        return _double_to_decimal(value)
    return Decimal(int(value))


def _double_to_decimal(value: float) -> Decimal:
    exact = Decimal(value)
    if value == 0 or not math.isfinite(value):
        return exact
    rounded = decimal.Context(prec=_DOUBLE_DIGITS, traps=[]).plus(exact)
    return rounded.quantize(Decimal(1).scaleb(rounded.adjusted() - _DOUBLE_DIGITS + 1), context=DECIMAL)


def to_decimal128(value: Decimal) -> Decimal128:
    """``value`` rounded to Decimal128."""
    return Decimal128(DECIMAL.create_decimal(value))


def to_double(value: Any) -> float:
    """A BSON number as double, infinite when it is too large."""
    if isinstance(value, Decimal128):
        value = value.to_decimal()
        if value.is_nan():
            return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def add(left: Any, right: Any, *, strict: bool = False) -> Any:
    """Sum of two BSON numbers. Beyond int64 a double, or ``OverflowError`` when ``strict``."""
    if isinstance(left, Decimal128) or isinstance(right, Decimal128):
        return to_decimal128(DECIMAL.add(to_decimal(left), to_decimal(right)))
    if isinstance(left, float) or isinstance(right, float):
        return float(left) + float(right)
    return _whole(int(left) + int(right), left, right, strict)


def subtract(left: Any, right: Any, *, strict: bool = False) -> Any:
    """Difference of two BSON numbers. Beyond int64 a double, or ``OverflowError`` when ``strict``."""
    if isinstance(left, Decimal128) or isinstance(right, Decimal128):
        return to_decimal128(DECIMAL.subtract(to_decimal(left), to_decimal(right)))
    if isinstance(left, float) or isinstance(right, float):
        return float(left) - float(right)
    return _whole(int(left) - int(right), left, right, strict)


def multiply(left: Any, right: Any, *, strict: bool = False) -> Any:
    """Product of two BSON numbers. Beyond int64 a double, or ``OverflowError`` when ``strict``."""
    if isinstance(left, Decimal128) or isinstance(right, Decimal128):
        return to_decimal128(DECIMAL.multiply(to_decimal(left), to_decimal(right)))
    if isinstance(left, float) or isinstance(right, float):
        return float(left) * float(right)
    return _whole(int(left) * int(right), left, right, strict)


def _whole(result: int, left: Any, right: Any, strict: bool) -> int | float:
    if strict and not INT64_MIN <= result <= INT64_MAX:
        raise OverflowError(result)
    return integer(result, long=is_long(left) or is_long(right))
