"""A filter taken apart into predicates on fields, and the intervals of keys that they allow.

Bounds are never narrower than the filter: a document that matches has a key inside them. Where they are ``exact``, only
documents that match have, as long as the field never holds an array.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp

from doorleaf.documents import Document
from doorleaf.mql.values import is_nan
from doorleaf.stores.embedded.keys import NAN, NULL, UNDEFINED, encode, following

MAX_INTERVALS = 2_000

_CHEAP = frozenset(("$eq", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$ne", "$exists", "$type", "$size"))
_BOUNDED = frozenset(("$eq", "$gt", "$gte", "$lt", "$lte", "$in"))
PLAIN = frozenset((int, Int64, float, str, ObjectId, bool, datetime, DatetimeMS, bytes, Binary, Decimal128))

Interval = tuple[bytes, bytes]
"""All keys ``k`` with ``low <= k < high``; a point is ``(key, b"")``: no key is empty."""

POINT = b""


@dataclass(slots=True)
class Predicate:
    """One condition of the filter that a document must meet: ``operator`` on ``path``."""

    path: str
    operator: str
    value: Any


@dataclass(slots=True)
class Conditions:
    """A filter seen by the planner. ``complete``: the predicates are the whole filter; ``cheap``: testing it on a
    document takes no regular expression and no aggregation expression."""

    predicates: list[Predicate] = field(default_factory=list)
    complete: bool = True
    cheap: bool = True


@dataclass(slots=True)
class Bounds:
    """What predicates on one field say about its component of the key, in ascending order."""

    intervals: list[Interval]
    exact: bool
    excludes_null: bool
    predicates: list[Predicate]

    @property
    def points(self) -> bool:
        return all(high == POINT for _, high in self.intervals)


# --- the filter as predicates ------------------------------------------------------------------------------------


def conditions(filter: Document) -> Conditions:
    """Take a filter apart as far as indexes can use it; what they cannot makes it incomplete."""
    found = Conditions()
    _collect(filter, found)
    return found


def _collect(filter: Document, found: Conditions) -> None:
    for name, condition in filter.items():
        if name[:1] != "$":
            _collect_field(name, condition, found)
        elif name == "$and" and condition.__class__ is list and all(isinstance(part, dict) for part in condition):
            for part in condition:
                _collect(part, found)
            found.complete = found.complete and bool(condition)
        elif (
            name in ("$or", "$nor")
            and condition.__class__ is list
            and all(isinstance(part, dict) for part in condition)
        ):
            found.complete = False
            inner = Conditions()
            for part in condition:
                _collect(part, inner)
            found.cheap = found.cheap and inner.cheap
        elif name != "$comment":
            found.complete = found.cheap = False


def _collect_field(path: str, condition: Any, found: Conditions) -> None:
    if condition.__class__ in PLAIN:
        found.predicates.append(Predicate(path, "$eq", condition))
    elif isinstance(condition, dict) and next(iter(condition), "")[:1] == "$":
        _collect_operators(path, condition, found)
    elif _is_regex(condition) or isinstance(condition, DBRef):
        found.complete = found.cheap = False
        _collect_prefix(path, condition, found)
    else:
        found.predicates.append(Predicate(path, "$eq", condition))


def _collect_operators(path: str, condition: Document, found: Conditions) -> None:
    for operator, value in condition.items():
        if operator in _BOUNDED and not _is_regex(value):
            found.predicates.append(Predicate(path, operator, value))
            continue
        found.complete = False
        found.cheap = found.cheap and operator in _CHEAP and not _is_regex(value)
        if operator == "$regex" and "$options" not in condition:
            _collect_prefix(path, Regex(value) if isinstance(value, str) else value, found)


def _is_regex(value: Any) -> bool:
    if value.__class__ is list:
        return any(isinstance(item, (Regex, re.Pattern)) for item in value)
    return isinstance(value, (Regex, re.Pattern))


def _collect_prefix(path: str, condition: Any, found: Conditions) -> None:
    """``/^abc/`` without options matches strings that begin with ``abc``, and an equal regular expression."""
    if not isinstance(condition, Regex) or condition.flags or not isinstance(condition.pattern, str):
        return
    literal = re.match(r"\^([A-Za-z0-9_\- @:,/]+)(?![*?+{|A-Za-z0-9_\- @:,/])", condition.pattern)
    if literal and "|" not in condition.pattern and "(" not in condition.pattern:
        found.predicates.append(Predicate(path, "prefix", literal[1]))


# --- predicates as bounds of a key component ----------------------------------------------------------------------


def _bounds(predicate: Predicate) -> Bounds | None:
    """The interval of keys that ``predicate`` allows, None when it allows all."""
    operator, value = predicate.operator, predicate.value
    if operator == "$eq":
        return _equality([value], predicate)
    if operator == "$in":
        return _equality(value, predicate) if value.__class__ is list else None
    if operator == "prefix":
        low = encode(value)[:-2]
        regexes = encode(Regex(""))[:1]
        return Bounds([(low, following(low)), (regexes, following(regexes))], False, True, [predicate])
    if value is None:
        return Bounds([(UNDEFINED, following(NULL))], False, False, [predicate]) if operator[-1] == "e" else None
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
    exact, excludes_null = True, True
    for value in values:
        if value.__class__ in PLAIN:
            found[encode(value), POINT] = None
            exact = exact and not is_nan(value)
            continue
        exact = False
        if value is None:
            excludes_null = False
            found[UNDEFINED, following(NULL)] = None
        elif isinstance(value, (list, tuple)):
            # An array is found under its first element when the field holds it, and whole when it is an element.
            found[encode(value), POINT] = None
            found[encode(value[0]) if value else UNDEFINED, POINT] = None
            excludes_null = excludes_null and bool(value) and value[0] is not None
        elif isinstance(value, (MinKey, MaxKey, dict, DBRef, Timestamp)):
            found[encode(value), POINT] = None
        else:
            return None
    return Bounds(sorted(found), exact, excludes_null, [predicate])


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
        left.excludes_null or right.excludes_null,
        left.predicates + right.predicates,
    )


def _rank(bounds: Bounds) -> tuple[bool, int, int]:
    """Fewer points are better than more, and points are better than a range; two-sided is better than one-sided."""
    sided = sum((low[1:] != b"") + (high[1:] != b"") for low, high in bounds.intervals[:1])
    return (not bounds.points, len(bounds.intervals), -sided)


def field_bounds(predicates: list[Predicate], holds_arrays: bool) -> Bounds | None:
    """What all ``predicates`` on one field allow together; with arrays, what the best one allows."""
    candidates = [bounds for predicate in predicates if (bounds := _bounds(predicate)) is not None]
    if not candidates:
        return None
    if holds_arrays:
        return min(candidates, key=_rank)
    combined = candidates[0]
    for bounds in candidates[1:]:
        if len(combined.intervals) * len(bounds.intervals) > MAX_INTERVALS:
            continue
        combined = _intersect(combined, bounds)
    return combined
