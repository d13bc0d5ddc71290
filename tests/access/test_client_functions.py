"""Function calls of the App Services client API over HTTP: what a collection object asks, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asgi import Application, application
from client_app import API, CALL, SETTINGS, administrator, anonymous, call, get, ok, person, post, refused


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with application(tmp_path_factory.mktemp("client") / "data", **SETTINGS) as running:
        yield running


def test_every_call_of_a_collection(app: Application) -> None:
    bearer = administrator(app)
    ids = [{"$oid": f"64224f3cd79f54ad342dd9b{number}"} for number in range(4)]

    def one(number: int, **fields: Any) -> dict[str, Any]:
        return {"_id": ids[number], "n": {"$numberInt": str(number)}, **fields}

    assert ok(app, bearer, "insertOne", document=one(0)) == {"insertedId": ids[0]}
    assert ok(app, bearer, "insertMany", documents=[one(1), one(2)]) == {"insertedIds": ids[1:3]}
    assert ok(app, bearer, "find", query={}, sort={"n": {"$numberInt": "1"}}) == [one(0), one(1), one(2)]
    found = ok(app, bearer, "find", query={"n": {"$gt": 0}}, project={"n": 1, "_id": 0}, sort={"n": -1}, limit=1)
    assert found == [{"n": {"$numberInt": "2"}}]
    assert ok(app, bearer, "findOne", query={"_id": ids[1]}) == one(1)
    assert ok(app, bearer, "findOne", query={"_id": ids[3]}) is None
    assert ok(app, bearer, "findOne", project={"n": 1}, sort={"n": -1}) == one(2)
    assert ok(app, bearer, "count", query={"n": {"$gte": 1}}) == {"$numberLong": "2"}
    assert ok(app, bearer, "count", query={}, limit={"$numberInt": "1"}) == {"$numberLong": "1"}
    assert ok(app, bearer, "distinct", key="n", query={"n": {"$lt": 2}}) == [{"$numberInt": "0"}, {"$numberInt": "1"}]
    total = ok(app, bearer, "aggregate", pipeline=[{"$group": {"_id": None, "n": {"$sum": "$n"}}}])
    assert total == [{"_id": None, "n": {"$numberInt": "3"}}]
    counts = {"matchedCount": {"$numberInt": "1"}, "modifiedCount": {"$numberInt": "1"}}
    assert ok(app, bearer, "updateOne", query={"_id": ids[0]}, update={"$set": {"a": [1, 2]}}) == counts
    changed = ok(
        app, bearer, "updateOne", query={"_id": ids[0]}, update={"$set": {"a.$[x]": 9}}, arrayFilters=[{"x": 2}]
    )
    assert changed == counts
    assert ok(app, bearer, "findOne", query={"_id": ids[0]})["a"] == [{"$numberInt": "1"}, {"$numberInt": "9"}]
    assert ok(app, bearer, "updateMany", query={}, update={"$set": {"b": 1}})["modifiedCount"] == {"$numberInt": "3"}
    upserted = ok(app, bearer, "updateOne", query={"_id": ids[3]}, update={"$set": {"n": 3}}, upsert=True)
    assert upserted["upsertedId"] == ids[3]
    assert upserted["matchedCount"] == {"$numberInt": "0"}
    assert ok(app, bearer, "deleteOne", query={"_id": ids[3]}) == {"deletedCount": {"$numberInt": "1"}}
    assert ok(app, bearer, "deleteMany", query={}) == {"deletedCount": {"$numberInt": "3"}}
    assert ok(app, bearer, "find") == []


def test_find_one_and(app: Application) -> None:
    bearer = administrator(app)
    ok(app, bearer, "insertMany", documents=[{"_id": 1, "n": 1}, {"_id": 2, "n": 2}])
    before, after = {"_id": {"$numberInt": "1"}, "n": {"$numberInt": "1"}}, {"$numberInt": "5"}
    assert ok(app, bearer, "findOneAndUpdate", filter={"_id": 1}, update={"$set": {"n": 5}}) == before
    update = {"$set": {"n": 5}}
    shown = ok(app, bearer, "findOneAndUpdate", filter={"_id": 1}, update=update, returnNewDocument=True)
    assert shown["n"] == after
    shown = ok(app, bearer, "findOneAndUpdate", filter={"_id": 1}, update={"$inc": {"n": 1}}, projection={"_id": 1})
    assert shown == {"_id": {"$numberInt": "1"}}
    shown = ok(app, bearer, "findOneAndReplace", filter={"_id": 1}, update={"m": 1}, returnNewDocument=True)
    assert shown == {"_id": {"$numberInt": "1"}, "m": {"$numberInt": "1"}}
    assert ok(app, bearer, "findOneAndUpdate", filter={"_id": 9}, update=update) is None
    assert ok(app, bearer, "findOneAndUpdate", filter={"_id": 9}, update=update, upsert=True) is None
    assert ok(app, bearer, "findOneAndDelete", filter={}, sort={"_id": -1})["_id"] == {"$numberInt": "9"}
    # realm-web asks for a deletion like this; whoever means a replacement and has none is told.
    for fields in ({"update": None}, {"replacement": None}, {"upsert": True}, {"returnNewDocument": True}):
        refused(call(app, bearer, "findOneAndReplace", filter={"_id": 2}, **fields), 400, "MissingParameter")
    assert ok(app, bearer, "findOne", query={"_id": 2})["n"] == {"$numberInt": "2"}
    # A plain document replaces.
    two = {"_id": {"$numberInt": "2"}}
    shown = ok(app, bearer, "findOneAndUpdate", filter={"_id": 2}, update={"m": 1}, returnNewDocument=True)
    assert shown == {**two, "m": {"$numberInt": "1"}}
    assert ok(app, bearer, "findOneAndUpdate", filter={"_id": 2}, update={})["m"] == {"$numberInt": "1"}
    assert ok(app, bearer, "findOne", query={"_id": 2}) == two
    assert ok(app, bearer, "findOneAndUpdate", filter={"_id": 99}, update={}) is None
    assert ok(app, bearer, "findOne", query={"_id": 99}) is None
    assert ok(app, bearer, "findOneAndReplace", filter={"_id": 2}, projection={"_id": 1}, sort={"_id": 1}) == two
    assert ok(app, bearer, "findOne", query={"_id": 2}) is None
    assert ok(app, bearer, "findOneAndReplace", filter={"_id": 2}) is None
    ok(app, bearer, "deleteMany", query={})


def test_a_find_without_a_limit_is_not_cut_at_the_limit_of_the_actions(tmp_path: Path) -> None:
    with application(tmp_path / "data", default_limit=2, max_documents=5) as app:
        bearer = administrator(app)
        ok(app, bearer, "insertMany", documents=[{"n": number} for number in range(4)])
        assert len(ok(app, bearer, "find")) == 4
        assert len(ok(app, bearer, "find", limit=3)) == 3
        assert "cap" in refused(call(app, bearer, "find", limit=6), 400, "InvalidParameter")["error"]


@pytest.mark.parametrize(
    ("body", "status", "code", "error"),
    [
        ({}, 400, "InvalidParameter", "name: expected the name of a function"),
        ({"name": 5}, 400, "InvalidParameter", "name: expected the name of a function"),
        ({"name": "sum", "arguments": [1, 2]}, 404, "FunctionNotFound", "function not found: 'sum'"),
        ({"name": "find", "arguments": [{}]}, 404, "FunctionNotFound", "function not found: 'find'"),
        ({"name": "dropDatabase", "service": "mongodb-atlas"}, 404, "FunctionNotFound", None),
        ({"name": "runCommand", "service": "mongodb-atlas", "arguments": [{}]}, 404, "FunctionNotFound", None),
        ({"name": "find", "service": 5, "arguments": [{}]}, 400, "InvalidParameter", None),
        ({"name": "find", "service": "mongodb-atlas"}, 400, "InvalidParameter", None),
        ({"name": "find", "service": "mongodb-atlas", "arguments": {}}, 400, "InvalidParameter", None),
        ({"name": "find", "service": "mongodb-atlas", "arguments": []}, 400, "InvalidParameter", None),
        ({"name": "find", "service": "mongodb-atlas", "arguments": [{}, {}]}, 400, "InvalidParameter", None),
        ({"name": "find", "service": "mongodb-atlas", "arguments": ["x"]}, 400, "InvalidParameter", None),
        (
            {"name": "watch", "service": "mongodb-atlas", "arguments": [{}]},
            400,
            "NotCallable",
            "watch is a stream: ask for it with GET",
        ),
    ],
)
def test_calls_that_are_none(app: Application, body: Any, status: int, code: str, error: str | None) -> None:
    refused(post(app, CALL, body, bearer=administrator(app)), status, code, error)


@pytest.mark.parametrize(
    ("name", "fields", "code", "word"),
    [
        ("find", {"query": []}, "InvalidParameter", "query: expected an object"),
        ("find", {"query": {"a": 1}, "filter": {"b": 1}}, "InvalidParameter", "contradicts"),
        ("find", {"quary": {}}, "InvalidParameter", "quary: find has no such argument"),
        ("find", {"dataSource": "x"}, "InvalidParameter", "dataSource: find has no such argument"),
        ("find", {"limit": -1}, "InvalidParameter", "limit"),
        ("find", {"query": {"$who": 1}}, "MongoDBError", "unknown top level operator: $who"),
        ("find", {"collection": None}, "MissingParameter", "collection is required"),
        ("find", {"database": "doorleaf", "collection": "keys"}, "PermissionDenied", ""),
        ("insertMany", {"documents": []}, "InvalidParameter", "must provide at least one element"),
        ("insertOne", {"document": []}, "InvalidParameter", "document"),
        ("deleteMany", {}, "MissingParameter", "filter is required"),
        ("deleteMany", {"query": None}, "MissingParameter", "filter is required"),
        ("updateOne", {"query": {}, "update": {"$who": {"a": 1}}}, "MongoDBError", "Unknown modifier: $who"),
        ("aggregate", {"pipeline": [{"$who": 1}]}, "MongoDBError", "Unrecognized pipeline stage name: '$who'"),
    ],
)
def test_arguments_that_are_wrong(app: Application, name: str, fields: Any, code: str, word: str) -> None:
    answer = call(app, administrator(app), name, **fields)
    assert answer.status in (400, 403)
    assert word in refused(answer, answer.status, code)["error"]


def test_a_duplicate_key_has_the_databases_own_name_beside_it(app: Application) -> None:
    bearer = administrator(app)
    ok(app, bearer, "insertOne", collection="twice", document={"_id": 1})
    body = refused(call(app, bearer, "insertOne", collection="twice", document={"_id": 1}), 409, "MongoDBError")
    assert (body["code"], body["code_name"]) == (11000, "DuplicateKey")


def test_services_are_data_sources(tmp_path: Path) -> None:
    sources = {
        "main": {"data_dir": tmp_path / "main", "default": True, "aliases": ("mongodb-atlas",)},
        "archive": {"data_dir": tmp_path / "archive"},
    }
    with application(tmp_path / "data", data_sources=sources) as app:
        bearer = administrator(app)
        assert call(app, bearer, "insertOne", "archive", document={"_id": 1}).status == 200
        assert call(app, bearer, "count", "archive").json == {"$numberLong": "1"}
        for name in ("main", "mongodb-atlas"):
            assert call(app, bearer, "count", name).json == {"$numberLong": "0"}
        refused(call(app, bearer, "count", "other"), 404, "ServiceNotFound", "service not found: 'other'")


def test_rules_hold_for_calls(app: Application) -> None:
    me, you = person(app, "me@example.com"), person(app, "you@example.com")
    mine = {"database": "shop", "collection": "notes"}
    for who in (me, you):
        note = {"_id": who["user_id"], "owner": who["user_id"], "text": f"secret of {who['user_id']}"}
        assert call(app, who["access_token"], "insertOne", **mine, document=note).status == 200
    answer = call(app, me["access_token"], "find", **mine, query={})
    assert [note["_id"] for note in answer.json] == [me["user_id"]]
    assert you["user_id"] not in answer.body.decode()
    assert ok(app, me["access_token"], "count", **mine, query={}) == {"$numberLong": "1"}
    assert ok(app, me["access_token"], "findOne", **mine, query={"_id": you["user_id"]}) is None
    gone = ok(app, me["access_token"], "deleteMany", **mine, query={"_id": you["user_id"]})
    assert gone == {"deletedCount": {"$numberInt": "0"}}
    forged = call(app, me["access_token"], "insertOne", **mine, document={"owner": you["user_id"]})
    assert forged.status == 403
    answer = call(app, me["access_token"], "find", query={})
    refused(answer, 403, "NoMatchingRuleFound", "no rule exists for namespace 'shop.things'")


def test_schemas_hold_for_calls(app: Application) -> None:
    bearer = anonymous(app)["access_token"]
    assert ok(app, bearer, "insertOne", collection="checked", document={"_id": 1, "name": "x"})
    answer = call(app, bearer, "insertOne", collection="checked", document={"_id": 2, "name": 5})
    refused(answer, 400, "SchemaValidationFailedWrite")
    answer = call(app, bearer, "updateMany", collection="checked", query={}, update={"$unset": {"name": ""}})
    refused(answer, 400, "SchemaValidationFailedWrite")
    assert ok(app, bearer, "find", collection="checked") == [{"_id": {"$numberInt": "1"}, "name": "x"}]


def test_without_authentication_everybody_is_in(tmp_path: Path) -> None:
    with application(tmp_path / "data", insecure_no_auth=True, data_api_key=None) as app:
        assert get(app, f"{API}/auth/profile").json["type"] == "system"
        body = {"name": "count", "arguments": [{"database": "a", "collection": "b"}], "service": "mongodb-atlas"}
        assert post(app, CALL, body).json == {"$numberLong": "0"}
        refused(post(app, f"{API}/auth/delete", method="DELETE"), 403, "PermissionDenied")


def test_a_call_changes_no_system_database(app: Application) -> None:
    for who in (administrator(app), anonymous(app)["access_token"]):
        for collection in ("keys", "users", "sessions", "accounts"):
            answer = call(app, who, "find", database="doorleaf", collection=collection)
            assert answer.status == 403
            assert "_id" not in answer.body.decode()
