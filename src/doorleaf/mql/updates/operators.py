"""The update operators: each turns its argument into what is done at the end of a path.

:data:`OPERATORS` maps an operator's name to ``make(argument, path, compiling) -> Leaf``. ``$rename`` touches two paths
and is made by :func:`rename`.
"""

from __future__ import annotations

import itertools
import operator
import time
from collections.abc import Callable
from typing import Any, NoReturn

from bson.int64 import Int64
from bson.timestamp import Timestamp

from doorleaf.mql import numbers
from doorleaf.mql.display import display_field
from doorleaf.mql.updates import arrays as arrays
from doorleaf.mql.updates.basis import Compiling, Make, depth_of, fail, identical
from doorleaf.mql.updates.paths import REMOVE, Leaf, Path, Run, check_depth, is_index
from doorleaf.mql.values import MISSING, as_document, compare, date_millis, is_long, is_number, type_name

# --- fields ----------------------------------------------------------------------------------------------------------


def _set(argument: Any, path: str, compiling: Compiling) -> Leaf:
    def update(value: Any, run: Run, where: Path) -> Any:
        return value if identical(value, argument) else argument

    return Leaf(update, lambda run: argument, depth=depth_of(argument))


def _set_on_insert(argument: Any, path: str, compiling: Compiling) -> Leaf:
    def update(value: Any, run: Run, where: Path) -> Any:
        return argument if run.inserting and not identical(value, argument) else value

    return Leaf(update, lambda run: argument if run.inserting else MISSING, depth=depth_of(argument))


def _unset(argument: Any, path: str, compiling: Compiling) -> Leaf:
    return Leaf(lambda value, run, where: REMOVE, tolerant=True)


def _extreme(sign: int) -> Make:
    def make(argument: Any, path: str, compiling: Compiling) -> Leaf:
        def update(value: Any, run: Run, where: Path) -> Any:
            return argument if compare(argument, value) == sign else value

        return Leaf(update, lambda run: argument, depth=depth_of(argument))

    return make


_ticks = itertools.count(1)


def _current_date(argument: Any, path: str, compiling: Compiling) -> Leaf:
    if _wants_timestamp(argument):
        seconds = int(date_millis(compiling.context.now) // 1000)
        return _always(lambda: Timestamp(seconds, next(_ticks) % 2**32))
    # A new object each time: the server counts every $currentDate as a change.
    return _always(lambda: compiling.context.now.replace())


def stamped(document: dict[str, Any]) -> dict[str, Any]:
    """``document`` with the time in place of each empty timestamp at its top, as the server stores new documents."""
    empty = [name for name, value in document.items() if value.__class__ is Timestamp and not (value.time or value.inc)]
    if not empty:
        return document
    filled = {name: Timestamp(int(time.time()), next(_ticks) % 2**32) for name in empty if name != "_id"}
    return {**document, **filled}


def _always(make: Callable[[], Any]) -> Leaf:
    return Leaf(lambda value, run, where: make(), lambda run: make())


def _wants_timestamp(argument: Any) -> bool:
    if isinstance(argument, bool):
        return False
    if not isinstance(argument, dict):
        fail(
            2,
            f"{type_name(argument)} is not valid type for $currentDate."
            " Please use a boolean ('true') or a $type expression ({$type: 'timestamp/date'}).",
        )
    for name in argument:
        if name != "$type":
            fail(2, f"Unrecognized $currentDate option: {name}")
    kind = argument.get("$type")
    if kind not in ("date", "timestamp"):
        text = "The '$type' string field is required to be 'date' or 'timestamp': "
        fail(2, text + "{$currentDate: {field : {$type: 'date'}}}")
    return bool(kind == "timestamp")


# --- numbers ---------------------------------------------------------------------------------------------------------


def _arithmetic(name: str, verb: str, compute: Callable[..., Any], empty: Callable[[Any], Any]) -> Make:
    def make(argument: Any, path: str, compiling: Compiling) -> Leaf:
        if not is_number(argument):
            fail(14, f"Cannot {verb} with non-numeric argument: {{{display_field(path, argument)}}}")

        def update(value: Any, run: Run, where: Path) -> Any:
            if not is_number(value):
                fail(
                    14,
                    f"Cannot apply {name} to a value of non-numeric type. {{{run.label()}}} has the field"
                    f" '{where[-1]}' of non-numeric type {type_name(value)}",
                )
            try:
                result = compute(value, argument, strict=True)
            except OverflowError:
                shown = f"({_SAFE_NUMBER_NAMES[type_name(value)]}){value}"
                fail(2, f"Failed to apply {name} operations to current value ({shown}) for document {{{run.label()}}}")
            return value if identical(value, result) else result

        return Leaf(update, lambda run: empty(argument))

    return make


_SAFE_NUMBER_NAMES = {"int": "NumberInt", "long": "NumberLong", "double": "NumberDouble", "decimal": "NumberDecimal"}


def _bit(argument: Any, path: str, compiling: Compiling) -> Leaf:
    usage = "{$bit: {field: {and/or/xor: #}}"
    if not isinstance(argument, dict):
        given = type_name(argument)
        fail(2, f"The $bit modifier is not compatible with a {given}. You must pass in an embedded document: {usage}")
    operations = [(_bit_operation(name, operand), operand) for name, operand in argument.items()]
    if not operations:
        fail(2, f"You must pass in at least one bitwise operation. The format is: {usage}")

    def compute(value: Any) -> Any:
        for operation, operand in operations:
            result = operation(int(value), int(operand))
            value = Int64(result) if is_long(value) or is_long(operand) else result
        return value

    def update(value: Any, run: Run, where: Path) -> Any:
        if not isinstance(value, int) or isinstance(value, bool):
            fail(
                2,
                f"Cannot apply $bit to a value of non-integral type.{run.label()} has the field {where[-1]}"
                f" of non-integer type {type_name(value)}",
            )
        result = compute(value)
        return value if identical(value, result) else result

    return Leaf(update, lambda run: compute(0))


_BIT_OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
}


def _bit_operation(name: str, operand: Any) -> Callable[[int, int], int]:
    if name not in _BIT_OPERATIONS:
        shown = display_field(name, operand)
        text = f"The $bit modifier only supports 'and', 'or', and 'xor', not '{name}' which is an unknown operator: "
        fail(2, f"{text}{{{shown}}}")
    if type_name(operand) not in ("int", "long"):
        shown = display_field(name, operand)
        text = f"The $bit modifier field must be an Integer(32/64 bit); a '{type_name(operand)}' is not supported here"
        fail(2, f"{text}: {{{shown}}}")
    return _BIT_OPERATIONS[name]


# --- moving ----------------------------------------------------------------------------------------------------------


def rename(source: Path, target: Path) -> tuple[Leaf, Leaf]:
    """The leaves of ``$rename`` at its source and at its target. The source is read from the document as it was."""

    def moved(run: Run) -> Any:
        value = _rename_source(run, source)
        if value is not MISSING:
            _check_no_array(run, target)
            check_depth(len(target) + depth_of(value))
        return value

    def take(value: Any, run: Run, where: Path) -> Any:
        return value if moved(run) is MISSING else REMOVE

    def put(value: Any, run: Run, where: Path) -> Any:
        new = moved(run)
        return value if new is MISSING or identical(value, new) else new

    return Leaf(take, tolerant=True, moves=True), Leaf(put, moved)


def _rename_source(run: Run, parts: Path) -> Any:
    value: Any = run.document
    array: str | None = None
    for position, part in enumerate(parts):
        document = as_document(value)
        if document is not None:
            value = document.get(part, MISSING)
        elif isinstance(value, list) and is_index(part):
            array = array or parts[position - 1]
            value = value[int(part)] if int(part) < len(value) else MISSING
        else:
            last = parts[position - 1]
            text = f"cannot use the part ({last} of {'.'.join(parts)}) to traverse the element"
            fail(28, f"{text} ({{{display_field(last, value)}}})")
        if value is MISSING:
            return MISSING
    if array is not None:
        _fail_in_array("source", parts, run, array)
    return value


def _check_no_array(run: Run, parts: Path) -> None:
    value: Any = run.document
    for position, part in enumerate(parts[:-1]):
        document = as_document(value)
        value = MISSING if document is None else document.get(part, MISSING)
        if isinstance(value, list):
            _fail_in_array("destination", parts, run, parts[position])


def _fail_in_array(end: str, parts: Path, run: Run, array: str) -> NoReturn:
    text = f"The {end} field cannot be an array element, '{'.'.join(parts)}' in doc with {run.label()}"
    fail(2, f"{text} has an array field called '{array}'")


def _zero(argument: Any) -> Any:
    # The product and not just zero: the number type and the sign are the argument's.
    return numbers.multiply(argument, 0)


OPERATORS: dict[str, Make] = {
    "$addToSet": arrays.add_to_set,
    "$bit": _bit,
    "$currentDate": _current_date,
    "$inc": _arithmetic("$inc", "increment", numbers.add, lambda argument: argument),
    "$max": _extreme(1),
    "$min": _extreme(-1),
    "$mul": _arithmetic("$mul", "multiply", numbers.multiply, _zero),
    "$pop": arrays.pop,
    "$pull": arrays.pull,
    "$pullAll": arrays.pull_all,
    "$push": arrays.push,
    "$set": _set,
    "$setOnInsert": _set_on_insert,
    "$unset": _unset,
}
