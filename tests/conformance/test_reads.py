"""Reading operations, on every engine alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from bson import Int64
from scenarios import NS, Engine, Scenario, check

from doorleaf.errors import DataError, InvalidParameter, StoreTimeout
from doorleaf.operations import (
    Aggregate,
    CountDocuments,
    Distinct,
    EstimatedDocumentCount,
    Find,
    FindOne,
    Namespace,
    altered,
)
from doorleaf.operations.results import CountResult, DistinctResult

PEOPLE = [
    {"_id": 1, "name": "Ann", "age": 30, "city": "Oslo", "tags": ["a", "b"]},
    {"_id": 2, "name": "Bob", "age": 25, "city": "Bergen", "tags": ["b"]},
    {"_id": 3, "name": "cid", "age": 35, "city": "Oslo", "tags": []},
    {"_id": 4, "name": "Dag", "age": 25, "address": {"zip": "0150", "floor": 2}},
]
ANN, BOB, CID, DAG = PEOPLE
IDS = [{"_id": 1}, {"_id": 2}, {"_id": 3}, {"_id": 4}]
MANY = [{"_id": number, "n": number % 7} for number in range(1500)]
NOWHERE = Namespace("db", "nowhere")
ENGLISH = {"locale": "en", "strength": 2}
SIMPLE = {"locale": "simple"}

FIND_ONE = [
    Scenario("by _id", FindOne(namespace=NS, filter={"_id": 2}), PEOPLE, document=BOB),
    Scenario("no match", FindOne(namespace=NS, filter={"_id": 9}), PEOPLE, no_document=True),
    Scenario("no collection", FindOne(namespace=NOWHERE, filter={}), no_document=True),
    Scenario("sort", FindOne(namespace=NS, sort={"age": -1}), PEOPLE, document=CID),
    Scenario("sort by a double", FindOne(namespace=NS, sort={"age": -1.0}), PEOPLE, document=CID),
    Scenario("sort by two fields", FindOne(namespace=NS, sort={"age": 1, "name": -1}), PEOPLE, document=DAG),
    Scenario("skip", FindOne(namespace=NS, sort={"_id": 1}, skip=2), PEOPLE, document=CID),
    Scenario("skip past the end", FindOne(namespace=NS, skip=9), PEOPLE, no_document=True),
    Scenario(
        "projection that includes",
        FindOne(namespace=NS, filter={"_id": 1}, projection={"name": 1, "_id": 0}),
        PEOPLE,
        document={"name": "Ann"},
    ),
    Scenario(
        "projection that excludes",
        FindOne(namespace=NS, filter={"_id": 1}, projection={"tags": 0, "age": 0}),
        PEOPLE,
        document={"_id": 1, "name": "Ann", "city": "Oslo"},
    ),
    Scenario("empty projection", FindOne(namespace=NS, filter={"_id": 1}, projection={}), PEOPLE, document=ANN),
    Scenario(
        "nested field",
        FindOne(namespace=NS, filter={"address.zip": "0150"}, projection={"address.floor": 1}),
        PEOPLE,
        document={"_id": 4, "address": {"floor": 2}},
    ),
    Scenario(
        "let and $expr",
        FindOne(namespace=NS, filter={"$expr": {"$gt": ["$age", "$$limit"]}}, let={"limit": 32}),
        PEOPLE,
        document=CID,
    ),
    Scenario("comment", FindOne(namespace=NS, filter={"_id": 1}, comment={"who": "a test"}), PEOPLE, document=ANN),
    Scenario(
        "hint by name",
        FindOne(namespace=NS, filter={"age": 35}, hint="age_1"),
        PEOPLE,
        indexes=[({"age": 1}, {})],
        document=CID,
    ),
    Scenario(
        "hint by keys",
        FindOne(namespace=NS, filter={"age": 35}, hint={"age": 1}),
        PEOPLE,
        indexes=[({"age": 1}, {})],
        document=CID,
    ),
    Scenario(
        "hint at no index",
        FindOne(namespace=NS, filter={"age": 35}, hint="missing_1"),
        PEOPLE,
        error=DataError,
        number=2,
    ),
    Scenario(
        "simple collation", FindOne(namespace=NS, filter={"name": "ANN"}, collation=SIMPLE), PEOPLE, no_document=True
    ),
    Scenario("unknown operator", FindOne(namespace=NS, filter={"a": {"$nope": 1}}), error=DataError, number=2),
    Scenario("unknown top operator", FindOne(namespace=NS, filter={"$nope": 1}), error=DataError, number=2),
    Scenario(
        "$in without an array", FindOne(namespace=NS, filter={"a": {"$in": 5}}), PEOPLE, error=DataError, number=2
    ),
    Scenario("$and that is empty", FindOne(namespace=NS, filter={"$and": []}), PEOPLE, error=DataError, number=2),
    Scenario(
        "sort direction of a word",
        FindOne(namespace=NS, sort={"a": "up"}),
        PEOPLE,
        error=DataError,
    ),
    Scenario(
        "projection that mixes",
        FindOne(namespace=NS, projection={"a": 1, "b": 0}),
        PEOPLE,
        error=DataError,
        number=31254,
    ),
    Scenario("integer beyond 64 bits", FindOne(namespace=NS, filter={"a": 2**63}), PEOPLE, error=InvalidParameter),
]

FIND = [
    Scenario("all", Find(namespace=NS, sort={"_id": 1}, limit=1000), PEOPLE, documents=PEOPLE),
    Scenario("no collection", Find(namespace=NOWHERE, limit=10), documents=[]),
    Scenario("limit", Find(namespace=NS, sort={"_id": -1}, limit=2), PEOPLE, documents=[DAG, CID]),
    Scenario("skip and limit", Find(namespace=NS, sort={"_id": 1}, skip=1, limit=2), PEOPLE, documents=[BOB, CID]),
    Scenario(
        "more than one batch",
        Find(namespace=NS, sort={"_id": 1}, limit=1400, projection={"_id": 1}),
        MANY,
        documents=[{"_id": number} for number in range(1400)],
    ),
    Scenario(
        "limit 0 is no limit",
        Find(namespace=NS, filter={"n": 3}, limit=0),
        MANY,
        check=lambda r: len(r.documents) == 214,
    ),
    Scenario(
        "equality in an array",
        Find(namespace=NS, filter={"tags": "b"}, limit=9),
        PEOPLE,
        documents=[ANN, BOB],
        any_order=True,
    ),
    Scenario(
        "range and sort on an index",
        Find(namespace=NS, filter={"age": {"$gte": 25, "$lt": 35}}, sort={"age": 1, "_id": 1}, limit=9),
        PEOPLE,
        indexes=[({"age": 1}, {})],
        documents=[BOB, DAG, ANN],
    ),
    Scenario(
        "$or",
        Find(namespace=NS, filter={"$or": [{"_id": 1}, {"address.floor": 2}]}, sort={"_id": 1}, limit=9),
        PEOPLE,
        documents=[ANN, DAG],
    ),
    Scenario(
        "numbers of all types are one",
        Find(namespace=NS, filter={"v": 5}, sort={"_id": 1}, limit=9),
        [{"_id": 1, "v": 5}, {"_id": 2, "v": 5.0}, {"_id": 3, "v": Int64(5)}, {"_id": 4, "v": "5"}],
        documents=[{"_id": 1, "v": 5}, {"_id": 2, "v": 5.0}, {"_id": 3, "v": Int64(5)}],
    ),
    Scenario(
        "null finds what is missing",
        Find(namespace=NS, filter={"city": None}, projection={"_id": 1}, limit=9),
        PEOPLE,
        documents=[{"_id": 4}],
    ),
    Scenario(
        "$elemMatch projection",
        Find(namespace=NS, filter={"_id": 1}, projection={"items": {"$elemMatch": {"q": {"$gt": 1}}}}, limit=9),
        [{"_id": 1, "items": [{"q": 1}, {"q": 2}, {"q": 3}]}],
        documents=[{"_id": 1, "items": [{"q": 2}]}],
    ),
    Scenario(
        "$slice projection",
        Find(namespace=NS, projection={"a": {"$slice": -2}}, limit=9),
        [{"_id": 1, "a": [1, 2, 3], "b": 1}],
        documents=[{"_id": 1, "a": [2, 3], "b": 1}],
    ),
    Scenario(
        "positional projection",
        Find(namespace=NS, filter={"a": {"$gt": 1}}, projection={"a.$": 1}, limit=9),
        [{"_id": 1, "a": [1, 2, 3]}],
        documents=[{"_id": 1, "a": [2]}],
    ),
    Scenario(
        "regular expression",
        Find(namespace=NS, filter={"name": {"$regex": "^c", "$options": "i"}}, limit=9),
        PEOPLE,
        documents=[CID],
    ),
    Scenario(
        "regular expression that is none",
        Find(namespace=NS, filter={"a": {"$regex": "("}}, limit=9),
        PEOPLE,
        error=DataError,
        number=51091,
    ),
]

AGGREGATE = [
    Scenario("empty pipeline", Aggregate(namespace=NS, pipeline=[]), PEOPLE, documents=PEOPLE, any_order=True),
    Scenario("no collection", Aggregate(namespace=NOWHERE, pipeline=[{"$match": {}}]), documents=[]),
    Scenario(
        "$match, $group, $sort",
        Aggregate(
            namespace=NS,
            pipeline=[
                {"$match": {"age": {"$gte": 25}}},
                {"$group": {"_id": "$age", "names": {"$push": "$name"}, "n": {"$sum": 1}}},
                {"$sort": {"_id": 1}},
            ],
        ),
        PEOPLE,
        documents=[
            {"_id": 25, "names": ["Bob", "Dag"], "n": 2},
            {"_id": 30, "names": ["Ann"], "n": 1},
            {"_id": 35, "names": ["cid"], "n": 1},
        ],
    ),
    Scenario(
        "$lookup",
        Aggregate(
            namespace=NS,
            pipeline=[
                {"$match": {"_id": {"$lte": 2}}},
                {"$lookup": {"from": "cities", "localField": "city", "foreignField": "_id", "as": "of"}},
                {"$project": {"of": 1}},
                {"$sort": {"_id": 1}},
            ],
        ),
        PEOPLE,
        {"cities": [{"_id": "Oslo", "people": 700}, {"_id": "Bergen", "people": 290}]},
        documents=[
            {"_id": 1, "of": [{"_id": "Oslo", "people": 700}]},
            {"_id": 2, "of": [{"_id": "Bergen", "people": 290}]},
        ],
    ),
    Scenario(
        "$facet and $count",
        Aggregate(
            namespace=NS,
            pipeline=[{"$facet": {"all": [{"$count": "n"}], "oslo": [{"$match": {"city": "Oslo"}}, {"$count": "n"}]}}],
        ),
        PEOPLE,
        documents=[{"all": [{"n": 4}], "oslo": [{"n": 2}]}],
    ),
    Scenario(
        "$unwind",
        Aggregate(namespace=NS, pipeline=[{"$match": {"_id": 1}}, {"$unwind": "$tags"}, {"$project": {"tags": 1}}]),
        PEOPLE,
        documents=[{"_id": 1, "tags": "a"}, {"_id": 1, "tags": "b"}],
    ),
    Scenario(
        "let",
        Aggregate(namespace=NS, pipeline=[{"$match": {"$expr": {"$eq": ["$_id", "$$id"]}}}], let={"id": 3}),
        PEOPLE,
        documents=[CID],
    ),
    Scenario(
        "exactly the cap",
        Aggregate(namespace=NS, pipeline=[{"$sort": {"_id": 1}}], cap=4),
        PEOPLE,
        documents=PEOPLE,
    ),
    Scenario(
        "one more than the cap",
        Aggregate(namespace=NS, pipeline=[{"$sort": {"_id": 1}}], cap=3),
        PEOPLE,
        error=InvalidParameter,
        says=["3"],
    ),
    Scenario(
        "a second batch",
        Aggregate(namespace=NS, pipeline=[{"$sort": {"_id": 1}}, {"$project": {"_id": 1}}], cap=50_000),
        MANY,
        documents=[{"_id": number} for number in range(1500)],
    ),
    Scenario("unknown stage", Aggregate(namespace=NS, pipeline=[{"$nope": {}}]), PEOPLE, error=DataError, number=40324),
    Scenario(
        "stage with two keys",
        Aggregate(namespace=NS, pipeline=[{"$match": {}, "$limit": 1}]),
        PEOPLE,
        error=DataError,
        number=40323,
    ),
    Scenario(
        "unknown expression",
        Aggregate(namespace=NS, pipeline=[{"$project": {"a": {"$nope": 1}}}]),
        PEOPLE,
        error=DataError,
        says=["$nope"],
    ),
    Scenario(
        "unknown accumulator",
        Aggregate(namespace=NS, pipeline=[{"$group": {"_id": 1, "a": {"$nope": 1}}}]),
        PEOPLE,
        error=DataError,
        number=15952,
        excused={"secantus": "answers the code of an unknown expression"},
    ),
    Scenario(
        "division by zero",
        Aggregate(namespace=NS, pipeline=[{"$project": {"a": {"$divide": ["$age", 0]}}}]),
        PEOPLE,
        error=DataError,
    ),
    Scenario("negative $limit", Aggregate(namespace=NS, pipeline=[{"$limit": -1}]), PEOPLE, error=DataError),
]

SLOW = {
    "$lookup": {
        "from": "things",
        "let": {"n": "$n"},
        "pipeline": [{"$match": {"$expr": {"$lt": ["$n", {"$add": ["$$n", "$_id"]}]}}}],
        "as": "x",
    }
}

TIME_LIMITS = [
    Scenario(
        "over its time limit",
        Aggregate(namespace=NS, pipeline=[SLOW, {"$unwind": "$x"}, {"$count": "n"}], max_time_ms=20),
        MANY,
        error=StoreTimeout,
    ),
    Scenario(
        "within its time limit",
        Aggregate(namespace=NS, pipeline=[{"$count": "n"}], max_time_ms=60_000),
        MANY,
        documents=[{"n": 1500}],
    ),
    Scenario(
        "within its time limit", FindOne(namespace=NS, filter={"_id": 1}, max_time_ms=60_000), PEOPLE, document=ANN
    ),
]


def totals(find: Find, *wanted: int | None) -> list[Scenario]:
    """What a find answers as its total, asked for none, for all, and up to one."""

    def told(wanted: int | None) -> Callable[[Any], bool]:
        return lambda result: result.total == wanted

    asked = zip((None, 0, 1), wanted, strict=True)
    return [Scenario(f"total {most}", altered(find, total=most), PEOPLE, check=told(total)) for most, total in asked]


COUNTS = [
    *totals(Find(namespace=NS, filter={"city": "Oslo"}, sort={"_id": 1}, limit=1), None, 2, 1),
    *totals(Find(namespace=NS, filter={"city": "Oslo"}, limit=1, skip=1), None, 2, 1),
    *totals(Find(namespace=NS, filter={"city": "Oslo"}, limit=5), None, 2, 2),
    *totals(Find(namespace=NS, filter={"city": "Oslo"}, limit=5, skip=9), None, 2, 1),
    *totals(Find(namespace=NS, filter={"city": "Rome"}, limit=5), None, 0, 0),
    *totals(Find(namespace=NS, limit=1, hint="_id_"), None, 4, 1),
    Scenario("all", CountDocuments(namespace=NS), PEOPLE, result=CountResult(4)),
    Scenario("filter", CountDocuments(namespace=NS, filter={"city": "Oslo"}), PEOPLE, result=CountResult(2)),
    Scenario("no match", CountDocuments(namespace=NS, filter={"city": "Rome"}), PEOPLE, result=CountResult(0)),
    Scenario("no collection", CountDocuments(namespace=NOWHERE), result=CountResult(0)),
    Scenario("limit", CountDocuments(namespace=NS, limit=3), PEOPLE, result=CountResult(3)),
    Scenario("skip", CountDocuments(namespace=NS, skip=3), PEOPLE, result=CountResult(1)),
    Scenario("skip and limit", CountDocuments(namespace=NS, skip=3, limit=3), PEOPLE, result=CountResult(1)),
    Scenario(
        "unknown operator", CountDocuments(namespace=NS, filter={"a": {"$nope": 1}}), PEOPLE, error=DataError, number=2
    ),
    Scenario("estimated", EstimatedDocumentCount(namespace=NS), PEOPLE, result=CountResult(4)),
    Scenario("estimated, no collection", EstimatedDocumentCount(namespace=NOWHERE), result=CountResult(0)),
    Scenario("values", Distinct(namespace=NS, key="age"), PEOPLE, check=lambda r: sorted(r.values) == [25, 30, 35]),
    Scenario(
        "through arrays", Distinct(namespace=NS, key="tags"), PEOPLE, check=lambda r: sorted(r.values) == ["a", "b"]
    ),
    Scenario("nested", Distinct(namespace=NS, key="address.zip"), PEOPLE, result=DistinctResult(["0150"])),
    Scenario("filtered", Distinct(namespace=NS, key="name", filter={"_id": 3}), PEOPLE, result=DistinctResult(["cid"])),
    Scenario("no such field", Distinct(namespace=NS, key="nothing"), PEOPLE, result=DistinctResult([])),
    Scenario("no collection", Distinct(namespace=NOWHERE, key="a"), result=DistinctResult([])),
    Scenario(
        "numbers of all types are one",
        Distinct(namespace=NS, key="v"),
        [{"_id": 1, "v": 5}, {"_id": 2, "v": 5.0}, {"_id": 3, "v": Int64(5)}],
        check=lambda r: r.values == [5],
    ),
]


@pytest.mark.parametrize("scenario", FIND_ONE + FIND + AGGREGATE + TIME_LIMITS + COUNTS, ids=str)
def test_reads(engine: Engine, scenario: Scenario, request: pytest.FixtureRequest) -> None:
    check(engine, scenario, request)
