"""The console's sessions: the refresh token is in a cookie and nowhere else, and only its own pages may use it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from admin_app import administered, audited, log_in, ok
from asgi import KEY, Answer, Application

PATH = "/api/console/v1/session"
OWN = {"X-Doorleaf-Console": "1", "Sec-Fetch-Site": "same-origin", "Host": "127.0.0.1:3000"}
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with administered(tmp_path_factory.mktemp("console")) as running:
        ok(running, "POST", "/users", {"email": "ada@example.com", "password": PASSWORD}, status=201)
        yield running


def send(app: Application, method: str, path: str = "", body: Any = None, /, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return app.call(method, PATH + path, b"" if body is None else orjson.dumps(body), {**OWN, **named})


def cookie_of(answer: Answer, name: str = "doorleaf-3000") -> str:
    """The cookie as a browser sends it back; nothing but the cookie has the token."""
    given, *attributes = answer.headers["set-cookie"].split("; ")
    assert attributes == [f"Path={PATH}", "HttpOnly", "Secure", "SameSite=Strict"]
    found, _, value = given.partition("=")
    assert found == name
    assert value.encode() not in answer.body
    assert b"refresh" not in answer.body
    assert answer.headers["cache-control"] == "no-store"
    return given


def calls(app: Application, token: str, path: str = "/api/admin/v1/keys") -> int:
    return app.call("GET", path, headers={"Authorization": f"Bearer {token}"}).status


WAYS = [
    ({"key": KEY}, "api-key", "DATA_API_KEY", True),
    ({"email": "ada@example.com", "password": PASSWORD}, "local-userpass", "ada@example.com", False),
    ({"anonymous": True}, "anon-user", None, False),
]


@pytest.mark.parametrize(("body", "provider", "name", "admin"), WAYS, ids=[way[1] for way in WAYS])
def test_sign_in_refresh_and_sign_out(
    app: Application, body: dict[str, Any], provider: str, name: str | None, admin: bool
) -> None:
    begun = send(app, "POST", "", body)
    assert begun.status == 200, begun.body
    cookie = cookie_of(begun)
    assert begun.json.keys() == {"access_token", "token_type", "expires_in", "user"}
    user = begun.json["user"]
    assert (user["provider"], user["admin"], user["administers"]) == (provider, admin, admin)
    assert user["name"] == (name or user["id"])
    assert calls(app, begun.json["access_token"]) == (200 if admin else 403)
    assert send(app, "GET", Cookie=f"other=1; {cookie}").json["begun"] is True

    renewed = send(app, "POST", "/refresh", Cookie=f"other=1; {cookie}")
    assert renewed.status == 200
    assert renewed.json["user"] == user
    assert "set-cookie" not in renewed.headers
    assert calls(app, renewed.json["access_token"]) == (200 if admin else 403)

    ended = send(app, "DELETE", Cookie=cookie)
    assert (ended.status, ended.body) == (204, b"")
    assert ended.headers["set-cookie"].startswith("doorleaf-3000=; ")
    assert "Max-Age=0" in ended.headers["set-cookie"]
    assert calls(app, begun.json["access_token"]) == 401
    again = send(app, "POST", "/refresh", Cookie=cookie)
    assert (again.status, again.json["error_code"]) == (401, "InvalidSession")
    assert "Max-Age=0" in again.headers["set-cookie"]
    assert {"logout", "login"} <= {line["action"] for line in audited(app)}


def test_how_to_sign_in(app: Application) -> None:
    told = send(app, "GET")
    assert told.json == {"providers": ["api-key", "local-userpass", "anon-user"], "open": False, "begun": False}
    assert send(app, "GET", Cookie="doorleaf-3001=x; doorleaf-3000=").json["begun"] is False


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"X-Doorleaf-Console": None}, 400),
    ],
)
def test_pages_of_others_get_nothing(app: Application, method: str, headers: Any, status: int) -> None:
    cookie = cookie_of(send(app, "POST", "", {"key": KEY}))
    shown = {name: value for name, value in {**OWN, **headers, "Cookie": cookie}.items() if value is not None}
    for path in ["", "/refresh"] if method == "POST" else [""]:
        answer = app.call(method, PATH + path, orjson.dumps({"key": KEY}), shown)
        assert answer.status == status, answer.body
        assert "set-cookie" not in answer.headers
        assert b"token" not in answer.body
    assert send(app, "POST", "/refresh", Cookie=cookie).status == 200


@pytest.mark.parametrize(
    ("body", "status", "code", "words"),
    [
        ({}, 400, "MissingParameter", "key is required"),
        ({"key": KEY, "anonymous": True}, 400, "InvalidParameter", "one way"),
        ({"email": "ada@example.com"}, 400, "MissingParameter", "password"),
        ({"password": "x"}, 400, "MissingParameter", "email"),
        ({"key": 5}, 400, "InvalidParameter", "key: expected a non-empty string"),
        ({"key": KEY, "keep": True}, 400, "InvalidParameter", "keep"),
        ({"key": "dl_wrong"}, 401, "AuthError", ""),
        ({"email": "ada@example.com", "password": "wrong"}, 401, "InvalidPassword", ""),
        ({"token": "a.b.c"}, 404, "AuthProviderNotFound", "custom-token"),
        ({"token": "x" * 1_040_000}, 404, "AuthProviderNotFound", ""),
    ],
)
def test_wrong_credentials(app: Application, body: Any, status: int, code: str, words: str) -> None:
    answer = send(app, "POST", "", body)
    assert (answer.status, answer.json["error_code"]) == (status, code), answer.body
    assert words in answer.json["error"]
    assert "set-cookie" not in answer.headers
    assert KEY.encode() not in answer.body


def test_a_cookie_that_is_none(app: Application) -> None:
    access = log_in(app, "api-key", {"key": KEY}).json["access_token"]
    for value in ("x", access, '"quoted"', "ÿ" * 20, "a.b.c"):
        answer = send(app, "POST", "/refresh", Cookie=f"doorleaf-3000={value}")
        assert (answer.status, answer.json["error_code"]) == (401, "InvalidSession")
        assert send(app, "DELETE", Cookie=f"doorleaf-3000={value}").status == 204
    assert send(app, "POST", "/refresh").status == 401
    assert send(app, "DELETE").status == 204


def test_signing_in_again_ends_the_session_before(app: Application) -> None:
    first = cookie_of(send(app, "POST", "", {"key": KEY}))
    second = cookie_of(send(app, "POST", "", {"key": KEY}, Cookie=first))
    assert send(app, "POST", "/refresh", Cookie=first).status == 401
    assert send(app, "POST", "/refresh", Cookie=second).status == 200
    assert send(app, "POST", "", {"key": KEY}, Cookie="doorleaf-3000=nonsense").status == 200


@pytest.mark.parametrize(
    ("host", "name"), [("db.example.com", "doorleaf"), ("a:b", "doorleaf"), ("[::1]:81", "doorleaf-81")]
)
def test_servers_of_one_machine_are_told_apart(app: Application, host: str, name: str) -> None:
    cookie_of(send(app, "POST", "", {"key": KEY}, Host=host), name)


def test_no_key_is_stored(app: Application) -> None:
    cookie = cookie_of(send(app, "POST", "", {"key": KEY}))
    assert KEY not in cookie
    assert all(KEY not in str(line) for line in audited(app))
