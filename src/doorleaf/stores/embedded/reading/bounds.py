"""The intervals of keys that predicates on a field allow.

Bounds are never narrower than the predicates: a document that matches has a key inside them. Where they are ``exact``,
only documents that match have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bson.dbref import DBRef
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.regex import Regex
from bson.timestamp import Timestamp

from doorleaf.documents import is_string
from doorleaf.mql.values import MISSING, TYPE_CODES, is_nan
from doorleaf.stores.embedded.keys import (
    BINARY,
    BOOL,
    CODE,
    CODE_WITH_SCOPE,
    DATE,
    MAX_KEY,
    MIN_KEY,
    NAN,
    NULL,
    NUMBER,
    OBJECT,
    OBJECT_ID,
    REGEX,
    STRING,
    TIMESTAMP,
    UNDEFINED,
    encode,
    following,
)
from doorleaf.stores.embedded.reading.conditions import PLAIN, Predicate

MAX_INTERVALS = 2_000

MOST_PREDICATES = 100
"""Predicates on one field that are made bounds; more are only tested."""

Interval = tuple[bytes, bytes]
"""All keys ``k`` with ``low <= k < high``; a point is ``(key, b"")``: no key is empty."""

POINT = b""

EVERYTHING: Interval = (b"", b"\xff")
"""Every component that a key can have, in either direction."""

_NULLS: Interval = (UNDEFINED, following(NULL))


@dataclass(slots=True)
class Bounds:
    """The intervals of a component of the key that predicates on its field leave, in ascending order.

    ``exact`` is about one field that ``predicates`` are all about. ``present``: a document that matches has the field,
    so that a sparse index holds it.
    """

    intervals: list[Interval]
    exact: bool
    present: bool
    predicates: list[Predicate]

    @property
    def points(self) -> bool:
        """Whether single keys alone are allowed."""
        return all(high == POINT for _, high in self.intervals)

    @property
    def everything(self) -> bool:
        """Whether nothing is excluded, as where a field must only be present."""
        return self.intervals == [EVERYTHING]


def _bounds(predicate: Predicate, arrays: bool) -> Bounds | None:
    """What ``predicate`` allows, None when that is everything; ``arrays``: the field may hold arrays."""
    operator, value = predicate.operator, predicate.value
    if operator == "$eq":
        return _equality([value], predicate)
    if operator == "$in":
        return _equality(value, predicate) if value.__class__ is list else None
    if operator == "$type":
        return _of_types(predicate, arrays)
    if operator[:4] == "expr":
        return _expression_bounds(predicate, arrays)
    named = _NAMED.get(operator)
    return named(predicate, arrays) if named is not None else _range(predicate)


def _range(predicate: Predicate) -> Bounds | None:
    """``$gt``, ``$gte``, ``$lt``, ``$lte``: within the type of the value."""
    operator, value = predicate.operator, predicate.value
    if value is None:
        return Bounds([_NULLS], False, False, [predicate]) if operator[-1] == "e" else None
    if value.__class__ not in PLAIN and not isinstance(value, Timestamp):
        return None
    key = encode(value)
    if key == NAN:
        return Bounds([(NAN, POINT)], False, True, [predicate]) if operator[-1] == "e" else None
    low, high = key[:1], following(key[:1])
    if operator[:3] == "$gt":
        low = key if operator == "$gte" else following(key)
    else:
        high = following(key) if operator == "$lte" else key
    return Bounds([(low, high)] if low < high else [], True, True, [predicate])


def _equality(values: Sequence[Any], predicate: Predicate) -> Bounds | None:
    found: dict[Interval, None] = {}
    exact, present = True, True
    for value in values:
        if value.__class__ in PLAIN:
            found[encode(value), POINT] = None
            exact = exact and not is_nan(value)
            continue
        exact = False
        if value is None:
            present = False
            found[_NULLS] = None
        elif isinstance(value, (list, tuple)):
            # An array is found under its first element when the field holds it, and whole when it is an element.
            found[encode(value), POINT] = None
            found[encode(value[0]) if value else UNDEFINED, POINT] = None
            present = present and bool(value) and value[0] is not None
        elif isinstance(value, (MinKey, MaxKey, dict, DBRef, Timestamp)):
            found[encode(value), POINT] = None
        else:
            return None
    return Bounds(sorted(found), exact, present, [predicate])


# --- the less usual --------------------------------------------------------------------------------------------------


def _starting(predicate: Predicate, arrays: bool) -> Bounds:
    low = encode(predicate.value)[:-2]
    return Bounds([(low, following(low)), (REGEX, following(REGEX))], False, True, [predicate])


def _not_null(predicate: Predicate, arrays: bool) -> Bounds | None:
    if arrays and "." in predicate.path:
        return None  # an array without documents in it has null's key there, and no value that is null
    return Bounds([(b"", NULL), (following(NULL), EVERYTHING[1])], not arrays, True, [predicate])


def _element(predicate: Predicate, arrays: bool) -> Bounds | None:
    """One element meets all of the predicates, so its key lies within the bounds of each."""
    inside = [
        inner for inner in predicate.value if inner.operator != "$type" or "array" not in _type_names(inner.value)
    ]
    found = [bounds for inner in inside if (bounds := _bounds(inner, False)) is not None]
    if not found:
        return None
    combined = _all_of(found)
    return Bounds(combined.intervals, False, True, [predicate])


_NAMED: dict[str, Callable[[Predicate, bool], Bounds | None]] = {
    "prefix": _starting,
    "$ne": _not_null,
    "present": lambda predicate, arrays: Bounds([EVERYTHING], False, True, [predicate]),
    "absent": lambda predicate, arrays: Bounds([_NULLS], False, False, [predicate]),
    "elements": _element,
}

_BRACKETS: dict[str, tuple[bytes, ...]] = {
    "minKey": (MIN_KEY,),
    "null": (NULL,),
    **dict.fromkeys(("double", "int", "long", "decimal"), (NAN, NUMBER)),
    "string": (STRING,),
    "object": (OBJECT,),
    "binData": (BINARY,),
    "objectId": (OBJECT_ID,),
    "bool": (BOOL,),
    "date": (DATE,),
    "timestamp": (TIMESTAMP,),
    "regex": (REGEX,),
    "javascript": (CODE,),
    "javascriptWithScope": (CODE_WITH_SCOPE,),
    "maxKey": (MAX_KEY,),
}


_BY_CODE: dict[float, str] = {code: name for name, code in TYPE_CODES.items()}


def _of_types(predicate: Predicate, arrays: bool) -> Bounds | None:
    """The brackets of types; arrays are indexed by their elements, whatever types those have."""
    brackets: set[bytes] = set()
    for name in _type_names(predicate.value):
        if name == "array" and not arrays:
            continue  # there is none
        if name not in _BRACKETS:
            return None
        brackets.update(_BRACKETS[name])
    return Bounds([(low, following(low)) for low in sorted(brackets)], False, True, [predicate])


def _type_names(value: Any) -> list[str]:
    """Every name that ``$type`` means, and one that is none where it is not understood."""
    names: list[str] = []
    for item in value if isinstance(value, list) else (value,):
        if is_string(item) and item == "number":
            names += ("double", "int", "long", "decimal")
        elif is_string(item):
            names.append(item)
        else:
            names.append(_BY_CODE.get(item, "") if item.__class__ in (int, float) else "")
    return names or [""]


def _expression_bounds(predicate: Predicate, arrays: bool) -> Bounds | None:
    """Comparison as expressions have it: over all types, a missing field below null, an array as a whole."""
    operator, value = predicate.operator[5:], predicate.value
    if operator in ("eq", "in"):
        return _expression_equality(value if operator == "in" else [value], predicate)
    if arrays or isinstance(value, Regex):
        return None
    low, high = EVERYTHING
    missing = value is None or value is MISSING
    key = NULL if missing else encode(value)
    if operator[:2] == "gt":
        low = following(key) if operator == "gt" and value is not MISSING else key
        return Bounds([(low, high)], False, value is not MISSING, [predicate])
    high = following(key) if operator == "lte" or missing else key
    return Bounds([(low, high)], False, False, [predicate])


def _expression_equality(values: Sequence[Any], predicate: Predicate) -> Bounds | None:
    found: dict[Interval, None] = {}
    present = True
    for value in values:
        if value is None or value is MISSING:
            found[_NULLS] = None
            present = present and value is None
        elif value.__class__ in PLAIN or isinstance(value, (Timestamp, MinKey, MaxKey)):
            found[encode(value), POINT] = None
        else:
            return None
    return Bounds(sorted(found), False, present, [predicate])


# --- several predicates ----------------------------------------------------------------------------------------------


def _intersect(left: Bounds, right: Bounds) -> Bounds:
    """Both at once; only for a field that never holds an array."""
    intervals = []
    for low, high in left.intervals:
        for other_low, other_high in right.intervals:
            if high == POINT or other_high == POINT:
                point, (start, end) = (low, (other_low, other_high)) if high == POINT else (other_low, (low, high))
                if point == start or (end != POINT and start <= point < end):
                    intervals.append((point, POINT))
            elif max(low, other_low) < min(high, other_high):
                intervals.append((max(low, other_low), min(high, other_high)))
    return Bounds(
        sorted(set(intervals)),
        left.exact and right.exact,
        left.present or right.present,
        left.predicates + right.predicates,
    )


def _rank(bounds: Bounds) -> tuple[bool, int, int]:
    """Fewer points are better than more, and points are better than a range; two-sided is better than one-sided."""
    sided = sum((low[1:] != b"") + (high[1:] != b"") for low, high in bounds.intervals[:1])
    return (not bounds.points, len(bounds.intervals), -sided)


def _all_of(candidates: Sequence[Bounds]) -> Bounds:
    combined = candidates[0]
    for bounds in candidates[1:]:
        if len(combined.intervals) * len(bounds.intervals) > MAX_INTERVALS:
            continue
        combined = _intersect(combined, bounds)
    return combined


def field_bounds(predicates: Sequence[Predicate], arrays: bool) -> Bounds | None:
    """The bounds that all ``predicates`` on one field leave together; with arrays, those of the best one."""
    candidates = [
        bounds for predicate in predicates[:MOST_PREDICATES] if (bounds := _bounds(predicate, arrays)) is not None
    ]
    if not candidates:
        return None
    return min(candidates, key=_rank) if arrays else _all_of(candidates)
