"""Databases, collections and documents of the DataCube API, on both engines."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from asgi import Application, application
from cube_app import SETTINGS, Crud, ask, database, key_of, ok, on_engine, refused, registered

NAMES = itertools.count()


@pytest.fixture(scope="module", params=["embedded", "mongo"])
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with on_engine(request, tmp_path_factory, "databases") as running:
        yield running


@pytest.fixture(scope="module")
def ada(app: Application) -> str:
    return registered(app, f"ada{next(NAMES)}@example.com")


@pytest.fixture
def users(app: Application, ada: str) -> Crud:
    return Crud(app, ada, database(app, ada, f"shop{next(NAMES)}"))


# --- databases -------------------------------------------------------------------------------------------------------


def test_a_database_as_the_page_makes_it(app: Application) -> None:
    who = registered(app, f"dev{next(NAMES)}@example.com")
    fields = [{"name": "email", "type": "string"}, {"name": "signup_date", "type": "date"}]
    body = {"db_name": " My_Customer_Project ", "collections": [{"name": "users", "fields": fields}]}
    made = ok(app, "POST", "/api/create_database/", body, status=201, as_=key_of(app, who))
    identifier = made["database"]["id"]
    assert made["database"]["name"] == "my_customer_project"
    assert made["collections"] == [
        {"name": "users", "created": True, "exists": False, "error": None, "fields": fields, "enforce": False}
    ]
    listed = ok(app, "GET", "/api/v2/list_databases", as_=who, page=1, page_size=10, search="CUSTOMER")
    assert listed == {
        "success": True,
        "data": [{"id": identifier, "name": "my_customer_project", "num_collections": 1}],
        "pagination": {"page": 1, "page_size": 10, "total_items": 1, "total_pages": 1},
    }
    assert ok(app, "GET", "/api/list_databases", as_=who, search=".*")["data"] == []
    data = ok(app, "GET", "/api/get_metadata", as_=who, database_id=identifier)["data"]
    assert {"_id", "user_id", "displayName", "dbName", "collections"} <= data.keys()
    assert data["dbName"].startswith("my_customer_project_")
    assert data["dbName"].endswith("_V2")
    assert [field["type"] for field in data["collections"][0]["fields"]] == ["string", "date"]
    assert ok(app, "GET", "/api/list_collections/", as_=who, database_id=identifier)["collections"] == [
        {"name": "users", "num_documents": 0, "num_deleted": 0}
    ]
    again = refused(ask(app, "POST", "/api/create_database", body, as_=who), 400, "DatabaseExists")
    assert "my_customer_project" in again["message"]


def test_anybody_may_ask_whether_it_is_there(app: Application) -> None:
    for path in ("/health_check", "/api/health_check/", "/api/v2/health_check"):
        told = ok(app, "GET", path)
        assert (told["success"], told["message"], told["status"]) == (True, "Server is up", "healthy")
        assert told["timestamp"].endswith("Z")


MANY_FIELDS = [{"name": f"f{number}"} for number in range(1000)]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"db_name": ""},
        {"db_name": "a b"},
        {"db_name": "x" * 101},
        {"db_name": "admin"},
        {"db_name": {"$ne": 1}},
        {"db_name": "ok", "collections": {}},
        {"db_name": "ok", "collections": [1]},
        {"db_name": "ok", "collections": [{"name": "a.b"}]},
        {"db_name": "ok", "collections": [{"name": "a"}, {"name": "a"}]},
        {"db_name": "ok", "collections": [{"name": "a", "fields": [{"name": "x"}, {"name": "x"}]}]},
        {"db_name": "ok", "collections": [{"name": "a", "fields": [{"name": "x", "type": "colour"}]}]},
        {"db_name": "ok", "collections": [{"name": "a", "fields": [{"name": "$x"}]}]},
        {"db_name": "ok", "collections": [{"name": "a", "schema": {}}]},
        {"db_name": "ok", "collections": [{"name": "a", "fields": {}}]},
        {"db_name": "ok", "collections": [{"name": "a", "fields": ["x"]}]},
        {"db_name": "ok", "collections": [{"name": "a", "enforce": "yes"}]},
        {"db_name": "ok", "collections": [{"name": "a" * 101}]},
        {"db_name": "ok", "collections": [{"name": 5}]},
        {"db_name": "ok", "collections": [{"name": f"c{n}", "fields": MANY_FIELDS} for n in range(31)]},
        {"db_name": "ok", "owner": "somebody"},
        b"[]",
        b"{",
    ],
)
def test_what_is_no_database(app: Application, ada: str, body: Any) -> None:
    refused(ask(app, "POST", "/api/create_database", body, as_=ada), 400)
    assert ok(app, "GET", "/api/list_databases", as_=ada, search="ok")["data"] == []


def test_what_is_missing_or_of_another_kind_is_named(users: Crud) -> None:
    app, who = users.app, users.who
    place = {"database_id": users.place["database_id"]}
    required = ["This field is required."]
    assert refused(ask(app, "GET", "/api/get_metadata", as_=who), 400)["database_id"] == required
    drop = "/api/drop_collections"
    assert refused(ask(app, "POST", drop, place, as_=who), 400)["collection_names"] == required
    assert (
        refused(ask(app, "POST", drop, {**place, "collection_names": None}, as_=who), 400)["collection_names"]
        == required
    )
    wrongs: list[Any] = [[], {}, [5], [""]]
    for wrong in wrongs:
        told = refused(ask(app, "POST", drop, {**place, "collection_names": wrong}, as_=who), 400)
        assert told["collection_names"] == ["Expected a list of one name or more."]
    update = {**users.place, "filters": {}}
    for data in (None, [1], "x"):
        refused(ask(app, "PUT", "/api/crud", {**update, "update_data": data}, as_=who), 400)
    told = refused(ask(app, "POST", "/api/add_collection", {**place, "collections": []}, as_=who), 400)
    assert told["collections"] == ["Expected one collection or more."]
    assert ok(app, "GET", "/api/list_databases", as_=who, page=1)["success"] is True
    assert [one["name"] for one in ok(app, "GET", "/api/list_collections", as_=who, **place)["collections"]] == [
        "users"
    ]


def test_keys_with_limits_that_are_none(app: Application, ada: str) -> None:
    for wrong in ("own", [], ["read", "own"], ["read", 5], {"read": True}):
        told = refused(ask(app, "POST", "/core/api/v1/keys", {"name": "k", "permissions": wrong}, as_=ada), 400)
        assert "permissions" in told
    for ids in ([], "x", [5], ["x"] * 101):
        told = refused(ask(app, "POST", "/core/api/v1/keys", {"name": "k", "database_ids": ids}, as_=ada), 400)
        assert "database_ids" in told
    key_of(app, ada, "all", permissions=None, database_ids=None)
    key_of(app, ada, "reads", permissions="read")


def test_names_of_any_length_and_script(app: Application, ada: str) -> None:
    for name in ("ж" * 100, "d" * 100):
        identifier = database(app, ada, name)
        physical = ok(app, "GET", "/api/get_metadata", as_=ada, database_id=identifier)["data"]["dbName"]
        assert len(physical.encode()) <= 63
        crud = Crud(app, ada, identifier)
        crud.insert({"a": 1})
        assert len(crud.all()) == 1


def test_collections_are_added_and_dropped(app: Application, users: Crud) -> None:
    identifier, who = users.place["database_id"], users.who
    users.insert({"a": 1}, {"a": 2})
    more = {"database_id": identifier, "collections": ["users", {"name": "old"}, {"name": "older"}]}
    made = ok(app, "POST", "/api/add_collection", more, status=201, as_=who)["collections"]
    assert [(one["name"], one["created"]) for one in made] == [("users", False), ("old", True), ("older", True)]
    body = {"database_id": identifier, "collection_names": ["old", "nobody"]}
    for method in ("DELETE", "POST"):
        refused(ask(app, method, "/api/drop_collections", body, as_=who), 400)
    assert len(ok(app, "GET", "/api/list_collections", as_=who, database_id=identifier)["collections"]) == 3
    long = [{"name": "f" * 90 + str(number)} for number in range(1000)]
    large = {"database_id": identifier, "collections": [{"name": f"c{n}", "fields": long} for n in range(9)]}
    refused(ask(app, "POST", "/api/add_collection", large, as_=who), 400)  # and none of them is in the store
    assert len(ok(app, "GET", "/api/list_collections", as_=who, database_id=identifier)["collections"]) == 3
    body["collection_names"] = ["old"]
    dropped = ok(app, "DELETE", "/api/drop_collections", body, as_=who)
    assert dropped["dropped_collections"] == dropped["dropped"] == ["old"]
    body["collection_names"] = ["older"]
    ok(app, "POST", "/api/v2/drop_collections/", body, as_=who)
    assert ok(app, "GET", "/api/list_collections", as_=who, database_id=identifier)["collections"] == [
        {"name": "users", "num_documents": 2, "num_deleted": 0}
    ]


def test_a_database_is_dropped_by_its_name(app: Application, ada: str) -> None:
    identifier, name = database(app, ada, f"gone{next(NAMES)}"), f"gone{next(NAMES) - 1}"
    crud = Crud(app, ada, identifier)
    crud.insert({"a": 1})
    path = "/api/drop_database"
    wrongs: list[dict[str, Any]] = [{}, {"confirmation": "other"}, {"confirmation": ""}]
    for wrong in wrongs:
        refused(ask(app, "DELETE", path, {"database_id": identifier, **wrong}, as_=ada), 400)
    assert len(crud.all()) == 1
    query = urlencode({"database_id": identifier, "confirmation": name.upper()}).encode()
    answer = app.call("DELETE", path, b"", {"authorization": ada}, query)
    assert answer.json == {"success": True, "message": f"Database '{name}' was successfully dropped."}
    refused(ask(app, "DELETE", path, {"database_id": identifier, "confirmation": name}, as_=ada), 404)
    crud.refused("GET", status=404)
    again = Crud(app, ada, database(app, ada, name))
    assert again.all() == []


def test_metadata_has_the_types_that_are_there(app: Application, users: Crud) -> None:
    users.insert({"email": "a", "n": 1}, {"email": None, "n": {"$numberLong": "5"}, "at": {"$date": 0}})
    query = {"database_id": users.place["database_id"], "collection_name": "users"}
    [told] = ok(app, "GET", "/api/get_metadata", as_=users.who, **query)["data"]["collections"]
    assert told["fields"] == [{"name": "email", "type": "string", "observed_types": ["null", "string"]}]
    others = {one["name"]: one["observed_types"] for one in told["other_fields"]}
    assert others == {"_id": ["objectId"], "at": ["date"], "n": ["int", "long"]}


def test_fields_are_enforced_when_asked_for(app: Application, ada: str) -> None:
    fields = [{"name": "n", "type": "Integer"}, {"name": "at", "type": "date"}, {"name": "tags", "type": "list"}]
    strict = {"name": "strict", "fields": fields, "enforce": True}
    loose = {"name": "loose", "fields": fields}
    identifier = database(app, ada, f"typed{next(NAMES)}", strict, loose)
    good = {"n": 1, "at": "2023-10-27T10:00:00Z", "tags": [], "more": True}
    crud = Crud(app, ada, identifier, "strict")
    crud.insert(good, {"n": None}, {})
    wrongs: list[dict[str, Any]] = [{"n": "1"}, {"n": 1.5}, {"at": "yesterday"}, {"tags": {}}]
    for wrong in wrongs:
        assert crud.refused("POST", {"data": [wrong]})["error_code"] == "DocumentValidationFailure"
    crud.refused("PUT", {"filters": {"more": True}, "update_data": {"n": "one"}})
    assert len(crud.all()) == 3
    Crud(app, ada, identifier, "loose").insert({"n": "1"}, {"at": "yesterday"})


# --- documents -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api", "/api/v2"])
def test_documents_as_the_page_has_them(users: Crud, path: str) -> None:
    users.path = path
    ids = users.insert(
        {"email": "alice@example.com", "signup_date": "2023-10-27T10:00:00Z"},
        {"email": "bob@example.com", "signup_date": "2023-10-27T11:00:00Z"},
    )
    assert [len(one) for one in ids] == [24, 24]
    found = users.read({"email": "alice@example.com"})
    assert found == {
        "success": True,
        "data": [{"_id": ids[0], "email": "alice@example.com", "signup_date": "2023-10-27T10:00:00Z"}],
        "pagination": {"page": 1, "page_size": 50, "total_items": 1, "total_pages": 1},
    }
    change = {"newsletter_subscribed": True}
    told = users.update({"email": "alice@example.com"}, change)
    assert told == {"success": True, "modified_count": 1, "matched_count": 1}
    assert users.all({"email": "alice@example.com"})[0]["newsletter_subscribed"] is True
    assert users.update({"email": "alice@example.com"}, change)["modified_count"] == 0
    assert users.update({"email": "nobody"}, change) == {"success": True, "modified_count": 0, "matched_count": 0}


def test_ids_are_found_however_they_are_written(users: Crud) -> None:
    [made] = users.insert({"n": 1})
    text = "5" * 24
    users.insert({"_id": "custom", "n": 2}, {"_id": text, "n": 3}, {"_id": 7, "n": 4, "id": "own"})
    for filters, numbers in (
        ({"_id": made}, [1]),
        ({"id": made}, [1]),
        ({"_id": {"$oid": made}}, [1]),
        ({"_id": {"$in": [made, "custom"]}}, [1, 2]),
        ({"_id": {"$eq": text}}, [3]),
        ({"_id": text}, [3]),
        ({"id": "own"}, [4]),
        ({"_id": {"$ne": made}, "n": {"$lt": 4}}, [2, 3]),
        ({"_id": {"$nin": [made, text]}, "n": {"$lt": 4}}, [2]),
        ({"_id": {"$not": {"$eq": made}}, "n": {"$lt": 3}}, [2]),
        ({"$or": [{"_id": made}, {"_id": 7}]}, [1, 4]),
        ({"owner_id": made}, []),
    ):
        assert [one["n"] for one in users.all(filters, sort='{"n":1}')] == numbers, filters
    assert users.update({"_id": "custom"}, {"_id": "custom", "x": 1})["modified_count"] == 1
    assert users.update({"_id": made}, {"_id": made, "x": 1})["modified_count"] == 1
    users.refused("PUT", {"filters": {"_id": made}, "update_data": {"_id": "other"}})
    assert users.delete({"_id": "custom"}) == 1


def test_pages(users: Crud) -> None:
    users.insert(*({"n": n} for n in range(7)))
    told = users.read(page=2, page_size=3, sort='{"n": -1}')
    assert [one["n"] for one in told["data"]] == [3, 2, 1]
    assert told["pagination"] == {"page": 2, "page_size": 3, "total_items": 7, "total_pages": 3}
    assert users.read(page=9)["data"] == []
    told = users.read(limit=2, offset=5, sort='{"n": 1}', projection='{"_id": 0}')
    assert told["data"] == [{"n": 5}, {"n": 6}]
    assert (told["pagination"]["limit"], told["pagination"]["offset"]) == (2, 5)
    assert len(users.all(limit=0, offset=0)) == 7
    assert [one["n"] for one in users.all(filter='{"n": 3}')] == [3]


@pytest.mark.parametrize(
    "query",
    [
        {"filters": "{"},
        {"filters": ""},
        {"filters": "[]"},
        {"filters": '"x"'},
        {"filters": "null"},
        {"filters": "{email: 1}"},
        {"filters": '{"$where": "1"}'},
        {"filters": '{"a": {"$elemMatch": {"$expr": {}}}}'},
        {"filters": '{"a": {"$foo": 1}}'},
        {"filters": "{}", "filter": "{}"},
        {"page": "0"},
        {"page": "x"},
        {"page_size": "1001"},
        {"page_size": "-1"},
        {"page": "1", "limit": "5"},
        {"sort": "n"},
        {"sort": '{"n": 5}'},
        {"projection": '{"a": 1, "b": 0}'},
        {"colour": "red"},
        {"include_deleted": "maybe"},
    ],
)
def test_reads_that_are_refused(users: Crud, query: Any) -> None:
    users.insert({"a": 1})
    told = users.refused("GET", **query)
    assert "data" not in told


def test_inserts(users: Crud) -> None:
    assert users.insert({"_id": "a"}) == ["a"]
    ok(users.app, "POST", "/api/crud", {**users.place, "data": {"_id": "b"}}, status=201, as_=users.who)
    ok(users.app, "POST", "/api/crud/", {**users.place, "documents": [{"_id": "c"}]}, status=201, as_=users.who)
    wrongs: list[dict[str, Any]] = [
        {},
        {"data": None, "documents": None},
        {"data": []},
        {"data": [1]},
        {"data": "x"},
        {"data": [{}], "documents": [{}]},
        {"data": [{"a": 2**70}]},
        {"data": [{}], "upsert": True},
    ]
    for wrong in wrongs:
        users.refused("POST", wrong)
    told = users.refused("POST", {"data": [{"_id": "d"}, {"_id": "a"}, {"_id": "e"}]}, status=409)
    assert (told["inserted_count"], told["index"], told["error_code"]) == (1, 1, "DuplicateKey")
    users.delete({"_id": "b"})
    assert "deleted softly" in users.refused("POST", {"data": [{"_id": "b"}]}, status=409)["message"]
    assert [one["_id"] for one in users.all(sort='{"_id":1}')] == ["a", "c", "d"]
    no = {**users.place, "collection_name": "nobody"}
    refused(ask(users.app, "POST", "/api/crud", {**no, "data": [{}]}, as_=users.who), 404, "CollectionNotFound")
    for bad in ("x", "z" * 24, "5" * 25):
        users.place["database_id"] = bad
        users.refused("POST", {"data": [{}]})
    users.place["database_id"] = "5" * 24
    users.refused("POST", {"data": [{}]}, status=404)


def test_updates(users: Crud) -> None:
    users.insert(*({"n": n, "tags": []} for n in range(4)))
    assert users.update({"n": {"$gte": 2}}, {"$inc": {"n": 10}, "$push": {"tags": "x"}})["modified_count"] == 2
    assert users.update({"tags": []}, {"x": 1}, update_many=False)["modified_count"] == 1
    assert users.update({"tags": []}, {"x": 2, "y": 2}, update_all_fields=False)["matched_count"] == 2
    assert sorted(one.get("x", 0) for one in users.all({"tags": []})) == [0, 2]
    assert not any("y" in one for one in users.all())
    assert users.update({}, {"z": 1}, update_many=True)["modified_count"] == 4
    told = users.update({"_id": "5" * 24, "k": 1}, {"v": 2}, upsert=True)
    assert told["upserted_id"] == "5" * 24
    [made] = users.all({"_id": {"$oid": "5" * 24}})
    assert (made["k"], made["v"]) == (1, 2)
    for wrong in (
        {"filters": {}, "update_data": {"a": 1}},
        {"filters": {"n": 1}, "update_data": {}},
        {"filters": {"n": 1}},
        {"update_data": {"a": 1}},
        {"filters": "{", "update_data": {"a": 1}},
        {"filters": {"n": 1}, "update_data": {"$set": {"a": 1}, "b": 2}},
        {"filters": {"n": 1}, "update_data": {"$where": "1"}},
        {"filters": {"n": 1}, "update_data": [{"$set": {"a": 1}}]},
        {"filters": {"n": 1}, "update_data": {"$inc": {"a": 1}}, "update_all_fields": False},
        {"filters": {"$where": "1"}, "update_data": {"a": 1}},
    ):
        users.refused("PUT", wrong)
    assert not any("a" in one or "b" in one for one in users.all())


def test_deleting_softly_and_for_good(users: Crud) -> None:
    users.insert(*({"n": n} for n in range(5)))
    assert users.delete({"n": {"$lt": 2}}) == 2
    assert users.delete({"n": {"$lt": 2}}) == 0
    assert [one["n"] for one in users.all(sort='{"n":1}')] == [2, 3, 4]
    assert users.all({"is_deleted": True}) == []
    assert users.read()["pagination"]["total_items"] == 3
    assert users.update({"n": {"$lte": 2}}, {"x": 1})["matched_count"] == 1
    query = {"database_id": users.place["database_id"]}
    [counted] = ok(users.app, "GET", "/api/list_collections", as_=users.who, **query)["collections"]
    assert (counted["num_documents"], counted["num_deleted"]) == (3, 2)
    everything = users.all(include_deleted="true", sort='{"n":1}')
    assert [one.get("is_deleted") for one in everything] == [True, True, None, None, None]
    assert everything[0]["deleted_at"].endswith("Z")
    assert users.restore({"n": 0}) == 1
    assert users.restore({"n": 3}) == 0
    assert users.all({"n": 0}) == [{"_id": everything[0]["_id"], "n": 0}]
    assert users.delete({"n": {"$in": [1, 2]}}, soft_delete=False) == 2
    assert users.delete({"n": 3}, hard=True) == 1
    assert users.restore({}) == 0
    both = {"filters": {"n": 4}, "hard": True, "soft_delete": True}
    wrongs: list[dict[str, Any]] = [{}, {"filters": {}}, {"filters": "{"}, both]
    for wrong in wrongs:
        users.refused("DELETE", wrong)
    assert len(users.all(include_deleted="true")) == 2
    given = urlencode({**users.place, "filters": '{"n": 4}', "hard": "true"}).encode()
    answer = users.app.call("DELETE", "/api/crud", b"", {"authorization": users.who}, given)
    assert answer.json["count"] == 1


def test_every_type_can_be_read(users: Crud) -> None:
    values = {
        "ids": [{"$oid": "5" * 24}],
        "at": {"$date": "2024-01-02T03:04:05.678Z"},
        "price": {"$numberDecimal": "1.50"},
        "raw": {"$binary": {"base64": "AAE=", "subType": "00"}},
        "odd": {"$numberDouble": "NaN"},
        "long": {"$numberLong": "9007199254740993"},
    }
    users.insert({"_id": 1, **values})
    [plain] = users.all()
    assert plain["ids"] == ["5" * 24]
    assert plain["at"] == "2024-01-02T03:04:05.678Z"
    assert (plain["price"], plain["raw"], plain["odd"], plain["long"]) == ("1.50", "AAE=", None, 9007199254740993)
    query = {**users.place, "filters": '{"at": {"$date": "2024-01-02T03:04:05.678Z"}}'}
    typed = ok(users.app, "GET", "/api/crud", as_=users.who, accept="application/ejson", **query)
    assert typed["data"] == [{"_id": {"$numberInt": "1"}, **values, "at": {"$date": {"$numberLong": "1704164645678"}}}]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"db_name": "a.b"}, "db_name: Expected letters, digits, underscores and hyphens."),
        ({"db_name": "x" * 101}, "db_name: Ensure this field has no more than 100 characters."),
        ({"collections": [{"name": "a"}, {"name": "a"}]}, "collections: 'a' is there twice."),
        ({"collections": [1]}, "collections[0]: expected an object, got a number."),
        ({"collections": [{"name": 1}]}, "collections[0].name: expected a name, got a number."),
        (
            {"collections": [{"name": "a", "fields": [{"name": "x"}, {"name": "x"}]}]},
            "collections[0].fields: 'x' is there twice.",
        ),
    ],
)
def test_what_is_wrong_is_named_once(app: Application, ada: str, body: Any, message: str) -> None:
    told = refused(ask(app, "POST", "/api/create_database", {"db_name": "wrong", **body}, as_=ada), 400)
    assert told["message"] == message
    [(field, [text])] = told["detail"].items()
    assert told[field] == [text]
    assert field == next(iter(body))
    assert message in (text, f"{field}: {text}")


def test_a_method_that_is_not_there_is_told_as_clients_know_it(app: Application, ada: str) -> None:
    answer = ask(app, "PATCH", "/api/list_databases", as_=ada)
    assert refused(answer, 405, "MethodNotAllowed")["detail"] == 'Method "PATCH" not allowed.'
    assert answer.headers["allow"] == "GET, HEAD"


def test_a_rate_is_told_as_clients_know_it(tmp_path: Any) -> None:
    with application(tmp_path, **{**SETTINGS, "login_rate": "1/minute"}) as running:
        answers = [ask(running, "POST", "/core/password-reset/request", {"email": "a@example.com"}) for _ in range(9)]
        told = refused(answers[-1], 429)
        seconds = answers[-1].headers["retry-after"]
        assert told["detail"] == f"Request was throttled. Expected available in {seconds} seconds."
