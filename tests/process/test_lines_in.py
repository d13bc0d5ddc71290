"""``insertMany`` with a document a line: put in as they come, told by their lines."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from servers import Answer, Doorleaf, start_doorleaf

PLACE = "?database=d&collection=c"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorleaf]:
    made = start_doorleaf(tmp_path_factory.mktemp("lines") / "data")
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def _empty(server: Doorleaf) -> Iterator[None]:
    yield
    server.act("deleteMany", filter={})


def insert(server: Doorleaf, body: Any, query: str = PLACE, **headers: str) -> Answer:
    given = {"apiKey": server.key, "Content-Type": "application/x-ndjson", **headers}
    return server.call("POST", f"/data/v1/action/insertMany{query}", body, given)


def there(server: Doorleaf) -> list[Any]:
    return [document["_id"] for document in server.ok("find", sort={"_id": 1})["documents"]]


def test_each_line_is_a_document(server: Doorleaf) -> None:
    body = b'{"_id":1,"d":{"$date":"2024-01-01T00:00:00Z"}}\r\n\n  \n{"_id":{"$numberLong":"2"}}'
    answer = insert(server, body)
    assert (answer.status, answer.json) == (201, {"insertedCount": 2})
    canonical = server.act("find", accept="application/ejson", sort={"_id": 1}).json["documents"]
    assert canonical[0]["d"] == {"$date": {"$numberLong": "1704067200000"}}
    assert canonical[1] == {"_id": {"$numberLong": "2"}}
    answer = insert(
        server, gzip.compress(b'{"_id":3}\n'), **{"Content-Encoding": "gzip", "Accept": "application/ejson"}
    )
    assert answer.json == {"insertedCount": {"$numberInt": "1"}}
    assert insert(server, b"").json == {"insertedCount": 0}
    assert there(server) == [1, 2, 3]


def test_an_ordered_body_ends_at_the_first_line_that_does_not_go_in(server: Doorleaf) -> None:
    answer = insert(server, b'{"_id":1}\n{"_id":2}\nnonsense\n{"_id":3}\n')
    assert answer.status == 400
    told = answer.json
    assert told["error"].startswith("line 3: malformed JSON")
    assert (told["insertedCount"], told["rejectedCount"]) == (2, 1)
    assert [entry["line"] for entry in told["writeErrors"]] == [3]
    answer = insert(server, b'{"_id":4}\n{"_id":1}\n{"_id":5}\n')
    assert (answer.status, answer.json["error_code"], answer.json["insertedCount"]) == (409, "DuplicateKey", 1)
    assert there(server) == [1, 2, 4]


def test_an_unordered_body_goes_on(server: Doorleaf) -> None:
    lines = [b'{"_id":%d}' % number for number in range(5_000)]
    lines[10], lines[4_000] = b"[]", b'{"_id":1}'
    answer = insert(server, b"\n".join(lines), f"{PLACE}&ordered=false")
    told = answer.json
    assert answer.status == 400
    assert (told["insertedCount"], told["rejectedCount"]) == (4_998, 2)
    assert [(entry["line"], entry["code"]) for entry in told["writeErrors"]] == [(11, 2), (4_001, 11000)]
    assert server.ok("countDocuments")["count"] == 4_998


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "database"),
        ("?database=d", "collection is required"),
        (f"{PLACE}&filter=1", "filter: expected dataSource, database, collection or ordered"),
        (f"{PLACE}&ordered=maybe", "ordered: expected true or false"),
        (f"{PLACE}&database=e", "the query string has a name twice"),
        ("?database", "the query string is malformed"),
        ("?database=doorleaf&collection=keys", "belongs to the server"),
    ],
)
def test_a_wrong_place_is_an_error(server: Doorleaf, query: str, said: str) -> None:
    answer = insert(server, b'{"_id":1}', query)
    assert answer.status in (400, 403)
    if query:
        assert said in answer.json["error"]
        assert there(server) == []


def test_who_may_not_write_puts_nothing_in(server: Doorleaf) -> None:
    assert insert(server, b'{"_id":1}', apiKey="wrong").status == 401
    assert there(server) == []


def pieces(total: int) -> Iterator[bytes]:
    line = json.dumps({"text": "x" * 1000}).encode() + b"\n"
    for _ in range(total):
        yield line * 100


def test_a_long_body_takes_little_memory(server: Doorleaf) -> None:
    process = psutil.Process(server.pid)
    insert(server, b'{"_id":1}')
    before = process.memory_info().rss
    answer = insert(server, pieces(600))
    assert (answer.status, answer.json) == (201, {"insertedCount": 60_000})
    assert process.memory_info().rss - before < 60 * 1024 * 1024  # and the body has as much


def test_a_line_that_is_too_long_is_refused(server: Doorleaf) -> None:
    answer = insert(server, b'{"_id":1}\n{"a":"' + b"x" * (17 * 1024 * 1024) + b'"}')
    assert (answer.status, answer.json["error_code"]) == (400, "InvalidParameter")
    assert "line 2 is longer than" in answer.json["error"]


def test_a_client_that_leaves_in_the_middle_keeps_what_was_whole(server: Doorleaf) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        head = f"POST /data/v1/action/insertMany{PLACE} HTTP/1.1\r\nHost: x\r\napiKey: {server.key}\r\n"
        client.sendall(f"{head}Content-Type: application/x-ndjson\r\nContent-Length: 9999999\r\n\r\n".encode())
        client.sendall(b"".join(b'{"_id":%d}\n' % number for number in range(4_500)))
        while server.ok("countDocuments")["count"] < 4_000:
            pass
    assert server.ok("countDocuments")["count"] == 4_000
    assert insert(server, b'{"_id":-1}').status == 201
