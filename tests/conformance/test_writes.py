"""Inserts and deletes, on every engine alike."""

from __future__ import annotations

import pytest
from bson import Int64, ObjectId
from scenarios import NS, THREE, UNIQUE, Engine, Scenario, check

from doorleaf.errors import DataError, DuplicateKey, InvalidParameter, ValidationFailed, WriteFailed
from doorleaf.operations import DeleteMany, DeleteOne, InsertMany, InsertOne, ReplaceOne, UpdateOne
from doorleaf.operations.results import DeleteResult, InsertManyResult, InsertOneResult, UpdateResult

NAME_IS_NO_STRING = {
    "failingDocumentId": 1,
    "details": {
        "operatorName": "$jsonSchema",
        "schemaRulesNotSatisfied": [
            {
                "operatorName": "properties",
                "propertiesNotSatisfied": [
                    {
                        "propertyName": "name",
                        "details": [
                            {
                                "operatorName": "bsonType",
                                "specifiedAs": {"bsonType": "string"},
                                "reason": "type did not match",
                                "consideredValue": 5,
                                "consideredType": "int",
                            }
                        ],
                    }
                ],
            }
        ],
    },
}
SCHEMA = {"validator": {"$jsonSchema": {"required": ["name"], "properties": {"name": {"bsonType": "string"}}}}}


def insert_one(document: dict[str, object], **more: object) -> InsertOne:
    return InsertOne(namespace=NS, document=document, **more)  # type: ignore[arg-type]


def is_object_id(result: InsertOneResult) -> bool:
    return isinstance(result.inserted_id, ObjectId)


INSERTS = [
    Scenario("with an _id", insert_one({"_id": 7, "a": 1}), result=InsertOneResult(7), after=[{"_id": 7, "a": 1}]),
    Scenario("an _id is made", insert_one({"a": 1}), check=is_object_id),
    Scenario("_id 0", insert_one({"_id": 0}), result=InsertOneResult(0), after=[{"_id": 0}]),
    Scenario("_id of nothing", insert_one({"_id": ""}), result=InsertOneResult(""), after=[{"_id": ""}]),
    Scenario("_id null", insert_one({"_id": None}), result=InsertOneResult(None), after=[{"_id": None}]),
    Scenario("_id of an object", insert_one({"_id": {"a": 1, "b": 2}}), result=InsertOneResult({"a": 1, "b": 2})),
    Scenario(
        "_id that is a long", insert_one({"_id": Int64(5)}), result=InsertOneResult(Int64(5)), after=[{"_id": Int64(5)}]
    ),
    Scenario("_id comes first", insert_one({"a": 1, "_id": 2}), result=InsertOneResult(2), after=[{"_id": 2, "a": 1}]),
    Scenario(
        "_id that is an array",
        insert_one({"_id": [1]}),
        error=DataError,
        number=53,
        after=[],
        excused={"secantus": "takes an array as _id"},
    ),
    Scenario("_id is there", insert_one({"_id": 1}), THREE, error=DuplicateKey, number=11000, after=THREE),
    Scenario(
        "_id is there as a double", insert_one({"_id": 1.0}), THREE, error=DuplicateKey, number=11000, after=THREE
    ),
    Scenario(
        "unique key is there",
        insert_one({"_id": 9, "k": 2}),
        THREE,
        indexes=UNIQUE,
        error=DuplicateKey,
        number=11000,
        after=THREE,
    ),
    Scenario("comment", insert_one({"_id": 1}, comment="a test"), result=InsertOneResult(1)),
    Scenario(
        "validator says no",
        insert_one({"_id": 1, "name": 5}),
        options=SCHEMA,
        error=ValidationFailed,
        number=121,
        fields={"errInfo": NAME_IS_NO_STRING},
        after=[],
    ),
    Scenario(
        "operators of a validator",
        UpdateOne(namespace=NS, filter={"_id": 1}, update={"$set": {"k": 9}}),
        THREE[:1],
        options={"validator": {"k": {"$lt": 5}}},
        error=ValidationFailed,
        number=121,
        fields={
            "errInfo": {
                "failingDocumentId": 1,
                "details": {
                    "operatorName": "$lt",
                    "specifiedAs": {"k": {"$lt": 5}},
                    "reason": "comparison failed",
                    "consideredValue": 9,
                },
            }
        },
        after=THREE[:1],
    ),
    Scenario(
        "a name with a dollar in a new document",
        ReplaceOne(namespace=NS, filter={"_id": 9}, replacement={"k": 1, "$price": 5}, upsert=True),
        result=UpdateResult(0, 0, 9),
        after=[{"_id": 9, "k": 1, "$price": 5}],
    ),
    Scenario(
        "a name with a dollar in a document that is there",
        ReplaceOne(namespace=NS, filter={"_id": 1}, replacement={"k": 1, "$price": 5}, upsert=True),
        THREE,
        error=DataError,
        number=52,
        after=THREE,
    ),
    Scenario("validator says yes", insert_one({"_id": 1, "name": "a"}), options=SCHEMA, result=InsertOneResult(1)),
    Scenario("integer beyond 64 bits", insert_one({"_id": 1, "a": 2**64}), error=InvalidParameter),
    Scenario(
        "in order",
        InsertMany(namespace=NS, documents=[{"_id": 3}, {"_id": 1}, {"_id": "x"}]),
        result=InsertManyResult([3, 1, "x"]),
        after=[{"_id": 1}, {"_id": 3}, {"_id": "x"}],
    ),
    Scenario(
        "_ids are made",
        InsertMany(namespace=NS, documents=[{"a": 1}, {"_id": 2}]),
        check=lambda r: isinstance(r.inserted_ids[0], ObjectId) and r.inserted_ids[1] == 2,
    ),
    Scenario(
        "ordered stops at the first failure",
        InsertMany(namespace=NS, documents=[{"_id": 10}, {"_id": 1}, {"_id": 11}]),
        THREE,
        error=WriteFailed,
        number=11000,
        fields={"insertedCount": 1, "insertedIds": [10], "writeErrors": [{"index": 1, "code": 11000}]},
        after=[*THREE, {"_id": 10}],
    ),
    Scenario(
        "unordered goes on",
        InsertMany(namespace=NS, documents=[{"_id": 10}, {"_id": 1}, {"_id": 11}, {"_id": 2}], ordered=False),
        THREE,
        error=WriteFailed,
        number=11000,
        fields={
            "insertedCount": 2,
            "insertedIds": [10, 11],
            "writeErrors": [{"index": 1, "code": 11000}, {"index": 3, "code": 11000}],
        },
        after=[*THREE, {"_id": 10}, {"_id": 11}],
    ),
]

DELETES = [
    Scenario(
        "one", DeleteOne(namespace=NS, filter={"_id": 2}), THREE, result=DeleteResult(1), after=[THREE[0], THREE[2]]
    ),
    Scenario("one of several", DeleteOne(namespace=NS, filter={}), THREE, result=DeleteResult(1)),
    Scenario("no match", DeleteOne(namespace=NS, filter={"_id": 9}), THREE, result=DeleteResult(0), after=THREE),
    Scenario("no collection", DeleteOne(namespace=NS, filter={}), result=DeleteResult(0)),
    Scenario(
        "bad operator",
        DeleteOne(namespace=NS, filter={"a": {"$nope": 1}}),
        THREE,
        error=DataError,
        number=2,
        after=THREE,
    ),
    Scenario(
        "hint",
        DeleteOne(namespace=NS, filter={"k": 2}, hint="k_1"),
        THREE,
        indexes=[({"k": 1}, {})],
        result=DeleteResult(1),
    ),
    Scenario(
        "many", DeleteMany(namespace=NS, filter={"k": {"$gt": 1}}), THREE, result=DeleteResult(2), after=THREE[:1]
    ),
    Scenario("all", DeleteMany(namespace=NS, filter={}), THREE, result=DeleteResult(3), after=[]),
    Scenario("none", DeleteMany(namespace=NS, filter={"k": 9}), THREE, result=DeleteResult(0), after=THREE),
    Scenario(
        "let",
        DeleteMany(namespace=NS, filter={"$expr": {"$lt": ["$k", "$$v"]}}, let={"v": 3}),
        THREE,
        result=DeleteResult(2),
        after=THREE[2:],
    ),
    Scenario(
        "bad operator", DeleteMany(namespace=NS, filter={"$nope": 1}), THREE, error=DataError, number=2, after=THREE
    ),
]


@pytest.mark.parametrize("scenario", INSERTS + DELETES, ids=str)
def test_writes(engine: Engine, scenario: Scenario, request: pytest.FixtureRequest) -> None:
    check(engine, scenario, request)
