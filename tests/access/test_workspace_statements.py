"""What is said of workspaces, statement by statement, where no other test is about it; on both engines."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from asgi import Application
from placed import Place, directory, opened, place

MARK = secrets.token_hex(3)
VERSION = {"x-api-version": "2024-01-01"}


@pytest.fixture(scope="module", params=["embedded", "mongo"])
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    uri = None if request.param == "embedded" else request.getfixturevalue("mongodb_uri")
    with opened(tmp_path_factory.mktemp(f"said{MARK}"), uri, cors_origins=["https://app.example"]) as running:
        yield running


@pytest.fixture(scope="module")
def own(app: Application) -> Place:
    return place(app, "acme", f"said{MARK}")


@pytest.fixture
def name() -> str:
    return f"c{secrets.token_hex(4)}"


def raw(own: Place, name: str) -> Any:
    """Documents as the database has them."""
    return own.app.act("find", {"database": own.name, "collection": name, "sort": {"_id": 1}}).json["documents"]


# --- documents -------------------------------------------------------------------------------------------------------


def test_an_id_of_the_page_is_text_and_always_shown(own: Place, name: str) -> None:
    identity = own.insert({"a": 1, "b": 2}, name)["_id"]
    assert own.query(name, projection="a")["data"] == [{"_id": identity, "a": 1}]
    assert own.query(name, projection="-a")["data"] == [{"_id": identity, "b": 2}]
    assert own.query(name, projection='{"b":1,"_id":0}')["data"] == [{"b": 2}]


def test_equal_values_are_sorted_by_id_so_that_pages_by_skip_are_whole(own: Place, name: str) -> None:
    for number in (3, 1, 4, 0, 2):
        own.insert({"_id": number, "same": 1}, name)
    pages = [own.ids(name, sort="-same", limit=2, skip=skip) for skip in (0, 2, 4)]
    assert pages == [[0, 1], [2, 3], [4]]
    assert own.ids(name, sort="same,-_id") == [4, 3, 2, 1, 0]


def test_a_document_is_one_object(own: Place, name: str) -> None:
    for body in (b"[]", b'[{"a":1}]', b"1", b'"x"', b"null"):
        own.refused("POST", own.documents(name), body, status=400, code="VALIDATION_ERROR")
    for body in (b"", b"{", b"{} {}", b"\xff"):
        answer = own.ask("POST", own.documents(name), body or b" ")
        assert (answer.status, answer.json["error"]["code"]) == (400, "INVALID_JSON"), body
    assert own.query(name)["data"] == []


@pytest.mark.parametrize(
    "operator",
    ["$rename", "$mul", "$min", "$max", "$currentDate", "$setOnInsert", "$pop", "$pullAll", "$bit", "$nope"],
)
def test_an_update_has_six_operators_and_no_other(own: Place, operator: str) -> None:
    error = own.refused("PATCH", own.one("x"), {operator: {"a": 1}}, status=400, code="VALIDATION_ERROR")
    assert operator in error["message"]


def test_a_replacement_keeps_the_id_and_whose_it_is(own: Place, name: str) -> None:
    own.insert({"_id": "x", "a": 1, "b": 2}, name)
    told = own.ok("PUT", own.one("x", name), {"c": 3})
    assert told == {"data": {"_id": "x", "c": 3}, "matched": 1, "modified": 1, "replaced": 1}
    again = own.ok("PUT", own.one("x", name), {"_id": "x", "c": 3})
    assert (again["matched"], again["modified"], again["replaced"]) == (1, 0, 1)
    assert raw(own, name) == [{"_id": "x", "c": 3, "_tenantId": "acme", "_workspaceId": own.name}]
    own.refused("PUT", own.one("y", name), {"c": 3}, status=404, code="DOCUMENT_NOT_FOUND")
    assert len(raw(own, name)) == 1


def test_nothing_is_inserted_by_an_update(own: Place, name: str) -> None:
    own.refused("PATCH", own.one("new", name), {"$set": {"a": 1}}, status=404, code="DOCUMENT_NOT_FOUND")
    own.refused("DELETE", own.one("new", name), status=404, code="DOCUMENT_NOT_FOUND")
    assert raw(own, name) == []


def test_ones_own_fields_may_be_sent_along(own: Place, name: str) -> None:
    mine = {"_tenantId": "acme", "_workspaceId": own.name}
    assert own.insert({"_id": 1, **mine}, name) == {"_id": 1}
    assert own.ids(name, **{"filter._tenantId": "acme"}) == [1]
    own.refused("GET", own.documents(name), query={"filter._tenantId": "x"}, status=403, code="PERMISSION_DENIED")
    own.refused("POST", own.documents(name), {"_tenantId": "x"}, status=403, code="PERMISSION_DENIED")


def test_an_idempotency_key_is_its_callers_own(app: Application, own: Place, name: str) -> None:
    """Whoever knows another's key and body gets an answer of their own, which rules or scopes may have made another."""
    known = directory(app).workspaces
    key = app.run(known.create_key(own.name, name, scopes=["mongo:write"]))["key"]
    token, _ = app.run(known.token(own.name, ["mongo:write"], 60))
    again, identities = {"idempotency-key": "shared"}, set()
    for shown in (own.token, key, token):
        first, second = (own.ask("POST", own.documents(name), {"n": 1}, headers=again, token=shown) for _ in range(2))
        assert (first.status, first.body) == (201, second.body)
        assert "x-idempotency-replayed" not in first.headers
        assert second.headers["x-idempotency-replayed"] == "true"
        identities.add(first.json["data"]["_id"])
    assert set(own.ids(name)) == identities
    assert len(identities) == 3


def test_what_is_replayed_is_in_the_format_that_was_asked_for(own: Place, name: str) -> None:
    again = {"idempotency-key": "formatted"}
    own.ok("POST", own.documents(name), {"n": 1}, headers=again, status=201)
    exactly = {**again, "accept": "application/ejson"}
    own.refused("POST", own.documents(name), {"n": 1}, headers=exactly, status=409, code="IDEMPOTENCY_CONFLICT")


# --- several at once, and pipelines ----------------------------------------------------------------------------------


def test_a_bulk_has_six_kinds_that_are_carried_out_in_order(own: Place, name: str) -> None:
    operations: list[dict[str, Any]] = [
        {"insertOne": {"document": {"_id": 1, "n": 0}}},
        {"insertOne": {"document": {"_id": 2, "n": 0}}},
        {"updateOne": {"filter": {"_id": 1}, "update": {"$inc": {"n": 1}}}},
        {"updateMany": {"filter": {}, "update": {"$inc": {"n": 1}}}},
        {"replaceOne": {"filter": {"_id": 2}, "replacement": {"r": 1}}},
        {"deleteOne": {"filter": {"n": 2}}},
        {"deleteMany": {"filter": {"n": 7}}},
    ]
    told = own.ok("POST", f"/collections/{name}/bulk", {"operations": operations})
    assert raw(own, name) == [{"_id": 2, "r": 1, "_tenantId": "acme", "_workspaceId": own.name}]
    assert [told[count] for count in ("inserted", "matched", "modified", "deleted")] == [2, 4, 4, 1]
    assert [one["index"] for one in told["data"]["results"]] == [*range(7)]


def test_the_eleven_stages(own: Place, name: str) -> None:
    for number in range(4):
        own.insert({"_id": number, "g": number % 2, "l": [number, -number]}, name)
    pipeline: list[dict[str, Any]] = [
        {"$match": {"_id": {"$gt": 0}}},
        {"$lookup": {"from": name, "localField": "g", "foreignField": "_id", "as": "joined"}},
        {"$addFields": {"twice": {"$multiply": ["$_id", 2]}}},
        {"$unwind": "$l"},
        {"$sort": {"l": -1}},
        {"$skip": 1},
        {"$limit": 4},
        {"$project": {"g": 1, "twice": 1, "of": {"$size": "$joined"}}},
        {"$group": {"_id": "$g", "sum": {"$sum": "$twice"}, "of": {"$max": "$of"}}},
        {"$bucket": {"groupBy": "$sum", "boundaries": [0, 100], "output": {"sum": {"$sum": "$sum"}}}},
        {"$count": "buckets"},
    ]
    assert len({next(iter(stage)) for stage in pipeline}) == 11
    path = f"/collections/{name}/aggregate"
    assert own.ok("POST", path, {"pipeline": pipeline})["data"] == [{"buckets": 1}]
    assert own.ok("POST", path, {"pipeline": pipeline[:10]})["data"] == [{"_id": 0, "sum": 12}]
    for more in ({"allowDiskUse": True}, {"maxTimeMS": 1}):  # bounds are the server's
        own.refused("POST", path, {"pipeline": pipeline, **more}, status=400, code="VALIDATION_ERROR")


def test_a_pipeline_answers_a_thousand_documents_at_most(own: Place, name: str) -> None:
    for start in range(0, 1500, 500):
        operations = [{"insertOne": {"document": {"_id": number}}} for number in range(start, start + 500)]
        own.ok("POST", f"/collections/{name}/bulk", {"operations": operations})
    path = f"/collections/{name}/aggregate"
    assert len(own.ok("POST", path, {"pipeline": [{"$match": {}}]})["data"]) == 1000
    found = own.ok("POST", path, {"pipeline": [{"$sort": {"_id": 1}}, {"$skip": 998}, {"$limit": 3}]})["data"]
    assert found == [{"_id": 998}, {"_id": 999}, {"_id": 1000}]
    assert len(own.query(name, limit=5000)["data"]) == 1000


# --- requests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2024-01-01", "2026-03-26", "1999-12-31"])
def test_any_date_is_a_version(own: Place, version: str) -> None:
    assert own.ask("GET", own.documents(), headers={"x-api-version": version}).status == 200


def test_headers_say_nothing_of_who_calls(app: Application, own: Place) -> None:
    token, _ = app.run(directory(app).workspaces.token(own.name, ["mongo:read"], 60))
    claims = {
        "x-auth-subject": "root",
        "x-auth-tenant-id": "acme",
        "x-auth-workspace-id": own.name,
        "x-auth-plan-id": "enterprise",
        "x-auth-roles": "superadmin",
        "x-auth-scopes": "mongo:read mongo:write mongo:admin",
    }
    own.refused("POST", own.documents(), {}, token=token, headers=claims, status=403, code="PERMISSION_DENIED")
    nobody = app.call("GET", f"/v1/mongo/{own.name}{own.documents()}", headers=claims)
    assert (nobody.status, nobody.json["error"]["code"]) == (401, "UNAUTHENTICATED")


def test_refusals_come_in_one_order(app: Application, own: Place) -> None:
    """401, then whether the workspace is there, whose it is, the scope, the capability, what is asked, the quota."""
    known = directory(app).workspaces
    other = place(app, "bolt", f"order{MARK}")
    app.run(known.change(other.name, capabilities=["realtime"], quotas={"documents": 0}))
    reading, _ = app.run(known.token(other.name, ["mongo:read"], 60))
    documents, wrong = other.documents(), {"$a": 1}
    other.refused("POST", documents, wrong, token="x", status=401, code="INVALID_TOKEN")
    nowhere = Place(app, f"nowhere{MARK}", other.token)
    nowhere.refused("POST", documents, wrong, status=404, code="WORKSPACE_NOT_FOUND")
    other.refused("POST", documents, wrong, token=own.token, status=403, code="PERMISSION_DENIED")
    other.refused("POST", documents, wrong, token=reading, status=403, code="PERMISSION_DENIED")
    other.refused("POST", documents, wrong, status=403, code="CAPABILITY_DISABLED")
    app.run(known.change(other.name, capabilities=["mongo"]))
    other.refused("POST", documents, wrong, status=400, code="VALIDATION_ERROR")
    other.refused("POST", documents, {}, status=429, code="QUOTA_EXCEEDED")
    assert other.query()["data"] == []
    other.refused("DELETE", other.one("x"), status=404, code="DOCUMENT_NOT_FOUND")  # which no quota keeps from


def test_another_method_is_told_which_there_are(own: Place) -> None:
    answer = own.ask("PUT", own.documents(), {})
    assert (answer.status, answer.json["error"]["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == "GET, HEAD, POST"


def test_every_error_is_in_the_envelope_with_the_callers_id(own: Place) -> None:
    asked = {"x-correlation-id": "trace-0001"}
    for method, path, body in (
        ("GET", own.one("none"), None),
        ("POST", own.documents(), b"{"),
        ("POST", own.documents("a..b"), {}),
        ("PUT", own.documents(), {}),
        ("GET", "/nothing", None),
        ("POST", "/credentials", {}),
    ):
        answer = own.ask(method, path, body, headers=asked)
        assert answer.status >= 400
        assert answer.json.keys() == {"error"}
        told = answer.json["error"]
        assert {"code", "message", "correlationId", "timestamp"} <= told.keys() <= {*told, "details"}
        assert told["correlationId"] == answer.headers["x-correlation-id"] == "trace-0001"
        assert told["timestamp"].endswith("Z")


def test_pages_of_a_browser_may_send_and_read_what_there_is(own: Place) -> None:
    path = f"/v1/mongo/{own.name}{own.documents()}"
    wanted = "authorization,content-type,idempotency-key,if-match,x-api-version,x-correlation-id"
    preflight = {
        "origin": "https://app.example",
        "access-control-request-method": "PATCH",
        "access-control-request-headers": wanted,
    }
    answer = own.app.call("OPTIONS", path, headers=preflight)
    allowed = answer.headers["access-control-allow-headers"].lower().replace(" ", "").split(",")
    assert answer.status == 204
    assert set(wanted.split(",")) <= set(allowed)
    assert {"PATCH", "PUT", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    told = own.ask("POST", own.documents(), {}, headers={"origin": "https://app.example"})
    exposed = told.headers["access-control-expose-headers"].lower().split(", ")
    assert {"etag", "x-correlation-id", "x-idempotency-replayed"} <= set(exposed)
