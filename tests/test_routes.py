"""Every route of every dialect: it is in the document, its codes are documented, its errors are in its envelope."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from asgi import KEY, Answer, Application, application
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # has no types of its own
from openapi_spec_validator import validate
from pydantic import SecretStr

from doorleaf import openapi
from doorleaf.app import build
from doorleaf.dialects.base import Dialect, Request, Route
from doorleaf.errors import (
    CODE_NAMES,
    CODES,
    DataError,
    DuplicateKey,
    InternalError,
    InvalidParameter,
    StoreTimeout,
    ValidationFailed,
)
from doorleaf.settings.model import Settings
from doorleaf.settings.providers import PROVIDERS

TOKENS = {"algorithm": "HS256", "keys": ["k" * 40], "audience": ["shop"]}
CHOSEN: dict[str, Any] = {
    "providers": PROVIDERS,
    "custom_token": TOKENS,
    "custom_function": "f",
    "login_rate": "",
    "datacube": True,
}
DIALECTS = build(Settings(token_secret=SecretStr("s" * 40), **CHOSEN)).dialects
DOCUMENT = openapi.document(DIALECTS, providers=PROVIDERS)
LEFT_OUT = {
    "home": "leads to a page for people",
    "page": "is a page for people",
    "unknown": "is no action, and says so",
    "workspaceUnknown": "is no route of a workspace, and says so",
    "workspaceRealtime": "talks over a WebSocket, which OpenAPI cannot describe",
    "login": "is no provider, and says so",
    "connectomeOther": "is a method that an operation lacks, and says which it has",
    "connectomeUnknown": "is no operation of a collection, and says so",
}
"""Routes that say nothing about themselves, and why."""
ROUTES = [(dialect, route) for dialect in DIALECTS for route in dialect.routes]
NESTED = {"workspaces"}
"""The dialects whose errors have all that they say in one object."""
CODED = {"connectome"}
"""The dialects that call the code ``error``."""
SHOWN = {"datacube": lambda key: {"authorization": f"Api-Key {key}"}}
"""How a dialect is shown a key, where it is not in the header ``apiKey``."""
PAGES = Path(__file__).parent.parent / "docs"


def ids(value: Any) -> str:
    return f"{value.method} {value.path}" if isinstance(value, Route) else str(getattr(value, "name", value))


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method in ("get", "post", "put", "patch", "delete"):
            if method in item:
                yield method.upper(), path, item[method]


# --- every route is in the document ------------------------------------------------------------------------------


@pytest.mark.parametrize(("dialect", "route"), ROUTES, ids=ids)
def test_every_route_is_in_the_document(dialect: Dialect, route: Route) -> None:
    found = [
        operation
        for method, path, operation in operations()
        if method == route.method and (path == route.path or route.path in operation.get("x-also-at", ()))
    ]
    if route.about is None:
        assert route.name in LEFT_OUT
        assert found == []
        return
    [operation] = found
    assert operation["summary"] == route.about.summary
    assert operation["operationId"] == (route.about.name or route.name)
    assert str(route.about.gives.status) in operation["responses"]


def test_everything_in_the_document_is_a_route() -> None:
    validate(DOCUMENT)
    served = {(route.method, route.path) for _, route in ROUTES if route.about is not None}
    described = {(method, path) for method, path, _ in operations()}
    described |= {(method, path) for method, _, operation in operations() for path in operation.get("x-also-at", ())}
    assert described == served
    assert {tag["name"] for tag in DOCUMENT["tags"]} == {operation["tags"][0] for _, _, operation in operations()}


def test_examples_are_what_the_schemas_take() -> None:
    looked_at = 0
    for _, path, operation in operations():
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        if "example" in content:
            Draft202012Validator({**content["schema"], "components": DOCUMENT["components"]}).validate(
                content["example"]
            )
            looked_at += 1
        else:
            assert "examples" in content or "requestBody" not in operation, path
    assert looked_at > 15


def test_what_a_route_takes_is_written_as_the_house_writes_it() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        written = orjson.dumps(schema).decode()
        assert '"title":"' not in written.replace('"title":"Int"', "").replace('"title":"Long"', "") or name.endswith(
            ("Write", "Request")
        ), name


# --- every code is documented ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dialect", "route"), ROUTES, ids=ids)
def test_every_code_of_a_route_is_documented(dialect: Dialect, route: Route) -> None:
    table = (PAGES / "errors.md").read_text()
    for code in () if route.about is None else route.about.refuses:
        assert code in CODES
        assert f"| `{code}` |" in table


def test_every_code_is_on_the_page() -> None:
    table = (PAGES / "errors.md").read_text()
    for code in CODES.keys() | set(CODE_NAMES.values()):
        assert f"| `{code}` |" in table


# --- every route answers errors in its dialect's envelope --------------------------------------------------------


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with application(tmp_path_factory.mktemp("routes"), **CHOSEN) as running:
        yield running


def filled(route: Route) -> str:
    return re.sub(r"\{\w+\}", "nobody", route.path)


def require_envelope(answer: Answer, dialect: Dialect, path: str, expected: int | None = None) -> None:
    """An error as the dialect and the document say; ``expected`` is its status."""
    assert answer.status >= 400 if expected is None else answer.status == expected, (path, answer.body)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    components = DOCUMENT["components"]
    reference = {"$ref": f"#/components/schemas/{dialect.problem.__name__}", "components": components}
    Draft202012Validator(reference).validate(answer.json)
    if dialect.name not in NESTED:
        assert answer.json["error" if dialect.name in CODED else "error_code"]


@pytest.mark.parametrize(("dialect", "route"), ROUTES, ids=ids)
def test_every_route_refuses_in_its_envelope(app: Application, dialect: Dialect, route: Route) -> None:
    method = "POST" if route.method == "*" else route.method
    path = filled(route)
    if not route.public:
        require_envelope(app.call(method, path, b"{}"), dialect, path, 401)
        require_envelope(app.call(method, path, b"{}", {"apiKey": "dl_wrong"}), dialect, path, 401)
    unserved = 404 if route.method == "*" and route.name != "connectomeOther" else 405
    require_envelope(app.call("TRACE", path), dialect, path, unserved)
    if method in ("POST", "PUT", "PATCH"):
        for body in (b"{", b"[]"):
            answer = app.call(method, path, body, {"apiKey": KEY})
            require_envelope(answer, dialect, path)
            assert answer.status in (400, 401, 404, *(405,) * (route.method == "*")), answer.body
    large = app.call(method, path, b" " * (20 * 1024 * 1024), {"apiKey": KEY})
    if route.name not in ("home", "page", "livez", "readyz", "openapi"):
        require_envelope(large, dialect, path)


def test_bodies_of_another_media_type_are_refused(app: Application) -> None:
    """Where a dialect says so, by each of its routes that takes one; whoever may not call is told that first."""
    strict = {dialect.name: dialect for dialect in DIALECTS if dialect.only_json}
    assert strict.keys() == {"datacube", "connectome"}
    looked_at = 0
    for route in strict["datacube"].routes:
        if route.about is not None and route.about.takes is not None and route.public:
            for kind in ("text/xml", "application/x-www-form-urlencoded", "application/jsonp", "x; application/json"):
                answer = app.call(route.method, filled(route), b'{"a":1}', {"content-type": kind})
                require_envelope(answer, strict["datacube"], route.path, 415)
                assert answer.json["error_code"] == "UnsupportedMediaType"
            looked_at += 1
    assert looked_at >= 11
    for kind in ("application/json; charset=utf-8", "Application/EJSON", "application/vnd.api+json", ""):
        assert app.call("POST", "/core/login", b"{}", {"content-type": kind}).status == 400
    for name, dialect in strict.items():
        for route in dialect.routes:
            about = route.about
            if about is not None and (about.takes or about.brings) is not None:
                operation = DOCUMENT["paths"].get(route.path, {}).get(route.method.lower())
                assert operation is None or "415" in operation["responses"], (name, route.path)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize(
    "error",
    [
        InvalidParameter("x: no"),
        DataError("no", number=66),
        DuplicateKey("no", fields={"keyPattern": {"a": 1}}),
        ValidationFailed("no", fields={"errInfo": {"failingDocumentId": 1}}),
        StoreTimeout("no"),
        InternalError("no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_kind_of_error_has_the_envelope_of_the_dialect(dialect: Dialect, error: Any) -> None:
    reply = dialect.error(error, Request("POST", "/", {}))
    assert (reply.status, reply.content_type) == (error.status, b"application/json")
    shown = orjson.loads(reply.body)
    components = DOCUMENT["components"]
    Draft202012Validator(
        {"$ref": f"#/components/schemas/{dialect.problem.__name__}", "components": components}
    ).validate(shown)
    if dialect.name in NESTED:
        assert shown["error"]["code"].isupper()
        assert "error_code" not in shown
        return
    if dialect.name in CODED:
        assert shown["error"] == error.code
        assert "error_code" not in shown
    elif dialect.name == "client" and isinstance(error, DataError):
        assert (shown["error_code"], shown["code"], shown["code_name"]) == ("MongoDBError", error.number, error.code)
    else:
        assert shown["error_code"] == error.code
        assert "code_name" not in shown
    assert error.fields.keys() <= shown.keys()
