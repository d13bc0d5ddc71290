"""Loops over arrays: ``$map``, ``$filter``, ``$reduce``, ``$range`` and ``$zip``. Each step looks at the deadline."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from doorleaf.mql.context import Context
from doorleaf.mql.display import display
from doorleaf.mql.expressions.array import int32
from doorleaf.mql.expressions.compile import Evaluate, Named, Scope, fail, function, nullish, parser
from doorleaf.mql.memory import bounded, bounded_elements, grown, made_by, values_of
from doorleaf.mql.numbers import is_number
from doorleaf.mql.values import MISSING, truthy, type_name

RANGE_LIMIT = 100 * 1024 * 1024
"""Bytes that ``$range`` may make, at 40 a number."""

_MAP = Named(
    (16878, "$map only supports an object as its argument"),
    (16879, "Unrecognized parameter to $map: {name}"),
    {"input": (16880, "Missing 'input' parameter to $map"), "in": (16882, "Missing 'in' parameter to $map")},
    ("as",),
)
_FILTER = Named(
    (28646, "$filter only supports an object as its argument"),
    (28647, "Unrecognized parameter to $filter: {name}"),
    {"input": (28648, "Missing 'input' parameter to $filter"), "cond": (28650, "Missing 'cond' parameter to $filter")},
    ("as", "limit"),
)
_REDUCE = Named(
    (40075, "$reduce requires an object as an argument, found: {found}"),
    (40076, "$reduce found an unknown argument: {name}"),
    {
        "input": (40077, "$reduce requires 'input' to be specified"),
        "initialValue": (40078, "$reduce requires 'initialValue' to be specified"),
        "in": (40079, "$reduce requires 'in' to be specified"),
    },
)
_ZIP = Named(
    (34460, "$zip only supports an object as an argument, found {found}"),
    (34464, "$zip found an unknown argument: {name}"),
    {"inputs": (34465, "$zip requires at least one input array")},
    ("useLongestLength", "defaults"),
)


_SCALARS = frozenset((int, float, bool, type(None)))


def _element_name(arguments: dict[str, Any]) -> str:
    name = arguments.get("as", "this")
    if type_name(name) != "string":
        fail(9, f"'as' must be a string, but is {type_name(name)}")
    return str(name)


@parser("$map")
def _map(argument: Any, scope: Scope) -> Evaluate:
    arguments = _MAP.take(argument)
    name = _element_name(arguments)
    source = scope.compile(arguments["input"])
    body = scope.declaring(name).compile(arguments["in"])
    context = scope.context

    def evaluate(root: Any, variables: dict[str, Any]) -> Any:
        array = source(root, variables)
        if nullish(array):
            return None
        if not isinstance(array, list):
            fail(16883, f"input to $map must be an array not {type_name(array)}")
        inner = dict(variables)
        mapped = []
        size = 0
        with made_by(source, array, context):
            for item in array:
                context.check()
                inner[name] = item
                value = body(root, inner)
                if value.__class__ not in _SCALARS:
                    size = grown(size, value)
                mapped.append(None if value is MISSING else value)
        return bounded(mapped, context) if size else mapped

    return evaluate


@parser("$filter")
def _filter(argument: Any, scope: Scope) -> Evaluate:
    arguments = _FILTER.take(argument)
    name = _element_name(arguments)
    source = scope.compile(arguments["input"])
    condition = scope.declaring(name).compile(arguments["cond"])
    limit = scope.compile_optional(arguments, "limit")
    context = scope.context

    def evaluate(root: Any, variables: dict[str, Any]) -> Any:
        array = source(root, variables)
        if nullish(array):
            return None
        if not isinstance(array, list):
            fail(28651, f"input to $filter must be an array not {type_name(array)}")
        most = None if limit is None else _filter_limit(limit(root, variables))
        inner = dict(variables)
        kept: list[Any] = []
        with made_by(source, array, context):
            for item in array:
                context.check()
                inner[name] = item
                if truthy(condition(root, inner)):
                    kept.append(item)
                    if len(kept) == most:
                        break
        return kept

    return evaluate


def _filter_limit(value: Any) -> int | None:
    if nullish(value):
        return None
    limit = int32(value)
    if limit is None:
        fail(327391, f"$filter: limit must be represented as a 32-bit integral value: {display(value)}")
    if limit <= 0:
        fail(327392, f"$filter: limit must be greater than 0: {limit}")
    return limit


@parser("$reduce")
def _reduce(argument: Any, scope: Scope) -> Evaluate:
    arguments = _REDUCE.take(argument)
    source, initial = scope.compile(arguments["input"]), scope.compile(arguments["initialValue"])
    body = scope.declaring("this", "value").compile(arguments["in"])
    context = scope.context

    def evaluate(root: Any, variables: dict[str, Any]) -> Any:
        array = source(root, variables)
        if nullish(array):
            return None
        if not isinstance(array, list):
            fail(40080, f"$reduce requires that 'input' be an array, found: {display(array)}")
        inner = dict(variables)
        value = initial(root, variables)
        with made_by(source, array, context):
            for item in array:
                context.check()
                inner["this"], inner["value"] = item, value
                value = body(root, inner)
        return value

    return evaluate


@function("$range", 2, 3)
def _range(start: Any, end: Any, *step: Any) -> list[int]:
    first = _range_number(start, 34443, "a starting value", "a numeric starting value")
    last = _range_number(end, 34445, "an ending value", "a numeric ending value")
    pace = _range_number(step[0], 34447, "a step value", "a numeric step value") if step else 1
    if pace == 0:
        fail(34449, "$range requires a non-zero step value")
    numbers = range(first, last, pace)
    needed = 40 * len(numbers)
    if needed > RANGE_LIMIT:
        fail(
            146,
            f"$range would use too much memory ({needed} bytes) and cannot spill to disk. "
            f"Memory limit: {RANGE_LIMIT} bytes",
        )
    return list(numbers)


def _range_number(value: Any, code: int, what: str, numeric: str) -> int:
    if not is_number(value):
        fail(code, f"$range requires {numeric}, found value of type: {type_name(value)}")
    number = int32(value)
    if number is None:
        fail(
            code + 1,
            f"$range requires {what} that can be represented as a 32-bit integer, found value: {display(value)}",
        )
    return number


@parser("$zip")
def _zip(argument: Any, scope: Scope) -> Evaluate:
    arguments = _ZIP.take(argument)
    inputs = [scope.compile(item) for item in _expressions(arguments["inputs"], "inputs", 34461)]
    defaults = [scope.compile(item) for item in _expressions(arguments.get("defaults", []), "defaults", 34462)]
    longest = arguments.get("useLongestLength", False)
    if not isinstance(longest, bool):
        fail(34463, f"useLongestLength must be a bool, found {type_name(longest)}")
    if not inputs:
        fail(34465, "$zip requires at least one input array")
    if defaults and not longest:
        fail(34466, "cannot specify defaults unless useLongestLength is true")
    if defaults and len(defaults) != len(inputs):
        fail(34467, "defaults and inputs must have the same length")
    context = scope.context

    def evaluate(root: Any, variables: dict[str, Any]) -> Any:
        arrays = []
        for array in values_of(inputs, root, variables, context):
            if nullish(array):
                return None
            if not isinstance(array, list):
                fail(34468, f"$zip found a non-array expression in input: {display(array)}")
            arrays.append(array)
        fill = [item(root, variables) for item in defaults] or [None] * len(arrays)
        return _zipped(arrays, fill, longest, context)

    return evaluate


def _expressions(written: Any, what: str, code: int) -> list[Any]:
    if not isinstance(written, list):
        fail(code, f"{what} must be an array of expressions, found {type_name(written)}")
    return written


def _zipped(arrays: list[list[Any]], fill: list[Any], longest: bool, context: Context) -> list[Any]:
    context.check_now()
    bounded_elements((max if longest else min)(map(len, arrays)), 8 + 8 * len(arrays))
    if not longest:
        rows = [list(row) for row in zip(*arrays, strict=False)]
    else:
        fill = [None if item is MISSING else item for item in fill]
        rows = [
            [default if item is MISSING else item for item, default in zip(row, fill, strict=True)]
            for row in zip_longest(*arrays, fillvalue=MISSING)
        ]
    bounded(rows, context)
    return rows
