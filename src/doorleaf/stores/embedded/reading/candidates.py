"""The ways in which indexes can serve a filter and a sort: one plan for each index and each ``$or``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from doorleaf.documents import Document
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.mql.values import canonical
from doorleaf.stores.embedded.catalog import Collection, Index
from doorleaf.stores.embedded.keys import following, invert
from doorleaf.stores.embedded.reading.bounds import EVERYTHING, MAX_INTERVALS, POINT, Bounds, Interval, field_bounds
from doorleaf.stores.embedded.reading.conditions import PLAIN, Conditions, Predicate
from doorleaf.stores.embedded.reading.plans import Plan

MOST_MERGED = 64
"""Readings that may be merged into one order at a time."""

MOST_VARIANTS = 4
"""Predicates on a field with arrays of which each may bound an index by itself."""

MOST_UNION_STEPS = 5_000
"""Branches of an ``$or`` times indexes that may be weighed."""

ByPath = dict[str, list[Predicate]]


@dataclass(slots=True)
class Search:
    """The search that an index is chosen for. ``limited``: only the first so many are wanted; ``forced``: by this index
    or not at all."""

    collection: Collection
    found: Conditions
    sort: Document | None
    limited: bool
    forced: bool


def candidates(search: Search, indexes: Sequence[Index]) -> list[Plan]:
    """Every plan that reads ``indexes``, unordered."""
    found = search.found
    outer = by_path(found.predicates)
    made = []
    for index in indexes:
        if index.usable and (search.forced or search.sort or index.fields[0][0] in outer):
            for bounding in _variants(index, outer):
                made += _single(search, index, outer, bounding)
    for branches in found.unions:
        if len(branches) * len(indexes) * (1 + len(found.predicates) // 10) <= MOST_UNION_STEPS:
            made += _union(search, indexes, outer, branches)
    return made


def by_path(predicates: Sequence[Predicate]) -> ByPath:
    """The predicates of each path."""
    found: ByPath = {}
    for predicate in predicates:
        found.setdefault(predicate.path, []).append(predicate)
    return found


# --- one index -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Reach:
    """The part of an index that predicates leave."""

    intervals: list[Interval]
    consumed: list[Bounds]
    exact: bool

    @property
    def uses(self) -> frozenset[int]:
        return frozenset(id(predicate) for bounds in self.consumed for predicate in bounds.predicates)


def _variants(index: Index, predicates: ByPath) -> list[ByPath]:
    """The predicates that may bound ``index``: where its first field holds arrays, one at a time."""
    path = index.fields[0][0]
    given = predicates.get(path, [])
    if not index.arrays & 1 or not 1 < len(given) <= MOST_VARIANTS:
        return [predicates]
    return [{**predicates, path: [predicate]} for predicate in given]


def reach(index: Index, predicates: ByPath, count: int, bounding: ByPath | None = None) -> Reach | None:
    """The part of ``index`` that can hold matches of ``count`` predicates, None when it does not hold them all.

    The keys are bounded by the predicates of ``bounding``, if these are not all.
    """
    used = _index_bounds(index, bounding or predicates)
    if not _holds_all(index, used, predicates):
        return None
    intervals, consumed = _intervals(index, used)
    exact = sum(len(bounds.predicates) for bounds in consumed) == count and all(bounds.exact for bounds in consumed)
    return Reach(intervals, consumed, exact)


def _single(search: Search, index: Index, outer: ByPath, bounding: ByPath) -> list[Plan]:
    found = search.found
    reached = reach(index, outer, len(found.predicates), bounding)
    if reached is None:
        return []
    consumed = reached.consumed
    narrow = any(not bounds.everything for bounds in consumed) or (
        bool(consumed) and (index.sparse or index.partial is not None)
    )
    order = _order(index, consumed, search.sort) if search.sort else _Order(1, True, None)
    useful = order.complete or (order.grouped is not None and search.limited)
    if not narrow and not search.forced and not (search.sort and useful):
        return []
    every_point = len(consumed) == len(index.fields) and all(bounds.points for bounds in consumed)
    most = len(reached.intervals) if index.unique and every_point else None
    equal = sum(1 for bounds in consumed if bounds.points)
    exact = found.complete and not found.unions and reached.exact
    plan = Plan(
        search.collection,
        index,
        reached.intervals,
        reverse=order.direction == -1,
        sorted=order.complete,
        exact=exact,
        distinct=not index.arrays or (every_point and len(reached.intervals) <= 1),
        most=most,
        cheap=found.cheap,
        grouped=order.grouped if search.limited else None,
        keyed=order.keyed,
        rank=(most is not None, equal, len(consumed) - equal, order.complete, exact),
        uses=reached.uses if narrow else frozenset(),
    )
    return [plan, *_in_order(search, plan, index, consumed)]


def _in_order(search: Search, plan: Plan, index: Index, consumed: list[Bounds]) -> list[Plan]:
    """The same intervals, each read by itself, where each is in the wanted order and all together are not."""
    if not search.sort or plan.sorted or not 1 < len(plan.intervals) <= MOST_MERGED:
        return []
    order = _order(index, consumed, search.sort, apart=True)
    if not order.complete:
        return []
    parts = tuple(
        replace(plan, intervals=[interval], sorted=True, reverse=order.direction == -1, grouped=None)
        for interval in plan.intervals
    )
    rank = (*plan.rank[:3], True, plan.rank[4])
    return [replace(plan, index=None, intervals=[], branches=parts, merged=True, sorted=True, grouped=None, rank=rank)]


def _index_bounds(index: Index, predicates: ByPath) -> list[Bounds]:
    """Bounds for the leading fields of ``index``, up to the first field without any."""
    used: list[Bounds] = []
    crossed: dict[str, int] = {}
    for number, (path, _) in enumerate(index.fields[: index.usable]):
        given = predicates.get(path)
        if given is None:
            break
        arrays = bool(index.arrays >> number & 1)
        root = path.split(".", 1)[0]
        if arrays and root in crossed:
            # Two fields of one array: different elements may meet the two conditions, unless one has to meet both.
            group = crossed[root]
            given = [predicate for predicate in given if group and predicate.group == group]
        bounds = field_bounds(given, arrays)
        if bounds is None:
            break
        if arrays:
            crossed[root] = bounds.predicates[0].group
        used.append(bounds)
        if not bounds.points:
            break
    return used


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
        return [EVERYTHING], consumed
    return [(prefix, following(prefix)) for prefix in sorted(prefixes)], consumed


def _component(interval: Interval, descending: bool) -> Interval:
    """One field's interval in the order of the index, points made ranges."""
    low, high = interval
    if high == POINT:
        high = following(low)
    if not descending or interval == EVERYTHING:
        return low, high
    return following(invert(high)), following(invert(low)) if low else EVERYTHING[1]


# --- sparse and partial indexes --------------------------------------------------------------------------------------


def _holds_all(index: Index, used: list[Bounds], predicates: ByPath) -> bool:
    """Whether a sparse or partial index holds every document that the filter can match."""
    if index.sparse and not any(bounds.present for bounds in used):
        return False
    return index.partial is None or _implied(index.partial, predicates)


def _implied(partial: Document, predicates: ByPath) -> bool:
    """Whether the predicates prove ``partial``: each of its conditions is among them, or holds for an equality."""
    for path, condition in partial.items():
        if path == "$and":
            if not all(_implied(part, predicates) for part in condition):
                return False
            continue
        if path[:1] == "$":
            return False
        operators = (
            condition if isinstance(condition, dict) and any(k[:1] == "$" for k in condition) else {"$eq": condition}
        )
        given = predicates.get(path, [])[:MOST_PROOFS]
        for operator, value in operators.items():
            if not any(_proves(predicate, operator, value) for predicate in given):
                return False
    return True


MOST_PROOFS = 20
"""Predicates on one field that may prove what a partial index asks for."""


def _proves(predicate: Predicate, operator: str, value: Any) -> bool:
    known = predicate.value
    if predicate.operator == operator and canonical(known) == canonical(value):
        return True
    if predicate.operator == "present":
        return operator == "$exists" and bool(value)
    if predicate.operator in ("$gt", "$gte", "$lt", "$lte") and known is not None:
        return operator == "$exists" and bool(value)
    if predicate.operator != "$eq" or known.__class__ not in PLAIN:
        return False
    return compile_filter({"value": {operator: value}}, Context())({"value": known})


# --- the order of an index -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Order:
    """The direction to read in, whether that gives the whole sort, and else the leading part of it, if any.

    ``keyed``: whatever the index has beside that part is one value.
    """

    direction: int
    complete: bool
    grouped: Document | None
    keyed: bool = False


def _order(index: Index, consumed: Sequence[Bounds], sort: Document, *, apart: bool = False) -> _Order:
    """What reading ``index`` gives of ``sort``. ``apart``: within one interval, read by itself."""
    none = _Order(1, False, None)
    if any(isinstance(order, (bool, dict)) or order not in (1, -1) for order in sort.values()):
        return none
    fixed = 0
    constant: set[str] = set()
    for number, bounds in enumerate(consumed):
        if not bounds.points or not (len(bounds.intervals) == 1 or apart):
            break
        fixed += 1
        if len(bounds.intervals) == 1 and not index.arrays >> number & 1:
            constant.add(index.fields[number][0])
    wanted = [(path, order) for path, order in sort.items() if path not in constant]
    direction = given = 0
    for (path, order), number in zip(wanted, range(fixed, index.usable), strict=False):
        field_path, descending = index.fields[number]
        step = -1 if (order < 0) != descending else 1
        if path != field_path or index.arrays >> number & 1 or (direction and step != direction):
            break
        direction = step
        given += 1
    if given == len(wanted):
        return _Order(direction or 1, True, None)
    keyed = fixed + given == len(index.fields) and not index.arrays and not apart
    return _Order(direction, False, dict(wanted[:given]), keyed) if given else none


# --- the branches of an $or ------------------------------------------------------------------------------------------


def _union(search: Search, indexes: Sequence[Index], outer: ByPath, branches: list[Conditions]) -> list[Plan]:
    """Plans that read what any of ``branches`` allows: of one index for all, and of an index for each."""
    made = []
    for index in indexes:
        if index.usable:
            plan = _shared(search, index, outer, branches)
            if plan is not None:
                made.append(plan)
    if not search.forced:
        made += _split(search, indexes, branches)
    return made


def _shared(search: Search, index: Index, outer: ByPath, branches: list[Conditions]) -> Plan | None:
    """The intervals of all branches in one index, joined."""
    found = search.found
    exact = found.complete and len(found.unions) == 1
    intervals: list[Interval] = []
    uses: frozenset[int] = frozenset()
    least = len(index.fields)
    for branch in branches:
        predicates = {path: list(given) for path, given in outer.items()}
        for predicate in branch.predicates:
            predicates.setdefault(predicate.path, []).append(predicate)
        reached = reach(index, predicates, len(found.predicates) + len(branch.predicates))
        if reached is None or not reached.consumed or len(intervals) + len(reached.intervals) > MAX_INTERVALS:
            return None
        exact = exact and reached.exact and branch.complete and not branch.unions
        intervals += reached.intervals
        uses |= reached.uses
        least = min(least, sum(1 for bounds in reached.consumed if bounds.points))
    if uses <= {id(predicate) for predicate in found.predicates}:
        return None
    joined = _joined(intervals)
    order = _Order(1, True, None)
    if search.sort:
        shared = _index_bounds(index, outer)
        order = _order(index, shared, search.sort)
        if not all(low.startswith(constant_prefix(index, shared)) for low, _ in joined):
            order = _Order(1, False, None)
    return Plan(
        search.collection,
        index,
        joined,
        reverse=order.direction == -1,
        sorted=order.complete,
        exact=exact,
        distinct=not index.arrays,
        cheap=found.cheap,
        grouped=order.grouped if search.limited else None,
        rank=(False, least, 1, order.complete, exact),
        uses=uses,
    )


def constant_prefix(index: Index, consumed: list[Bounds]) -> bytes:
    """The beginning of a key that the leading fields with one value alone give it."""
    prefix = b""
    for bounds, (_, descending) in zip(consumed, index.fields, strict=False):
        if not bounds.points or len(bounds.intervals) != 1:
            break
        key = bounds.intervals[0][0]
        prefix += invert(key) if descending else key
    return prefix


def _joined(intervals: list[Interval]) -> list[Interval]:
    """The same keys in intervals that do not touch, in order."""
    made: list[Interval] = []
    for low, high in sorted((low, high if high != POINT else low + b"\x00") for low, high in intervals):
        if made and low <= made[-1][1]:
            made[-1] = (made[-1][0], max(high, made[-1][1]))
        else:
            made.append((low, high))
    return [(low, POINT if high == low + b"\x00" else high) for low, high in made]


def _split(search: Search, indexes: Sequence[Index], branches: list[Conditions]) -> list[Plan]:
    """The best index for each branch, read one after another, or merged where each has the wanted order."""
    ordered: list[Plan] | None = []
    any_order: list[Plan] = []
    for branch in branches:
        part = Search(search.collection, _joint(search.found, branch), search.sort, search.limited, forced=False)
        own = {id(predicate) for predicate in branch.predicates}
        found = [plan for plan in candidates(part, indexes) if plan.uses & own and not plan.branches]
        if not found:
            return []
        any_order.append(max(found, key=lambda plan: plan.rank))
        in_order = [plan for plan in found if plan.sorted]
        if ordered is not None and in_order and len(ordered) < MOST_MERGED:
            ordered.append(max(in_order, key=lambda plan: plan.rank))
        else:
            ordered = None
    made = [_together(search, any_order, merged=False)]
    if search.sort and ordered is not None:
        made.append(_together(search, ordered, merged=True))
    return made


def _joint(outer: Conditions, branch: Conditions) -> Conditions:
    """A branch with what holds beside it."""
    complete = outer.complete and len(outer.unions) == 1 and branch.complete and not branch.unions
    return Conditions([*outer.predicates, *branch.predicates], [], complete, outer.cheap)


def _together(search: Search, parts: list[Plan], *, merged: bool) -> Plan:
    exact = all(plan.exact for plan in parts)
    least = min(plan.rank[1] for plan in parts)
    return Plan(
        search.collection,
        sorted=merged or not search.sort,
        exact=exact,
        distinct=False,
        cheap=search.found.cheap,
        branches=tuple(parts),
        merged=merged,
        rank=(False, least, 0, merged or not search.sort, exact),
        uses=frozenset().union(*(plan.uses for plan in parts)),
    )
