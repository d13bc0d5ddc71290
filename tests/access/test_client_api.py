"""The App Services client API over HTTP: locations, logins, profiles, users' keys, passwords."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest
from asgi import KEY, Application, application
from client_app import (
    API,
    APP,
    CALL,
    SETTINGS,
    SIGNING_KEY,
    USERPASS,
    administrator,
    anonymous,
    get,
    log_in,
    person,
    post,
    refused,
)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with application(tmp_path_factory.mktemp("client") / "data", **SETTINGS) as running:
        yield running


# --- location ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "base"),
    [
        ({"host": "127.0.0.1:3000"}, "http://127.0.0.1:3000"),
        ({"host": "api.example.com"}, "http://api.example.com"),
        ({"host": "[::1]:3000"}, "http://[::1]:3000"),
        ({"host": "api.example.com", "x-forwarded-proto": "https"}, "https://api.example.com"),
        ({"host": "api.example.com", "x-forwarded-proto": "gopher"}, "http://api.example.com"),
    ],
)
def test_the_location_is_where_the_client_asked(app: Application, headers: dict[str, str], base: str) -> None:
    answer = app.call("GET", f"{APP}/location", headers=headers)
    assert answer.status == 200
    assert answer.json == {
        "deployment_model": "GLOBAL",
        "location": "US-VA",
        "hostname": base,
        "ws_hostname": base.replace("http", "ws", 1),
    }
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("host", ["", "a b", "evil.example/path", "user@host", 'a"b', "a:123456"])
def test_a_host_that_is_none_is_refused(app: Application, host: str) -> None:
    answer = app.call("GET", f"{APP}/location", headers={"host": host})
    assert refused(answer, 400, "InvalidParameter")["error"] == "the header Host names no host"


def test_the_public_url_wins_and_app_ids_are_checked(tmp_path: Path) -> None:
    chosen = {"public_url": "https://api.example.com/", "app_ids": ("shop-abcde",), "cors_origins": ("https://a.b",)}
    with application(tmp_path / "data", **chosen) as app:
        answer = app.call("GET", f"{APP}/location", headers={"host": "inside:3000"})
        assert (answer.json["hostname"], answer.json["ws_hostname"]) == (
            "https://api.example.com",
            "wss://api.example.com",
        )
        for path in ("location", "functions/call", "auth/providers/local-userpass/register"):
            method = "GET" if path == "location" else "POST"
            answer = app.call(method, f"{API}/app/other-12345/{path}")
            refused(answer, 404, None, "cannot find app using Client App ID 'other-12345'")
            assert "error_code" not in answer.json
        asks = {"origin": "https://a.b", "access-control-request-method": "POST"}
        asks["access-control-request-headers"] = "authorization,content-type"
        answer = app.call("OPTIONS", CALL, headers=asks)
        assert answer.status == 204
        assert answer.headers["access-control-allow-origin"] == "https://a.b"
        assert {"authorization", "content-type", "accept"} <= set(
            answer.headers["access-control-allow-headers"].lower().split(", ")
        )
        assert {"GET", "POST", "PUT", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))
        answer = app.call("GET", f"{APP}/location", headers={"host": "x", "origin": "https://a.b"})
        assert answer.headers["access-control-allow-origin"] == "https://a.b"
        answer = app.call("GET", f"{APP}/location", headers={"host": "x", "origin": "https://evil.example"})
        assert "access-control-allow-origin" not in answer.headers


# --- logins and profiles -----------------------------------------------------------------------------------------


def test_every_provider_logs_in(app: Application) -> None:
    claims = {"sub": "ada", "aud": "shop-abcde", "exp": 4_000_000_000}
    token = jwt.encode(claims, SIGNING_KEY, algorithm="HS256")
    sessions = [
        ("normal", "anon-user", anonymous(app)),
        ("normal", "local-userpass", person(app, "every@example.com")),
        ("normal", "custom-token", log_in(app, "custom-token", {"token": token})),
        ("server", "api-key", log_in(app, "api-key", {"key": KEY})),
    ]
    assert len({session["user_id"] for *_, session in sessions}) == 4
    for kind, provider, session in sessions:
        profile = get(app, f"{API}/auth/profile", session["access_token"])
        assert profile.status == 200
        assert profile.headers["content-type"] == "application/json"
        assert profile.json["user_id"] == session["user_id"]
        assert profile.json["type"] == kind
        assert [identity["provider_type"] for identity in profile.json["identities"]] == [provider]
        assert isinstance(profile.json["data"], dict)
        for secret in ("hash", "password", KEY):
            assert secret not in profile.body.decode()
    assert get(app, f"{API}/auth/profile", sessions[1][2]["access_token"]).json["data"]["email"] == "every@example.com"


@pytest.mark.parametrize(
    ("provider", "body", "status", "code", "error"),
    [
        (
            "local-userpass",
            {"username": "no@example.com", "password": "x"},
            401,
            "InvalidPassword",
            "invalid username/password",
        ),
        ("api-key", {"key": "nonsense"}, 401, "AuthError", "invalid API key"),
        ("oauth2-google", {"authCode": "x"}, 404, "AuthProviderNotFound", None),
        ("custom-function", {"any": "thing"}, 404, "AuthProviderNotFound", None),
    ],
)
def test_a_wrong_login(app: Application, provider: str, body: Any, status: int, code: str, error: str | None) -> None:
    refused(post(app, f"{APP}/auth/providers/{provider}/login", body), status, code, error)


def test_linking_is_refused_and_begins_no_session(app: Application) -> None:
    session = anonymous(app)
    body = orjson.dumps({"username": "x@example.com", "password": "sesame-7"})
    headers = {"authorization": f"Bearer {session['access_token']}"}
    for query in (b"link=true", b"link=1", b"link=\xff"):
        answer = app.call("POST", f"{USERPASS}/login", body, headers, query)
        refused(answer, 400, "NotCallable", "linking identities is not supported")


@pytest.mark.parametrize("sent", ["64224f3cd79f54ad342dd9b1", {"$oid": "64224f3cd79f54ad342dd9b1"}, None])
def test_devices(app: Application, sent: Any) -> None:
    session = log_in(app, "anon-user", {"options": {"device": {"deviceId": sent, "platform": "node"}}})
    expected = "0" * 24 if sent is None else "64224f3cd79f54ad342dd9b1"
    assert session["device_id"] == expected
    assert jwt.decode(session["access_token"], options={"verify_signature": False})["baas_device_id"] == expected


@pytest.mark.parametrize("device", [5, [], {"deviceId": "short"}, {"deviceId": {"$ne": 1}}, {"platform": 5}])
def test_devices_that_are_none(app: Application, device: Any) -> None:
    answer = post(app, f"{APP}/auth/providers/anon-user/login", {"options": {"device": device}})
    assert refused(answer, 400, "InvalidParameter")["error"].startswith("options.device")


@pytest.mark.parametrize("bearer", [None, "", "nonsense", "null"])
def test_without_a_token_nothing_is_open(app: Application, bearer: str | None) -> None:
    for method, path in (
        ("GET", f"{API}/auth/profile"),
        ("DELETE", f"{API}/auth/delete"),
        ("POST", CALL),
        ("GET", CALL),
    ):
        answer = post(app, path, {}, bearer=bearer, method=method)
        refused(answer, 401, "InvalidSession")


def test_other_credentials_are_no_token(app: Application) -> None:
    answer = app.call("GET", f"{API}/auth/profile", headers={"apiKey": KEY})
    refused(answer, 401, "InvalidSession")


def test_refresh_and_logout(app: Application) -> None:
    session = anonymous(app)
    renewed = post(app, f"{API}/auth/session", bearer=session["refresh_token"])
    assert renewed.status in (200, 201)
    access = renewed.json["access_token"]
    assert get(app, f"{API}/auth/profile", access).json["user_id"] == session["user_id"]
    answer = post(app, f"{API}/auth/session", bearer=session["access_token"])
    refused(answer, 401, "InvalidSession", "invalid refresh token: incorrect token type")
    refused(get(app, f"{API}/auth/profile", session["refresh_token"]), 401, "InvalidSession")
    ended = post(app, f"{API}/auth/session", bearer=session["refresh_token"], method="DELETE")
    assert (ended.status, ended.body) == (204, b"")
    answer = post(app, f"{API}/auth/session", bearer=session["refresh_token"])
    refused(answer, 401, "InvalidSession", "invalid session: failed to find refresh token")
    refused(get(app, f"{API}/auth/profile", access), 401, "InvalidSession")


def test_deleting_oneself(app: Application) -> None:
    session = person(app, "gone@example.com")
    other = person(app, "stays@example.com")
    answer = post(app, f"{API}/auth/delete", bearer=session["access_token"], method="DELETE")
    assert (answer.status, answer.body) == (204, b"")
    refused(get(app, f"{API}/auth/profile", session["access_token"]), 401, "InvalidSession")
    again = post(app, f"{USERPASS}/login", {"username": "gone@example.com", "password": "sesame-7"})
    refused(again, 401, "InvalidPassword")
    assert get(app, f"{API}/auth/profile", other["access_token"]).status == 200
    answer = post(app, f"{API}/auth/delete", bearer=administrator(app), method="DELETE")
    assert answer.status in (400, 403)
    assert app.act("find", {"database": "shop", "collection": "x"}).status == 200


# --- users' own keys ---------------------------------------------------------------------------------------------


def test_keys_of_a_user(app: Application) -> None:
    session, other = person(app, "keys@example.com"), person(app, "other@example.com")
    refresh = session["refresh_token"]
    keys = f"{API}/auth/api_keys"
    made = post(app, keys, {"name": "phone"}, bearer=refresh)
    assert made.status == 201
    assert set(made.json) == {"_id", "name", "disabled", "key"}
    text, identifier = made.json["key"], made.json["_id"]
    described = {"_id": identifier, "name": "phone", "disabled": False}
    assert get(app, keys, refresh).json == [described]
    assert get(app, f"{keys}/{identifier}", refresh).json == described
    assert log_in(app, "api-key", {"key": text})["user_id"] == session["user_id"]
    # Nobody else sees or changes it, and an access token is no refresh token.
    assert get(app, keys, other["refresh_token"]).json == []
    for method, path in (("GET", ""), ("DELETE", ""), ("PUT", "/disable"), ("PUT", "/enable")):
        answer = post(app, f"{keys}/{identifier}{path}", bearer=other["refresh_token"], method=method)
        refused(answer, 404, "APIKeyNotFound", "API key not found")
    refused(get(app, keys, session["access_token"]), 401, "InvalidSession")
    refused(get(app, keys), 401, "InvalidSession", "expected Authorization header with JWT (Bearer schema)")
    # Disabled, enabled, deleted.
    assert post(app, f"{keys}/{identifier}/disable", bearer=refresh, method="PUT").status == 204
    assert get(app, f"{keys}/{identifier}", refresh).json["disabled"] is True
    refused(post(app, f"{APP}/auth/providers/api-key/login", {"key": text}), 401, "AuthError", "invalid API key")
    assert post(app, f"{keys}/{identifier}/enable", bearer=refresh, method="PUT").status == 204
    log_in(app, "api-key", {"key": text})
    assert post(app, f"{keys}/{identifier}", bearer=refresh, method="DELETE").status == 204
    refused(get(app, f"{keys}/{identifier}", refresh), 404, "APIKeyNotFound")
    refused(post(app, f"{APP}/auth/providers/api-key/login", {"key": text}), 401, "AuthError")


@pytest.mark.parametrize(
    ("body", "code", "error"),
    [
        ({}, "InvalidParameter", "'name' is a required string."),
        ({"name": ""}, "InvalidParameter", "'name' is a required string."),
        ({"name": {"$ne": 1}}, "InvalidParameter", "'name' is a required string."),
        ({"name": "a b"}, "InvalidParameter", "can only contain ASCII letters, numbers, underscores, and hyphens"),
    ],
)
def test_names_of_keys(app: Application, body: Any, code: str, error: str) -> None:
    session = log_in(app, "local-userpass", _known(app))
    answer = post(app, f"{API}/auth/api_keys", body, bearer=session["refresh_token"])
    assert refused(answer, 400, code)["error"].endswith(error)


def _known(app: Application) -> dict[str, str]:
    """The credentials of a user who is there."""
    known = {"email": "known@example.com", "password": "sesame-7"}
    assert post(app, f"{USERPASS}/register", known).status in (201, 409)
    return {"username": known["email"], "password": known["password"]}


def test_twenty_keys_are_the_most_and_names_are_unique(app: Application) -> None:
    refresh = person(app, "many@example.com")["refresh_token"]
    for number in range(20):
        assert post(app, f"{API}/auth/api_keys", {"name": f"k{number}"}, bearer=refresh).status == 201
    answer = post(app, f"{API}/auth/api_keys", {"name": "k20"}, bearer=refresh)
    assert "20" in refused(answer, 400, "InvalidParameter")["error"]
    keys = get(app, f"{API}/auth/api_keys", refresh).json
    assert len(keys) == 20
    assert all(set(key) == {"_id", "name", "disabled"} for key in keys)
    assert post(app, f"{API}/auth/api_keys/{keys[0]['_id']}", bearer=refresh, method="DELETE").status == 204
    refused(post(app, f"{API}/auth/api_keys", {"name": "k1"}, bearer=refresh), 400, "APIKeyAlreadyExists")


def test_anonymous_users_and_servers_have_no_keys(app: Application) -> None:
    for session in (anonymous(app), log_in(app, "api-key", {"key": KEY})):
        for method in ("POST", "GET"):
            answer = post(app, f"{API}/auth/api_keys", {"name": "x"}, bearer=session["refresh_token"], method=method)
            assert answer.status in (400, 403), answer.body


# --- passwords ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "InvalidParameter"),
        ({"email": "a@example.com"}, 400, "InvalidParameter"),
        ({"email": {"$gt": ""}, "password": "sesame-7"}, 400, "InvalidParameter"),
        ({"email": "a@example.com", "password": {"$gt": ""}}, 400, "InvalidParameter"),
        ({"email": "a@example.com", "password": "short"}, 400, "BadRequest"),
        ({"email": "no address", "password": "sesame-7"}, 400, "BadRequest"),
    ],
)
def test_registrations_that_are_refused(app: Application, body: Any, status: int, code: str) -> None:
    refused(post(app, f"{USERPASS}/register", body), status, code)


def test_a_name_in_use(app: Application) -> None:
    known = _known(app)
    answer = post(app, f"{USERPASS}/register", {"email": known["username"], "password": "another-1"})
    refused(answer, 409, "AccountNameInUse", "name already in use")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("confirm", {"token": "a", "tokenId": "b"}),
        ("reset", {"token": "a", "tokenId": "b", "password": "sesame-8"}),
    ],
)
def test_tokens_of_mails_that_are_none(app: Application, path: str, body: dict[str, str]) -> None:
    refused(post(app, f"{USERPASS}/{path}", body), 400, "UserpassTokenInvalid", "invalid token data")
    for name in body:
        for value in ({"$ne": ""}, "", None, 1):
            answer = post(app, f"{USERPASS}/{path}", {**body, name: value})
            refused(answer, 400, "InvalidParameter", f"'{name}' is a required string.")


@pytest.mark.parametrize("path", ["confirm/send", "reset/send"])
def test_mails_need_a_mail_server(app: Application, path: str) -> None:
    answer = post(app, f"{USERPASS}/{path}", {"email": _known(app)["username"]})
    assert "by an administrator" in refused(answer, 400, "BadRequest")["error"]


@pytest.mark.parametrize("path", ["confirm/call", "reset/call"])
def test_functions_of_providers_are_refused_by_name(app: Application, path: str) -> None:
    answer = post(app, f"{USERPASS}/{path}", {"email": "a@example.com", "password": "sesame-7", "arguments": []})
    assert refused(answer, 400, "NotCallable")["error"].startswith(f"{path} is not supported")


def test_a_registration_waits_for_its_confirmation(tmp_path: Path) -> None:
    with application(tmp_path / "data", providers=("api-key", "local-userpass")) as app:
        assert post(app, f"{USERPASS}/register", {"email": "a@example.com", "password": "sesame-7"}).status == 201
        answer = post(app, f"{USERPASS}/login", {"username": "a@example.com", "password": "sesame-7"})
        refused(answer, 401, "AuthError", "confirmation required")
        answer = post(app, f"{USERPASS}/login", {"username": "a@example.com", "password": "wrong-7"})
        refused(answer, 401, "InvalidPassword", "invalid username/password")


def test_providers_that_are_off(tmp_path: Path) -> None:
    with application(tmp_path / "data") as app:
        for provider in ("anon-user", "local-userpass", "custom-token"):
            body = {"username": "a@example.com", "password": "sesame-7", "token": "x"}
            answer = post(app, f"{APP}/auth/providers/{provider}/login", body)
            refused(answer, 404, "AuthProviderNotFound")
        for path, body in (
            ("register", {"email": "a@example.com", "password": "sesame-7"}),
            ("confirm", {"token": "a", "tokenId": "b"}),
            ("confirm/send", {"email": "a@example.com"}),
            ("reset", {"token": "a", "tokenId": "b", "password": "sesame-7"}),
            ("reset/send", {"email": "a@example.com"}),
        ):
            refused(post(app, f"{USERPASS}/{path}", body), 404, "AuthProviderNotFound")


def test_guessing_and_flooding_is_slowed_down_by_account(tmp_path: Path) -> None:
    chosen = {"providers": ("api-key", "local-userpass"), "login_rate": "3/minute"}
    with application(tmp_path / "data", **chosen) as app:
        for path in ("register", "confirm/send", "reset/send"):
            body = {"email": "flooded@example.com", "password": "sesame-7"}
            answer = post(app, f"{USERPASS}/{path}", body)
        assert post(app, f"{USERPASS}/login", {"username": "flooded@example.com", "password": "x"}).status == 429
        assert answer.status == 400
