"""The update operators of arrays: adding elements and taking them away."""

from __future__ import annotations

from collections.abc import Callable
from functools import cmp_to_key
from typing import Any

from doorleaf.mql import numbers
from doorleaf.mql.context import Context
from doorleaf.mql.display import display, display_field
from doorleaf.mql.paths import array_index
from doorleaf.mql.updates.basis import Compiling, depth_of, fail
from doorleaf.mql.updates.paths import Leaf, Path, Run
from doorleaf.mql.values import as_document, canonical, compare, is_number, type_name

# --- arrays: adding --------------------------------------------------------------------------------------------------

_PUSH_CLAUSES = ("$each", "$slice", "$sort", "$position")


def push(argument: Any, path: str, compiling: Compiling) -> Leaf:
    """``$push``, with all its clauses."""
    clauses = argument if isinstance(argument, dict) and "$each" in argument else {"$each": [argument]}
    for name in clauses:
        if name not in _PUSH_CLAUSES:
            fail(2, f"Unrecognized clause in $push: {name}")
    each = clauses["$each"]
    if not isinstance(each, list):
        fail(2, f"The argument to $each in $push must be an array but it was of type: {type_name(each)}")
    cut = _push_integer(clauses, "$slice", "be an integer value but was given type:")
    position = _push_integer(clauses, "$position", "be an integer value, not of type:")
    key = _push_sort(clauses["$sort"], compiling) if "$sort" in clauses else None

    def pushed(value: list[Any]) -> list[Any]:
        result = value
        if each:
            place = len(value) if position is None else position
            result = [*value[:place], *each, *value[place:]]
        if key is not None:
            result = compiling.context.sort(result, key)
        if cut is not None and len(result) > abs(cut):
            result = result[:cut] if cut >= 0 else result[cut:]
        return result

    def update(value: Any, run: Run, where: Path) -> Any:
        if not isinstance(value, list):
            fail(
                2,
                f"The field '{'.'.join(where)}' must be an array but is of type {type_name(value)}"
                f" in document {{{run.label()}}}",
            )
        return pushed(value)

    return Leaf(update, lambda run: pushed([]), depth=depth_of(each))


def _push_integer(clauses: dict[str, Any], name: str, wanted: str) -> int | None:
    if name not in clauses:
        return None
    number = numbers.integral(clauses[name])
    if number is None:
        fail(2, f"The value for {name} must {wanted} {type_name(clauses[name])}")
    return number


def _push_sort(pattern: Any, compiling: Compiling) -> Callable[[Any], Any]:
    if is_number(pattern):
        sign = _direction(pattern)
        return cmp_to_key(lambda left, right: sign * compare(left, right))
    if not isinstance(pattern, dict):
        text = "The $sort is invalid: use 1/-1 to sort the whole element, or {field:1/-1} to sort embedded fields"
        fail(2, text)
    if not pattern:
        fail(2, "The sort pattern is empty when it should be a set of fields.")
    fields = []
    for name, value in pattern.items():
        sign = _direction(value)
        if not name:
            fail(2, "The sort field cannot be empty")
        if "" in name.split("."):
            fail(2, f"The sort field is a dotted field but has an empty part: {name}")
        fields.append((name.split("."), sign))

    def order(left: Any, right: Any) -> int:
        for parts, sign in fields:
            result = compare(_first_value(left, parts), _first_value(right, parts))
            if result:
                return sign * result
        return 0

    return cmp_to_key(order)


def _direction(value: Any) -> int:
    if not is_number(value) or numbers.integral(value) not in (1, -1):
        fail(2, "The sort element value must be either 1 or -1")
    return int(numbers.to_double(value))


def _first_value(value: Any, parts: list[str]) -> Any:
    """The value of a path for sorting array elements, null where there is none, as in an element that is an array."""
    for place, part in enumerate(parts):
        document = as_document(value)
        if document is not None:
            value = document.get(part)
        elif place and isinstance(value, list):
            index = array_index(part)
            value = value[index] if 0 <= index < len(value) else None
        else:
            return None
    return value


def add_to_set(argument: Any, path: str, compiling: Compiling) -> Leaf:
    """``$addToSet``."""
    elements = [argument]
    if isinstance(argument, dict) and next(iter(argument), "") == "$each":
        elements = argument["$each"]
        if not isinstance(elements, list):
            given = type_name(elements)
            fail(14, f"The argument to $each in $addToSet must be an array but it was of type {given}")
        if len(argument) > 1:
            fail(2, f"Found unexpected fields after $each in $addToSet: {display(argument)}")
    additions: dict[Any, Any] = {}
    for element in compiling.context.each(elements):
        additions.setdefault(canonical(element), element)

    def update(value: Any, run: Run, where: Path) -> Any:
        if not isinstance(value, list):
            fail(
                2,
                f"Cannot apply $addToSet to non-array field. Field named '{where[-1]}'"
                f" has non-array type {type_name(value)}",
            )
        there = {canonical(element) for element in compiling.context.each(value)}
        added = [element for key, element in additions.items() if key not in there]
        return [*value, *added] if added else value

    return Leaf(update, lambda run: list(additions.values()), depth=depth_of(elements))


# --- arrays: taking away ---------------------------------------------------------------------------------------------


def pop(argument: Any, path: str, compiling: Compiling) -> Leaf:
    """``$pop``."""
    if not is_number(argument):
        fail(9, f"Expected a number in: {display_field(path, argument)}")
    number = numbers.integral(argument)
    if number is None:
        fail(9, f"Expected an integer: {display_field(path, argument)}")
    if number not in (1, -1):
        fail(9, f"$pop expects 1 or -1, found: {number}")

    def update(value: Any, run: Run, where: Path) -> Any:
        if not isinstance(value, list):
            fail(14, f"Path '{'.'.join(where)}' contains an element of non-array type '{type_name(value)}'")
        if not value:
            return value
        return value[:-1] if number == 1 else value[1:]

    return Leaf(update)


def _culling(matches: Callable[[Any], bool], context: Context) -> Leaf:
    def update(value: Any, run: Run, where: Path) -> Any:
        if not isinstance(value, list):
            fail(2, "Cannot apply $pull to a non-array value")
        kept = [element for element in context.each(value) if not matches(element)]
        return kept if len(kept) < len(value) else value

    return Leaf(update)


_PATH_OPERATORS = frozenset(
    (
        *("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$not", "$exists", "$type", "$mod", "$regex"),
        *("$options", "$size", "$all", "$elemMatch", "$bitsAllSet", "$bitsAllClear", "$bitsAnySet", "$bitsAnyClear"),
        *("$geoWithin", "$geoIntersects", "$near", "$nearSphere", "$within", "$geoNear"),
    )
)
_BANNED_IN_PULL = ("$expr", "$jsonSchema", "$text", "$where")


def pull(argument: Any, path: str, compiling: Compiling) -> Leaf:
    """``$pull``: a value, a condition, or conditions on the fields of documents."""
    condition = as_document(argument)
    if condition is None and type_name(argument) != "regex":
        wanted = canonical(argument)
        return _culling(lambda element: canonical(element) == wanted, compiling.context)
    if condition is None or next(iter(condition), "") in _PATH_OPERATORS:
        by_value = compiling.filter({"element": argument})
        return _culling(lambda element: by_value({"element": element}), compiling.context)
    for name in _BANNED_IN_PULL:
        if name in condition:
            fail(224, f"{name} is not allowed in this context")
    by_fields = compiling.filter(condition)

    def matches(element: Any) -> bool:
        document = as_document(element)
        return document is not None and by_fields(document)

    return _culling(matches, compiling.context)


def pull_all(argument: Any, path: str, compiling: Compiling) -> Leaf:
    """``$pullAll``."""
    if not isinstance(argument, list):
        fail(2, f"$pullAll requires an array argument but was given a {type_name(argument)}")
    unwanted = {canonical(element) for element in compiling.context.each(argument)}
    return _culling(lambda element: canonical(element) in unwanted, compiling.context)
