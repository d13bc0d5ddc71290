"""Mistakes that servers of this kind have made, each with the request that shows it is not made here."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from servers import Answer, Doorleaf, free_port, mongodb_uri_from_environment, run_doorleaf, start_doorleaf

OID = "64224f3cd79f54ad342dd9b1"
SECRET = "the secret that signs tokens, " + "s" * 40
MARK = "Zebrastreifen"
"""What clients send in bodies, headers and queries, and what no log line may have."""

CONFIG = f"""
log_level = "debug"
access_log = true
login_rate = ""
token_secret = "{SECRET}"
[data_sources.main]
{{main}}
default = true
[data_sources.far]
uri = "mongodb://operator:{MARK}@127.0.0.1:{{nowhere}}/shop?serverSelectionTimeoutMS=200"
"""

_numbers = itertools.count()


@pytest.fixture(scope="module", params=["embedded", "mongo"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorleaf]:
    folder = tmp_path_factory.mktemp(request.param)
    main = 'data_dir = "data"'
    if request.param == "mongo":
        main = f'uri = "{request.getfixturevalue("mongodb_uri")}"'
    (folder / "doorleaf.toml").write_text(CONFIG.format(main=main, nowhere=free_port()))
    running = start_doorleaf(folder / "data")
    running.ok("findOne")
    yield running
    assert running.stop() == 0
    output = running.output()
    assert "findOne 200" in output, "every request is logged"
    for hidden in (MARK, running.key, SECRET, "Traceback", "eyJ", "apiKey:", "Bearer "):
        assert hidden not in output, hidden


class Place:
    """A collection of its own."""

    def __init__(self, server: Doorleaf) -> None:
        self.server = server
        self.fields = {"database": "regressions", "collection": f"c{next(_numbers)}"}
        self.on_mongodb = "main: mongodb://" in server.output()

    def act(self, action: str, /, **fields: Any) -> Answer:
        return self.server.act(action, **(self.fields | fields))

    def ok(self, action: str, /, **fields: Any) -> Any:
        return self.server.ok(action, **(self.fields | fields))

    def post(self, action: str, body: str | bytes, **headers: str) -> Answer:
        return self.server.call("POST", f"/data/v1/action/{action}", body, {"apiKey": self.server.key, **headers})


@pytest.fixture
def place(server: Doorleaf) -> Iterator[Place]:
    made = Place(server)
    yield made
    made.ok("dropCollection")


@pytest.mark.parametrize("filter", [[], [{}], 5, 0, True, False, "x", "", None, 1.5, {"$oid": OID}, {"$date": 1}])
def test_what_is_no_filter_changes_nothing(place: Place, filter: Any) -> None:
    documents = [{"_id": 1}, {"_id": 2}]
    place.ok("insertMany", documents=documents)
    change, replacement = {"update": {"$set": {"a": 1}}}, {"replacement": {"a": 1}}
    for action, fields in (
        ("deleteMany", {}),
        ("deleteOne", {}),
        ("updateOne", change),
        ("updateMany", change),
        ("replaceOne", replacement),
        ("findOneAndUpdate", change),
        ("findOneAndReplace", replacement),
        ("findOneAndDelete", {}),
        ("bulkWrite", {"operations": [{"deleteMany": {"filter": filter}}]}),
        ("bulkWrite", {"operations": [{"insertOne": {"document": {}}}, {"updateMany": {"filter": filter, **change}}]}),
    ):
        answer = place.act(action, **({"filter": filter, "upsert": True} | fields))
        assert answer.status == 400, action
        assert "filter" in answer.json["error"]
        if action != "bulkWrite":
            assert place.act(action, **fields).status == 400, "and neither is none"
    assert place.ok("find", sort={"_id": 1}) == {"documents": documents}


def test_object_ids_are_found_updated_replaced_and_deleted(place: Place) -> None:
    wrapped = {"_id": {"$oid": OID}}
    assert place.ok("insertOne", document={**wrapped, "a": 1}) == {"insertedId": OID}
    assert place.ok("findOne", filter=wrapped) == {"document": {"_id": OID, "a": 1}}
    for found in ({"_id": {"$in": [{"$oid": OID}]}}, {"$or": [wrapped]}, {"_id": {"$gte": {"$oid": OID}}}):
        assert place.ok("countDocuments", filter=found) == {"count": 1}
    counts = {"matchedCount": 1, "modifiedCount": 1}
    assert place.ok("updateOne", filter=wrapped, update={"$set": {"ref": {"$oid": OID}}}) == counts
    assert place.ok("aggregate", pipeline=[{"$match": {"ref": {"$oid": OID}}}])["documents"][0]["ref"] == OID
    assert place.ok("replaceOne", filter=wrapped, replacement={"b": 2}) == counts
    assert place.ok("deleteOne", filter=wrapped) == {"deletedCount": 1}


def test_a_string_that_looks_like_an_object_id_is_a_string(place: Place) -> None:
    assert place.ok("insertOne", document={"_id": OID, "a": 1}) == {"insertedId": OID}
    assert place.ok("findOne", filter={"_id": OID}) == {"document": {"_id": OID, "a": 1}}
    for found in ({"_id": {"$in": [OID]}}, {"$and": [{"_id": OID}]}, {"_id": {"$ne": None}}):
        assert place.ok("countDocuments", filter=found) == {"count": 1}
    upserted = place.ok("updateOne", filter={"_id": OID}, update={"$set": {"a": 2}}, upsert=True)
    assert upserted == {"matchedCount": 1, "modifiedCount": 1}
    assert place.ok("countDocuments") == {"count": 1}
    canonical = place.act("findOne", accept="application/ejson").json["document"]
    assert canonical["_id"] == OID
    assert place.ok("deleteOne", filter={"_id": OID}) == {"deletedCount": 1}


def test_types_keep_what_they_are(place: Place) -> None:
    values: dict[str, Any] = {
        "date": {"$date": {"$numberLong": "1638551310749"}},
        "early": {"$date": {"$numberLong": "-1"}},
        "far": {"$date": {"$numberLong": "253402300800000"}},
        "long": {"$numberLong": "9007199254740993"},
        "negative": {"$numberLong": "-9223372036854775808"},
        "int": {"$numberInt": "7"},
        "double": {"$numberDouble": "1.0"},
        "decimal": {"$numberDecimal": "1.50"},
        "uuid": {"$binary": {"base64": "ABEiM0RVZneImaq7zN3u/w==", "subType": "04"}},
        "regex": {"$regularExpression": {"pattern": "^a", "options": "i"}},
        "timestamp": {"$timestamp": {"t": 1, "i": 2}},
        "least": {"$minKey": 1},
        "nan": {"$numberDouble": "NaN"},
        "infinite": {"$numberDouble": "-Infinity"},
        "iso": "2021-12-03T17:08:30.749Z",
        "nothing": None,
    }
    if place.on_mongodb and mongodb_uri_from_environment() is None:
        del values["far"]  # the server that stands in for a MongoDB refuses it
    place.ok("insertOne", document={"_id": "types", **values})
    assert place.act("findOne", accept="application/ejson").json["document"] == {"_id": "types", **values}
    plain = place.act("findOne")
    assert b'"long":9007199254740993' in plain.body
    assert b'"negative":-9223372036854775808' in plain.body
    document = plain.json["document"]
    assert (document["date"], document["decimal"]) == ("2021-12-03T17:08:30.749Z", "1.50")
    assert document["nan"] is not None
    assert document["infinite"] is not None
    body = json.dumps({**place.fields, "filter": {"long": 1}}).replace('"long": 1', '"long": 9007199254740993')
    assert place.post("findOne", body).json["document"]["_id"] == "types", "a plain integer keeps its digits too"
    assert place.ok("countDocuments", filter={"date": {"$lt": {"$date": "2021-12-03T17:08:30.750Z"}}}) == {"count": 1}
    assert place.ok("countDocuments", filter={"date": {"$lt": "2022"}}) == {"count": 0}
    assert place.ok("countDocuments", filter={"iso": {"$type": "string"}}) == {"count": 1}
    assert place.ok("countDocuments", filter={"decimal": 1.5}) == {"count": 1}
    too_large = json.dumps({**place.fields, "document": {}})[:-2] + '"a": 9223372036854775808}}'
    refused = place.post("insertOne", too_large)
    assert (refused.status, "document.a" in refused.json["error"]) == (400, True)


def test_tokens_live_half_an_hour_and_really_die(server: Doorleaf) -> None:
    login = server.call("POST", "/auth/providers/api-key/login", {"key": server.key}).json
    assert login["expires_in"] == 1800
    claims = jwt.decode(login["access_token"], SECRET, algorithms=["HS256"])
    assert claims["exp"] - claims["iat"] == 1800
    refresh = jwt.decode(login["refresh_token"], SECRET, algorithms=["HS256"])
    assert refresh["exp"] - refresh["iat"] == 60 * 24 * 3600

    def status(changed: dict[str, Any], secret: str = SECRET, algorithm: str = "HS256") -> int:
        token = jwt.encode({**claims, **changed}, secret, algorithm=algorithm)
        headers = {"Authorization": f"Bearer {token}"}
        return server.call("POST", "/action/findOne", {"database": "d", "collection": "c"}, headers).status

    soon = {"exp": int(time.time()) + 3}
    assert status(soon) == 200
    assert status({"exp": int(time.time()) - 1}) == 401
    assert status({"typ": "refresh"}) == 401
    assert status({"sub": "0" * 24}) == 401
    assert status({}, "another secret, " + "s" * 40) == 401
    assert status({}, "", "none") == 401
    while time.time() < soon["exp"] + 0.1:
        time.sleep(0.1)
    assert status(soon) == 401, "also one that was accepted a moment ago"


COMMANDS = ["dropDatabase", "mapReduce", "eval", "drop", "createUser", "shutdown", "fsync", "setParameter", "killOp"]


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_that_do_harm_in_any_spelling(place: Place, name: str) -> None:
    place.ok("insertOne", document={"_id": 1})
    for spelling in {
        name,
        name.lower(),
        name.upper(),
        name.swapcase(),
        f" {name}",
        f"{name} ",
        f"${name}",
        name + "\0",
    }:
        for first in ({}, {"comment": "x"}, {"ping": 1}):
            answer = place.act("runCommand", command={**first, spelling: 1})
            if "ping" in first and answer.status == 200:
                assert answer.json == {"result": {"ok": 1}}, "the first key is the command"
            else:
                assert answer.status in (400, 403), spelling
                assert answer.json["error_code"]
    assert place.ok("findOne") == {"document": {"_id": 1}}


def test_what_is_not_understood_is_json(place: Place) -> None:
    server = place.server
    unknown = place.post("findone", json.dumps(place.fields))
    assert (unknown.status, unknown.json["error_code"]) == (404, "NotFound")
    assert "findOne" in unknown.json["error"]
    for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = server.call(method, "/data/v1/action/findOne", None, {"apiKey": server.key})
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
        assert answer.json["error_code"] == "MethodNotAllowed"
    for body in (
        "{",
        "",
        "null",
        "[]",
        "1",
        '"x"',
        '{"a":1,}',
        '{"a":1} x',
        '{"a":1,"a":2}',
        b"\xff",
        "{'a':1}",
        "NaN",
    ):
        answer = place.post("findOne", body)
        assert answer.status == 400, body
        assert isinstance(answer.json["error"], str)
    for path in ("/", "/action", "/data/v1/action/", "/data/v2/action/findOne", "/admin", "/data/v1/action/findOne/x"):
        answer = server.call("POST", path, json.dumps(place.fields), {"apiKey": server.key})
        assert answer.status in (404, 405), path
        assert answer.headers["content-type"] == "application/json"
        assert answer.json["error"]


def test_any_content_type_and_none(place: Place) -> None:
    place.ok("insertOne", document={"_id": {"$oid": OID}})
    body = json.dumps({**place.fields, "filter": {"_id": {"$oid": OID}}})
    for headers in (
        {},
        {"Content-Type": "application/ejson"},
        {"Content-Type": "application/json; charset=utf-8"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "nonsense"},
        {"Access-Control-Request-Headers": "*"},
    ):
        assert place.post("findOne", body, **headers).json == {"document": {"_id": OID}}


def test_more_than_one_batch(place: Place) -> None:
    place.ok("insertMany", documents=[{"_id": number} for number in range(1500)])
    for limit, wanted in ((101, 101), (102, 102), (1001, 1001), (1500, 1500), (50_000, 1500), (0, 1000), (None, 1000)):
        assert len(place.ok("find", limit=limit)["documents"]) == wanted
    assert len(place.ok("aggregate", pipeline=[])["documents"]) == 1500
    assert len(place.ok("distinct", key="_id")["values"]) == 1500
    for refused in (50_001, -1, 1.5, "10", True, 1e300):
        assert place.act("find", limit=refused).status == 400


def test_an_index_on_what_does_not_exist_yet(place: Place) -> None:
    made = place.ok("createIndex", keys={"b": 1, "a": -1})
    assert made == {"createdCollectionAutomatically": True, "numIndexesBefore": 1, "numIndexesAfter": 2, "ok": 1}
    assert place.ok("dropIndex", name="b_1_a_-1") == {"nIndexesWas": 2, "ok": 1}
    assert place.act("dropIndex", name="*").status == 400


@pytest.mark.parametrize("identity", [0, "", False, None, 0.0, {"a": 1}, {"$oid": OID}])
def test_an_upserted_id_is_answered_whatever_it_is(place: Place, identity: Any) -> None:
    first = place.ok("updateOne", filter={"_id": identity}, update={"$set": {"a": 1}}, upsert=True)
    assert first == {
        "matchedCount": 0,
        "modifiedCount": 0,
        "upsertedId": OID if identity == {"$oid": OID} else identity,
    }
    again = place.ok("updateOne", filter={"_id": identity}, update={"$set": {"a": 2}}, upsert=True)
    assert again == {"matchedCount": 1, "modifiedCount": 1}


def test_the_order_of_keys_is_kept(place: Place) -> None:
    place.ok("insertMany", documents=[{"_id": f"{b}{a}", "b": b, "a": a} for a in (1, 2) for b in (1, 2)])
    for sort, wanted in (({"b": 1, "a": 1}, ["11", "12", "21", "22"]), ({"a": 1, "b": 1}, ["11", "21", "12", "22"])):
        assert [document["_id"] for document in place.ok("find", sort=sort)["documents"]] == wanted
        pipeline = [{"$sort": sort}, {"$project": {"_id": 1}}]
        assert [document["_id"] for document in place.ok("aggregate", pipeline=pipeline)["documents"]] == wanted
    place.ok("createIndex", keys={"z": 1, "a": 1, "m": -1})
    assert b'{"z":1,"a":1,"m":-1}' in place.act("listIndexes").body
    place.ok("insertOne", document={"z": 1, "_id": "order", "a": {"y": 1, "b": 2}})
    assert place.act("findOne", filter={"_id": "order"}).body in (
        b'{"document":{"_id":"order","z":1,"a":{"y":1,"b":2}}}',
        b'{"document":{"z":1,"_id":"order","a":{"y":1,"b":2}}}',
    )
    assert place.ok("countDocuments", filter={"a": {"y": 1, "b": 2}}) == {"count": 1}
    assert place.ok("countDocuments", filter={"a": {"b": 2, "y": 1}}) == {"count": 0}
    answer = place.act("runCommand", command={"count": place.fields["collection"], "query": {"b": 1}})
    assert answer.json == {"result": {"n": 2, "ok": 1}}


def test_partial_failures_say_what_happened(place: Place) -> None:
    answer = place.act("insertMany", documents=[{"_id": 1}, {"_id": 1}, {"_id": 2}])
    assert (answer.status, answer.json["error_code"], answer.json["insertedIds"]) == (409, "DuplicateKey", [1])
    assert place.ok("countDocuments") == {"count": 1}
    plain = place.act("updateOne", filter={"_id": 1}, update={"$set": {"a": 1}, "b": 2})
    assert (plain.status, plain.json["error_code"]) == (400, "InvalidParameter")
    assert (
        place.act("bulkWrite", operations=[{"insertOne": {"document": {}}, "deleteMany": {"filter": {}}}]).status == 400
    )
    assert place.ok("countDocuments") == {"count": 1}


def test_nothing_that_clients_send_is_logged(place: Place) -> None:
    """What they send here must not be in the output, which is looked through when the server has ended."""
    server = place.server
    secret = {"apiKey": server.key, "X-Secret": MARK, "User-Agent": MARK, "Referer": MARK}
    body = json.dumps({**place.fields, "document": {"_id": MARK, MARK: MARK}, "comment": MARK})
    assert server.call("POST", f"/action/insertOne?apiKey={MARK}&x={server.key}", body, secret).status == 201
    assert server.call("POST", "/action/insertOne", body, secret).status == 409
    assert server.call("POST", f"/action/{MARK}", body, secret).status == 404
    assert server.call("GET", f"/{MARK}", None, secret).status == 404
    assert server.call("POST", "/action/findOne", body[:-5] + MARK, secret).status == 400
    assert server.call("POST", "/action/findOne", body, {"apiKey": MARK}).status == 401
    assert server.call("POST", "/action/findOne", body, {"Authorization": f"Bearer {MARK}"}).status == 401
    assert server.call("POST", "/auth/providers/api-key/login", {"key": MARK}).status == 401
    assert server.call("POST", f"/auth/providers/{MARK}/login", {"key": MARK}).status == 404
    for fields in (
        {"filter": {MARK: {f"${MARK}": 1}}},
        {"filter": {"a": {"$regex": f"({MARK}"}}},
        {"filter": {"$where": MARK}},
        {"hint": MARK},
        {"dataSource": MARK},
        {"collection": f"${MARK}"},
    ):
        assert place.act("findOne", **fields).status in (400, 403)
    assert place.act("runCommand", command={MARK: MARK}).status in (400, 403)
    assert place.act("aggregate", pipeline=[{f"${MARK}": 1}]).status == 400
    assert place.act("insertOne", dataSource="far", document={MARK: MARK}).status == 503
    assert MARK not in str(place.act("findOne", dataSource="far"))
    login = server.call("POST", "/auth/providers/api-key/login", {"key": server.key}).json
    bearer = {"Authorization": f"Bearer {login['access_token']}"}
    assert server.call("POST", "/action/findOne", json.dumps(place.fields), bearer).status == 200


@pytest.mark.parametrize("given", ["", " ", "undefined", "null", "None", "false", "0", "api-key-123", "<YOUR-API-KEY>"])
def test_no_key_is_no_key(server: Doorleaf, given: str) -> None:
    body = {"database": "d", "collection": "c"}
    for headers in (
        {"apiKey": given},
        {"api-key": given},
        {"Authorization": f"Bearer {given}"},
        {"Authorization": given},
        {"Authorization": f"Basic {given}"},
        {},
    ):
        answer = server.call("POST", "/action/findOne", body, headers)
        assert answer.status == 401
        assert answer.json["error_code"] in ("InvalidSession", "InvalidParameter", "MissingParameter", "AuthError")
    assert server.call("POST", "/auth/providers/api-key/login", {"key": given}).status in (400, 401)


def test_a_key_that_anybody_would_try_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("keys")
    for given in ("", "api-key-123"):
        (folder / "doorleaf.toml").write_text(f'data_api_key = "{given}"')
        done = run_doorleaf(folder, "serve", "--port", str(free_port()))
        assert done.returncode == 1
        assert re.search(r"data_api_key", done.stderr)
        assert not (folder / "doorleaf-data").exists()
