"""Set operators: arrays as sets, equal by BSON comparison. Unions and intersections come sorted in BSON order."""

from __future__ import annotations

from typing import Any

from doorleaf.mql.context import Context
from doorleaf.mql.expressions.compile import Constant, Evaluate, Scope, apply, fail, function, nullish, operands, parser
from doorleaf.mql.memory import bounded, holding
from doorleaf.mql.values import canonical, sort_token, truthy, type_name


def _distinct(array: list[Any], context: Context, found: dict[Any, Any] | None = None) -> dict[Any, Any]:
    """The elements by their canonical key, added to those ``found``; of equal ones the first."""
    found = {} if found is None else found
    for run in context.runs(array):
        for item in run:
            found.setdefault(canonical(item), item)
    return found


def _sorted(items: dict[Any, Any], context: Context) -> list[Any]:
    return context.sort(list(items.values()), sort_token)


def _truths(name: str, number: int, array: Any, context: Context, decisive: bool) -> bool:
    """Whether any element has the truth ``decisive``."""
    if not isinstance(array, list):
        fail(number, f"{name}'s argument must be an array, but is {type_name(array)}")
    return any(truthy(item) is decisive for run in context.runs(array) for item in run)


@function("$allElementsTrue", 1, context=True)
def _all_elements_true(context: Context, array: Any) -> bool:
    return not _truths("$allElementsTrue", 17040, array, context, False)


@function("$anyElementTrue", 1, context=True)
def _any_element_true(context: Context, array: Any) -> bool:
    return _truths("$anyElementTrue", 17041, array, context, True)


@function("$setUnion", 0, None, context=True)
def _set_union(context: Context, *arrays: Any) -> Any:
    for array in arrays:
        if nullish(array):
            return None
        if not isinstance(array, list):
            fail(17043, f"All operands of $setUnion must be arrays. One argument is of type: {type_name(array)}")
    union: dict[Any, Any] = {}
    with holding(context, *arrays, times=2):
        for array in arrays:
            _distinct(array, context, union)
    return bounded(_sorted(union, context), context) if len(arrays) > 1 else _sorted(union, context)


@function("$setIntersection", 0, None, context=True)
def _set_intersection(context: Context, *arrays: Any) -> Any:
    common: dict[Any, Any] | None = None
    for array in arrays:
        if nullish(array):
            return None
        if not isinstance(array, list):
            fail(17047, f"All operands of $setIntersection must be arrays. One argument is of type: {type_name(array)}")
        with holding(context, array, times=2):
            items = _distinct(array, context)
        common = items if common is None else {key: item for key, item in common.items() if key in items}
    return _sorted(common or {}, context)


@function("$setDifference", 2, context=True)
def _set_difference(context: Context, left: Any, right: Any) -> Any:
    if nullish(left) or nullish(right):
        return None
    for number, which, value in ((17048, "First", left), (17049, "Second", right)):
        if not isinstance(value, list):
            kind = type_name(value)
            fail(number, f"both operands of $setDifference must be arrays. {which} argument is of type: {kind}")
    with holding(context, left, right, times=2):
        excluded = _distinct(right, context)
        return [item for key, item in _distinct(left, context).items() if key not in excluded]


@parser("$setEquals")
def _set_equals(argument: Any, scope: Scope) -> Evaluate:
    items = operands("$setEquals", argument, 0, None)
    if len(items) < 2:
        fail(17045, f"$setEquals needs at least two arguments had: {len(items)}")
    compiled = [scope.compile(item) for item in items]
    for item in compiled:
        if isinstance(item, Constant) and not isinstance(item.value, list):
            kind = type_name(item.value)
            fail(5887502, f"All operands of $setEquals must be arrays. One argument is of type: {kind}")
    context = scope.context

    def equal_sets(*arrays: Any) -> bool:
        for array in arrays:
            if not isinstance(array, list):
                fail(17044, f"All operands of $setEquals must be arrays. One argument is of type: {type_name(array)}")
        with holding(context, *arrays, times=2):
            first = _distinct(arrays[0], context).keys()
            return all(_distinct(array, context).keys() == first for array in arrays[1:])

    return apply(equal_sets, compiled, scope)


@function("$setIsSubset", 2, context=True)
def _set_is_subset(context: Context, left: Any, right: Any) -> bool:
    for number, which, value in ((17046, "First", left), (17042, "Second", right)):
        if not isinstance(value, list):
            kind = type_name(value)
            fail(number, f"both operands of $setIsSubset must be arrays. {which} argument is of type: {kind}")
    with holding(context, left, right, times=2):
        return _distinct(left, context).keys() <= _distinct(right, context).keys()
