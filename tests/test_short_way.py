"""A request that comes whole has a short way to its answer, which is the one that it gets in two pieces."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asgi import KEY
from servers import until
from serving import Served, serving

from doorleaf.dialects.base import Dialect
from doorleaf.ejson.transcoder import native
from doorleaf.observability import Answered

if native is None:
    pytest.skip("built without a C compiler", allow_module_level=True)

PLACE = {"database": "d", "collection": "c"}
BY_KEY = f"apiKey: {KEY}"


def post(action: str, *fields: str, body: bytes | None = None, key: str = BY_KEY, **members: Any) -> bytes:
    content = json.dumps({**PLACE, **members}).encode() if body is None else body
    told = [f"POST /data/v1/action/{action} HTTP/1.1", "Host: a", f"Content-Length: {len(content)}", *fields]
    return "\r\n".join([*told, *([key] if key else []), "", ""]).encode() + content


BODY = json.dumps({**PLACE, "filter": {}}).encode()
REQUESTS = [
    post("insertOne", document={"_id": 1, "n": {"$numberLong": "7"}, "text": "é" * 20}),
    post("insertOne", document={"_id": 1}),
    post("insertOne", document=None),
    post("insertMany", documents=[{"_id": number, "text": "x" * 600} for number in range(2, 9)]),
    post("insertMany", "Content-Type: application/x-ndjson", body=b'{"_id": 20}\n'),
    post("findOne", filter={"_id": 1}),
    post("findOne", "Accept: application/ejson", filter={"_id": 1}),
    post("findOne", filter={"_id": "none"}),
    post("find", filter={}),
    post("find", "Accept-Encoding: gzip", filter={}, limit=100),
    post("find", "Accept: application/x-ndjson", filter={}),
    post("aggregate", pipeline=[{"$group": {"_id": None, "n": {"$sum": 1}}}]),
    post("aggregate", pipeline=[{"$nothing": 1}]),
    post("updateOne", filter={"_id": 1}, update={"$set": {"n": 8}}),
    post("updateOne", filter={"_id": 50}, update={"$set": {"n": 8}}, upsert=True),
    post("updateOne", filter={"_id": 1}, update={"n": 1, "$set": {"n": 8}}),
    post("findOne", filter={"$where": "1"}),
    post("findOne", filter=7),
    post("findOne", filter={"_id": 1}, maxTimeMS=10_000_000),
    post("findOne", body=b"{"),
    post("findOne", body=b"[]"),
    post("findOne", body=b"{}"),
    post("findOne", "X-Request-Id: my-own.id", filter={}),
    post("findOne", 'X-Request-Id: not "one"', filter={}),
    post("findOne", key="", filter={}),
    post("findOne", key="apiKey: wrong", filter={}),
    post("findOne", key="Authorization: Bearer wrong", filter={}),
    post("findOne", f"api-key: {KEY}x", filter={}),
    post("findOne", BY_KEY, filter={}),
    post("findOne", "Accept: application/json", "Accept: application/ejson", filter={"_id": 1}),
    post("findOne", "Content-Encoding: gzip", body=gzip.compress(BODY, mtime=0)),
    post("findOne", "Content-Encoding: gzip", body=BODY),
    post("insertOne", document={"_id": 60, "text": "x" * 9000}),
    post("findOne", filter={"_id": 60}),
    post("nothing"),
    post("runCommand", command={"ping": 1}),
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("short"), Dialect("none", ()), max_body_bytes=12_000) as running:
        yield running


def answer(connection: socket.socket) -> tuple[int, list[tuple[str, str]], bytes]:
    reply = http.client.HTTPResponse(connection)
    reply.begin()
    body = reply.read()
    own = {"date", "x-request-id"}
    listed = [(name.lower(), value) for name, value in reply.getheaders() if name.lower() not in own]
    given = reply.headers["x-request-id"]
    return reply.status, [*listed, ("id", given if given == "my-own.id" else str(len(given)))], body


def answers(served: Served, *, whole: bool) -> list[Any]:
    """What each request is answered and told of, all on one connection."""
    told: list[Answered] = []
    served.endpoint._observers += (told.append,)
    found: list[Any] = []
    with socket.create_connection(("127.0.0.1", served.port), 20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(post("deleteMany", filter={}))
        assert answer(connection)[0] == 200
        for request in REQUESTS:
            if whole:
                connection.sendall(request)
            else:
                connection.sendall(request[:20])
                time.sleep(0.01)
                connection.sendall(request[20:])
            found.append(answer(connection))
    until(lambda: len(told) > len(REQUESTS) and not served.endpoint.in_flight)
    served.endpoint._observers = served.endpoint._observers[:-1]
    del told[0]
    for each in told:
        assert 0 < each.seconds < 20
        each.seconds = 0
    return list(zip(found, told, strict=True))


def test_the_answers_of_both_ways_are_the_same(served: Served) -> None:
    assert b"/data/v1/action/findOne" in served.endpoint._short
    short, general = answers(served, whole=True), answers(served, whole=False)
    for request, one, other in zip(REQUESTS, short, general, strict=True):
        assert one == other, request
    statuses = {status for (status, *_), _ in short}
    assert statuses == {200, 201, 400, 401, 403, 404, 409}


@pytest.mark.parametrize(
    "settings",
    [
        {"cors_origins": ["https://a.example"]},
        {"ip_access_list": ["127.0.0.1"]},
        {"trusted_proxies": ["127.0.0.1"]},
        {"rate_limits": {"key": "20/second"}},
        {"max_concurrent_requests": 5},
        {"audit_collection_days": 1},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_where_more_is_asked_there_is_no_short_way(settings: dict[str, Any], tmp_path: Path) -> None:
    with serving(tmp_path, Dialect("none", ()), **settings) as served:
        assert not served.endpoint._short
