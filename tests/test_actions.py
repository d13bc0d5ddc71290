"""The 26 actions through the application, on a real embedded database: request → status, body, forbidden content."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest
from asgi import KEY, Application, Collection, application, with_things

from doorleaf.operations import OPERATIONS

EJSON = {"Accept": "application/ejson"}
OID = "64224f3cd79f54ad342dd9b1"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Application]:
    with application(tmp_path) as running:
        yield running


@pytest.fixture
def things(app: Application) -> Collection:
    return with_things(app)


IDS = [{"_id": index} for index in range(5)]
ONLY_ID = {"_id": 1}

# --- every action, happy -----------------------------------------------------------------------------------------


ANSWERS: list[tuple[str, dict[str, Any], Any]] = [
    ("findOne", {"filter": {"n": 20}}, {"document": {"_id": 2, "n": 20, "tag": "even"}}),
    ("findOne", {"filter": {"n": 21}}, {"document": None}),
    ("findOne", {"sort": {"n": -1}, "projection": ONLY_ID}, {"document": {"_id": 4}}),
    (
        "findOne",
        {"filter": None, "projection": None, "sort": {"_id": 1}},
        {"document": {"_id": 0, "n": 0, "tag": "even"}},
    ),
    ("find", {"filter": {"tag": "odd"}, "projection": ONLY_ID, "sort": {"_id": 1}}, {"documents": [IDS[1], IDS[3]]}),
    ("find", {"projection": ONLY_ID, "sort": {"_id": -1}, "skip": 1, "limit": 2}, {"documents": [IDS[3], IDS[2]]}),
    ("find", {"projection": ONLY_ID, "sort": {"_id": 1}, "limit": 0}, {"documents": IDS}),
    (
        "find",
        {"projection": ONLY_ID, "sort": {"_id": 1}, "limit": 2.0, "skip": {"$numberInt": "1"}},
        {"documents": IDS[1:3]},
    ),
    ("find", {"filter": {"n": 999}}, {"documents": []}),
    ("insertOne", {"document": {"_id": "x"}}, {"insertedId": "x"}),
    ("insertOne", {"document": {"_id": 5}}, {"insertedId": 5}),
    ("insertOne", {"document": {"_id": {"$oid": OID}}}, {"insertedId": OID}),
    ("insertMany", {"documents": [{"_id": 9}, {"_id": "8"}]}, {"insertedIds": [9, "8"]}),
    ("updateOne", {"filter": {"_id": 1}, "update": {"$set": {"n": 5}}}, {"matchedCount": 1, "modifiedCount": 1}),
    ("updateOne", {"filter": {"_id": 1}, "update": {"$set": {"n": 10}}}, {"matchedCount": 1, "modifiedCount": 0}),
    ("updateOne", {"filter": {"_id": 77}, "update": {"$set": {"n": 5}}}, {"matchedCount": 0, "modifiedCount": 0}),
    (
        "updateOne",
        {"filter": {"_id": 77}, "update": {"$set": {"n": 5}}, "upsert": True},
        {"matchedCount": 0, "modifiedCount": 0, "upsertedId": 77},
    ),
    (
        "updateOne",
        {"filter": {"_id": 1}, "update": [{"$set": {"m": {"$add": ["$n", 1]}}}]},
        {"matchedCount": 1, "modifiedCount": 1},
    ),
    ("updateMany", {"filter": {"tag": "even"}, "update": {"$inc": {"n": 1}}}, {"matchedCount": 3, "modifiedCount": 3}),
    ("replaceOne", {"filter": {"_id": 1}, "replacement": {"a": 1}}, {"matchedCount": 1, "modifiedCount": 1}),
    (
        "replaceOne",
        {"filter": {"_id": ""}, "replacement": {"a": 1}, "upsert": True},
        {"matchedCount": 0, "modifiedCount": 0, "upsertedId": ""},
    ),
    ("deleteOne", {"filter": {"tag": "odd"}}, {"deletedCount": 1}),
    ("deleteMany", {"filter": {"tag": "odd"}}, {"deletedCount": 2}),
    ("deleteMany", {"filter": {}}, {"deletedCount": 5}),
    (
        "aggregate",
        {"pipeline": [{"$group": {"_id": "$tag", "sum": {"$sum": "$n"}}}, {"$sort": {"_id": 1}}]},
        {"documents": [{"_id": "even", "sum": 60}, {"_id": "odd", "sum": 40}]},
    ),
    ("aggregate", {"pipeline": [{"$match": {"n": 999}}]}, {"documents": []}),
    ("countDocuments", {"filter": {"n": {"$gte": 20}}}, {"count": 3}),
    ("countDocuments", {}, {"count": 5}),
    ("estimatedDocumentCount", {}, {"count": 5}),
    ("distinct", {"key": "tag"}, {"values": ["even", "odd"]}),
    ("distinct", {"key": "n", "filter": {"n": {"$lt": 20}}}, {"values": [0, 10]}),
    (
        "findOneAndUpdate",
        {"filter": {"_id": 1}, "update": {"$set": {"n": 5}}, "projection": {"n": 1}},
        {"document": {"_id": 1, "n": 5}},
    ),
    (
        "findOneAndUpdate",
        {"filter": {"_id": 1}, "update": {"$set": {"n": 5}}, "projection": {"n": 1}, "returnNewDocument": False},
        {"document": {"_id": 1, "n": 10}},
    ),
    (
        "findOneAndUpdate",
        {"filter": {"_id": 1}, "update": {"$set": {"n": 5}}, "projection": {"n": 1}, "returnDocument": "before"},
        {"document": {"_id": 1, "n": 10}},
    ),
    (
        "findOneAndUpdate",
        {"filter": {"_id": 1}, "update": {"$set": {"n": 5}}, "projection": {"n": 1}, "returnDocument": "after"},
        {"document": {"_id": 1, "n": 5}},
    ),
    ("findOneAndUpdate", {"filter": {"_id": 77}, "update": {"$set": {"n": 5}}}, {"document": None}),
    (
        "findOneAndUpdate",
        {"filter": {"_id": 77}, "update": {"$set": {"n": 5}}, "upsert": True},
        {"document": {"_id": 77, "n": 5}},
    ),
    (
        "findOneAndUpdate",
        {"filter": {"_id": 77}, "update": {"$set": {"n": 5}}, "upsert": True, "returnNewDocument": False},
        {"document": None},
    ),
    ("findOneAndReplace", {"filter": {"_id": 1}, "replacement": {"a": 1}}, {"document": {"_id": 1, "a": 1}}),
    (
        "findOneAndReplace",
        {"filter": {"tag": "even"}, "sort": {"n": -1}, "replacement": {"a": 1}, "returnNewDocument": False},
        {"document": {"_id": 4, "n": 40, "tag": "even"}},
    ),
    (
        "findOneAndDelete",
        {"filter": {"tag": "odd"}, "sort": {"n": -1}, "projection": {"_id": 1}},
        {"document": {"_id": 3}},
    ),
    ("findOneAndDelete", {"filter": {"tag": "none"}}, {"document": None}),
    ("renameCollection", {"to": "others"}, {"ok": 1}),
    ("dropCollection", {}, {"ok": 1}),
    ("listCollections", {}, {"collections": [{"name": "things", "type": "collection"}]}),
    ("listIndexes", {}, {"indexes": [{"v": 2, "key": {"_id": 1}, "name": "_id_"}]}),
    (
        "createIndex",
        {"keys": {"n": 1, "tag": -1}},
        {"createdCollectionAutomatically": False, "numIndexesBefore": 1, "numIndexesAfter": 2, "ok": 1},
    ),
    ("runCommand", {"command": {"ping": 1}}, {"result": {"ok": 1}}),
    ("runCommand", {"command": {"count": "things"}}, {"result": {"n": 5, "ok": 1}}),
]


@pytest.mark.parametrize(("action", "fields", "answer"), ANSWERS)
def test_answers(things: Collection, action: str, fields: dict[str, Any], answer: dict[str, Any]) -> None:
    assert things.ok(action, **fields) == answer


def test_every_action_is_shown() -> None:
    elsewhere = {"bulkWrite", "createCollection", "dropIndex", "listDatabases"}
    assert {action for action, _, _ in ANSWERS} | elsewhere == set(OPERATIONS)
    assert len(OPERATIONS) == 26


def test_bulk_write_counts_everything(things: Collection) -> None:
    answer = things.ok(
        "bulkWrite",
        operations=[
            {"insertOne": {"document": {"_id": 10, "n": 1}}},
            {"updateOne": {"filter": {"_id": 1}, "update": {"$set": {"n": 1}}}},
            {"updateMany": {"filter": {"tag": "even"}, "update": [{"$set": {"n": 2}}]}},
            {"updateOne": {"filter": {"_id": 0.5}, "update": {"$set": {"a": 1}}, "upsert": True}},
            {"replaceOne": {"filter": {"_id": 3}, "replacement": {"b": 1}}},
            {"deleteOne": {"filter": {"_id": 4}}},
            {"deleteMany": {"filter": {"n": 1}}},
        ],
    )
    assert answer == {
        "insertedCount": 1,
        "matchedCount": 5,
        "modifiedCount": 5,
        "deletedCount": 3,
        "upsertedCount": 1,
        "upsertedIds": {"3": 0.5},
        "insertedIds": {"0": 10},
    }
    assert [document["_id"] for document in things.all()] == [0, 0.5, 2, 3]


def test_collections_and_indexes(app: Application) -> None:
    fresh = Collection(app, "fresh")
    made = fresh.ok("createIndex", keys={"b": 1, "a": -1}, options={"unique": True, "name": "by_b"})
    assert made == {"createdCollectionAutomatically": True, "numIndexesBefore": 1, "numIndexesAfter": 2, "ok": 1}
    again = fresh.ok("createIndex", keys={"b": 1, "a": -1}, options={"unique": True, "name": "by_b"})
    assert again == {"createdCollectionAutomatically": False, "numIndexesBefore": 2, "numIndexesAfter": 2, "ok": 1}
    answer = fresh.act("listIndexes")
    assert b'{"b":1,"a":-1}' in answer.body
    assert answer.json["indexes"][1]["unique"] is True
    assert fresh.ok("dropIndex", name="by_b") == {"nIndexesWas": 2, "ok": 1}
    fresh.ok("createIndex", keys={"c": 1})
    assert fresh.ok("dropIndex", index="c_1") == {"nIndexesWas": 2, "ok": 1}
    assert fresh.refused("dropIndex", name="c_1")["error_code"] == "IndexNotFound"
    assert Collection(app, "made").ok("createCollection") == {"ok": 1}
    assert Collection(app, "made").refused("createCollection")["error_code"] == "NamespaceExists"
    names = [item["name"] for item in fresh.ok("listCollections")["collections"]]
    assert sorted(names) == ["fresh", "made"]
    assert Collection(app, "made").ok("dropCollection") == {"ok": 1}
    assert Collection(app, "made").ok("dropCollection") == {"ok": 1}


def test_list_databases(things: Collection) -> None:
    answer = things.ok("listDatabases")
    [database] = answer["databases"]
    assert (database["name"], database["empty"], answer["ok"]) == ("shop", False, 1)
    assert answer["totalSize"] == database["sizeOnDisk"] > 0
    assert things.app.act("listDatabases", {}).json == answer


def test_what_does_not_exist_reads_as_empty(app: Application) -> None:
    nothing = Collection(app, "nothing")
    assert nothing.ok("countDocuments") == {"count": 0}
    assert nothing.ok("estimatedDocumentCount") == {"count": 0}
    assert nothing.ok("distinct", key="a") == {"values": []}
    assert nothing.ok("listIndexes") == {"indexes": []}
    assert nothing.ok("find") == {"documents": []}
    assert nothing.ok("findOne") == {"document": None}
    assert nothing.ok("aggregate", pipeline=[]) == {"documents": []}
    assert nothing.ok("listCollections") == {"collections": []}


def test_options_that_drivers_have(things: Collection) -> None:
    things.ok("insertOne", document={"_id": 9, "grades": [80, 95, 100], "name": "ÉCLAIR"})
    update = {"$set": {"grades.$[high]": 0}}
    assert things.ok("updateOne", filter={"_id": 9}, update=update, arrayFilters=[{"high": {"$gte": 95}}]) == {
        "matchedCount": 1,
        "modifiedCount": 1,
    }
    assert things.ok("findOne", filter={"_id": 9}, projection={"grades": 1})["document"]["grades"] == [80, 0, 0]
    assert things.ok("countDocuments", filter={"n": {"$gte": 0}}, limit=2, skip=1) == {"count": 2}
    variables = {"least": 30}
    expression = {"$expr": {"$gte": ["$n", "$$least"]}}
    assert len(things.ok("find", filter=expression, let=variables, comment="x", maxTimeMS=5000)["documents"]) == 2
    assert len(things.ok("aggregate", pipeline=[{"$match": expression}], let=variables)["documents"]) == 2
    things.ok("createIndex", keys={"n": 1})
    assert len(things.ok("find", filter={"n": {"$gt": 10}}, hint="n_1")["documents"]) == 3
    assert len(things.ok("find", filter={"n": {"$gt": 10}}, hint={"n": 1})["documents"]) == 3


# --- updates without operators -----------------------------------------------------------------------------------


def test_a_plain_document_replaces_one_and_keeps_its_id(things: Collection) -> None:
    assert things.ok("updateOne", filter={"_id": 1}, update={"a": 1}) == {"matchedCount": 1, "modifiedCount": 1}
    assert things.ok("findOne", filter={"_id": 1})["document"] == {"_id": 1, "a": 1}
    upserted = things.ok("updateOne", filter={"_id": 0.25}, update={"a": 2}, upsert=True)
    assert upserted == {"matchedCount": 0, "modifiedCount": 0, "upsertedId": 0.25}


def test_a_plain_document_replaces_many_and_keeps_their_ids(things: Collection) -> None:
    update = {"a": "$n", "b": {"$literal": 1}, "c": [1]}
    answer = things.ok("updateMany", filter={"tag": "odd"}, update=update)
    assert answer == {"matchedCount": 2, "modifiedCount": 2}
    found = things.ok("find", filter={"tag": {"$exists": False}}, sort={"_id": 1})["documents"]
    assert found == [{"_id": 1, **update}, {"_id": 3, **update}]
    assert things.refused("updateMany", filter={}, update={"_id": 7})["error_code"] == "ImmutableField"


@pytest.mark.parametrize("identity", [0, "", 0.5, {"a": 1}, {"$oid": OID}, {"$date": "1970-01-01T00:00:00Z"}])
def test_any_upserted_id_is_answered(app: Application, identity: Any) -> None:
    collection = Collection(app)
    for action, change in (("updateOne", {"update": {"$set": {"a": 1}}}), ("replaceOne", {"replacement": {"a": 1}})):
        answer = collection.ok(action, filter={"_id": identity}, upsert=True, **change)
        assert (answer["matchedCount"], answer["modifiedCount"]) == (0, 0)
        assert "upsertedId" in answer
        again = collection.ok(action, filter={"_id": identity}, upsert=True, **change)
        assert again["matchedCount"] == 1
        assert "upsertedId" not in again
        collection.ok("deleteMany", filter={})


# --- values and their written forms ------------------------------------------------------------------------------

VALUES = {
    "oid": {"$oid": OID},
    "date": {"$date": {"$numberLong": "1638551310749"}},
    "long": {"$numberLong": "9007199254740993"},
    "int": {"$numberInt": "7"},
    "double": {"$numberDouble": "10.5"},
    "decimal": {"$numberDecimal": "128452.420523"},
    "binary": {"$binary": {"base64": "46d989eaf0bde5258029534bc2dc2089", "subType": "05"}},
    "regex": {"$regularExpression": {"pattern": "^a", "options": "i"}},
    "timestamp": {"$timestamp": {"t": 1, "i": 2}},
    "min": {"$minKey": 1},
    "nan": {"$numberDouble": "NaN"},
    "hex": OID,
}


def test_values_travel_in_every_form(app: Application) -> None:
    collection = Collection(app)
    answer = collection.act("insertOne", {"Content-Type": "application/json"}, document={"_id": 1, **VALUES})
    assert answer.status == 201
    canonical = collection.act("findOne", EJSON)
    assert canonical.headers["content-type"] == "application/ejson"
    assert canonical.json["document"] == {"_id": {"$numberInt": "1"}, **VALUES}
    relaxed = collection.act("findOne", {"Accept": "application/ejson; mode=relaxed"})
    assert relaxed.headers["content-type"].startswith("application/ejson")
    assert relaxed.json["document"]["oid"] == {"$oid": OID}
    assert relaxed.json["document"]["int"] == 7
    plain = collection.act("findOne")
    assert b'"long":9007199254740993' in plain.body
    document = plain.json["document"]
    assert document["oid"] == document["hex"] == OID
    assert document["date"] == "2021-12-03T17:08:30.749Z"
    assert document["decimal"] == "128452.420523"
    assert document["binary"] == {"Subtype": 5, "Data": "46d989eaf0bde5258029534bc2dc2089"}
    assert document["regex"] == {"Pattern": "^a", "Options": "i"}
    assert document["timestamp"] == {"T": 1, "I": 2}
    assert document["nan"] is not None


def test_the_whole_envelope_is_canonical(things: Collection) -> None:
    deleted = things.act("deleteOne", EJSON, filter={"_id": 1})
    assert deleted.json == {"deletedCount": {"$numberInt": "1"}}
    inserted = things.act("insertOne", EJSON, document={"_id": {"$oid": OID}})
    assert inserted.json == {"insertedId": {"$oid": OID}}
    refused = things.act("insertOne", EJSON, document={"_id": {"$oid": OID}})
    assert (refused.status, refused.headers["content-type"]) == (409, "application/json")


def test_object_ids_in_filters(app: Application) -> None:
    collection = Collection(app)
    collection.ok("insertMany", documents=[{"_id": {"$oid": OID}, "a": 1}, {"_id": OID, "a": 2}])
    assert collection.ok("findOne", filter={"_id": {"$oid": OID}})["document"]["a"] == 1
    assert collection.ok("findOne", filter={"_id": OID})["document"]["a"] == 2
    assert collection.ok("find", filter={"_id": {"$in": [{"$oid": OID}]}})["documents"] == [{"_id": OID, "a": 1}]
    assert collection.ok("deleteMany", filter={"$or": [{"_id": {"$oid": OID}}]}) == {"deletedCount": 1}


@pytest.mark.parametrize(
    ("value", "path"),
    [({"$oid": "xyz"}, "filter._id.$oid"), ({"$numberLong": "99999999999999999999"}, "filter._id.$numberLong")],
)
def test_malformed_wrappers_give_the_path(app: Application, value: Any, path: str) -> None:
    assert path in Collection(app).refused("find", filter={"_id": value})["error"]


def test_order_is_kept(app: Application) -> None:
    collection = Collection(app)
    body = b'{"database":"shop","collection":"things","document":{"_id":1,"z":1,"a":{"y":1,"b":2},"m":3}}'
    assert app.act("insertOne", body).status == 201
    assert b'{"_id":1,"z":1,"a":{"y":1,"b":2},"m":3}' in collection.act("findOne").body
    collection.ok("deleteMany", filter={})
    collection.ok("insertMany", documents=[{"_id": i, "b": i % 2, "a": -i} for i in range(4)])
    found = collection.ok("find", sort={"b": 1, "a": 1})["documents"]
    assert [document["_id"] for document in found] == [2, 0, 3, 1]


def test_reads_are_not_cut_at_a_batch(app: Application) -> None:
    collection = Collection(app)
    collection.ok("insertMany", documents=[{"_id": index, "pad": "x" * 100} for index in range(2500)])
    assert len(collection.ok("find")["documents"]) == 1000
    assert len(collection.ok("find", limit=0)["documents"]) == 1000
    assert len(collection.ok("find", limit=2400)["documents"]) == 2400
    assert len(collection.ok("aggregate", pipeline=[{"$match": {}}])["documents"]) == 2500


def test_inserts_may_answer_200(tmp_path: Path) -> None:
    with application(tmp_path, insert_status=200) as app:
        place = {"database": "d", "collection": "c"}
        assert app.act("insertOne", {**place, "document": {}}).status == 200
        assert app.act("insertMany", {**place, "documents": [{}]}).status == 200


def test_an_access_token_really_ends(app: Application) -> None:
    session = app.call("POST", "/auth/providers/api-key/login", orjson.dumps({"key": KEY})).json
    assert session["expires_in"] == 1800
    claims = jwt.decode(session["access_token"], options={"verify_signature": False})
    assert abs(claims["exp"] - time.time() - 1800) < 60


def test_only_real_commands_with_the_servers_answers(things: Collection) -> None:
    def result(command: dict[str, Any]) -> dict[str, Any]:
        reply: dict[str, Any] = things.ok("runCommand", command=command)["result"]
        assert reply["ok"] == 1
        for hidden in ("$clusterTime", "operationTime", "signature"):
            assert hidden not in reply
        return reply

    assert result({"buildInfo": 1})["version"]
    assert result({"hello": 1})["isWritablePrimary"] is True
    assert result({"dbStats": 1})["objects"] == 5
    assert result({"collStats": "things"})["count"] == 5
    assert result({"distinct": "things", "key": "tag"})["values"] == ["even", "odd"]
    assert result({"listCollections": 1})["cursor"]["firstBatch"][0]["name"] == "things"
    assert result({"listIndexes": "things"})["cursor"]["firstBatch"][0]["name"] == "_id_"
    assert "queryPlanner" in result({"explain": {"find": "things", "filter": {"_id": 1}}})
    assert result({"ping": 1, "maxTimeMS": 100, "comment": "x"}) == {"ok": 1}
