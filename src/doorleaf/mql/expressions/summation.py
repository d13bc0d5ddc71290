"""Sums as the server makes them: integers exactly, doubles compensated, Decimal128 with 34 digits."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from bson.decimal128 import Decimal128

from doorleaf.mql.numbers import DECIMAL, integer, is_long, to_decimal128

INT, LONG, DOUBLE, DECIMAL128 = range(4)


class Sum:
    """A running sum of BSON numbers; its result has the widest type that came in."""

    __slots__ = ("_addend", "_decimal", "_high", "_plain", "_whole", "kind")

    def __init__(self) -> None:
        self.kind = INT
        self._whole = 0
        self._high = 0.0
        self._addend = 0.0
        self._plain = 0.0
        self._decimal = Decimal(0)

    def add(self, value: Any) -> None:
        """Add one number of any kind."""
        if isinstance(value, float):
            if self.kind < DOUBLE:
                self.kind = DOUBLE
            self._add_double(value)
        elif isinstance(value, Decimal128):
            self.kind = DECIMAL128
            self._decimal = DECIMAL.add(self._decimal, value.to_decimal())
        else:
            self._whole += value
            if self.kind == INT and is_long(value):
                self.kind = LONG

    def _add_double(self, value: float) -> None:
        # _two_sum twice, written out: most of the time of a sum is this.
        self._plain += value
        addend, high = self._addend, self._high
        first = value + addend
        back = first - value
        rest = (value - (first - back)) + (addend - back)
        self._high = total = high + first
        back = total - high
        self._addend = rest + ((high - (total - back)) + (first - back))

    def double(self) -> float:
        """The sum of all but the decimals, as double."""
        whole = self._whole
        if not whole:
            total = self._high + self._addend
        else:
            near = float(whole)
            high, lost = _two_sum(self._high, near)
            total = high + (self._addend + lost + float(whole - int(near)))
        return total if math.isfinite(total) else self._plain + float(whole)

    def decimal(self) -> Decimal:
        """The sum of all, as decimal; the doubles' share is exact to 34 digits."""
        total = self._decimal
        if self._whole:
            total = DECIMAL.add(total, DECIMAL.create_decimal(self._whole))
        if self._plain != 0 or self._high != 0:
            if not math.isfinite(self._high + self._addend):
                return DECIMAL.add(total, Decimal(self._plain))
            doubles = DECIMAL.add(*map(DECIMAL.create_decimal_from_float, (self._high, self._addend)))
            total = DECIMAL.add(total, doubles)
        return total

    def result(self) -> Any:
        """The sum: int, long when it does not fit, double beyond int64 or when one came in, decimal likewise."""
        if self.kind == DECIMAL128:
            return to_decimal128(self.decimal())
        if self.kind == DOUBLE:
            return self.double()
        return integer(self._whole, long=self.kind == LONG)

    def add_for_average(self, value: Any) -> None:
        """Add one number as ``$avg`` does: an integer counts as a double."""
        self.add(value if isinstance(value, (float, Decimal128)) else float(value))

    def average(self, count: int) -> Any:
        """The mean of ``count`` numbers: a double, or a decimal when one came in."""
        if self.kind == DECIMAL128:
            return to_decimal128(DECIMAL.divide(self.decimal(), Decimal(count)))
        return self.double() / count


def _two_sum(left: float, right: float) -> tuple[float, float]:
    """The rounded sum and what rounding lost, exactly."""
    total = left + right
    back = total - left
    return total, (left - (total - back)) + (right - back)
