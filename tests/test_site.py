"""Browsers of other origins, the server's own pages, metrics and readiness."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from asgi import KEY, Application, application
from pydantic import SecretStr

from doorleaf.app import build
from doorleaf.metrics import FAMILIES
from doorleaf.observability import REQUEST_ID, JsonLines, TextLines
from doorleaf.settings.model import Settings

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


def test_a_preflight_allows_what_is_asked_for(tmp_path: Path) -> None:
    with application(tmp_path, cors_origins=("https://a.example",)) as app:
        asked = {
            **PREFLIGHT,
            "Access-Control-Request-Method": "REPORT",
            "Access-Control-Request-Headers": "content-type,x-my-own, APIKEY",
        }
        answer = app.call("OPTIONS", "/data/v1/action/find", b"", asked)
        assert answer.status == 204
        assert answer.headers["access-control-allow-methods"].endswith(", REPORT")
        allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
        assert {"content-type", "x-my-own", "apikey"} <= {*allowed}
        assert len({*allowed}) == len(allowed)
        answer = app.call("OPTIONS", "/data/v1/action/find", b"", {**asked, "Origin": "https://b.example"})
        assert answer.status == 403
        assert "access-control-allow-headers" not in answer.headers
        for broken in ("a\r\nb: c", "a(b)", "a;b"):
            answer = app.call("OPTIONS", "/", b"", {**asked, "Access-Control-Request-Headers": broken})
            assert answer.status == 400


# --- metrics and logs ----------------------------------------------------------------------------------------------


def metrics(app: Application, **headers: str) -> str:
    answer = app.call("GET", "/metrics", headers=headers or AUTH)
    assert answer.status == 200, answer.body
    return answer.body.decode()


def test_every_family_is_shown_and_no_other(tmp_path: Path) -> None:
    with application(tmp_path) as app:
        app.call("POST", "/action/findOne", orjson.dumps({"database": "d", "collection": "c"}), AUTH)
        app.call("POST", "/action/findOne", b"{}", {"apiKey": "wrong"})
        app.call("POST", "/action/runCommand", orjson.dumps({"database": "d", "command": {"collStats": 1}}), AUTH)
        text = metrics(app)
    shown = dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE doorleaf_"))
    kinds = {name: kind for name, kind in shown.items() if not name.endswith("_created")}
    assert kinds == {family.name: family.kind for family in FAMILIES}
    assert re.search(
        r'doorleaf_build_info\{engine="embedded",python="3[^"]*",sqlite="3[^"]*",version="\d[^"]*"\} 1', text
    )
    assert re.search(r'doorleaf_operation_seconds_count\{operation="findOne",outcome="ok"\} [1-9]', text)
    assert re.search(r'doorleaf_operation_seconds_count\{operation="runCommand",outcome="refused"\} 1', text)
    assert 'doorleaf_refusals_total{code="InvalidSession",status="401"} 1.0' in text
    assert "doorleaf_requests_in_flight 1.0" in text, "the one that asks"
    assert re.search(r"doorleaf_process_resident_bytes [1-9]", text)


def test_a_key_for_metrics_may_do_nothing_else(tmp_path: Path) -> None:
    with application(tmp_path, providers=("api-key",)) as app:
        made = app.call(
            "POST", "/api/admin/v1/keys", orjson.dumps({"name": "prometheus", "actions": ["metrics"]}), AUTH
        )
        assert made.status == 201, made.body
        narrow = {"name": "narrow", "admin": True, "databases": ["shop"]}
        other = app.call("POST", "/api/admin/v1/keys", orjson.dumps(narrow), AUTH).json["key"]
        key = made.json["key"]
        assert "doorleaf_requests_total" in metrics(app, Authorization=f"Bearer {key}")
        assert "doorleaf_requests_total" in metrics(app, apiKey=key)
        assert "doorleaf_requests_total" in metrics(app, Authorization=f"Bearer {KEY}")
        for headers in ({"apiKey": other}, {"Authorization": f"Bearer {other}"}):
            assert app.call("GET", "/metrics", headers=headers).status == 403
        assert app.call("GET", "/metrics", headers={"Authorization": "Bearer wrong"}).status == 401
        for action in ("find", "insertOne", "listDatabases", "runCommand"):
            body = {"database": "d", "collection": "c", "document": {}, "command": {"ping": 1}}
            assert app.act(action, {**body}, key=key).status in (400, 403), action
        assert app.act("findOne", {"database": "d", "collection": "c"}, key=key).status == 403
        assert app.call("GET", "/api/admin/v1/keys", headers={"apiKey": key}).status == 403


def test_a_failure_is_logged_with_its_reason_and_fields(tmp_path: Path) -> None:
    settings = Settings(
        uri=SecretStr("mongodb://root:hunter2@127.0.0.1:1/?serverSelectionTimeoutMS=100"),
        data_dir=tmp_path,
        data_api_key=SecretStr(KEY),
    )
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)

    def with_request(record: logging.LogRecord) -> bool:
        record.request_id = REQUEST_ID.get()
        return True

    handler.addFilter(with_request)
    app = Application(build(settings))
    app.start()
    log = logging.getLogger("doorleaf")
    log.addHandler(handler)
    try:
        for formatter in (TextLines(), JsonLines()):
            handler.setFormatter(formatter)
            answer = app.act("find", {"database": "shop", "collection": "orders"})
            assert answer.status == 503
        text, line = [line for line in stream.getvalue().splitlines() if "find 503" in line]
    finally:
        log.removeHandler(handler)
        app.stop()
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d WARNING doorleaf \[[0-9a-f]{22}\] ", text)
    assert "on shop.orders: the database cannot be reached" in text
    fields = orjson.loads(line)
    assert fields["time"].endswith("+00:00")
    assert (fields["level"], fields["status"], fields["action"]) == ("warning", 503, "find")
    assert (fields["error_code"], fields["namespace"], fields["address"]) == (
        "StoreUnavailable",
        "shop.orders",
        "127.0.0.1",
    )
    assert fields["request"] == answer.headers["x-request-id"]
    assert fields["reason"].startswith("the database cannot be reached")
    assert fields["ms"] > 0
    assert fields["received_bytes"] > 0
    assert fields["sent_bytes"] == len(answer.body)
    assert fields["caller"]
    assert "hunter2" not in stream.getvalue()
    assert KEY not in stream.getvalue()


# --- behind a path prefix ----------------------------------------------------------------------------------------


def test_a_trusted_proxy_tells_its_prefix(tmp_path: Path) -> None:
    with application(tmp_path, trusted_proxies=("127.0.0.1",)) as app:
        told = {"X-Forwarded-Prefix": "/api/db"}
        assert app.call("GET", "/", headers=told).headers["location"] == "/api/db/docs"
        document = app.call("GET", "/openapi.json", headers=told).json
        assert document["servers"] == [{"url": "/api/db"}]
        assert app.call("GET", "/openapi.json").json["servers"] == [{"url": "/"}]
        where = app.call(
            "GET",
            "/api/client/v2.0/app/a/location",
            headers={**told, "Host": "x.example", "X-Forwarded-Proto": "https"},
        )
        assert where.json["hostname"] == "https://x.example/api/db"
        for prefix in (
            "//evil.example",
            "/\\evil",
            "https://evil.example",
            "/a b",
            "/a?b",
            "/" + "a" * 300,
            "/a//b",
            "a",
        ):
            home = app.call("GET", "/", headers={"X-Forwarded-Prefix": prefix})
            assert home.headers["location"] == "/docs", prefix
        assert app.call("GET", "/", headers={"X-Forwarded-Prefix": "/a/"}).headers["location"] == "/a/docs"


def test_nobody_else_tells_a_prefix(tmp_path: Path) -> None:
    for settings in ({}, {"trusted_proxies": ("192.0.2.1",)}):
        with application(tmp_path / str(len(settings)), **settings) as app:
            home = app.call("GET", "/", headers={"X-Forwarded-Prefix": "/evil"})
            assert home.headers["location"] == "/docs"
            assert (
                "/evil" not in app.call("GET", "/openapi.json", headers={"X-Forwarded-Prefix": "/evil"}).body.decode()
            )


def test_the_public_url_has_a_prefix(tmp_path: Path) -> None:
    with application(tmp_path, public_url="https://example.com/api/db") as app:
        assert app.call("GET", "/").headers["location"] == "/api/db/docs"
        assert app.call("GET", "/openapi.json").json["servers"] == [{"url": "https://example.com/api/db"}]


def test_a_page_whose_path_ends_with_a_slash_leads_to_the_other(app: Application) -> None:
    assert app.call("GET", "/docs").status == 200
    slash = app.call("GET", "/docs/")
    assert (slash.status, slash.headers["location"]) == (307, "../docs")
