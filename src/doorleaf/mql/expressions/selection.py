"""The n first, last, smallest and largest elements, and ``$sortArray``."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from doorleaf.mql.context import Context
from doorleaf.mql.display import display
from doorleaf.mql.expressions.compile import Evaluate, Named, Scope, fail, nullish, parser
from doorleaf.mql.numbers import integral, is_number
from doorleaf.mql.values import MISSING, as_document, sort_token, type_name

Pick = Callable[[list[Any], int, Context], list[Any]]


def take_n(value: Any) -> int:
    """The number of elements that ``n`` asks for: integral and above zero."""
    if not is_number(value):
        fail(5787902, f"Value for 'n' must be of integral type, but found {display(value)}")
    number = integral(value)
    if number is None:
        fail(5787903, f"Value for 'n' must be of integral type, but found {display(value)}")
    if number <= 0:
        fail(5787908, f"'n' must be greater than 0, found {number}")
    return number


def n_arguments(name: str, argument: Any) -> dict[str, Any]:
    """The named arguments ``input`` and ``n``."""
    return Named(
        (5787801, f"specification must be an object; found {name}: {display(argument)}"),
        (5787901, "Unknown argument for 'n' operator: {name}"),
        {"n": (5787906, "Missing value for 'n'"), "input": (5787907, "Missing value for 'input'")},
    ).take(argument)


def least(values: list[Any], count: int, context: Context) -> list[Any]:
    """The ``count`` smallest values that are not null, smallest first."""
    present = [value for value in values if not nullish(value)]
    if count > _FEW:
        return context.sort(present, sort_token)[:count]
    return heapq.nsmallest(count, _checked(present, context), key=sort_token)


def greatest(values: list[Any], count: int, context: Context) -> list[Any]:
    """The ``count`` largest values that are not null, largest first."""
    present = [value for value in values if not nullish(value)]
    if count > _FEW:
        return context.sort(present, sort_token, reverse=True)[:count]
    return heapq.nlargest(count, _checked(present, context), key=sort_token)


_FEW = 1000


def _checked(values: list[Any], context: Context) -> Iterator[Any]:
    for run in context.runs(values):
        yield from run


def _choosing(name: str, pick: Pick) -> None:
    def parse(argument: Any, scope: Scope) -> Evaluate:
        arguments = n_arguments(name, argument)
        source, count = scope.compile(arguments["input"]), scope.compile(arguments["n"])

        def evaluate(root: Any, variables: dict[str, Any]) -> Any:
            number = take_n(count(root, variables))
            array = source(root, variables)
            if not isinstance(array, list):
                fail(5788200, "Input must be an array")
            return pick(array, number, scope.context)

        return evaluate

    parser(name)(parse)


_choosing("$firstN", lambda array, count, context: array[:count])
_choosing("$lastN", lambda array, count, context: array[-count:])
_choosing("$minN", least)
_choosing("$maxN", greatest)


# --- sorting ---------------------------------------------------------------------------------------------------------

_SORT = Named(
    (2942500, "$sortArray requires an object as an argument, found: {found}"),
    (2942501, "$sortArray found an unknown argument: {name}"),
    {
        "input": (2942502, "$sortArray requires 'input' to be specified"),
        "sortBy": (2942503, "$sortArray requires 'sortBy' to be specified"),
    },
)


@parser("$sortArray")
def _sort_array(argument: Any, scope: Scope) -> Evaluate:
    arguments = _SORT.take(argument)
    source = scope.compile(arguments["input"])
    arrange = _arrangement(arguments["sortBy"])
    context = scope.context

    def evaluate(root: Any, variables: dict[str, Any]) -> Any:
        array = source(root, variables)
        if nullish(array):
            return None
        if not isinstance(array, list):
            fail(2942504, f"The input argument to $sortArray must be an array, but was of type: {type_name(array)}")
        return arrange(array, context)

    return evaluate


def _arrangement(sort_by: Any) -> Callable[[list[Any], Context], list[Any]]:
    document = as_document(sort_by)
    if document is not None:
        pairs = [(path.split("."), _direction(path, value)) for path, value in document.items()]
        if not pairs:
            fail(2942505, "$sortArray sortBy must not be an empty object")
        return lambda array, context: _sorted_by(array, pairs, context)
    if not is_number(sort_by):
        fail(2942507, f"$sortArray requires 'sortBy' to be an object or 1 or -1, found: {type_name(sort_by)}")
    if integral(sort_by) not in (1, -1):
        fail(2942506, "Invalid $sortArray sortBy: numbers must be 1 (ascending) or -1 (descending)")
    descending = integral(sort_by) == -1
    return lambda array, context: context.sort(array, sort_token, reverse=descending)


def _direction(path: str, value: Any) -> int:
    direction = integral(value)
    if not path or direction not in (1, -1):
        fail(2942505, f"$sortArray sortBy: the order of '{path}' must be 1 (ascending) or -1 (descending)")
    return 1 if direction == 1 else -1


def _sorted_by(array: list[Any], pairs: list[tuple[list[str], int]], context: Context) -> list[Any]:
    """Sort by the last field first: each pass keeps the order of what it finds equal."""
    for parts, direction in reversed(pairs):
        array = context.sort(array, partial(_field_token, parts), reverse=direction < 0)
    return array


def _field_token(parts: list[str], value: Any) -> Any:
    """What an element is sorted by: the field inside documents alone, never through arrays."""
    for part in parts:
        document = as_document(value)
        value = MISSING if document is None else document.get(part, MISSING)
    return sort_token(None if value is MISSING else value)
