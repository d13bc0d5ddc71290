"""Arrays: elements, parts, search, and conversion from and to documents."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from doorleaf.mql.context import Context
from doorleaf.mql.display import display
from doorleaf.mql.expressions.compile import Constant, Evaluate, Scope, apply, fail, function, nullish, operands, parser
from doorleaf.mql.memory import bounded, bounded_elements, grown
from doorleaf.mql.numbers import INT32_MAX, INT32_MIN, integral, is_number
from doorleaf.mql.values import MISSING, as_document, canonical, equal, is_document, type_name


def int32(value: Any) -> int | None:
    """The integer of a number of any kind within int32, else None."""
    number = integral(value)
    return number if number is not None and INT32_MIN <= number <= INT32_MAX else None


@function("$isArray", 1)
def _is_array(value: Any) -> bool:
    return isinstance(value, list)


@function("$size", 1)
def _size(array: Any) -> int:
    if not isinstance(array, list):
        fail(17124, f"The argument to $size must be an array, but was of type: {type_name(array)}")
    return len(array)


@function("$reverseArray", 1)
def _reverse(array: Any) -> Any:
    if nullish(array):
        return None
    if not isinstance(array, list):
        fail(34435, f"The argument to $reverseArray must be an array, but was of type: {type_name(array)}")
    return array[::-1]


@function("$arrayElemAt", 2)
def _array_elem_at(array: Any, index: Any) -> Any:
    if nullish(array) or nullish(index):
        return None
    if not isinstance(array, list):
        fail(28689, f"$arrayElemAt's first argument must be an array, but is {type_name(array)}")
    if not is_number(index):
        fail(28690, f"$arrayElemAt's second argument must be a numeric value, but is {type_name(index)}")
    position = int32(index)
    if position is None:
        shown = display(index)
        fail(28691, f"$arrayElemAt's second argument must be representable as a 32-bit integer: {shown}")
    return array[position] if -len(array) <= position < len(array) else MISSING


def _end(name: str, index: int) -> None:
    def compute(array: Any) -> Any:
        if nullish(array):
            return None
        if not isinstance(array, list):
            fail(28689, f"{name}'s argument must be an array, but is {type_name(array)}")
        return array[index] if array else MISSING

    function(name, 1)(compute)


_end("$first", 0)
_end("$last", -1)


@function("$concatArrays", 0, None, context=True)
def _concat_arrays(context: Context, *arrays: Any) -> Any:
    joined: list[Any] = []
    size = 0
    for array in arrays:
        if nullish(array):
            return None
        if not isinstance(array, list):
            fail(28664, f"$concatArrays only supports arrays, not {type_name(array)}")
        size = grown(size, array)
        joined += array
    return bounded(joined, context)


@parser("$in")
def _in(argument: Any, scope: Scope) -> Evaluate:
    needle, haystack = [scope.compile(item) for item in operands("$in", argument, 2, 2)]
    if isinstance(haystack, Constant) and isinstance(haystack.value, list):
        keys = frozenset(canonical(item) for run in scope.context.runs(haystack.value) for item in run)
        return apply(lambda value: canonical(value) in keys, [needle], scope)
    return apply(partial(_contains, scope.context), [needle, haystack], scope)


def _contains(context: Context, value: Any, array: Any) -> bool:
    if not isinstance(array, list):
        fail(40081, f"$in requires an array as a second argument, found: {type_name(array)}")
    return any(equal(value, item) for run in context.runs(array) for item in run)


@function("$indexOfArray", 2, 4, context=True)
def _index_of_array(context: Context, array: Any, value: Any, *bounds: Any) -> Any:
    if nullish(array):
        return None
    if not isinstance(array, list):
        fail(40090, f"$indexOfArray requires an array as a first argument, found: {type_name(array)}")
    start, end = search_bounds("$indexOfArray", bounds, len(array), 9711600)
    for run in context.runs(range(start, end)):
        for index in run:
            if equal(array[index], value):
                return index
    return -1


def search_bounds(name: str, bounds: Sequence[Any], length: int, code: int = 40096) -> tuple[int, int]:
    """The starting and ending index of a search through ``length`` things, from the operands that were given.

    The errors are ``code`` for what is not an integer and the one after it for what is negative.
    """
    found = []
    for which, value in zip(("starting", "ending"), bounds, strict=False):
        index = int32(value)
        if index is None:
            shown = f"{type_name(value)}, with value: {display(value)}"
            fail(code, f"{name} requires an integral {which} index, found a value of type: {shown}")
        if index < 0:
            fail(code + 1, f"{name} requires a nonnegative {which} index, found: {index}")
        found.append(index)
    start = found[0] if found else 0
    return start, min(length, found[1]) if len(found) > 1 else length


@function("$slice", 2, 3)
def _slice(array: Any, second: Any, *third: Any) -> Any:
    if nullish(array) or nullish(second) or (third and nullish(third[0])):
        return None
    if not isinstance(array, list):
        fail(28724, f"First argument to $slice must be an array, but is of type: {type_name(array)}")
    start = _slice_number("Second", 28725, second)
    if not third:
        return array[:start] if start >= 0 else array[start:]
    count = _slice_number("Third", 28727, third[0])
    if count <= 0:
        fail(28729, f"Third argument to $slice must be positive: {count}")
    if start < 0:
        start = max(0, len(array) + start)
    return array[start : start + count]


def _slice_number(which: str, code: int, value: Any) -> int:
    if not is_number(value):
        fail(code, f"{which} argument to $slice must be a numeric value, but is of type: {type_name(value)}")
    number = int32(value)
    if number is None:
        fail(code + 1, f"{which} argument to $slice can't be represented as a 32-bit integer: {display(value)}")
    return number


# --- arrays and documents --------------------------------------------------------------------------------------------


@function("$objectToArray", 1, context=True)
def _object_to_array(context: Context, value: Any) -> Any:
    if nullish(value):
        return None
    document = as_document(value)
    if document is None:
        fail(40390, f"$objectToArray requires a document input, found: {type_name(value)}")
    # Each of the documents has the two names and some bytes around them.
    bounded_elements(len(document), 25)
    return bounded([{"k": name, "v": item} for name, item in document.items()], context)


@function("$arrayToObject", 1, context=True)
def _array_to_object(context: Context, array: Any) -> Any:
    if nullish(array):
        return None
    if not isinstance(array, list):
        fail(40386, f"$arrayToObject requires an array input, found: {type_name(array)}")
    if not array:
        return {}
    if isinstance(array[0], list):
        pairs = map(_pair_of_array, array)
    elif is_document(array[0]):
        pairs = map(_pair_of_document, array)
    else:
        fail(40398, f"Unrecognised input type format for $arrayToObject: {type_name(array[0])}")
    return bounded(dict(pairs), context)


_CONSISTENT = "$arrayToObject requires a consistent input format. Elements must all be arrays or all be objects. "


def _pair_of_array(pair: Any) -> tuple[str, Any]:
    if not isinstance(pair, list):
        fail(40396, f"{_CONSISTENT}Array was detected, now found: {type_name(pair)}")
    if len(pair) != 2:
        fail(40397, f"$arrayToObject requires an array of size 2 arrays,found array of size: {len(pair)}")
    if type_name(pair[0]) != "string":
        kind = type_name(pair[0])
        fail(
            40395,
            "$arrayToObject requires an array of key-value pairs, where the key must be of type string. "
            f"Found key type: {kind}",
        )
    if "\0" in pair[0]:
        fail(4940400, "Key field cannot contain an embedded null byte")
    return pair[0], pair[1]


def _pair_of_document(pair: Any) -> tuple[str, Any]:
    document = as_document(pair)
    if document is None:
        fail(40391, f"{_CONSISTENT}Object was detected, now found: {type_name(pair)}")
    if len(document) != 2:
        fail(
            40392,
            f"$arrayToObject requires an object keys of 'k' and 'v'. Found incorrect number of keys:{len(document)}",
        )
    if "k" not in document or "v" not in document:
        fail(
            40393,
            "$arrayToObject requires an object with keys 'k' and 'v'. "
            f"Missing either or both keys from: {display(document)}",
        )
    name = document["k"]
    if type_name(name) != "string":
        fail(
            40394,
            "$arrayToObject requires an object with keys 'k' and 'v', where the value of 'k' must be of type "
            f"string. Found type: {type_name(name)}",
        )
    if "\0" in name:
        fail(4940401, "Key field cannot contain an embedded null byte")
    return name, document["v"]
