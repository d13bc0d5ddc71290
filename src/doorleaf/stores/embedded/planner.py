"""Which index serves a filter and a sort, and the key intervals to read.

An index gives candidates: every matching document is among them. The compiled filter has the last word, except where
a plan is ``exact``: then the intervals alone decide. So an index makes a query faster and never different.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from doorleaf.documents import Document
from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.mql.match import compile_filter
from doorleaf.mql.numbers import INT64_MAX, INT64_MIN
from doorleaf.mql.values import canonical
from doorleaf.stores.embedded.bounds import (
    MAX_INTERVALS,
    PLAIN,
    POINT,
    Bounds,
    Conditions,
    Interval,
    Predicate,
    conditions,
    field_bounds,
)
from doorleaf.stores.embedded.catalog import Collection, Index
from doorleaf.stores.embedded.encoding import check_bson
from doorleaf.stores.embedded.keys import NAN, encode, following, invert

STRAIGHT = 8
"""Conditions that a filter may have to be planned without weighing anything."""


@dataclass(slots=True)
class Plan:
    """How to read a collection's candidates.

    Without ``index`` it is a scan in natural order. ``intervals`` are in key order. ``sorted``: candidates come in
    the wanted order (when read backwards if ``reverse``). ``exact``: every candidate matches. ``distinct``: no
    document is met twice. ``most``: the number of candidates when a unique index bounds it. ``cheap``: see Conditions.
    ``alternative`` reads in the wanted order, and is better where this one has many candidates to sort. ``residual``
    is what of the filter the intervals leave to be tested, None for all of it.
    """

    collection: Collection
    index: Index | None = None
    intervals: list[Interval] = field(default_factory=list)
    reverse: bool = False
    sorted: bool = True
    exact: bool = False
    distinct: bool = True
    most: int | None = None
    cheap: bool = True
    alternative: Plan | None = None
    residual: Document | None = None

    @property
    def point(self) -> bool:
        """Whether the index is read at single keys only."""
        return self.index is not None and all(high == POINT for _, high in self.intervals)


# --- an index for the filter -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Candidate:
    """A plan with what it is ranked by."""

    plan: Plan
    rank: tuple[bool, int, int, bool, bool]


def plan(
    collection: Collection, filter: Document, sort: Document | None = None, *, hint: str | Document | None = None
) -> Plan:
    """The plan for ``filter`` and ``sort``; raises code 2 for a ``hint`` that names no index or cannot serve."""
    if 0 < len(filter) <= STRAIGHT and not sort and hint is None:
        straight = _straight(collection, filter)
        if straight is not None:
            return straight
    check_bson("the filter", filter)
    found = conditions(filter)
    natural = _natural(hint, sort)
    scan = Plan(
        collection,
        reverse=natural == -1,
        sorted=not sort or natural is not None,
        exact=found.complete and not found.predicates,
        cheap=found.cheap,
    )
    if natural is not None:
        return scan
    by_path: dict[str, list[Predicate]] = {}
    for predicate in found.predicates:
        by_path.setdefault(predicate.path, []).append(predicate)
    indexes = collection.indexes if hint is None else (hinted(collection, hint),)
    candidates = []
    if by_path or sort or hint is not None:
        for index in indexes:
            candidate = _candidate(collection, index, found, by_path, sort, forced=hint is not None)
            if candidate is not None:
                candidates.append(candidate)
    if candidates:
        return _best(candidates)
    if hint is not None:
        raise DataError(
            "error processing query: planner returned error: hint provided cannot serve the query", number=2
        )
    return scan


def _straight(collection: Collection, filter: Document) -> Plan | None:
    """The plan for equality on an indexed field, which is most of what is asked, without weighing anything.

    Further conditions may only be equalities, and no other index may begin with one of them.
    """
    for path, value in filter.items():
        index = collection.plain.get(path)
        if index is not None and value.__class__ in PLAIN:
            break
    else:
        return None
    key = point_key(value)
    if key is None:
        return None
    made = Plan(collection, index, [(key, POINT)], exact=True, most=1 if index.unique else None)
    if len(filter) == 1:
        return made
    rest = filter.copy()
    del rest[path]
    for name, condition in rest.items():
        if condition.__class__ is dict and len(condition) == 1:
            condition = condition.get("$eq")
        if name[:1] == "$" or condition.__class__ not in PLAIN:
            return None
    if not index.unique:
        for other in collection.indexes:
            if other is not index and other.fields[0][0] in filter:
                return None
    check_bson("the filter", rest)
    made.exact, made.residual = False, rest
    return made


def point_key(value: Any) -> bytes | None:
    """The key that exactly the values equal to ``value`` have, or None where a key alone cannot tell."""
    if value.__class__ not in PLAIN or (isinstance(value, int) and not INT64_MIN <= value <= INT64_MAX):
        return None
    key = encode(value)
    return None if key == NAN else key


def _best(candidates: list[Candidate]) -> Plan:
    best = max(candidates, key=lambda candidate: candidate.rank).plan
    if not best.sorted:
        in_order = [candidate for candidate in candidates if candidate.plan.sorted]
        if in_order:
            best.alternative = max(in_order, key=lambda candidate: candidate.rank).plan
    return best


def _natural(hint: str | Document | None, sort: Document | None) -> int | None:
    """1 or -1 when natural order is asked for."""
    for asked in (sort, hint):
        if isinstance(asked, dict) and "$natural" in asked:
            direction = asked["$natural"]
            if len(asked) > 1 or isinstance(direction, bool) or direction not in (1, -1):
                raise DataError("$natural sort cannot be set to a value other than -1 or 1.", number=2)
            return int(direction)
    return None


def hinted(collection: Collection, hint: str | Document) -> Index:
    """The index that ``hint`` names, by name or key pattern."""
    for index in collection.indexes:
        if index.hidden:
            continue
        key = index.specification["key"]
        if index.name == hint or (isinstance(hint, Mapping) and list(key.items()) == list(hint.items())):
            return index
    raise DataError(
        "error processing query: planner returned error: hint provided does not correspond to an existing index",
        number=2,
    )


def _candidate(
    collection: Collection,
    index: Index,
    found: Conditions,
    by_path: dict[str, list[Predicate]],
    sort: Document | None,
    *,
    forced: bool,
) -> Candidate | None:
    if not index.usable or (not forced and not sort and index.fields[0][0] not in by_path):
        return None
    used = _index_bounds(index, by_path)
    if not _holds_all(index, used, by_path):
        return None
    intervals, consumed = _intervals(index, used)
    direction = _sort_direction(index, used[: len(consumed)], sort) if sort else None
    if not consumed and direction is None and not forced:
        return None
    predicates = sum(len(bounds.predicates) for bounds in consumed)
    exact = found.complete and predicates == len(found.predicates) and all(bounds.exact for bounds in consumed)
    every_point = len(consumed) == len(index.fields) and all(bounds.points for bounds in consumed)
    plan = Plan(
        collection,
        index,
        intervals,
        reverse=direction == -1,
        sorted=not sort or direction is not None,
        exact=exact and not index.arrays,
        distinct=not index.arrays or (every_point and len(intervals) <= 1),
        most=len(intervals) if index.unique and every_point else None,
        cheap=found.cheap,
    )
    equal = sum(1 for bounds in consumed if bounds.points)
    ranges = len(consumed) - equal
    return Candidate(plan, (plan.most is not None, equal, ranges, plan.sorted, exact))


def _index_bounds(index: Index, by_path: dict[str, list[Predicate]]) -> list[Bounds]:
    """Bounds for the leading fields of ``index``, up to the first field without any."""
    used: list[Bounds] = []
    crossed: set[str] = set()
    for number, (path, _) in enumerate(index.fields[: index.usable]):
        predicates = by_path.get(path)
        if predicates is None:
            break
        arrays = bool(index.arrays >> number & 1)
        root = path.split(".", 1)[0]
        if arrays and root in crossed:
            # Two fields of one array: different elements may meet the two conditions.
            break
        bounds = field_bounds(predicates, arrays)
        if bounds is None:
            break
        if arrays:
            crossed.add(root)
        used.append(bounds)
        if not bounds.points:
            break
    return used


def _holds_all(index: Index, used: list[Bounds], by_path: dict[str, list[Predicate]]) -> bool:
    """Whether a sparse or partial index holds every document that the filter can match."""
    if index.sparse and not any(bounds.excludes_null for bounds in used):
        return False
    if index.partial is None:
        return True
    return _implied(index.partial, by_path)


def _implied(partial: Document, by_path: dict[str, list[Predicate]]) -> bool:
    """Whether the predicates prove ``partial``: each of its conditions is among them, or holds for an equality."""
    for path, condition in partial.items():
        if path == "$and":
            if not all(_implied(part, by_path) for part in condition):
                return False
            continue
        if path[:1] == "$":
            return False
        operators = (
            condition if isinstance(condition, dict) and any(k[:1] == "$" for k in condition) else {"$eq": condition}
        )
        predicates = by_path.get(path, [])
        for operator, value in operators.items():
            if not any(_proves(predicate, operator, value) for predicate in predicates):
                return False
    return True


def _proves(predicate: Predicate, operator: str, value: Any) -> bool:
    if predicate.operator == operator and canonical(predicate.value) == canonical(value):
        return True
    known = predicate.value
    if predicate.operator in ("$gt", "$gte", "$lt", "$lte") and known is not None:
        return operator == "$exists" and bool(value)
    if predicate.operator != "$eq" or known.__class__ not in PLAIN:
        return False
    return compile_filter({"value": {operator: value}}, Context())({"value": known})


def _intervals(index: Index, used: list[Bounds]) -> tuple[list[Interval], list[Bounds]]:
    """Key intervals in key order, and the bounds that went into them."""
    prefixes: list[bytes] = [b""]
    consumed: list[Bounds] = []
    for number, bounds in enumerate(used):
        descending = index.fields[number][1]
        if len(prefixes) * len(bounds.intervals) > MAX_INTERVALS and number:
            break
        consumed.append(bounds)
        if not bounds.points:
            parts = [_component(interval, descending) for interval in bounds.intervals]
            return sorted((prefix + low, prefix + high) for prefix in prefixes for low, high in parts), consumed
        keys = [invert(low) if descending else low for low, _ in bounds.intervals]
        prefixes = [prefix + key for prefix in prefixes for key in keys]
    if len(consumed) == len(index.fields):
        return [(prefix, POINT) for prefix in sorted(prefixes)], consumed
    if prefixes == [b""]:
        return [(b"", b"\xff")], consumed
    return [(prefix, following(prefix)) for prefix in sorted(prefixes)], consumed


def _component(interval: Interval, descending: bool) -> Interval:
    """One field's interval in the order of the index, points made ranges."""
    low, high = interval
    if high == POINT:
        high = following(low)
    if not descending:
        return low, high
    return following(invert(high)), following(invert(low))


def _sort_direction(index: Index, consumed: list[Bounds], sort: Document) -> int | None:
    """1 or -1 when reading ``index`` forwards or backwards gives the order of ``sort``."""
    if any(isinstance(order, (bool, dict)) or order not in (1, -1) for order in sort.values()):
        return None
    constant = {
        index.fields[number][0]
        for number, bounds in enumerate(consumed)
        if len(bounds.intervals) == 1 and bounds.points and not index.arrays >> number & 1
    }
    wanted = [(path, order) for path, order in sort.items() if path not in constant]
    offered = [
        (path, descending, bool(index.arrays >> number & 1))
        for number, (path, descending) in enumerate(index.fields[: index.usable])
        if path not in constant
    ]
    if len(wanted) > len(offered):
        return None
    direction = 0
    for (path, order), (field_path, descending, arrays) in zip(wanted, offered, strict=False):
        if path != field_path or arrays:
            return None
        step = -1 if (order < 0) != descending else 1
        if direction and step != direction:
            return None
        direction = step
    return direction or 1
