"""A parsed filter: the tree between ``parse`` and the closures of ``compile``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]
Test = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A condition on one value.

    ``leaf_arrays`` tells whether elements of an array at the end of a path are looked at too. ``element``, for
    ``$elemMatch``, gives the index of the first matching element of an array. ``equals`` is the plain value of an
    equality that may be tested without ``test``.
    """

    test: Test
    leaf_arrays: bool = True
    element: Callable[[list[Any]], int | None] | None = None
    equals: Any = None


@dataclass(frozen=True, slots=True)
class All:
    """All conditions hold, each for a value of its own."""

    conditions: Sequence[Condition]


@dataclass(frozen=True, slots=True)
class Not:
    """The negation: not all conditions hold."""

    conditions: Sequence[Condition]


Condition = Leaf | All | Not


@dataclass(frozen=True, slots=True)
class Field:
    """A condition on the values at a dotted path."""

    path: str
    condition: Condition


@dataclass(frozen=True, slots=True)
class Logical:
    """``and``, ``or`` or ``nor`` of filters."""

    kind: str
    children: Sequence[Node]


@dataclass(frozen=True, slots=True)
class Whole:
    """A condition on the whole document: ``$expr``, ``$jsonSchema`` and the like."""

    test: Callable[[Document], bool]


Node = Field | Logical | Whole


def value_test(condition: Condition) -> Test:
    """The condition as a test of one value, without looking into arrays."""
    if isinstance(condition, Leaf):
        return condition.test
    tests = [value_test(child) for child in condition.conditions]
    if isinstance(condition, Not):
        return lambda value: not all(test(value) for test in tests)
    return lambda value: all(test(value) for test in tests)


def touches(node: Node, field: str) -> bool:
    """Whether any condition of a filter is on top-level ``field`` or below it."""
    if isinstance(node, Field):
        return node.path.partition(".")[0] == field
    return isinstance(node, Logical) and any(touches(child, field) for child in node.children)
