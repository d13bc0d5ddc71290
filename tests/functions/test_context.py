# ruff: noqa: E501  # a call is a line
"""What functions in JavaScript ask for by ``context.http`` and by cursors, and what they are given."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from sandboxed import Recorder, Sandbox, run

from doorleaf.errors import FunctionFailed

ANSWER = {"status": "200 OK", "statusCode": 200, "headers": {"X-A": ["1", "2"]}, "body": {"text": "hé"}}
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    *(
        (f"context.http.{method}({{ url: 'https://a.example/x?a=1', headers: {{ 'X-Y': ['1', '2'] }} }})",
         {"method": method.upper(), "url": "https://a.example/x?a=1", "headers": {"X-Y": ["1", "2"]}, "follow": False})
        for method in ("get", "post", "put", "patch", "delete", "head")
    ),
    ("context.http.get('https://a.example/')", {"method": "GET", "url": "https://a.example/", "headers": {}, "follow": False}),
    ("context.http.get({ scheme: 'http', host: 'a.example', path: '/p', query: { a: ['1', '2'], b: 'x y' }, followRedirects: true })",
     {"method": "GET", "url": "http://a.example/p?a=1&a=2&b=x%20y", "headers": {}, "follow": True}),
    ("context.http.get({ url: 'https://a.example/?a=1', params: { b: 'ü&' } })",
     {"method": "GET", "url": "https://a.example/?a=1&b=%C3%BC%26", "headers": {}, "follow": False}),
    ("context.http.post({ url: 'https://a.example/', body: { a: 'é' }, encodeBodyAsJSON: true })",
     {"method": "POST", "url": "https://a.example/", "headers": {"Content-Type": ["application/json"]}, "body": {"text": '{"a":"é"}'}, "follow": False}),
    ("context.http.put({ url: 'https://a.example/', body: { a: 'x y' }, encodeBodyAsJSON: true, headers: { 'Content-Type': ['application/vnd.x+json'] } })",
     {"method": "PUT", "url": "https://a.example/", "headers": {"Content-Type": ["application/vnd.x+json"]}, "body": {"text": '{"a":"x y"}'}, "follow": False}),
    ("context.http.patch({ url: 'https://a.example/', form: { a: 'x y', b: ['c&', 2] } })",
     {"method": "PATCH", "url": "https://a.example/", "headers": {"Content-Type": ["application/x-www-form-urlencoded"]}, "body": {"text": "a=x%20y&b=c%26&b=2"}, "follow": False}),
    ("context.http.get({ host: 'a.example', path: '/p', query: { a: 1 }, fragment: 'f', username: 'u:', password: 'p', digestAuth: false, authUrl: '', cookies: { a: '1', b: 'x=y' }, headers: { cookie: ['z=0'] } })",
     {"method": "GET", "url": "https://a.example/p?a=1", "headers": {"cookie": ["z=0; a=1; b=x=y"], "Authorization": ["Basic dTo6cA=="]}, "follow": False}),
    ("context.http.get({ url: 'https://u%40x:p%C3%A9@a.example/x@y', cookies: 'c=1' })",
     {"method": "GET", "url": "https://a.example/x@y", "headers": {"Cookie": ["c=1"], "Authorization": ["Basic dUB4OnDDqQ=="]}, "follow": False}),
    ("context.http.get({ url: 'https://a.example/#x?y', query: { a: 1 }, username: 'u', password: 'p', headers: { authorization: 'own' } })",
     {"method": "GET", "url": "https://a.example/?a=1", "headers": {"authorization": ["own"]}, "follow": False}),
    ("context.http.get({ url: 'https://a.example/', username: 'u', password: 'p', digestAuth: true })",
     {"method": "GET", "url": "https://a.example/", "headers": {}, "follow": False, "digest": ["u", "p"]}),
    ("fetch('https://a.example/', { method: 'post', body: new URLSearchParams({ a: 'b c' }), headers: [['X-A', 1], ['Accept-Encoding', 'gzip']] })",
     {"method": "POST", "url": "https://a.example/", "headers": {"X-A": ["1"], "Content-Type": ["application/x-www-form-urlencoded;charset=UTF-8"]}, "body": {"text": "a=b+c"}, "follow": True}),
    ("fetch('https://a.example/', { method: 'PUT', body: 'x', headers: { 'content-type': 'a/b' } })",
     {"method": "PUT", "url": "https://a.example/", "headers": {"content-type": ["a/b"]}, "body": {"text": "x"}, "follow": True}),
    ("context.http.post({ url: 'https://a.example/', body: 'as it is' })",
     {"method": "POST", "url": "https://a.example/", "headers": {}, "body": {"text": "as it is"}, "follow": False}),
    ("context.http.post({ url: 'https://a.example/', body: new BSON.Binary(new Uint8Array([255, 0])) })",
     {"method": "POST", "url": "https://a.example/", "headers": {}, "body": {"base64": "/wA="}, "follow": False}),
]  # fmt: skip


def test_requests_to_other_servers_and_their_answers() -> None:
    functions = {f"f{index}": f"exports = () => {text}" for index, (text, _) in enumerate(REQUESTS)}
    functions["told"] = """exports = async () => {
      const got = await context.http.get('https://a.example/');
      return [got.status, got.statusCode, got.headers['X-A'], got.body instanceof BSON.Binary, got.body.text(), got.contentLength, got.cookies];
    }"""

    async def work(sandbox: Sandbox) -> None:
        for index, (text, expected) in enumerate(REQUESTS):
            server = Recorder(orjson.dumps({"value": ANSWER}))
            await sandbox.run(f"f{index}", server=server)
            assert server.requests == [{"to": "http", **expected}], text
        told = await sandbox.run("told", server=Recorder(orjson.dumps({"value": ANSWER})))
        assert told == ["200 OK", 200, ["1", "2"], True, "hé", 3, {}]
        empty = Recorder(orjson.dumps({"value": {**ANSWER, "body": None}}))
        with pytest.raises(FunctionFailed, match="reading 'text'"):  # nothing came, which is no body
            await sandbox.run("told", server=empty)

    run(functions, work)


def test_what_fetch_answers() -> None:
    source = """exports = async () => {
      const got = await fetch('https://a.example/', null), { headers } = got, told = [];
      headers.forEach((value, name, of) => told.push([name, value, of === headers]));
      return [got.status, got.statusText, got.ok, got.url, got.type, told, [...headers].length, [...headers.keys()], headers.get('X-A'), headers.has('none'), headers.getSetCookie(),
        await got.text(), (await got.bytes()).length, (await got.clone().arrayBuffer()).byteLength];
    }"""
    answer = {**ANSWER, "headers": {"X-A": ["1", "2"], "Set-Cookie": ["a=1", "b=2"]}}
    server = Recorder(orjson.dumps({"value": answer}))
    assert run({"f": source}, lambda sandbox: sandbox.run("f", server=server)) == [
        200, "OK", True, "https://a.example/", "basic", [["set-cookie", "a=1", True], ["set-cookie", "b=2", True], ["x-a", "1, 2", True]],
        3, ["set-cookie", "set-cookie", "x-a"], "1, 2", False, ["a=1", "b=2"], "hé", 3, 3,
    ]  # fmt: skip


def test_a_form_in_parts_has_its_boundary() -> None:
    source = "exports = () => context.http.post({ url: 'https://a.example/', form: { 'a\"': 'x', b: ['1', '2'] }, headers: { 'content-type': ['multipart/form-data'] } })"
    server = Recorder(orjson.dumps({"value": ANSWER}))
    run({"f": source}, lambda sandbox: sandbox.run("f", server=server))
    [asked] = server.requests
    kind, _, boundary = asked["headers"]["content-type"][0].partition("; boundary=")
    head = "Content-Disposition: form-data; name="
    fields = [f'{head}"a%22"\r\n\r\nx', f'{head}"b"\r\n\r\n1', f'{head}"b"\r\n\r\n2']
    assert (kind, asked["body"]["text"].split(f"--{boundary}")) == (
        "multipart/form-data",
        ["", *(f"\r\n{one}\r\n" for one in fields), "--\r\n"],
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{ url: 'https://a.example/', authUrl: 'https://b.example/' }", "the option authUrl is not available"),
        ("{ url: 'https://a.example/', auth: { username: 'u' } }", "the option auth is not available"),
        ("{ url: 'https://a.example/', digestAuth: true }", "digestAuth: expected a username and a password"),
        ("{ url: 'https://a.example/', form: true, body: { a: 1 } }", "form: expected an object"),
        ("{ url: 'https://a.example/', cookies: { a: '1; b=2' } }", "cookies: a has characters"),
        ("{ path: '/x' }", "expected a url or a host"),
        ("{ url: 'https://a.example/', body: { a: 1 } }", "body: expected text or Binary"),
    ],
)
def test_requests_that_cannot_be_made_are_refused(text: str, message: str) -> None:
    server = Recorder()

    async def work(sandbox: Sandbox) -> None:
        with pytest.raises(FunctionFailed, match=message):
            await sandbox.run("f", server=server)

    run({"f": f"exports = () => context.http.post({text})"}, work)
    assert server.requests == []


def test_cursors() -> None:
    """A query is sent once, when the first document is wanted; what is chosen later than that is an error."""
    source = """exports = async () => {
      const things = () => context.services.get('mongodb-atlas').db('d').collection('c').find({ a: 1 }, { b: 1 });
      const cursor = things().sort('b', -1).skip(1).limit(5);
      const told = [await cursor.hasNext(), await cursor.next(), await cursor.toArray(), await cursor.hasNext(), await cursor.next()];
      try { cursor.limit(1) } catch (error) { told.push(error.message) }
      const seen = [];
      for await (const one of things()) seen.push(one);
      await things().forEach((one) => seen.push(one));
      return [...told, seen, await things().map((one) => one.n), await things().count()];
    }"""
    documents = [{"n": 1}, {"n": 2}]
    server = Recorder(orjson.dumps({"value": documents}))
    found = run({"f": source}, lambda sandbox: sandbox.run("f", server=server))
    rest = [documents * 2, [1, 2], 2]
    assert found == [True, {"n": 1}, [{"n": 2}], False, None, "limit comes before the first document is read", *rest]
    assert [asked["action"] for asked in server.requests] == ["find"] * 5
    fields = {"filter": {"a": 1}, "projection": {"b": 1}, "sort": {"b": -1}, "skip": 1, "limit": 5}
    assert server.requests[0]["fields"] == fields
