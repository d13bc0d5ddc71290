"""Trigonometry on decimals, to 34 digits: what the ``decimal`` module does not have."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache

_GUARD = 20
_DIGITS = 34


def _context(extra: int = 0) -> decimal.Context:
    return decimal.Context(
        prec=_DIGITS + _GUARD + extra, rounding=decimal.ROUND_HALF_EVEN, Emin=-30000, Emax=30000, traps=[]
    )


@lru_cache(maxsize=8)
def pi(digits: int = _DIGITS + _GUARD) -> Decimal:
    """Pi to at least ``digits`` digits, by Machin's formula in integers."""
    unity: int = 10 ** (digits + 10)

    def arctan_inverse(number: int) -> int:
        term = unity // number
        total, divisor, square, sign = term, 3, number * number, -1
        while term:
            term //= square
            total += sign * (term // divisor)
            divisor += 2
            sign = -sign
        return total

    scaled = 4 * (4 * arctan_inverse(5) - arctan_inverse(239))
    return Decimal(scaled).scaleb(-(digits + 10), decimal.Context(prec=digits + 12, Emin=-30000, Emax=30000))


_FAR = 40
"""Powers of ten from 1 beyond which the inverse hyperbolic functions are their first term, to 34 digits."""


def _log_of_double(value: Decimal) -> Decimal:
    context = _context()
    return context.add(context.ln(value), context.ln(Decimal(2)))


def _extra(value: Decimal) -> int:
    exponent: int = value.adjusted()
    return abs(exponent) if value else 0


def _reduced(value: Decimal) -> tuple[Decimal, int]:
    """``value`` as a remainder in [-pi/4, pi/4] and the number of quarter turns modulo 4."""
    extra = max(0, value.adjusted()) if value else 0
    context = _context(extra)
    half_pi = context.divide(pi(context.prec + 5), Decimal(2))
    turns = context.divide(value, half_pi).to_integral_value(decimal.ROUND_HALF_EVEN)
    return context.subtract(value, context.multiply(turns, half_pi)), int(turns) % 4


def _series(value: Decimal, first: Decimal, start: int, sign: int) -> Decimal:
    """The Taylor series of sine, cosine and their hyperbolic kin from its ``first`` term."""
    context = _context()
    square = context.multiply(value, value)
    term = total = first
    step = start
    while True:
        term = context.divide(context.multiply(term, square), Decimal(step * (step + 1) * sign))
        following = context.add(total, term)
        if following == total:
            return total
        total = following
        step += 2


def _quarter(value: Decimal, turns: int) -> Decimal:
    """Sine of ``value`` plus ``turns`` quarter turns."""
    base = _series(value, value, 2, -1) if turns % 2 == 0 else _series(value, Decimal(1), 1, -1)
    return base if turns < 2 else base.copy_negate()


def sin(value: Decimal) -> Decimal:
    """Sine of a finite number of radians."""
    rest, turns = _reduced(value)
    return _quarter(rest, turns)


def cos(value: Decimal) -> Decimal:
    """Cosine of a finite number of radians."""
    rest, turns = _reduced(value)
    return _quarter(rest, (turns + 1) % 4)


def tan(value: Decimal) -> Decimal:
    """Tangent of a finite number of radians."""
    rest, turns = _reduced(value)
    return _context().divide(_quarter(rest, turns), _quarter(rest, (turns + 1) % 4))


def atan(value: Decimal) -> Decimal:
    """Arc tangent, infinities too."""
    context = _context()
    half_pi = context.divide(pi(), Decimal(2))
    if value.is_infinite():
        return half_pi.copy_sign(value)
    if value.copy_abs() > 1:
        return context.subtract(half_pi.copy_sign(value), atan(context.divide(Decimal(1), value)))
    halvings = 0
    while value.copy_abs() > Decimal("0.05"):
        root = context.sqrt(context.add(Decimal(1), context.multiply(value, value)))
        value = context.divide(value, context.add(Decimal(1), root))
        halvings += 1
    square = context.multiply(value, value)
    term = total = value
    divisor = 3
    while True:
        term = context.multiply(term, square).copy_negate()
        following = context.add(total, context.divide(term, Decimal(divisor)))
        if following == total:
            return context.multiply(total, Decimal(2**halvings))
        total = following
        divisor += 2


def atan2(y: Decimal, x: Decimal) -> Decimal:
    """The angle of the point (x, y), in (-pi, pi]; signed zeros and infinities as IEEE 754 has them."""
    context = _context()
    if x.is_infinite() and y.is_infinite():
        quarter = context.divide(pi(), Decimal(4))
        angle = quarter if not x.is_signed() else context.multiply(quarter, Decimal(3))
    elif y == 0 or x.is_infinite():
        angle = pi() if x.is_signed() else Decimal(0)
    elif x == 0:
        angle = context.divide(pi(), Decimal(2))
    else:
        angle = atan(context.divide(y, x).copy_abs())
        angle = context.subtract(pi(), angle) if x < 0 else angle
    return angle.copy_sign(y)


def asin(value: Decimal) -> Decimal:
    """Arc sine of a number in [-1, 1]."""
    context = _context()
    rest = context.sqrt(context.multiply(context.subtract(Decimal(1), value), context.add(Decimal(1), value)))
    return atan2(value, rest)


def acos(value: Decimal) -> Decimal:
    """Arc cosine of a number in [-1, 1]."""
    context = _context()
    rest = context.sqrt(context.multiply(context.subtract(Decimal(1), value), context.add(Decimal(1), value)))
    return atan2(rest, value)


def sinh(value: Decimal) -> Decimal:
    """Hyperbolic sine."""
    if value.copy_abs() < 1:
        return _series(value, value, 2, 1)
    context = _context()
    power = context.exp(value)
    return context.divide(context.subtract(power, context.divide(Decimal(1), power)), Decimal(2))


def cosh(value: Decimal) -> Decimal:
    """Hyperbolic cosine."""
    context = _context()
    power = context.exp(value)
    return context.divide(context.add(power, context.divide(Decimal(1), power)), Decimal(2))


def tanh(value: Decimal) -> Decimal:
    """Hyperbolic tangent."""
    if value.copy_abs() > 100:
        return Decimal(1).copy_sign(value)
    return _context().divide(sinh(value), cosh(value))


def asinh(value: Decimal) -> Decimal:
    """Inverse hyperbolic sine; by symmetry, so that nothing cancels."""
    if _extra(value) > _FAR:
        return value if value.adjusted() < 0 else _log_of_double(value.copy_abs()).copy_sign(value)
    size = value.copy_abs()
    context = _context(2 * _extra(value))
    root = context.sqrt(context.add(context.multiply(size, size), Decimal(1)))
    return context.ln(context.add(size, root)).copy_sign(value)


def acosh(value: Decimal) -> Decimal:
    """Inverse hyperbolic cosine of a number not below 1."""
    if _extra(value) > _FAR:
        return _log_of_double(value)
    context = _context(_extra(value) + _DIGITS)
    root = context.sqrt(context.subtract(context.multiply(value, value), Decimal(1)))
    return context.ln(context.add(value, root))


def atanh(value: Decimal) -> Decimal:
    """Inverse hyperbolic tangent of a number in [-1, 1]."""
    if value.copy_abs() == 1:
        return Decimal("Infinity").copy_sign(value)
    if _extra(value) > _FAR:
        return value
    context = _context(_extra(value))
    ratio = context.divide(context.add(Decimal(1), value), context.subtract(Decimal(1), value))
    return context.divide(context.ln(ratio), Decimal(2))


Compute = Callable[[Decimal], Decimal]
