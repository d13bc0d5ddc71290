"""Stages that read other collections: what they find, how often they read, and that they agree with filters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from bson.regex import Regex
from hypothesis import given
from hypothesis import strategies as st
from pipeline_checks import NOW, ONE, OTHER, PEOPLE, SCALARS, Collections, Documents, L, Rows, check, ids, run

from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.mql.stages import joins


class Indexed(Collections):
    """Other collections with an index on everything."""

    def __init__(self, collections: dict[str, Documents]) -> None:
        super().__init__(collections)
        self.filters: list[Any] = []

    def matching(self, collection: str, filter: dict[str, Any]) -> Iterable[dict[str, Any]] | None:
        self.filters.append(filter)
        predicate = compile_filter(filter, Context(now=NOW))
        return [document for document in self.collections.get(collection, []) if predicate(document)]


LOCAL_KEYS: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [3, 4]),
    ({"k": None}, [3, 4]),
    ({"k": []}, [3, 4]),
    ({"k": ["abc", "jkl"]}, [1, 2, 5]),
    ({"k": ["abc", None]}, [1, 3, 4, 5]),
    ({"k": [["abc", "xyz"]]}, [5]),
    ({"k": "xyz"}, [5]),
    ({"k": Regex("a")}, []),
    ({"k": [Regex("a"), "jkl"]}, [2]),
]

JOINS: Rows = [
    (
        [{"_id": 1, "k": "abc"}, {"_id": 2, "k": "none"}],
        [{"$lookup": {"from": "stock", "localField": "k", "foreignField": "sku", "as": "s"}}],
        [
            {"_id": 1, "k": "abc", "s": [OTHER["stock"][0], OTHER["stock"][4]]},
            {"_id": 2, "k": "none", "s": []},
        ],
    ),
    *[
        (
            [{"_id": 1, **local}],
            [
                {"$lookup": {"from": "stock", "localField": "k", "foreignField": "sku", "as": "s"}},
                {"$set": {"s": "$s._id"}},
                {"$project": {"s": 1}},
            ],
            [{"_id": 1, "s": found}],
        )
        for local, found in LOCAL_KEYS
    ],
    (
        [{"_id": 1, "a": [{"k": "abc"}, {"k": "jkl"}, {}]}],
        [
            {"$lookup": {"from": "stock", "localField": "a.k", "foreignField": "sku", "as": "x.s"}},
            {"$project": {"x.s._id": 1}},
        ],
        [{"_id": 1, "x": {"s": [{"_id": 1}, {"_id": 2}, {"_id": 5}]}}],
    ),
    (
        ONE,
        [{"$lookup": {"from": "nope", "localField": "a", "foreignField": "b", "as": "s"}}],
        [{"_id": 1, "a": 1, "s": []}],
    ),
    (
        ONE,
        [
            {
                "$lookup": {
                    "from": "stock",
                    "pipeline": [{"$match": {"left": {"$gt": 50}}}, {"$project": {"_id": 1}}],
                    "as": "s",
                }
            }
        ],
        [{"_id": 1, "a": 1, "s": [{"_id": 1}, {"_id": 2}]}],
    ),
    (
        [{"_id": 1, "min": 100}, {"_id": 2, "min": 6}],
        [
            {
                "$lookup": {
                    "from": "stock",
                    "let": {"m": "$min"},
                    "as": "s",
                    "pipeline": [{"$match": {"$expr": {"$gte": ["$left", "$$m"]}}}, {"$project": {"_id": 1}}],
                }
            }
        ],
        [
            {"_id": 1, "min": 100, "s": [{"_id": 1}]},
            {"_id": 2, "min": 6, "s": [{"_id": 1}, {"_id": 2}, {"_id": 4}, {"_id": 5}]},
        ],
    ),
    (
        [{"_id": 1, "k": "abc", "max": 50}, {"_id": 2, "k": "abc", "max": 500}],
        [
            {
                "$lookup": {
                    "from": "stock",
                    "localField": "k",
                    "foreignField": "sku",
                    "let": {"m": "$max"},
                    "as": "s",
                    "pipeline": [{"$match": {"$expr": {"$lt": ["$left", "$$m"]}}}, {"$project": {"_id": 1}}],
                }
            }
        ],
        [
            {"_id": 1, "k": "abc", "max": 50, "s": [{"_id": 5}]},
            {"_id": 2, "k": "abc", "max": 500, "s": [{"_id": 1}, {"_id": 5}]},
        ],
    ),
    (
        [{"_id": 1, "x": 6}, {"_id": 2, "x": 7}],
        [
            {
                "$lookup": {
                    "from": "people",
                    "let": {"x": "$x"},
                    "as": "p",
                    "pipeline": [
                        {"$limit": 1},
                        {
                            "$lookup": {
                                "from": "stock",
                                "let": {"id": "$_id"},
                                "as": "s",
                                "pipeline": [
                                    {"$match": {"$expr": {"$eq": ["$left", "$$x"]}}},
                                    {"$project": {"by": "$$id"}},
                                ],
                            }
                        },
                        {"$project": {"s": 1, "_id": 0}},
                    ],
                }
            }
        ],
        [
            {"_id": 1, "x": 6, "p": [{"s": [{"_id": 4, "by": "ann"}]}]},
            {"_id": 2, "x": 7, "p": [{"s": [{"_id": 5, "by": "ann"}]}]},
        ],
    ),
    (
        ONE,
        [
            {
                "$lookup": {
                    "from": "stock",
                    "let": {"v": "$nope"},
                    "pipeline": [{"$limit": 1}, {"$project": {"_id": 0, "v": {"$ifNull": ["$$v", "none"]}}}],
                    "as": "s",
                }
            }
        ],
        [{"_id": 1, "a": 1, "s": [{"v": "none"}]}],
    ),
    (
        ONE,
        [{"$lookup": {"pipeline": [{"$documents": [{"x": 1}, {"x": 2}]}, {"$match": {"x": 2}}], "as": "s"}}],
        [{"_id": 1, "a": 1, "s": [{"x": 2}]}],
    ),
    (
        ONE,
        [{"$lookup": {"from": "stock", "pipeline": [{"$group": {"_id": None, "n": {"$sum": "$$n"}}}], "as": "s"}}],
        [{"_id": 1, "a": 1, "s": [{"_id": None, "n": 15}]}],
    ),
    (
        [{"_id": 1, "x": 6}, {"_id": 2, "x": 7}],
        [
            {
                "$lookup": {
                    "from": "people",
                    "let": {"x": "$x"},
                    "as": "p",
                    "pipeline": [
                        {"$limit": 1},
                        {"$facet": {"f": [{"$project": {"_id": 0, "x": "$$x"}}]}},
                        {"$unionWith": {"pipeline": [{"$documents": [{"y": "$$x"}]}]}},
                    ],
                }
            }
        ],
        [
            {"_id": 1, "x": 6, "p": [{"f": [{"x": 6}]}, {"y": 6}]},
            {"_id": 2, "x": 7, "p": [{"f": [{"x": 7}]}, {"y": 7}]},
        ],
    ),
    (ONE, [{"$unionWith": "people"}], ids(1, "ann", "bob", "cid", "dan")),
    (ONE, [{"$unionWith": {"coll": "people", "pipeline": [{"$match": {"boss": "bob"}}]}}], ids(1, "cid", "dan")),
    (ONE, [{"$unionWith": {"pipeline": [{"$documents": [{"_id": 9}]}]}}], ids(1, 9)),
    (ONE, [{"$unionWith": "nope"}], ids(1)),
    (
        [PEOPLE[2]],
        [
            {
                "$graphLookup": {
                    "from": "people",
                    "startWith": "$boss",
                    "connectFromField": "boss",
                    "connectToField": "_id",
                    "as": "line",
                    "depthField": "d",
                }
            }
        ],
        [{**PEOPLE[2], "line": [{**PEOPLE[1], "d": L(0)}, {**PEOPLE[0], "d": L(1)}]}],
    ),
    (
        [PEOPLE[0]],
        [
            {
                "$graphLookup": {
                    "from": "people",
                    "startWith": "$_id",
                    "connectFromField": "_id",
                    "connectToField": "boss",
                    "as": "team",
                    "maxDepth": 0,
                }
            },
            {"$set": {"team": "$team._id"}},
            {"$project": {"team": 1}},
        ],
        [{"_id": "ann", "team": ["bob"]}],
    ),
    (
        [PEOPLE[0]],
        [
            {
                "$graphLookup": {
                    "from": "people",
                    "startWith": "$_id",
                    "connectFromField": "_id",
                    "connectToField": "boss",
                    "as": "team",
                    "restrictSearchWithMatch": {"skills": {"$exists": True}},
                }
            },
            {"$set": {"team": "$team._id"}},
            {"$project": {"team": 1}},
        ],
        [{"_id": "ann", "team": ["bob", "dan"]}],
    ),
    (
        [{"_id": 1, "start": ["cid", "dan"]}],
        [
            {
                "$graphLookup": {
                    "from": "people",
                    "startWith": "$start",
                    "connectFromField": "boss",
                    "connectToField": "_id",
                    "as": "x.up",
                }
            },
            {"$set": {"x.up": "$x.up._id"}},
        ],
        [{"_id": 1, "start": ["cid", "dan"], "x": {"up": ["cid", "dan", "bob", "ann"]}}],
    ),
    (
        ONE,
        [
            {
                "$graphLookup": {
                    "from": "people",
                    "startWith": "$nope",
                    "connectFromField": "boss",
                    "connectToField": "_id",
                    "as": "up",
                }
            }
        ],
        [{"_id": 1, "a": 1, "up": []}],
    ),
]


@pytest.mark.parametrize(("documents", "pipeline", "expected"), JOINS)
def test_joins(documents: Documents, pipeline: Any, expected: Any) -> None:
    check(documents, pipeline, expected)


# --- how they read ---------------------------------------------------------------------------------------------------

EQUALITY = [{"$lookup": {"from": "stock", "localField": "k", "foreignField": "sku", "as": "s"}}]
LOCALS: Documents = [{"_id": n, "k": k} for n, k in enumerate(["abc", "jkl", None, ["xyz", "jkl"], 5])]


def test_a_join_reads_the_other_collection_once() -> None:
    reader = Collections(OTHER)
    run(LOCALS, EQUALITY, reader)
    assert reader.reads == ["stock"]


def test_a_join_uses_an_index_when_there_is_one() -> None:
    reader = Indexed(OTHER)
    assert run(LOCALS, EQUALITY, reader) == run(LOCALS, EQUALITY)
    assert reader.reads == []
    assert reader.filters[0] == {"sku": {"$eq": "abc"}}
    assert reader.filters[3] == {"sku": {"$in": ["xyz", "jkl"]}}


def test_a_join_with_a_large_collection_reads_it_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joins, "TABLE_LIMIT", 100)
    reader = Collections(OTHER)
    assert run(LOCALS, EQUALITY, reader) == run(LOCALS, EQUALITY, Indexed(OTHER))
    assert len(reader.reads) > 1


def test_a_pipeline_that_gives_the_same_runs_once() -> None:
    reader = Collections(OTHER)
    pipeline = [{"$lookup": {"from": "stock", "pipeline": [{"$match": {"sku": "jkl"}}], "as": "s"}}]
    result = run(LOCALS, pipeline, reader)
    assert reader.reads == ["stock"]
    assert all(len(document["s"]) == 1 for document in result)


def test_sub_pipelines_may_not_nest_without_end() -> None:
    pipeline: Any = []
    for _ in range(25):
        pipeline = [{"$lookup": {"from": "stock", "pipeline": pipeline, "as": "s"}}]
    with pytest.raises(DataError) as caught:
        run([], pipeline)
    assert caught.value.code == "MaxSubPipelineDepthExceeded"


VALUES = st.one_of(
    SCALARS, st.lists(SCALARS, max_size=3), st.fixed_dictionaries({}, optional={"b": SCALARS, "0": SCALARS})
)
COLLECTION = st.lists(st.fixed_dictionaries({}, optional={"a": VALUES}), max_size=5)


@given(COLLECTION, COLLECTION, st.sampled_from(["a", "a.b", "a.0"]), st.sampled_from(["a", "a.b", "a.0", "a.0.b"]))
def test_joins_agree_with_the_filter(local: Documents, foreign: Documents, near: str, far: str) -> None:
    collections = {"f": [{"_id": number, **document} for number, document in enumerate(foreign)]}
    pipeline = [{"$lookup": {"from": "f", "localField": near, "foreignField": far, "as": "s"}}]
    hashed = run(local, pipeline, Collections(collections))
    indexed = run(local, pipeline, Indexed(collections))
    assert [[found["_id"] for found in document["s"]] for document in hashed] == [
        [found["_id"] for found in document["s"]] for document in indexed
    ]
