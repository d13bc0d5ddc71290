"""Set operators: arrays as sets, equal by BSON comparison. Unions and intersections come sorted in BSON order."""

from __future__ import annotations

from typing import Any

from doorleaf.mql.expressions.compile import Constant, Evaluate, Scope, apply, fail, function, nullish, operands, parser
from doorleaf.mql.values import canonical, sort_token, truthy, type_name


def _distinct(array: list[Any]) -> dict[Any, Any]:
    """The elements by their canonical key; of equal ones the first."""
    found: dict[Any, Any] = {}
    for item in array:
        found.setdefault(canonical(item), item)
    return found


def _truths(name: str, number: int, array: Any) -> list[bool]:
    if not isinstance(array, list):
        fail(number, f"{name}'s argument must be an array, but is {type_name(array)}")
    return [truthy(item) for item in array]


@function("$allElementsTrue", 1)
def _all_elements_true(array: Any) -> bool:
    return all(_truths("$allElementsTrue", 17040, array))


@function("$anyElementTrue", 1)
def _any_element_true(array: Any) -> bool:
    return any(_truths("$anyElementTrue", 17041, array))


@function("$setUnion", 0, None)
def _set_union(*arrays: Any) -> Any:
    union: dict[Any, Any] = {}
    for array in arrays:
        if nullish(array):
            return None
        if not isinstance(array, list):
            fail(17043, f"All operands of $setUnion must be arrays. One argument is of type: {type_name(array)}")
        for key, item in _distinct(array).items():
            union.setdefault(key, item)
    return sorted(union.values(), key=sort_token)


@function("$setIntersection", 0, None)
def _set_intersection(*arrays: Any) -> Any:
    common: dict[Any, Any] | None = None
    for array in arrays:
        if nullish(array):
            return None
        if not isinstance(array, list):
            fail(17047, f"All operands of $setIntersection must be arrays. One argument is of type: {type_name(array)}")
        items = _distinct(array)
        common = items if common is None else {key: item for key, item in common.items() if key in items}
    return sorted((common or {}).values(), key=sort_token)


@function("$setDifference", 2)
def _set_difference(left: Any, right: Any) -> Any:
    if nullish(left) or nullish(right):
        return None
    for number, which, value in ((17048, "First", left), (17049, "Second", right)):
        if not isinstance(value, list):
            kind = type_name(value)
            fail(number, f"both operands of $setDifference must be arrays. {which} argument is of type: {kind}")
    excluded = set(map(canonical, right))
    return [item for key, item in _distinct(left).items() if key not in excluded]


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
    return apply(_equal_sets, compiled, scope)


def _equal_sets(*arrays: Any) -> bool:
    for array in arrays:
        if not isinstance(array, list):
            fail(17044, f"All operands of $setEquals must be arrays. One argument is of type: {type_name(array)}")
    first = set(map(canonical, arrays[0]))
    return all(set(map(canonical, array)) == first for array in arrays[1:])


@function("$setIsSubset", 2)
def _set_is_subset(left: Any, right: Any) -> bool:
    for number, which, value in ((17046, "First", left), (17042, "Second", right)):
        if not isinstance(value, list):
            kind = type_name(value)
            fail(number, f"both operands of $setIsSubset must be arrays. {which} argument is of type: {kind}")
    return set(map(canonical, left)) <= set(map(canonical, right))
