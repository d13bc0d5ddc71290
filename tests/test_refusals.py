"""Actions that are refused, by us or by the database: status, text, code, and that nothing changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asgi import Application, Collection, application, with_things

from doorleaf.errors import MOST_TOLD

OID = "64224f3cd79f54ad342dd9b1"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Application]:
    with application(tmp_path) as running:
        yield running


@pytest.fixture
def things(app: Application) -> Collection:
    return with_things(app)


# --- every action, sad -------------------------------------------------------------------------------------------

WITH_FILTER = ["updateOne", "updateMany", "replaceOne", "deleteOne", "deleteMany"]
WITH_FILTER += ["findOneAndUpdate", "findOneAndReplace", "findOneAndDelete"]
CHANGE = {"update": {"$set": {"n": 1}}, "replacement": {"a": 1}}


@pytest.mark.parametrize("value", [[], 5, True, "x", None, [{}], 1.5, {"$oid": OID}, "ABSENT"])
@pytest.mark.parametrize("action", WITH_FILTER)
def test_a_filter_that_is_no_object_changes_nothing(things: Collection, action: str, value: Any) -> None:
    before = things.all()
    fields = dict(CHANGE) if value == "ABSENT" else {**CHANGE, "filter": value}
    assert "filter" in things.refused(action, **fields)["error"]
    assert things.all() == before


@pytest.mark.parametrize("value", [[], 5, True, "x", {"$oid": OID}])
@pytest.mark.parametrize("action", ["find", "findOne", "countDocuments", "distinct"])
def test_a_filter_that_is_no_object_reads_nothing(things: Collection, action: str, value: Any) -> None:
    assert "filter: expected an object, got" in things.refused(action, filter=value, key="n")["error"]


def test_kinds_of_wrong_values_are_named(things: Collection) -> None:
    texts = {
        "an array": [],
        "a string": "x",
        "a boolean": True,
        "a number": 5,
        "an ObjectId": {"$oid": OID},
        "a date": {"$date": "2024-01-01T00:00:00Z"},
        "binary data": {"$binary": {"base64": "aGk=", "subType": "00"}},
    }
    for text, value in texts.items():
        assert things.refused("find", filter=value)["error"] == f"filter: expected an object, got {text}"


@pytest.mark.parametrize(
    ("action", "fields", "text"),
    [
        ("find", {"limit": -1}, "limit: expected a non-negative integer, got -1"),
        ("find", {"limit": 1.5}, "limit: expected a non-negative integer, got 1.5"),
        ("find", {"limit": "5"}, "limit: expected a non-negative integer, got a string"),
        ("find", {"limit": True}, "limit: expected a non-negative integer, got a boolean"),
        ("find", {"limit": 50_001}, "limit: 50001 is above the cap of 50000"),
        ("find", {"skip": -1}, "skip: expected a non-negative integer, got -1"),
        ("find", {"sort": [["a", 1]]}, "sort: expected an object, got an array"),
        ("find", {"projection": "a"}, "projection: expected an object, got a string"),
        ("find", {"hint": ""}, "hint: expected a non-empty string, got an empty one"),
        ("find", {"hint": 5}, "hint: expected an index name or a key pattern, got a number"),
        ("find", {"maxTimeMS": 10**7}, "maxTimeMS: 10000000 is above the cap of 300000"),
        ("insertOne", {}, "document is required"),
        ("insertOne", {"document": [{"a": 1}]}, "document: expected an object, got an array"),
        ("insertMany", {}, "documents is required"),
        ("insertMany", {"documents": []}, "documents: must provide at least one element"),
        ("insertMany", {"documents": {"a": 1}}, "documents: expected an array of objects, got an object"),
        ("insertMany", {"documents": [{}, 5]}, "documents[1]: expected an object, got a number"),
        ("insertMany", {"documents": [{}], "ordered": 1}, "ordered: expected true or false, got a number"),
        ("updateOne", {"filter": {}}, "update is required"),
        ("updateOne", {"filter": {}, "update": {}}, "update: must not be empty"),
        ("updateOne", {"filter": {}, "update": []}, "update: must provide at least one element"),
        ("updateOne", {"filter": {}, "update": "x"}, "update: expected an object, or a non-empty array"),
        ("updateOne", {"filter": {}, "update": {"$set": {"a": 1}, "b": 2}}, "operator $set beside the plain field 'b'"),
        ("updateOne", {"filter": {}, "update": {"a": 1}, "arrayFilters": [{"x": 1}]}, "arrayFilters: need update"),
        ("updateOne", {"filter": {}, "update": {"$set": {"a": 1}}, "upsert": "yes"}, "upsert: expected true or false"),
        ("replaceOne", {"filter": {}, "replacement": {"$set": {"a": 1}}}, "must not contain atomic operators"),
        ("replaceOne", {"filter": {}, "replacement": []}, "replacement: expected an object, got an array"),
        ("findOneAndUpdate", {"filter": {}, "update": {"a": 1}}, "update: expected update operators"),
        ("findOneAndUpdate", {"filter": {}, "update": {"$set": {"a": 1}}, "returnDocument": "AFTER"}, "returnDocument"),
        (
            "findOneAndUpdate",
            {"filter": {}, "update": {"$set": {"a": 1}}, "returnDocument": "after", "returnNewDocument": False},
            "contradicts",
        ),
        ("findOneAndReplace", {"filter": {}, "replacement": {"$set": {"a": 1}}}, "must not contain atomic operators"),
        ("aggregate", {}, "pipeline is required"),
        ("aggregate", {"pipeline": {"$match": {}}}, "pipeline: expected an array of objects, got an object"),
        ("aggregate", {"pipeline": [{"$match": {}}, "x"]}, "pipeline[1]: expected an object, got a string"),
        ("distinct", {}, "key is required"),
        ("distinct", {"key": ""}, "key: expected a non-empty string"),
        ("distinct", {"key": 5}, "key: expected a non-empty string, got a number"),
        ("bulkWrite", {}, "operations is required"),
        ("bulkWrite", {"operations": []}, "operations: must provide at least one element"),
        ("bulkWrite", {"operations": [{"insertOne": {"document": {}}}, {}]}, "operations[1]: expected one key"),
        (
            "bulkWrite",
            {"operations": [{"deleteOne": {"filter": {}}, "insertOne": {}}]},
            "operations[0]: expected one key",
        ),
        ("bulkWrite", {"operations": [{"drop": {}}]}, "operations[0]: 'drop' is not a write"),
        ("bulkWrite", {"operations": [{"deleteMany": []}]}, "operations[0].deleteMany: expected an object"),
        (
            "bulkWrite",
            {"operations": [{"deleteMany": {"filter": []}}]},
            "operations[0].deleteMany.filter: expected an object",
        ),
        ("bulkWrite", {"operations": [{"deleteMany": {}}]}, "operations[0].deleteMany.filter is required"),
        (
            "bulkWrite",
            {"operations": [{"updateOne": {"filter": {}, "update": {"a": 1}}}]},
            "operations[0].updateOne.update: expected update operators",
        ),
        (
            "bulkWrite",
            {"operations": [{"replaceOne": {"filter": {}, "replacement": {"$set": {}}}}]},
            "operations[0].replaceOne.replacement",
        ),
        ("createIndex", {}, "keys is required"),
        ("createIndex", {"keys": {}}, "keys: must name at least one field"),
        ("createIndex", {"keys": ["a"]}, "keys: expected an object, got an array"),
        ("dropIndex", {}, "name is required"),
        ("dropIndex", {"name": "_id_"}, "_id_ cannot be dropped"),
        ("dropIndex", {"index": "*"}, "expected the name of one index"),
        ("dropIndex", {"index": "a", "name": "b"}, "contradicts"),
        ("runCommand", {}, "command is required"),
        ("runCommand", {"command": {}}, "first key"),
        ("runCommand", {"command": "ping"}, "command: expected an object, got a string"),
        ("runCommand", {"command": {"ping": 1, "maxTimeMS": 10**7}}, "above the cap of 300000"),
    ],
)
def test_refusals_say_what_was_expected(things: Collection, action: str, fields: dict[str, Any], text: str) -> None:
    before = things.all()
    assert text in things.refused(action, **fields)["error"]
    assert things.all() == before


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"collection": "a"}, "database is required"),
        ({"database": None, "collection": "a"}, "database is required"),
        ({"database": "a"}, "collection is required"),
        ({"database": "a", "collection": None}, "collection is required"),
        ({"database": "", "collection": "a"}, "database: expected a non-empty string"),
        ({"database": 5, "collection": "a"}, "database: expected a non-empty string, got a number"),
        ({"database": "a", "collection": ""}, "collection: expected a non-empty string"),
        ({"database": "a", "collection": ["b"]}, "collection: expected a non-empty string, got an array"),
        (
            {"dataSource": 5, "database": "a", "collection": "b"},
            "dataSource: expected a non-empty string, got a number",
        ),
        ({"dataSource": "", "database": "a", "collection": "b"}, "dataSource: expected a non-empty string"),
        ({"database": "a.b", "collection": "b"}, "Invalid database name"),
        ({"database": "a", "collection": "b$c"}, "Invalid collection name"),
    ],
)
def test_namespaces(app: Application, body: dict[str, Any], text: str) -> None:
    answer = app.act("find", body)
    assert answer.status == 400
    assert text in answer.json["error"]


def test_a_default_database(tmp_path: Path) -> None:
    with application(tmp_path, default_database="fallback") as app:
        assert app.act("insertOne", {"collection": "a", "document": {"_id": 1}}).status == 201
        assert app.act("countDocuments", {"database": "fallback", "collection": "a"}).json == {"count": 1}
        assert app.act("listCollections", {}).json["collections"][0]["name"] == "a"


def test_several_data_sources(tmp_path: Path) -> None:
    sources = {
        "one": {"data_dir": tmp_path / "one", "default": True, "aliases": ["Cluster0"]},
        "two": {"data_dir": tmp_path / "two", "aliases": ["mongodb-atlas"]},
    }
    with application(tmp_path, data_sources=sources) as app:
        place = {"database": "d", "collection": "c"}
        app.act("insertOne", {**place, "dataSource": "two", "document": {"_id": 2}})
        assert app.act("countDocuments", {**place, "dataSource": "mongodb-atlas"}).json == {"count": 1}
        assert app.act("countDocuments", {**place, "dataSource": "Cluster0"}).json == {"count": 0}
        assert app.act("countDocuments", place).json == {"count": 0}
        answer = app.act("countDocuments", {**place, "dataSource": "three"})
        assert answer.status == 400
        assert answer.json["error_code"] == "InvalidParameter"
        for name in ("one", "two", "Cluster0", "mongodb-atlas"):
            assert f"'{name}'" in answer.json["error"]


def test_unknown_keys_and_nulls_are_ignored(things: Collection) -> None:
    everything = {"projection": None, "sort": None, "limit": None, "skip": None, "collation": None, "hint": None}
    extra = {"batchSize": 5, "x-extra": {"a": 1}, "pipeline": 5}
    answer = things.ok("find", filter={"_id": 1}, **everything, **extra)
    assert answer == {"documents": [{"_id": 1, "n": 10, "tag": "odd"}]}


# --- failures of some of several writes --------------------------------------------------------------------------


def test_insert_many_tells_what_went_in(things: Collection) -> None:
    documents = [{"_id": 10}, {"_id": 1}, {"_id": 11}]
    body = things.refused("insertMany", status=409, documents=documents)
    assert body["error_code"] == "DuplicateKey"
    assert [(error["index"], error["code"]) for error in body["writeErrors"]] == [(1, 11000)]
    assert "E11000" in body["writeErrors"][0]["message"]
    assert body["insertedCount"] == 1
    assert [document["_id"] for document in things.all()] == [0, 1, 2, 3, 4, 10]
    unordered = things.refused("insertMany", status=409, documents=[{"_id": 1}, {"_id": 12}], ordered=False)
    assert unordered["insertedCount"] == 1
    assert things.ok("countDocuments", filter={"_id": 12}) == {"count": 1}


def test_bulk_write_tells_what_was_done(things: Collection) -> None:
    operations = [
        {"insertOne": {"document": {"_id": 10}}},
        {"updateOne": {"filter": {"_id": 1}, "update": {"$set": {"n": 1}}}},
        {"insertOne": {"document": {"_id": 1}}},
        {"deleteOne": {"filter": {"_id": 2}}},
    ]
    body = things.refused("bulkWrite", status=409, operations=operations)
    assert [error["index"] for error in body["writeErrors"]] == [2]
    counts = {name: body[name] for name in ("insertedCount", "matchedCount", "modifiedCount", "deletedCount")}
    assert counts == {"insertedCount": 1, "matchedCount": 1, "modifiedCount": 1, "deletedCount": 0}
    body = things.refused("bulkWrite", status=409, operations=operations[2:], ordered=False)
    assert body["deletedCount"] == 1


# --- errors of the database --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "fields", "status", "code"),
    [
        ("insertOne", {"document": {"_id": 1}}, 409, "DuplicateKey"),
        ("find", {"filter": {"a": {"$nonsense": 1}}}, 400, "BadValue"),
        ("find", {"filter": {"$nonsense": 1}}, 400, "BadValue"),
        ("updateOne", {"filter": {}, "update": {"$who": {"a": 1}}}, 400, "FailedToParse"),
        ("updateOne", {"filter": {"_id": 1}, "update": {"$set": {"_id": 2}}}, 400, "ImmutableField"),
        ("aggregate", {"pipeline": [{"$who": 1}]}, 400, "Location40324"),
        ("find", {"filter": {"$where": "true"}}, 403, "PermissionDenied"),
        ("aggregate", {"pipeline": [{"$out": "x"}]}, 403, "PermissionDenied"),
        ("runCommand", {"command": {"dropDatabase": 1}}, 403, "PermissionDenied"),
        ("runCommand", {"command": {"DROPDATABASE": 1}}, 403, "PermissionDenied"),
        ("runCommand", {"command": {"mapReduce": "things"}}, 403, "PermissionDenied"),
    ],
)
def test_errors_have_their_own_status(
    things: Collection, action: str, fields: dict[str, Any], status: int, code: str
) -> None:
    before = things.all()
    assert things.refused(action, status=status, **fields)["error_code"] == code
    assert things.all() == before


def test_the_text_of_an_unknown_operator(things: Collection) -> None:
    assert "unknown top level operator: $x" in things.refused("find", filter={"$x": 1})["error"]


LONG = "x" * 100_000
ZONE = {"$dateToString": {"date": {"$date": "2024-01-01T00:00:00Z"}, "timezone": LONG}}
COMPUTED = {"$toInt": {"$concat": ["$tag", LONG]}}


@pytest.mark.parametrize(
    ("action", "fields", "begins", "ends"),
    [
        ("aggregate", {"pipeline": [{"$project": {"a": ZONE}}]}, "Invalid $project :: caused by ::", '"'),
        ("aggregate", {"pipeline": [{"$project": {"a": COMPUTED}}]}, "Failed to parse number 'even", ""),
        ("find", {"filter": {}, "collation": {"locale": LONG}}, "collation with locale", ""),
        ("find", {"filter": {"a": {"$type": LONG}}}, "Unknown type name alias", ""),
        ("find", {"filter": {f"${LONG}": 1}}, "unknown top level operator", "$getField"),
        ("updateOne", {"filter": {"_id": 1}, "update": {"$inc": {f"tag.{LONG}": 1}}}, "Cannot create field", "}"),
        ("bulkWrite", {"operations": [{LONG: 1}]}, "operations[0]: 'xx", ""),
    ],
)
def test_little_is_quoted_of_a_long_request(
    things: Collection, action: str, fields: dict[str, Any], begins: str, ends: str
) -> None:
    text = things.refused(action, **fields)["error"]
    assert text.startswith(begins)
    assert ends in text[-200:]
    assert len(text) <= MOST_TOLD


def test_little_is_quoted_of_several_writes_that_fail(things: Collection) -> None:
    documents = [{"_id": LONG}, {"_id": LONG}, {"_id": {f"${LONG}": 1}}, {"_id": 1}]
    body = things.refused("insertMany", status=409, documents=documents, ordered=False)
    assert [error["index"] for error in body["writeErrors"]] == [1, 2, 3]
    assert body["insertedIds"] == [LONG]
    for text in (body["error"], *(error["message"] for error in body["writeErrors"])):
        assert len(text) <= MOST_TOLD
    assert 'dup key: { _id: "xxx' in body["error"]


@pytest.mark.parametrize("database", ["doorleaf", "Doorleaf"])
def test_the_system_database_is_not_reachable(app: Application, database: str) -> None:
    attempts: list[tuple[str, dict[str, Any]]] = [
        ("find", {}),
        ("deleteMany", {"filter": {}}),
        ("listCollections", {}),
        ("dropCollection", {}),
    ]
    for action, fields in attempts:
        answer = app.act(action, {"database": database, "collection": "keys", **fields})
        assert answer.status == 403
    assert b"doorleaf" not in app.act("listDatabases", {}).body
    command = {"database": "shop", "command": {"listDatabases": 1}}
    assert b"doorleaf" not in app.act("runCommand", command).body


def test_validators_are_400_with_their_name(app: Application) -> None:
    strict = Collection(app, "strict")
    strict.ok("createCollection", options={"validator": {"n": {"$gt": 0}}})
    assert strict.refused("insertOne", document={"n": -1})["error_code"] == "DocumentValidationFailure"
    strict.ok("insertOne", document={"n": 1})
