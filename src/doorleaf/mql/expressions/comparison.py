"""Comparison in BSON order, across types: ``$cmp``, ``$eq``, ``$ne``, ``$gt``, ``$gte``, ``$lt``, ``$lte``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from doorleaf.mql.expressions.compile import function
from doorleaf.mql.values import compare, equal


@function("$cmp", 2)
def _cmp(left: Any, right: Any) -> int:
    return compare(left, right)


@function("$eq", 2)
def _eq(left: Any, right: Any) -> bool:
    return equal(left, right)


@function("$ne", 2)
def _ne(left: Any, right: Any) -> bool:
    return not equal(left, right)


def _ordered(name: str, holds: Callable[[int], bool]) -> None:
    def compute(left: Any, right: Any) -> bool:
        return holds(compare(left, right))

    function(name, 2)(compute)


_ordered("$gt", lambda order: order > 0)
_ordered("$gte", lambda order: order >= 0)
_ordered("$lt", lambda order: order < 0)
_ordered("$lte", lambda order: order <= 0)
