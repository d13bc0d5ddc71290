"""Which plans are made, and which of them are carried out."""

from __future__ import annotations

from typing import Any

import pytest
from bson import Regex

from doorleaf.documents import Document
from doorleaf.errors import DataError
from doorleaf.stores.embedded.catalog import Collection, Index
from doorleaf.stores.embedded.reading.conditions import conditions
from doorleaf.stores.embedded.reading.planner import plan
from doorleaf.stores.embedded.reading.plans import Plan


def collection(*indexes: tuple[Document, Document], arrays: dict[str, int] | None = None) -> Collection:
    made = [Index(1, {"v": 2, "key": {"_id": 1}, "name": "_id_"}, 0)]
    for number, (keys, options) in enumerate(indexes, 2):
        name = "_".join(keys)
        made.append(Index(number, {"v": 2, "key": keys, "name": name, **options}, (arrays or {}).get(name, 0)))
    return Collection(1, "db", "c", {}, tuple(made))


Spec = tuple[Document, Document]
A: Spec = ({"a": 1}, {})
AB: Spec = ({"a": 1, "b": -1}, {})
B: Spec = ({"b": 1}, {})


@pytest.mark.parametrize(
    ("indexes", "filter", "sort", "expected"),
    [
        ([A], {"a": 1}, None, ("a", True, True)),
        ([A], {"a": {"$gt": 1, "$lte": 5}}, None, ("a", True, True)),
        ([A], {"a": {"$in": [1, 2]}}, None, ("a", True, True)),
        ([A], {"a": None}, None, ("a", False, True)),
        ([A], {"a": {"$ne": 1}}, None, (None, False, True)),
        ([A], {"a": 1, "z": 2}, None, ("a", False, True)),
        ([A], {}, {"a": -1}, ("a", True, True)),
        ([A], {}, {"z": 1}, (None, True, False)),
        ([AB], {"b": 1}, None, (None, False, True)),
        ([AB], {"a": 1, "b": 2}, None, ("a_b", True, True)),
        ([AB], {"a": 1}, {"b": 1}, ("a_b", True, True)),
        ([AB], {"a": 1}, {"b": -1}, ("a_b", True, True)),
        ([AB], {}, {"a": 1, "b": -1}, ("a_b", True, True)),
        ([AB], {}, {"a": -1, "b": 1}, ("a_b", True, True)),
        ([AB], {}, {"a": 1, "b": 1}, (None, True, False)),
        ([AB], {"a": {"$gt": 1}}, {"b": 1}, ("a_b", True, False)),
        ([A, B], {"a": 1, "b": {"$gt": 2}}, None, ("a", False, True)),
        ([A], {"_id": 5, "a": 1}, None, ("_id_", False, True)),
        ([A], {"$or": [{"a": 1}, {"b": 1}]}, None, (None, False, True)),
        ([A], {"$and": [{"a": {"$gt": 1}}, {"a": {"$lt": 4}}]}, None, ("a", True, True)),
        ([({"a": 1}, {"sparse": True})], {"a": 1}, None, ("a", True, True)),
        ([({"a": 1}, {"sparse": True})], {"a": None}, None, (None, False, True)),
        ([({"a": 1}, {"sparse": True})], {}, {"a": 1}, (None, True, False)),
        ([({"a": 1}, {"hidden": True})], {"a": 1}, None, (None, False, True)),
        ([({"a": 1}, {"partialFilterExpression": {"b": {"$gt": 5}}})], {"a": 1}, None, (None, False, True)),
        ([({"a": 1}, {"partialFilterExpression": {"b": {"$gt": 5}}})], {"a": 1, "b": 7}, None, ("a", False, True)),
        ([({"a": 1}, {"partialFilterExpression": {"b": {"$gt": 5}}})], {"a": 1, "b": 3}, None, (None, False, True)),
        (
            [({"a": 1}, {"partialFilterExpression": {"b": {"$gt": 5}}})],
            {"a": 1, "b": {"$gt": 5}},
            None,
            ("a", False, True),
        ),
        ([({"a.0": 1}, {})], {"a.0": 1}, None, (None, False, True)),
        ([A], {"a": Regex("^abc")}, None, ("a", False, True)),
        ([A], {"a": Regex("abc")}, None, (None, False, True)),
        ([A], {"a": Regex("^abc", "i")}, None, (None, False, True)),
    ],
)
def test_plans(
    indexes: list[tuple[Document, Document]],
    filter: Document,
    sort: Document | None,
    expected: tuple[str | None, bool, bool],
) -> None:
    made = plan(collection(*indexes), filter, sort)
    assert (made.index.name if made.index else None, made.exact, made.sorted) == expected


def test_one_bound_alone_on_an_array_field() -> None:
    made = plan(collection(A, arrays={"a": 1}), {"a": {"$gt": 1, "$lt": 5}})
    assert len(made.intervals) == 1
    assert not made.exact
    scalar = plan(collection(A), {"a": {"$gt": 1, "$lt": 5}})
    low, high = made.intervals[0]
    narrow_low, narrow_high = scalar.intervals[0]
    assert (low == narrow_low) != (high == narrow_high)
    assert not made.distinct


def test_two_fields_of_one_array_are_not_bound_together() -> None:
    pair: Spec = ({"a.x": 1, "a.y": 1}, {})
    bound = plan(collection(pair, arrays={"a.x_a.y": 3}), {"a.x": 1, "a.y": 2})
    free = plan(collection(pair), {"a.x": 1, "a.y": 2})
    assert bound.intervals[0][1], "an interval over a.x alone"
    assert not free.intervals[0][1], "a single key"


def test_an_array_field_gives_no_order() -> None:
    assert plan(collection(A, arrays={"a": 1}), {}, {"a": 1}).index is None
    assert plan(collection(AB, arrays={"a_b": 2}), {"a": 1}, {"a": 1}).sorted


@pytest.mark.parametrize("hint", ["a", {"a": 1}])
def test_a_hint_is_honoured(hint: Any) -> None:
    made: Plan = plan(collection(A, B), {"b": 1}, hint=hint)
    assert made.index is not None
    assert made.index.name == "a"


def test_a_hint_of_no_index_is_refused() -> None:
    with pytest.raises(DataError, match="hint provided does not correspond to an existing index") as caught:
        plan(collection(A), {"a": 1}, hint="nope")
    assert caught.value.number == 2


def test_natural_order_by_hint_and_by_sort() -> None:
    hinted = plan(collection(A), {"a": 1}, {"b": 1}, hint={"$natural": 1})
    assert (hinted.index, hinted.sorted) == (None, False)
    backwards = plan(collection(A), {}, {"$natural": -1})
    assert (backwards.index, backwards.reverse, backwards.sorted) == (None, True, True)
    with pytest.raises(DataError):
        plan(collection(A), {}, {"$natural": 2})


def test_an_index_in_order_is_the_alternative_of_one_that_narrows() -> None:
    made = plan(collection(A, B), {"a": 1}, {"b": 1})
    assert made.index is not None
    assert made.index.name == "a"
    assert [way.index.name for way in made.others if way.index is not None] == ["b"]
    assert made.others[0].sorted


def test_what_is_slow_to_test_stays_off_the_event_loop() -> None:
    assert conditions({"a": 1, "b": {"$exists": True}}).cheap
    assert not conditions({"a": 1, "b": Regex("x")}).cheap
    assert not conditions({"a": 1, "$expr": {"$eq": ["$a", 1]}}).cheap
    assert not conditions({"$or": [{"a": 1}, {"b": {"$regex": "x"}}]}).cheap


PAIR: Spec = ({"a.x": 1, "a.y": 1}, {})


def test_one_element_that_meets_two_conditions_bounds_both_fields() -> None:
    """And only that: fields of different elements, or of different arrays below one element, do not."""
    arrays = {"a.x_a.y": 3}
    together = plan(collection(PAIR, arrays=arrays), {"a": {"$elemMatch": {"x": 1, "y": 2}}})
    assert together.point
    apart = plan(collection(PAIR, arrays=arrays), {"a": {"$elemMatch": {"x": 1}}, "a.y": 2})
    assert apart.index is not None
    assert not apart.point
    deep: Spec = ({"a.b.x": 1, "a.b.y": 1}, {})
    below = plan(collection(deep, arrays={"a.b.x_a.b.y": 3}), {"a": {"$elemMatch": {"b.x": 1, "b.y": 2}}})
    assert below.index is not None
    assert not below.point


def test_an_element_lies_within_all_bounds_of_its_own() -> None:
    made = plan(collection(A, arrays={"a": 1}), {"a": {"$elemMatch": {"$gt": 1, "$lt": 5}}})
    free = plan(collection(A), {"a": {"$gt": 1, "$lt": 5}})
    assert made.intervals == free.intervals
    assert not made.exact


@pytest.mark.parametrize(
    ("expression", "scalars", "arrays"),
    [
        ({"$eq": ["$a", 5]}, True, True),
        ({"$eq": [5, "$a"]}, True, True),
        ({"$in": ["$a", [5, 6]]}, True, True),
        ({"$eq": ["$a", None]}, True, True),
        ({"$gt": ["$a", 5]}, True, False),
        ({"$lte": ["$a", 5]}, True, False),
        ({"$lt": [5, "$a"]}, True, False),
        ({"$and": [{"$gte": ["$a", 5]}, {"$lt": ["$b", 7]}]}, True, False),
        ({"$or": [{"$eq": ["$a", 5]}, {"$eq": ["$a", 6]}]}, True, True),
        ({"$eq": ["$a", {"$add": [2, 3]}]}, True, True),
        ({"$eq": ["$a", "$$known"]}, True, True),
        ({"$eq": ["$a", "$b"]}, False, False),
        ({"$eq": ["$a", [5]]}, False, False),
        ({"$eq": ["$a", "$$list"]}, False, False),
        ({"$eq": ["$a", "$$unknown"]}, False, False),
        ({"$ne": ["$a", 5]}, False, False),
        ({"$not": [{"$eq": ["$a", 5]}]}, False, False),
    ],
)
def test_expressions_that_bound_an_index(expression: Document, scalars: bool, arrays: bool) -> None:
    """A range does not where the field has arrays, which expressions compare as a whole."""
    variables = {"known": 5, "list": [5]}
    for mask, expected in ((0, scalars), (1, arrays)):
        made = plan(collection(A, arrays={"a": mask}), {"$expr": expression}, variables=variables)
        assert (made.index is not None) is expected
        assert not made.exact


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({"$nor": [{"$nor": [{"a": 1}]}]}, {"a": 1}),
        ({"$nor": [{"$nor": [{"a": 1}, {"a": 2}]}]}, {"a": {"$in": [1, 2]}}),
        ({"$and": [{"$and": [{"a": {"$gt": 1}}]}, {"a": {"$lt": 5}}]}, {"a": {"$gt": 1, "$lt": 5}}),
        ({"$nor": [{"a": {"$ne": 1}}]}, {"a": 1}),
        ({"a": {"$not": {"$ne": 1}}}, {"a": 1}),
        ({"a": {"$not": {"$not": {"$gt": 1}}}}, {"a": {"$gt": 1}}),
        ({"a": {"$not": {"$nin": [1, 2]}}}, {"a": {"$in": [1, 2]}}),
        ({"$or": [{"a": {"$gt": 5}}]}, {"a": {"$gt": 5}}),
        ({"$or": [{"a": 1}, {"a": {"$in": [2]}}, {"$or": [{"a": 3}]}]}, {"a": {"$in": [1, 2, 3]}}),
        ({"a": {"$all": [1]}}, {"a": 1}),
    ],
)
def test_what_is_seen_through(filter: Document, expected: Document) -> None:
    place = collection(A)
    made, plainly = plan(place, filter), plan(place, expected)
    assert made.index is plainly.index is not None
    assert made.intervals == plainly.intervals
    assert made.exact


@pytest.mark.parametrize(
    "filter",
    [
        {"$nor": [{"a": 1}]},
        {"$nor": [{"a": {"$gt": 1}}]},
        {"a": {"$not": {"$gt": 1}}},
        {"$nor": [{"$nor": [{"a": 1}, {"b": 1}]}]},
        {"$or": [{"a": 1}, {"b": 1}]},
        {"$or": [{"a": 1}, {"$expr": {"$gt": ["$b", 1]}}]},
        {"a": {"$ne": 1}},
        {"a": {"$exists": True}},
    ],
)
def test_what_bounds_nothing(filter: Document) -> None:
    assert plan(collection(A), filter).scan


def test_arrays_are_nowhere_in_an_index_that_has_none() -> None:
    among: Document = {"a": {"$type": ["array", "bool"]}}
    assert plan(collection(A), among).intervals == plan(collection(A), {"a": {"$type": "bool"}}).intervals
    assert plan(collection(A), {"a": {"$type": "array"}}).intervals == []
    for filter in (among, {"a": {"$elemMatch": {"$type": "array"}}}):
        assert plan(collection(A, arrays={"a": 1}), filter).scan


def test_the_branches_of_an_or() -> None:
    joined = plan(collection(AB), {"$or": [{"a": {"$gt": 5}}, {"a": 5, "b": {"$lt": 3}}]}, {"a": 1, "b": -1})
    assert (joined.index is not None, joined.sorted, joined.exact) == (True, True, True)
    apart = plan(collection(A, B), {"$or": [{"a": 1}, {"b": 2}]})
    assert [branch.index.name for branch in apart.branches if branch.index is not None] == ["a", "b"]
    assert apart.exact
    first: Spec = ({"a": 1, "z": 1}, {})
    second: Spec = ({"b": 1, "z": 1}, {})
    merged = plan(collection(first, second), {"$or": [{"a": 1}, {"b": 2}]}, {"z": 1})
    assert (merged.merged, merged.sorted) == (True, True)
