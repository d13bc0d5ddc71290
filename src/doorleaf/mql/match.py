"""Filters compiled once to predicates over documents.

Regular expressions and ``$expr`` end at the deadline of the :class:`Context`; whoever scans documents calls
``context.check()`` for each. A compiled filter is used by one thread at a time, as its context is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bson import ObjectId

from doorleaf.mql.context import Context
from doorleaf.mql.match_nodes import All, Condition, Document, Field, Leaf, Logical, Node, Not, Whole, touches
from doorleaf.mql.match_parse import OPERATORS, REFUSED, FilterParser
from doorleaf.mql.order import validate_collation
from doorleaf.mql.paths import compile_any, walk

__all__ = ["OPERATORS", "REFUSED", "Matcher", "bind", "compile_filter", "compile_positional", "mentions"]

Matcher = Callable[[Document], bool]
Positional = Callable[[Document], tuple[bool, int | None]]


def compile_filter(
    filter: Any,
    context: Context,
    *,
    collation: Mapping[str, Any] | None = None,
    variables: Mapping[str, Any] | None = None,
) -> Matcher:
    """Compile ``filter`` to a predicate over decoded documents.

    ``variables`` holds the values of ``let`` for ``$expr``; its names are fixed here, its values are read at each
    call. Raises DataError with the server's code for a malformed filter and Unsupported for what is not there.
    """
    validate_collation(collation)
    return _equalities(filter) or bind(FilterParser(context, variables).parse(filter))


def compile_positional(
    filter: Any,
    context: Context,
    *,
    collation: Mapping[str, Any] | None = None,
    variables: Mapping[str, Any] | None = None,
) -> Positional:
    """As :func:`compile_filter`; answers also the index of the array element that matched, for ``$``, or None."""
    validate_collation(collation)
    node = FilterParser(context, variables).parse(filter)
    matches, find = bind(node), _bind_positional(node)

    def positional(document: Document) -> tuple[bool, int | None]:
        return find(document) if matches(document) else (False, None)

    return positional


def mentions(filter: Any, field: str, context: Context) -> bool:
    """Whether ``filter`` has a condition on top-level ``field`` or below it."""
    return touches(FilterParser(context, None).parse(filter), field)


def _equalities(filter: Any) -> Matcher | None:
    """The predicate of a filter that has nothing but equality of top-level fields with strings and ObjectIds."""
    if filter.__class__ is not dict or not 0 < len(filter) <= 4:
        return None
    matchers = []
    for name, value in filter.items():
        if value.__class__ is dict and len(value) == 1:
            value = value.get("$eq")
        if value.__class__ not in (str, ObjectId) or name[:1] == "$" or "." in name:
            return None
        matchers.append(_plain_equality(name, value))
    return _all_of(matchers)


# --- predicates ------------------------------------------------------------------------------------------------------


def bind(node: Node) -> Matcher:
    """The predicate of a parsed filter."""
    if isinstance(node, Whole):
        return node.test
    if isinstance(node, Field):
        return _bind_condition(node.path, node.condition)
    matchers = [bind(child) for child in node.children]
    if node.kind == "and":
        return _all_of(matchers)
    if node.kind == "or":
        return _any_of(matchers)
    found = _any_of(matchers)
    return lambda document: not found(document)


def _bind_condition(path: str, condition: Condition) -> Matcher:
    if isinstance(condition, Leaf):
        if condition.equals is not None and "." not in path:
            return _plain_equality(path, condition.equals)
        return compile_any(path, condition.test, leaf_arrays=condition.leaf_arrays)
    found = _all_of([_bind_condition(path, child) for child in condition.conditions])
    if isinstance(condition, Not):
        return lambda document: not found(document)
    return found


def _plain_equality(field: str, wanted: Any) -> Matcher:
    """Equality with a string or ObjectId in a top-level field, which ``==`` tells from every other BSON type."""

    def matches(document: Document) -> bool:
        value = document.get(field)
        return value == wanted or (value.__class__ is list and wanted in value)

    return matches


def _all_of(matchers: Sequence[Matcher]) -> Matcher:
    if len(matchers) == 1:
        return matchers[0]
    if len(matchers) == 2:
        first, second = matchers
        return lambda document: first(document) and second(document)

    def every(document: Document) -> bool:
        for matches in matchers:  # noqa: SIM110  # a loop is faster than a generator
            if not matches(document):
                return False
        return True

    return every


def _any_of(matchers: Sequence[Matcher]) -> Matcher:
    if len(matchers) == 1:
        return matchers[0]

    def some(document: Document) -> bool:
        for matches in matchers:  # noqa: SIM110  # a loop is faster than a generator
            if matches(document):
                return True
        return False

    return some


# --- which element matched -------------------------------------------------------------------------------------------


def _bind_positional(node: Node) -> Positional:
    """Only conditions that all have to hold record an element: below ``$or``, ``$nor`` and ``$not`` none does."""
    if isinstance(node, Field):
        return _positional_condition(node.path, node.condition)
    if isinstance(node, Logical) and node.kind == "and":
        return _last_position([_bind_positional(child) for child in node.children])
    matches = bind(node)
    return lambda document: (matches(document), None)


def _positional_condition(path: str, condition: Condition) -> Positional:
    if isinstance(condition, Leaf):
        return _positional_leaf(path, condition)
    if isinstance(condition, All):
        return _last_position([_positional_condition(path, child) for child in condition.conditions])
    matches = _bind_condition(path, condition)
    return lambda document: (matches(document), None)


def _positional_leaf(path: str, leaf: Leaf) -> Positional:
    parts = path.split(".")

    def positional(document: Document) -> tuple[bool, int | None]:
        for value, index in walk(document, parts, 0, leaf.leaf_arrays):
            if leaf.test(value):
                if index is None and leaf.element is not None:
                    index = leaf.element(value)
                return True, index
        return False, None

    return positional


def _last_position(parts: Sequence[Positional]) -> Positional:
    """All parts hold; the last one that went through an array tells the index, as in the server."""

    def positional(document: Document) -> tuple[bool, int | None]:
        position = None
        for part in parts:
            matched, index = part(document)
            if not matched:
                return False, None
            if index is not None:
                position = index
        return True, position

    return positional
