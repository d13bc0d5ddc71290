"""Accumulators of ``$group`` and ``$bucket``: compiled once, one object per group.

``compile_accumulator({"$sum": "$x"}, context, variables)`` gives a factory; the factory makes an accumulator, which
takes documents with ``add(document, variable_values)`` and answers ``result()``, a value or ``MISSING``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from doorleaf.errors import Unsupported
from doorleaf.mql.accumulators import several as accumulators_n
from doorleaf.mql.accumulators.base import PARSERS, Accumulator, Factory, Unary, accumulator
from doorleaf.mql.context import Context
from doorleaf.mql.display import display
from doorleaf.mql.expressions.compile import REFUSED, Constant, Evaluate, Scope, fail, nullish
from doorleaf.mql.expressions.objects import merge
from doorleaf.mql.expressions.statistics import Deviation
from doorleaf.mql.expressions.summation import Sum
from doorleaf.mql.numbers import is_number
from doorleaf.mql.values import MISSING, canonical, sort_token, type_name


def compile_accumulator(spec: dict[str, Any], context: Context, variables: Collection[str] = ()) -> Factory:
    """Compile ``{"$name": argument}``.

    Raises code 15952 for an unknown accumulator and the server's codes for wrong arguments.
    """
    if not isinstance(spec, dict) or len(spec) != 1:
        fail(40238, "The field must specify one accumulator")
    ((name, argument),) = spec.items()
    parse = PARSERS.get(name)
    if parse is None:
        if name in REFUSED:
            raise Unsupported(f"group operator {name} is not supported: {REFUSED[name]}")
        fail(15952, f"unknown group operator '{name}'")
    scope = Scope(context, variables)
    factory = parse(name, argument, scope)
    if scope.failures:
        raise scope.failures[0]
    return factory


class _Total(Unary):
    __slots__ = ("_sum",)

    def __init__(self, evaluate: Evaluate, context: Context) -> None:
        super().__init__(evaluate, context)
        self._sum = Sum()

    def add(self, document: dict[str, Any], variables: dict[str, Any]) -> None:
        value = self._evaluate(document, variables)
        if value.__class__ is int or value.__class__ is float or is_number(value):
            self._sum.add(value)

    def result(self) -> Any:
        return self._sum.result()


class _Average(Unary):
    __slots__ = ("_count", "_sum")

    def __init__(self, evaluate: Evaluate, context: Context) -> None:
        super().__init__(evaluate, context)
        self._sum = Sum()
        self._count = 0

    def take(self, value: Any) -> None:
        if is_number(value):
            self._sum.add(value)
            self._count += 1

    def result(self) -> Any:
        return self._sum.average(self._count) if self._count else None


class _Extreme(Unary):
    """``$min`` and ``$max``; of equal values the first."""

    __slots__ = ("_best", "_largest", "_value")
    NAME = "$min or $max"

    def __init__(self, largest: bool, evaluate: Evaluate, context: Context) -> None:
        super().__init__(evaluate, context)
        self._largest = largest
        self._best: Any = None
        self._value: Any = None

    def take(self, value: Any) -> None:
        if nullish(value):
            return
        token = sort_token(value)
        if self._best is None or (token > self._best if self._largest else token < self._best):
            self.exchange(self._value, value)
            self._best, self._value = token, value

    def result(self) -> Any:
        return self._value


class _First(Unary):
    __slots__ = ("_value",)
    NAME = "$first"

    def __init__(self, evaluate: Evaluate, context: Context) -> None:
        super().__init__(evaluate, context)
        self._value: list[Any] = []

    def add(self, document: dict[str, Any], variables: dict[str, Any]) -> None:
        if not self._value:
            value = self._evaluate(document, variables)
            self.exchange(None, value)
            self._value.append(value)

    def result(self) -> Any:
        return self._value[0] if self._value else None


class _Last(Unary):
    __slots__ = ("_value",)
    NAME = "$last"

    def __init__(self, evaluate: Evaluate, context: Context) -> None:
        super().__init__(evaluate, context)
        self._value: Any = None

    def take(self, value: Any) -> None:
        self.exchange(self._value, value)
        self._value = value

    def result(self) -> Any:
        return self._value


class _Push(Unary):
    __slots__ = ("_values",)
    NAME = "$push"

    def __init__(self, evaluate: Evaluate, context: Context) -> None:
        super().__init__(evaluate, context)
        self._values: list[Any] = []

    def take(self, value: Any) -> None:
        if value is not MISSING:
            self.charge(value)
            self._values.append(value)

    def result(self) -> Any:
        return self._values


class _AddToSet(Unary):
    __slots__ = ("_values",)
    NAME = "$addToSet"

    def __init__(self, evaluate: Evaluate, context: Context) -> None:
        super().__init__(evaluate, context)
        self._values: dict[Any, Any] = {}

    def take(self, value: Any) -> None:
        if value is not MISSING:
            self.keep(value)

    def keep(self, value: Any) -> None:
        """Hold ``value`` unless an equal one is held."""
        key = canonical(value)
        if key not in self._values:
            self.charge(value)
            self._values[key] = value

    def result(self) -> Any:
        return list(self._values.values())


class _SetUnion(_AddToSet):
    __slots__ = ()
    NAME = "$setUnion"

    def take(self, value: Any) -> None:
        if value is MISSING:
            return
        if not isinstance(value, list):
            fail(14, f"$setUnion requires array inputs, but input {display(value)} is of type {type_name(value)}")
        for item in self._context.each(value):
            self.keep(item)


class _ConcatArrays(_Push):
    __slots__ = ()
    NAME = "$concatArrays"

    def take(self, value: Any) -> None:
        if value is MISSING:
            return
        if not isinstance(value, list):
            fail(14, f"$concatArrays requires array inputs, but input {display(value)} is of type {type_name(value)}")
        self.charge(value)
        self._values += value


class _StandardDeviation(Unary):
    __slots__ = ("_deviation", "_sample")

    def __init__(self, sample: bool, evaluate: Evaluate, context: Context) -> None:
        super().__init__(evaluate, context)
        self._deviation = Deviation()
        self._sample = sample

    def take(self, value: Any) -> None:
        self._deviation.add(value)

    def result(self) -> Any:
        return self._deviation.result(sample=self._sample)


class _MergeObjects(Unary):
    __slots__ = ("_merged",)
    NAME = "$mergeObjects"

    def __init__(self, evaluate: Evaluate, context: Context) -> None:
        super().__init__(evaluate, context)
        self._merged: dict[str, Any] = {}

    def take(self, value: Any) -> None:
        if not nullish(value):
            added = merge([value])
            self.charge(added)
            self._merged.update(added)

    def result(self) -> Any:
        return self._merged


Make = Callable[[Evaluate, Context], Accumulator]

_UNARY: dict[str, Make] = {
    "$sum": _Total,
    "$avg": _Average,
    "$min": partial(_Extreme, False),
    "$max": partial(_Extreme, True),
    "$first": _First,
    "$last": _Last,
    "$push": _Push,
    "$addToSet": _AddToSet,
    "$setUnion": _SetUnion,
    "$concatArrays": _ConcatArrays,
    "$stdDevPop": partial(_StandardDeviation, False),
    "$stdDevSamp": partial(_StandardDeviation, True),
    "$mergeObjects": _MergeObjects,
}


@accumulator(*_UNARY)
def _unary(name: str, argument: Any, scope: Scope) -> Factory:
    if isinstance(argument, (list, tuple)):
        fail(40237, f"The {name} accumulator is a unary operator")
    evaluate = scope.compile(argument)
    make = _UNARY[name]
    return lambda group=None: make(evaluate, scope.context)


@accumulator("$count")
def _count(name: str, argument: Any, scope: Scope) -> Factory:
    if argument != {}:
        fail(9, "$count takes no arguments, i.e. $count:{}")
    return lambda group=None: _Total(Constant(1), scope.context)


ACCUMULATORS: tuple[str, ...] = tuple(sorted(PARSERS))
"""The names of all accumulators, sorted."""

__all__ = ["ACCUMULATORS", "Accumulator", "Factory", "accumulators_n", "compile_accumulator"]
