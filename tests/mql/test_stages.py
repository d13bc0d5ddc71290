"""Aggregation stages: what a pipeline makes of documents, or the server's error; joins, memory, laziness."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import bson
import pytest
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.regex import Regex
from hypothesis import given
from hypothesis import strategies as st

from doorleaf.documents import CODEC
from doorleaf.errors import DataError, StoreTimeout, Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.mql.stages import joins
from doorleaf.mql.stages.compile import REFUSED_STAGES, STAGES, compile_pipeline, pushdown, split_output
from doorleaf.mql.stages.reach import pipeline_namespaces

NOW = datetime(2024, 5, 6, 7, 8, 9, 123000)
L = Int64
Documents = list[dict[str, Any]]
Rows = list[tuple[Documents, Any, Any]]


class Collections:
    """Other collections, held in memory."""

    def __init__(self, collections: dict[str, Documents]) -> None:
        self.collections = collections
        self.reads: list[str] = []

    def __call__(self, collection: str, database: str | None = None) -> Iterable[dict[str, Any]]:
        self.reads.append(collection)
        return iter(self.collections.get(collection, []))


class Indexed(Collections):
    """Other collections with an index on everything."""

    def __init__(self, collections: dict[str, Documents]) -> None:
        super().__init__(collections)
        self.filters: list[Any] = []

    def matching(self, collection: str, filter: dict[str, Any]) -> Iterable[dict[str, Any]] | None:
        self.filters.append(filter)
        predicate = compile_filter(filter, Context(now=NOW))
        return [document for document in self.collections.get(collection, []) if predicate(document)]


SALES: Documents = [
    {"_id": 1, "item": "abc", "price": 10, "tags": ["x", "y"], "size": {"h": 5, "w": 2}},
    {"_id": 2, "item": "jkl", "price": 20, "tags": ["y"], "size": {"h": 7, "w": 1}},
    {"_id": 3, "item": "xyz", "price": 5, "tags": [], "size": {"h": 1, "w": 9}},
    {"_id": 4, "item": "abc", "price": 5.5, "tags": None},
    {"_id": 5, "item": "jkl", "price": L(7)},
]
PEOPLE: Documents = [
    {"_id": "ann", "boss": None, "skills": ["a"]},
    {"_id": "bob", "boss": "ann", "skills": ["a", "b"]},
    {"_id": "cid", "boss": "bob"},
    {"_id": "dan", "boss": "bob", "skills": []},
]
OTHER: dict[str, Documents] = {
    "people": PEOPLE,
    "stock": [
        {"_id": 1, "sku": "abc", "left": 120},
        {"_id": 2, "sku": "jkl", "left": 60},
        {"_id": 3, "sku": None, "left": 5},
        {"_id": 4, "left": 6},
        {"_id": 5, "sku": ["abc", "xyz"], "left": 7},
    ],
}


def run(documents: Documents, pipeline: Any, reader: Any = None, **variables: Any) -> Documents:
    before = copy.deepcopy(documents)
    compiled = compile_pipeline(pipeline, Context(now=NOW), variables, reader or Collections(OTHER))
    result = list(compiled(documents))
    assert bson.encode({"": documents}, codec_options=CODEC) == bson.encode({"": before}, codec_options=CODEC)
    return result


def same(result: Documents, expected: Documents) -> None:
    actual, wanted = ([bson.encode(d, codec_options=CODEC) for d in found] for found in (result, expected))
    assert actual == wanted, result


def ids(*wanted: Any) -> Any:
    """Expect documents with these ``_id``s, whatever else they have."""
    return ("ids", list(wanted))


def check(documents: Documents, pipeline: Any, expected: Any) -> None:
    if isinstance(expected, tuple) and expected[0] != "ids":
        with pytest.raises(DataError) as caught:
            run(documents, pipeline, n=3)
        shown = (caught.value.number, caught.value.message)
        assert (caught.value.number, expected[1] in caught.value.message) == (expected[0], True), shown
    elif isinstance(expected, tuple):
        assert [document["_id"] for document in run(documents, pipeline, n=3)] == expected[1]
    else:
        same(run(documents, pipeline, n=3), expected)


ONE: Documents = [{"_id": 1, "a": 1}]
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

LOOKUP: dict[str, Any] = {"from": "stock", "localField": "a", "foreignField": "b", "as": "s"}
GRAPH: dict[str, Any] = {"from": "people", "startWith": "$a", "connectFromField": "a", "connectToField": "b", "as": "c"}


def without(specification: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in specification.items() if key != name}


ERRORS = [
    ([{"$who": 1}], 40324, "Unrecognized pipeline stage name: '$who'."),
    ([{"match": {}}], 40324, "Unrecognized pipeline stage name: 'match'."),
    ([{"$match": {}, "$limit": 1}], 40323, "A pipeline stage specification object must contain exactly one field."),
    ([{}], 40323, "A pipeline stage specification object must contain exactly one field."),
    ([5], 14, "Each element of the 'pipeline' array must be an object"),
    ([{"$match": 5}], 15959, "the match filter must be an expression in an object"),
    ([{"$match": {"$nope": 1}}], 2, "unknown top level operator: $nope"),
    ([{"$project": 5}], 15969, "$project specification must be an object"),
    ([{"$project": {}}], 51272, "Invalid $project :: caused by :: projection specification must have at least one"),
    ([{"$project": {"a": 1, "b": 0}}], 31254, "Invalid $project :: caused by :: Cannot do exclusion on field b"),
    ([{"$set": 5}], 40272, "$set specification stage must be an object, got int"),
    ([{"$addFields": "x"}], 40272, "$addFields specification stage must be an object, got string"),
    ([{"$set": {}}], 40177, "Invalid $set :: caused by :: specification must have at least one field"),
    ([{"$set": {"a": {}}}], 40180, "Found empty object at path a"),
    ([{"$set": {"a": 1, "a.b": 1}}], 40176, "Cannot specify both 'a.b' and 'a'"),
    ([{"$set": {"a.b": 1, "a": 1}}], 40176, "Cannot specify both 'a' and 'a'"),
    ([{"$set": {"a": {"b.c": 1}}}], 40183, "cannot use dotted field name 'b.c' in a sub object"),
    ([{"$set": {"$a": 1}}], 16410, "FieldPath field names may not start with '$'"),
    ([{"$set": {"a": {"$nope": 1}}}], 168, "Unrecognized expression '$nope'"),
    ([{"$unset": 5}], 31002, "$unset specification must be a string or an array"),
    ([{"$unset": []}], 31119, "at least one field"),
    ([{"$unset": ["a", 5]}], 31120, "containing only string values"),
    ([{"$unset": ""}], 40352, "FieldPath cannot be constructed with empty string"),
    ([{"$unset": ["a", "a.b"]}], 40176, "two conflicting paths"),
    ([{"$replaceRoot": 5}], 40229, "expected an object as specification for $replaceRoot stage, got int"),
    ([{"$replaceRoot": {}}], 40414, "newRoot' is missing"),
    ([{"$replaceRoot": {"newRoot": "$a", "x": 1}}], 40415, "x' is an unknown field"),
    ([{"$replaceRoot": {"newRoot": "$a"}}], 40228, "'newRoot' expression  must evaluate to an object"),
    ([{"$replaceWith": "$a"}], 40228, "Type of resulting value: 'int'. Input document: { _id: 1, a: 1 }"),
    ([{"$replaceWith": "$nope"}], 40228, "Type of resulting value: 'missing'"),
    ([{"$redact": "x"}], 17053, "$redact's expression should not return anything aside from the variables"),
    ([{"$unwind": 5}], 15981, "expected either a string or an object as specification for $unwind stage, got int"),
    ([{"$unwind": "a"}], 28818, "path option to $unwind stage should be prefixed with a '$': a"),
    ([{"$unwind": ""}], 28812, "no path specified to $unwind stage"),
    ([{"$unwind": {}}], 28812, "no path specified to $unwind stage"),
    ([{"$unwind": {"path": 5}}], 28808, "expected a string as the path for $unwind stage, got int"),
    ([{"$unwind": {"path": "$a", "x": 1}}], 28811, "unrecognized option to $unwind stage: x"),
    ([{"$unwind": {"path": "$a", "preserveNullAndEmptyArrays": 1}}], 28809, "expected a boolean"),
    ([{"$unwind": {"path": "$a", "includeArrayIndex": ""}}], 28810, "expected a non-empty string"),
    ([{"$unwind": {"path": "$a", "includeArrayIndex": "$i"}}], 28822, "should not be prefixed with a '$': $i"),
    ([{"$limit": 0}], 15958, "the limit must be positive"),
    ([{"$limit": -1}], 5107201, "Expected a non-negative number in: $limit: -1"),
    ([{"$limit": "x"}], 5107201, 'invalid argument to $limit stage: Expected a number in: $limit: "x"'),
    ([{"$limit": 1.5}], 5107201, "Expected an integer: $limit: 1.5"),
    ([{"$limit": float("nan")}], 5107201, "Expected an integer, but found NaN in: $limit"),
    ([{"$limit": 1e30}], 5107201, "Cannot represent as a 64-bit integer"),
    ([{"$skip": -1}], 5107200, "Expected a non-negative number in: $skip: -1"),
    ([{"$skip": None}], 5107200, "Expected a number in: $skip: null"),
    ([{"$count": 5}], 40156, "the count field must be a non-empty string"),
    ([{"$count": ""}], 40157, "the count field must be a non-empty string"),
    ([{"$count": "$a"}], 40158, "the count field cannot be a $-prefixed path"),
    ([{"$count": "a\0b"}], 40159, "null byte"),
    ([{"$count": "a.b"}], 40160, "the count field cannot contain '.'"),
    ([{"$sample": 5}], 28745, "the $sample stage specification must be an object"),
    ([{"$sample": {}}], 28749, "$sample stage must specify a size"),
    ([{"$sample": {"size": "x"}}], 28746, "size argument to $sample must be a number"),
    ([{"$sample": {"size": 0}}], 28747, "must be a positive integer"),
    ([{"$sample": {"size": float("nan")}}], 28747, "must be a positive integer"),
    ([{"$sample": {"x": 1}}], 28748, "unrecognized option to $sample: x"),
    ([{"$sort": 5}], 15973, "the $sort key specification must be an object"),
    ([{"$sort": {}}], 15976, "$sort stage must have at least one sort key"),
    ([{"$sort": {"a": 2}}], 15975, "$sort key ordering must be 1 (for ascending) or -1 (for descending)"),
    ([{"$sort": {"a": "x"}}], 15974, 'Illegal key in $sort specification: a: "x"'),
    ([{"$group": 5}], 15947, "a group's fields must be specified in an object"),
    ([{"$group": {"a": {"$sum": 1}}}], 15955, "a group specification must include an _id"),
    ([{"$group": {"_id": 1, "a": 5}}], 40234, "The field 'a' must be an accumulator object"),
    ([{"$group": {"_id": 1, "a": {"x": 5}}}], 40234, "The field 'a' must be an accumulator object"),
    ([{"$group": {"_id": 1, "a.b": {"$sum": 1}}}], 40235, "The field name 'a.b' cannot contain '.'"),
    ([{"$group": {"_id": 1, "$a": {"$sum": 1}}}], 40236, "The field name '$a' cannot be an operator name"),
    ([{"$group": {"_id": 1, "a": {"$sum": 1, "$avg": 1}}}], 40238, "must specify one accumulator"),
    ([{"$group": {"_id": 1, "a": {"$nope": 1}}}], 15952, "unknown group operator '$nope'"),
    ([{"$group": {"_id": {"$nope": 1}}}], 168, "Unrecognized expression '$nope'"),
    ([{"$sortByCount": 5}], 40149, "must be specified as a string or as an object"),
    ([{"$sortByCount": "a"}], 40148, "$-prefixed path"),
    ([{"$sortByCount": {"a": 1}}], 40147, "$-prefixed path"),
    ([{"$bucket": 5}], 40201, "Argument to $bucket stage must be an object, but found type: int."),
    ([{"$bucket": {"groupBy": "$a"}}], 40198, "$bucket requires 'groupBy' and 'boundaries' to be specified."),
    ([{"$bucket": {"groupBy": "a", "boundaries": [1, 2]}}], 40202, '$-prefixed path or an expression, but found: "a".'),
    ([{"$bucket": {"groupBy": "$a", "boundaries": 1}}], 40200, "must be an array, but found type: int."),
    ([{"$bucket": {"groupBy": "$a", "boundaries": [1]}}], 40192, "at least 2 values, but found 1 value(s)."),
    ([{"$bucket": {"groupBy": "$a", "boundaries": [1, "x"]}}], 40193, "conflicting types int and string."),
    (
        [{"$bucket": {"groupBy": "$a", "boundaries": [2, 1]}}],
        40194,
        "elements 0 and 1 are not in ascending order (2 is",
    ),
    (
        [{"$bucket": {"groupBy": "$a", "boundaries": [1, "$a"]}}],
        40191,
        'array of constant values, but found value: "$a".',
    ),
    ([{"$bucket": {"groupBy": "$a", "boundaries": [1, 5], "default": 3}}], 40199, "must be less than the lowest"),
    ([{"$bucket": {"groupBy": "$a", "boundaries": [1, 5], "default": "$a"}}], 40195, "must be a constant expression"),
    (
        [{"$bucket": {"groupBy": "$a", "boundaries": [1, 5], "output": 1}}],
        40196,
        "must be an object, but found type: int",
    ),
    ([{"$bucket": {"groupBy": "$a", "boundaries": [1, 5], "x": 1}}], 40197, "Unrecognized option to $bucket: x."),
    ([{"$bucket": {"groupBy": "$a", "boundaries": [5, 6]}}], 40066, "could not find a matching branch"),
    ([{"$bucketAuto": 5}], 40240, "The argument to $bucketAuto must be an object, but found type: int."),
    ([{"$bucketAuto": {"groupBy": "$a"}}], 40246, "$bucketAuto requires 'groupBy' and 'buckets' to be specified."),
    ([{"$bucketAuto": {"groupBy": "a", "buckets": 1}}], 40239, "must be defined as a $-prefixed path"),
    ([{"$bucketAuto": {"groupBy": "$a", "buckets": "x"}}], 40241, "must be a numeric value, but found type: string."),
    ([{"$bucketAuto": {"groupBy": "$a", "buckets": 1.5}}], 40242, "must be representable as a 32-bit integer"),
    ([{"$bucketAuto": {"groupBy": "$a", "buckets": 0}}], 40243, "must be greater than 0, but found: 0."),
    ([{"$bucketAuto": {"groupBy": "$a", "buckets": 1, "output": 1}}], 40244, "must be an object"),
    ([{"$bucketAuto": {"groupBy": "$a", "buckets": 1, "x": 1}}], 40245, "Unrecognized option to $bucketAuto: x."),
    ([{"$facet": {}}], 40169, "the $facet specification must be a non-empty object"),
    ([{"$facet": {"a": 5}}], 40170, "arguments to $facet must be arrays, a is type int"),
    ([{"$facet": {"a": [5]}}], 40171, "argument contained an element of type int"),
    ([{"$facet": {"a": [{"$facet": {"b": []}}]}}], 40600, "$facet is not allowed to be used within a $facet stage"),
    ([{"$facet": {"a": [{"$out": "x"}]}}], 40600, "$out is not allowed to be used within a $facet stage"),
    ([{"$facet": {"a": [{"$nope": 1}]}}], 40324, "Unrecognized pipeline stage name: '$nope'."),
    ([{"$facet": {"a.b": []}}], 16412, "FieldPath field names may not contain '.'"),
    ([{"$facet": {"$a": []}}], 16410, "FieldPath field names may not start with '$'"),
    ([{"$lookup": 5}], 9, "the $lookup stage specification must be an object, but found int"),
    ([{"$lookup": {**LOOKUP, "x": 1}}], 9, "unknown argument to $lookup: x"),
    ([{"$lookup": without(LOOKUP, "as")}], 9, "must specify 'as' field for a $lookup"),
    ([{"$lookup": without(LOOKUP, "from")}], 9, "must specify 'pipeline' when 'from' is empty"),
    ([{"$lookup": without(LOOKUP, "localField")}], 9, "requires both or neither of 'localField' and 'foreignField'"),
    ([{"$lookup": {"from": "x", "as": "y"}}], 9, "$lookup requires either 'pipeline' or both"),
    ([{"$lookup": {**LOOKUP, "as": 5}}], 9, "$lookup argument 'as: 5' must be a string, is type int"),
    ([{"$lookup": {**LOOKUP, "from": 5}}], 9, "$lookup 'from' field must be a string, but found int"),
    ([{"$lookup": {**LOOKUP, "from": {"db": "d", "coll": "c"}}}], 9, "is not supported for db: d and coll: c"),
    ([{"$lookup": {**LOOKUP, "from": ""}}], 73, "invalid $lookup namespace"),
    ([{"$lookup": {**LOOKUP, "let": {"a": 1}}}], 9, "$lookup with a 'let' argument must also specify 'pipeline'"),
    ([{"$lookup": {**LOOKUP, "pipeline": 5}}], 14, "'pipeline' option must be specified as an array"),
    ([{"$lookup": {**LOOKUP, "pipeline": [{"$nope": 1}]}}], 40324, "'$nope'"),
    (
        [{"$lookup": {**LOOKUP, "pipeline": [{"$out": "x"}]}}],
        51047,
        "$out is not allowed within a $lookup's sub-pipeline",
    ),
    ([{"$lookup": {**LOOKUP, "let": {"A": 1}, "pipeline": []}}], 9, "starts with an invalid character"),
    ([{"$lookup": {**LOOKUP, "pipeline": [{"$set": {"x": "$$y"}}]}}], 17276, "Use of undefined variable: y"),
    ([{"$lookup": {**LOOKUP, "as": "$x"}}], 16410, "FieldPath field names may not start with '$'"),
    ([{"$unionWith": 5}], 9, "the $unionWith stage specification must be an object or string, but found int"),
    ([{"$unionWith": {}}], 9, "must have a pipeline with $documents as first stage"),
    ([{"$unionWith": {"coll": "x", "y": 1}}], 40415, "is an unknown field"),
    ([{"$unionWith": {"coll": 5}}], 14, "is the wrong type 'int', expected type 'string'"),
    ([{"$unionWith": {"coll": "x", "pipeline": [{"$out": "y"}]}}], 31441, "$out is not allowed within a $unionWith's"),
    ([{"$graphLookup": 5}], 9, "the $graphLookup stage specification must be an object, but found int"),
    ([{"$graphLookup": without(GRAPH, "from")}], 9, "missing 'from' option to $graphLookup stage specification"),
    ([{"$graphLookup": without(GRAPH, "startWith")}], 40105, "$graphLookup requires 'from', 'as', 'startWith'"),
    ([{"$graphLookup": {**GRAPH, "maxDepth": "x"}}], 40100, "maxDepth must be numeric, found type: string"),
    ([{"$graphLookup": {**GRAPH, "maxDepth": -1}}], 40101, "maxDepth requires a nonnegative argument, found: -1"),
    ([{"$graphLookup": {**GRAPH, "maxDepth": 1.5}}], 40102, "could not be represented as a long long"),
    ([{"$graphLookup": {**GRAPH, "as": 5}}], 40103, "expected string as argument for as, found: 5"),
    ([{"$graphLookup": {**GRAPH, "x": 5}}], 40104, "Unknown argument to $graphLookup: x"),
    ([{"$graphLookup": {**GRAPH, "restrictSearchWithMatch": 5}}], 40185, "must be an object, found int"),
    ([{"$documents": []}], 73, "'$documents'"),
    (
        [{"$lookup": {**LOOKUP, "pipeline": [{"$limit": 1}, {"$documents": []}]}}],
        40602,
        "only valid as the first stage",
    ),
    ([{"$out": "x"}, {"$limit": 1}], 40601, "$out can only be the final stage in the pipeline"),
    ([{"$merge": "x"}, {"$limit": 1}], 40601, "$merge can only be the final stage in the pipeline"),
    ([{"$limit": 1}] * 1001, 7749501, "Pipeline length must be no longer than 1000 stages"),
    ([{"$set": {"x": "$$nope"}}], 17276, "Use of undefined variable: nope"),
]


@pytest.mark.parametrize(("documents", "pipeline", "expected"), SIMPLE + GROUPS + JOINS)
def test_stages(documents: Documents, pipeline: Any, expected: Any) -> None:
    check(documents, pipeline, expected)


@pytest.mark.parametrize(("pipeline", "number", "text"), ERRORS)
def test_errors(pipeline: Any, number: int, text: str) -> None:
    check(ONE, pipeline, (number, text))


@pytest.mark.parametrize("name", REFUSED_STAGES)
def test_what_is_not_there_is_refused_by_name(name: str) -> None:
    assert name not in STAGES
    with pytest.raises(Unsupported) as caught:
        compile_pipeline([{name: {}}], Context(now=NOW))
    assert name in caught.value.message


def test_refused_parts() -> None:
    with pytest.raises(Unsupported) as caught:
        run(ONE, [{"$bucketAuto": {"groupBy": "$a", "buckets": 1, "granularity": "R5"}}])
    assert "granularity" in caught.value.message
    with pytest.raises(Unsupported):
        compile_pipeline([], Context(now=NOW), collation={"locale": "fr"})


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


# --- joins -----------------------------------------------------------------------------------------------------------

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


# --- heads, outputs and namespaces -----------------------------------------------------------------------------------

A, B, S = {"$match": {"a": 1}}, {"$match": {"b": 2}}, {"$sort": {"a": 1}}
HEADS = [
    ([], (None, None, 0, None, 0)),
    ([A], ({"a": 1}, None, 0, None, 0)),
    ([A, B], ({"$and": [{"a": 1}, {"b": 2}]}, None, 0, None, 0)),
    ([A, S, {"$skip": 2}, {"$limit": 3}, {"$count": "n"}], ({"a": 1}, {"a": 1}, 2, 3, 1)),
    ([S, A], ({"a": 1}, {"a": 1}, 0, None, 0)),
    ([{"$limit": 3}, {"$limit": 2}, {"$skip": 1}], (None, None, 0, 2, 1)),
    ([{"$skip": 3}, {"$skip": 2}], (None, None, 5, None, 0)),
    ([{"$limit": 3}, A], (None, None, 0, 3, 1)),
    ([{"$group": {"_id": 1}}, A], (None, None, 0, None, 2)),
    ([{"$match": 5}], (None, None, 0, None, 1)),
    ([{"$sort": {}}], (None, None, 0, None, 1)),
]


@pytest.mark.parametrize(("pipeline", "expected"), HEADS)
def test_heads(pipeline: Any, expected: Any) -> None:
    before = copy.deepcopy(pipeline)
    head = pushdown(pipeline)
    assert (head.filter, head.sort, head.skip, head.limit, len(head.rest)) == expected
    assert head.rest == pipeline[len(pipeline) - len(head.rest) :]
    assert pipeline == before


def test_a_match_that_is_none_is_joined_with_no_other() -> None:
    pipeline: list[Any] = [{"$match": 5}, {"$set": {"x": {"$reverseArray": "$n"}}}, A]
    assert pushdown(pipeline).rest == [{"$match": 5}, A, pipeline[1]]
    with pytest.raises(DataError, match="the match filter must be an expression in an object"):
        compile_pipeline(pipeline, Context())


def test_a_head_with_a_mistake_raises() -> None:
    with pytest.raises(DataError) as caught:
        pushdown([{"$limit": 0}])
    assert caught.value.number == 15958


def test_outputs() -> None:
    assert split_output([A, {"$out": "x"}]) == ([A], {"$out": "x"})
    assert split_output([{"$merge": {"into": "x"}}]) == ([], {"$merge": {"into": "x"}})
    assert split_output([A]) == ([A], None)
    assert split_output([]) == ([], None)


NAMESPACES = [
    ([A, S], []),
    ([{"$lookup": LOOKUP}], [(None, "stock", "read")]),
    ([{"$lookup": {"from": {"db": "d", "coll": "c"}, "as": "x", "pipeline": []}}], [("d", "c", "read")]),
    (
        [{"$lookup": {"from": "a", "as": "x", "pipeline": [{"$unionWith": "b"}, {"$graphLookup": GRAPH}]}}],
        [(None, "a", "read"), (None, "b", "read"), (None, "people", "read")],
    ),
    ([{"$lookup": {"as": "x", "pipeline": [{"$documents": []}]}}], []),
    ([{"$unionWith": {"coll": "a", "pipeline": [{"$unionWith": "b"}]}}], [(None, "a", "read"), (None, "b", "read")]),
    (
        [{"$facet": {"x": [{"$lookup": LOOKUP}], "y": [{"$unionWith": "b"}]}}],
        [(None, "stock", "read"), (None, "b", "read")],
    ),
    ([{"$out": "x"}], [(None, "x", "write")]),
    ([{"$out": {"db": "d", "coll": "x"}}], [("d", "x", "write")]),
    ([{"$merge": "x"}], [(None, "x", "write")]),
    ([{"$merge": {"into": "x"}}], [(None, "x", "write")]),
    ([{"$merge": {"into": {"db": "d", "coll": "x"}}}], [("d", "x", "write")]),
    ([{"$lookup": {"from": "a", "as": "x", "pipeline": [{"$out": "b"}]}}], [(None, "a", "read"), (None, "b", "write")]),
]


@pytest.mark.parametrize(("pipeline", "expected"), NAMESPACES)
def test_namespaces(pipeline: Any, expected: Any) -> None:
    assert list(pipeline_namespaces(pipeline)) == expected


@pytest.mark.parametrize(
    "pipeline",
    [
        5,
        [5],
        [{"$lookup": {"from": 5, "as": "x"}}],
        [{"$lookup": {"as": "x"}}],
        [{"$unionWith": 5}],
        [{"$merge": {}}],
        [{"$out": {"db": 5, "coll": "x"}}],
        [{"$facet": {"a": 5}}],
        [{"$lookup": {"from": "a", "pipeline": [{"$unionWith": {"coll": {}}}]}}],
    ],
)
def test_a_namespace_that_cannot_be_told_raises(pipeline: Any) -> None:
    with pytest.raises(DataError):
        list(pipeline_namespaces(pipeline))


# --- properties ------------------------------------------------------------------------------------------------------

SCALARS = st.sampled_from([None, 1, 1.0, L(1), 2, "a", "", True, float("nan"), Regex("a"), {}, {"b": 1}, [1], []])
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
