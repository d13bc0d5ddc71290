"""Browsers of other origins, the server's own pages, metrics and readiness."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from asgi import KEY, Application, application
from pydantic import SecretStr

from doorleaf.app import build
from doorleaf.settings import Settings

PING = orjson.dumps({"database": "app", "command": {"ping": 1}})
AUTH = {"apiKey": KEY}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with application(tmp_path_factory.mktemp("site")) as running:
        yield running


# --- browsers ----------------------------------------------------------------------------------------------------

PREFLIGHT = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}


def test_without_origins_there_is_no_cors(app: Application) -> None:
    answer = app.call("OPTIONS", "/action/find", b"", PREFLIGHT)
    assert answer.status == 405
    plain = app.call("POST", "/action/runCommand", PING, {**AUTH, "Origin": "https://a.example"})
    assert plain.status == 200
    for headers in (answer.headers, plain.headers):
        assert not [name for name in headers if name.startswith("access-control")]


def test_listed_origins_may_call(tmp_path: Path) -> None:
    with application(tmp_path, cors_origins=("https://a.example",)) as app:
        answer = app.call("OPTIONS", "/action/find", b"", PREFLIGHT)
        assert answer.status == 204
        assert answer.headers["access-control-allow-origin"] == "https://a.example"
        assert answer.headers["vary"] == "Origin"
        for name in ("apiKey", "api-key", "Authorization", "Content-Type"):
            assert name in answer.headers["access-control-allow-headers"].split(", ")
        for body, status in ((PING, 200), (b"{", 400)):
            plain = app.call("POST", "/action/runCommand", body, {**AUTH, "Origin": "https://a.example"})
            assert plain.status == status
            assert plain.headers["access-control-allow-origin"] == "https://a.example"
        other = {**PREFLIGHT, "Origin": "https://b.example"}
        refused = app.call("OPTIONS", "/action/find", b"", other)
        assert refused.status == 403
        assert "access-control-allow-origin" not in refused.headers
        plain = app.call("POST", "/action/runCommand", PING, {**AUTH, "Origin": "https://b.example"})
        assert plain.status == 200
        assert "access-control-allow-origin" not in plain.headers
        assert app.call("OPTIONS", "/action/find", b"", {}).status == 405


def test_any_origin_may_call_by_a_star(tmp_path: Path) -> None:
    with application(tmp_path, cors_origins=("*",)) as app:
        answer = app.call("OPTIONS", "/action/find", b"", PREFLIGHT)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (204, "*")


@pytest.mark.parametrize("value", ["*", "apiKey"])
def test_a_post_with_a_preflights_header_is_a_post(app: Application, value: str) -> None:
    headers = {**AUTH, "Access-Control-Request-Headers": value, "Origin": "https://a.example"}
    assert app.call("POST", "/action/runCommand", PING, headers).status == 200


# --- the server's own pages --------------------------------------------------------------------------------------


def test_own_pages(app: Application) -> None:
    assert (app.call("GET", "/livez").json, app.call("GET", "/livez").status) == ({"status": "alive"}, 200)
    assert (app.call("GET", "/readyz").json, app.call("GET", "/readyz").status) == ({"status": "ready"}, 200)
    home = app.call("GET", "/")
    assert (home.status, home.headers["location"]) == (307, "/docs")
    page = app.call("GET", "/docs")
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["x-content-type-options"] == "nosniff"
    document = app.call("GET", "/openapi.json")
    assert document.status == 200
    assert document.json["openapi"].startswith("3.1")
    for path in ("/livez", "/readyz", "/docs", "/openapi.json"):
        head = app.call("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert int(head.headers["content-length"]) > 0
        assert app.call("POST", path, b"{}").headers["allow"] == "GET, HEAD"


def test_metrics_count_by_action_and_status(tmp_path: Path) -> None:
    with application(tmp_path) as app:
        app.call("POST", "/action/runCommand", PING, AUTH)
        app.call("POST", "/data/v1/action/runCommand", b"{", AUTH)
        app.call("POST", "/" + "x" * 50, b"", AUTH)
        assert app.call("GET", "/metrics").status == 401
        answer = app.call("GET", "/metrics", headers=AUTH)
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/plain")
        text = answer.body.decode()
        assert 'doorleaf_requests_total{action="runCommand",status="200"} 1.0' in text
        assert 'doorleaf_requests_total{action="runCommand",status="400"} 1.0' in text
        assert 'doorleaf_requests_total{action="unmatched",status="404"} 1.0' in text
        assert 'doorleaf_request_seconds_count{action="runCommand"} 2.0' in text
        assert KEY not in text
        assert "xxx" not in text


def test_not_ready_is_503(tmp_path: Path) -> None:
    uri = SecretStr("mongodb://root:hunter2@127.0.0.1:1/?serverSelectionTimeoutMS=100")
    settings = Settings(uri=uri, data_dir=tmp_path)
    app = Application(build(settings))
    assert app.start() == "lifespan.startup.complete"
    try:
        answer = app.call("GET", "/readyz")
        assert (answer.status, answer.json["error_code"]) == (503, "StoreUnavailable")
        assert b"hunter2" not in answer.body
        assert b"127.0.0.1" not in answer.body
        assert app.call("GET", "/livez").status == 200
    finally:
        app.stop()
