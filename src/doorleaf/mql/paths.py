"""Dotted paths through documents, in the three ways of MongoDB.

- the *query way* goes through arrays: ``a.b`` reaches ``b`` of every document in array ``a``, and a numeric component
  is both an array index and a field name;
- the *expression way* (``$a.b``) maps over arrays, and a numeric component is only a field name;
- the *update way* goes through nothing: a numeric component is an index when it meets an array.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bson.dbref import DBRef

from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.mql.values import MISSING

Test = Callable[[Any], bool]

MAX_PADDING = 1_500_000
"""Nulls that setting an element past the end of an array may add."""


MAX_PARTS = 200
"""Components that a path may have: a document that has a field so deep is none that MongoDB keeps."""


def check_length(parts: Sequence[str]) -> None:
    """Raise the server's error for a path with more components than :data:`MAX_PARTS`."""
    if len(parts) > MAX_PARTS:
        raise DataError("FieldPath is too long", number=5984700)


def array_index(part: str) -> int:
    """The array index that a path component names, or -1: digits without a leading zero."""
    if part.isdigit() and part.isascii() and (part == "0" or part[0] != "0") and len(part) < 10:
        return int(part)
    return -1


def validate_field_path(path: str) -> None:
    """Raise the server's error for a path that no field can have."""
    if not path:
        raise DataError("FieldPath cannot be constructed with empty string", number=40352)
    if path.endswith("."):
        raise DataError("FieldPath must not end with a '.'.", number=40353)
    if "\x00" in path:
        raise DataError("FieldPath field names may not contain '\\0'.", number=16411)
    parts = path.split(".")
    check_length(parts)
    for part in parts:
        if not part:
            raise DataError("FieldPath field names may not be empty strings.", number=15998)
        if part.startswith("$") and part not in ("$ref", "$id", "$db"):
            raise DataError(
                "FieldPath field names may not start with '$'. Consider using $getField or $setField.", number=16410
            )


# --- the query way ---------------------------------------------------------------------------------------------------


def lookup(document: dict[str, Any], path: str, *, leaf_arrays: bool = True) -> Iterator[Any]:
    """All values that a query on ``path`` looks at, MISSING among them where the path ends early.

    An array at the end of the path gives its elements and then itself; only itself without ``leaf_arrays``.
    """
    for value, _ in walk(document, path.split("."), 0, leaf_arrays):
        yield value


def walk(
    document: dict[str, Any], parts: Sequence[str], start: int = 0, leaf_arrays: bool = True
) -> Iterator[tuple[Any, int | None]]:
    """Look up as :func:`lookup` does, with the index in the outermost array that was gone through, or None."""
    value: Any = document
    for position in range(start, len(parts)):
        value = value.get(parts[position], MISSING)
        kind = value.__class__
        if kind is list:
            yield from _walk_array(value, parts, position + 1, leaf_arrays)
            return
        if kind is DBRef:
            value = value.as_doc()
        elif not isinstance(value, dict):
            yield (value if position + 1 == len(parts) else MISSING), None
            return
    yield value, None


def _walk_array(
    array: list[Any], parts: Sequence[str], position: int, leaf_arrays: bool
) -> Iterator[tuple[Any, int | None]]:
    if position == len(parts):
        if leaf_arrays:
            for index, item in enumerate(array):
                yield item, index
        yield array, None
        return
    wanted = array_index(parts[position])
    last = position + 1 == len(parts)
    for index, item in enumerate(array):
        inner = item.as_doc() if item.__class__ is DBRef else item
        if isinstance(inner, dict):
            for value, _ in walk(inner, parts, position, leaf_arrays):
                yield value, index
        if index != wanted:
            continue
        if last:
            # An element named by its index is looked at whole, even when it is an array.
            yield item, None
        elif isinstance(inner, dict):
            yield from walk(inner, parts, position + 1, leaf_arrays)
        elif inner.__class__ is list:
            yield from _walk_array(inner, parts, position + 1, leaf_arrays)


def compile_any(
    path: str, test: Test, context: Context, *, leaf_arrays: bool = True
) -> Callable[[dict[str, Any]], bool]:
    """A predicate: does ``test`` hold for any value that :func:`lookup` would give? Without its generators."""
    parts = path.split(".")
    if len(parts) > 1:
        return lambda document: _any(document, parts, 0, test, leaf_arrays, context)
    if not leaf_arrays:
        return lambda document: test(document.get(path, MISSING))

    def any_value(document: dict[str, Any]) -> bool:
        value = document.get(path, MISSING)
        if value.__class__ is list:
            for item in context.each(value):
                if test(item):
                    return True
        return test(value)

    return any_value


def _any(
    document: dict[str, Any], parts: Sequence[str], start: int, test: Test, leaf_arrays: bool, context: Context
) -> bool:
    value: Any = document
    for position in range(start, len(parts)):
        value = value.get(parts[position], MISSING)
        kind = value.__class__
        if kind is list:
            return _any_in_array(value, parts, position + 1, test, leaf_arrays, context)
        if kind is DBRef:
            value = value.as_doc()
        elif not isinstance(value, dict):
            return test(value if position + 1 == len(parts) else MISSING)
    return test(value)


def _any_in_array(
    array: list[Any], parts: Sequence[str], position: int, test: Test, leaf_arrays: bool, context: Context
) -> bool:
    if position == len(parts):
        return (leaf_arrays and any(map(test, context.each(array)))) or test(array)
    wanted = array_index(parts[position])
    last = position + 1 == len(parts)
    for index, item in enumerate(context.each(array)):
        inner = item.as_doc() if item.__class__ is DBRef else item
        if isinstance(inner, dict) and _any(inner, parts, position, test, leaf_arrays, context):
            return True
        if index != wanted:
            continue
        if last:
            if test(item):
                return True
        elif isinstance(inner, dict):
            if _any(inner, parts, position + 1, test, leaf_arrays, context):
                return True
        elif inner.__class__ is list and _any_in_array(inner, parts, position + 1, test, leaf_arrays, context):
            return True
    return False


# --- the expression way ----------------------------------------------------------------------------------------------


def field_path(value: Any, parts: Sequence[str], start: int = 0) -> Any:
    """The value of ``$a.b`` in ``value``: arrays are mapped over, elements without the field are left out."""
    for position in range(start, len(parts)):
        if value.__class__ is DBRef:
            value = value.as_doc()
        if isinstance(value, dict):
            value = value.get(parts[position], MISSING)
        elif value.__class__ is list:
            return _map_path(value, parts, position)
        else:
            return MISSING
    return value


def _map_path(array: list[Any], parts: Sequence[str], position: int) -> list[Any]:
    found = []
    for item in array:
        if isinstance(item, (dict, DBRef)):
            value = field_path(item, parts, position)
            if value is not MISSING:
                found.append(value)
    return found


# --- the update way --------------------------------------------------------------------------------------------------


def get(document: dict[str, Any], parts: Sequence[str]) -> Any:
    """The value at an update path, MISSING when any part of it is not there."""
    value: Any = document
    for part in parts:
        if value.__class__ is DBRef:
            value = value.as_doc()
        if isinstance(value, dict):
            value = value.get(part, MISSING)
        elif isinstance(value, list):
            index = array_index(part)
            value = value[index] if 0 <= index < len(value) else MISSING
        else:
            return MISSING
    return value
