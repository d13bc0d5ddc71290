# ruff: noqa: E501  # a function is a line
"""What endpoints of App Services promise, line by line, as far as no other test says it."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import hmac
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from asgi import KEY, Answer, Application, application
from shop_app import endpoint, write

from doorleaf.errors import FunctionTimeout
from doorleaf.functions.load import load_functions

JSON = {"Content-Type": "application/json"}
SECRET = "Super5ecr3tPa55w0rd"
SCRIPT = """exports = () => {
  const [who] = context.request.requestHeaders['X-Who'] ?? ['nobody'];
  return who === 'system' ? { runAsSystem: true } : who;
}"""
FUNCTIONS = {
    "shows": """exports = (request) => ({
      keys: Object.keys(request).sort(), query: request.query, headers: request.headers, request: context.request,
      body: request.body === undefined ? 'undefined' : [request.body instanceof BSON.Binary, request.body.text(), request.body.toHexString()],
    })""",
    "reads": "exports = (request) => EJSON.parse(request.body.text())",
    "says": """exports = (request, response) => {
      response.setHeader('X-One', 'first');
      response.setHeader('x-one', 'second');
      response.addHeader('X-Two', '1');
      response.setBody(BSON.Binary.fromHex('00ff80'));
      return 'not this';
    }""",
    "status": "exports = (request, response) => { response.setStatusCode(202) }",
    "nothing": "exports = () => undefined",
    "app": "exports = () => context.app",
    "who": "exports = () => [context.user.id, context.user.type, context.runningAsSystem()]",
    "wins": "exports = () => [context.user.id, context.user.type, context.runningAsSystem()]",
    "script": "exports = () => [context.user.id, context.user.type, context.runningAsSystem()]",
    "gated": "exports = () => 'in'",
    "shut": "exports = () => 'in'",
    "open": "exports = () => 'in'",
    "values": "exports = () => [context.values.get('linked'), context.values.get('signing') === undefined, context.environment]",
    "throws": "exports = () => { throw new Error('as it is') }",
}  # fmt: skip
CONFIG = [
    *({"name": name, "run_as_system": True} for name in ("shows", "reads", "says", "status", "nothing", "app", "values", "throws")),
    {"name": "who"},
    {"name": "wins", "run_as_system": True, "run_as_user_id": "64224f3cd79f54ad342dd9b1"},
    {"name": "script", "run_as_user_id_script_source": SCRIPT},
    {"name": "gated", "run_as_system": True, "can_evaluate": {"%%request.requestHeaders.x-secret-key": "my-secret"}, "disable_arg_logs": True},
    {"name": "shut", "run_as_system": True, "can_evaluate": False},
    {"name": "open", "run_as_system": True, "can_evaluate": True},
]  # fmt: skip
ENDPOINTS = [
    *(endpoint(f"/{name}", "*", name) for name in FUNCTIONS),
    endpoint("/nested/deep/route", "PATCH", "nothing"),
    endpoint("/one", "GET", "nothing"),
    endpoint("/one", "POST", "app"),
    endpoint("/quiet", "POST", "says", respond_result=False),
    endpoint("/signed", "*", "shows", validation_method="VERIFY_PAYLOAD", secret_name="signing"),
    endpoint("/secret", "GET", "shows", validation_method="SECRET_AS_QUERY_PARAM", secret_name="signing"),
    endpoint("/canonical", "POST", "reads", return_type="EJSON"),
]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    folder: Path = tmp_path_factory.mktemp("lines")
    write(folder / "app", {
        "root_config.json": {"app_id": "lines-abcde", "name": "lines"},
        "functions/config.json": CONFIG,
        "https_endpoints/config.json": ENDPOINTS,
        "values/linked.json": {"name": "linked", "value": "signing", "from_secret": True},
        **{f"functions/{name}.js": source for name, source in FUNCTIONS.items()},
    })  # fmt: skip
    chosen = {"app": folder / "app", "providers": ("api-key", "anon-user"), "login_rate": ""}
    with application(folder / "data", **chosen) as first:
        told = first.call(
            "PUT", "/api/admin/v1/secrets/signing", orjson.dumps({"value": SECRET}), {"apiKey": KEY, **JSON}
        )
        assert told.status == 204, told.body
    with application(folder / "data", **chosen) as made:
        yield made


def ask(
    app: Application, path: str, method: str = "GET", body: bytes = b"", query: bytes = b"", /, **headers: str
) -> Answer:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return app.call(method, f"/endpoint{path}", body, given, query)


def test_what_a_request_is(app: Application) -> None:
    """Values of the query are the first of their name, headers are lists, the body is bytes; the rest is in context.request."""
    found = ask(
        app,
        "/shows",
        "POST",
        "{ né".encode(),
        b"a=1&a=2&b=&c=%C3%A9+x",
        X_Given_Twice="1, 2",
        User_Agent="me",
        Referer="there",
    ).json
    assert found["keys"] == ["body", "headers", "query"]
    assert found["query"] == {"a": "1", "b": "", "c": "é x"}
    assert found["headers"]["X-Given-Twice"] == ["1, 2"]
    assert found["body"] == [True, "{ né", "7b206ec3a9"]
    told = found["request"]
    assert told.keys() == {
        "httpMethod", "httpReferrer", "httpUserAgent", "rawQueryString", "remoteIPAddress", "requestHeaders", "webhookUrl",
    }  # fmt: skip
    assert (told["httpMethod"], told["remoteIPAddress"], told["rawQueryString"]) == (
        "POST",
        "127.0.0.1",
        "a=1&a=2&b=&c=%C3%A9+x",
    )
    assert (told["httpUserAgent"], told["httpReferrer"], told["webhookUrl"]) == ("me", "there", "/endpoint/shows")
    assert told["requestHeaders"] == found["headers"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_every_method_may_have_a_body_or_none(app: Application, method: str) -> None:
    assert ask(app, "/shows", method, b"x").json["body"] == [True, "x", "78"]
    assert ask(app, "/shows", method).json["body"] == "undefined"
    assert ask(app, "/shows", method, b"\xff\x00").json["body"][2] == "ff00"
    assert ask(app, "/shows", method).json["request"]["httpMethod"] == method


@pytest.mark.parametrize("size", [0, 1, 16 * 1024, 64 * 1024, 1024 * 1024])
def test_a_body_has_any_size_that_a_request_may_have(app: Application, size: int) -> None:
    """Also where nobody has to say who they are: the function runs as the system."""
    document = orjson.dumps({"text": "x" * size})
    good = "sha256=" + hmac.new(SECRET.encode(), document, hashlib.sha256).hexdigest()
    assert ask(app, "/reads", "POST", document).json == {"text": "x" * size}
    found = ask(app, "/signed", "POST", document, Endpoint_Signature=good)
    assert (found.status, found.json["body"][1]) == (200, document.decode())
    packed = ask(app, "/reads", "POST", gzip.compress(document), Content_Encoding="gzip")
    assert packed.json == {"text": "x" * size}
    in_pieces = [document[at : at + 5000] for at in range(0, len(document), 5000)]
    assert app.call("POST", "/endpoint/reads", in_pieces).json == {"text": "x" * size}


def test_what_is_said_with_the_response_is_the_answer_and_not_what_is_returned(app: Application) -> None:
    answer = ask(app, "/says")
    assert (answer.status, answer.body) == (200, b"\x00\xff\x80")
    assert (answer.headers["x-one"], answer.headers["x-two"]) == ("second", "1")
    status = ask(app, "/status")
    assert (status.status, status.body) == (202, b"")
    silent = ask(app, "/quiet", "POST")
    assert (silent.status, silent.body) == (204, b"")
    assert "x-one" not in silent.headers


def test_a_route_has_methods_of_its_own_each_with_its_function(app: Application) -> None:
    assert ask(app, "/one", "GET").status == 200
    assert ask(app, "/one", "POST").json["name"] == "lines"
    assert ask(app, "/one", "PUT").status == 405
    assert ask(app, "/nested/deep/route", "PATCH").status == 200
    assert ask(app, "/nested/deep", "PATCH").status == 404
    assert ask(app, "/nested/deep/route", "GET").status == 405


def test_json_is_not_parsed_for_a_function_and_the_form_is_what_the_endpoint_says(app: Application) -> None:
    body = b'{"n": {"$numberLong": "5"}, "d": {"$date": "2020-01-01T00:00:00.123Z"}}'
    canonical = {"n": {"$numberInt": "5"}, "d": {"$date": {"$numberLong": "1577836800123"}}}
    assert ask(app, "/canonical", "POST", body).json == canonical
    assert ask(app, "/canonical", "POST", body, Accept="application/json").json == {
        "n": 5,
        "d": "2020-01-01T00:00:00.123Z",
    }
    assert ask(app, "/reads", "POST", body, Accept="application/ejson").json == canonical
    thrown = ask(app, "/reads", "POST", b"{")
    assert (thrown.status, thrown.json["error_code"]) == (400, "FunctionExecutionError")


def test_a_signature_is_of_the_raw_body_and_of_nothing_where_there_is_none(app: Application) -> None:
    for body in (b"", b'{ "message": "Hello!" }', b"\xff\x00", b" "):
        good = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        assert ask(app, "/signed", "POST", body, Endpoint_Signature=good).status == 200
        for given in (good.upper(), good + "0", good[:-1], "sha256=", "sha1=" + good[7:], "é"):
            refused = ask(app, "/signed", "POST", body, Endpoint_Signature=given)
            assert (refused.status, refused.json["error_code"]) == (401, "InvalidSignature"), given
        assert ask(app, "/signed", "POST", body + b"x", Endpoint_Signature=good).status == 401
        assert ask(app, "/signed", "POST", body, f"secret={SECRET}".encode()).status == 401


def test_a_secret_in_the_query_is_in_nothing_that_a_function_sees(app: Application) -> None:
    answer = ask(app, "/secret", "GET", b"", f"a=1&secret={SECRET}&b=2".encode())
    assert answer.status == 200
    assert answer.json["request"]["rawQueryString"] == "a=1&b=2"
    assert answer.json["query"] == {"a": "1", "b": "2"}
    assert SECRET not in answer.body.decode()


def user(app: Application) -> tuple[str, str]:
    """The id and the token of a new anonymous user."""
    told = app.call("POST", "/api/client/v2.0/app/lines-abcde/auth/providers/anon-user/login", b"{}", JSON)
    assert told.status == 200, told.body
    return told.json["user_id"], told.json["access_token"]


def test_whom_a_function_runs_as(app: Application) -> None:
    ann, token = user(app)
    assert ask(app, "/who").status == 401
    assert ask(app, "/who", Authorization=f"Bearer {token}").json == [ann, "normal", False]
    assert ask(app, "/wins").json[1:] == ["system", True]  # whatever run_as_user_id says beside it
    assert ask(app, "/script", X_Who="system").json[1:] == ["system", True]
    assert ask(app, "/script", X_Who=ann).json == [ann, "normal", False]
    for nobody in ({}, {"X_Who": "64224f3cd79f54ad342dd9b1"}, {"X_Who": "{runAsSystem: true}"}, {"X_Who": ""}):
        refused = ask(app, "/script", **nobody)
        assert refused.status in (400, 401, 403, 404), refused.body
        assert "system" not in refused.json.get("value", "")


def test_can_evaluate_sees_the_headers_of_the_request(app: Application) -> None:
    assert ask(app, "/gated", X_Secret_Key="my-secret").json == "in"
    for headers in ({}, {"X_Secret_Key": "my-secre"}, {"X_Secret_Key": "MY-SECRET"}, {"Secret_Key": "my-secret"}):
        refused = ask(app, "/gated", **headers)
        assert (refused.status, refused.json["error_code"]) == (400, "FunctionExecutionError")


def test_can_evaluate_that_never_holds_and_that_is_no_condition(app: Application, tmp_path: Path) -> None:
    refused = ask(app, "/shut")
    assert (refused.status, refused.json["error"]) == (400, 'rule not matched for function "shut"')
    assert ask(app, "/open").json == "in"
    wrong = {"one": (1, "got int"), "zero": (0, "got int"), "text": ("", "got string"), "list": ([], "got array")}
    write(tmp_path, {
        "root_config.json": {"app_id": "wrong-abcde", "name": "wrong"},
        "functions/config.json": [{"name": name, "can_evaluate": allowed} for name, (allowed, _) in wrong.items()],
        **{f"functions/{name}.js": "exports = () => 'in'" for name in wrong},
    })  # fmt: skip
    loaded = load_functions(tmp_path)
    assert loaded.functions == {}
    for name, (_, words) in wrong.items():
        assert f"functions/{name}.js: can_evaluate: expected true, false or an object, {words}" in map(
            str, loaded.problems
        )


def test_the_app_its_values_and_what_it_throws(app: Application) -> None:
    assert ask(app, "/app").json == {
        "id": "lines-abcde", "clientAppId": "lines-abcde", "name": "lines", "deployment": {"model": "LOCAL"},
    }  # fmt: skip
    assert ask(app, "/values").json == [SECRET, True, {"tag": "", "values": {}}]  # a secret has no name of its own
    thrown = ask(app, "/throws")
    assert (thrown.status, thrown.json["error"], thrown.json["error_code"]) == (
        400,
        "as it is",
        "FunctionExecutionError",
    )
    assert "stack" not in thrown.json
    assert ask(app, "/nothing").body in (b"null", b"")


def test_a_header_that_comes_twice_is_a_list_of_two(app: Application) -> None:
    given = [("X-Many", "1"), ("Accept", "a/b"), ("X-Many", "2, 3"), ("X-One", "1, 2"), ("accept", "c/d")]
    found = app.call("GET", "/endpoint/shows", b"", given).json
    assert found["headers"] == found["request"]["requestHeaders"]
    headers = {name: found["headers"][name] for name in ("X-Many", "Accept", "X-One")}
    assert headers == {"X-Many": ["1", "2, 3"], "Accept": ["a/b", "c/d"], "X-One": ["1, 2"]}
    assert app.call("GET", "/endpoint/shows", b"", [("apiKey", "a"), ("apiKey", "b")]).status == 400


def test_how_many_calls_how_long_and_how_much(tmp_path: Path) -> None:
    """The limits: calls at once, the time of one, and the documents of a find that has no limit of its own."""
    at = "context.services.get('mongodb-atlas').db('shop').collection('things')"
    write(tmp_path / "app", {
        "root_config.json": {"app_id": "limits-abcde", "name": "limits"},
        "functions/config.json": [{"name": name, "run_as_system": True} for name in ("waits", "fills")],
        "functions/waits.js": "exports = () => new Promise((done) => setTimeout(() => done('late'), 60000))",
        "functions/fills.js": f"""exports = async (request) => {{
          await {at}.insertMany(Array.from({{ length: Number(request.query.count) }}, (_, number) => ({{ number }})));
          const found = await {at}.find({{}}).toArray().catch((error) => error.message);
          return [typeof found === 'string' ? found : found.length, (await {at}.find({{}}).limit(20).toArray()).length];
        }}""",
        "https_endpoints/config.json": [endpoint("/waits", "GET", "waits"), endpoint("/fills", "POST", "fills")],
    })  # fmt: skip
    chosen = {
        "app": tmp_path / "app",
        "functions_calls": 1,
        "functions_seconds": 20,
        "max_documents": 30,
        "default_limit": 30,
    }
    with application(tmp_path / "data", **chosen) as app:
        assert ask(app, "/fills", "POST", b"", b"count=29").json == [29, 20]
        assert ask(app, "/fills", "POST", b"", b"count=1").json == [
            "find: 30 documents or more match; give it a limit",
            20,
        ]
    with application(tmp_path / "data", **{**chosen, "functions_seconds": 1}) as app:

        async def two() -> tuple[Answer, Answer]:
            return await asyncio.gather(app.request("GET", "/endpoint/waits"), app.request("GET", "/endpoint/waits"))

        late, refused = app.run(two())
        assert (late.status, late.json["error_code"]) == (FunctionTimeout.status, FunctionTimeout.code)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert ask(app, "/fills", "POST", b"", b"count=0").status != 429  # the place is free again
