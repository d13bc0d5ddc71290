"""What the DataCube API says of itself line by line, where no other test looks: paths, texts, pages, types, bounds."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from asgi import Application, application
from cube_app import PASSWORD, SETTINGS, Crud, ask, database, key_of, ok, on_engine, refused, registered, tokens

NAMES = itertools.count()


@pytest.fixture(scope="module", params=["embedded", "mongo"])
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with on_engine(request, tmp_path_factory, "lines") as running:
        yield running


@pytest.fixture(scope="module")
def ada(app: Application) -> str:
    return registered(app, f"ada{next(NAMES)}@example.com")


@pytest.fixture
def users(app: Application, ada: str) -> Crud:
    return Crud(app, ada, database(app, ada, f"lines{next(NAMES)}"))


# --- paths and callers -----------------------------------------------------------------------------------------------


def test_every_route_is_there_with_and_without_a_final_slash_and_never_redirects(app: Application) -> None:
    [dialect] = [one for one in app.endpoint.dialects if one.name == "datacube"]
    asked = {(route.method, route.path.rstrip("/")) for route in dialect.routes if route.method != "*"}
    assert len(asked) > 40
    for (method, path), slash in itertools.product(asked, ("", "/")):
        whole = path.replace("{key_id}", "x").replace("{token}", "x") + slash
        answer = app.call(method, whole, b"")
        assert answer.status not in (301, 302, 307, 308, 404, 405), (method, whole, answer.status)
        assert "location" not in answer.headers
    data = {path.rpartition("/")[2] for _, path in asked if path.startswith("/api/")} - {
        "register",
        "login",
        "health_check",
    }
    paths = {path for _, path in asked}
    assert {f"{prefix}/{name}" for name in data for prefix in ("/api", "/api/v2")} <= paths
    assert {"import_data", "export_data", "crud", "restore", "drop_database"} <= data


def test_a_token_and_a_key_are_good_for_everything_and_behind_bearer_too(app: Application, ada: str) -> None:
    key = key_of(app, ada, f"key{next(NAMES)}").removeprefix("Api-Key ")
    for shown in (ada, ada.replace("Bearer", "bearer"), f"Api-Key {key}", f"api-key {key}", f"Bearer {key}"):
        crud = Crud(app, shown, database(app, shown, f"by{next(NAMES)}"))
        crud.insert({"n": 1})
        assert len(crud.all()) == 1
        place = {"database_id": crud.place["database_id"]}
        name = ok(app, "GET", "/api/get_metadata", as_=shown, **place)["data"]["displayName"]
        ok(app, "DELETE", "/api/drop_collections", {**place, "collection_names": ["users"]}, as_=shown)
        ok(app, "DELETE", "/api/drop_database", {**place, "confirmation": name}, as_=shown)


def test_a_token_that_is_wrong_is_told_as_clients_of_tokens_know_it(app: Application, ada: str) -> None:
    wrong = refused(ask(app, "GET", "/api/list_databases", as_="Bearer nonsense"), 401)
    assert (wrong["detail"], wrong["code"]) == ("Given token not valid for any token type", "token_not_valid")
    token = {"token_class": "AccessToken", "token_type": "access"}
    assert wrong["messages"] == [{**token, "message": "Token is invalid or expired"}]
    email = ok(app, "GET", "/core/profile", as_=ada)["email"]
    refresh = tokens(app, email)["refresh"]
    told = refused(ask(app, "GET", "/api/list_databases", as_=f"Bearer {refresh}"), 401)
    assert told["messages"] == [{**token, "message": "Token has wrong type"}]


def test_an_access_token_is_short_lived_and_a_refresh_token_is_not(app: Application, ada: str) -> None:
    found = tokens(app, ok(app, "GET", "/core/profile", as_=ada)["email"])
    access, refresh = (jwt.decode(found[name], options={"verify_signature": False}) for name in ("access", "refresh"))
    assert 30 * 60 <= access["exp"] - access["iat"] <= 60 * 60
    assert refresh["exp"] - refresh["iat"] >= 14 * 24 * 3600


def test_a_password_counts_to_its_end(app: Application) -> None:
    email, password = f"long{next(NAMES)}@example.com", "é" * 60
    names = {"firstName": "A", "lastName": "B"}
    ok(app, "POST", "/core/register", {"email": email, "password": password, **names}, status=201)
    refused(ask(app, "POST", "/api/login", {"email": email, "password": password[:-1] + "e"}), 401)
    ok(app, "POST", "/api/login/", {"email": email, "password": password})


def test_addresses_are_alike_whatever_their_case(app: Application) -> None:
    email = f"Case{next(NAMES)}@Example.com"
    registered(app, email)
    body = {"email": email.swapcase(), "password": PASSWORD, "firstName": "A", "lastName": "B"}
    assert refused(ask(app, "POST", "/core/register", body), 400)["email"] == ["This email is already registered."]
    ok(app, "POST", "/core/login", {"email": email.upper(), "password": PASSWORD})


def test_a_key_is_listed_with_what_it_may_and_when_it_was_used(app: Application) -> None:
    eve = registered(app, f"eve{next(NAMES)}@example.com")
    identifier = database(app, eve, "shop")
    key = key_of(app, eve, "reads", permissions=["read"], database_ids=[identifier], expires_at="2100-01-01T00:00:00Z")
    Crud(app, key, identifier).all()
    [told] = ok(app, "GET", "/core/api/v1/keys", as_=eve)
    assert told["_id"] == told["id"]
    assert len(told["id"]) == 24
    assert (told["name"], told["is_active"], told["permissions"]) == ("reads", True, ["read"])
    assert (told["database_ids"], told["expires_at"]) == ([identifier], "2100-01-01T00:00:00.000Z")
    assert told["user_id"] == ok(app, "GET", "/core/profile", as_=eve)["id"]
    assert {"created_at", "last_used_at", "key_display"} <= told.keys()
    assert key.removeprefix("Api-Key ")[4:8] not in json.dumps(told)


def test_a_body_of_another_kind_is_415_and_one_that_is_no_json_400(app: Application, ada: str, users: Crud) -> None:
    routes = [("POST", "/api/crud"), ("PUT", "/api/crud"), ("POST", "/api/create_database"), ("POST", "/api/restore")]
    for method, path in routes:
        headers = {"authorization": ada, "content-type": "application/x-www-form-urlencoded"}
        refused(app.call(method, path, b"a=1", headers), 415)
        for body in (b"{", b"[1]", b'"x"', b'{"a":1}x', b"\xff"):
            answer = app.call(method, path, body, {"authorization": ada, "content-type": "application/json"})
            refused(answer, 400)


def test_a_body_that_is_too_large_is_413_in_the_envelope(tmp_path: Any) -> None:
    with application(tmp_path, **SETTINGS, max_body_bytes=100_000) as running:
        users = Crud(running, (who := registered(running, "a@example.com")), database(running, who))
        told = refused(ask(running, "POST", "/api/crud", {**users.place, "data": [{"t": "x" * 200_000}]}, as_=who), 413)
        assert told["error_code"] == "PayloadTooLarge"
        assert users.all() == []


# --- databases -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["admin", "LOCAL", " config ", "a/b", "a.b", "a b", "$a", "a\0", ""])
def test_names_that_no_database_may_have(app: Application, ada: str, name: str) -> None:
    refused(ask(app, "POST", "/api/create_database", {"db_name": name}, as_=ada), 400)


def test_a_database_may_have_no_collections_and_collections_no_fields(app: Application) -> None:
    who = registered(app, f"few{next(NAMES)}@example.com")
    bodies: list[dict[str, Any]] = [
        {},
        {"collections": []},
        {"collections": [{"name": "a"}, {"name": "b", "fields": []}]},
    ]
    for place, body in enumerate(bodies):
        made = ok(app, "POST", "/api/create_database", {"db_name": f"Few{place}", **body}, status=201, as_=who)
        assert made["database"]["name"] == f"few{place}"
        assert [one["name"] for one in made["collections"]] == [one["name"] for one in body.get("collections", [])]
    for again in ("few0", "FEW0", " Few0 "):
        refused(ask(app, "POST", "/api/create_database", {"db_name": again}, as_=who), 400, "DatabaseExists")


def test_databases_come_in_pages_of_ten_by_their_names(app: Application) -> None:
    who = registered(app, f"pages{next(NAMES)}@example.com")
    empty = ok(app, "GET", "/api/list_databases", as_=who)
    assert empty["data"] == []
    assert empty["pagination"] == {"page": 1, "page_size": 10, "total_items": 0, "total_pages": 0}
    names = [f"p{number:02}" for number in range(12)]
    for name in reversed(names):
        database(app, who, name)
    first = ok(app, "GET", "/api/list_databases", as_=who)
    assert [one["name"] for one in first["data"]] == names[:10]
    assert first["pagination"] == {"page": 1, "page_size": 10, "total_items": 12, "total_pages": 2}
    assert [one["name"] for one in ok(app, "GET", "/api/list_databases", as_=who, page=2)["data"]] == names[10:]
    assert ok(app, "GET", "/api/list_databases", as_=who, page=9)["data"] == []
    assert len(ok(app, "GET", "/api/list_databases", as_=who, page_size=1000)["data"]) == 12
    for wrong in ({"page": 0}, {"page": "x"}, {"page_size": 0}, {"page_size": 1001}, {"page": -1}, {"size": 5}):
        refused(ask(app, "GET", "/api/list_databases", as_=who, **wrong), 400)
    for text in (".*", "p0[", "^p", "(", "\\", "$"):
        assert ok(app, "GET", "/api/list_databases", as_=who, search=text)["data"] == []


def test_an_id_that_is_missing_or_no_id_is_400_and_an_unknown_one_404(app: Application, ada: str) -> None:
    for path in ("get_metadata", "list_collections", "crud", "export_data"):
        more = {"collection_name": "users"} if path in ("crud", "export_data") else {}
        refused(ask(app, "GET", f"/api/{path}", as_=ada, **more), 400)
        for wrong in ("x", "", "5" * 23, "5" * 25, "z" * 24):
            refused(ask(app, "GET", f"/api/{path}", as_=ada, database_id=wrong, **more), 400)
        refused(ask(app, "GET", f"/api/{path}", as_=ada, database_id="5" * 24, **more), 404)


def test_collections_that_nobody_declared_are_listed_as_such(app: Application, users: Crud) -> None:
    query = {"database_id": users.place["database_id"]}
    physical = ok(app, "GET", "/api/get_metadata", as_=users.who, **query)["data"]["dbName"]
    app.act("insertOne", {"database": physical, "collection": "loose", "document": {"n": 1}})
    listed = ok(app, "GET", "/api/list_collections", as_=users.who, **query)["collections"]
    assert {one["name"]: one.get("registered") for one in listed} == {"users": None, "loose": False}
    assert {one["name"]: one["num_documents"] for one in listed} == {"users": 0, "loose": 1}


def test_collections_are_dropped_by_what_is_in_the_query_string_too(app: Application, users: Crud) -> None:
    body = {"database_id": users.place["database_id"], "collections": ["more", "kept"]}
    ok(app, "POST", "/api/add_collection", body, status=201, as_=users.who)
    query = [("database_id", users.place["database_id"]), ("collection_names", "users,more")]
    answer = app.call("DELETE", "/api/drop_collections", b"", {"authorization": users.who}, urlencode(query).encode())
    assert answer.status == 200, answer.body
    assert answer.json["dropped_collections"] == ["users", "more"]


TYPES = "string integer number float double boolean date datetime object array null objectid"
OTHERS = "binary decimal128 timestamp regex"
ALIASES = "str text int long num bool dict list oid String INTEGER DateTime"


def test_types_of_fields_are_kept_as_they_were_declared(app: Application, ada: str) -> None:
    kinds = f"{TYPES} {OTHERS} {ALIASES}".split()
    fields = [{"name": f"f{place}", "type": kind} for place, kind in enumerate(kinds)] + [{"name": "untyped"}]
    identifier = database(app, ada, f"types{next(NAMES)}", {"name": "all", "fields": fields})
    [told] = ok(app, "GET", "/api/get_metadata", as_=ada, database_id=identifier)["data"]["collections"]
    assert [field["type"] for field in told["fields"]] == [*kinds, "string"]
    Crud(app, ada, identifier, "all").insert({field["name"]: "anything" for field in fields})


# --- documents -------------------------------------------------------------------------------------------------------


def test_nothing_is_added_to_a_document_that_is_stored(app: Application, users: Crud) -> None:
    users.insert({"_id": "a", "n": 1}, {"_id": "b", "is_deleted": False})
    users.update({"_id": "a"}, {"n": 2})
    assert users.all(include_deleted="true", sort='{"_id":1}') == [
        {"_id": "a", "n": 2},
        {"_id": "b", "is_deleted": False},
    ]


def test_operators_of_an_update_are_those_that_are_told(users: Crud) -> None:
    users.insert({"_id": 1, "n": 2, "tags": ["a"], "old": 1, "gone": 1, "low": 5, "high": 5})
    many: dict[str, Any] = {
        "$set": {"s": 1}, "$inc": {"n": 1}, "$unset": {"gone": ""}, "$push": {"tags": "b"}, "$rename": {"old": "new"},
        "$min": {"low": 1}, "$max": {"high": 9}, "$mul": {"m": 3}, "$currentDate": {"at": True},
    }  # fmt: skip
    for operator, fields in many.items():
        assert users.update({"_id": 1}, {operator: fields})["modified_count"] == 1, operator
    users.update({"_id": 1}, {"$addToSet": {"tags": "b"}})
    users.update({"_id": 1}, {"$pull": {"tags": "a"}})
    [found] = users.all()
    assert found.pop("at")
    assert found == {"_id": 1, "n": 3, "tags": ["b"], "low": 1, "high": 9, "s": 1, "new": 1, "m": 0}
    wrongs: list[dict[str, Any]] = [{"$replaceRoot": {}}, {"$where": "1"}, {"$nothing": {"a": 1}}, {"$set": 1}]
    for wrong in wrongs:
        users.refused("PUT", {"filters": {"_id": 1}, "update_data": wrong})


def test_a_value_that_looks_like_a_path_is_a_text(users: Crud) -> None:
    users.insert({"_id": 1, "a": 1, "secret": "s"})
    users.update({"_id": 1}, {"a": "$secret"}, update_all_fields=False)
    users.update({"_id": 1}, {"b": "$secret"})
    assert users.all() == [{"_id": 1, "a": "$secret", "secret": "s", "b": "$secret"}]


def test_an_upsert_that_meets_what_is_deleted_softly_says_so(users: Crud) -> None:
    users.insert({"_id": "x", "n": 1})
    users.delete({"_id": "x"})
    told = users.refused("PUT", {"filters": {"_id": "x"}, "update_data": {"n": 2}, "upsert": True}, status=409)
    assert "deleted softly" in told["message"]
    assert users.restore({"_id": "x"}) == 1
    assert users.all() == [{"_id": "x", "n": 1}]


def test_what_is_deleted_softly_is_not_reached_by_what_a_filter_says_of_it(users: Crud) -> None:
    users.insert({"_id": 1}, {"_id": 2})
    users.delete({"_id": 1})
    for filters in (
        {"is_deleted": True},
        {"$or": [{"is_deleted": True}, {"_id": 1}]},
        {"deleted_at": {"$exists": True}},
    ):
        assert users.all(filters) == []
        assert users.update(filters, {"n": 1})["matched_count"] == 0
        assert users.delete(filters) == 0
    assert users.restore({"is_deleted": True}) == 1


def test_ids_of_other_fields_are_what_is_written(users: Crud) -> None:
    text = "6" * 24
    users.insert({"_id": 1, "owner_id": text}, {"_id": 2, "owner_id": {"$oid": text}}, {"_id": 3, "paid": text})
    assert [one["_id"] for one in users.all({"owner_id": text})] == [1]
    assert [one["_id"] for one in users.all({"owner_id": {"$oid": text}})] == [2]
    assert [one["_id"] for one in users.all({"paid": text})] == [3]


def test_pages_are_of_fifty_and_of_a_thousand_at_most(users: Crud) -> None:
    users.insert(*({"n": n} for n in range(1100)))
    assert len(users.all()) == 50
    assert len(users.all(page_size=1000)) == 1000
    told = users.read(page=22, page_size=50)["pagination"]
    assert told == {"page": 22, "page_size": 50, "total_items": 1100, "total_pages": 22}
    users.refused("GET", page_size="1001")
    users.refused("GET", limit="1001")


def test_values_of_any_kind_come_back_from_a_read(users: Crud) -> None:
    values = {
        "regex": {"$regularExpression": {"pattern": "^a", "options": "i"}},
        "stamp": {"$timestamp": {"t": 1, "i": 2}},
        "low": {"$minKey": 1},
        "many": [[{"$oid": "7" * 24}], {"b": {"$binary": {"base64": "AA==", "subType": "04"}}}],
        "not": [{"$numberDouble": "Infinity"}, {"$numberDouble": "-Infinity"}, {"$numberDouble": "NaN"}],
        "none": None,
    }
    users.insert({"_id": 1, **values})
    [plain] = users.all()
    assert plain["many"] == [["7" * 24], {"b": "AA=="}]
    assert plain["not"] == [None, None, None]
    assert plain["none"] is None
    assert len(json.dumps(plain)) > 50
