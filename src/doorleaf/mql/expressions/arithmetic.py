"""Arithmetic: ``$add``, ``$subtract``, ``$multiply``, ``$divide``, ``$mod``, powers, logarithms and bits."""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import reduce
from operator import and_, or_, xor
from typing import Any

from bson.decimal128 import Decimal128

from doorleaf.mql.display import display
from doorleaf.mql.expressions.compile import Evaluate, Scope, apply, fail, function, nullish, operands, parser
from doorleaf.mql.expressions.summation import Sum
from doorleaf.mql.numbers import (
    DECIMAL,
    INT64_MAX,
    INT64_MIN,
    add,
    integer,
    is_long,
    is_number,
    multiply,
    subtract,
    to_decimal,
    to_decimal128,
)
from doorleaf.mql.values import date_millis, is_date, millis_date, type_name


def single_numeric(name: str) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Register an operator of one number; null and missing give null."""

    def register(compute: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def checked(value: Any) -> Any:
            if nullish(value):
                return None
            if not is_number(value):
                fail(28765, f"{name} only supports numeric types, not {type_name(value)}")
            return compute(value)

        function(name, 1)(checked)
        return compute

    return register


# --- sums and products -----------------------------------------------------------------------------------------------


@parser("$add")
def _add(argument: Any, scope: Scope) -> Evaluate:
    items = [scope.compile(item) for item in operands("$add", argument, 0, None)]
    return apply(_sum, items, scope)


def _sum(*values: Any) -> Any:
    if len(values) == 2 and values[0].__class__ is int and values[1].__class__ is int:
        total = values[0] + values[1]
        return integer(total, long=is_long(values[0]) or is_long(values[1]))
    date = None
    terms = []
    for value in values:
        if is_number(value):
            terms.append(value)
        elif is_date(value):
            if date is not None:
                fail(16612, "only one date allowed in an $add expression")
            date = value
        elif nullish(value):
            return None
        else:
            fail(14, f"$add only supports numeric or date types, not {type_name(value)}")
    total = _total(terms)
    return total if date is None else _shift("$add", date, total, 1)


def _total(terms: Sequence[Any]) -> Any:
    if any(isinstance(term, Decimal128) for term in terms):
        return reduce(add, terms)
    total = Sum()
    for term in terms:
        total.add(term)
    return total.result()


def _shift(name: str, date: Any, amount: Any, sign: int) -> Any:
    """``date`` moved by ``amount`` milliseconds, rounded as the server does: doubles half away from zero."""
    if isinstance(amount, Decimal128):
        decimal = amount.to_decimal()
        millis = int(decimal.to_integral_value()) if decimal.is_finite() and decimal.adjusted() < 20 else None
    elif isinstance(amount, float):
        millis = int(math.copysign(math.floor(abs(amount) + 0.5), amount)) if math.isfinite(amount) else None
    else:
        millis = int(amount)
    moved = None if millis is None else date_millis(date) + sign * millis
    if moved is None or not INT64_MIN <= moved <= INT64_MAX:
        fail(15, f"date overflow in {name}")
    return millis_date(moved)


@function("$subtract", 2)
def _subtract(left: Any, right: Any) -> Any:
    if is_number(left) and is_number(right):
        return subtract(left, right)
    if nullish(left) or nullish(right):
        return None
    if not is_date(left):
        fail(14, f"can't $subtract {type_name(right)} from {type_name(left)}")
    if is_date(right):
        return integer(date_millis(left) - date_millis(right), long=True)
    if not is_number(right):
        fail(14, f"can't $subtract {type_name(right)} from date")
    return _shift("$subtract", left, right, -1)


@function("$multiply", 0, None)
def _multiply(*values: Any) -> Any:
    product: Any = 1
    for value in values:
        if is_number(value):
            product = multiply(product, value)
        elif nullish(value):
            return None
        else:
            fail(14, f"$multiply only supports numeric types, not {type_name(value)}")
    return product


@function("$divide", 2)
def _divide(left: Any, right: Any) -> Any:
    if is_number(left) and is_number(right):
        if isinstance(left, Decimal128) or isinstance(right, Decimal128):
            divisor = to_decimal(right)
            if divisor == 0:
                fail(2, "can't $divide by zero")
            return to_decimal128(DECIMAL.divide(to_decimal(left), divisor))
        if right == 0:
            fail(2, "can't $divide by zero")
        return float(left) / float(right)
    if nullish(left) or nullish(right):
        return None
    return fail(14, f"$divide only supports numeric types, not {type_name(left)} and {type_name(right)}")


@function("$mod", 2)
def _mod(left: Any, right: Any) -> Any:
    if not (is_number(left) and is_number(right)):
        if nullish(left) or nullish(right):
            return None
        fail(16611, f"$mod only supports numeric types, not {type_name(left)} and {type_name(right)}")
    if isinstance(left, Decimal128) or isinstance(right, Decimal128):
        if to_decimal(right) == 0:
            fail(5733415, "can't $mod by zero")
        return to_decimal128(_decimal_remainder(to_decimal(left), to_decimal(right)))
    if right == 0:
        fail(16610, "can't $mod by zero")
    if isinstance(left, float) or isinstance(right, float):
        return math.fmod(left, right) if math.isfinite(left) else math.nan
    divisor = abs(int(right))
    return integer(left % divisor if left >= 0 else -(-left % divisor), long=is_long(left) or is_long(right))


def _decimal_remainder(left: Decimal, right: Decimal) -> Decimal:
    if not (left.is_finite() and right.is_finite()):
        return DECIMAL.remainder(left, right)
    digits = max(34, left.adjusted() - right.adjusted() + 70)
    exact = decimal.Context(prec=digits, Emin=-99999, Emax=99999, clamp=0, traps=[])
    return exact.remainder(left, right)


# --- powers and logarithms -------------------------------------------------------------------------------------------


@function("$pow", 2)
def _pow(base: Any, exponent: Any) -> Any:
    if nullish(base) or nullish(exponent):
        return None
    if not is_number(base):
        fail(28762, f"$pow's base must be numeric, not {type_name(base)}")
    if not is_number(exponent):
        fail(28763, f"$pow's exponent must be numeric, not {type_name(exponent)}")
    if isinstance(base, Decimal128) or isinstance(exponent, Decimal128):
        left, right = to_decimal(base), to_decimal(exponent)
        if left == 0 and not right.is_nan() and right < 0:
            fail(28764, "$pow cannot take a base of 0 and a negative exponent")
        return to_decimal128(Decimal(1) if right == 0 else _all_digits(DECIMAL.power(left, right)))
    if base == 0 and exponent < 0:
        fail(28764, "$pow cannot take a base of 0 and a negative exponent")
    if isinstance(base, float) or isinstance(exponent, float):
        return _double_power(float(base), float(exponent))
    return _whole_power(int(base), int(exponent), is_long(base) or is_long(exponent))


def _all_digits(value: Decimal) -> Decimal:
    """``value`` with all 34 digits written, as powers and logarithms come."""
    if value == 0:
        return Decimal("0E-6176")
    if not value.is_finite():
        return value
    padded = value.quantize(Decimal((0, (1,), max(value.adjusted() - 33, -6176))), context=DECIMAL)
    return value if padded.is_nan() else padded


def _whole_power(base: int, exponent: int, long: bool) -> Any:
    if base in (0, 1, -1):
        return integer(base if exponent % 2 or (base >= 0 and exponent) else 1, long=long)
    if 0 <= exponent < 64:
        power = base**exponent
        if INT64_MIN <= power <= INT64_MAX:
            return integer(power, long=long)
    return _double_power(float(base), float(exponent))


def _double_power(base: float, exponent: float) -> float:
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return -math.inf if base < 0 and exponent % 2 == 1 else math.inf
    except ValueError:
        return math.nan


@single_numeric("$abs")
def _abs(value: Any) -> Any:
    if isinstance(value, Decimal128):
        return Decimal128(value.to_decimal().copy_abs())
    if isinstance(value, float):
        return abs(value)
    if value == INT64_MIN:
        fail(28680, "can't take $abs of long long min")
    return integer(abs(int(value)), long=is_long(value))


@single_numeric("$exp")
def _exp(value: Any) -> Any:
    if isinstance(value, Decimal128):
        return to_decimal128(DECIMAL.exp(value.to_decimal()))
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


@single_numeric("$sqrt")
def _sqrt(value: Any) -> Any:
    if not _nan(value) and _exact(value) < 0:
        fail(28714, "$sqrt's argument must be greater than or equal to 0")
    if isinstance(value, Decimal128):
        return to_decimal128(DECIMAL.sqrt(value.to_decimal()))
    return math.sqrt(value)


@single_numeric("$ln")
def _ln(value: Any) -> Any:
    _require_positive(value, 28766, "$ln's argument")
    if isinstance(value, Decimal128) and not _nan(value):
        return to_decimal128(DECIMAL.ln(value.to_decimal()))
    return _log(value, math.log)


@single_numeric("$log10")
def _log10(value: Any) -> Any:
    _require_positive(value, 28761, "$log10's argument")
    if isinstance(value, Decimal128) and not _nan(value):
        return to_decimal128(DECIMAL.log10(value.to_decimal()))
    return _log(value, math.log10)


@function("$log", 2)
def _log_base(value: Any, base: Any) -> Any:
    if nullish(value) or nullish(base):
        return None
    if not is_number(value):
        fail(28756, f"$log's argument must be numeric, not {type_name(value)}")
    if not is_number(base):
        fail(28757, f"$log's base must be numeric, not {type_name(base)}")
    _require_positive(value, 28758, "$log's argument")
    if not _nan(base) and (_exact(base) <= 0 or _exact(base) == 1):
        fail(28759, f"$log's base must be a positive number not equal to 1, but is {display(base)}")
    if _nan(value) or _nan(base):
        return math.nan
    if isinstance(value, Decimal128) or isinstance(base, Decimal128):
        return to_decimal128(DECIMAL.divide(DECIMAL.ln(to_decimal(value)), DECIMAL.ln(to_decimal(base))))
    return _log(value, math.log) / _log(base, math.log)


def _log(value: Any, compute: Callable[[float], float]) -> float:
    return math.nan if _nan(value) else compute(value)


def _require_positive(value: Any, number: int, what: str) -> None:
    if _nan(value):
        return
    if _exact(value) <= 0:
        fail(number, f"{what} must be a positive number, but is {display(value)}")


def _nan(value: Any) -> bool:
    return value.to_decimal().is_nan() if isinstance(value, Decimal128) else value != value


def _exact(value: Any) -> Any:
    return to_decimal(value) if isinstance(value, Decimal128) else value


# --- bits ------------------------------------------------------------------------------------------------------------


def _bits(name: str, combine: Callable[[int, int], int], identity: int) -> None:
    def compute(*values: Any) -> Any:
        for value in values:
            if nullish(value):
                return None
            if isinstance(value, bool) or not isinstance(value, int):
                fail(14, f"{name} only supports int and long operands.")
        return integer(reduce(combine, map(int, values), identity), long=any(map(is_long, values)))

    function(name, 0, None)(compute)


_bits("$bitAnd", and_, -1)
_bits("$bitOr", or_, 0)
_bits("$bitXor", xor, 0)


@single_numeric("$bitNot")
def _bit_not(value: Any) -> Any:
    if not isinstance(value, int):
        fail(14, f"$bitNot only supports int and long, not: {type_name(value)}.")
    return integer(~int(value), long=is_long(value))
