"""The administration routes over HTTP: keys, users, sessions; who may, and what is never told."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from admin_app import (
    ADMIN,
    DOCUMENT,
    USERPASS,
    administered,
    ask,
    audited,
    find,
    log_in,
    ok,
    operation_of,
    refused,
    template_of,
)
from asgi import Application

TOMORROW = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)).isoformat()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with administered(tmp_path_factory.mktemp("admin")) as running:
        yield running


ROUTES = [
    ("GET", "/keys"),
    ("POST", "/keys"),
    ("GET", "/keys/k"),
    ("PATCH", "/keys/k"),
    ("DELETE", "/keys/k"),
    ("POST", "/keys/k/rotate"),
    ("POST", "/keys/k/revoke"),
    ("GET", "/users"),
    ("POST", "/users"),
    ("GET", "/users/u"),
    ("DELETE", "/users/u"),
    ("POST", "/users/u/reset-password"),
    ("POST", "/users/u/disable"),
    ("POST", "/users/u/enable"),
    ("GET", "/users/u/sessions"),
    ("DELETE", "/users/u/sessions"),
    ("GET", "/accounts"),
    ("POST", "/accounts/confirm"),
    ("DELETE", "/sessions"),
    ("DELETE", "/sessions/s"),
    ("GET", "/connectome"),
    ("POST", "/connectome"),
    ("GET", "/connectome/c"),
    ("POST", "/connectome/c/rotate"),
    ("POST", "/connectome/c/revoke"),
    ("POST", "/explain"),
    ("GET", "/users/u/custom-data"),
    ("GET", "/rules"),
    ("POST", "/rules/check"),
    ("GET", "/now"),
    ("GET", "/settings"),
    ("GET", "/audit"),
    ("GET", "/tenants"),
    ("POST", "/tenants"),
    ("DELETE", "/tenants/t"),
    ("GET", "/workspaces"),
    ("POST", "/workspaces"),
    ("GET", "/workspaces/w"),
    ("PATCH", "/workspaces/w"),
    ("DELETE", "/workspaces/w"),
    ("POST", "/workspaces/w/token"),
    ("GET", "/workspaces/w/keys"),
    ("POST", "/workspaces/w/keys"),
    ("POST", "/workspaces/w/keys/k/revoke"),
]


# --- who may -----------------------------------------------------------------------------------------------------


def test_only_administrators_are_let_in(app: Application) -> None:
    plain = ok(app, "POST", "/keys", {"name": "no-administrator"}, status=201)["key"]
    scoped = ok(app, "POST", "/keys", {"name": "scoped", "admin": True, "databases": ["shop"]}, status=201)["key"]
    anonymous = log_in(app, "anon-user", {}).json["access_token"]
    before = ok(app, "GET", "/keys")
    for method, path in ROUTES:
        for key in (plain, scoped):
            refused(ask(app, method, path, key=key), 403, "PermissionDenied", "administrator")
        bearer = app.call(method, f"{ADMIN}{path}", b"", {"authorization": f"Bearer {anonymous}"})
        refused(bearer, 403, "PermissionDenied", "administrator")
        refused(ask(app, method, path, key=None), 401, "InvalidParameter")
        refused(ask(app, method, path, key="dl_" + "x" * 64), 401, "InvalidSession")
    after = ok(app, "GET", "/keys")
    assert [key["name"] for key in after["keys"]] == [key["name"] for key in before["keys"]]
    denied = [line for line in audited(app) if line["outcome"] == "denied" and line["action"].startswith("admin")]
    assert {line["action"] for line in denied} == {operation_of(*route)["operationId"] for route in ROUTES}


def test_every_route_is_documented_and_every_documented_one_is_there() -> None:
    documented = {
        (method.upper(), path.removeprefix(ADMIN))
        for path, methods in DOCUMENT["paths"].items()
        for method in methods
        if path.startswith(ADMIN) and method != "parameters"
    }
    listed = {(method, template_of(method, path)) for method, path in ROUTES}
    assert documented == listed


# --- keys --------------------------------------------------------------------------------------------------------


def test_a_key_from_beginning_to_end(app: Application) -> None:
    rights = {
        "roles": ["owner"],
        "databases": ["shop"],
        "actions": ["read"],
        "addresses": ["127.0.0.0/8"],
        "rate": "1000/second",
        "quotas": {"requests_per_day": 1000},
    }
    made = ok(app, "POST", "/keys", {"name": "life", "expires": TOMORROW, **rights}, status=201)
    text = made.pop("key")
    assert text.startswith("dl_")
    assert len(text) == 67
    assert {name: made[name] for name in rights} == rights
    assert (made["admin"], made["disabled"], made["expired"], made["last_used"]) == (False, False, False, None)
    assert ok(app, "GET", "/keys/life") == made
    listed = ask(app, "GET", "/keys")
    assert made in listed.json["keys"]
    assert text not in listed.body.decode()
    assert find(app, text).status == 200  # at once
    assert app.act("insertOne", {"database": "shop", "collection": "notes", "document": {}}, key=text).status == 403
    # A change names what changes; null takes a limit away.
    changed = ok(app, "PATCH", "/keys/life", {"quotas": None, "addresses": ["192.0.2.1"], "expires": None})
    assert changed["expires"] is None
    assert "quotas" not in changed
    assert changed["addresses"] == ["192.0.2.1"]
    assert {name: changed[name] for name in ("roles", "databases", "actions", "rate")} == {
        name: rights[name] for name in ("roles", "databases", "actions", "rate")
    }
    refused(find(app, text), 403, "AddressNotAllowed")
    ok(app, "PATCH", "/keys/life", {"addresses": None})
    assert find(app, text).status == 200
    # Disabled and enabled.
    assert ok(app, "PATCH", "/keys/life", {"disabled": True})["disabled"] is True
    refused(find(app, text), 401, "InvalidSession")
    assert ok(app, "PATCH", "/keys/life", {"disabled": False})["disabled"] is False
    assert find(app, text).status == 200
    # Rotated with an overlap: both texts; without one: the new one alone.
    rotated = ok(app, "POST", "/keys/life/rotate", {"overlap_seconds": 600})
    assert set(rotated["previous"]) == {"until"}
    assert [find(app, key).status for key in (text, rotated["key"])] == [200, 200]
    last = ok(app, "POST", "/keys/life/rotate")["key"]
    assert [find(app, key).status for key in (text, rotated["key"], last)] == [401, 401, 200]
    # Revoked for good, and forgotten.
    revoked = ok(app, "POST", "/keys/life/revoke")
    assert revoked["disabled"] is True
    assert revoked["revoked"] is not None
    refused(find(app, last), 401, "InvalidSession")
    refused(ask(app, "PATCH", "/keys/life", {"disabled": False}), 400, "InvalidParameter", "disabled")
    ok(app, "DELETE", "/keys/life", status=204)
    refused(ask(app, "GET", "/keys/life"), 404, "APIKeyNotFound")
    actions = [line["action"] for line in audited(app) if line.get("target") == "life"]
    for action in ("createKey", "changeKey", "disableKey", "enableKey", "rotateKey", "revokeKey", "deleteKey"):
        assert action in actions
    whole = json.dumps(audited(app))
    assert text not in whole
    assert last not in whole


def test_an_administrators_key(app: Application) -> None:
    made = ok(app, "POST", "/keys", {"name": "root", "admin": True}, status=201)
    assert made["admin"] is True
    assert ask(app, "GET", "/keys", key=made["key"]).status == 200
    ok(app, "DELETE", "/keys/root", status=204)
    refused(ask(app, "GET", "/keys", key=made["key"]), 401, "InvalidSession")


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({}, "MissingParameter", "name is required"),
        ({"name": None}, "MissingParameter", "name is required"),
        ({"name": 5}, "InvalidParameter", "name: expected a non-empty string, got a number"),
        ({"name": {"$ne": ""}}, "InvalidParameter", "name: "),
        ({"name": "a b"}, "InvalidParameter", "name: can only contain"),
        ({"name": "x" * 101}, "InvalidParameter", "name: "),
        ({"name": "x", "admin": "yes"}, "InvalidParameter", "admin: expected true or false"),
        ({"name": "x", "expires": "soon"}, "InvalidParameter", "expires: expected a date"),
        ({"name": "x", "expires": 5}, "InvalidParameter", "expires: expected a date"),
        ({"name": "x", "expires": "2001-01-01"}, "InvalidParameter", "expires: is in the past"),
        ({"name": "x", "roles": []}, "InvalidParameter", "roles: must not be empty"),
        ({"name": "x", "roles": [5]}, "InvalidParameter", "roles: "),
        ({"name": "x", "roles": [{"$code": "owner"}]}, "InvalidParameter", "roles: "),
        ({"name": {"$code": "x"}}, "InvalidParameter", "name"),
        ({"name": "x", "rate": {"$code": "5/s"}}, "InvalidParameter", "rate"),
        ({"name": "x", "addresses": [{"$code": "::1"}]}, "InvalidParameter", "addresses: expected"),
        ({"name": "x", "admin": True, "roles": ["a"]}, "InvalidParameter", "roles: "),
        ({"name": "x", "actions": ["fnid"]}, "InvalidParameter", "actions: "),
        ({"name": "x", "databases": "shop"}, "InvalidParameter", "databases: "),
        ({"name": "x", "addresses": ["nowhere"]}, "InvalidParameter", "addresses"),
        ({"name": "x", "rate": "often"}, "InvalidParameter", "rate"),
        ({"name": "x", "quotas": {"requests_per_year": 1}}, "InvalidParameter", "quotas"),
        ({"name": "x", "colour": "red"}, "InvalidParameter", "colour: no such field"),
        ({"name": "x", "hash": "0" * 64}, "InvalidParameter", "hash: no such field"),
        ({"name": "x", "key": "dl_mine"}, "InvalidParameter", "key: no such field"),
        ({"name": "plain"}, "APIKeyAlreadyExists", "plain"),
    ],
)
def test_keys_that_cannot_be(app: Application, body: Any, code: str, words: str) -> None:
    if code == "APIKeyAlreadyExists" and ask(app, "GET", "/keys/plain").status == 404:
        ok(app, "POST", "/keys", {"name": "plain"}, status=201)
    refused(ask(app, "POST", "/keys", body), 400, code, words)
    assert ask(app, "GET", "/keys/x").status == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("PATCH", "", {"admin": True}, "admin: no such field"),
        ("PATCH", "", {"name": "other"}, "name: no such field"),
        ("PATCH", "", {"disabled": 1}, "disabled: expected true or false"),
        ("PATCH", "", {"roles": [], "disabled": True}, "roles: must not be empty"),
        ("PATCH", "", {"quotas": {"requests_per_day": -1}}, "quotas"),
        ("POST", "/rotate", {"overlap_seconds": -1}, "overlap_seconds: expected a non-negative integer"),
        ("POST", "/rotate", {"overlap_seconds": False}, "overlap_seconds: expected a non-negative integer"),
        ("POST", "/rotate", {"overlap_seconds": 10**9}, "overlap_seconds: 1000000000 is above"),
        ("POST", "/rotate", {"overlap": 5}, "overlap: no such field"),
        ("POST", "/revoke", {"why": "x"}, "why: no such field; there are none"),
    ],
)
def test_changes_that_cannot_be(app: Application, method: str, path: str, body: Any, words: str) -> None:
    if ask(app, "GET", "/keys/fixed").status == 404:
        ok(app, "POST", "/keys", {"name": "fixed", "roles": ["owner"]}, status=201)
    before = ok(app, "GET", "/keys/fixed")
    refused(ask(app, method, f"/keys/fixed{path}", body), 400, "InvalidParameter", words)
    assert ok(app, "GET", "/keys/fixed") == before
    refused(ask(app, method, f"/keys/missing{path}"), 404, "APIKeyNotFound")


# --- users -------------------------------------------------------------------------------------------------------


def test_a_user_from_beginning_to_end(app: Application) -> None:
    login = {"username": "ada@example.com", "password": "sesame-7"}
    made = ok(app, "POST", "/users", {"email": login["username"], "password": login["password"]}, status=201)
    user_id, path = made["id"], f"/users/{made['id']}"
    assert (made["type"], made["disabled"], made["data"]) == ("normal", False, {"email": "ada@example.com"})
    assert [identity["provider_type"] for identity in made["identities"]] == ["local-userpass"]
    first = log_in(app, "local-userpass", login)
    assert first.json["user_id"] == user_id
    assert ok(app, "GET", path)["last_authenticated"] is not None
    # Another password: the old one and its sessions end.
    ok(app, "POST", f"{path}/reset-password", {"password": "sesame-8"}, status=204)
    assert log_in(app, "local-userpass", login).status == 401
    bearer = {"authorization": f"Bearer {first.json['access_token']}"}
    assert app.call("GET", "/api/client/v2.0/auth/profile", headers=bearer).status == 401
    login["password"] = "sesame-8"
    assert log_in(app, "local-userpass", login).status == 200
    # Disabled: no login, no session; enabled again: a login.
    assert ok(app, "POST", f"{path}/disable")["disabled"] is True
    assert log_in(app, "local-userpass", login).status == 401
    assert ok(app, "GET", f"{path}/sessions") == {"sessions": []}
    assert ok(app, "POST", f"{path}/enable")["disabled"] is False
    assert log_in(app, "local-userpass", login).status == 200
    ok(app, "DELETE", path, status=204)
    assert log_in(app, "local-userpass", login).status == 401
    for method, rest, body in (
        ("GET", "", None),
        ("DELETE", "", None),
        ("POST", "/disable", None),
        ("POST", "/enable", None),
        ("POST", "/reset-password", {"password": "sesame-9"}),
    ):
        refused(ask(app, method, f"{path}{rest}", body), 404, "UserNotFound", "user not found")
    lines = [line for line in audited(app) if line.get("target") in (user_id, "ada@example.com")]
    for action in ("createUser", "setPassword", "disableUser", "enableUser", "deleteUser"):
        assert action in [line["action"] for line in lines]
    assert "sesame" not in json.dumps(audited(app))


def test_registrations_are_confirmed(app: Application) -> None:
    login = {"username": "bo@example.com", "password": "sesame-7"}
    registration = orjson.dumps({"email": login["username"], "password": login["password"]})
    assert app.call("POST", f"{USERPASS}/register", registration).status == 201
    waiting = ok(app, "GET", "/accounts")
    assert [account["email"] for account in waiting["accounts"]] == ["bo@example.com"]
    assert waiting["accounts"][0]["confirmed"] is False
    assert log_in(app, "local-userpass", login).status == 401
    confirmed = ok(app, "POST", "/accounts/confirm", {"email": "bo@example.com"})
    assert confirmed["data"] == {"email": "bo@example.com"}
    assert log_in(app, "local-userpass", login).json["user_id"] == confirmed["id"]
    assert ok(app, "GET", "/accounts") == {"accounts": [], "next": None}
    again = ask(app, "POST", "/accounts/confirm", {"email": "bo@example.com"})
    refused(again, 400, "UserAlreadyConfirmed", "already confirmed")
    refused(ask(app, "POST", "/accounts/confirm", {"email": "no@example.com"}), 404, "UserNotFound")
    refused(ask(app, "POST", "/accounts/confirm", {"email": {"$gt": ""}}), 400, "InvalidParameter", "email: ")


def test_users_come_in_pages(app: Application) -> None:
    for number in range(5):
        ok(app, "POST", "/users", {"email": f"page{number}@example.com", "password": "sesame-7"}, status=201)
    log_in(app, "anon-user", {})
    everybody = ok(app, "GET", "/users", query=b"limit=500")
    ids = [user["id"] for user in everybody["users"]]
    assert everybody["next"] is None
    assert ids == sorted(set(ids))
    paged: list[str] = []
    after: str | None = None
    while True:
        page = ok(app, "GET", "/users", query=b"limit=2" + (f"&after={after}".encode() if after else b""))
        assert len(page["users"]) <= 2
        paged += [user["id"] for user in page["users"]]
        after = page["next"]
        if after is None:
            break
    assert paged == ids
    anonymous = ok(app, "GET", "/users", query=b"provider=anon-user")["users"]
    assert anonymous
    assert {user["identities"][0]["provider_type"] for user in anonymous} == {"anon-user"}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (b"limit=0", "limit: expected a number from 1 to 500"),
        (b"limit=501", "limit: "),
        (b"limit=all", "limit: "),
        (b"limit=", "limit: "),
        (b"limit=" + "٣".encode(), "limit: "),
        (b"provider=google", "provider: expected one of"),
        (b"skip=5", "skip: no such parameter"),
        (b"limit=5&limit=6", "twice"),
    ],
)
def test_queries_that_cannot_be(app: Application, query: bytes, words: str) -> None:
    refused(ask(app, "GET", "/users", query=query), 400, "InvalidParameter", words)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "MissingParameter"),
        ({"email": "c@example.com"}, 400, "MissingParameter"),
        ({"email": {"$gt": ""}, "password": "sesame-7"}, 400, "InvalidParameter"),
        ({"email": "c@example.com", "password": {"$gt": ""}}, 400, "InvalidParameter"),
        ({"email": "c@example.com", "password": "short"}, 400, "BadRequest"),
        ({"email": "no body", "password": "sesame-7"}, 400, "BadRequest"),
        ({"email": "64224f3cd79f54ad342dd9b1", "password": "sesame-7"}, 400, "BadRequest"),
        ({"email": "c@example.com", "password": "sesame-7", "disabled": True}, 400, "InvalidParameter"),
        ({"email": "taken@example.com", "password": "sesame-7"}, 409, "AccountNameInUse"),
    ],
)
def test_users_that_cannot_be(app: Application, body: Any, status: int, code: str) -> None:
    ask(app, "POST", "/users", {"email": "taken@example.com", "password": "sesame-7"})
    refused(ask(app, "POST", "/users", body), status, code)
    assert log_in(app, "local-userpass", {"username": "c@example.com", "password": "sesame-7"}).status == 401


def test_only_users_with_a_password_get_another(app: Application) -> None:
    user_id = log_in(app, "anon-user", {}).json["user_id"]
    answer = ask(app, "POST", f"/users/{user_id}/reset-password", {"password": "sesame-7"})
    refused(answer, 404, "UserNotFound", "without email and password")
    ok(app, "POST", "/users", {"email": "address@example.com", "password": "sesame-7"}, status=201)
    by_address = ask(app, "POST", "/users/address@example.com/reset-password", {"password": "sesame-8"})
    refused(by_address, 404, "UserNotFound")


# --- sessions ----------------------------------------------------------------------------------------------------


def test_sessions(app: Application) -> None:
    device = {"options": {"device": {"platform": "node", "sdkVersion": "2.0.1"}}}
    made = ok(app, "POST", "/users", {"email": "s@example.com", "password": "sesame-7"}, status=201)
    login = {"username": "s@example.com", "password": "sesame-7", **device}
    tokens = [log_in(app, "local-userpass", login).json for _ in range(3)]
    other = log_in(app, "anon-user", {}).json
    path = f"/users/{made['id']}/sessions"
    answer = ask(app, "GET", path)
    listed = ok(app, "GET", path)["sessions"]
    assert len(listed) == 3
    ids = [token["device_id"] for token in reversed(tokens)]
    assert [session["device"] for session in listed] == [{**device["options"]["device"], "deviceId": id} for id in ids]
    assert len(set(ids)) == 3, "a login that says no id is given one"
    assert {session["provider"] for session in listed} == {"local-userpass"}
    for token in tokens:
        assert token["access_token"] not in answer.body.decode()
        assert token["refresh_token"] not in answer.body.decode()

    def alive(session: dict[str, Any]) -> bool:
        bearer = {"authorization": f"Bearer {session['access_token']}"}
        status: int = app.call("GET", "/api/client/v2.0/auth/profile", headers=bearer).status
        return status == 200

    assert [alive(token) for token in tokens] == [True] * 3
    ok(app, "DELETE", f"/sessions/{listed[0]['id']}", status=204)  # the newest
    assert [alive(token) for token in tokens] == [True, True, False]
    assert ok(app, "DELETE", path) == {"ended": 2}
    assert [alive(token) for token in (*tokens, other)] == [False, False, False, True]
    assert ok(app, "GET", path) == {"sessions": []}
    assert ok(app, "DELETE", path) == {"ended": 0}
    refused(ask(app, "DELETE", "/sessions/64224f3cd79f54ad342dd9b1"), 404, "SessionNotFound", "session not found")
    assert ok(app, "DELETE", "/sessions")["ended"] >= 1
    assert not alive(other)
    assert ok(app, "GET", "/users/nobody/sessions") == {"sessions": []}
