"""Collections, indexes, schemas and quotas of workspaces over HTTP, on both engines."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from asgi import Application
from placed import Place, directory, opened, place

from doorleaf.access.system_store import SystemStore
from doorleaf.access.workspaces import metering
from doorleaf.access.workspaces.tenancy import Workspace
from doorleaf.errors import ServerBusy
from doorleaf.operations import CountDocuments, InsertOne, Operation
from doorleaf.stores.embedded.store import EmbeddedStore

MARK = secrets.token_hex(3)


@pytest.fixture(scope="module", params=["embedded", "mongo"])
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    uri = None if request.param == "embedded" else request.getfixturevalue("mongodb_uri")
    with opened(tmp_path_factory.mktemp(f"quotas{MARK}"), uri) as running:
        yield running


@pytest.fixture(scope="module")
def own(app: Application) -> Place:
    return place(app, "acme", f"col{MARK}", database=f"cols{MARK}", shared=True)


@pytest.fixture(scope="module")
def other(app: Application, own: Place) -> Place:
    return place(app, "bolt", f"colother{MARK}", database=f"cols{MARK}", shared=True)


def limited(app: Application, **quotas: int) -> Place:
    return place(app, "acme", f"q{secrets.token_hex(4)}", quotas=quotas)


def test_collections(own: Place, other: Place) -> None:
    assert own.ok("POST", "/collections", {"name": "made"}, status=201)["data"]["name"] == "made"
    own.refused("POST", "/collections", {"name": "made"}, status=409, code="COLLECTION_EXISTS")
    own.insert({"_id": 1}, "implied")
    listed = [one["name"] for one in own.ok("GET", "/collections")["data"]]
    assert {"made", "implied"} <= set(listed)
    assert not {"made", "implied"} & {one["name"] for one in other.ok("GET", "/collections")["data"]}
    other.ok("POST", "/collections", {"name": "made"}, status=201)
    other.refused("DELETE", "/collections/implied", status=404, code="COLLECTION_NOT_FOUND")
    assert own.ok("DELETE", "/collections/made") == {"dropped": 1}
    own.refused("DELETE", "/collections/made", status=404, code="COLLECTION_NOT_FOUND")
    assert "made" in [one["name"] for one in other.ok("GET", "/collections")["data"]]
    for body in ({}, {"name": 5}, {"name": "a b"}, {"name": "x", "capped": True}, {"name": "system.js"}):
        own.refused("POST", "/collections", body, status=400, code="VALIDATION_ERROR")


def test_indexes(own: Place, other: Place) -> None:
    for one in (own, other):
        one.insert({"_id": 1, "email": "a"}, "people")
    made = own.ok("POST", "/collections/people/indexes", {"keys": {"email": 1}, "unique": True}, status=201)
    assert made["data"]["name"] == "email_1"
    own.refused("POST", own.documents("people"), {"email": "a"}, status=409, code="DUPLICATE_KEY")
    other.insert({"email": "a"}, "people")
    listed = own.ok("GET", "/collections/people/indexes")["data"]
    assert {one["name"]: one.get("unique", False) for one in listed} == {"_id_": False, "email_1": True}
    assert len(other.ok("GET", "/collections/people/indexes")["data"]) == 1
    other.refused("DELETE", "/collections/people/indexes/email_1", status=404, code="INDEX_NOT_FOUND")
    own.ok("DELETE", "/collections/people/indexes/email_1")
    own.refused("DELETE", "/collections/people/indexes/email_1", status=404, code="INDEX_NOT_FOUND")
    own.refused("GET", "/collections/nowhere/indexes", status=404, code="COLLECTION_NOT_FOUND")
    body = {"keys": {"_tenantId": 1}}
    own.refused("POST", "/collections/people/indexes", body, status=403, code="PERMISSION_DENIED")
    bodies: list[dict[str, Any]] = [{}, {"keys": {}}, {"keys": {"a": 1}, "hidden": True}, {"keys": {"a": "sideways"}}]
    for wrong in bodies:
        own.refused("POST", "/collections/people/indexes", wrong, status=400, code="VALIDATION_ERROR")


def test_schemas(own: Place, other: Place) -> None:
    schema = {
        "required": ["total"],
        "additionalProperties": False,
        "maxProperties": 4,
        "properties": {
            "_id": {},
            "total": {"bsonType": "number", "minimum": 0},
            "lines": {"bsonType": "array", "items": {"required": ["sku"], "properties": {"qty": {"bsonType": "int"}}}},
            "to": {"required": ["zip"]},
        },
    }
    own.insert({"_id": "before"}, "judged")
    other.insert({"_id": "before"}, "judged")
    assert own.ok("GET", "/collections/judged/schema")["data"] == {"schema": None}
    own.ok("PUT", "/collections/judged/schema", {"schema": schema})
    assert own.ok("GET", "/collections/judged/schema")["data"] == {"schema": schema}
    assert other.ok("GET", "/collections/judged/schema")["data"] == {"schema": None}
    other.refused("GET", "/collections/nowhere/schema", status=404, code="COLLECTION_NOT_FOUND")
    own.insert({"_id": "good", "total": 1, "lines": [{"sku": "a", "qty": 1}]}, "judged")
    bad = {"_id": "bad", "total": -1, "lines": [{"qty": "x"}], "to": {}, "more": 1}
    error = own.refused("POST", own.documents("judged"), bad, status=400, code="VALIDATION_ERROR")
    assert {"total", "to.zip", "more"} <= set(error["details"]["paths"])
    assert any(path.startswith("lines") for path in error["details"]["paths"])
    assert "_tenantId" not in str(error)
    own.refused("PATCH", own.one("good", "judged"), {"$set": {"total": "x"}}, status=400, code="VALIDATION_ERROR")
    own.refused("PUT", own.one("good", "judged"), {"a": 1}, status=400, code="VALIDATION_ERROR")
    other.insert(bad, "judged")
    other.refused("DELETE", "/collections/nowhere/schema", status=404, code="COLLECTION_NOT_FOUND")
    own.ok("DELETE", "/collections/judged/schema")
    assert own.ok("GET", "/collections/judged/schema")["data"] == {"schema": None}
    own.ok("PUT", "/collections/judged/schema", {"schema": {"minProperties": 1, "additionalProperties": False}})
    assert own.ok("GET", "/collections/judged/schema")["data"]["schema"] == {
        "minProperties": 1, "additionalProperties": False
    }  # fmt: skip
    own.ok("DELETE", "/collections/judged/schema")
    own.insert(bad, "judged")
    wrong: list[Any] = [
        5,
        {"patternProperties": {"^_": {}}},
        {"properties": [1], "additionalProperties": False},
        {"allOf": [{"additionalProperties": False}]},
        {"properties": {"_tenantId": {}}},
        {"nonsense": 1},
        # What tells of the fields that nobody sees, or has no room for them, however deep it is in a combination.
        {"required": ["_workspaceId"]},
        {"enum": [{"_id": 1, "_tenantId": "a"}]},
        {"dependencies": {"_tenantId": ["total"]}},
        {"dependencies": {"total": ["_tenantId"]}},
        {"dependencies": {"total": {"properties": {"_tenantId": {"enum": ["a"]}}}}},
        {"not": {"properties": {"_tenantId": {"enum": ["a"]}}}},
        {"anyOf": [{"not": {"required": ["_tenantId"]}}]},
        {"oneOf": [{"allOf": [{"maxProperties": 1}]}]},
        {"allOf": [{"allOf": [{"patternProperties": {"^_t": {"enum": ["a"]}}}]}]},
        {"not": {"enum": [{}]}},
    ]
    for given in wrong:
        body = {"schema": given}
        own.refused("PUT", "/collections/judged/schema", body, status=400, code="VALIDATION_ERROR")
    inner = {"properties": {"_tenantId": {"enum": ["a"]}}, "patternProperties": {"^_": {}}, "required": ["_tenantId"]}
    given = {"schema": {"properties": {"inside": inner}}}  # whose fields are its own
    assert own.ask("PUT", "/collections/judged/schema", given).json == {"data": given}
    assert own.ask("DELETE", "/collections/judged/schema").status == 200


def test_a_quota_of_collections(app: Application) -> None:
    own = limited(app, collections=2)
    own.insert({"_id": 1}, "a")
    own.ok("POST", "/collections", {"name": "b"}, status=201)
    refusal: dict[str, Any] = {"status": 429, "code": "QUOTA_EXCEEDED"}
    assert own.refused("POST", own.documents("c"), {}, **refusal)["details"] == {"quota": "collections"}
    own.refused("POST", "/collections", {"name": "c"}, **refusal)
    own.refused("POST", "/collections/c/indexes", {"keys": {"a": 1}}, **refusal)
    own.insert({"_id": 2}, "a")
    own.ok("POST", "/collections/a/indexes", {"keys": {"a": 1}}, status=201)
    own.ok("DELETE", "/collections/b")
    own.insert({"_id": 1}, "c")
    own.refused("POST", own.documents("b"), {}, **refusal)


def test_a_quota_of_documents(app: Application) -> None:
    own = limited(app, documents=2)
    refusal: dict[str, Any] = {"status": 429, "code": "QUOTA_EXCEEDED"}
    own.insert({"_id": 1}, "a")
    own.insert({"_id": 2}, "b")
    own.refused("POST", own.documents("a"), {"_id": 1}, **refusal)
    own.refused("POST", own.documents("a"), {"_id": 3}, **refusal)
    own.ok("PATCH", own.one('{"$numberInt":"1"}', "a"), {"$set": {"more": "x" * 1000}})
    own.ok("DELETE", own.one('{"$numberInt":"2"}', "b"))
    own.refused("POST", own.documents("a"), {"_id": 1}, status=409, code="DUPLICATE_KEY")
    own.insert({"_id": 3}, "a")
    own.refused("POST", own.documents("a"), {"_id": 4}, **refusal)
    own.ok("DELETE", "/collections/a")
    own.insert({"_id": 5}, "b")


def test_a_quota_of_bytes(app: Application) -> None:
    own = limited(app, bytes=1000)
    refusal: dict[str, Any] = {"status": 429, "code": "QUOTA_EXCEEDED"}
    own.insert({"_id": "a", "t": "x" * 300}, "a")
    own.insert({"_id": "b", "t": "x" * 300}, "a")
    own.refused("POST", own.documents("a"), {"_id": "c", "t": "x" * 300}, **refusal)
    own.refused("PATCH", own.one("a", "a"), {"$set": {"u": "x" * 300}}, **refusal)
    own.refused("PUT", own.one("a", "a"), {"t": "x" * 600}, **refusal)
    own.ok("PATCH", own.one("b", "a"), {"$set": {"t": ""}})
    own.ok("PATCH", own.one("a", "a"), {"$set": {"u": "x" * 250}})
    own.refused("PATCH", own.one("a", "a"), {"$inc": {"t": 1}}, status=400, code="VALIDATION_ERROR")
    own.ok("DELETE", own.one("a", "a"))
    own.insert({"_id": "c", "t": "x" * 600}, "a")


def test_a_quota_in_a_bulk(app: Application) -> None:
    own = limited(app, documents=3, bytes=2000)
    inserts = [{"insertOne": {"document": {"_id": number}}} for number in range(4)]
    answer = own.ask("POST", "/collections/a/bulk", {"operations": inserts[:3]})
    if answer.status == 400:
        assert "transactions are not supported" in answer.json["error"]["message"]
        pytest.skip("this MongoDB has no transactions, and says so")
    assert answer.status == 200, answer.body
    refusal: dict[str, Any] = {"status": 429, "code": "QUOTA_EXCEEDED"}
    own.refused("POST", "/collections/a/bulk", {"operations": inserts[3:]}, **refusal)
    swap = [{"deleteMany": {"filter": {"_id": {"$lt": 2}}}}, inserts[3]]
    own.ok("POST", "/collections/a/bulk", {"operations": swap})
    assert own.ids("a") == [2, 3]
    grow = [inserts[0], {"updateMany": {"filter": {}, "update": {"$set": {"t": "x" * 700}}}}]
    own.refused("POST", "/collections/a/bulk", {"operations": grow}, **refusal)
    assert own.query("a")["data"] == [{"_id": 2}, {"_id": 3}]
    own.ok("POST", "/collections/a/bulk", {"operations": [grow[0]]})
    own.refused("POST", own.documents("a"), {"_id": 9}, **refusal)


def test_many_at_once_get_exactly_what_there_is(app: Application) -> None:
    own = limited(app, documents=7, collections=1)
    shown = {"authorization": f"Bearer {own.token}"}

    async def all_at_once() -> list[int]:
        path = f"/v1/mongo/{own.name}"
        asked = [
            app.request("POST", f"{path}/collections/c{number % 3}/documents", orjson.dumps({"n": number}), shown)
            for number in range(24)
        ]
        return [answer.status for answer in await asyncio.gather(*asked)]

    statuses = app.run(all_at_once())
    assert set(statuses) == {201, 429}
    assert len(own.ok("GET", "/collections")["data"]) == 1
    name = own.ok("GET", "/collections")["data"][0]["name"]
    assert own.query(name)["pagination"]["total"] == statuses.count(201) <= 7
    statuses = []
    while 429 not in statuses:
        statuses.append(own.ask("POST", own.documents(name), {}).status)
    assert own.query(name)["pagination"]["total"] == 7


def test_whoever_waits_for_too_long_keeps_nobody_from_writing(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = limited(app, documents=1000)
    shown = {"authorization": f"Bearer {own.token}"}

    async def all_at_once() -> list[int]:
        path = f"/v1/mongo/{own.name}/collections/c/documents"
        asked = [app.request("POST", path, b"{}", shown) for _ in range(30)]
        return [answer.status for answer in await asyncio.gather(*asked)]

    for milliseconds in range(1, 20):
        monkeypatch.setattr(metering, "WAIT_SECONDS", milliseconds / 1000)
        assert set(app.run(all_at_once())) <= {201, 503}
        monkeypatch.undo()
        usage = app.run(directory(app).workspaces.system.find_one(metering.COLLECTION, {"_id": own.name}))
        assert usage is None or usage["holder"] is None


def test_a_quota_counts_what_was_there_before(app: Application) -> None:
    own = place(app, "acme", f"late{MARK}")
    for number in range(3):
        own.insert({"_id": number}, "a")
    app.run(directory(app).workspaces.change(own.name, quotas={"documents": 4}))
    own.insert({"_id": 3}, "a")
    own.refused("POST", own.documents("a"), {}, status=429, code="QUOTA_EXCEEDED")
    app.run(directory(app).workspaces.change(own.name, quotas={"documents": None}))
    own.insert({"_id": 4}, "a")


@pytest.mark.parametrize("lost", [False, True])
def test_a_place_is_held_for_as_long_as_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: bool) -> None:
    monkeypatch.setattr(metering, "RENEWED_SECONDS", -1.0)
    at, since = Workspace("w", "acme", "default", "d", quotas={"documents": 9}), list[datetime]()
    write = InsertOne(namespace=at.namespace("c0"), document=dict(at.predicate), max_time_ms=30_000)

    async def live(store: EmbeddedStore, system: SystemStore) -> int:
        async def execute(operation: Operation[Any]) -> Any:
            held = await system.find_one(metering.COLLECTION, {"_id": "w"}) or {}
            assert held["seconds"] == 30.0 + metering.SLACK_SECONDS
            since.append(held["at"])
            await asyncio.sleep(0.005)
            if lost and len(since) == 4:
                await system.update(metering.COLLECTION, {"_id": "w"}, {"$set": {"holder": "somebody else"}})
            return await store.execute(operation)

        for number in range(3):
            await store.execute(InsertOne(namespace=at.namespace(f"c{number}"), document=dict(at.predicate)))
        with pytest.raises(ServerBusy) if lost else nullcontext():
            await metering.Metering(system).carry_out(write, at, execute)
        counted = await store.execute(CountDocuments(namespace=at.namespace("c0"), filter={}))
        return int(counted.count)

    assert in_store(tmp_path, live) == (1 if lost else 2)
    assert len(since) == (4 if lost else 5)
    assert since == sorted(set(since)), "each operation renews it"


def in_store(folder: Path, live: Callable[[EmbeddedStore, SystemStore], Awaitable[Any]]) -> Any:
    async def scenario() -> Any:
        store = EmbeddedStore(folder, system_database="doorleaf")
        await store.open()
        try:
            return await live(store, SystemStore(store, "doorleaf"))
        finally:
            await store.close()

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("left", "free"),
    [
        ({"seconds": 3600.0}, False),
        ({"seconds": 0.0}, True),
        ({"until": datetime(2001, 1, 1)}, False),
        ({"until": datetime(2001, 1, 1), "seconds": 0.0}, False),
        ({"holder": None, "until": datetime(2999, 1, 1)}, True),
    ],
)
def test_a_place_that_was_left_comes_free_by_the_clock_of_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: dict[str, Any], free: bool
) -> None:
    """Whatever clock the server has: it asks none of its own."""
    monkeypatch.setattr(metering, "WAIT_SECONDS", 0.3 if not free else 60.0)
    monkeypatch.setattr(metering, "LOOK_SECONDS", 0.01)
    at = Workspace("w", "acme", "default", "d", quotas={"documents": 9})
    write = InsertOne(namespace=at.namespace("c"), document=dict(at.predicate), max_time_ms=30_000)

    async def live(store: EmbeddedStore, system: SystemStore) -> Any:
        made = {"_id": "w", "holder": "gone", "begun": 1, "ended": 0, **left}
        await system.insert(metering.COLLECTION, made)
        if "seconds" in left:
            await system.update(metering.COLLECTION, {"_id": "w"}, {"$currentDate": {"at": True}})
        with nullcontext() if free else pytest.raises(ServerBusy):
            await metering.Metering(system).carry_out(write, at, store.execute)
        return await system.find_one(metering.COLLECTION, {"_id": "w"})

    found = in_store(tmp_path, live)
    assert found["holder"] == (None if free else "gone")
    assert "until" not in found
    assert free or found["at"] > datetime(2001, 1, 1), "held from when it was found"
