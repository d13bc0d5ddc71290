"""Find-and-modify and bulk writes, on every engine alike."""

from __future__ import annotations

import pytest
from bson import ObjectId
from scenarios import NS, THREE, UNIQUE, Engine, Scenario, check, placed, unique_database

from doorleaf.errors import DataError, DuplicateKey, WriteFailed
from doorleaf.operations import (
    BulkWrite,
    DeleteMany,
    DeleteOne,
    FindOneAndDelete,
    FindOneAndReplace,
    FindOneAndUpdate,
    InsertOne,
    ReplaceOne,
    UpdateMany,
    UpdateOne,
    Write,
)
from doorleaf.operations.results import BulkWriteResult
from doorleaf.stores.base import Store


def update(filter: dict[str, object], change: object, **more: object) -> FindOneAndUpdate:
    return FindOneAndUpdate(namespace=NS, filter=filter, update=change, **more)  # type: ignore[arg-type]


def replacing(filter: dict[str, object], replacement: dict[str, object], **more: object) -> FindOneAndReplace:
    return FindOneAndReplace(namespace=NS, filter=filter, replacement=replacement, **more)  # type: ignore[arg-type]


def delete(filter: dict[str, object], **more: object) -> FindOneAndDelete:
    return FindOneAndDelete(namespace=NS, filter=filter, **more)  # type: ignore[arg-type]


FIND_AND = [
    Scenario("after", update({"_id": 2}, {"$inc": {"k": 5}}), THREE, document={"_id": 2, "k": 7}),
    Scenario(
        "before",
        update({"_id": 2}, {"$inc": {"k": 5}}, return_new_document=False),
        THREE,
        document={"_id": 2, "k": 2},
        after=[THREE[0], {"_id": 2, "k": 7}, THREE[2]],
    ),
    Scenario("no match", update({"_id": 9}, {"$inc": {"k": 5}}), THREE, no_document=True, after=THREE),
    Scenario("no collection", update({"_id": 9}, {"$inc": {"k": 5}}), no_document=True),
    Scenario("sort", update({}, {"$set": {"x": 1}}, sort={"k": -1}), THREE, document={"_id": 3, "k": 3, "x": 1}),
    Scenario(
        "sort by a double", update({}, {"$set": {"x": 1}}, sort={"k": -1.0}), THREE, document={"_id": 3, "k": 3, "x": 1}
    ),
    Scenario(
        "projection", update({"_id": 1}, {"$set": {"x": 1}}, projection={"x": 1, "_id": 0}), THREE, document={"x": 1}
    ),
    Scenario("upsert, after", update({"_id": 0}, {"$set": {"x": 1}}, upsert=True), document={"_id": 0, "x": 1}),
    Scenario(
        "upsert, before",
        update({"_id": 0}, {"$set": {"x": 1}}, upsert=True, return_new_document=False),
        no_document=True,
        after=[{"_id": 0, "x": 1}],
    ),
    Scenario(
        "pipeline",
        update({"_id": 1}, [{"$set": {"x": {"$add": ["$k", 1]}}}]),
        THREE,
        document={"_id": 1, "k": 1, "x": 2},
    ),
    Scenario(
        "arrayFilters",
        update({}, {"$set": {"a.$[i]": 0}}, array_filters=[{"i": {"$gt": 1}}]),
        [{"_id": 1, "a": [1, 2, 3]}],
        document={"_id": 1, "a": [1, 0, 0]},
    ),
    Scenario(
        "positional",
        update({"a": 2}, {"$set": {"a.$": 9}}),
        [{"_id": 1, "a": [1, 2, 3]}],
        document={"_id": 1, "a": [1, 9, 3]},
        excused={"secantus": "does not find the position in a find-and-modify"},
    ),
    Scenario("unknown operator", update({}, {"$nope": {"a": 1}}), THREE, error=DataError, number=9, after=THREE),
    Scenario("no operator", update({}, {"a": 1}), THREE, error=DataError, number=9, after=THREE),
    Scenario(
        "unique key is there",
        update({"_id": 1}, {"$set": {"k": 2}}),
        THREE,
        indexes=UNIQUE,
        error=DuplicateKey,
        number=11000,
        after=THREE,
    ),
    Scenario("after", replacing({"_id": 2}, {"z": 1}), THREE, document={"_id": 2, "z": 1}),
    Scenario("before", replacing({"_id": 2}, {"z": 1}, return_new_document=False), THREE, document={"_id": 2, "k": 2}),
    Scenario("no match", replacing({"_id": 9}, {"z": 1}), THREE, no_document=True, after=THREE),
    Scenario("upsert", replacing({"_id": ""}, {"z": 1}, upsert=True), document={"_id": "", "z": 1}),
    Scenario("another _id", replacing({"_id": 1}, {"_id": 2}), THREE, error=DataError, number=66, after=THREE),
    Scenario("operators", replacing({"_id": 1}, {"$set": {"a": 1}}), THREE, error=DataError, number=52, after=THREE),
    Scenario("gives it back", delete({"_id": 2}), THREE, document={"_id": 2, "k": 2}, after=[THREE[0], THREE[2]]),
    Scenario("no match", delete({"_id": 9}), THREE, no_document=True, after=THREE),
    Scenario(
        "sort and projection",
        delete({}, sort={"k": -1}, projection={"k": 1, "_id": 0}),
        THREE,
        document={"k": 3},
        after=THREE[:2],
    ),
    Scenario("bad operator", delete({"a": {"$nope": 1}}), THREE, error=DataError, number=2, after=THREE),
]


def bulk(*operations: Write, ordered: bool = True) -> BulkWrite:
    return BulkWrite(namespace=NS, operations=list(operations), ordered=ordered)


def insert(key: object) -> InsertOne:
    return InsertOne(namespace=NS, document={"_id": key})


def set_one(key: object, value: object, *, upsert: bool = False) -> UpdateOne:
    return UpdateOne(namespace=NS, filter={"_id": key}, update={"$set": {"k": value}}, upsert=upsert)


BULK = [
    Scenario(
        "one of each",
        bulk(
            insert(10),
            set_one(1, 5),
            UpdateMany(namespace=NS, filter={"k": {"$gte": 2}}, update={"$inc": {"k": 1}}),
            ReplaceOne(namespace=NS, filter={"_id": 2}, replacement={"z": 1}),
            DeleteOne(namespace=NS, filter={"_id": 3}),
            DeleteMany(namespace=NS, filter={"_id": {"$gt": 8}}),
            set_one(0, 1, upsert=True),
        ),
        THREE,
        result=BulkWriteResult(
            inserted_count=1,
            matched_count=5,
            modified_count=5,
            deleted_count=2,
            upserted_count=1,
            upserted_ids={"6": 0},
            inserted_ids={"0": 10},
        ),
        after=[{"_id": 0, "k": 1}, {"_id": 1, "k": 6}, {"_id": 2, "z": 1}],
    ),
    Scenario(
        "unordered, upserts of 0 and nothing",
        bulk(set_one(0, 1, upsert=True), insert(5), set_one("", 1, upsert=True), ordered=False),
        result=BulkWriteResult(
            inserted_count=1, upserted_count=2, upserted_ids={"0": 0, "2": ""}, inserted_ids={"1": 5}
        ),
        after=[{"_id": 0, "k": 1}, {"_id": 5}, {"_id": "", "k": 1}],
    ),
    Scenario(
        "_ids are made",
        bulk(InsertOne(namespace=NS, document={"a": 1})),
        check=lambda r: isinstance(r.inserted_ids["0"], ObjectId),
    ),
    Scenario(
        "ordered stops at the first failure",
        bulk(insert(10), set_one(1, 7), insert(2), insert(11)),
        THREE,
        error=WriteFailed,
        number=11000,
        fields={
            "insertedCount": 1,
            "matchedCount": 1,
            "modifiedCount": 1,
            "deletedCount": 0,
            "upsertedCount": 0,
            "upsertedIds": {},
            "insertedIds": {"0": 10},
            "writeErrors": [{"index": 2, "code": 11000}],
        },
        after=[{"_id": 1, "k": 7}, THREE[1], THREE[2], {"_id": 10}],
    ),
    Scenario(
        "unordered goes on",
        bulk(insert(1), insert(10), set_one(2, 1), set_one(3, 9), insert(3), ordered=False),
        THREE,
        indexes=[({"k": 1}, {"unique": True, "sparse": True})],
        error=WriteFailed,
        fields={
            "insertedCount": 1,
            "matchedCount": 1,
            "modifiedCount": 1,
            "deletedCount": 0,
            "upsertedCount": 0,
            "upsertedIds": {},
            "insertedIds": {"1": 10},
            "writeErrors": [{"index": 0, "code": 11000}, {"index": 2, "code": 11000}, {"index": 4, "code": 11000}],
        },
        after=[THREE[0], THREE[1], {"_id": 3, "k": 9}, {"_id": 10}],
    ),
    Scenario(
        "arrayFilters and pipelines",
        bulk(
            UpdateOne(
                namespace=NS, filter={"_id": 1}, update={"$set": {"a.$[i]": 0}}, array_filters=[{"i": {"$gt": 1}}]
            ),
            UpdateOne(namespace=NS, filter={"_id": 1}, update=[{"$set": {"n": {"$size": "$a"}}}]),
        ),
        [{"_id": 1, "a": [1, 2]}],
        result=BulkWriteResult(matched_count=2, modified_count=2),
        after=[{"_id": 1, "a": [1, 0], "n": 2}],
    ),
    Scenario(
        "an error that is not a duplicate",
        bulk(UpdateOne(namespace=NS, filter={"_id": 1}, update={"$inc": {"s": 1}}), insert(2)),
        [{"_id": 1, "s": "x"}],
        error=WriteFailed,
        number=14,
        fields={
            "insertedCount": 0,
            "matchedCount": 0,
            "modifiedCount": 0,
            "deletedCount": 0,
            "upsertedCount": 0,
            "upsertedIds": {},
            "insertedIds": {},
            "writeErrors": [{"index": 0, "code": 14}],
        },
        after=[{"_id": 1, "s": "x"}],
    ),
]


@pytest.mark.parametrize("scenario", FIND_AND + BULK, ids=str)
def test_find_and_bulk(engine: Engine, scenario: Scenario, request: pytest.FixtureRequest) -> None:
    check(engine, scenario, request)


@pytest.mark.parametrize("ordered", [False, True])
def test_very_many_failures_are_each_named_and_tell_a_mebibyte(engine: Engine, *, ordered: bool) -> None:
    document, database = {"_id": "words " * 300, "s": "x"}, unique_database()
    wrong = UpdateOne(namespace=NS, filter={}, update={"$inc": {"s": 1}})

    async def body(store: Store) -> None:
        await store.execute(placed(InsertOne(namespace=NS, document=document), database))
        with pytest.raises(WriteFailed) as failed:
            await store.execute(placed(bulk(*[wrong] * 1_300, insert(1), ordered=ordered), database))
        errors = failed.value.fields["writeErrors"]
        assert [error["index"] for error in errors] == ([0] if ordered else [*range(1_300)])
        assert {error["code"] for error in errors} == {14}
        assert failed.value.message == errors[0]["message"]
        assert "words words" in errors[0]["message"]
        if not ordered:
            assert errors[-1]["message"] == "TypeMismatch"
            assert len({error["message"] for error in errors}) == 2
            assert 1_000_000 < sum(len(error["message"]) for error in errors) < 1_100_000
            assert failed.value.fields["insertedIds"] == {"1300": 1}

    engine.run(body)


def test_status_of_a_failed_batch_is_that_of_its_first_error() -> None:
    assert WriteFailed("x", number=11000, fields={}).status == 409
    assert WriteFailed("x", number=14, fields={}).status == 400
