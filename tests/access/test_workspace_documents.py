"""Documents of workspaces over HTTP, on both engines: the samples, queries, writes, tags, replays."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from asgi import Application
from placed import Place, directory, opened, place

MARK = secrets.token_hex(3)
"""Tells the names of this run from those of others at the same MongoDB."""


@pytest.fixture(scope="module", params=["embedded", "mongo"])
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    uri = None if request.param == "embedded" else request.getfixturevalue("mongodb_uri")
    with opened(tmp_path_factory.mktemp(f"documents{MARK}"), uri) as running:
        yield running


@pytest.fixture(scope="module")
def own(app: Application) -> Place:
    return place(app, "acme", f"own{MARK}")


@pytest.fixture
def fresh(app: Application, own: Place) -> tuple[Place, str]:
    """A workspace and the name of a collection that nobody has."""
    return own, f"c{secrets.token_hex(4)}"


def test_the_samples_of_the_page(own: Place) -> None:
    first = {
        "orderId": "ORD-2024-0002",
        "customer": {"name": "John Smith", "email": "john@example.com"},
        "items": [{"product": "Keyboard", "qty": 1, "unitPrice": 149.99}],
        "total": 149.99,
        "status": "pending",
    }
    made = own.ok("POST", own.documents("samples"), first, status=201)
    assert made["inserted"] == 1
    identity = made["data"].pop("_id")
    assert len(identity) == 24
    assert made["data"] == first
    shipped = {"orderId": "ORD-2024-0001", "total": 198.95, "status": "shipped", "createdAt": "2024-01-15"}
    own.insert(shipped, "samples")
    found = own.query(
        "samples",
        **{"filter.status": "shipped", "sort": "-createdAt", "limit": 10, "projection": "orderId,total,status"},
    )
    assert found.keys() == {"data", "pagination"}
    assert found["pagination"] == {"limit": 10, "skip": 0, "total": 1, "hasMore": False}
    assert [*found["data"][0]] == ["_id", "orderId", "total", "status"]
    update = {
        "$set": {"status": "shipped"},
        "$push": {"timeline": {"event": "shipped", "timestamp": "2024-01-16T09:00:00.000Z"}},
        "$inc": {"version": 1},
        "$unset": {"tempField": ""},
    }
    changed = own.ok("PATCH", own.one(identity, "samples"), update)
    assert (changed["matched"], changed["modified"], changed["updated"]) == (1, 1, 1)
    assert changed["data"]["timeline"][0]["event"] == "shipped"
    assert changed["data"]["version"] == 1
    replaced = own.ok("PUT", own.one(identity, "samples"), {"status": "closed"})
    assert replaced["data"] == {"_id": identity, "status": "closed"}
    assert own.ok("DELETE", own.one(identity, "samples")) == {"deleted": 1}
    own.refused("DELETE", own.one(identity, "samples"), status=404, code="DOCUMENT_NOT_FOUND")


def test_what_is_stored_has_the_fields_that_nobody_sees(own: Place) -> None:
    own.insert({"_id": "seen", "document": {"a": 1}, "x": 1}, "stamped")
    place = {"database": own.name, "collection": "stamped"}
    raw = own.app.act("find", place).json["documents"]
    assert raw == [
        {"_id": "seen", "document": {"a": 1}, "x": 1, "_tenantId": "acme", "_workspaceId": own.name},
    ]
    own.app.act("insertMany", {**place, "documents": [{"_id": "bare"}, {"_id": "else", "_tenantId": "bolt"}]})
    assert own.ids("stamped") == ["seen"]
    own.refused("GET", own.one("bare", "stamped"), status=404, code="DOCUMENT_NOT_FOUND")


def test_pages(fresh: tuple[Place, str]) -> None:
    own, name = fresh
    for number in range(25):
        own.insert({"_id": number, "n": number}, name)
    page = own.query(name)
    assert (len(page["data"]), page["pagination"]) == (20, {"limit": 20, "skip": 0, "total": 25, "hasMore": True})
    page = own.query(name, limit=10, skip=20)
    assert (len(page["data"]), page["pagination"]) == (5, {"limit": 10, "skip": 20, "total": 25, "hasMore": False})
    assert own.query(name, skip=30)["pagination"] == {"limit": 20, "skip": 30, "total": 25, "hasMore": False}
    assert own.query(name, limit=1001)["pagination"]["limit"] == 1000
    none = own.query(name, limit=10, count="none")["pagination"]
    assert (none["total"], none["hasMore"]) == (None, True)
    assert own.query(name, limit=10, count="estimated")["pagination"]["total"] == 25
    for query in ({"limit": 0}, {"limit": "abc"}, {"skip": -1}, {"limit": "1.5"}, {"count": "all"}, {"limit": "١"}):
        own.refused("GET", own.documents(name), query=query, status=400, code="VALIDATION_ERROR")
    assert own.query(name, whatever="x")["pagination"]["total"] == 25


VALUES = [
    {"_id": "text", "v": "198.95"},
    {"_id": "number", "v": 198.95},
    {"_id": "zeros", "v": "007"},
    {"_id": "seven", "v": 7},
    {"_id": "true", "v": True},
    {"_id": "null", "v": None},
    {"_id": "nested", "v": {"w": "x"}},
    {"_id": "list", "v": [1, "b"]},
    {"_id": "date", "v": {"$date": "2026-01-02T00:00:00Z"}},
    {"_id": "oid", "v": {"$oid": "65a5b0000000000000000000"}},
]
FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({"filter.v": "198.95"}, {"text", "number"}),
    ({"filter.v": "007"}, {"zeros"}),
    ({"filter.v": "7"}, {"seven"}),
    ({"filter.v": "true"}, {"true"}),
    ({"filter.v": "null"}, {"null"}),
    ({"filter.v.w": "x"}, {"nested"}),
    ({"filter.v": "b"}, {"list"}),
    ({"filter.v": "2026-01-02T00:00:00Z"}, {"date"}),
    ({"filter.v": "65a5b0000000000000000000"}, {"oid"}),
    ({"filter.v[gte]": "7"}, {"number", "seven"}),
    ({"filter.v[$lt]": "8"}, {"seven", "list"}),
    ({"filter.v[in]": "7,b"}, {"seven", "list"}),
    ({"filter.v[exists]": "false"}, set()),
    ({"filter.v[regex]": "^00"}, {"zeros"}),
    ({"filter._id": "zeros"}, {"zeros"}),
    ({"filter": '{"v":{"$type":"number"}}', "filter._id[ne]": "list"}, {"number", "seven"}),
    ({"filter": '{"$or":[{"v":7},{"v":true}]}'}, {"seven", "true"}),
]


def test_filters(fresh: tuple[Place, str]) -> None:
    own, name = fresh
    for value in VALUES:
        own.insert(value, name)
    for query, wanted in FILTERS:
        assert set(own.ids(name, **query)) == wanted, query
    both = own.ok("GET", own.documents(name), query=[("filter.v", "1"), ("filter.v", "b")])
    assert [one["_id"] for one in both["data"]] == ["list"]
    for query in (
        {"filter.": "x"},
        {"filter.$where": "1"},
        {"filter.a..b": "x"},
        {"filter[v]": "x"},
        {"filter.v[near]": "x"},
        {"filter.v[exists]": "maybe"},
        {"filter": "{"},
        {"filter": '{"$expr":{}}'},
        {"filter": '{"$and":[{"$jsonSchema":{}}]}'},
        {"filter": '{"v":{"$nope":1}}'},
        {"filter": '{"v":{"$regex":{"pattern":"a","options":"i"}}}'},
        {"sort": "a,,b"},
        {"sort": '{"a":2}'},
        {"projection": "a,-b"},
        {"projection": '{"a":"$b"}'},
    ):
        own.refused("GET", own.documents(name), query=query, status=400, code="VALIDATION_ERROR")


def test_ids(fresh: tuple[Place, str]) -> None:
    own, name = fresh
    own.insert({"_id": {"$oid": "65a5b0000000000000000001"}, "is": "oid"}, name)
    own.insert({"_id": "65a5b0000000000000000002", "is": "text"}, name)
    own.insert({"_id": 5, "is": "number"}, name)
    for identity, kind in (
        ("65a5b0000000000000000001", "oid"),
        ("65a5b0000000000000000002", "text"),
        ('{"$numberInt":"5"}', "number"),
        ('"65a5b0000000000000000002"', "text"),
    ):
        assert own.ok("GET", own.one(identity, name))["data"]["is"] == kind
    own.refused("GET", own.one("5", name), status=404, code="DOCUMENT_NOT_FOUND")
    own.refused("GET", own.one("{", name), status=400, code="VALIDATION_ERROR")
    assert own.ok("GET", own.one("65a5b0000000000000000001", name), query={"projection": "x"})["data"].keys() == {"_id"}


BAD_WRITES: list[tuple[str, Any, int, str]] = [
    ("PATCH", {"$rename": {"a": "b"}}, 400, "VALIDATION_ERROR"),
    ("PATCH", {"$mul": {"a": 2}}, 400, "VALIDATION_ERROR"),
    ("PATCH", {"a": 1}, 400, "VALIDATION_ERROR"),
    ("PATCH", {"$set": {"a": 1}, "b": 1}, 400, "VALIDATION_ERROR"),
    ("PATCH", {}, 400, "VALIDATION_ERROR"),
    ("PATCH", {"$set": 5}, 400, "VALIDATION_ERROR"),
    ("PATCH", {"$set": {"_id": "y"}}, 400, "VALIDATION_ERROR"),
    ("PATCH", {"$set": {"_tenantId": "bolt"}}, 403, "PERMISSION_DENIED"),
    ("PATCH", {"$set": {"_tenantId.a": "bolt"}}, 403, "PERMISSION_DENIED"),
    ("PATCH", {"$unset": {"_workspaceId": ""}}, 403, "PERMISSION_DENIED"),
    ("PATCH", {"$inc": {"s": 1}}, 400, "VALIDATION_ERROR"),
    ("PATCH", b"[]", 400, "VALIDATION_ERROR"),
    ("PATCH", b"{", 400, "INVALID_JSON"),
    ("PUT", {"_id": "y"}, 400, "VALIDATION_ERROR"),
    ("PUT", {"$set": {}}, 400, "VALIDATION_ERROR"),
    ("PUT", {"_tenantId": "bolt"}, 403, "PERMISSION_DENIED"),
    ("PUT", {"n": "x" * 1_100_000}, 413, "PAYLOAD_TOO_LARGE"),
]


def test_writes_that_are_refused_change_nothing(fresh: tuple[Place, str]) -> None:
    own, name = fresh
    own.insert({"_id": "x", "s": "text"}, name)
    for method, body, status, code in BAD_WRITES:
        own.refused(method, own.one("x", name), body, status=status, code=code)
    own.refused("POST", own.documents(name), {"_id": "x"}, status=409, code="DUPLICATE_KEY")
    own.refused("POST", own.documents(name), {"_workspaceId": "other"}, status=403, code="PERMISSION_DENIED")
    own.refused("POST", own.documents("a..b"), {}, status=400, code="VALIDATION_ERROR")
    own.refused("POST", own.documents("system.users"), {}, status=400, code="VALIDATION_ERROR")
    assert own.query(name)["data"] == [{"_id": "x", "s": "text"}]
    assert own.ok("PATCH", own.one("x", name), {"$addToSet": {"l": 1}})["data"]["l"] == [1]
    again = own.ok("PATCH", own.one("x", name), {"$addToSet": {"l": 1}})
    assert (again["matched"], again["modified"]) == (1, 0)
    assert own.ok("PATCH", own.one("x", name), {"$pull": {"l": 1}})["data"]["l"] == []
    own.refused("PATCH", own.one("y", name), {"$set": {"a": 1}}, status=404, code="DOCUMENT_NOT_FOUND")


def test_tags(fresh: tuple[Place, str]) -> None:
    own, name = fresh
    made = own.ask("POST", own.documents(name), {"_id": "x", "n": 1, "odd.name": {"a": [1, None]}})
    assert made.status == 201
    tag = made.headers["etag"]
    read = own.ask("GET", own.one("x", name))
    assert read.headers["etag"] == tag
    assert own.ask("GET", own.one("x", name), headers={"if-none-match": tag}).status == 304
    changed = own.ask("PATCH", own.one("x", name), {"$inc": {"n": 1}}, headers={"if-match": tag})
    assert changed.status == 200, changed.body
    stale: dict[str, Any] = {"headers": {"if-match": tag}, "status": 412, "code": "PRECONDITION_FAILED"}
    own.refused("PATCH", own.one("x", name), {"$inc": {"n": 1}}, **stale)
    own.refused("PUT", own.one("x", name), {"n": 9}, **stale)
    own.refused("DELETE", own.one("x", name), **stale)
    own.refused("DELETE", own.one("x", name), headers={"if-match": "x"}, status=400, code="VALIDATION_ERROR")
    current = changed.headers["etag"]
    replaced = own.ask("PUT", own.one("x", name), {"n": 9}, headers={"if-match": f'"a", {current}'})
    assert replaced.status == 200, replaced.body
    deleted = own.ask("DELETE", own.one("x", name), headers={"if-match": replaced.headers["etag"]})
    assert deleted.json == {"deleted": 1}


def test_requests_that_come_again(fresh: tuple[Place, str]) -> None:
    own, name = fresh
    again = {"idempotency-key": f"key-{name}"}
    first = own.ask("POST", own.documents(name), {"n": 1}, headers=again)
    second = own.ask("POST", own.documents(name), {"n": 1}, headers=again)
    assert (first.status, first.body) == (second.status, second.body) == (201, second.body)
    assert "x-idempotency-replayed" not in first.headers
    assert second.headers["x-idempotency-replayed"] == "true"
    assert second.headers["etag"] == first.headers["etag"]
    assert own.query(name)["pagination"]["total"] == 1
    own.refused("POST", own.documents(name), {"n": 2}, headers=again, status=409, code="IDEMPOTENCY_CONFLICT")
    failing = {"idempotency-key": f"bad-{name}"}
    error = own.refused("POST", own.documents(name), {"$n": 2}, headers=failing, status=400, code="VALIDATION_ERROR")
    replay = own.ask("POST", own.documents(name), {"$n": 2}, headers=failing)
    assert (replay.status, replay.json["error"]) == (400, error)
    own.insert({"_id": "long", "text": "x" * 100_000, "n": 0}, name)  # what is sent about it is short
    for times in range(3):
        answer = own.ask("PATCH", own.one("long", name), {"$inc": {"n": 1}}, headers=again)
        assert (answer.status, b"too long" in answer.body) == ((409, True) if times else (200, False))
    assert own.query(name, projection="n", **{"filter._id": "long"})["data"] == [{"_id": "long", "n": 1}]
    other = place(own.app, "bolt", f"again{name}")
    assert other.ask("POST", other.documents(name), {"n": 2}, headers=again).status == 201
    assert "x-idempotency-replayed" not in other.ask("GET", other.documents(name), headers=again).headers
    own.refused(
        "POST", own.documents(name), {}, headers={"idempotency-key": "a b"}, status=400, code="VALIDATION_ERROR"
    )


def test_what_requests_say_of_themselves(own: Place) -> None:
    plain = own.ask("GET", own.documents("said"))
    assert plain.headers["x-correlation-id"] == plain.headers["x-request-id"]
    strange = own.ask("GET", own.documents("said"), headers={"x-request-id": "a/b"})
    assert len(strange.headers["x-correlation-id"]) == 36
    named = own.ask(
        "GET", own.documents("said"), headers={"x-correlation-id": "my-request-1", "x-api-version": "2024-01-01"}
    )
    assert named.headers["x-correlation-id"] == "my-request-1"
    error = own.ask("GET", own.one("none", "said"), headers={"x-correlation-id": "my-request-2"})
    assert error.json["error"].keys() == {"code", "message", "correlationId", "timestamp"}
    assert error.json["error"]["correlationId"] == error.headers["x-correlation-id"] == "my-request-2"
    for headers in ({"x-api-version": "yesterday"}, {"x-api-version": "2024-13-01"}, {"x-correlation-id": "short"}):
        own.refused("GET", own.documents("said"), headers=headers, status=400, code="VALIDATION_ERROR")
    own.refused("GET", "/nothing/here", status=404, code="NOT_FOUND")
    typed = own.ask("GET", own.documents("said"), headers={"accept": "application/ejson"})
    assert typed.headers["content-type"] == "application/ejson"


def test_who_may(app: Application, own: Place) -> None:
    other = place(app, "bolt", f"other{MARK}")
    documents = own.documents("kept")
    own.refused("GET", documents, token=other.token, status=403, code="PERMISSION_DENIED")
    own.refused("GET", documents, token="nonsense", status=401, code="INVALID_TOKEN")
    nobody = app.call("GET", f"/v1/mongo/{own.name}{documents}")
    assert (nobody.status, nobody.json["error"]["code"]) == (401, "UNAUTHENTICATED")
    nowhere = Place(app, "nowhere", own.token)
    nowhere.refused("GET", documents, status=404, code="WORKSPACE_NOT_FOUND")
    known = directory(app).workspaces
    reading, _ = app.run(known.token(own.name, ["mongo:read"], 60))
    writing, _ = app.run(known.token(own.name, ["mongo:write"], 60))
    assert own.ask("GET", documents, token=reading).status == 200
    own.refused("POST", documents, {}, token=reading, status=403, code="PERMISSION_DENIED")
    own.refused("GET", documents, token=writing, status=403, code="PERMISSION_DENIED")
    key = app.run(known.create_key(own.name, "k"))["key"]
    answer = app.call("GET", f"/v1/mongo/{own.name}{documents}", headers={"x-api-key": key})
    assert answer.status == 200
    app.run(known.change(other.name, capabilities=["realtime"]))
    other.refused("GET", documents, status=403, code="CAPABILITY_DISABLED")
    for path in ("/data/v1/action/find", "/api/admin/v1/keys"):
        assert app.call("POST", path, b"{}", {"authorization": f"Bearer {own.token}"}).status == 401
        assert app.call("POST", path, b"{}", {"apiKey": key}).status == 401


MIXED: list[Any] = [
    *(None, "missing", 1, 2.5, {"$numberDouble": "NaN"}, {"$numberLong": "3"}, "a", "b", {"x": 1}, True, False),
    *({"$date": "2026-01-02T00:00:00Z"}, {"$oid": "65a5b0000000000000000001"}, [], [1, 5], ["a", 0], [None, 7]),
    *({"$minKey": 1}, {"$maxKey": 1}, 1, 1, None, {"$numberDecimal": "2.50"}, [{"b": 3}, {"b": 1}], {"b": 2}),
]


@pytest.mark.parametrize("sort", ["v", "-v", "_id", "-_id", "v.b", "-v.b,n", "g,-v", '{"g":-1,"v":1}'])
def test_pages_by_cursor_are_the_pages_of_the_sort(own: Place, sort: str) -> None:
    name = "mixed"
    if not own.query(name)["data"]:
        for number, value in enumerate(MIXED):
            identity = value if number in (2, 4, 6, 9, 12, 17, 18) else number + 100
            rest = {} if value == "missing" else {"v": value}
            own.insert({"_id": identity, "n": number, "g": number % 3, **rest}, name)
    require_paged(own, name, sort, len(MIXED), limit=3, projection="n")
    require_paged(own, name, sort, len(MIXED), limit=2)


@pytest.mark.parametrize("sort", ["v", "-v", "-_id", "v.b", "-v.b"])
def test_pages_by_cursor_of_values_that_are_much_alike(own: Place, sort: str) -> None:
    """Numbers, some of them the same, with arrays and others between them."""
    name, rng = "alike", random.Random(7)
    if not own.query(name)["data"]:
        for number in range(60):
            value: Any = rng.choice([rng.randrange(12), rng.random() * 12, 3, 3.0])
            if number % 7 == 0:
                value = [value, rng.randrange(-3, 15)]
            if number % 11 == 0:
                value = rng.choice(["5", None, []])
            own.insert({"_id": str(number) if number % 13 == 0 else number, "n": number, "v": {"b": value}}, name)
            own.insert({"n": number + 100, "v": value}, name)
    require_paged(own, name, sort, 120, limit=5)
    require_paged(own, name, sort, 120, limit=1)
    require_paged(own, name, sort, 60, limit=7, filter='{"n":{"$gte":100}}')


def require_paged(own: Place, name: str, sort: str, count: int, *, limit: int, **query: Any) -> None:
    """The pages by cursor are the whole in order."""
    given = {key: value for key, value in query.items() if key == "filter"}
    whole = [one["n"] for one in own.query(name, sort=sort, **given | {"limit": 1000})["data"]]
    assert len(whole) == count
    paged: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        page = own.query(name, sort=sort, limit=limit, cursor=cursor, **query)
        paged += [one["n"] for one in page["data"]]
        cursor = page["pagination"]["nextCursor"]
        assert len(paged) <= len(whole)
    assert paged == whole


def test_cursors_are_kept_to_their_query(own: Place) -> None:
    for number in range(4):
        own.insert({"_id": number}, "cut")
    cursor = own.query("cut", limit=2, cursor="")["pagination"]["nextCursor"]
    assert own.ids("cut", limit=2, cursor=cursor) == [2, 3]
    for sort in ("_id", "a", "a.b,a.c"):  # without one there is none, and nothing has to be found out for one
        for count in ("none", "estimated"):
            page = own.query("cut", limit=2, count=count, sort=sort, projection="-_id")
            assert page["data"] == [{}, {}]
            assert page["pagination"]["hasMore"] is True
            assert "nextCursor" not in page["pagination"]
    wrong: list[dict[str, Any]] = [
        {"cursor": cursor, "sort": "-_id"},
        {"cursor": cursor, "filter.a": "1"},
        {"cursor": cursor[:-2] + "AA"},
        {"cursor": "x"},
        {"cursor": cursor, "skip": 1},
        {"cursor": "", "sort": "a.b,a.c"},
        {"cursor": "", "projection": "-_id"},
    ]
    for query in wrong:
        own.refused("GET", own.documents("cut"), query=query, status=400, code="VALIDATION_ERROR")
    own.refused("GET", own.documents("cut2"), query={"cursor": cursor}, status=400, code="VALIDATION_ERROR")
    other = place(own.app, "bolt", f"cut{MARK}")
    other.refused("GET", other.documents("cut"), query={"cursor": cursor}, status=400, code="VALIDATION_ERROR")
