"""Accumulators used as expressions: over the operands, or over the elements of one array."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from doorleaf.mql.context import RUN, Context
from doorleaf.mql.expressions.compile import Constant, Evaluate, Named, Scope, fail, function, nullish, parser
from doorleaf.mql.expressions.summation import Sum
from doorleaf.mql.numbers import is_number, to_double
from doorleaf.mql.values import sort_token, type_name


def _spread(values: tuple[Any, ...], context: Context) -> Iterable[Any]:
    spread = values[0] if len(values) == 1 and isinstance(values[0], list) else values
    return spread if len(spread) <= RUN else (value for run in context.runs(spread) for value in run)


@function("$sum", 0, None, context=True)
def _sum(context: Context, *values: Any) -> Any:
    total = Sum()
    for value in _spread(values, context):
        if is_number(value):
            total.add(value)
    return total.result()


@function("$avg", 0, None, context=True)
def _avg(context: Context, *values: Any) -> Any:
    total = Sum()
    count = 0
    for value in _spread(values, context):
        if is_number(value):
            total.add_for_average(value)
            count += 1
    return total.average(count) if count else None


@function("$min", 0, None, context=True)
def _min(context: Context, *values: Any) -> Any:
    return min((value for value in _spread(values, context) if not nullish(value)), key=sort_token, default=None)


@function("$max", 0, None, context=True)
def _max(context: Context, *values: Any) -> Any:
    return max((value for value in _spread(values, context) if not nullish(value)), key=sort_token, default=None)


class Deviation:
    """Mean and squared deviation of a stream of numbers, by Welford's method."""

    __slots__ = ("_count", "_mean", "_squares")

    def __init__(self) -> None:
        self._count = 0
        self._mean = 0.0
        self._squares = 0.0

    def add(self, value: Any) -> None:
        """Take one value; what is not a number does not count."""
        if not is_number(value):
            return
        number = to_double(value)
        self._count += 1
        delta = number - self._mean
        self._mean += delta / self._count
        self._squares += delta * (number - self._mean)

    def result(self, *, sample: bool) -> float | None:
        """The standard deviation of a population or a sample, None when there are too few numbers."""
        divisor = self._count - 1 if sample else self._count
        if divisor <= 0:
            return None
        return math.sqrt(self._squares / divisor) if self._squares == self._squares else math.nan


def _deviation(name: str, *, sample: bool) -> None:
    def compute(context: Context, *values: Any) -> Any:
        deviation = Deviation()
        for value in _spread(values, context):
            deviation.add(value)
        return deviation.result(sample=sample)

    function(name, 0, None, context=True)(compute)


_deviation("$stdDevPop", sample=False)
_deviation("$stdDevSamp", sample=True)


# --- percentiles -----------------------------------------------------------------------------------------------------


def percentile(numbers: Sequence[float], fraction: float) -> float | None:
    """The element of sorted ``numbers`` at ``fraction``: the least one that this share of them does not exceed."""
    if not numbers:
        return None
    rank = len(numbers) - 1 if fraction >= 1 else max(0, math.ceil(len(numbers) * fraction) - 1)
    return numbers[rank]


def quantile_arguments(operator: str, argument: Any, scope: Scope) -> tuple[Evaluate, list[float]]:
    """The compiled input and the fractions of ``$percentile`` or ``$median``."""
    required = {"input": (40414, f"BSON field '{operator}.input' is missing but a required field")}
    if operator == "$percentile":
        required["p"] = (40414, "BSON field '$percentile.p' is missing but a required field")
    required["method"] = (40414, f"BSON field '{operator}.method' is missing but a required field")
    named = Named(
        (
            7436100 if operator == "$median" else 7429703,
            f"specification must be an object; found {operator}: {{found}}",
        ),
        (40415, f"BSON field '{operator}.{{name}}' is an unknown field."),
        required,
    )
    arguments = named.take(argument)
    if arguments["method"] != "approximate":
        fail(2, f"Currently only 'approximate' can be used as percentile 'method'.: {operator}")
    fractions = _fractions(arguments["p"], scope) if operator == "$percentile" else [0.5]
    return scope.compile(arguments["input"]), fractions


def _fractions(written: Any, scope: Scope) -> list[float]:
    compiled = scope.compile(written)
    if not isinstance(compiled, Constant):
        fail(7750300, "The $percentile 'p' field must be an array of constant values")
    values = compiled.value
    if not isinstance(values, list) or not values:
        fail(
            7750301, f"The $percentile 'p' field must be an array of numbers from [0.0, 1.0], found {type_name(values)}"
        )
    for value in values:
        if not is_number(value):
            fail(7750302, f"The $percentile 'p' field must be an array of numbers from [0.0, 1.0], found {value!r}")
        if not 0 <= to_double(value) <= 1:
            fail(7750303, f"The $percentile 'p' field must be an array of numbers from [0.0, 1.0], found {value}")
    return [to_double(value) for value in values]


def finite_order(values: Sequence[Any], context: Context) -> list[float]:
    """The numbers among ``values`` as sorted doubles; NaN has no place in an order and is left out."""
    numbers = [to_double(value) for run in context.runs(values) for value in run if is_number(value)]
    return context.sort([number for number in numbers if number == number], float)


def _quantile(operator: str, pick: Callable[[list[float | None]], Any]) -> None:
    def parse(argument: Any, scope: Scope) -> Evaluate:
        source, fractions = quantile_arguments(operator, argument, scope)

        def evaluate(root: Any, variables: dict[str, Any]) -> Any:
            value = source(root, variables)
            numbers = finite_order(value if isinstance(value, list) else [value], scope.context)
            return pick([percentile(numbers, fraction) for fraction in fractions])

        return evaluate

    parser(operator)(parse)


_quantile("$percentile", list)
_quantile("$median", lambda found: found[0])
