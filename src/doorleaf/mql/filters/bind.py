"""From a parsed filter to its predicate, and to the one that tells which element of an array matched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from doorleaf.mql.context import Context
from doorleaf.mql.filters.nodes import All, Condition, Document, Field, Leaf, Logical, Node, Not, Whole
from doorleaf.mql.paths import compile_any, walk

Matcher = Callable[[Document], bool]
Positional = Callable[[Document], tuple[bool, int | None]]


def bind(node: Node, context: Context) -> Matcher:
    """The predicate of a parsed filter."""
    if isinstance(node, Whole):
        return node.test
    if isinstance(node, Field):
        return _bind_condition(node.path, node.condition, context)
    matchers = [bind(child, context) for child in node.children]
    if node.kind == "and":
        return all_of(matchers, context)
    if node.kind == "or":
        return _any_of(matchers, context)
    found = _any_of(matchers, context)
    return lambda document: not found(document)


def _bind_condition(path: str, condition: Condition, context: Context) -> Matcher:
    if isinstance(condition, Leaf):
        if condition.equals is not None and "." not in path:
            return plain_equality(path, condition.equals)
        return compile_any(path, condition.test, context, leaf_arrays=condition.leaf_arrays)
    found = all_of([_bind_condition(path, child, context) for child in condition.conditions], context)
    if isinstance(condition, Not):
        return lambda document: not found(document)
    return found


def plain_equality(field: str, wanted: Any) -> Matcher:
    """Equality with a string or ObjectId in a top-level field, which ``==`` tells from every other BSON type."""

    def matches(document: Document) -> bool:
        value = document.get(field)
        return value == wanted or (value.__class__ is list and wanted in value)

    return matches


_MANY = 16
"""Conditions from which a look at the clock between them costs little."""


def all_of(matchers: Sequence[Matcher], context: Context | None = None) -> Matcher:
    if len(matchers) == 1:
        return matchers[0]
    if len(matchers) == 2:
        first, second = matchers
        return lambda document: first(document) and second(document)

    if context is not None and len(matchers) > _MANY:
        return lambda document: all(matches(document) for matches in context.each(matchers))

    def every(document: Document) -> bool:
        for matches in matchers:  # noqa: SIM110  # a loop is faster than a generator
            if not matches(document):
                return False
        return True

    return every


def _any_of(matchers: Sequence[Matcher], context: Context) -> Matcher:
    if len(matchers) == 1:
        return matchers[0]

    if len(matchers) > _MANY:
        return lambda document: any(matches(document) for matches in context.each(matchers))

    def some(document: Document) -> bool:
        for matches in matchers:  # noqa: SIM110  # a loop is faster than a generator
            if matches(document):
                return True
        return False

    return some


# --- which element matched -------------------------------------------------------------------------------------------


def bind_positional(node: Node, context: Context) -> Positional:
    """Only conditions that all have to hold record an element: below ``$or``, ``$nor`` and ``$not`` none does."""
    if isinstance(node, Field):
        return _positional_condition(node.path, node.condition, context)
    if isinstance(node, Logical) and node.kind == "and":
        return _last_position([bind_positional(child, context) for child in node.children])
    matches = bind(node, context)
    return lambda document: (matches(document), None)


def _positional_condition(path: str, condition: Condition, context: Context) -> Positional:
    if isinstance(condition, Leaf):
        return _positional_leaf(path, condition, context)
    if isinstance(condition, All):
        return _last_position([_positional_condition(path, child, context) for child in condition.conditions])
    matches = _bind_condition(path, condition, context)
    return lambda document: (matches(document), None)


def _positional_leaf(path: str, leaf: Leaf, context: Context) -> Positional:
    parts = path.split(".")

    def positional(document: Document) -> tuple[bool, int | None]:
        for value, index in walk(document, parts, 0, leaf.leaf_arrays):
            context.check()
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
