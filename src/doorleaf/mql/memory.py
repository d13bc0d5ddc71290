"""What expressions make, bounded: how large and deep a value may be, and how much is held while others are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn

from bson.binary import Binary

from doorleaf.errors import DataError
from doorleaf.mql.context import Context

Evaluate = Callable[[Any, dict[str, Any]], Any]

MAX_SIZE = 16 * 1024 * 1024
"""Bytes (roughly) that one computed string, array or document may have."""

MAX_DEPTH = 180
"""Nesting that one computed value may have."""

_ELEMENTS_PER_CLOCK = 16_384
_LONG = 10_000
"""Elements or characters from which a value is charged for while other operands are computed."""

CONTAINERS = frozenset((dict, list))
_SIZED = frozenset((str, bytes, Binary))
GROWING = CONTAINERS | _SIZED

_READS = "reads"


_SHORT = 256
"""Characters up to which a string does not count as something that may grow."""


def grown(size: int, value: Any) -> int:
    """``size`` with the bytes of one more part (a container at least 8 an element), refused as soon as it is too much.

    It stays 0 as long as there are only scalars and short strings, so that nobody has to count them.
    """
    kind = value.__class__
    if kind in CONTAINERS:
        size += 8 + 8 * len(value)
    elif kind in _SIZED and len(value) > _SHORT:
        size += len(value)
    if size > MAX_SIZE:
        _too_large()
    return size


class Growth:
    """The bytes that the computed parts of one document add to it, counted as :func:`grown` does."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0

    def add(self, value: Any) -> None:
        """Count one part; error 10334 when they are too much."""
        if value.__class__ in GROWING:
            self.size = grown(self.size, value)


def bounded_elements(count: int, size: int) -> None:
    """Refuse ``count`` elements of at least ``size`` bytes each before they are made."""
    if count * size > MAX_SIZE:
        _too_large()


def _too_large() -> NoReturn:
    raise DataError(f"an expression's result is larger than the maximum of {MAX_SIZE} bytes", number=10334)


def bounded(value: Any, context: Context) -> Any:
    """``value`` unless it is deeper or larger than a document may be.

    Values share their parts, so a few doublings make more than any memory holds: count before anyone walks them.
    """
    context.check()
    size = seen = 0
    stack = [(value, 1)]
    while stack:
        item, depth = stack.pop()
        seen += 1 + len(item)
        if seen > _ELEMENTS_PER_CLOCK:
            seen = 0
            context.check_now()
        size += 8 + 8 * len(item)
        if size > MAX_SIZE:
            _too_large()
        if item.__class__ is dict:
            size += sum(map(len, item))
            item = item.values()
        for inner in item:
            kind = inner.__class__
            if kind in CONTAINERS:
                if inner:
                    stack.append((inner, depth + 1))
                size += 8
            elif kind in _SIZED:
                size += len(inner)
        if size > MAX_SIZE:
            _too_large()
        if depth > MAX_DEPTH:
            raise DataError(f"an expression's result exceeded the maximum nested object depth: {MAX_DEPTH}", number=15)
    return value


def bounded_length(operator: str, length: int) -> None:
    """Refuse a string of ``length`` bytes that ``operator`` is about to make, when it is too large."""
    if length >= MAX_SIZE:
        raise DataError(f"{operator}: the resulting string exceeds the maximum size of {MAX_SIZE} bytes", number=16493)


# --- what is held --------------------------------------------------------------------------------------------------


def reading(evaluate: Evaluate) -> Evaluate:
    """Mark what only reads a value that is there anyhow, and so takes no memory."""
    setattr(evaluate, _READS, True)
    return evaluate


def values_of(items: Sequence[Evaluate], root: Any, variables: dict[str, Any], context: Context) -> list[Any]:
    """The values of all ``items``; long ones are charged for as long as the others are computed."""
    values: list[Any] = []
    held = 0
    try:
        for item in context.each(items):
            value = item(root, variables)
            if value.__class__ in GROWING and len(value) > _LONG and not hasattr(item, _READS):
                size = weight_of(value)
                held += size
                context.charge(size, _EXPRESSION, MEMORY)
            values.append(value)
    finally:
        if held:
            context.release(held)
    return values


def holding(context: Context, *values: Any, times: int = 1) -> AbstractContextManager[None]:
    """Long ``values`` (or so many ``times`` their memory) charged for as long as the block lasts."""
    size = sum([weight_of(value) for value in values])
    return context.holding(size * times, _EXPRESSION) if size else _NOTHING


def made_by(source: Evaluate, value: Any, context: Context) -> AbstractContextManager[None]:
    """Hold as :func:`holding` does, for a ``value`` that ``source`` gave: free when it only reads it from somewhere."""
    return _NOTHING if hasattr(source, _READS) else holding(context, value)


def weight_of(value: Any) -> int:
    """The bytes of memory that a long array, document or string takes by itself; 0 for all other values."""
    if value.__class__ not in GROWING or len(value) <= _LONG:
        return 0
    return len(value) * 40 if value.__class__ in CONTAINERS else len(value)


MEMORY = 146
"""The error of an expression that takes too much memory."""


_EXPRESSION = "An expression"
_NOTHING = nullcontext()
