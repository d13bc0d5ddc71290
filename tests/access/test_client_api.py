"""The App Services client API over HTTP: locations, logins, profiles, users' keys, passwords."""

from __future__ import annotations

import re
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
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # has no types of its own


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
            "unauthorized",
        ),
        ("api-key", {"key": "nonsense"}, 401, "AuthError", "unauthorized"),
        ("oauth2-google", {"authCode": "x"}, 404, "AuthProviderNotFound", None),
        ("custom-function", {"any": "thing"}, 404, "AuthProviderNotFound", None),
    ],
)
def test_a_wrong_login(app: Application, provider: str, body: Any, status: int, code: str, error: str | None) -> None:
    refused(post(app, f"{APP}/auth/providers/{provider}/login", body), status, code, error)
    elsewhere = refused(post(app, f"/auth/providers/{provider}/login", body), status, code)
    assert elsewhere["error"] != "unauthorized"


def link(app: Application, bearer: str | None, provider: str, body: Any, query: bytes = b"link=true") -> Any:
    headers = {} if bearer is None else {"authorization": f"Bearer {bearer}"}
    return app.call("POST", f"{APP}/auth/providers/{provider}/login", orjson.dumps(body), headers, query)


def signed(subject: str, **claims: Any) -> str:
    return jwt.encode({"sub": subject, "aud": "shop-abcde", "exp": 4_000_000_000, **claims}, SIGNING_KEY, "HS256")


def test_the_document_says_which_logins_can_be_linked_and_what_they_answer(app: Application) -> None:
    found = get(app, "/openapi.json").json
    components = {"components": found["components"]}
    user = anonymous(app)
    login = {"username": "told@example.com", "password": "sesame-7"}
    assert post(app, f"{USERPASS}/register", {"email": login["username"], "password": "sesame-7"}).status == 201
    shown = {
        "api-key": {"key": KEY},
        "local-userpass": login,
        "custom-token": {"token": signed("told")},
        "anon-user": {},
    }
    for provider, body in shown.items():
        route = found["paths"][f"/auth/providers/{provider}/login"]["post"]
        answer = link(app, user["access_token"], provider, body)
        assert (answer.status == 200) == ("parameters" in route), provider
        if answer.status == 200:
            schema = route["responses"]["200"]["content"]["application/json"]["schema"]
            Draft202012Validator({**schema, **components}).validate(answer.json)
            assert set(answer.json) == set(found["components"]["schemas"]["LinkedSession"]["properties"])
            # The same login without a link has a refresh token too.
            Draft202012Validator({**schema, **components}).validate(log_in(app, provider, body))
        else:
            refused(answer, 400, "NotCallable")


def test_a_user_links_more_ways_to_log_in(app: Application) -> None:
    user = anonymous(app)
    login = {"username": "linked@example.com", "password": "sesame-7"}
    assert post(app, f"{USERPASS}/register", {"email": login["username"], "password": "sesame-7"}).status == 201
    answer = link(app, user["access_token"], "local-userpass", login)
    assert (answer.status, answer.json["user_id"]) == (200, user["user_id"]), answer.body
    assert answer.headers["cache-control"] == "no-store"
    claims = jwt.decode(answer.json["access_token"], options={"verify_signature": False})
    assert (claims["sub"], claims["typ"]) == (user["user_id"], "access")
    answer = link(app, answer.json["access_token"], "custom-token", {"token": signed("linked")})
    assert answer.status == 200, answer.body
    profile = get(app, f"{API}/auth/profile", answer.json["access_token"]).json
    assert [one["provider_type"] for one in profile["identities"]] == ["anon-user", "local-userpass", "custom-token"]
    assert profile["data"] == {"email": "linked@example.com"}
    # Each of them is the user from now on, and none of them makes another one or forgets the others.
    for session in (log_in(app, "local-userpass", login), log_in(app, "custom-token", {"token": signed("linked")})):
        assert session["user_id"] == user["user_id"]
        again = get(app, f"{API}/auth/profile", session["access_token"]).json
        assert again["identities"] == profile["identities"]
    # Linking once more changes nothing.
    assert link(app, user["access_token"], "local-userpass", login).status == 200
    assert get(app, f"{API}/auth/profile", user["access_token"]).json["identities"] == profile["identities"]
    ask = {"authorization": f"Bearer {user['access_token']}"}
    assert app.call("DELETE", f"{API}/auth/delete", b"", ask).status == 204
    refused(post(app, f"{APP}/auth/providers/local-userpass/login", login), 401, "InvalidPassword")
    assert log_in(app, "custom-token", {"token": signed("linked")})["user_id"] != user["user_id"]


def test_what_is_not_linked(app: Application) -> None:
    user = anonymous(app)
    person(app, "used@example.com")
    log_in(app, "custom-token", {"token": signed("used")})
    login = {"username": "used@example.com", "password": "sesame-7"}
    bearer = user["access_token"]
    refused(link(app, bearer, "local-userpass", login), 409, "IdentityInUse")
    refused(link(app, bearer, "custom-token", {"token": signed("used")}), 409, "IdentityInUse")
    # Not "unauthorized", at which realm-web would refresh its access token and ask again, for ever.
    wrong = link(app, bearer, "local-userpass", {**login, "password": "wrong"})
    refused(wrong, 401, "InvalidPassword", "invalid username/password")
    refused(link(app, bearer, "custom-token", {"token": "e30.e30.e30"}), 401, "AuthError")
    refused(link(app, bearer, "api-key", {"key": KEY}), 400, "NotCallable")
    refused(link(app, bearer, "anon-user", {}), 400, "NotCallable")
    refused(link(app, bearer, "oauth2-google", {}), 404, "AuthProviderNotFound")
    for wrong in (None, "", "nonsense", user["refresh_token"]):
        refused(link(app, wrong, "local-userpass", login), 401, "InvalidSession")
    refused(link(app, administrator(app), "local-userpass", login), 403, "PermissionDenied")
    for query in (b"link=1", b"link=\xff", b"link=true&link=false"):
        refused(link(app, bearer, "local-userpass", login, query), 400, "InvalidParameter")
    assert len(get(app, f"{API}/auth/profile", bearer).json["identities"]) == 1
    assert log_in(app, "local-userpass", login)["user_id"] != user["user_id"]


@pytest.mark.parametrize("sent", ["64224f3cd79f54ad342dd9b1", {"$oid": "64224f3cd79f54ad342dd9b1"}, None])
def test_devices(app: Application, sent: Any) -> None:
    session = log_in(app, "anon-user", {"options": {"device": {"deviceId": sent, "platform": "node"}}})
    expected = session["device_id"] if sent is None else "64224f3cd79f54ad342dd9b1"
    assert re.fullmatch("[0-9a-f]{24}", expected)
    assert expected != "0" * 24
    assert session["device_id"] == expected
    assert jwt.decode(session["access_token"], options={"verify_signature": False})["baas_device_id"] == expected


@pytest.mark.parametrize(
    "device",
    [5, [], {"deviceId": "short"}, {"deviceId": {"$ne": 1}}, {"platform": 5}, {"platform": {"$code": "x"}}],
)
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
    refused(post(app, f"{APP}/auth/providers/api-key/login", {"key": text}), 401, "AuthError", "unauthorized")
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
        ({"email": {"$code": "a@example.com"}, "password": "sesame-7"}, 400, "InvalidParameter"),
        ({"email": "a@example.com", "password": {"$code": "sesame-7"}}, 400, "InvalidParameter"),
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
        for value in ({"$ne": ""}, {"$code": "a"}, "", None, 1):
            answer = post(app, f"{USERPASS}/{path}", {**body, name: value})
            refused(answer, 400, "InvalidParameter", f"'{name}' is a required string.")


def test_mails_need_a_mail_server(app: Application) -> None:
    answer = post(app, f"{USERPASS}/reset/send", {"email": _known(app)["username"]})
    assert "by an administrator" in refused(answer, 400, "BadRequest")["error"]


def test_where_all_are_confirmed_nobody_learns_who_has_an_account(app: Application) -> None:
    for name in (_known(app)["username"], "nobody@example.com"):
        answer = post(app, f"{USERPASS}/confirm/send", {"email": name})
        refused(answer, 400, "UserAlreadyConfirmed", "already confirmed")


def test_functions_of_providers_are_refused(app: Application) -> None:
    body = {"email": "a@example.com", "password": "sesame-7", "arguments": []}
    answer = post(app, f"{USERPASS}/reset/call", body)
    refused(answer, 400, "NotCallable", 'failed to reset password for user "a@example.com"')
    answer = post(app, f"{USERPASS}/confirm/call", body)
    told = "cannot run confirmation for a@example.com: automatic confirmation is enabled"
    refused(answer, 400, "BadRequest", told)
    for path, without in (("reset/call", {"email": "a@example.com"}), ("confirm/call", {}), ("reset/call", {})):
        refused(post(app, f"{USERPASS}/{path}", without), 400, "InvalidParameter")
    long = post(app, f"{USERPASS}/reset/call", {**body, "email": "a" * 5000})
    assert len(refused(long, 400, "NotCallable")["error"]) < 300


def test_a_registration_waits_for_its_confirmation(tmp_path: Path) -> None:
    with application(tmp_path / "data", providers=("api-key", "local-userpass")) as app:
        assert post(app, f"{USERPASS}/register", {"email": "a@example.com", "password": "sesame-7"}).status == 201
        answer = post(app, f"{USERPASS}/login", {"username": "a@example.com", "password": "sesame-7"})
        refused(answer, 401, "AuthError", "confirmation required")
        answer = post(app, f"{USERPASS}/confirm/call", {"email": "a@example.com"})
        assert refused(answer, 400, "NotCallable")["error"].startswith("confirm/call is not supported")
        answer = post(app, f"{USERPASS}/login", {"username": "a@example.com", "password": "wrong-7"})
        refused(answer, 401, "InvalidPassword", "unauthorized")


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


def test_flooding_is_slowed_down_by_address(tmp_path: Path) -> None:
    chosen = {"providers": ("api-key", "local-userpass"), "login_rate": "3/minute", "trusted_proxies": ("127.0.0.1",)}
    with application(tmp_path / "data", **chosen) as app:

        def call(path: str, address: str) -> int:
            body = orjson.dumps(
                {"email": "flooded@example.com", "username": "flooded@example.com", "password": "sesame"}
            )
            return app.call("POST", f"{USERPASS}/{path}", body, {"X-Forwarded-For": address}).status

        assert [call(path, "192.0.2.1") for path in ("register", "confirm/send", "reset/send")] == [201, 400, 400]
        assert {call(path, "192.0.2.1") for path in ("register", "confirm/send", "reset/send", "login")} == {429}
        # Who names an account uses up nothing of its owner's, but no account gets more mails than that.
        assert call("login", "192.0.2.2") == 401
        assert [call("reset/send", f"192.0.2.{number}") for number in (3, 4, 5)] == [400, 429, 429]
