"""Aggregation stages: what a pipeline makes of documents; laziness, time and memory."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest
from bson.decimal128 import Decimal128
from hypothesis import given
from hypothesis import strategies as st
from pipeline_checks import NOW, ONE, OTHER, SALES, SCALARS, Collections, Documents, L, Rows, check, ids, run, same

from doorleaf.errors import DataError, StoreTimeout
from doorleaf.mql.context import Context
from doorleaf.mql.stages.compile import STAGES, compile_pipeline

NESTED: Documents = [{"_id": 1, "a": {"b": 1, "c": 2}, "d": [{"b": 1}, {"b": 2}, 5]}]

SIMPLE: Rows = [
    (SALES, [], ids(1, 2, 3, 4, 5)),
    (SALES, [{"$match": {"item": "abc"}}], ids(1, 4)),
    (SALES, [{"$match": {}}], ids(1, 2, 3, 4, 5)),
    (SALES, [{"$match": {"$expr": {"$gt": ["$price", "$$n"]}}}, {"$match": {"tags": "y"}}], ids(1, 2)),
    (SALES, [{"$limit": 2}], ids(1, 2)),
    (SALES, [{"$limit": 2.0}], ids(1, 2)),
    (SALES, [{"$limit": L(99)}], ids(1, 2, 3, 4, 5)),
    (SALES, [{"$skip": 3}], ids(4, 5)),
    (SALES, [{"$skip": 0}], ids(1, 2, 3, 4, 5)),
    (SALES, [{"$skip": 1}, {"$limit": 2}, {"$skip": 1}], ids(3)),
    (SALES, [{"$count": "n"}], [{"n": 5}]),
    (SALES, [{"$match": {"_id": 99}}, {"$count": "n"}], []),
    # $project
    (ONE, [{"$project": {"a": 1}}], [{"_id": 1, "a": 1}]),
    (ONE, [{"$project": {"_id": 0}}], [{"a": 1}]),
    (ONE, [{"$project": {"_id": 0, "b": {"$add": ["$a", 1]}}}], [{"b": 2}]),
    (NESTED, [{"$project": {"d.b": 1}}], [{"_id": 1, "d": [{"b": 1}, {"b": 2}]}]),
    (ONE, [{"$project": {"a": "$$n"}}], [{"_id": 1, "a": 3}]),
    # $addFields, $set
    (ONE, [{"$set": {"b": 2}}], [{"_id": 1, "a": 1, "b": 2}]),
    (ONE, [{"$addFields": {"a": 2}}], [{"_id": 1, "a": 2}]),
    (ONE, [{"$set": {"b": "$a", "a": "$b"}}], [{"_id": 1, "b": 1}]),
    (ONE, [{"$set": {"b": "$missing"}}], [{"_id": 1, "a": 1}]),
    (ONE, [{"$set": {"a": "$$REMOVE"}}], [{"_id": 1}]),
    (ONE, [{"$set": {"a.b": 5}}], [{"_id": 1, "a": {"b": 5}}]),
    (ONE, [{"$set": {"x.y.z": "$a"}}], [{"_id": 1, "a": 1, "x": {"y": {"z": 1}}}]),
    (NESTED, [{"$set": {"a.b": 9}}, {"$unset": "d"}], [{"_id": 1, "a": {"b": 9, "c": 2}}]),
    (NESTED, [{"$set": {"a": {"x": "$a.b"}}}, {"$unset": "d"}], [{"_id": 1, "a": {"b": 1, "c": 2, "x": 1}}]),
    (NESTED, [{"$set": {"d.b": 0}}, {"$unset": "a"}], [{"_id": 1, "d": [{"b": 0}, {"b": 0}, {"b": 0}]}]),
    (
        NESTED,
        [{"$set": {"d.x.y": 0}}, {"$unset": "a"}],
        [{"_id": 1, "d": [{"b": 1, "x": {"y": 0}}, {"b": 2, "x": {"y": 0}}, {"x": {"y": 0}}]}],
    ),
    (ONE, [{"$set": {"_id": 7}}], [{"_id": 7, "a": 1}]),
    (ONE, [{"$set": {"b": {"$literal": {}}}}], [{"_id": 1, "a": 1, "b": {}}]),
    (ONE, [{"$set": {"b": []}}], [{"_id": 1, "a": 1, "b": []}]),
    # $unset
    (NESTED, [{"$unset": "a"}], [{"_id": 1, "d": [{"b": 1}, {"b": 2}, 5]}]),
    (NESTED, [{"$unset": ["a.b", "d"]}], [{"_id": 1, "a": {"c": 2}}]),
    (NESTED, [{"$unset": ["d.b", "a"]}], [{"_id": 1, "d": [{}, {}, 5]}]),
    (ONE, [{"$unset": "nope"}], ONE),
    # $replaceRoot, $replaceWith
    (NESTED, [{"$replaceRoot": {"newRoot": "$a"}}], [{"b": 1, "c": 2}]),
    (NESTED, [{"$replaceWith": "$a"}], [{"b": 1, "c": 2}]),
    (ONE, [{"$replaceWith": {"x": "$a", "y": "$nope"}}], [{"x": 1}]),
    (ONE, [{"$replaceRoot": {"newRoot": {"$mergeObjects": [{"z": 0}, "$$ROOT"]}}}], [{"z": 0, "_id": 1, "a": 1}]),
    # $unwind
    (
        SALES,
        [{"$unwind": "$tags"}, {"$project": {"tags": 1}}],
        [{"_id": 1, "tags": "x"}, {"_id": 1, "tags": "y"}, {"_id": 2, "tags": "y"}],
    ),
    (SALES, [{"$unwind": {"path": "$tags"}}, {"$count": "n"}], [{"n": 3}]),
    (
        SALES,
        [{"$unwind": {"path": "$tags", "preserveNullAndEmptyArrays": True}}, {"$project": {"tags": 1}}],
        [
            {"_id": 1, "tags": "x"},
            {"_id": 1, "tags": "y"},
            {"_id": 2, "tags": "y"},
            {"_id": 3},
            {"_id": 4, "tags": None},
            {"_id": 5},
        ],
    ),
    (
        [{"_id": 1, "a": [7, 8]}, {"_id": 2, "a": 9}, {"_id": 3}],
        [{"$unwind": {"path": "$a", "includeArrayIndex": "i", "preserveNullAndEmptyArrays": True}}],
        [
            {"_id": 1, "a": 7, "i": L(0)},
            {"_id": 1, "a": 8, "i": L(1)},
            {"_id": 2, "a": 9, "i": None},
            {"_id": 3, "i": None},
        ],
    ),
    (
        [{"_id": 1, "a": {"b": [1, 2], "c": 0}}],
        [{"$unwind": "$a.b"}],
        [{"_id": 1, "a": {"b": 1, "c": 0}}, {"_id": 1, "a": {"b": 2, "c": 0}}],
    ),
    ([{"_id": 1, "a": [{"b": [1, 2]}]}], [{"$unwind": "$a.b"}], []),
    ([{"_id": 1, "a": [[1], [2]]}], [{"$unwind": "$a"}], [{"_id": 1, "a": [1]}, {"_id": 1, "a": [2]}]),
    (
        [{"_id": 1, "a": [1]}],
        [{"$unwind": {"path": "$a", "includeArrayIndex": "x.i"}}],
        [{"_id": 1, "a": 1, "x": {"i": L(0)}}],
    ),
    # $redact
    (
        [{"_id": 1, "level": 1, "in": {"level": 5, "x": 1}, "list": [{"level": 1, "y": 1}, {"level": 9}, 7]}],
        [{"$redact": {"$cond": [{"$gt": ["$level", 4]}, "$$PRUNE", "$$DESCEND"]}}],
        [{"_id": 1, "level": 1, "list": [{"level": 1, "y": 1}, 7]}],
    ),
    (SALES, [{"$redact": {"$cond": [{"$eq": ["$item", "abc"]}, "$$KEEP", "$$PRUNE"]}}], ids(1, 4)),
    (SALES, [{"$sample": {"size": 99}}, {"$sort": {"_id": 1}}], ids(1, 2, 3, 4, 5)),
    (SALES, [{"$sample": {"size": 2}}, {"$count": "n"}], [{"n": 2}]),
]

GROUPS: Rows = [
    # $sort
    (SALES, [{"$sort": {"price": 1}}], ids(3, 4, 5, 1, 2)),
    (SALES, [{"$sort": {"item": 1, "price": -1}}], ids(1, 4, 2, 5, 3)),
    (SALES, [{"$sort": {"item": 1}}], ids(1, 4, 2, 5, 3)),
    (SALES, [{"$sort": {"item": -1}}, {"$limit": 3}], ids(3, 2, 5)),
    (SALES, [{"$sort": {"item": 1}}, {"$skip": 1}, {"$limit": 2}], ids(4, 2)),
    (SALES, [{"$sort": {"size.h": 1}}], ids(4, 5, 3, 1, 2)),
    (SALES, [{"$sort": {"tags": 1}}], ids(3, 4, 5, 1, 2)),
    (SALES, [{"$sort": {"tags": -1}}], ids(1, 2, 4, 5, 3)),
    # $group
    (SALES, [{"$group": {"_id": "$item"}}], ids("abc", "jkl", "xyz")),
    (SALES, [{"$group": {"_id": None, "n": {"$sum": 1}}}], [{"_id": None, "n": 5}]),
    (
        SALES,
        [{"$group": {"_id": "$item", "total": {"$sum": "$price"}}}],
        [{"_id": "abc", "total": 15.5}, {"_id": "jkl", "total": L(27)}, {"_id": "xyz", "total": 5}],
    ),
    (SALES, [{"$group": {"_id": "$nope", "n": {"$sum": 1}}}], [{"_id": None, "n": 5}]),
    (
        [{"a": 1}, {"a": 1.0}, {"a": L(1)}, {"a": Decimal128("1")}, {"a": "1"}, {"a": None}, {}],
        [{"$group": {"_id": "$a", "n": {"$sum": 1}}}],
        [{"_id": 1, "n": 4}, {"_id": "1", "n": 1}, {"_id": None, "n": 2}],
    ),
    (
        [{"a": 1, "b": 1}, {"a": 1}, {"a": 1, "b": None}],
        [{"$group": {"_id": {"a": "$a", "b": "$b"}, "n": {"$sum": 1}}}],
        [{"_id": {"a": 1, "b": 1}, "n": 1}, {"_id": {"a": 1}, "n": 1}, {"_id": {"a": 1, "b": None}, "n": 1}],
    ),
    (
        SALES,
        [{"$group": {"_id": {"$gt": ["$price", 6]}, "n": {"$sum": 1}}}],
        [{"_id": True, "n": 3}, {"_id": False, "n": 2}],
    ),
    (
        SALES,
        [{"$group": {"_id": "$item", "all": {"$push": "$_id"}, "first": {"$first": "$price"}}}, {"$limit": 2}],
        [{"_id": "abc", "all": [1, 4], "first": 10}, {"_id": "jkl", "all": [2, 5], "first": 20}],
    ),
    (
        SALES,
        [{"$group": {"_id": 0, "avg": {"$avg": "$price"}, "max": {"$max": "$price"}, "min": {"$min": "$price"}}}],
        [{"_id": 0, "avg": 9.5, "max": 20, "min": 5}],
    ),
    (SALES, [{"$group": {"_id": 0, "m": {"$max": "$nope"}}}], [{"_id": 0, "m": None}]),
    (
        SALES,
        [
            {"$unwind": "$tags"},
            {"$group": {"_id": None, "t": {"$addToSet": "$tags"}}},
            {"$unwind": "$t"},
            {"$sort": {"t": 1}},
        ],
        [{"_id": None, "t": "x"}, {"_id": None, "t": "y"}],
    ),
    ([], [{"$group": {"_id": None, "n": {"$sum": 1}}}], []),
    (
        SALES,
        [{"$group": {"_id": {"k": "$item"}, "n": {"$firstN": {"input": "$_id", "n": {"$strLenCP": "$k"}}}}}],
        [{"_id": {"k": "abc"}, "n": [1, 4]}, {"_id": {"k": "jkl"}, "n": [2, 5]}, {"_id": {"k": "xyz"}, "n": [3]}],
    ),
    # $sortByCount
    (
        SALES,
        [{"$sortByCount": "$item"}],
        [{"_id": "abc", "count": 2}, {"_id": "jkl", "count": 2}, {"_id": "xyz", "count": 1}],
    ),
    (
        SALES,
        [{"$sortByCount": {"$type": "$price"}}],
        [{"_id": "int", "count": 3}, {"_id": "double", "count": 1}, {"_id": "long", "count": 1}],
    ),
    # $bucket
    (
        SALES,
        [{"$bucket": {"groupBy": "$price", "boundaries": [0, 7, 20], "default": "more"}}],
        [{"_id": 0, "count": 2}, {"_id": 7, "count": 2}, {"_id": "more", "count": 1}],
    ),
    (
        SALES,
        [{"$bucket": {"groupBy": "$price", "boundaries": [0, 10, 21], "output": {"ids": {"$push": "$_id"}}}}],
        [{"_id": 0, "ids": [3, 4, 5]}, {"_id": 10, "ids": [1, 2]}],
    ),
    (SALES, [{"$bucket": {"groupBy": "$nope", "boundaries": [0, 10], "default": -1}}], [{"_id": -1, "count": 5}]),
    # $bucketAuto
    (
        SALES,
        [{"$bucketAuto": {"groupBy": "$_id", "buckets": 2}}],
        [{"_id": {"min": 1, "max": 4}, "count": 3}, {"_id": {"min": 4, "max": 5}, "count": 2}],
    ),
    (
        SALES,
        [{"$bucketAuto": {"groupBy": "$item", "buckets": 9, "output": {"ids": {"$push": "$_id"}}}}],
        [
            {"_id": {"min": "abc", "max": "jkl"}, "ids": [1, 4]},
            {"_id": {"min": "jkl", "max": "xyz"}, "ids": [2, 5]},
            {"_id": {"min": "xyz", "max": "xyz"}, "ids": [3]},
        ],
    ),
    ([], [{"$bucketAuto": {"groupBy": "$a", "buckets": 3}}], []),
    # $facet
    (
        SALES,
        [
            {
                "$facet": {
                    "n": [{"$count": "n"}],
                    "two": [{"$sort": {"_id": -1}}, {"$limit": 2}, {"$project": {"_id": 1}}],
                    "none": [{"$match": {"_id": 0}}],
                }
            }
        ],
        [{"n": [{"n": 5}], "two": [{"_id": 5}, {"_id": 4}], "none": []}],
    ),
    ([], [{"$facet": {"a": []}}], [{"a": []}]),
]


@pytest.mark.parametrize(("documents", "pipeline", "expected"), SIMPLE + GROUPS)
def test_stages(documents: Documents, pipeline: Any, expected: Any) -> None:
    check(documents, pipeline, expected)


def test_stages_are_listed_in_order() -> None:
    assert list(STAGES) == sorted(STAGES)
    assert {"$match", "$group", "$lookup", "$set", "$documents"} <= set(STAGES)
    assert not {"$out", "$merge"} & set(STAGES)


# --- laziness, time and memory ---------------------------------------------------------------------------------------


def numbers(taken: list[int]) -> Iterator[dict[str, Any]]:
    for number in itertools.count():
        taken.append(number)
        yield {"_id": number}


def test_limit_reads_no_more_than_it_gives() -> None:
    taken: list[int] = []
    pipeline: Documents = [{"$match": {"_id": {"$gte": 3}}}, {"$set": {"a": 1}}, {"$unwind": "$a"}, {"$limit": 2}]
    assert [d["_id"] for d in compile_pipeline(pipeline, Context(now=NOW))(numbers(taken))] == [3, 4]
    assert len(taken) == 5


@pytest.mark.parametrize(
    "stage",
    [
        {"$match": {"_id": -1}},
        {"$skip": 10**9},
        {"$count": "n"},
        {"$group": {"_id": None}},
        {"$sort": {"_id": -1}},
        {"$sample": {"size": 1}},
        {"$sortByCount": "$nope"},
        {"$unwind": "$nope"},
        {"$redact": "$$PRUNE"},
        {"$bucket": {"groupBy": "$_id", "boundaries": [-1, 0], "default": "x"}},
    ],
)
def test_every_stage_ends_at_the_deadline(stage: Any) -> None:
    context = Context(time.monotonic() + 0.05, NOW, memory_limit=1 << 40)
    with pytest.raises(StoreTimeout):
        list(compile_pipeline([stage], context)(numbers([])))


@pytest.mark.parametrize(
    "stage",
    [
        {"$sort": {"_id": 1}},
        {"$group": {"_id": "$_id"}},
        {"$facet": {"a": []}},
        {"$bucketAuto": {"groupBy": "$_id", "buckets": 2}},
    ],
)
def test_what_is_held_is_bounded(stage: Any) -> None:
    context = Context(now=NOW, memory_limit=100_000)
    with pytest.raises(DataError) as caught:
        list(compile_pipeline([stage], context)(numbers([])))
    assert caught.value.number == 292


def test_a_sort_with_a_limit_holds_few() -> None:
    context = Context(now=NOW, memory_limit=100_000)
    documents = [{"_id": number} for number in range(20_000, 0, -1)]
    result = list(compile_pipeline([{"$sort": {"_id": 1}}, {"$limit": 3}], context)(documents))
    assert [document["_id"] for document in result] == [1, 2, 3]


def test_memory_is_given_back() -> None:
    context = Context(now=NOW, memory_limit=50_000)
    inner: Documents = [
        {"$sort": {"left": 1}},
        {"$group": {"_id": "$left", "x": {"$first": "$$x"}, "y": {"$push": "$$ROOT"}}},
        {"$count": "n"},
    ]
    lookup: dict[str, Any] = {"$lookup": {"from": "stock", "let": {"x": "$_id"}, "pipeline": inner, "as": "s"}}
    documents = [{"_id": number} for number in range(500)]
    result = list(compile_pipeline([lookup], context, {}, Collections(OTHER))(documents))
    assert all(document["s"] == [{"n": 5}] for document in result)


def test_results_do_not_depend_on_the_run() -> None:
    compiled = compile_pipeline([{"$group": {"_id": "$item", "n": {"$sum": 1}}}], Context(now=NOW))
    assert list(compiled(SALES)) == list(compiled(SALES))


KEYS = st.fixed_dictionaries({}, optional={"a": st.one_of(SCALARS, st.lists(SCALARS, max_size=3)), "b": SCALARS})


@given(st.lists(KEYS, max_size=30), st.integers(1, 8), st.integers(0, 3), st.sampled_from([1, -1]))
def test_the_first_few_are_those_of_the_whole_sort(documents: Documents, most: int, skip: int, direction: int) -> None:
    numbered = [{"_id": number, **document} for number, document in enumerate(documents)]
    order = {"$sort": {"a": direction}}
    whole = run(numbered, [order])
    some = run(numbered, [order, {"$skip": skip}, {"$limit": most}])
    same(some, whole[skip : skip + most])


@given(st.lists(KEYS, max_size=20))
def test_groups_partition_the_documents(documents: Documents) -> None:
    result = run(documents, [{"$group": {"_id": "$a", "n": {"$sum": 1}}}])
    assert sum(group["n"] for group in result) == len(documents)
