"""Every action through the network, well used and badly used, on the embedded database and on a MongoDB."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any, cast

import pytest
from servers import Answer, Doorleaf, start_doorleaf

from doorleaf.operations import OPERATIONS

OID = "64224f3cd79f54ad342dd9b1"
SET = {"$set": {"n": 5}}
THINGS = [{"_id": i, "n": i * 10, "tag": "odd" if i % 2 else "even"} for i in range(5)]
FIRST = THINGS[0]
COUNTS = {
    "insertedCount": 1,
    "matchedCount": 2,
    "modifiedCount": 2,
    "deletedCount": 1,
    "upsertedCount": 1,
    "upsertedIds": {"2": ""},
    "insertedIds": {"0": "new"},
}

HAPPY: list[tuple[str, dict[str, Any], Any]] = [
    ("findOne", {"filter": {"n": 20}}, {"document": THINGS[2]}),
    ("findOne", {"filter": {"n": 21}}, {"document": None}),
    ("findOne", {"sort": {"n": -1}, "projection": {"_id": 1}}, {"document": {"_id": 4}}),
    (
        "find",
        {"filter": {"tag": "odd"}, "projection": {"tag": 0}, "sort": {"n": -1}},
        {"documents": [{"_id": 3, "n": 30}, {"_id": 1, "n": 10}]},
    ),
    ("find", {"sort": {"_id": 1}, "skip": 1, "limit": 2}, {"documents": THINGS[1:3]}),
    ("find", {"filter": {"_id": {"$gt": 99}}}, {"documents": []}),
    ("insertOne", {"document": {"_id": "x", "a": [1, {"b": None}]}}, {"insertedId": "x"}),
    ("insertOne", {"document": {"_id": {"$oid": OID}}}, {"insertedId": OID}),
    ("insertMany", {"documents": [{"_id": 9}, {"_id": "8"}]}, {"insertedIds": [9, "8"]}),
    ("updateOne", {"filter": {"tag": "odd"}, "update": SET}, {"matchedCount": 1, "modifiedCount": 1}),
    ("updateOne", {"filter": {"_id": 99}, "update": SET}, {"matchedCount": 0, "modifiedCount": 0}),
    (
        "updateOne",
        {"filter": {"_id": ""}, "update": SET, "upsert": True},
        {"matchedCount": 0, "modifiedCount": 0, "upsertedId": ""},
    ),
    (
        "updateMany",
        {"filter": {"tag": "even"}, "update": [{"$set": {"m": {"$add": ["$n", 1]}}}]},
        {"matchedCount": 3, "modifiedCount": 3},
    ),
    ("replaceOne", {"filter": {"_id": 1}, "replacement": {"a": 1}}, {"matchedCount": 1, "modifiedCount": 1}),
    ("deleteOne", {"filter": {"tag": "odd"}}, {"deletedCount": 1}),
    ("deleteMany", {"filter": {"tag": "odd"}}, {"deletedCount": 2}),
    ("deleteMany", {"filter": {}}, {"deletedCount": 5}),
    (
        "aggregate",
        {"pipeline": [{"$group": {"_id": "$tag", "sum": {"$sum": "$n"}}}, {"$sort": {"_id": 1}}]},
        {"documents": [{"_id": "even", "sum": 60}, {"_id": "odd", "sum": 40}]},
    ),
    ("countDocuments", {"filter": {"n": {"$gte": 20}}}, {"count": 3}),
    ("estimatedDocumentCount", {}, {"count": 5}),
    ("distinct", {"key": "tag"}, {"values": ["even", "odd"]}),
    ("findOneAndUpdate", {"filter": {"_id": 0}, "update": SET}, {"document": {**FIRST, "n": 5}}),
    (
        "findOneAndUpdate",
        {"filter": {"_id": 0}, "update": SET, "returnNewDocument": False, "projection": {"n": 1}},
        {"document": {"_id": 0, "n": 0}},
    ),
    ("findOneAndUpdate", {"filter": {"_id": 99}, "update": SET}, {"document": None}),
    ("findOneAndReplace", {"filter": {"_id": 1}, "replacement": {"a": 1}}, {"document": {"_id": 1, "a": 1}}),
    ("findOneAndDelete", {"filter": {"tag": "odd"}, "sort": {"n": -1}}, {"document": THINGS[3]}),
    (
        "bulkWrite",
        {
            "operations": [
                {"insertOne": {"document": {"_id": "new"}}},
                {"updateOne": {"filter": {"_id": 1}, "update": SET}},
                {"updateOne": {"filter": {"_id": ""}, "update": SET, "upsert": True}},
                {"replaceOne": {"filter": {"_id": 3}, "replacement": {"b": 1}}},
                {"deleteOne": {"filter": {"_id": 4}}},
            ]
        },
        COUNTS,
    ),
    (
        "createIndex",
        {"keys": {"tag": 1, "n": -1}},
        {"createdCollectionAutomatically": False, "numIndexesBefore": 1, "numIndexesAfter": 2, "ok": 1},
    ),
    ("listIndexes", {}, {"indexes": [{"v": 2, "key": {"_id": 1}, "name": "_id_"}]}),
    ("runCommand", {"command": {"ping": 1}}, {"result": {"ok": 1}}),
    ("renameCollection", {"to": "renamed", "dropTarget": True}, {"ok": 1}),
    ("dropCollection", {}, {"ok": 1}),
]

SAD: list[tuple[str, dict[str, Any], int, str]] = [
    ("findOne", {"filter": []}, 400, "InvalidParameter"),
    ("findOne", {"filter": {"$nope": 1}}, 400, "BadValue"),
    ("find", {"limit": 50_001}, 400, "InvalidParameter"),
    ("find", {"limit": -1}, 400, "InvalidParameter"),
    ("find", {"filter": {"$where": "sleep(1000)"}}, 403, ""),
    ("insertOne", {"document": {"_id": 0}}, 409, "DuplicateKey"),
    ("insertOne", {"document": [1]}, 400, "InvalidParameter"),
    ("insertOne", {}, 400, "MissingParameter"),
    ("insertMany", {"documents": []}, 400, "InvalidParameter"),
    ("insertMany", {"documents": [{"_id": "y"}, {"_id": 0}]}, 409, "DuplicateKey"),
    ("updateOne", {"update": SET}, 400, "MissingParameter"),
    ("updateOne", {"filter": {}, "update": {"$nope": {"a": 1}}}, 400, "FailedToParse"),
    ("updateMany", {"filter": "x", "update": SET}, 400, "InvalidParameter"),
    ("updateMany", {"filter": {}, "update": {"$set": {"_id": 7}}}, 400, "ImmutableField"),
    ("replaceOne", {"filter": {}, "replacement": SET}, 400, "InvalidParameter"),
    ("deleteOne", {}, 400, "MissingParameter"),
    ("deleteMany", {"filter": None}, 400, "InvalidParameter"),
    ("aggregate", {"pipeline": [{"$nope": 1}]}, 400, "Location40324"),
    ("aggregate", {"pipeline": [{"$out": "elsewhere"}]}, 403, ""),
    ("countDocuments", {"filter": 5}, 400, "InvalidParameter"),
    ("estimatedDocumentCount", {"collection": 5}, 400, "InvalidParameter"),
    ("distinct", {}, 400, "MissingParameter"),
    ("findOneAndUpdate", {"filter": {}, "update": {"a": 1}}, 400, "InvalidParameter"),
    ("findOneAndReplace", {"filter": {}, "replacement": SET}, 400, "InvalidParameter"),
    ("findOneAndDelete", {"filter": True}, 400, "InvalidParameter"),
    ("bulkWrite", {"operations": [{"insert": {}}]}, 400, "InvalidParameter"),
    ("createIndex", {"keys": {}}, 400, "InvalidParameter"),
    ("dropIndex", {"name": "_id_"}, 400, "InvalidParameter"),
    ("dropIndex", {"name": "none"}, 400, "IndexNotFound"),
    ("listIndexes", {"collection": ""}, 400, "InvalidParameter"),
    ("listCollections", {"database": "doorleaf"}, 403, ""),
    ("createCollection", {}, 400, "NamespaceExists"),
    ("dropCollection", {"collection": "system.users"}, 403, ""),
    ("renameCollection", {}, 400, "MissingParameter"),
    ("renameCollection", {"to": "system.users"}, 403, ""),
    ("renameCollection", {"to": "a$b"}, 400, "InvalidNamespace"),
    ("listDatabases", {"maxTimeMS": -1}, 400, "InvalidParameter"),
    ("runCommand", {"command": {"DropDatabase": 1}}, 403, ""),
    ("runCommand", {}, 400, "MissingParameter"),
]

_numbers = itertools.count()


@pytest.fixture(scope="module", params=["embedded", "mongo"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorleaf]:
    folder = tmp_path_factory.mktemp(request.param) / "data"
    args = ["--uri", request.getfixturevalue("mongodb_uri")] if request.param == "mongo" else []
    env = {"DOORLEAF_APP_IDS": "data-abcde"}
    running = start_doorleaf(folder, *args, env=env)
    yield running
    assert running.stop() == 0
    output = running.output()
    for secret in (running.key, "Traceback", "sleep(1000)", "apiKey"):
        assert secret not in output, secret


class Place:
    """A collection of its own in the database ``actions``, with THINGS in it."""

    def __init__(self, server: Doorleaf) -> None:
        self.server = server
        self.fields = {"database": "actions", "collection": f"things{next(_numbers)}"}
        server.ok("insertMany", documents=THINGS, **self.fields)

    def act(self, action: str, /, **fields: Any) -> Answer:
        return self.server.act(action, **(self.fields | fields))

    def everything(self) -> list[Any]:
        found: list[Any] = self.server.ok("find", sort={"n": 1}, **self.fields)["documents"]
        return found


@pytest.fixture
def place(server: Doorleaf) -> Iterator[Place]:
    made = Place(server)
    yield made
    server.ok("dropCollection", **made.fields)


def test_tables_are_complete() -> None:
    elsewhere = {"dropIndex", "listCollections", "createCollection", "listDatabases"}
    assert {action for action, _, _ in HAPPY} | elsewhere == set(OPERATIONS)
    assert {action for action, *_ in SAD} == set(OPERATIONS)
    assert len(OPERATIONS) == 26


@pytest.mark.parametrize(("action", "fields", "body"), HAPPY)
def test_happy(place: Place, action: str, fields: dict[str, Any], body: Any) -> None:
    answer = place.act(action, **fields)
    assert answer.status == (201 if action in ("insertOne", "insertMany") else 200), answer.body
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert answer.json == body
    for hidden in (b"$clusterTime", b"operationTime", b"127.0.0.1"):
        assert hidden not in answer.body


@pytest.mark.parametrize(("action", "fields", "status", "code"), SAD)
def test_sad(place: Place, action: str, fields: dict[str, Any], status: int, code: str) -> None:
    answer = place.act(action, **fields)
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    body = answer.json
    assert body["error"]
    assert isinstance(body["error_code"], str)
    if code:
        assert body["error_code"] == code
    assert set(body) <= {"error", "error_code", "insertedCount", "insertedIds", "writeErrors"}
    for hidden in (b"127.0.0.1", b"mongodb://", b"Traceback", b".py", place.server.key.encode()):
        assert hidden not in answer.body
    if action != "insertMany":
        assert place.everything() == THINGS, "nothing has changed"


def test_bulk_writes_and_their_failures_are_counted(place: Place) -> None:
    operations = [
        {"insertOne": {"document": {"_id": "new"}}},
        {"updateMany": {"filter": {"_id": {"$in": [1, 2]}}, "update": SET}},
        {"updateOne": {"filter": {"_id": 0.5}, "update": SET, "upsert": True}},
        {"deleteMany": {"filter": {"_id": 4}}},
    ]
    answer = place.act("bulkWrite", operations=operations)
    assert answer.json == {**COUNTS, "upsertedIds": {"2": 0.5}}
    assert answer.status == 200
    failing = [
        {"insertOne": {"document": {"_id": "more"}}},
        {"insertOne": {"document": {"_id": 0}}},
        {"deleteOne": {"filter": {"_id": 1}}},
    ]
    ordered = place.act("bulkWrite", operations=failing)
    assert ordered.status == 409
    body = ordered.json
    assert (body["insertedCount"], body["deletedCount"], body["insertedIds"]) == (1, 0, {"0": "more"})
    [failure] = body["writeErrors"]
    assert (failure["index"], failure["code"]) == (1, 11000)
    unordered = place.act("bulkWrite", operations=failing, ordered=False)
    body = unordered.json
    assert unordered.status == 409
    assert (body["insertedCount"], body["deletedCount"], body["insertedIds"]) == (0, 1, {})
    assert [item["index"] for item in body["writeErrors"]] == [0, 1]
    many = place.act("insertMany", documents=[{"_id": "a"}, {"_id": 0}, {"_id": "b"}], ordered=False)
    assert (many.status, many.json["insertedIds"]) == (409, ["a", "b"])


def test_collections_indexes_and_databases(server: Doorleaf) -> None:
    at = {"database": "administration", "collection": "fresh"}
    made = server.ok("createIndex", keys={"b": 1, "a": -1}, options={"unique": True, "name": "by_b"}, **at)
    assert made == {"createdCollectionAutomatically": True, "numIndexesBefore": 1, "numIndexesAfter": 2, "ok": 1}
    assert b'{"b":1,"a":-1}' in server.act("listIndexes", **at).body
    assert server.ok("dropIndex", name="by_b", **at) == {"nIndexesWas": 2, "ok": 1}
    assert server.ok("createCollection", **at | {"collection": "other"}) == {"ok": 1}
    listed = server.ok("listCollections", **at)["collections"]
    assert sorted(listed, key=str) == [
        {"name": "fresh", "type": "collection"},
        {"name": "other", "type": "collection"},
    ]
    databases = server.ok("listDatabases")
    assert {"administration"} <= {item["name"] for item in databases["databases"]}
    assert "doorleaf" not in {item["name"] for item in databases["databases"]}
    assert databases["ok"] == 1
    for name in ("fresh", "other", "neither"):
        assert server.ok("dropCollection", **at | {"collection": name}) == {"ok": 1}
    for action, fields, body in [
        ("countDocuments", {}, {"count": 0}),
        ("estimatedDocumentCount", {}, {"count": 0}),
        ("distinct", {"key": "a"}, {"values": []}),
        ("listIndexes", {}, {"indexes": []}),
        ("find", {}, {"documents": []}),
        ("aggregate", {"pipeline": []}, {"documents": []}),
    ]:
        assert server.ok(str(action), **at, **cast(Any, fields)) == body
    for command in ({"buildInfo": 1}, {"hello": 1}, {"dbStats": 1}, {"listCollections": 1}, {"listIndexes": "x"}):
        answer = server.act("runCommand", command=command, **at)
        assert answer.status == 200 or answer.json["error_code"] == "NamespaceNotFound"


PREFIXES = ["/data/v1", "/data/beta", "/app/data-abcde/endpoint/data/v1", "/app/data-abcde/endpoint/data/beta", ""]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_prefix(server: Doorleaf, prefix: str) -> None:
    body = {"dataSource": "Cluster0", "database": "d", "collection": "prefixes"}
    for slash, header in (("", "apiKey"), ("/", "api-key"), ("", "APIKEY"), ("/", "Api-Key")):
        answer = server.call("POST", f"{prefix}/action/countDocuments{slash}", body, {header: server.key})
        assert (answer.status, answer.json) == (200, {"count": 0})
    for path, status in ((f"{prefix}/action/countdocuments", 404), (f"{prefix}/action/nothing", 404)):
        answer = server.call("POST", path, body, {"apiKey": server.key})
        assert (answer.status, answer.json["error_code"]) == (status, "NotFound")
    assert "countDocuments" in server.call("POST", f"{prefix}/action/countdocuments", body).json["error"]
    refused = server.call("GET", f"{prefix}/action/countDocuments", None, {"apiKey": server.key})
    assert (refused.status, refused.headers["allow"]) == (405, "POST")
    assert refused.json["error_code"] == "MethodNotAllowed"
    assert server.call("POST", f"{prefix}/action/countDocuments", body).status == 401


def test_an_unlisted_app_is_unknown(server: Doorleaf) -> None:
    for path in (
        "/app/other/endpoint/data/v1/action/findOne",
        "/api/client/v2.0/app/other/auth/providers/api-key/login",
    ):
        answer = server.call("POST", path, {"key": server.key}, {"apiKey": server.key})
        assert answer.status == 404
        assert answer.json == {"error": "cannot find app using Client App ID 'other'"}


@pytest.mark.parametrize("base", ["/auth", "/api/client/v2.0/app/data-abcde/auth"])
def test_log_in_refresh_and_log_out(server: Doorleaf, base: str) -> None:
    session = "/auth/session" if base == "/auth" else "/api/client/v2.0/auth/session"

    def find(token: str, **more: str) -> int:
        headers = {"Authorization": f"Bearer {token}", **more}
        return server.call("POST", "/action/findOne", {"database": "d", "collection": "c"}, headers).status

    login = server.call("POST", f"{base}/providers/api-key/login", {"key": server.key})
    assert login.status == 200
    assert login.headers["cache-control"] == "no-store"
    tokens = login.json
    assert set(tokens) == {"access_token", "refresh_token", "token_type", "expires_in", "user_id", "device_id"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 1800)
    assert re.fullmatch(r"[0-9a-f]{24}", tokens["device_id"])
    assert tokens["device_id"] != "0" * 24
    assert find(tokens["access_token"]) == 200
    assert find(tokens["refresh_token"]) == 401, "it is for new access tokens only"
    assert find("nonsense", apiKey=server.key) == 401, "a bad token does not fall back to the key"
    refresh = {"Authorization": f"Bearer {tokens['refresh_token']}"}
    again = server.call("POST", session, None, refresh)
    assert again.status in (200, 201)
    assert find(again.json["access_token"]) == 200
    assert server.call("POST", session, None, {"Authorization": f"Bearer {tokens['access_token']}"}).status == 401
    assert server.call("DELETE", session, None, refresh).status == 204
    assert find(tokens["access_token"]) == find(again.json["access_token"]) == 401
    assert server.call("POST", session, None, refresh).status == 401
    for body, status in (({"key": "wrong"}, 401), ({}, 400), ({"key": 5}, 400)):
        refused = server.call("POST", f"{base}/providers/api-key/login", body)
        assert refused.status == status
        assert server.key not in str(refused)


def test_the_accept_header_chooses_the_form(place: Place) -> None:
    values = {
        "oid": {"$oid": OID},
        "date": {"$date": {"$numberLong": "1638551310749"}},
        "long": {"$numberLong": "9007199254740993"},
        "decimal": {"$numberDecimal": "1.50"},
        "nan": {"$numberDouble": "NaN"},
    }
    place.act("insertOne", document={"_id": "v", **values})
    ask = {"filter": {"_id": "v"}}
    canonical = place.act("findOne", accept="application/ejson", **ask)
    assert canonical.headers["content-type"].startswith("application/ejson")
    assert canonical.json == {"document": {"_id": "v", **values}}
    relaxed = place.act("findOne", accept="application/ejson; mode=relaxed", **ask).json["document"]
    assert (relaxed["oid"], relaxed["date"]) == ({"$oid": OID}, {"$date": "2021-12-03T17:08:30.749Z"})
    for accept in (None, "*/*", "application/json", "text/html", "application/json, application/ejson;q=0.5"):
        plain = place.act("findOne", accept=accept, **ask)
        assert plain.headers["content-type"] == "application/json"
        document = plain.json["document"]
        assert (document["oid"], document["decimal"]) == (OID, "1.50")
        assert b'"long":9007199254740993' in plain.body
        assert document["nan"] is not None
    deleted = place.act("deleteMany", accept="application/ejson", filter={"_id": "v"})
    assert deleted.json == {"deletedCount": {"$numberInt": "1"}}
    refused = place.act("findOne", accept="application/ejson", filter=[])
    assert refused.headers["content-type"] == "application/json"


@pytest.mark.parametrize("content_type", [None, "application/ejson", "text/plain", "application/x-www-form-urlencoded"])
def test_the_content_type_does_not_matter(place: Place, content_type: str | None) -> None:
    headers = {"apiKey": place.server.key} | ({"Content-Type": content_type} if content_type else {})
    body = json.dumps({**place.fields, "filter": {"_id": {"$numberInt": "1"}}})
    answer = place.server.call("POST", "/action/findOne", body, headers)
    assert answer.json == {"document": THINGS[1]}
