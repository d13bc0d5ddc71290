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
    ("context.http.patch({ url: 'https://a.example/', body: { a: 'x y', b: 'c&' }, form: true })",
     {"method": "PATCH", "url": "https://a.example/", "headers": {"Content-Type": ["application/x-www-form-urlencoded"]}, "body": {"text": "a=x%20y&b=c%26"}, "follow": False}),
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{ url: 'https://a.example/', digestAuth: true }", "neither digestAuth nor authUrl nor cookies"),
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
