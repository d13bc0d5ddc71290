"""Answers with a document on each line, over real connections: whole, cut, left, compressed and large."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import socket
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from machine import NICE, can_be_nicer
from servers import PATIENCE, Doorleaf, doorleaf

LINES = "application/x-ndjson"
MANY = 51_000
"""More than any other answer may have."""

FEWER = 6_000

TEXT = "x" * 40


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorleaf]:
    with doorleaf(tmp_path_factory.mktemp("lines") / "data") as running:
        fill(running)
        yield running


@pytest.fixture(scope="module")
def over_mongo(tmp_path_factory: pytest.TempPathFactory, mongodb_uri: str) -> Iterator[Doorleaf]:
    with doorleaf(tmp_path_factory.mktemp("lines_mongo") / "data", "--uri", mongodb_uri) as running:
        fill(running, FEWER)
        yield running
        running.ok("dropCollection", collection="many")


def fill(server: Doorleaf, count: int = MANY) -> None:
    for start in range(0, count, count // 3):
        documents = [{"_id": number, "n": number % 7, "t": TEXT} for number in range(start, start + count // 3)]
        server.ok("insertMany", collection="many", documents=documents)


def lines(body: bytes) -> list[Any]:
    assert not body or body.endswith(b"\n")
    return [json.loads(line) for line in body.splitlines()]


def test_every_document_is_a_line_beyond_every_cap(server: Doorleaf) -> None:
    answer = server.act("find", accept=LINES, collection="many", sort={"_id": 1})
    assert (answer.status, answer.headers["content-type"]) == (200, LINES)
    assert "content-length" not in answer.headers
    assert lines(answer.body) == [{"_id": number, "n": number % 7, "t": TEXT} for number in range(MANY)]
    pipeline: list[dict[str, Any]] = [{"$match": {"n": {"$gte": 0}}}]
    refused = server.act("aggregate", collection="many", pipeline=pipeline)
    assert refused.status == 400
    assert "more than 50000 documents" in refused.json["error"]
    answer = server.act("aggregate", accept=LINES, collection="many", pipeline=pipeline)
    assert answer.status == 200
    assert sorted(item["_id"] for item in lines(answer.body)) == list(range(MANY))


def test_a_mongodb_is_read_on_as_well(over_mongo: Doorleaf) -> None:
    whole = [{"_id": number, "n": number % 7, "t": TEXT} for number in range(FEWER)]
    answer = over_mongo.act("find", accept=LINES, collection="many", sort={"_id": 1})
    assert (answer.status, answer.headers["content-type"]) == (200, LINES)
    assert lines(answer.body) == whole
    pipeline: list[dict[str, Any]] = [{"$sort": {"_id": -1}}]
    answer = over_mongo.act("aggregate", accept=LINES, collection="many", pipeline=pipeline)
    assert lines(answer.body) == whole[::-1]
    refused = over_mongo.act("find", accept=LINES, collection="many", filter={"n": {"$nothing": 1}})
    assert (refused.status, refused.headers["content-type"]) == (400, "application/json")
    assert streams(over_mongo) == 0


def test_a_find_asks_for_what_it_wants(server: Doorleaf) -> None:
    fields: dict[str, Any] = {"collection": "many", "filter": {"n": 3}, "projection": {"_id": 1}, "sort": {"_id": -1}}
    found = lines(server.act("find", accept=LINES, **fields, skip=1, limit=51_000).body)
    assert [item["_id"] for item in found] == [number for number in range(MANY - 1, -1, -1) if number % 7 == 3][1:]
    assert server.act("find", accept=LINES, collection="many", filter={"n": 9}).body == b""
    assert lines(server.act("find", accept=LINES, collection="many", limit=2, sort={"_id": 1}).body)[1]["_id"] == 1


@pytest.mark.parametrize(
    ("accept", "content_type", "written"),
    [
        (LINES, LINES, {"_id": "65f0000000000000000000aa", "n": 5, "d": "2024-01-01T00:00:00.000Z"}),
        (f"{LINES}; mode=plain", LINES, {"_id": "65f0000000000000000000aa", "n": 5, "d": "2024-01-01T00:00:00.000Z"}),
        (
            f"application/json;q=0.5, {LINES};mode=relaxed",
            f"{LINES}; mode=relaxed",
            {"_id": {"$oid": "65f0000000000000000000aa"}, "n": 5, "d": {"$date": "2024-01-01T00:00:00Z"}},
        ),
        (
            f"{LINES}; mode=canonical",
            f"{LINES}; mode=canonical",
            {
                "_id": {"$oid": "65f0000000000000000000aa"},
                "n": {"$numberInt": "5"},
                "d": {"$date": {"$numberLong": "1704067200000"}},
            },
        ),
    ],
)
def test_the_mode_is_the_callers(server: Doorleaf, accept: str, content_type: str, written: Any) -> None:
    document = {"_id": {"$oid": "65f0000000000000000000aa"}, "n": 5, "d": {"$date": "2024-01-01T00:00:00Z"}}
    server.act("deleteMany", collection="typed", filter={})
    server.ok("insertOne", collection="typed", document=document)
    queries: list[tuple[str, dict[str, Any]]] = [("find", {}), ("aggregate", {"pipeline": []})]
    for action, fields in queries:
        answer = server.act(action, accept=accept, collection="typed", **fields)
        assert answer.headers["content-type"] == content_type
        assert lines(answer.body) == [written]


@pytest.mark.parametrize("accept", [f"{LINES};q=0.5, application/json", f"{LINES}; mode=nonsense", f"{LINES};q=0"])
def test_who_prefers_something_else_gets_that(server: Doorleaf, accept: str) -> None:
    answer = server.act("find", accept=accept, collection="many", limit=1)
    assert answer.headers["content-type"] == "application/json"
    assert len(answer.json["documents"]) == 1


def test_what_is_wrong_at_once_is_an_error_like_any_other(server: Doorleaf) -> None:
    wrong: list[dict[str, Any]] = [{"filter": {"n": {"$nothing": 1}}}, {"maxTimeMS": 10**9}, {"limit": -1}]
    for fields in wrong:
        answer = server.act("find", accept=LINES, collection="many", **fields)
        assert (answer.status, answer.headers["content-type"]) == (400, "application/json")
        assert answer.json["error_code"]
    refused = server.call("POST", "/action/find", {"database": "d", "collection": "many"}, {"Accept": LINES})
    assert refused.status == 401


FAILS = [{"$sort": {"_id": 1}}, {"$project": {"q": {"$divide": [1, {"$subtract": [MANY - 1, "$_id"]}]}}}]


def received(server: Doorleaf, fields: dict[str, Any], *more: str, version: str = "1.1") -> tuple[str, bytes]:
    """The head of the answer and the bytes behind it, up to where the server closes."""
    body = json.dumps({"database": "d", "collection": "many", **fields})
    head = [
        f"POST /action/aggregate HTTP/{version}",
        "Host: x",
        f"apiKey: {server.key}",
        f"Accept: {LINES}",
        f"Content-Length: {len(body)}",
        *more,
    ]
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall("\r\n".join([*head, "", body]).encode())
        whole = b""
        while came := connection.recv(1 << 16):
            whole += came
    text, _, rest = whole.partition(b"\r\n\r\n")
    return text.decode(), rest


def unchunked(body: bytes) -> tuple[bytes, bool]:
    """What chunks have in them, and whether the last of them came."""
    found = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return found, True
        found, body = found + body[:length], body[length + 2 :]
    return found, False


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_an_error_in_the_middle_is_the_last_line_of_a_body_that_is_cut(server: Doorleaf, encoding: str) -> None:
    head, body = received(server, {"pipeline": FAILS}, f"Accept-Encoding: {encoding}")
    assert head.startswith("HTTP/1.1 200")
    content, whole = unchunked(body)
    assert not whole
    found = lines(zlib.decompressobj(wbits=31).decompress(content) if encoding == "gzip" else content)
    assert len(found) > MANY // 2
    assert [item["_id"] for item in found[:-1]] == list(range(len(found) - 1))
    assert set(found[-1]) == {"error", "error_code"}
    with pytest.raises(http.client.IncompleteRead):
        server.act("aggregate", accept=LINES, collection="many", pipeline=FAILS)
    assert f"aggregate 200 {found[-1]['error_code']} " in server.output()  # the log tells how it ended


def test_a_client_without_chunks_reads_to_the_end_of_the_connection(server: Doorleaf) -> None:
    head, body = received(server, {"pipeline": [{"$sort": {"_id": 1}}]}, "Connection: keep-alive", version="1.0")
    assert head.startswith("HTTP/1.1 200")
    assert "transfer-encoding" not in head.lower()
    assert "content-length" not in head.lower()
    assert [item["_id"] for item in lines(body)] == list(range(MANY))


def test_a_compressed_answer_is_the_same(server: Doorleaf) -> None:
    body = json.dumps({"database": "d", "collection": "many", "sort": {"_id": 1}})
    headers = {"apiKey": server.key, "Accept": LINES, "Accept-Encoding": "gzip"}
    answer = server.call("POST", "/action/find", body, headers)
    assert answer.headers["content-encoding"] == "gzip"
    plain = server.act("find", accept=LINES, collection="many", sort={"_id": 1}).body
    assert gzip.decompress(answer.body) == plain
    assert len(answer.body) < len(plain) / 5


def test_a_connection_is_used_again(server: Doorleaf) -> None:
    connection = server.connection()
    for limit in (3, 30_000, 1):
        answer = server.act("find", accept=LINES, collection="many", limit=limit, on=connection)
        assert len(lines(answer.body)) == limit
    connection.close()


def streams(server: Doorleaf) -> int:
    """How many streams are open."""
    text = server.call("GET", "/metrics", headers={"apiKey": server.key}).body.decode()
    return int(float(next(line for line in text.splitlines() if line.startswith("doorleaf_streams_open")).split()[-1]))


def memory(server: Doorleaf) -> int:
    """The most memory that the server's own process ever had, in bytes."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell a process's peak")
def test_memory_does_not_grow_with_the_answer(server: Doorleaf) -> None:
    """Five times as many documents take hardly more: 90 MB, more than another answer may have, in small pieces."""
    pipeline: list[dict[str, Any]] = [{"$set": {"p": "y" * 300}}]
    assert server.act("aggregate", accept=LINES, collection="many", pipeline=pipeline).body.count(b"\n") == MANY
    before = memory(server)
    pipeline = [{"$set": {"more": {"$range": [0, 5]}, "p": "y" * 300}}, {"$unwind": "$more"}]
    answer = server.act("aggregate", accept=LINES, collection="many", pipeline=pipeline)
    assert answer.body.count(b"\n") == 5 * MANY
    assert len(answer.body) > 90_000_000
    assert memory(server) - before < 20_000_000


def reading(server: Doorleaf) -> list[psutil.Process]:
    """The workers that read for a stream."""
    found = []
    for child in psutil.Process(server.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.nice() > NICE and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
    return found


@can_be_nicer
def test_the_first_line_comes_before_the_last_document_is_read(server: Doorleaf) -> None:
    """And who leaves then ends what reads on."""
    body = json.dumps({"database": "d", "collection": "many"})
    head = (
        f"POST /action/find HTTP/1.1\r\nHost: x\r\napiKey: {server.key}\r\nAccept: {LINES}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    connection.settimeout(PATIENCE)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall((head + body).encode())
    came = b""
    while came.count(b"\n") < 20:
        came += connection.recv(4096)
    assert came.startswith(b"HTTP/1.1 200")
    # What nobody has taken is not read: the stream goes on, and has a place among the streams.
    assert streams(server) == 1
    connection.close()
    until = time.monotonic() + PATIENCE
    while streams(server) and time.monotonic() < until:
        time.sleep(0.02)
    if streams(server):
        pytest.fail("a stream that nobody reads goes on")
    while reading(server) and time.monotonic() < until:
        time.sleep(0.02)
    assert not reading(server)
