"""Which fields a filter, an expression or an update reads: what has to be readable before it may run.

Paths are dotted; "" means the whole document. Whatever is not understood counts as the whole document.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from doorleaf.documents import Document, Pipeline, is_string
from doorleaf.mql.values import type_name
from doorleaf.operations.capabilities import Updating

HARMLESS = frozenset({"$comment", "$alwaysTrue", "$alwaysFalse", "$sampleRate"})
CONSTANTS = frozenset({"$$NOW", "$$REMOVE", "$$CLUSTER_TIME", "$$DESCEND", "$$PRUNE", "$$KEEP"})
"""The system's variables that say nothing about a document or the server."""
DOCUMENTS = frozenset({"$$ROOT", "$$CURRENT"})
HARMLESS_META = frozenset({"textScore", "sortKey", "randVal", "recordId"})
"""What ``$meta`` may ask for; ``indexKey`` for one would tell the values of an index."""

NEVER_FAILING = frozenset(
    {"$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$cmp", "$and", "$or", "$not", "$cond", "$ifNull", "$literal"}
    | {"$const", "$type", "$isArray", "$isNumber", "$let"}
)
"""Expression operators that raise no error, whatever the values they meet."""

COMPARING = frozenset(
    {"$and", "$or", "$nor", "$not", "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists"}
)

# --- filters -------------------------------------------------------------------------------------------------------


def filter_paths(query: Any, prefix: str = "") -> Iterator[str]:
    """The paths that a filter reads."""
    if not isinstance(query, dict):
        return
    for key, value in query.items():
        if key in ("$and", "$or", "$nor") and isinstance(value, list):
            for part in value:
                yield from filter_paths(part, prefix)
        elif key == "$expr":
            yield from expression_paths(value)
        elif key in HARMLESS:
            continue
        elif key.startswith("$"):
            yield ""
        else:
            yield from _condition_paths(value, prefix + key)


def _condition_paths(condition: Any, path: str) -> Iterator[str]:
    operators = isinstance(condition, dict) and any(key.startswith("$") for key in condition)
    if not operators:
        yield path
        return
    for operator, value in condition.items():
        if operator == "$elemMatch" and isinstance(value, dict):
            yield from _element_paths(value, path)
        elif operator == "$not":
            yield from _condition_paths(value, path)
        elif operator == "$all" and isinstance(value, list) and value:
            for item in value:
                yield from _condition_paths(item, path)
        else:
            yield path


def _element_paths(condition: Document, path: str) -> Iterator[str]:
    if any(key.startswith("$") and key not in ("$and", "$or", "$nor", "$comment") for key in condition):
        found = list(_condition_paths(condition, path))
    else:
        found = list(filter_paths(condition, path + "."))
    # A condition that names nothing still tells whether there is an element.
    yield from found or [path]


def is_flat(query: Document) -> bool:
    """Whether a filter is nothing but values of fields, which most are: its paths are its keys."""
    for name, value in query.items():
        if name[:1] == "$" or value.__class__ is dict or value.__class__ is list:
            return False
    return True


def has_expression(query: Any) -> bool:
    """Whether a filter has an aggregation expression."""
    if isinstance(query, dict):
        return any(key == "$expr" or has_expression(value) for key, value in query.items())
    return isinstance(query, list) and any(map(has_expression, query))


def is_simple(query: Any) -> bool:
    """Whether a filter only compares values: no expressions, patterns or schemas."""
    if isinstance(query, dict):
        return all((not key.startswith("$") or key in COMPARING) and is_simple(value) for key, value in query.items())
    if isinstance(query, list):
        return all(map(is_simple, query))
    return query is None or type_name(query) != "regex"


def may_fail(query: Any) -> bool:
    """Whether a filter has an expression that can raise an error, which would tell about documents it looked at."""
    if isinstance(query, dict):
        return any(_fails(value) if key == "$expr" else may_fail(value) for key, value in query.items())
    return isinstance(query, list) and any(map(may_fail, query))


def _fails(expression: Any) -> bool:
    if isinstance(expression, dict):
        for key, value in expression.items():
            if key in ("$literal", "$const"):
                continue
            if (key.startswith("$") and key not in NEVER_FAILING) or _fails(value):
                return True
        return False
    return isinstance(expression, list) and any(map(_fails, expression))


# --- expressions ---------------------------------------------------------------------------------------------------


def expression_paths(expression: Any) -> Iterator[str]:
    """The paths that an aggregation expression reads."""
    if is_string(expression):
        yield from _string_paths(expression)
    elif isinstance(expression, list):
        for item in expression:
            yield from expression_paths(item)
    elif isinstance(expression, dict):
        for key, value in expression.items():
            if key == "$literal":
                continue
            if key == "$getField":
                yield from _get_field_paths(value)
            elif key == "$meta":
                if not is_string(value) or value not in HARMLESS_META:
                    yield ""
            else:
                yield from expression_paths(value)


def _string_paths(text: str) -> Iterator[str]:
    if not text.startswith("$"):
        return
    if not text.startswith("$$"):
        yield text[1:]
        return
    name, _, path = text.partition(".")
    if name in DOCUMENTS:
        yield path
    elif name[2:3].isupper() and name not in CONSTANTS:
        yield ""
    # Other variables are bound by an expression whose own paths are counted where it stands.


def _get_field_paths(argument: Any) -> Iterator[str]:
    field, source = argument, "$$CURRENT"
    if isinstance(argument, dict) and "field" in argument:
        field, source = argument["field"], argument.get("input", "$$CURRENT")
    if isinstance(field, dict) and set(field) == {"$literal"}:
        field = field["$literal"]
        constant = is_string(field)
    else:
        constant = is_string(field) and not field.startswith("$")
    if constant and is_string(source) and source in DOCUMENTS:
        # A name with a dot or a dollar is no path, so nothing can be said about it.
        yield field if field and "." not in field and not field.startswith("$") else ""
        return
    yield from expression_paths(source)
    if not constant:
        yield from expression_paths(field)


# --- projections ---------------------------------------------------------------------------------------------------


def projection_paths(projection: Any, prefix: str = "") -> Iterator[str]:
    """The paths that a projection asks for; an exclusion asks for nothing."""
    for key, value in projection.items() if isinstance(projection, dict) else ():
        path = prefix + key
        if isinstance(value, dict):
            operator = next(iter(value), "")
            if operator == "$elemMatch":
                yield path
                yield from filter_paths(value[operator], path + ".")
            elif operator == "$slice":
                # Written like that of an expression, it reads what it is given and not only the field it sets.
                yield path
                yield from expression_paths(value)
            elif operator.startswith("$"):
                yield from expression_paths(value)
            else:
                yield from projection_paths(value, path + ".")
        elif is_string(value) or isinstance(value, list):
            yield from expression_paths(value)
        elif value:
            yield path.removesuffix(".$")


# --- updates -------------------------------------------------------------------------------------------------------


def update_reads(update: Document | Pipeline) -> Iterator[str]:
    """The paths whose values an update can copy elsewhere: expressions of a pipeline, and ``$rename``."""
    if isinstance(update, dict):
        renames = update.get("$rename")
        if isinstance(renames, dict):
            yield from renames
        return
    for stage in update:
        for name, value in stage.items() if isinstance(stage, dict) else ():
            if name == "$unset":
                continue
            if name == "$project":
                yield from projection_paths(value)
            else:
                yield from expression_paths(value)


def update_writes(update: Document | Pipeline) -> frozenset[str]:
    """The paths that an update names, as written; "" when it can replace the document as a whole."""
    paths: set[str] = set()
    if isinstance(update, dict):
        for operator, body in update.items():
            if isinstance(body, dict):
                paths.update(body)
                if operator == "$rename":
                    paths.update(target for target in body.values() if is_string(target))
        return frozenset(paths)
    for stage in update:
        for name, value in stage.items() if isinstance(stage, dict) else ():
            if name in ("$set", "$addFields") and isinstance(value, dict):
                paths.update(value)
            elif name == "$unset" and (is_string(value) or isinstance(value, list)):
                paths.update([value] if is_string(value) else [path for path in value if is_string(path)])
            else:
                paths.add("")
    return frozenset(paths)


def positional(paths: Iterator[str] | frozenset[str]) -> bool:
    """Whether one of ``paths`` stands for the array element that the filter matched."""
    return "$" in "".join(paths) and any("$" in path.split(".") for path in paths)


def filtered_arrays(operation: Updating) -> Iterator[str]:
    """The arrays whose elements an update's ``arrayFilters`` look at."""
    if not isinstance(operation.update, dict):
        return
    for body in operation.update.values():
        for path in body if isinstance(body, dict) else ():
            if "$[" in path:
                yield path.split(".$[", 1)[0]
