"""Rounding: ``$ceil``, ``$floor``, ``$round`` and ``$trunc``."""

from __future__ import annotations

import decimal
import math
from decimal import Decimal
from typing import Any

from bson.decimal128 import Decimal128

from doorleaf.mql.display import display
from doorleaf.mql.expressions.arithmetic import single_numeric
from doorleaf.mql.expressions.compile import fail, function, nullish
from doorleaf.mql.numbers import DECIMAL, INT64_MAX, INT64_MIN, integer, integral, is_long, is_number
from doorleaf.mql.values import type_name

_WIDE = decimal.Context(prec=500, Emin=-20000, Emax=20000, traps=[])


@single_numeric("$ceil")
def _ceil(value: Any) -> Any:
    return _to_whole(value, decimal.ROUND_CEILING)


@single_numeric("$floor")
def _floor(value: Any) -> Any:
    return _to_whole(value, decimal.ROUND_FLOOR)


def _to_whole(value: Any, rounding: str) -> Any:
    if isinstance(value, Decimal128):
        # What 34 digits cannot show with its last place is not a number to the server.
        return Decimal128(value.to_decimal().quantize(Decimal(1), rounding=rounding, context=DECIMAL))
    if not isinstance(value, float) or not math.isfinite(value):
        return value
    whole = float(math.ceil(value) if rounding == decimal.ROUND_CEILING else math.floor(value))
    return math.copysign(whole, value) if whole == 0 else whole


def _place(name: str, rounding: str) -> None:
    def compute(value: Any, place: Any = 0) -> Any:
        if nullish(value):
            return None
        if not is_number(value):
            fail(51081, f"{name} only supports numeric types, not {type_name(value)}")
        if nullish(place):
            return None
        digits = _digits(name, place)
        if not -20 <= digits <= 100:
            fail(51083, f"cannot apply {name} with precision value {digits} value must be in [-20, 100]")
        if isinstance(value, Decimal128):
            return Decimal128(_quantize(value.to_decimal(), digits, rounding, pad=True))
        if isinstance(value, float):
            return float(_quantize(Decimal(value), digits, rounding)) if math.isfinite(value) else value
        return _round_integer(name, value, digits, rounding)

    function(name, 1, 2)(compute)


def _digits(name: str, place: Any) -> int:
    if not is_number(place):
        fail(16004, f"can't convert from BSON type {type_name(place)} to long")
    if isinstance(place, float) and not math.isfinite(place):
        fail(31109, f"Can't coerce out of range value {display(place)} to long")
    digits = integral(place)
    if digits is None:
        fail(51082, f"precision argument to  {name} must be a integral value")
    return digits


def _quantize(value: Decimal, digits: int, rounding: str, *, pad: bool = False) -> Decimal:
    """``value`` with ``digits`` decimal places; as it is when it has no more and padding would not fit 34 digits."""
    if not value.is_finite():
        return value
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent >= -digits and (not pad or value.adjusted() + digits >= 34):
        return value
    rounded = value.quantize(Decimal(1).scaleb(-digits, _WIDE), rounding=rounding, context=_WIDE)
    return DECIMAL.create_decimal(rounded) if pad else rounded


def _round_integer(name: str, value: int, digits: int, rounding: str) -> Any:
    if digits >= 0:
        return value
    rounded = int(_quantize(Decimal(int(value)), digits, rounding))
    if not INT64_MIN <= rounded <= INT64_MAX:
        shown = f"[{display(value)}, {digits}]"
        fail(51080, f"invalid conversion from Decimal128 result in {name} resulting from arguments: {shown}")
    return integer(rounded, long=is_long(value))


_place("$round", decimal.ROUND_HALF_EVEN)
_place("$trunc", decimal.ROUND_DOWN)
