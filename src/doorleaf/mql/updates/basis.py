"""What the update operators are compiled with, and when two values are the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Any, NoReturn

import bson
from bson.int64 import Int64
from bson.objectid import ObjectId

from doorleaf.documents import CODEC
from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.mql.updates.paths import Leaf
from doorleaf.mql.values import as_document, date_millis, is_date, type_name


@dataclass(frozen=True, slots=True)
class Compiling:
    """The surroundings of the operators of one update."""

    context: Context
    collation: Mapping[str, Any] | None
    variables: Mapping[str, Any]

    def filter(self, condition: dict[str, Any]) -> Callable[[dict[str, Any]], bool]:
        """A predicate under the collation."""
        return compile_filter(condition, self.context, collation=self.collation, variables=self.variables)


Make = Callable[[Any, str, Compiling], Leaf]


def fail(number: int, message: str) -> NoReturn:
    raise DataError(message, number=number)


# --- sameness --------------------------------------------------------------------------------------------------------


_DOUBLE = Struct("<d").pack
_PLAIN = frozenset((str, int, Int64, bool, ObjectId))


def identical(left: Any, right: Any) -> bool:
    """Whether two values are the same BSON: type, number type and field order included."""
    if left is right:  # a NaN too, which is not equal to itself
        return True
    kind = left.__class__
    if kind is right.__class__ and kind in _PLAIN:
        return bool(left == right)
    if kind is float and right.__class__ is float:
        return _DOUBLE(left) == _DOUBLE(right)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(identical, left, right))
    first, second = as_document(left), as_document(right)
    if first is not None and second is not None:
        return list(first) == list(second) and all(map(identical, first.values(), second.values()))
    if isinstance(left, bool) or isinstance(right, bool) or type_name(left) != type_name(right):
        return False
    if isinstance(left, (int, str)) and left.__class__ is not bson.Code:
        return bool(left == right)
    if isinstance(left, float) and left == right and left != 0:
        return True
    if is_date(left):
        return date_millis(left) == date_millis(right)
    return bson.encode({"": left}, codec_options=CODEC) == bson.encode({"": right}, codec_options=CODEC)


def depth_of(value: Any) -> int:
    """How many levels of fields and elements ``value`` has; 0 for a scalar."""
    document = as_document(value)
    inner = document.values() if document is not None else value if isinstance(value, (list, tuple)) else None
    return 1 + max(map(depth_of, inner)) if inner else 0
