"""Filters compiled once to predicates over documents.

Regular expressions and ``$expr`` end at the deadline of the :class:`Context`; whoever scans documents calls
``context.check()`` for each. A compiled filter is used by one thread at a time, as its context is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bson import ObjectId

from doorleaf.mql.context import Context
from doorleaf.mql.filters.bind import Matcher, Positional, all_of, bind, bind_positional, plain_equality
from doorleaf.mql.filters.nodes import Document, touches
from doorleaf.mql.filters.parse import OPERATORS, REFUSED, FilterParser
from doorleaf.mql.order import validate_collation

__all__ = ["OPERATORS", "REFUSED", "Matcher", "bind", "compile_filter", "compile_positional", "mentions"]


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
    return _equalities(filter) or bind(FilterParser(context, variables).parse(filter), context)


def compile_positional(
    filter: Any,
    context: Context,
    *,
    collation: Mapping[str, Any] | None = None,
    variables: Mapping[str, Any] | None = None,
) -> Positional:
    """Compile as :func:`compile_filter` does, to a predicate that answers also an index.

    It is that of the array element that matched, for ``$``, or None.
    """
    validate_collation(collation)
    node = FilterParser(context, variables).parse(filter)
    matches, find = bind(node, context), bind_positional(node, context)

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
        matchers.append(plain_equality(name, value))
    return all_of(matchers)
