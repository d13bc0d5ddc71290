"""Accumulators that hold several values: the n first, last, smallest and largest, orders, and percentiles."""

from __future__ import annotations

from bisect import insort_right
from collections import deque
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Any

from doorleaf.mql.accumulators.base import Accumulator, Factory, Unary, accumulator
from doorleaf.mql.context import Context
from doorleaf.mql.display import display
from doorleaf.mql.expressions.compile import Constant, Evaluate, Named, Scope, fail, nullish
from doorleaf.mql.expressions.selection import Pick, greatest, least, n_arguments, take_n
from doorleaf.mql.expressions.statistics import finite_order, percentile, quantile_arguments
from doorleaf.mql.numbers import is_number
from doorleaf.mql.order import compile_sort
from doorleaf.mql.values import MISSING, approximate_size, is_document, type_name

# --- the n first, last, smallest, largest ----------------------------------------------------------------------------


class _FirstN(Unary):
    __slots__ = ("_most", "_values")
    NAME = "$firstN"

    def __init__(self, most: int, evaluate: Evaluate, context: Context) -> None:
        super().__init__(evaluate, context)
        self._most = most
        self._values: list[Any] = []

    def add(self, document: dict[str, Any], variables: dict[str, Any]) -> None:
        if len(self._values) < self._most:
            value = self._evaluate(document, variables)
            self.charge(value)
            self._values.append(None if value is MISSING else value)

    def result(self) -> Any:
        return self._values


class _LastN(Unary):
    __slots__ = ("_values",)
    NAME = "$lastN"

    def __init__(self, most: int, evaluate: Evaluate, context: Context) -> None:
        super().__init__(evaluate, context)
        self._values: deque[Any] = deque(maxlen=most)

    def take(self, value: Any) -> None:
        if len(self._values) == self._values.maxlen:
            self._context.release(approximate_size(self._values[0]) + 8)
        self.charge(value)
        self._values.append(None if value is MISSING else value)

    def result(self) -> Any:
        return list(self._values)


class _Selected(Unary):
    """``$minN`` and ``$maxN``: some more than n are held, and cut when they are too many."""

    __slots__ = ("_most", "_pick", "_values")
    NAME = "$minN or $maxN"

    def __init__(self, pick: Pick, most: int, evaluate: Evaluate, context: Context) -> None:
        super().__init__(evaluate, context)
        self._pick = pick
        self._most = most
        self._values: list[Any] = []

    def take(self, value: Any) -> None:
        if nullish(value):
            return
        self.charge(value)
        self._values.append(value)
        if len(self._values) > 2 * self._most + 256:
            before = sum(map(approximate_size, self._values)) + 8 * len(self._values)
            self._values = self._pick(self._values, self._most, self._context)
            self._context.release(before - sum(map(approximate_size, self._values)) - 8 * len(self._values))

    def result(self) -> Any:
        return self._pick(self._values, self._most, self._context)


_N: dict[str, Callable[[int, Evaluate, Context], Accumulator]] = {
    "$firstN": _FirstN,
    "$lastN": _LastN,
    "$minN": partial(_Selected, least),
    "$maxN": partial(_Selected, greatest),
}


@accumulator(*_N)
def _n(name: str, argument: Any, scope: Scope) -> Factory:
    arguments = n_arguments(name, argument)
    evaluate = scope.compile(arguments["input"])
    count = _count_of(arguments["n"], scope)
    make = _N[name]
    return lambda group=None: make(count(group), evaluate, scope.context)


def _count_of(written: Any, scope: Scope) -> Callable[[dict[str, Any] | None], int]:
    """``n`` as a function of the group's ``_id`` document; checked at once when it is constant."""
    compiled = scope.compile(written)
    if isinstance(compiled, Constant):
        constant = take_n(compiled.value)
        return lambda group: constant
    return lambda group: take_n(compiled(group or {}, {}))


# --- by an order -----------------------------------------------------------------------------------------------------


class _Ranked:
    """``$top``, ``$bottom`` and their n forms: the outputs of the first or last documents in an order."""

    __slots__ = ("_context", "_entries", "_key", "_most", "_output", "_single", "_top")

    def __init__(
        self,
        key: Callable[[dict[str, Any]], Any],
        output: Evaluate,
        most: int,
        top: bool,
        single: bool,
        context: Context,
    ) -> None:
        self._key = key
        self._output = output
        self._most = most
        self._top = top
        self._single = single
        self._context = context
        self._entries: list[tuple[Any, Any]] = []

    def add(self, document: dict[str, Any], variables: dict[str, Any]) -> None:
        key = self._key(document)
        if len(self._entries) >= self._most:
            # Of documents that tie, the one seen first stays.
            edge = self._entries[-1 if self._top else 0]
            if not (key < edge[0] if self._top else edge[0] < key):
                return
            self._context.release(approximate_size(edge[1]) + 72)
            self._entries.pop(-1 if self._top else 0)
        value = self._output(document, variables)
        value = None if value is MISSING else value
        self._context.charge(approximate_size(value) + 72, "$topN", 146)
        insort_right(self._entries, (key, value), key=itemgetter(0))

    def result(self) -> Any:
        values = [value for _, value in self._entries]
        return values if not self._single else values[0] if values else None


_RANKED_N = ("$topN", "$bottomN")


@accumulator("$top", "$bottom", *_RANKED_N)
def _ranked(name: str, argument: Any, scope: Scope) -> Factory:
    required = {
        "output": (5788004, "Missing value for 'output'"),
        "sortBy": (5788005, "Missing value for 'sortBy'"),
    }
    if name in _RANKED_N:
        required = {"n": (5788003, "Missing value for 'n'"), **required}
    arguments = Named(
        (5788001, f"specification must be an object; found {name}: {display(argument)}"),
        (5788002, f"Unknown argument to {name} '{{name}}'"),
        required,
    ).take(argument)
    sort_by = arguments["sortBy"]
    if not is_document(sort_by):
        fail(10065, f"invalid parameter: expected an object (sortBy), found {type_name(sort_by)}")
    key = compile_sort(sort_by)
    output = scope.compile(arguments["output"])
    count = _count_of(arguments.get("n", 1), scope)
    top, single = name.startswith("$top"), name not in _RANKED_N
    return lambda group=None: _Ranked(key, output, count(group), top, single, scope.context)


# --- percentiles -----------------------------------------------------------------------------------------------------


class _Quantiles(Unary):
    __slots__ = ("_fractions", "_numbers", "_single")
    NAME = "$percentile"

    def __init__(self, fractions: list[float], single: bool, evaluate: Evaluate, context: Context) -> None:
        super().__init__(evaluate, context)
        self._fractions = fractions
        self._single = single
        self._numbers: list[Any] = []

    def take(self, value: Any) -> None:
        if is_number(value):
            self.charge(value)
            self._numbers.append(value)

    def result(self) -> Any:
        numbers = finite_order(self._numbers, self._context)
        found = [percentile(numbers, fraction) for fraction in self._fractions]
        return found[0] if self._single else found


@accumulator("$percentile", "$median")
def _quantiles(name: str, argument: Any, scope: Scope) -> Factory:
    evaluate, fractions = quantile_arguments(name, argument, scope)
    return lambda group=None: _Quantiles(fractions, name == "$median", evaluate, scope.context)
