"""Projections compiled once to functions from a document to a new document; inputs are never changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bson.dbref import DBRef

from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_positional, mentions
from doorleaf.mql.memory import Growth, bounded
from doorleaf.mql.projections.parse import Element, Evaluate, Projection, ProjectionParser, Slice, Tree
from doorleaf.mql.values import MISSING

Document = dict[str, Any]
Transform = Callable[[Document], Document]


def compile_projection(
    projection: Document | None,
    context: Context,
    *,
    filter: Document | None = None,
    variables: Mapping[str, Any] | None = None,
) -> Transform | None:
    """Compile the projection of ``find``; None when there is none and documents pass unchanged.

    ``filter`` is the query's, which ``path.$`` needs; ``variables`` are the values of ``let``. The result shares
    values with its input.
    """
    if not projection:
        if projection is None or isinstance(projection, dict):
            return None
        raise DataError("the projection must be an object", number=14)
    values = _values(variables)
    parsed = _parse_find(projection, context, values)
    transform = _tree_transform(parsed, values, context)
    if parsed.positional is not None:
        transform = _positional(transform, parsed.positional, filter, context, values)
    for part in parsed.slices:
        transform = _sliced(transform, part)
    return transform


def is_inclusion(projection: Document | None) -> bool:
    """Whether a projection of ``find`` names what to keep, rather than what to leave out."""
    return bool(projection) and _parse_find(projection or {}, Context(), {}).inclusion


def compile_project(specification: Document, context: Context, variables: Mapping[str, Any] | None = None) -> Transform:
    """Compile the argument of a ``$project`` stage; ``variables`` are the values its expressions may use."""
    if not isinstance(specification, dict):
        raise DataError("$project specification must be an object", number=15969)
    values = _values(variables)
    try:
        if not specification:
            raise DataError("projection specification must have at least one field", number=51272)
        parsed = ProjectionParser(context, tuple(values), find=False).parse(specification)
    except DataError as error:
        message = f"Invalid $project :: caused by :: {error.message}"
        raise DataError(message, number=error.number, code=error.code) from None
    return _tree_transform(parsed, values, context)


def _values(variables: Mapping[str, Any] | None) -> dict[str, Any]:
    return variables if isinstance(variables, dict) else dict(variables or {})


def _parse_find(projection: Document, context: Context, values: dict[str, Any]) -> Projection:
    def element(condition: Document) -> Element:
        positional = compile_positional(condition, context)
        return lambda document: positional(document)[1]

    return ProjectionParser(context, tuple(values), find=True, element=element).parse(projection)


# --- the tree --------------------------------------------------------------------------------------------------------


def _tree_transform(parsed: Projection, values: dict[str, Any], context: Context) -> Transform:
    if not parsed.inclusion:
        _drop_kept_leaves(parsed.tree)
    keep = _including(parsed.tree) if parsed.inclusion else _excluding(parsed.tree)
    add = _compile_additions(parsed.tree)
    if add is None:
        return keep

    def transform(document: Document) -> Document:
        result = keep(document)
        growth = Growth()
        add(result, document, values, growth)
        return bounded(result, context) if growth.size else result

    return transform


def _drop_kept_leaves(tree: Tree) -> None:
    """Refuse what cannot stand in an exclusion; ``_id: 1`` and a ``$slice`` leave their field as it is."""
    tree.leaves = {name: kept for name, kept in tree.leaves.items() if not kept}
    for child in tree.children.values():
        _drop_kept_leaves(child)


def _including(tree: Tree) -> Transform:
    names = frozenset(name for name, kept in tree.leaves.items() if kept)
    if not tree.children:
        return lambda document: {name: value for name, value in document.items() if name in names}
    children = {
        name: _value_of(_including(child), drop=True, hold=_computes(child)) for name, child in tree.children.items()
    }

    def include(document: Document) -> Document:
        result = {}
        for name, value in document.items():
            if name in names:
                result[name] = value
            elif name in children:
                kept = children[name](value)
                if kept is not MISSING:
                    result[name] = kept
        return result

    return include


def _excluding(tree: Tree) -> Transform:
    names = frozenset(tree.leaves)
    if not tree.children:
        return lambda document: {name: value for name, value in document.items() if name not in names}
    children = {name: _value_of(_excluding(child), drop=False) for name, child in tree.children.items()}

    def exclude(document: Document) -> Document:
        return {
            name: children[name](value) if name in children else value
            for name, value in document.items()
            if name not in names
        }

    return exclude


def _computes(tree: Tree) -> bool:
    """Whether there is a computed field in a tree."""
    return bool(tree.computed) or any(map(_computes, tree.children.values()))


def _value_of(transform: Transform, *, drop: bool, hold: bool = False) -> Callable[[Any], Any]:
    """``transform`` for a value: of each document in an array, at any depth. Other values stay or are dropped.

    With ``hold`` a dropped element is MISSING in its place, which computed fields are put into.
    """

    def of(value: Any) -> Any:
        if value.__class__ is list:
            found = [of(item) for item in value]
            return [item for item in found if item is not MISSING] if drop and not hold else found
        if isinstance(value, dict):
            return transform(value)
        if value.__class__ is DBRef:
            return transform(value.as_doc())
        return MISSING if drop else value

    return of


Additions = Callable[[Document, Document, dict[str, Any], Growth], None]


def _compile_additions(tree: Tree) -> Additions | None:
    """The computed fields of a tree as ``add(result, root, variables)``, which sets them in ``result``; None if none.

    Values below ``result`` are replaced, never changed in place, so that they may be shared with ``root``.
    """
    steps: list[tuple[str, Evaluate | None, Additions | None]] = []
    for name in tree.order:
        if name in tree.computed:
            steps.append((name, tree.computed[name], None))
        elif (below := _compile_additions(tree.children[name])) is not None:
            steps.append((name, None, below))
    if not steps:
        return None

    def add(result: Document, root: Document, variables: dict[str, Any], growth: Growth) -> None:
        for name, evaluate, below in steps:
            if evaluate is not None:
                value = evaluate(root, variables)
                growth.add(value)
            elif below is not None:
                value = _added(below, result.get(name, MISSING), root, variables, growth)
            if value is MISSING:
                result.pop(name, None)
            else:
                result[name] = value

    return add


def _added(add: Additions, value: Any, root: Document, variables: dict[str, Any], growth: Growth) -> Any:
    """``value`` with computed fields in it: in each element of an array, and in place of what is no document."""
    if value.__class__ is list:
        return [_added(add, item, root, variables, growth) for item in value]
    if value.__class__ is DBRef:
        value = value.as_doc()
    result = dict(value) if isinstance(value, dict) else {}
    add(result, root, variables, growth)
    return result


# --- what only find has ----------------------------------------------------------------------------------------------


def _positional(
    transform: Transform, parts: list[str], filter: Document | None, context: Context, values: dict[str, Any]
) -> Transform:
    """``path.$``: of the first array on the path only the element that the filter matched."""
    if filter is None:
        raise DataError("Projections with a positional operator require a matcher", number=51050)
    if not mentions(filter, parts[0], context):
        text = f"Positional projection '{'.'.join(parts)}.$' does not match the query document."
        raise DataError(text, number=31277)
    find = compile_positional(filter, context, variables=values)

    def positional(document: Document) -> Document:
        result = transform(document)
        return _with_element(result, document, parts, find)

    return positional


def _with_element(
    result: Document, document: Document, parts: list[str], find: Callable[[Document], tuple[bool, int | None]]
) -> Document:
    value: Any = result
    for position, part in enumerate(parts):
        value = value.get(part) if isinstance(value, dict) else None
        if value.__class__ is not list:
            continue
        index = find(document)[1]
        if index is None:
            text = "Executor error during find command :: caused by :: positional operator '.$' couldn't find a"
            raise DataError(f"{text} matching element in the array", number=51246)
        if index >= len(value):
            text = "Executor error during find command :: caused by :: positional operator '.$' element mismatch"
            raise DataError(text, number=51247)
        return _replaced(result, parts[: position + 1], [value[index]])
    return result


def _replaced(document: Document, parts: list[str], value: Any) -> Document:
    """A copy of ``document`` with ``value`` at a path through documents only."""
    copied = dict(document)
    level = copied
    for part in parts[:-1]:
        level[part] = dict(level[part])
        level = level[part]
    level[parts[-1]] = value
    return copied


def _sliced(transform: Transform, part: Slice) -> Transform:
    return lambda document: _slice_document(transform(document), part, 0)


def _slice_document(document: Document, part: Slice, position: int) -> Document:
    name = part.parts[position]
    value = document.get(name, MISSING)
    last = position + 1 == len(part.parts)
    if value.__class__ is list:
        if last:
            value = _slice(value, part.skip, part.limit)
        else:
            value = [_slice_document(item, part, position + 1) if isinstance(item, dict) else item for item in value]
    elif isinstance(value, dict) and not last:
        value = _slice_document(value, part, position + 1)
    else:
        return document
    return {**document, name: value}


def _slice(array: list[Any], skip: int | None, limit: int) -> list[Any]:
    size = len(array)
    if skip is None:
        return array[:limit] if limit >= 0 else array[max(0, size + limit) :]
    start = max(0, size + skip) if skip < 0 else skip
    return array[start : start + limit]
