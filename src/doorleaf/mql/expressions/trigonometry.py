"""Trigonometry: doubles by the C library, decimals to 34 digits."""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from bson.decimal128 import Decimal128

from doorleaf.mql.expressions import decimal_math
from doorleaf.mql.expressions.arithmetic import single_numeric
from doorleaf.mql.expressions.compile import fail, function, nullish
from doorleaf.mql.numbers import DECIMAL, is_number, to_decimal, to_decimal128
from doorleaf.mql.values import type_name

_INFINITY = Decimal("Infinity")
_RADIAN = decimal.Context(prec=50).divide(decimal_math.pi(), Decimal(180))

Double = Callable[[float], float]


def _bounded(name: str, double: Double, exact: decimal_math.Compute, low: Any, high: Any, *, open_ends: bool) -> None:
    """Register an operator that is defined between ``low`` and ``high``; its error says which ends belong to it."""
    left, right = ("(", ")") if open_ends else ("[", "]")
    low_text, high_text = ("-inf" if low == -math.inf else low), ("inf" if high == math.inf else high)
    interval = f"{left}{low_text},{high_text}{right}"

    @single_numeric(name)
    def compute(value: Any) -> Any:
        number = to_decimal(value) if isinstance(value, Decimal128) else value
        if number != number:
            return value if isinstance(value, Decimal128) else math.nan
        inside = low < number < high if open_ends else low <= number <= high
        if not inside:
            shown = str(value) if isinstance(value, Decimal128) else f"{value:.6g}"
            fail(50989, f"cannot apply {name} to {shown}, value must be in {interval}")
        if isinstance(number, Decimal):
            return to_decimal128(exact(number) if number.is_finite() else _INFINITY)
        return double(number)


def _atanh(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) == 1 else math.atanh(value)


_bounded("$sin", math.sin, decimal_math.sin, -math.inf, math.inf, open_ends=True)
_bounded("$cos", math.cos, decimal_math.cos, -math.inf, math.inf, open_ends=True)
_bounded("$tan", math.tan, decimal_math.tan, -math.inf, math.inf, open_ends=True)
_bounded("$asin", math.asin, decimal_math.asin, -1, 1, open_ends=False)
_bounded("$acos", math.acos, decimal_math.acos, -1, 1, open_ends=False)
_bounded("$acosh", math.acosh, decimal_math.acosh, 1, math.inf, open_ends=False)
_bounded("$atanh", _atanh, decimal_math.atanh, -1, 1, open_ends=False)


def _unbounded(name: str, double: Double, exact: decimal_math.Compute, limits: tuple[str, str]) -> None:
    """Register an operator that is defined everywhere, with its decimal ``limits`` at minus and plus infinity."""

    @single_numeric(name)
    def compute(value: Any) -> Any:
        if not isinstance(value, Decimal128):
            return double(value)
        number = value.to_decimal()
        if number.is_nan():
            return value
        if number.is_infinite() and name != "$atan":
            return Decimal128(limits[0] if number < 0 else limits[1])
        return to_decimal128(exact(number))


def _overflowing(compute: Double, *, odd: bool) -> Double:
    def double(value: float) -> float:
        try:
            return compute(value)
        except OverflowError:
            return math.copysign(math.inf, value) if odd else math.inf

    return double


_unbounded("$atan", math.atan, decimal_math.atan, ("0", "0"))
_unbounded("$asinh", math.asinh, decimal_math.asinh, ("-Infinity", "Infinity"))
_unbounded("$sinh", _overflowing(math.sinh, odd=True), decimal_math.sinh, ("-Infinity", "Infinity"))
_unbounded("$cosh", _overflowing(math.cosh, odd=False), decimal_math.cosh, ("Infinity", "Infinity"))
_unbounded("$tanh", math.tanh, decimal_math.tanh, ("-1", "1"))


@function("$atan2", 2)
def _atan2(y: Any, x: Any) -> Any:
    if nullish(y) or nullish(x):
        return None
    for number, value in ((51044, y), (51045, x)):
        if not is_number(value):
            fail(number, f"$atan2 only supports numeric types, not {type_name(value)}")
    if not (isinstance(y, Decimal128) or isinstance(x, Decimal128)):
        return math.atan2(y, x)
    first, second = to_decimal(y), to_decimal(x)
    if first.is_nan() or second.is_nan():
        return Decimal128("NaN")
    return to_decimal128(decimal_math.atan2(first, second))


@single_numeric("$degreesToRadians")
def _radians(value: Any) -> Any:
    if isinstance(value, Decimal128):
        return to_decimal128(DECIMAL.multiply(value.to_decimal(), _RADIAN))
    return value * (math.pi / 180)


@single_numeric("$radiansToDegrees")
def _degrees(value: Any) -> Any:
    if isinstance(value, Decimal128):
        return to_decimal128(DECIMAL.divide(value.to_decimal(), _RADIAN))
    return value * (180 / math.pi)
