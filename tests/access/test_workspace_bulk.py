"""Bulk writes and pipelines of workspaces over HTTP: all or nothing, bounds, joins."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from asgi import Application
from placed import Place, opened, place

MARK = secrets.token_hex(3)


@pytest.fixture(scope="module", params=["embedded", "mongo"])
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    uri = None if request.param == "embedded" else request.getfixturevalue("mongodb_uri")
    with opened(tmp_path_factory.mktemp(f"bulk{MARK}"), uri) as running:
        yield running


@pytest.fixture(scope="module")
def own(app: Application) -> Place:
    return place(app, "acme", f"bulk{MARK}", database=f"shared{MARK}", shared=True)


@pytest.fixture(scope="module")
def other(app: Application, own: Place) -> Place:
    return place(app, "bolt", f"bulkother{MARK}", database=f"shared{MARK}", shared=True)


def bulk(name: str) -> str:
    return f"/collections/{name}/bulk"


def aggregate(name: str) -> str:
    return f"/collections/{name}/aggregate"


def has_transactions(own: Place) -> bool:
    answer = own.ask("POST", bulk("asked"), {"operations": [{"deleteMany": {"filter": {}}}]})
    if answer.status == 200:
        return True
    assert "transactions are not supported" in answer.json["error"]["message"]
    return False


def test_the_bulk_of_the_page(own: Place, other: Place) -> None:
    if not has_transactions(own):
        pytest.skip("this MongoDB has no transactions, and says so")
    for one in (own, other):
        one.insert({"_id": "e", "category": "electronics"}, "products")
        one.insert({"_id": "d", "sku": "DISCONTINUED-001"}, "products")
    written: list[dict[str, Any]] = [
        {"insertOne": {"document": {"name": "Product A", "price": 29.99}}},
        {"updateMany": {"filter": {"category": "electronics"}, "update": {"$set": {"onSale": True}}}},
        {"deleteOne": {"filter": {"sku": "DISCONTINUED-001"}}},
        {"replaceOne": {"filter": {"_id": "up"}, "replacement": {"n": 1}, "upsert": True}},
        {"updateOne": {"filter": {"_id": "new"}, "update": {"$set": {"n": 2}}, "upsert": True}},
    ]
    told = own.ok("POST", bulk("products"), {"operations": written})
    counts = {"inserted": 1, "matched": 1, "modified": 1, "deleted": 1, "upserted": 2}
    assert {name: told[name] for name in counts} == counts
    assert {name: told["data"][name] for name in counts} == counts
    assert [one["type"] for one in told["data"]["results"]] == [*(name for one in written for name in one)]
    assert told["data"]["results"][4]["upsertedId"] == "new"
    assert set(own.ids("products")) == {told["data"]["results"][0]["insertedId"], "e", "up", "new"}
    assert set(other.ids("products")) == {"d", "e"}
    assert other.ok("GET", other.one("e", "products"))["data"] == {"_id": "e", "category": "electronics"}
    cleared = own.ok("POST", bulk("products"), {"operations": [{"deleteMany": {"filter": {}}}]})
    assert cleared["deleted"] == 4
    assert len(other.ids("products")) == 2


def test_a_bulk_that_fails_does_nothing(own: Place) -> None:
    if not has_transactions(own):
        pytest.skip("this MongoDB has no transactions, and says so")
    own.insert({"_id": "there"}, "whole")
    operations: list[Any] = [
        {"insertOne": {"document": {"_id": "new"}}},
        {"updateOne": {"filter": {"_id": "there"}, "update": {"$set": {"changed": True}}}},
        {"insertOne": {"document": {"_id": "there"}}},
    ]
    error = own.refused("POST", bulk("whole"), {"operations": operations}, status=409, code="DUPLICATE_KEY")
    assert error["details"] == {"index": 2, "operation": "insertOne"}
    assert own.query("whole")["data"] == [{"_id": "there"}]
    operations[2] = {"updateOne": {"filter": {"_id": "there"}, "update": {"$push": {"_id": 1}}}}
    own.refused("POST", bulk("whole"), {"operations": operations}, status=400, code="VALIDATION_ERROR")
    operations[2] = {"updateMany": {"filter": {}, "update": {"$set": {"_tenantId": "x"}}}}
    own.refused("POST", bulk("whole"), {"operations": operations}, status=403, code="PERMISSION_DENIED")
    assert own.query("whole")["data"] == [{"_id": "there"}]


@pytest.mark.parametrize(
    "operations",
    [
        None,
        [],
        {},
        [5],
        [{}],
        [{"insertOne": {"document": {}}, "deleteOne": {"filter": {}}}],
        [{"insertMany": {"documents": []}}],
        [{"insertOne": {}}],
        [{"insertOne": {"document": 5}}],
        [{"insertOne": {"document": {}, "more": 1}}],
        [{"deleteMany": {}}],
        [{"deleteMany": {"filter": []}}],
        [{"deleteMany": {"filter": {"$expr": {}}}}],
        [{"updateOne": {"filter": {}, "update": {"$rename": {"a": "b"}}}}],
        [{"updateOne": {"filter": {}, "update": {"$set": {"a": 1}}, "upsert": "yes"}}],
        [{"replaceOne": {"filter": {}, "replacement": {"$set": {}}}}],
    ],
)
def test_what_no_bulk_can_be(own: Place, operations: Any) -> None:
    own.refused("POST", bulk("wrong"), {"operations": operations}, status=400, code="VALIDATION_ERROR")


def test_a_bulk_that_is_too_long(own: Place) -> None:
    operations: list[Any] = [{"insertOne": {"document": {}}}] * 501
    own.refused("POST", bulk("wrong"), {"operations": operations}, status=413, code="PAYLOAD_TOO_LARGE")
    own.refused("POST", bulk("wrong"), {"operations": [], "x": 1}, status=400, code="VALIDATION_ERROR")


def test_the_pipeline_of_the_page(own: Place, other: Place) -> None:
    for one, total in ((own, 5), (other, 100)):
        for number in range(3):
            row = {"_id": number, "status": "completed", "category": "ab"[number % 2], "total": total}
            one.insert(row, "sales")
    pipeline = [
        {"$match": {"status": "completed"}},
        {"$group": {"_id": "$category", "totalRevenue": {"$sum": "$total"}, "count": {"$sum": 1}}},
        {"$sort": {"totalRevenue": -1}},
        {"$limit": 10},
    ]
    assert own.ok("POST", aggregate("sales"), {"pipeline": pipeline}) == {
        "data": [{"_id": "a", "totalRevenue": 10, "count": 2}, {"_id": "b", "totalRevenue": 5, "count": 1}]
    }
    bucket = {"groupBy": "$total", "boundaries": [0, 50, 200], "output": {"n": {"$sum": 1}}}
    assert own.ok("POST", aggregate("sales"), {"pipeline": [{"$bucket": bucket}]})["data"] == [{"_id": 0, "n": 3}]
    whole = [{"$project": {"all": {"$objectToArray": "$$ROOT"}}}, {"$unwind": "$all"}, {"$count": "fields"}]
    assert own.ok("POST", aggregate("sales"), {"pipeline": whole})["data"] == [{"fields": 12}]
    guess = {"$match": {"$expr": {"$eq": [{"$getField": {"$concat": ["_ten", "antId"]}}, "acme"]}}}
    assert own.ok("POST", aggregate("sales"), {"pipeline": [guess]})["data"] == []


def test_joins_stay_inside(own: Place, other: Place) -> None:
    own.insert({"_id": 1, "mine": True}, "left")
    own.insert({"_id": 1, "from": "own"}, "right")
    other.insert({"_id": 1, "from": "other"}, "right")
    other.insert({"_id": 1, "from": "other"}, "secret")
    by_field = {"from": "right", "localField": "_id", "foreignField": "_id", "as": "r"}
    found = own.ok("POST", aggregate("left"), {"pipeline": [{"$lookup": by_field}]})["data"]
    assert found[0]["r"] == [{"_id": 1, "from": "own"}]
    by_pipeline = {"from": "right", "pipeline": [{"$match": {"_id": 1}}], "as": "r"}
    found = own.ok("POST", aggregate("left"), {"pipeline": [{"$lookup": by_pipeline}]})["data"]
    assert found[0]["r"] == [{"_id": 1, "from": "own"}]
    nothing = own.ok("POST", aggregate("left"), {"pipeline": [{"$lookup": {**by_field, "from": "secret"}}]})["data"]
    assert nothing[0]["r"] == []


WRONG: list[tuple[Any, str | None]] = [
    (None, "invalid_pipeline"),
    ([], None),
    ([5], "invalid_stage"),
    ([{"$match": {}, "$limit": 1}], "invalid_stage"),
    *(
        ([{name: {}}], "pipeline_stage_not_allowed")
        for name in ("$out", "$merge", "$facet", "$unionWith", "$graphLookup", "$set", "$sample", "$nope")
    ),
    ([{"$lookup": {"from": "a", "pipeline": [{"$merge": "b"}], "as": "x"}}], "pipeline_stage_not_allowed"),
    ([{"$lookup": {"from": {"db": "x", "coll": "y"}, "pipeline": [], "as": "x"}}], "invalid_stage"),
    ([{"$lookup": {"from": "a", "as": "x", "pipeline": 5}}], "invalid_pipeline"),
    ([{"$lookup": {"from": "a", "pipeline": [], "as": "x"}}] * 2, "too_many_lookups"),
    ([{"$limit": 1001}], "out_of_bounds"),
    ([{"$limit": "x"}], "out_of_bounds"),
    ([{"$skip": 10_001}], "out_of_bounds"),
    ([{"$sort": {f"f{number}": 1 for number in range(7)}}], "too_many_sort_fields"),
    ([{"$match": {}}] * 13, "too_many_stages"),
    ([{"$match": {"$where": "1"}}], "operator_not_allowed"),
    ([{"$addFields": {"x": {"$function": {"body": "", "args": [], "lang": "js"}}}}], "operator_not_allowed"),
    ([{"$project": {"x": "$$USER_ROLES"}}], None),
    ([{"$project": {"x": {"$meta": "indexKey"}}}], None),
    ([{"$group": {}}], None),
]


@pytest.mark.parametrize(("pipeline", "reason"), WRONG, ids=str)
def test_what_no_pipeline_can_be(own: Place, pipeline: Any, reason: str | None) -> None:
    error = own.refused("POST", aggregate("left"), {"pipeline": pipeline}, status=400, code="VALIDATION_ERROR")
    assert error.get("details", {}).get("reason") == reason


def test_large_pipelines(own: Place) -> None:
    pipeline = [{"$match": {"a": {"$in": ["x" * 100] * 1000}}}]
    own.refused("POST", aggregate("left"), {"pipeline": pipeline}, status=413, code="PAYLOAD_TOO_LARGE")
