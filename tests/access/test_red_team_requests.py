"""Attempts with the requests themselves: bytes, headers, paths, bodies, names, origins and addresses."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asgi import KEY, Application, application
from red_team import Answer, Target, target

ORIGIN = "https://shop.example"
ACTION = "/data/v1/action"
ADMIN = "/api/admin/v1"
LOGIN = "/auth/providers/{}/login"
CLIENT = "/api/client/v2.0/app/shop-abcde/auth/providers/local-userpass"
EMAIL, PASSWORD = "ann@shop.example", "correct horse battery"
FIND = b'{"database":"shop","collection":"open","limit":1}'
INSERT = b'{"database":"shop","collection":"orders","document":{"_id":"smuggled"}}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    settings: dict[str, Any] = {
        "app_ids": ["shop-abcde"],
        "cors_origins": [ORIGIN],
        "max_body_bytes": 200_000,
        "providers": ["api-key", "local-userpass", "anon-user"],
        "auto_confirm": True,
    }
    with target(tmp_path_factory.mktemp("red-team"), **settings) as under_attack:
        made = under_attack.call("POST", f"{CLIENT}/register", {"email": EMAIL, "password": PASSWORD})
        assert made.status == 201, made.body
        yield under_attack


# --- bytes -----------------------------------------------------------------------------------------------------------

HEAD = b"POST /data/v1/action/find HTTP/1.1\r\nHost: x\r\napiKey: KEY\r\n"
INNER = b"POST /data/v1/action/insertOne HTTP/1.1\r\nHost: x\r\napiKey: KEY\r\nContent-Length: %d\r\n\r\n%s"
SMUGGLED = INNER % (len(INSERT), INSERT)
LENGTH = b"Content-Length: %d\r\n" % len(FIND)

BYTES: dict[str, bytes] = {
    "a length, and pieces": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "pieces, and a length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "pieces behind a tab, and a length": (
        HEAD + b"Transfer-Encoding:\tchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + SMUGGLED
    ),
    "two lengths": HEAD + LENGTH + b"Content-Length: 0\r\n\r\n" + FIND + SMUGGLED,
    "the same length twice": HEAD + LENGTH + LENGTH + b"\r\n" + FIND + SMUGGLED,
    "a list of lengths": HEAD + b"Content-Length: 0, %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "a length with a sign": HEAD + b"Content-Length: +0\r\n\r\n" + SMUGGLED,
    "a length below zero": HEAD + b"Content-Length: -1\r\n\r\n" + SMUGGLED,
    "a hexadecimal length": HEAD + b"Content-Length: 0x0\r\n\r\n" + SMUGGLED,
    "a length before a space": HEAD + b"Content-Length : 0\r\n\r\n" + SMUGGLED,
    "pieces of an unknown kind": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n" + SMUGGLED,
    "pieces that are none": HEAD + b"Transfer-Encoding: identity\r\n\r\n" + SMUGGLED,
    "two kinds of pieces": (
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + SMUGGLED
    ),
    "pieces last of a list": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a piece without a size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + SMUGGLED,
    "a piece of a size below zero": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n" + SMUGGLED,
    "a piece of a size that overflows": HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n" + SMUGGLED,
    "a header on two lines": HEAD + b"X: a\r\n Content-Length: 0\r\n" + LENGTH + b"\r\n" + FIND,
    "line feeds alone": HEAD.replace(b"\r\n", b"\n") + b"Content-Length: 0\n\n" + SMUGGLED,
    "carriage returns alone": HEAD.replace(b"\r\n", b"\r") + b"Content-Length: 0\r\r" + SMUGGLED,
    "a NUL in a header": HEAD + b"X: a\0b\r\n" + LENGTH + b"\r\n" + FIND,
    "a key before a space": HEAD.replace(b"apiKey:", b"apiKey :") + LENGTH + b"\r\n" + FIND,
    "a key twice": HEAD + b"apiKey: KEY\r\n" + LENGTH + b"\r\n" + FIND,
    "another key beside the key": HEAD + b"apiKey: nonsense\r\n" + LENGTH + b"\r\n" + FIND,
    "two hosts": HEAD + b"Host: y\r\n" + LENGTH + b"\r\n" + FIND,
    "two bearers": b"POST /data/v1/action/find HTTP/1.1\r\n"
    + b"Authorization: Bearer x\r\n" * 2
    + LENGTH
    + b"\r\n"
    + FIND,
    "a version of HTTP that does not exist": b"GET /openapi.json HTTP/9.9\r\n\r\n",
    "the second version of HTTP": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a way to another server": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a method with a bracket": b"GE<T /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path of other bytes": b"GET /livez\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path that is long": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a token that is long": HEAD + b"jwtTokenString: " + b"a" * 2_000_000 + b"\r\n\r\n",
    "many headers": HEAD + b"".join(b"X%d: a\r\n" % number for number in range(20_000)) + b"\r\n",
    "a body that never comes": HEAD + b"Expect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n",
}


@pytest.mark.parametrize("name", BYTES)
def test_bytes_that_are_no_single_request(server: Target, name: str) -> None:
    before = server.everything()
    said = server.send(BYTES[name].replace(b"KEY", server.keys["root"].encode()))
    status = said[9:12]
    assert not said or status in (b"400", b"404", b"405", b"413", b"431"), said[:500]
    assert said.count(b"\nx-request-id: ") <= 1, "a second request was found inside the first"
    server.require_no_leak(Answer(int(status or b"400"), {}, said))
    assert server.everything() == before
    assert server.alive()


# --- headers and paths -----------------------------------------------------------------------------------------------

REFUSED = (400, 401, 403, 404, 405, 413, 431)

HEADERS: dict[str, dict[str, str]] = {
    "two names for two keys": {"apiKey": "{red}", "api-key": "{root}"},
    "a key of a NUL": {"apiKey": "\x7f"},
    "a key in a list": {"apiKey": "{red}, {root}"},
    "a key with quotes": {"apiKey": '"{root}"'},
    "a key and something": {"apiKey": "{root}x"},
    "a part of a key": {"apiKey": "dl_"},
    "a key that is an operator": {"apiKey": '{"$ne": null}'},
    "a key of a hash": {"apiKey": "0" * 64},
    "a key as a bearer": {"Authorization": "Bearer {root}"},
    "a key as a password": {"Authorization": "Basic {root}"},
    "a bearer of nothing beside a key": {"Authorization": "Bearer ", "apiKey": "{root}"},
    "a name of the network": {"X-Forwarded-User": "root", "X-Remote-User": "root", "Remote-User": "root"},
    "a cookie": {"Cookie": "apiKey={root}; session={root}"},
    "an address of its own": {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1", "X-Real-IP": "::1"},
    "an email that is an operator": {"email": '{"$gt": ""}', "password": '{"$gt": ""}'},
    "an email in another case": {"email": EMAIL.upper(), "password": PASSWORD},
    "a password in another case": {"email": EMAIL, "password": PASSWORD.upper()},
    "a password and a space": {"email": EMAIL, "password": PASSWORD + "\xa0"},
    "an email without a password": {"email": EMAIL},
    "an email with an empty password": {"email": EMAIL, "password": ""},
    "an email with the hash of a password": {"email": EMAIL, "password": "$argon2id$v=19$m=65536,t=3,p=4$"},
    "a token of a provider that is off": {"jwtTokenString": "eyJhbGciOiJub25lIn0.e30."},
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_let_nobody_in(server: Target, name: str) -> None:
    headers = {header: _with_keys(value, server) for header, value in HEADERS[name].items()}
    answer = server.call("POST", f"{ACTION}/find", FIND, headers)
    server.require_refused(answer, (400, 401))


def _with_keys(text: str, server: Target) -> str:
    for name, key in server.keys.items():
        text = text.replace("{" + name + "}", key)
    return text


PATHS: dict[str, tuple[str, str]] = {
    "two slashes": ("GET", "//api/admin/v1/keys"),
    "two slashes inside": ("GET", "/api/admin//v1/keys"),
    "a dot": ("GET", "/api/./admin/v1/keys"),
    "two dots": ("GET", "/livez/../api/admin/v1/keys"),
    "two dots, written": ("GET", "/livez/%2e%2e/api/admin/v1/keys"),
    "two dots, written twice": ("GET", "/livez/%252e%252e/api/admin/v1/keys"),
    "a slash, written": ("GET", "/api%2fadmin%2fv1%2fkeys"),
    "a backslash": ("GET", "/api\\admin\\v1\\keys"),
    "a semicolon": ("GET", "/api/admin/v1/keys;a=b"),
    "a NUL": ("GET", "/api/admin/v1/keys%00"),
    "another case": ("GET", "/API/Admin/v1/keys"),
    "a slash at the end": ("GET", "/api/admin/v1/keys/"),
    "full-width letters": ("GET", "/api/%EF%BD%81dmin/v1/keys"),
    "bytes that are no text": ("GET", "/api/admin/v1/keys%ff"),
    "overlong slashes": ("GET", "/api%c0%afadmin%c0%afv1/keys"),
    "a key in the query": ("GET", "/api/admin/v1/keys?apiKey={root}&api-key={root}"),
    "another method": ("TRACE", "/api/admin/v1/keys"),
    "a file of the server": ("GET", "/docs/../../../../etc/passwd"),
    "a file of the server, written": ("GET", "/docs/%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd"),
    "the settings file": ("GET", "/doorleaf.toml"),
    "the database file": ("GET", "/data/doorleaf.sqlite3"),
    "the signing secret": ("GET", "/data/token.secret"),
    "another app": ("POST", "/app/other-abcde/endpoint/data/v1/action/find"),
    "another app by a look-alike": ("POST", "/app/shop-abcd%D0%B5/endpoint/data/v1/action/find"),
    "an app with a slash in it": ("POST", "/app/shop-abcde%2f..%2fx/endpoint/data/v1/action/find"),
    "an action in another case": ("POST", "/data/v1/action/FINDONE"),
    "an action with a dollar": ("POST", "/data/v1/action/$where"),
    "an action of Python's": ("POST", "/data/v1/action/__class__"),
    "an action by GET": ("GET", "/data/v1/action/find"),
    "metrics": ("GET", "/metrics"),
    "metrics by HEAD": ("HEAD", "/metrics"),
}


@pytest.mark.parametrize("name", PATHS)
def test_paths_that_lead_nowhere(server: Target, name: str) -> None:
    method, path = PATHS[name]
    for headers in ({}, {"X-Original-URL": "/livez", "X-Rewrite-URL": "/livez", "X-HTTP-Method-Override": "GET"}):
        answer = server.call(method, _with_keys(path, server), b"{}" * (method == "POST"), headers, key="red")
        if method == "HEAD":
            assert (answer.status, answer.body) == (403, b"")
        else:
            server.require_refused(answer, REFUSED)
        assert b"root:" not in answer.body


def test_nobody_but_an_administrator_administers(server: Target) -> None:
    document = server.call("GET", "/openapi.json").json
    methods = {"get", "post", "put", "patch", "delete"}
    routes = [
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method in methods & item.keys()
        if "admin" in path
    ]
    assert len(routes) >= 10
    keys = {f"{ADMIN}/keys", f"{ADMIN}/explain", f"{ADMIN}/users", f"{ADMIN}/sessions"}
    assert keys <= {path for _, path in routes}, routes
    session = server.call("POST", LOGIN.format("anon-user"), b"{}").json
    bearers = {name: {"Authorization": f"Bearer {session[name]}"} for name in ("access_token", "refresh_token")}
    for method, template in routes:
        path = re.sub(r"\{\w+\}", "red", template)
        for key in ("red", "reader", "narrow", "finder", "stranger"):
            server.require_refused(server.call(method, path, b"{}", key=key), (403,), "PermissionDenied")
        server.require_refused(server.call(method, path, b"{}"), (401,))
        server.require_refused(server.call(method, path, b"{}", bearers["access_token"]), (403,))
        server.require_refused(server.call(method, path, b"{}", bearers["refresh_token"]), (401,))
    named = {key["name"] for key in server.call("GET", f"{ADMIN}/keys", key="root").json["keys"]}
    assert named == {name for name in server.keys if name != "root"}


# --- bodies ----------------------------------------------------------------------------------------------------------


def _nested(depth: int, key: str = '{"a":') -> str:
    return key * depth + "1" + ("}" if key[0] == "{" else "]") * depth


def _find(**fields: Any) -> bytes:
    return json.dumps({"database": "shop", "collection": "open", **fields}).encode()


BODIES: dict[str, tuple[bytes, dict[str, str]]] = {
    "more than is allowed": (b" " * 200_001, {}),
    "more than is allowed, compressed": (gzip.compress(b" " * 50_000_000), {"Content-Encoding": "gzip"}),
    "a bomb in a bomb": (gzip.compress(gzip.compress(b" " * 50_000_000)), {"Content-Encoding": "gzip"}),
    "two compressions": (gzip.compress(FIND), {"Content-Encoding": "gzip, gzip"}),
    "another compression": (FIND, {"Content-Encoding": "br"}),
    "half a compression": (gzip.compress(FIND)[:-9], {"Content-Encoding": "gzip"}),
    "deep objects": (_nested(20_000).encode(), {}),
    "deep arrays": (_nested(90_000, "[").encode(), {}),
    "a deep filter": (b'{"database":"shop","collection":"open","filter":' + _nested(5_000).encode() + b"}", {}),
    "a deep document": (b'{"database":"shop","collection":"open","filter":' + _nested(300).encode() + b"}", {}),
    "a deep $and": (
        b'{"database":"shop","collection":"open","filter":'
        + _nested(400, '{"$and":[').encode()[:-400]
        + b"]}" * 400
        + b"}",
        {},
    ),
    "an array": (b"[" + FIND + b"]", {}),
    "a string": (json.dumps(FIND.decode()).encode(), {}),
    "nothing but null": (b"null", {}),
    "two objects": (FIND + FIND, {}),
    "a name twice": (FIND[:-1] + b',"collection":"vault"}', {}),
    "a name twice, written": (FIND[:-1] + b',"\\u0063ollection":"vault"}', {}),
    "another encoding": (FIND.decode().encode("utf-16"), {}),
    "bytes that are no text": (FIND.replace(b"open", b"op\xff\xfe"), {}),
    "half a character": (FIND.replace(b"open", b"\\ud800"), {}),
    "a form": (b"database=shop&collection=open", {"Content-Type": "application/x-www-form-urlencoded"}),
    "XML": (b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', {}),
    "a number that is none": (_find(filter={"a": 1}).replace(b"1}", b"NaN}"), {}),
    "a number that is too large": (_find(filter={"a": 1}).replace(b"1}", b"9" * 400 + b"}"), {}),
    "a wrapper of a large number": (_find(filter={"a": {"$numberLong": "9" * 5000}}), {}),
    "a wrapper of a larger decimal": (_find(filter={"a": {"$numberDecimal": "9" * 5000}}), {}),
    "a wrapper with an operator": (_find(filter={"_id": {"$oid": {"$ne": "x"}}}), {}),
    "a wrapper of other digits": (_find(filter={"_id": {"$oid": "\uff10" * 24}}), {}),
    "a wrapper of code": (_find(filter={"$where": {"$code": "while(1){}"}}), {}),
    "a pointer": (_find(filter={"a": {"$dbPointer": {"$ref": "doorleaf.keys", "$id": 5}}}), {}),
    "a NUL in a name": (_find(filter={"a\0b": 1}), {}),
    "a NUL in a pattern": (_find(filter={"a": {"$regularExpression": {"pattern": "a\0b", "options": ""}}}), {}),
    "options that are none": (_find(filter={"a": {"$regex": "a", "$options": "eval"}}), {}),
    "a pattern that is none": (_find(filter={"a": {"$regex": "(((("}}), {}),
    "a filter that is a string": (_find(filter="true"), {}),
    "a filter of operators alone": (_find(filter={"$ne": 1}), {}),
    "a limit that is an object": (_find(limit={"$gt": 0}), {}),
    "a limit below zero": (_find(limit=-1), {}),
    "a limit of no end": (_find(limit=2**62), {}),
    "a time limit of no end": (_find(maxTimeMS=2**40), {}),
    "a sort that is an operator": (_find(sort={"$where": 1}), {}),
    "a projection that is an array": (_find(projection=["n"]), {}),
    "a comment with JavaScript": (_find(filter={"$and": [{"$where": "1"}]}), {}),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies_that_ask_for_nothing(server: Target, name: str) -> None:
    body, headers = BODIES[name]
    before = server.everything()
    server.require_refused(server.call("POST", f"{ACTION}/find", body, headers, key="root"), (400, 403, 413))
    assert server.everything() == before
    assert server.alive()


NAMES: dict[str, Any] = {
    "an operator": {"$set": {"admin": True}},
    "an operator inside": {"a": {"$where": "1"}},
    "a NUL": {"a\0": 1},
    "a NUL inside": {"a": [{"b\0$set": 1}]},
    "half a character": {"a\ud800": 1},
    "an _id that is an operator": {"_id": {"$gt": ""}},
    "an _id that is an array": {"_id": [1]},
    "an _id that is a pattern": {"_id": {"$regularExpression": {"pattern": "", "options": ""}}},
    "more levels than a document has": json.loads(_nested(250)),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_that_no_field_may_have(server: Target, name: str) -> None:
    before = server.everything()
    body = {"database": "shop", "collection": "open", "document": {"_id": "x", **NAMES[name]}}
    answer = server.act("insertOne", body)
    if answer.status == 201:  # MongoDB stores fields whose names begin with a dollar; they must be data and stay it
        assert "$" in name + json.dumps(NAMES[name])
        assert server.act("find", {**body, "filter": {"admin": True}}).json == {"documents": []}
        assert server.act("deleteOne", {**body, "filter": {"_id": "x"}}).json == {"deletedCount": 1}
    else:
        server.require_refused(answer, (400, 403))
    assert server.everything() == before


@pytest.mark.parametrize(
    "name", ["__proto__", "constructor", "__class__", "_id.x", "a.b", "", " ", "\u202e", "\uff04set"]
)
def test_names_with_a_meaning_elsewhere_are_plain_data(server: Target, name: str) -> None:
    place = {"database": "shop", "collection": "open"}
    before = server.everything()
    answer = server.act("insertOne", {**place, "document": {"_id": "x", name: {"polluted": True}}}, "red")
    assert answer.status == 201, answer.body
    (found,) = server.act("find", {**place, "filter": {"_id": "x"}}, "red").json["documents"]
    assert found == {"_id": "x", name: {"polluted": True}}
    assert server.act("find", {**place, "filter": {"polluted": True}}, "red").json == {"documents": []}
    assert server.act("deleteOne", {**place, "filter": {"_id": "x"}}, "red").json == {"deletedCount": 1}
    assert server.everything() == before


# --- browsers --------------------------------------------------------------------------------------------------------

ORIGINS = [
    "https://evil.example",
    "null",
    "http://shop.example",
    "https://shop.example.evil.example",
    "https://evil-shop.example",
    "https://shop.example:8443",
    "https://SHOP.example",
    "https://shop.example/",
    "https://shop.exampl\xe9",
    "*",
]


@pytest.mark.parametrize("origin", ORIGINS)
def test_pages_of_others_may_not_call(server: Target, origin: str) -> None:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "apiKey"}
    preflight = server.call("OPTIONS", f"{ACTION}/find", b"", asked)
    simple = server.call("POST", f"{ACTION}/find", FIND, {"Origin": origin}, key="root")
    assert preflight.status == 403
    for answer in (preflight, simple):
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert answer.headers["vary"] == "Origin"
    allowed = server.call("OPTIONS", f"{ACTION}/find", b"", {**asked, "Origin": ORIGIN})
    assert (allowed.status, allowed.headers["access-control-allow-origin"]) == (204, ORIGIN)
    assert "access-control-allow-credentials" not in allowed.headers


# --- where requests come from, and how many ---------------------------------------------------------------------------

ADDRESSES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "nobody is on the list": ({"ip_access_list": []}, {}),
    "another address, said by oneself": ({"ip_access_list": ["10.0.0.0/8"]}, {"X-Forwarded-For": "10.0.0.1"}),
    "another header": ({"ip_access_list": ["10.0.0.0/8"]}, {"Forwarded": "for=10.0.0.1", "X-Real-IP": "10.0.0.1"}),
    "a client of the proxy who says more": (
        {"ip_access_list": ["10.0.0.0/8"], "trusted_proxies": ["127.0.0.1"]},
        {"X-Forwarded-For": "10.0.0.1, 6.6.6.6"},
    ),
    "nonsense beside it": (
        {"ip_access_list": ["10.0.0.0/8"], "trusted_proxies": ["127.0.0.1"]},
        {"X-Forwarded-For": "10.0.0.1, unknown"},
    ),
    "a number for an address": (
        {"ip_access_list": ["10.0.0.0/8"], "trusted_proxies": ["127.0.0.1"]},
        {"X-Forwarded-For": "167772161"},
    ),
    "an address with a zone": (
        {"ip_access_list": ["fe80::/10"], "trusted_proxies": ["127.0.0.1"]},
        {"X-Forwarded-For": "6.6.6.6%fe80::1"},
    ),
    "the proxy itself": ({"ip_access_list": ["10.0.0.0/8"], "trusted_proxies": ["127.0.0.1"]}, {}),
}


@pytest.mark.parametrize("name", ADDRESSES)
def test_addresses_that_are_not_on_the_list(tmp_path: Path, name: str) -> None:
    settings, headers = ADDRESSES[name]
    with application(tmp_path, **settings) as app:
        for path in (f"{ACTION}/find", "/nothing", "/openapi.json", LOGIN.format("api-key"), "/docs"):
            answer = app.call("POST", path, FIND, {"apiKey": KEY, **headers})
            assert (answer.status, answer.json["error_code"]) == (403, "AddressNotAllowed"), path
        if "trusted_proxies" in settings and "10.0.0.0/8" in settings["ip_access_list"]:
            through = {"apiKey": KEY, "X-Forwarded-For": "6.6.6.6, 10.0.0.1"}
            assert app.call("POST", f"{ACTION}/listDatabases", b"{}", through).status == 200


def test_no_other_way_to_ask_has_a_rate_of_its_own(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"rate_limits": {"key": "5/hour"}, "cors_origins": ["*"]}
    with application(tmp_path, **settings) as app:
        bearer = app.call("POST", LOGIN.format("api-key"), json.dumps({"key": KEY}).encode()).json["access_token"]
        for _ in range(4):  # the login was one of the five
            assert _asks(app, f"{ACTION}/listDatabases", {"apiKey": KEY}) == 200
        key = {"apiKey": KEY}
        ways: list[tuple[str, dict[str, str]]] = [
            (f"{ACTION}/listDatabases", key),
            (f"{ACTION}/listDatabases", {"api-key": KEY}),
            (f"{ACTION}/listDatabases", {"APIKEY": KEY}),
            (f"{ACTION}/listDatabases", {"apiKey": KEY, "api-key": KEY}),
            (f"{ACTION}/listDatabases", {"Authorization": f"Bearer {bearer}"}),
            (f"{ACTION}/listDatabases", {"Authorization": f"bearer  {bearer}"}),
            (f"{ACTION}/listDatabases", {**key, "X-Forwarded-For": "10.9.8.7"}),
            (f"{ACTION}/listDatabases", {**key, "X-Request-Id": "another"}),
            (f"{ACTION}/listDatabases", {**key, "Origin": "https://other.example"}),
            (f"{ACTION}/listDatabases/", key),
            (f"{ACTION}/find", key),
            ("/action/listDatabases", key),
            ("/data/beta/action/listDatabases", key),
            ("/app/another/endpoint/data/v1/action/listDatabases", key),
            ("/app/%2e%2e/endpoint/data/v1/action/listDatabases", key),
            ("/api/admin/v1/keys", key),
        ]
        for path, headers in ways:
            assert _asks(app, path, headers) == 429, (path, headers)


def _asks(app: Application, path: str, headers: dict[str, str]) -> int:
    status: int = app.call("GET" if "admin" in path else "POST", path, b"{}", headers).status
    return status


def test_there_are_enough_attempts() -> None:
    tables: list[Any] = [BYTES, HEADERS, PATHS, BODIES, NAMES, ORIGINS, ADDRESSES]
    assert sum(len(table) for table in tables) >= 140
