"""What all accumulators have in common: their protocol, the registry, and the base of those over one expression."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from doorleaf.mql.context import Context
from doorleaf.mql.expressions.compile import Evaluate, Scope
from doorleaf.mql.memory import GROWING
from doorleaf.mql.values import approximate_size


class Accumulator(Protocol):
    """The state of one accumulated field of one group."""

    def add(self, document: dict[str, Any], variables: dict[str, Any]) -> None:
        """Take one document of the group."""

    def result(self) -> Any:
        """The value so far."""


class Factory(Protocol):
    """Makes the accumulator of a group; ``group`` is its ``_id`` when that is a document, which ``n`` may use."""

    def __call__(self, group: dict[str, Any] | None = None) -> Accumulator:
        """A fresh accumulator."""


Parse = Callable[[str, Any, Scope], Factory]

PARSERS: dict[str, Parse] = {}
"""Every accumulator by name: how its argument is compiled."""


def accumulator(*names: str) -> Callable[[Parse], Parse]:
    """Register how the argument of the named accumulators is compiled."""

    def register(parse: Parse) -> Parse:
        for name in names:
            PARSERS[name] = parse
        return parse

    return register


class Unary:
    """An accumulator of the values of one expression."""

    __slots__ = ("_context", "_evaluate")

    NAME = "$group"
    """What an error calls it."""

    def __init__(self, evaluate: Evaluate, context: Context) -> None:
        self._evaluate = evaluate
        self._context = context

    def add(self, document: dict[str, Any], variables: dict[str, Any]) -> None:
        """Take one document."""
        self.take(self._evaluate(document, variables))

    def take(self, value: Any) -> None:
        """Take one value."""
        raise NotImplementedError

    def charge(self, value: Any) -> None:
        """Account for the memory of a value that is held."""
        self._context.charge(approximate_size(value) + 8, self.NAME, 146)

    def exchange(self, old: Any, new: Any) -> None:
        """Account for ``new`` being held in the place of ``old``; scalars count as part of their group."""
        if old.__class__ in GROWING:
            self._context.release(approximate_size(old))
        if new.__class__ in GROWING:
            self._context.charge(approximate_size(new), self.NAME, 146)
