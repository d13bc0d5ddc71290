# ruff: noqa: E501  # a request is a line
"""An app's endpoints and functions over HTTP, as its clients call them."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import installed
import openapi_spec_validator
import pytest
from servers import Doorleaf, run_doorleaf, start_doorleaf, until
from shop_app import APP_ID, shop, write

PASSWORD, SIGNING = "letmein", "Super5ecr3tPa55w0rd"
CALL = f"/api/client/v2.0/app/{APP_ID}/functions/call"


def cli(folder: Path, *args: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return run_doorleaf(folder, *args, given=given)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorleaf]:
    folder = tmp_path_factory.mktemp("shop")
    shop(folder / "app")
    imported = cli(folder, "import-app", "app", "--into", "doorleaf.toml")
    assert imported.returncode == 0, imported.stderr
    for name, value in (("password", PASSWORD), ("signing", SIGNING)):
        told = cli(folder, "secrets", "set", name, "--data-dir", str(folder / "data"), given=value)
        assert told.returncode == 0, told.stderr
        assert value not in told.stdout + told.stderr
    started = start_doorleaf(folder / "data")
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def client(server: Doorleaf) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{server.url}/app/{APP_ID}/endpoint", timeout=60) as made:
        yield made


def session(server: Doorleaf) -> tuple[str, dict[str, str]]:
    """The id of a new anonymous user, and the headers that show them."""
    answer = httpx.post(f"{server.url}/api/client/v2.0/app/{APP_ID}/auth/providers/anon-user/login", json={})
    assert answer.status_code == 200, answer.text
    return answer.json()["user_id"], {"Authorization": f"Bearer {answer.json()['access_token']}"}


def called(server: Doorleaf, headers: dict[str, str], name: str, *arguments: Any) -> httpx.Response:
    return httpx.post(
        f"{server.url}{CALL}", json={"name": name, "arguments": list(arguments)}, headers=headers, timeout=60
    )


# --- endpoints ---------------------------------------------------------------------------------------------------------


def test_what_a_function_returns_is_the_answer(client: httpx.Client) -> None:
    answer = client.get("/hello")
    assert (answer.status_code, answer.json()) == (200, "Hello, world!")
    assert answer.headers["content-type"] == "application/json"
    assert client.get("/hello/").json() == "Hello, world!"
    assert client.get("/inner").json() == "inner"


def test_the_form_is_what_accept_asks_for_or_else_the_endpoints_own(client: httpx.Client) -> None:
    canonical = {"when": {"$date": {"$numberLong": "1683248523456"}}, "long": {"$numberLong": "9007199254740993"},
                 "n": {"$numberInt": "5"}, "half": {"$numberDouble": "0.5"}}  # fmt: skip
    answer = client.get("/hello/latest")
    assert (answer.json(), answer.headers["content-type"]) == (canonical, "application/ejson")
    plain = client.get("/hello/latest", headers={"Accept": "application/json"}).json()
    assert plain == {"when": "2023-05-05T01:02:03.456Z", "long": 9007199254740993, "n": 5, "half": 0.5}


def test_a_response_object_that_was_touched_is_the_answer(client: httpx.Client) -> None:
    answer = client.put("/echo?a=1&a=2&b=3", content="höy", headers={"X-Given": "x"})
    assert (answer.status_code, answer.text) == (201, "1|x|höy|a=1&a=2&b=3")
    assert answer.headers["x-method"] == "PUT"
    assert answer.headers.get_list("x-many") == ["1", "2"]
    assert answer.headers["content-type"] == "text/plain"
    assert client.delete("/echo").json()["limit"] == 5  # the specific method before *


def test_methods_and_routes_are_those_of_the_app(server: Doorleaf, client: httpx.Client) -> None:
    assert httpx.get(f"{server.url}/endpoint/hello").json() == "Hello, world!"
    assert client.head("/hello").status_code == 200
    assert client.head("/hello").content == b""
    refused = client.post("/hello")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    for path in ("/nothing", "/off", "/hello/more", "/hell", ""):
        assert client.get(path).status_code == 404, path
    other = httpx.get(f"{server.url}/app/other-abcde/endpoint/hello")
    assert (other.status_code, "cannot find app" in other.text) == (404, True)
    assert client.post("/silent").status_code == 204
    assert client.post("/silent").content == b""


def test_the_database_is_there_and_types_are_kept(client: httpx.Client) -> None:
    made = client.post(
        "/things", json={"_id": {"$oid": "64224f3cd79f54ad342dd9b1"}, "at": {"$date": {"$numberLong": "5"}}, "n": 1}
    )
    assert made.json() == "64224f3cd79f54ad342dd9b1"
    found = client.get("/things", headers={"Accept": "application/ejson"}).json()
    assert {
        "_id": {"$oid": "64224f3cd79f54ad342dd9b1"},
        "at": {"$date": {"$numberLong": "5"}},
        "n": {"$numberInt": "1"},
    } in found
    assert client.post("/duplicate").json() == [11000, "MongoError"]


def test_every_method_of_a_collection(client: httpx.Client) -> None:
    assert client.post("/every").json() == [
        [1, 2, 3], {"matchedCount": 1, "modifiedCount": 1}, {"matchedCount": 3, "modifiedCount": 3}, {"_id": 1, "n": 12},
        {"_id": 2, "n": 3}, {"_id": 3, "n": 4}, 2, [12, 20], 32, 1, {"_id": 1, "n": 12}, {"_id": 2, "n": 20}, None, 2, 1,
    ]  # fmt: skip


def test_values_secrets_and_the_environment(client: httpx.Client) -> None:
    assert client.get("/told").json() == {
        "limit": 5, "key": PASSWORD, "environment": {"tag": "testing", "values": {"region": "eu"}}, "app": APP_ID,
    }  # fmt: skip


def test_packages_of_the_app(client: httpx.Client) -> None:
    assert client.get("/packed").json() == ["005", 2, "dep of left", "0"]


def test_an_endpoint_as_people_wrote_them(client: httpx.Client) -> None:
    given = {"name": "é", "when": {"$date": "2020-01-01T00:00:00Z"}, "count": {"$numberInt": "5"}}
    answer = client.post("/old?limit=2&arg=x", json=given)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "result": [{"count": 5, "name": "é", "when": "2020-01-01T00:00:00.000Z"}], "types": ["application/json"], "arg": "x",
        "hash": "3c862eca78c03d61dcb7f2b6c4064d1ffc4d4ca51a6f076ba0a19839b51592ba", "etag": "w6k=", "page": "/a?limit=2&next=1+2",
    }  # fmt: skip


def test_hashes_and_tokens(client: httpx.Client) -> None:
    assert client.get("/crypto").json() == [
        "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
        "d4f0537db4e230d7a6028a6f7c3bb1b57c9d16f39176d78697e559ac333e0b36",
        "x",
    ]


def test_a_secret_in_the_query_is_wanted_and_not_handed_on(client: httpx.Client) -> None:
    for query in (f"secret={PASSWORD}&a=1", f"a=1&%73ecret={PASSWORD}"):
        good = client.request("GET", f"/passwordRequired?{query}", content="b", headers={"X-Given": "x"})
        assert (good.status_code, good.text) == (201, "1|x|b|a=1")
    for query in ("", "?secret=", "?secret=wrong", f"?Secret={PASSWORD}", f"?secret=x&secret={PASSWORD}"):
        refused = client.get(f"/passwordRequired{query}")
        assert (refused.status_code, refused.json()["error_code"]) == (401, "InvalidSignature"), query


def test_a_signature_of_the_raw_bytes_is_wanted(client: httpx.Client) -> None:
    body = b'{ "message": "Hello!" }'
    good = "sha256=d4f0537db4e230d7a6028a6f7c3bb1b57c9d16f39176d78697e559ac333e0b36"
    answer = client.post("/sendMessage", content=body, headers={"Endpoint-Signature": good})
    assert answer.json() == 'signed: { "message": "Hello!" }'
    other = "sha256=" + hmac.new(SIGNING.encode(), b'{"message":"Hello!"}', hashlib.sha256).hexdigest()
    for headers in (
        {},
        {"Endpoint-Signature": other},
        {"Endpoint-Signature": good[:-1] + "7"},
        {"Endpoint-Signature": good[7:]},
    ):
        refused = client.post("/sendMessage", content=body, headers=headers)
        assert (refused.status_code, refused.json()["error_code"]) == (401, "InvalidSignature")


def test_what_a_function_throws_is_an_error_without_its_stack(client: httpx.Client) -> None:
    answer = client.get("/throws")
    assert answer.status_code == 401  # it runs as its caller
    assert client.get("/throws", headers={"apiKey": "wrong"}).status_code == 401


def test_other_servers_are_not_reached_unless_they_are_allowed(client: httpx.Client) -> None:
    for url in ("http://127.0.0.1:3000/", "http://169.254.169.254/latest", "https://example.com/", "http://[::1]/"):
        assert "functions_http_allow does not have" in client.get("/fetches", params={"url": url}).json()
    assert "expected http" in client.get("/fetches", params={"url": "file:///etc/passwd"}).json()


def test_a_python_function(client: httpx.Client) -> None:
    assert client.post("/py", content="body").json() == {
        "utils": [
            "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
            "d4f0537db4e230d7a6028a6f7c3bb1b57c9d16f39176d78697e559ac333e0b36", True, "1",
        ],
        "sent": "the setting functions_http_allow does not have 127.0.0.1",
        "found": {"_id": "py", "n": 1}, "body": "body", "slept": "slept", "limit": 5, "sum": 3, "user": "system",
        "list": client.get("/things").json()[:1],
    }  # fmt: skip


# --- rights --------------------------------------------------------------------------------------------------------------


def test_a_function_acts_as_its_caller_or_as_the_system(server: Doorleaf, client: httpx.Client) -> None:
    one, first = session(server)
    two, second = session(server)
    for index, owner in enumerate((one, two)):
        made = httpx.post(
            f"{server.url}/data/v1/action/insertOne", headers={"apiKey": server.key},
            json={"dataSource": "mongodb-atlas", "database": "shop", "collection": "notes", "document": {"_id": index, "owner": owner}},
        )  # fmt: skip
        assert made.status_code == 201, made.text
    assert client.get("/mine").status_code == 401
    mine = client.get("/mine", headers=first).json()
    assert mine == {"user": one, "type": "normal", "system": False, "found": [{"_id": 0, "owner": one}]}
    through = called(server, second, "through").json()
    assert [note["_id"] for note in through["mine"]["found"]] == [{"$numberInt": "1"}]
    assert [note["_id"] for note in through["all"]] == [{"$numberInt": "0"}, {"$numberInt": "1"}]
    assert through["sum"] == {"$numberInt": "5"}
    refused = called(server, first, "forbidden")
    assert (refused.status_code, refused.json()["error_code"]) == (400, "FunctionExecutionError")
    assert "no rule exists for namespace 'shop.secrets'" in refused.json()["error"]


def test_functions_are_called_by_name(server: Doorleaf) -> None:
    _, headers = session(server)
    given = [{"$numberLong": "5"}, {"$oid": "64224f3cd79f54ad342dd9b1"}, {"a": [{"$date": {"$numberLong": "1"}}]}, "x"]
    answer = called(server, headers, "given", *given)
    assert answer.json() == [{"$numberInt": "5"}, *given[1:]]
    assert called(server, {}, "given").status_code == 401
    for name in ("hidden", "nothing", "run_as_user_id_script_source of hidden", "../hello"):
        refused = called(server, headers, name)
        assert (refused.status_code, refused.json()["error_code"]) == (404, "FunctionNotFound")
    assert called(server, headers, "guarded", 9).json() == {"$numberInt": "18"}
    refused = called(server, headers, "guarded", 10)
    told = {"error": 'rule not matched for function "guarded"', "error_code": "FunctionExecutionError"}
    assert (refused.status_code, refused.json()) == (400, told)
    missing = called(server, headers, "kinds", {"$undefined": True}, None, {"a": {"$undefined": True}})
    assert missing.json() == ["undefined", "object", "object"]
    marked = b'\xef\xbb\xbf{"name": "kinds", "arguments": [{"$undefined": true}]}'  # a mark that many programs write
    content = {**headers, "Content-Type": "application/json"}
    assert httpx.post(f"{server.url}{CALL}", content=marked, headers=content, timeout=60).json() == ["undefined"]
    thrown = called(server, headers, "throws")
    assert (thrown.status_code, thrown.json()) == (
        400,
        {"error": "no such thing", "error_code": "FunctionExecutionError"},
    )
    thrown = called(server, headers, "pythrows")
    assert (thrown.status_code, thrown.json()) == (
        400,
        {"error": "KeyError: 'lost'", "error_code": "FunctionExecutionError"},
    )
    assert "functions/throws.js:1" in server.output()


def test_metrics_have_functions_by_name(server: Doorleaf, client: httpx.Client) -> None:
    client.get("/hello")
    shown = httpx.get(f"{server.url}/metrics", headers={"apiKey": server.key}).text
    assert 'doorleaf_function_seconds_count{function="hello",outcome="ok"}' in shown


def test_nothing_secret_is_in_the_log(server: Doorleaf, client: httpx.Client) -> None:
    client.get(f"/passwordRequired?secret={PASSWORD}")
    assert PASSWORD not in server.output()
    assert SIGNING not in server.output()


# --- changes -------------------------------------------------------------------------------------------------------------


def test_changed_files_are_live_in_every_worker_and_broken_ones_stay_as_they_were(tmp_path: Path) -> None:
    app = shop(tmp_path / "app")
    server = start_doorleaf(tmp_path / "data", "--app", str(app), "--workers", "2")
    url = f"{server.url}/endpoint/hello"

    def answers() -> set[str]:
        found = [httpx.get(url, timeout=60) for _ in range(12)]  # each by a connection of its own
        assert {answer.status_code for answer in found} == {200}
        return {answer.json() for answer in found}

    def becomes(expected: str, text: str) -> None:
        until(lambda: answers() == {expected} and server.output().count(text) >= 2)

    try:
        becomes("Hello, world!", "triggers are in service")  # both of them
        write(app, {"functions/hello.js": "exports = () => 'changed'"})
        becomes("changed", "")
        write(app, {"functions/hello.js": "exports = () => {\n  let a = ;\n}"})
        becomes("changed", "not in service: functions/hello.js: line 2")
        write(app, {"functions/config.json": "[{"})
        becomes("changed", "the app stays as it was: functions/config.json")
        entry = json.dumps([{"name": "hello", "run_as_system": True}])
        write(app, {"functions/config.json": entry, "functions/hello.js": "exports = () => 'again'"})
        becomes("again", "")
    finally:
        server.stop()


def test_endpoints_are_in_the_openapi_document(server: Doorleaf) -> None:
    document = httpx.get(f"{server.url}/openapi.json").json()
    hello = document["paths"]["/endpoint/hello"]["get"]
    assert (hello["security"], hello["tags"], hello["operationId"]) == ([], ["Endpoints"], "getEndpointHello")
    assert "security" not in document["paths"]["/endpoint/mine"]["get"]
    assert "401" in document["paths"]["/endpoint/sendMessage"]["post"]["responses"]
    assert {*document["paths"]["/endpoint/echo"]} == {"get", "post", "put", "patch", "delete"}
    assert "/endpoint/off" not in document["paths"]
    openapi_spec_validator.validate(document)


# --- administration ------------------------------------------------------------------------------------------------------


def test_administrators_see_the_app_and_keep_its_secrets(server: Doorleaf) -> None:
    admin = httpx.Client(base_url=f"{server.url}/api/admin/v1", headers={"apiKey": server.key}, timeout=60)
    with admin:
        told = admin.get("/functions").json()
        assert {"name": "hello", "file": "functions/hello.js", "runs_as": "system", "private": False,
                "endpoints": ["GET /hello", "POST /silent"]} in told["functions"]  # fmt: skip
        assert told["problems"] == []
        assert admin.get("/values").json() == {"values": {"limit": 5}, "secrets": {"key": "password"}}
        assert admin.put("/secrets/spare", json={"value": "wheel"}).status_code == 204
        listed = admin.get("/secrets")
        assert (listed.json(), "wheel" in listed.text) == ({"secrets": ["password", "signing", "spare"]}, False)
        assert admin.delete("/secrets/spare").status_code == 204
        missing = admin.delete("/secrets/spare")
        assert (missing.status_code, missing.json()["error_code"]) == (404, "SecretNotFound")
        assert admin.put("/secrets/a%20b", json={"value": "x"}).status_code == 400
    _, headers = session(server)
    assert httpx.get(f"{server.url}/api/admin/v1/secrets", headers=headers).status_code == 403


def test_administrators_see_what_functions_do(server: Doorleaf, client: httpx.Client) -> None:
    assert client.get("/hello").status_code == 200
    _, headers = session(server)
    path = f"{server.url}/api/admin/v1/functions/live"
    assert httpx.get(path, headers=headers).status_code == 403
    found = None
    with httpx.stream("GET", path, headers={"apiKey": server.key}, timeout=60) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        kind = ""
        for line in answer.iter_lines():
            kind = line.removeprefix("event: ") if line.startswith("event: ") else kind
            told = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
            if (kind, told.get("function")) == ("call", "hello"):
                found = told
                break
    assert found is not None
    assert (found["outcome"], found["seconds"] >= 0) == ("ok", True)
    assert found.keys() == {"number", "time", "function", "request", "outcome", "seconds", "caller"}


def test_the_command_prints_what_functions_did(server: Doorleaf, client: httpx.Client, tmp_path: Path) -> None:
    assert client.get("/throws", headers={"apiKey": server.key}).status_code == 400
    given = ("functions", "logs", "--url", server.url, "--key", server.key, "--function", "throws")
    told = cli(tmp_path, *given)
    assert told.returncode == 0, told.stderr
    assert "CALL throws [" in told.stdout
    assert "FunctionExecutionError in " in told.stdout
    assert "no such thing" in told.stdout
    assert "hello" not in told.stdout
    lines = [json.loads(line) for line in cli(tmp_path, *given, "--json").stdout.splitlines()]
    assert {line["function"] for line in lines} == {"throws"}
    assert {line["kind"] for line in lines} == {"line", "call"}
    refused = cli(tmp_path, *given[:4], "--key", "dl_" + "x" * 64)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "Traceback" not in refused.stderr


def test_a_changed_secret_is_in_force_without_a_restart(server: Doorleaf, client: httpx.Client) -> None:
    url = f"{server.url}/api/admin/v1/secrets/password"
    try:
        httpx.put(url, headers={"apiKey": server.key}, json={"value": "another"}, timeout=60)
        until(lambda: client.get("/told").json()["key"] == "another")
        assert client.get(f"/passwordRequired?secret={PASSWORD}").status_code == 401
    finally:
        httpx.put(url, headers={"apiKey": server.key}, json={"value": PASSWORD}, timeout=60)
        until(lambda: client.get("/told").json()["key"] == PASSWORD)


def test_an_imported_app_answers_curl_and_its_trigger_runs(server: Doorleaf) -> None:
    signature = hmac.new(SIGNING.encode(), b'{ "message": "Hello!" }', hashlib.sha256).hexdigest()
    signed = ("-H", f"Endpoint-Signature: sha256={signature}", "-d", '{ "message": "Hello!" }')
    for route, more, answer in (
        ("/hello", (), '"Hello, world!"'),
        ("/hello/latest", ("-H", "Accept: application/json"), '"when":"2023-05-05T01:02:03.456Z"'),
        ("/inner", (), '"inner"'),
        ("/told", (), '"region":"eu"'),
        ("/packed", (), '["005",2,"dep of left",'),
        (f"/passwordRequired?secret={PASSWORD}&a=1", ("-X", "GET", "-d", "b", "-H", "X-Given: y"), "1|y|b|a=1"),
        ("/sendMessage", signed, "signed:"),
        ("/echo?a=2", ("-X", "PUT", "-H", "X-Given: x", "-d", "body"), "2|x|body|a=2"),
        ("/py", ("-d", "text"), '"slept":"slept"'),
        ("/silent", ("-d", ""), ""),
        ("/off", (), "no route for GET"),
    ):
        url = f"{server.url}/app/{APP_ID}/endpoint{route}"
        done = subprocess.run(["curl", "-sS", *more, url], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert answer in done.stdout, (route, done.stdout)
        assert answer or not done.stdout, route
    place = {"database": "shop", "collection": "arrivals"}
    seen: list[str] = []

    def is_welcome() -> bool:
        seen.append(f"guest {len(seen)}")  # what came before the trigger ran is no event
        server.ok("insertMany", **place, documents=[{"name": seen[-1]}, {"nobody": True}])
        return bool(server.ok("find", database="shop", collection="welcomes", filter={})["documents"])

    until(is_welcome)
    last = {"_id": seen[-1]}
    until(lambda: server.ok("findOne", database="shop", collection="welcomes", filter=last)["document"] is not None)
    welcomes = server.ok("find", database="shop", collection="welcomes", filter={})["documents"]
    assert all(it["by"] == 5 for it in welcomes)
    assert {it["_id"] for it in welcomes} <= {*seen}


# --- logging in ------------------------------------------------------------------------------------------------------


def log_in(server: Doorleaf, shown: object, **headers: str) -> httpx.Response:
    path = f"{server.url}/api/client/v2.0/app/{APP_ID}/auth/providers/custom-function/login"
    return httpx.post(path, json=shown, headers=headers)


def test_a_function_says_who_logs_in(server: Doorleaf) -> None:
    first, again = (log_in(server, {"ticket": "open sesame"}).json() for _ in range(2))
    assert first["user_id"] == again["user_id"]
    profile = httpx.get(
        f"{server.url}/api/client/v2.0/auth/profile", headers={"Authorization": f"Bearer {first['access_token']}"}
    ).json()
    assert profile["data"] == {"name": "Ali Baba"}
    assert [(it["id"], it["provider_type"]) for it in profile["identities"]] == [("ali", "custom-function")]
    assert log_in(server, {"answer": "somebody"}).json()["user_id"] != first["user_id"]


@pytest.mark.parametrize(
    ("shown", "status", "code", "message"),
    [
        ({}, 401, "AuthError", "no ticket, true"),
        ({"answer": None}, 400, "FunctionExecutionError", "neither an id as text"),
        ({"answer": ""}, 400, "FunctionExecutionError", "neither an id as text"),
        ({"answer": "x" * 1025}, 400, "FunctionExecutionError", "neither an id as text"),
        ({"answer": 5}, 400, "FunctionExecutionError", "neither an id as text"),
        ({"answer": {"id": {"$oid": "0" * 24}}}, 400, "FunctionExecutionError", "neither an id as text"),
        ({"answer": {"name": "nobody"}}, 400, "FunctionExecutionError", "neither an id as text"),
        ({"answer": {"id": "x", "name": 5}}, 400, "FunctionExecutionError", "a name that is no short text"),
    ],
)
def test_who_is_not_let_in(server: Doorleaf, shown: object, status: int, code: str, message: str) -> None:
    refused = log_in(server, shown)
    assert (refused.status_code, refused.json()["error_code"]) == (status, code)
    assert message in refused.json()["error"]
    assert "access_token" not in refused.text


# --- the SDK -------------------------------------------------------------------------------------------------------------

REALM = """
import { createRequire } from "node:module";
const [folder, baseUrl] = process.argv.slice(2);
const Realm = createRequire(`${folder}/package.json`)("realm-web");
const { BSON } = Realm;
const app = new Realm.App({ id: "shop-abcde", baseUrl });
const user = await app.logIn(Realm.Credentials.anonymous());
const told = { sum: await user.functions.sum(2, 3), nothing: await user.functions.given() };
const given = await user.functions.given(new BSON.ObjectId("64224f3cd79f54ad342dd9b1"), new Date(5), "x");
told.types = [given[0] instanceof BSON.ObjectId, given[1] instanceof Date, given[2]];
const ali = await app.logIn(Realm.Credentials.function({ ticket: "open sesame" }));
told.ali = [ali.identities[0].providerType, ali.profile.name, (await ali.functions.mine()).user === ali.id];
try { await app.logIn(Realm.Credentials.function({ ticket: "none" })) } catch (error) { told.none = [error.statusCode, error.error] }
told.mine = (await user.functions.mine()).user === user.id;
for (const name of ["throws", "hidden", "absent"]) {
  try { await user.callFunction(name) } catch (error) { told[name] = [error.statusCode, error.errorCode, error.error] }
}
console.log(JSON.stringify(told));
"""


def test_realm_web_calls_functions(
    server: Doorleaf, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    modules = installed.npm(request.config, tmp_path_factory, "realm-web-2.0.1", "realm-web@2.0.1")
    (tmp_path / "app.mjs").write_text(REALM)
    done = subprocess.run(
        ["node", str(tmp_path / "app.mjs"), str(modules), server.url], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "ali": ["custom-function", "Ali Baba", True], "none": [401, "no ticket, true"],
        "sum": 5, "nothing": [], "types": [True, True, "x"], "mine": True,
        "throws": [400, "FunctionExecutionError", "no such thing"],
        "hidden": [404, "FunctionNotFound", "function not found: 'hidden'"],
        "absent": [404, "FunctionNotFound", "function not found: 'absent'"],
    }  # fmt: skip
