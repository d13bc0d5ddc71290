"""The endpoint: paths, methods, bodies, ids, errors, origins, the server's own pages."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from asgi import KEY, Application, application

from doorleaf.dialects.base import Dialect, Reply, Request, Route
from doorleaf.http import Endpoint, Message

PING = orjson.dumps({"database": "app", "command": {"ping": 1}})
AUTH = {"apiKey": KEY}
INCOMPLETE = (
    "must specify some form of authentication (either email+password, api-key, or jwt) in the request header or body"
)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with application(tmp_path_factory.mktemp("http")) as running:
        yield running


# --- routes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(
    "prefix",
    ["/data/v1", "/data/beta", "", "/app/data-abcde/endpoint/data/v1", "/app/my app/endpoint/data/beta"],
)
def test_actions_are_served_at_every_prefix(app: Application, prefix: str, slash: str) -> None:
    answer = app.call("POST", f"{prefix}/action/runCommand{slash}", PING, AUTH)
    assert (answer.status, answer.json) == (200, {"result": {"ok": 1}})
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("path", "suggested"),
    [
        ("/data/v1/action/findone", "findOne"),
        ("/data/v1/action/FINDONE", "findOne"),
        ("/action/insertOn", "insertOne"),
        ("/app/x/endpoint/data/v1/action/agregate", "aggregate"),
        ("/data/beta/action/dropDatabase", None),
        ("/data/v1/action/zzz", None),
    ],
)
def test_an_unknown_action_is_told_the_nearest(app: Application, path: str, suggested: str | None) -> None:
    for method in ("POST", "GET"):
        answer = app.call(method, path, PING, AUTH)
        assert answer.status == 404
        assert answer.json["error_code"] == "NotFound"
        assert answer.headers["content-type"] == "application/json"
        if suggested is not None:
            assert f"did you mean '{suggested}'?" in answer.json["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/data/v1/action",
        "/data/v1/action/",
        "/data/v2/action/find",
        "/data/v1/action/find/x",
        "/app//endpoint/data/v1/action/find",
        "//data/v1/action/find",
        "/data/v1/action/find//",
        "/DATA/v1/action/find",
        "/data/v1/../v1/action/find",
        "",
    ],
)
def test_unknown_paths_are_404_json(app: Application, path: str) -> None:
    answer = app.call("POST", path, PING, AUTH)
    assert answer.status == 404
    assert set(answer.json) == {"error", "error_code"}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE"])
@pytest.mark.parametrize("path", ["/data/v1/action/find", "/app/a/endpoint/data/v1/action/find", "/action/find/"])
def test_other_methods_are_405(app: Application, method: str, path: str) -> None:
    answer = app.call(method, path, b"", AUTH)
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"
    if method != "HEAD":
        assert answer.json["error_code"] == "MethodNotAllowed"


def test_listed_app_ids_only(tmp_path: Path) -> None:
    with application(tmp_path, app_ids=("data-abcde",)) as app:
        known, unknown = "/app/data-abcde/endpoint/data/v1/action/", "/app/other/endpoint/data/v1/action/"
        assert app.call("POST", known + "runCommand", PING, AUTH).status == 200
        assert app.call("POST", "/data/v1/action/runCommand", PING, AUTH).status == 200
        login = "/api/client/v2.0/app/other/auth/providers/api-key/login"
        for path, headers in ((unknown + "find", AUTH), (unknown + "find", {}), (unknown + "zzz", {}), (login, {})):
            answer = app.call("POST", path, PING, headers)
            assert (answer.status, answer.json) == (404, {"error": "cannot find app using Client App ID 'other'"})


# --- bodies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [None, "application/json", "application/ejson", "application/x-www-form-urlencoded", "text/plain", "nonsense", ""],
)
def test_the_content_type_of_a_request_does_not_matter(app: Application, content_type: str | None) -> None:
    headers = AUTH if content_type is None else {**AUTH, "Content-Type": content_type}
    assert app.call("POST", "/data/v1/action/runCommand", PING, headers).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"null",
        b"5",
        b"[]",
        b'"x"',
        b'{"a":1,"a":2}',
        b"\xff\xfe{}",
        b'{"a": "\xff"}',
        b"a=1&b=2",
        b"{}{}",
        b"[" * 100000,
        b'{"a":' * 2000 + b"1" + b"}" * 2000,
        b'{"a": 99999999999999999999}',
        b'{"filter": NaN}',
    ],
)
def test_bodies_that_are_not_an_object_are_400_json(app: Application, body: bytes) -> None:
    answer = app.call("POST", "/data/v1/action/find", body, AUTH)
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["error_code"] in ("InvalidParameter", "MissingParameter")


def test_an_empty_body_lacks_what_is_required(app: Application) -> None:
    answer = app.call("POST", "/data/v1/action/find", b"", AUTH)
    assert (answer.status, answer.json["error_code"]) == (400, "MissingParameter")
    assert app.call("POST", "/data/v1/action/listDatabases", b"", AUTH).status == 200


def test_a_body_in_pieces(app: Application) -> None:
    pieces = [PING[:5], b"", PING[5:9], PING[9:]]
    assert app.call("POST", "/data/v1/action/runCommand", pieces, AUTH).status == 200


def test_bodies_above_the_limit_are_413(tmp_path: Path) -> None:
    with application(tmp_path, max_body_bytes=2000) as app:
        path = "/data/v1/action/runCommand"
        fitting = PING[:-1] + b" " * (2000 - len(PING)) + b"}"
        assert app.call("POST", path, fitting, AUTH).status == 200
        assert (
            app.call("POST", path, gzip.compress(fitting, mtime=0), {**AUTH, "Content-Encoding": "gzip"}).status == 200
        )
        refused: list[tuple[Any, dict[str, str]]] = [
            (fitting + b" ", {}),
            ([fitting, b" "], {}),
            ([b" " * 1500, b" " * 1500], {}),
            (gzip.compress(b" " * 10_000_000, mtime=0), {"Content-Encoding": "gzip"}),
        ]
        for body, headers in refused:
            answer = app.call("POST", path, body, {**AUTH, **headers})
            assert (answer.status, answer.json["error_code"]) == (413, "PayloadTooLarge")
            assert "2000 bytes" in answer.json["error"]


@pytest.mark.parametrize("length", ["99999999999999999999999", "-5", "x", "1e3"])
def test_lengths_that_are_none(app: Application, length: str) -> None:
    async def request() -> int:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "http.request", "body": b"{}"}

        headers = [(b"apikey", KEY.encode()), (b"content-length", length.encode())]
        scope = {"type": "http", "method": "POST", "path": "/action/find", "query_string": b"", "headers": headers}
        await app.endpoint(scope, receive, send)
        status: int = sent[0]["status"]
        return status

    assert app.run(request()) == 413


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("gzip", gzip.compress(PING, mtime=0), 200),
        ("GZIP", gzip.compress(PING, mtime=0), 200),
        ("identity", PING, 200),
        ("gzip", PING, 400),
        ("gzip", gzip.compress(PING, mtime=0)[:-9], 400),
        ("gzip", gzip.compress(PING, mtime=0) + b"x", 400),
        ("br", PING, 400),
        ("deflate", PING, 400),
    ],
)
def test_content_encodings(app: Application, encoding: str, body: bytes, status: int) -> None:
    answer = app.call("POST", "/action/runCommand", body, {**AUTH, "Content-Encoding": encoding})
    assert answer.status == status
    if encoding in ("br", "deflate"):
        assert f"'{encoding}'" in answer.json["error"]


# --- callers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["apiKey", "api-key", "APIKEY", "Api-Key"])
def test_the_key_goes_by_both_names(app: Application, name: str) -> None:
    assert app.call("POST", "/action/runCommand", PING, {name: KEY}).status == 200


@pytest.mark.parametrize(
    ("headers", "status", "code", "text"),
    [
        ([], 401, "InvalidParameter", "no authentication methods were specified"),
        ([("Authorization", "Basic eDp5")], 401, "InvalidParameter", "no authentication methods were specified"),
        (
            [("email", "a@b.c")],
            401,
            "MissingParameter",
            INCOMPLETE,
        ),
        ([("apiKey", "wrong")], 401, "InvalidSession", "invalid session: error finding user for endpoint"),
        ([("apiKey", "")], 401, "InvalidSession", "invalid session: error finding user for endpoint"),
        ([("apiKey", KEY[:-1])], 401, "InvalidSession", "invalid session: error finding user for endpoint"),
        (
            [("apiKey", KEY), ("Authorization", "Bearer nonsense")],
            401,
            "InvalidSession",
            "invalid session: error finding user for endpoint",
        ),
        (
            [("apiKey", KEY), ("Authorization", "Bearer")],
            401,
            "InvalidSession",
            "invalid session: error finding user for endpoint",
        ),
        ([("apiKey", KEY), ("apiKey", "other")], 400, "InvalidParameter", "the header apikey came twice"),
        (
            [("apiKey", KEY), ("api-key", "other")],
            400,
            "InvalidParameter",
            "the headers apiKey and api-key differ; send one of them",
        ),
    ],
)
def test_callers_who_are_not_let_in(
    app: Application, headers: list[tuple[str, str]], status: int, code: str, text: str
) -> None:
    for body in (PING, b"{malformed"):
        answer = app.call("POST", "/data/v1/action/runCommand", body, headers)
        assert (answer.status, answer.json) == (status, {"error": text, "error_code": code})


def test_sessions_over_http(app: Application) -> None:
    for prefix in ("/auth", "/api/client/v2.0/app/any-app/auth"):
        answer = app.call("POST", f"{prefix}/providers/api-key/login", orjson.dumps({"key": KEY}))
        assert answer.status == 200
        assert answer.headers["cache-control"] == "no-store"
        session = answer.json
        assert (session["token_type"], session["expires_in"]) == ("Bearer", 1800)
        assert set(session) == {
            "access_token",
            "refresh_token",
            "token_type",
            "expires_in",
            "user_id",
            "device_id",
        }
        bearer = {"Authorization": f"Bearer {session['access_token']}"}
        assert app.call("POST", "/action/runCommand", PING, bearer).status == 200
        refresh = {"Authorization": f"Bearer {session['refresh_token']}"}
        assert app.call("POST", "/action/runCommand", PING, refresh).status == 401
        for path in ("/auth/session", "/api/client/v2.0/auth/session"):
            renewed = app.call("POST", path, b"", refresh)
            assert renewed.status == 200
            bearer = {"Authorization": f"bearer {renewed.json['access_token']}"}
            assert app.call("POST", "/action/runCommand", PING, bearer).status == 200
        assert app.call("DELETE", "/auth/session", b"", refresh).status == 204
        assert app.call("POST", "/auth/session", b"", refresh).status == 401


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/auth/providers/api-key/login", {"key": "wrong"}, 401),
        ("/auth/providers/api-key/login", {"key": ""}, 400),
        ("/auth/providers/api-key/login", {}, 400),
        ("/auth/providers/api-key/login", {"key": 5}, 400),
        ("/auth/providers/api-key/login", {"key": {"$gt": ""}}, 400),
        ("/auth/providers/nothing/login", {}, 404),
        ("/auth/providers/api-key/login", "x" * 1_200_000, 413),
        ("/auth/session", {}, 401),
    ],
)
def test_logins_that_fail(app: Application, path: str, body: Any, status: int) -> None:
    answer = app.call("POST", path, orjson.dumps(body))
    assert answer.status == status
    assert set(answer.json) == {"error", "error_code"}
    assert "access_token" not in answer.json


# --- ids, errors and logs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        *(("abc-123", True), ("a" * 128, True), ("a" * 129, False), ("a b", False), ('x"y', False), ("", False)),
        *((KEY, False), (f"call:{KEY}", False), (KEY[:15], True), ("dlw_" + "k" * 40, False)),
        *(
            ("s3cret", False),
            ("me-s3cret-1", False),
            ("s3cre", True),
            ("12345", False),
            ("a-12345", True),
            ("a/b:c+d", False),
        ),
    ],
)
def test_request_ids(app: Application, given: str, kept: bool) -> None:
    shown = {**AUTH, "X-Api-Key": "dlw_" + "k" * 40, "password": "s3cret"}
    query = b"a=1&%73ecret=12345&secret=a/b%3Ac%2bd"
    for path in ("/action/runCommand", "/livez", "/nothing"):
        answer = app.call("POST", path, PING, {**shown, "X-Request-Id": given}, query)
        assert (answer.headers["x-request-id"] == given) is kept


def test_request_ids_differ(app: Application) -> None:
    ids = {app.call("GET", "/livez").headers["x-request-id"] for _ in range(50)}
    assert len(ids) == 50
    assert all(len(name) == 22 for name in ids)


def test_a_fault_of_ours_is_500_json_and_only_the_log_has_the_stack(
    app: Application, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(request: Request) -> Reply:
        raise RuntimeError("mongodb://root:hunter2@host")

    dialect = Dialect("broken", (Route("GET", "/fail", "fail", handle=fail, public=True),))
    endpoint = Endpoint(dialects=[dialect], service=None, authenticator=None)  # type: ignore[arg-type]  # never asked
    broken = Application(endpoint)
    answer = broken.call("GET", "/fail", headers={"X-Request-Id": "known-id"})
    assert answer.status == 500
    assert answer.json["error_code"] == "InternalServerError"
    assert "known-id" in answer.json["error"]
    assert b"hunter2" not in answer.body
    assert b"RuntimeError" not in answer.body
    assert [record.exc_info is not None for record in caplog.records] == [True]
    broken._runner.close()


def test_nothing_secret_is_logged(app: Application, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "hunter2hunter2"
    headers = {"apiKey": secret, "Authorization": f"Bearer {secret}", "Cookie": secret}
    body = orjson.dumps({"database": "app", "collection": secret, "filter": {"a": secret}})
    assert app.call("POST", "/action/find", body, headers, query=secret.encode()).status == 401
    assert app.call("POST", "/action/find", b'{"a": "' + secret.encode(), AUTH).status == 400
    assert app.call("POST", f"/{secret}", body, AUTH, query=secret.encode()).status == 404
    assert "find 401 InvalidSession" in caplog.text
    assert "unmatched 404 NotFound" in caplog.text
    assert secret not in caplog.text
    assert KEY not in caplog.text


def test_a_client_that_goes_away_gets_nothing(app: Application) -> None:
    async def request() -> list[Message]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        headers = [(b"apikey", KEY.encode())]
        scope = {"type": "http", "method": "POST", "path": "/action/find", "query_string": b"", "headers": headers}
        await app.endpoint(scope, receive, send)
        return sent

    assert app.run(request()) == []


def test_websockets_are_only_where_there_are_sessions(app: Application) -> None:
    async def connect() -> list[Message]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        await app.endpoint({"type": "websocket", "path": "/", "headers": []}, receive, send)
        return sent

    start, body = app.run(connect())
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 404)
    assert orjson.loads(body["body"])["error_code"] == "NotFound"


def test_a_start_that_fails_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async def startup() -> None:
        raise OSError("disk")

    endpoint = Endpoint(dialects=[], service=None, authenticator=None, startup=startup)  # type: ignore[arg-type]
    sent: list[str] = []

    async def live() -> None:
        async def receive() -> Message:
            return {"type": "lifespan.startup"}

        async def send(message: Message) -> None:
            sent.append(message["type"])

        await endpoint({"type": "lifespan"}, receive, send)

    asyncio.run(live())
    assert sent == ["lifespan.startup.failed"]
    assert "cannot start" in caplog.text


# --- slashes in a path -------------------------------------------------------------------------------------------


def test_an_encoded_slash_is_no_border_of_a_path() -> None:
    async def echo(request: Request) -> Reply:
        return Reply(200, orjson.dumps(dict(request.params)))

    routes = (
        Route("GET", "/a/{one}/c", "echo", handle=echo, public=True),
        Route("GET", "/a/b/c/d", "exact", handle=echo, public=True),
    )
    endpoint = Endpoint(dialects=(Dialect("test", routes),), service=None, authenticator=None)  # type: ignore[arg-type]

    async def ask(raw: bytes, path: str) -> tuple[int, bytes]:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": path, "raw_path": raw, "query_string": b"", "headers": []}
        await endpoint({**scope, "client": None}, receive, send)
        return sent[0]["status"], sent[1]["body"]

    for raw, path, status, one in (
        (b"/a/b%2Fx/c", "/a/b/x/c", 200, "b/x"),
        (b"/a/b%2fx%20y%252F/c/", "/a/b/x y%2F/c/", 200, "b/x y%2F"),
        (b"/a/b%20x/c", "/a/b x/c", 200, "b x"),
        (b"/a/%2F/c", "/a///c", 200, "/"),
        (b"/a/b/c/d", "/a/b/c/d", 200, None),
        (b"/a/b%2Fc/d", "/a/b/c/d", 404, None),
        (b"/a%2Fb/c", "/a/b/c", 404, None),
        (b"%2Fa/b/c", "/a/b/c", 404, None),
    ):
        found = asyncio.run(ask(raw, path))
        assert found[0] == status, raw
        if one is not None:
            assert orjson.loads(found[1]) == {"one": one}
