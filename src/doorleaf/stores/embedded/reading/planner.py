"""Which index serves a filter and a sort, and the key intervals to read.

An index gives candidates: every matching document is among them. The compiled filter has the last word, except where
a plan is ``exact``: then the intervals alone decide. So an index makes a query faster and never different.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from doorleaf.documents import Document
from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.mql.numbers import INT64_MAX, INT64_MIN
from doorleaf.stores.embedded.catalog import Collection, Index
from doorleaf.stores.embedded.encoding import check_bson
from doorleaf.stores.embedded.keys import NAN, encode
from doorleaf.stores.embedded.reading.bounds import POINT
from doorleaf.stores.embedded.reading.candidates import Search, candidates
from doorleaf.stores.embedded.reading.conditions import PLAIN, conditions
from doorleaf.stores.embedded.reading.plans import Plan

STRAIGHT = 8
"""Conditions that a filter may have to be planned without weighing anything."""

MOST_OTHERS = 2
"""Further plans that are weighed against the one that looks best, beside one that is in the wanted order."""


def plan(
    collection: Collection,
    filter: Document,
    sort: Document | None = None,
    *,
    hint: str | Document | None = None,
    limited: bool = False,
    context: Context | None = None,
    variables: Mapping[str, Any] | None = None,
) -> Plan:
    """The plan for ``filter`` and ``sort`` that looks best, and the others that may turn out to be better.

    ``limited``: only the first of the matches are wanted. ``variables`` are the values of ``let``. Raises code 2 for a
    ``hint`` that names no index or cannot serve.
    """
    if 0 < len(filter) <= STRAIGHT and not sort and hint is None:
        straight = _straight(collection, filter)
        if straight is not None:
            return straight
    check_bson("the filter", filter)
    found = conditions(filter, context, variables)
    natural = _natural(hint, sort)
    scan = Plan(
        collection,
        reverse=natural == -1,
        sorted=not sort or "$natural" in sort,
        exact=found.complete and not found.predicates and not found.unions,
        cheap=found.cheap,
        predicates=tuple(found.predicates[:STRAIGHT]),
    )
    if natural is not None or not (found.predicates or found.unions or sort or hint is not None):
        return scan
    indexes = collection.indexes if hint is None else (hinted(collection, hint),)
    ways = candidates(Search(collection, found, sort, limited, hint is not None), indexes)
    if ways:
        return _best(ways)
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


def _best(ways: list[Plan]) -> Plan:
    """The plan that looks best, with the others that no better one makes superfluous."""
    ways.sort(key=lambda way: way.rank, reverse=True)
    best, *others = ways
    if best.most is not None and best.sorted:
        return best
    kept = [best]
    for way in others:
        if not any(known.uses >= way.uses and _as_ordered(known, way) for known in kept):
            kept.append(way)
    others, more = kept[1 : MOST_OTHERS + 1], kept[MOST_OTHERS + 1 :]
    if not any(way.sorted for way in kept[: MOST_OTHERS + 1]):
        others += [way for way in more if way.sorted][:1]
    best.others = tuple(others)
    return best


def _as_ordered(known: Plan, way: Plan) -> bool:
    """Whether ``known`` gives as much of the sort as ``way``."""
    return known.sorted or (not way.sorted and len(known.grouped or ()) >= len(way.grouped or ()))


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
