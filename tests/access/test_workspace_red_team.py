"""Two tenants with the same names in one database: sixty ways to reach over, of which none does."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from asgi import Answer, Application
from placed import Place, directory, opened, place

from doorleaf.dialects.workspaces.query import _read as read_anew
from doorleaf.dialects.workspaces.query import read

MARK = secrets.token_hex(3)
SECRET = "what-only-the-victim-may-know"
GET, POST, PATCH, PUT, DELETE = "GET", "POST", "PATCH", "PUT", "DELETE"
DOCUMENTS = "/collections/orders/documents"
AGGREGATE = "/collections/orders/aggregate"
BULK = "/collections/orders/bulk"


@pytest.fixture(scope="module", params=["embedded", "mongo"])
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    uri = None if request.param == "embedded" else request.getfixturevalue("mongodb_uri")
    with opened(tmp_path_factory.mktemp(f"red{MARK}"), uri) as running:
        yield running


@pytest.fixture(scope="module")
def victim(app: Application) -> Place:
    made = place(app, "victim", f"victim{MARK}", database=f"red{MARK}", shared=True)
    made.insert({"_id": "treasure", "owner": "victim", "note": SECRET, "total": 1}, "orders")
    made.insert({"_id": "only", "note": SECRET}, "vault")
    made.ok(POST, "/collections/orders/indexes", {"keys": {"owner": 1}, "unique": True}, status=201)
    made.ok("PUT", "/collections/vault/schema", {"schema": {"required": ["note"]}})
    return made


@pytest.fixture(scope="module")
def thief(app: Application, victim: Place) -> Place:
    made = place(app, "thief", f"thief{MARK}", database=f"red{MARK}", shared=True)
    made.insert({"_id": "mine", "owner": "thief", "total": 5}, "orders")
    return made


def pipeline(*stages: Any) -> dict[str, Any]:
    return {"pipeline": list(stages)}


def attempts(victim: str) -> list[tuple[str, str, Any, dict[str, str]]]:
    """Every attempt: a method, a path in the thief's workspace, a body, and a query."""
    owner = {"_tenantId": "victim", "_workspaceId": victim}
    foreign = f"{victim}.orders"
    lookup = {"localField": "x", "foreignField": "x", "as": "r"}
    filters: list[dict[str, Any]] = [
        {"filter._tenantId": "victim"},
        {"filter._workspaceId": victim},
        {"filter._tenantId[ne]": "thief"},
        {"filter._tenantId[exists]": "true"},
        {"filter._tenantId[regex]": "^v"},
        {"filter._tenantId[in]": "thief,victim"},
        {"filter": '{"_tenantId":"victim"}'},
        {"filter": '{"_tenantId":{"$ne":null}}'},
        {"filter": '{"$or":[{"_tenantId":"victim"},{"_id":"treasure"}]}'},
        {"filter": '{"$nor":[{"_tenantId":"thief"}]}'},
        {"filter": '{"$and":[{"$or":[{"_workspaceId":{"$gt":""}}]}]}'},
        {"filter": '{"$expr":{"$eq":["$_tenantId","victim"]}}'},
        {"filter": '{"$where":"true"}'},
        {"filter": '{"$jsonSchema":{"properties":{"_tenantId":{"enum":["victim"]}}}}'},
        {"filter.owner": "victim"},
        {"filter._id": "treasure"},
        {"filter.note[regex]": "victim"},
        {"sort": "_tenantId"},
        {"sort": '{"_workspaceId":-1}'},
        {"projection": "_tenantId"},
        {"projection": "-_tenantId"},
        {"projection": "_workspaceId.x"},
        {"projection": '{"x":"$_tenantId"}'},
        {"limit": "1000", "count": "estimated"},
        {"cursor": "AAAAAAAAAAAAAAAAAAAAAAAAAA"},
    ]
    stages: list[list[Any]] = [
        [{"$match": owner}],
        [{"$match": {"$or": [owner, {"_id": "treasure"}]}}],
        [{"$match": {"$expr": {"$eq": ["$_tenantId", "victim"]}}}],
        [{"$lookup": {**lookup, "from": foreign}}],
        [{"$lookup": {**lookup, "from": "vault"}}],
        [{"$lookup": {**lookup, "from": {"db": "doorleaf", "coll": "keys"}}}],
        [{"$lookup": {**lookup, "from": "orders", "foreignField": "_tenantId", "localField": "owner"}}],
        [{"$lookup": {"from": "orders", "pipeline": [{"$match": owner}], "as": "r"}}],
        [{"$lookup": {"from": "orders", "pipeline": [{"$lookup": {**lookup, "from": foreign}}], "as": "r"}}],
        [{"$lookup": {"from": "orders", "pipeline": [{"$unionWith": foreign}], "as": "r"}}],
        [{"$lookup": {"from": "orders", "let": {}, "pipeline": [{"$out": "stolen"}], "as": "r"}}],
        [{"$unionWith": foreign}],
        [
            {
                "$graphLookup": {
                    "from": foreign,
                    "startWith": 1,
                    "connectFromField": "a",
                    "connectToField": "b",
                    "as": "c",
                }
            }
        ],
        [{"$facet": {"a": [{"$match": owner}]}}],
        [{"$merge": {"into": foreign}}],
        [{"$out": foreign}],
        [{"$group": {"_id": "$_tenantId"}}],
        [{"$project": {"x": "$_tenantId", "y": "$$ROOT._workspaceId"}}],
        [{"$addFields": {"x": {"$getField": "_tenantId"}}}],
        [{"$project": {"x": {"$objectToArray": "$$ROOT"}}}],
        [{"$collStats": {"count": {}}}],
    ]
    writes: list[tuple[str, str, Any]] = [
        (PATCH, f"{DOCUMENTS}/treasure", {"$set": {"note": "stolen"}}),
        (PUT, f"{DOCUMENTS}/treasure", {"note": "stolen"}),
        (DELETE, f"{DOCUMENTS}/treasure", None),
        (GET, f"{DOCUMENTS}/treasure", None),
        (PATCH, f"{DOCUMENTS}/mine", {"$set": {"_tenantId": "victim"}}),
        (PATCH, f"{DOCUMENTS}/mine", {"$unset": {"_workspaceId": ""}}),
        (PATCH, f"{DOCUMENTS}/mine", {"$rename": {"_tenantId": "x"}}),
        (PATCH, f"{DOCUMENTS}/mine", {"$pull": {"_tenantId.a": 1}}),
        (PUT, f"{DOCUMENTS}/mine", {"_tenantId": "victim", "_workspaceId": victim}),
        (POST, DOCUMENTS, {"_id": "planted", **owner}),
        (POST, DOCUMENTS, {"_id": "planted", "_tenantId.x": 1}),
        (PUT, f"{DOCUMENTS}/mine", {"_workspaceId.x": victim}),
        (POST, f"/collections/{victim}.orders/documents", {"_id": "planted"}),
        (GET, f"/collections/{victim}.orders/documents", None),
        (GET, "/collections/..%2f/documents", None),
        (POST, BULK, {"operations": [{"deleteMany": {"filter": {"_tenantId": "victim"}}}]}),
        (POST, BULK, {"operations": [{"deleteMany": {"filter": {"_id": "treasure"}}}]}),
        (POST, BULK, {"operations": [{"updateMany": {"filter": owner, "update": {"$set": {"note": "stolen"}}}}]}),
        (POST, BULK, {"operations": [{"insertOne": {"document": {"_id": "planted", **owner}}}]}),
        (
            POST,
            BULK,
            {"operations": [{"updateOne": {"filter": owner, "update": {"$set": {"planted": 1}}, "upsert": True}}]},
        ),
        (DELETE, f"/collections/{victim}.orders", None),
        (DELETE, "/collections/vault", None),
        (DELETE, "/collections/orders/indexes/owner_1", None),
        (POST, "/collections/orders/indexes", {"keys": {"_tenantId": 1}, "expireAfterSeconds": 0}),
        (PUT, "/collections/vault/schema", {"schema": {}}),
        (POST, "/credentials", None),
    ]
    return [
        *((GET, DOCUMENTS, None, query) for query in filters),
        *((POST, AGGREGATE, pipeline(*given), {}) for given in stages),
        *((method, path, body, {}) for method, path, body in writes),
    ]


def untouched(victim: Place) -> Any:
    """Everything that the victim has."""
    names = [one["name"] for one in victim.ok(GET, "/collections")["data"]]
    listed = {name: victim.query(name, limit=1000)["data"] for name in names}
    return listed, victim.ok(GET, "/collections/orders/indexes")


def test_no_attempt_reaches_over(victim: Place, thief: Place) -> None:
    before = untouched(victim)
    tried = attempts(victim.name)
    assert len(tried) >= 60
    for method, path, body, query in tried:
        answer = thief.ask(method, path, body, query=query)
        told = (method, path, body, query, answer.status, answer.body)
        assert answer.status < 500, told
        assert SECRET.encode() not in answer.body, told
        if answer.status < 300:
            found = orjson.dumps(answer.json).decode()
            assert "_tenantId" not in found.replace('"k":"_tenantId"', "!"), told
            assert '"k":"_tenantId"' not in found, told
            assert "treasure" not in found, told
        assert untouched(victim) == before, told


def same(one: Answer, other: Answer) -> bool:
    """Whether two refusals tell the same."""
    hidden = ("correlationId", "timestamp")
    left, right = ({k: v for k, v in a.json["error"].items() if k not in hidden} for a in (one, other))
    return one.status == other.status and left == right


def test_what_is_there_is_not_learned_by_asking(app: Application, victim: Place, thief: Place) -> None:
    for method, body in ((GET, None), (PATCH, {"$set": {"a": 1}}), (PUT, {"a": 1}), (DELETE, None)):
        there = thief.ask(method, f"{DOCUMENTS}/treasure", body)
        absent = thief.ask(method, f"{DOCUMENTS}/nothing", body)
        assert same(there, absent), (there.body, absent.body)
    # The victim's ids, unique values and schemas stand in nobody's way.
    thief.insert({"_id": "treasure", "owner": "twin"}, "orders")
    thief.insert({"_id": "twin", "owner": "victim"}, "orders")
    thief.insert({"_id": "only"}, "vault")
    assert thief.query("orders")["pagination"]["total"] == 3
    assert victim.query("orders")["pagination"]["total"] == 1
    for name in ("treasure", "twin"):
        thief.ok(DELETE, f"{DOCUMENTS}/{name}")
    thief.ok(DELETE, "/collections/vault")


def test_tags_keys_and_cursors_of_others_are_worth_nothing(app: Application, victim: Place, thief: Place) -> None:
    tag = victim.ask(GET, f"{DOCUMENTS}/treasure").headers["etag"]
    theirs = thief.ask(DELETE, f"{DOCUMENTS}/treasure", headers={"if-match": tag})
    assert theirs.status == 404
    again = {"idempotency-key": "the-same-key"}
    first = victim.ask(POST, "/collections/notes/documents", {"n": 1}, headers=again)
    second = thief.ask(POST, "/collections/notes/documents", {"n": 1}, headers=again)
    assert second.status == 201
    assert "x-idempotency-replayed" not in second.headers
    assert first.json["data"]["_id"] != second.json["data"]["_id"]
    for number in range(2):
        victim.insert({"_id": number}, "paged")
        thief.insert({"_id": number}, "paged")
    cursor = victim.query("paged", limit=1, cursor="")["pagination"]["nextCursor"]
    refusal: dict[str, Any] = {"status": 400, "code": "VALIDATION_ERROR"}
    thief.refused(GET, "/collections/paged/documents", query={"cursor": cursor}, **refusal)


def test_quotas_count_ones_own(app: Application, victim: Place, thief: Place) -> None:
    known = directory(app).workspaces
    have = sum(thief.query(one["name"])["pagination"]["total"] for one in thief.ok(GET, "/collections")["data"])
    app.run(known.change(thief.name, quotas={"documents": have + 1}))
    thief.insert({"n": 1}, "counted")
    thief.refused(POST, "/collections/counted/documents", {}, status=429, code="QUOTA_EXCEEDED")
    victim.insert({"n": 1}, "counted")
    app.run(known.change(thief.name, quotas={"documents": None}))


def test_tokens_are_good_where_they_were_made_for(app: Application, victim: Place, thief: Place) -> None:
    for shown in ({"authorization": f"Bearer {thief.token}"}, {"apiKey": thief.token}):
        for identity in ("x-tenant-id", "x-workspace-id", "x-auth-tenant-id", "x-auth-workspace-id"):
            answer = app.call(GET, f"/v1/mongo/{victim.name}{DOCUMENTS}", headers={**shown, identity: victim.name})
            assert answer.status in (401, 403)
            assert SECRET.encode() not in answer.body
    app.run(directory(app).workspaces.create_key(victim.name, "k"))
    for name in (f"{victim.name}.orders", f"../{victim.name}", f"{victim.name}%2f", "workspaces", "databases"):
        assert app.call(GET, f"/v1/mongo/{name}{DOCUMENTS}", headers={"apiKey": thief.token}).status in (401, 403, 404)


def test_what_is_remembered_of_a_query_is_nobody_s(victim: Place, thief: Place) -> None:
    """The same words ask for the documents of whoever says them, and nothing that is done with them changes them."""
    filters = [
        {"filter": '{"$or":[{"total":{"$gte":0}},{"total":{"$in":[1,5]}}]}', "sort": "-total"},
        {"filter.total[in]": "1,5", "filter.owner[exists]": "true", "projection": "owner", "count": "estimated"},
        {"filter.total[gte]": "0", "sort": "total", "cursor": ""},
    ]
    for query in filters:
        text = urlencode(query).encode()
        before = repr(read_anew(text))
        for _ in range(2):
            assert [one["owner"] for one in victim.query("orders", **query)["data"]] == ["victim"]
            assert [one["owner"] for one in thief.query("orders", **query)["data"]] == ["thief"]
        assert read(text) is read(text)
        assert repr(read(text)) == before
