"""What a server holds does not grow with the requests that it has answered."""

from __future__ import annotations

import json
import platform
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from servers import Doorleaf, start_doorleaf, until

from doorleaf.ejson.transcoder import native

REQUESTS = 1_500
COMMAND = """
import gc, psutil, doorleaf.http.endpoint as e
kept = []
plain = e.Endpoint.__call__

async def noting(self, scope, receive, send):
    if scope.get("path") == "/collect":
        found = b"%d" % gc.collect()
        headers = [(b"content-length", b"%d" % len(found))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": found})
        return
    if scope.get("path") == "/hoard":
        blocks = [b"x" * 100_000 for _ in range(600)]
        kept.append(b"y" * 100_000)
        found = b"%d" % psutil.Process().memory_info().rss
        del blocks
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": found})
        return
    await plain(self, scope, receive, send)

e.Endpoint.__call__ = noting
from doorleaf.cli.main import main
main()
"""
"""A server that can be asked how many objects there are which only each other hold, and to take 60 MB for a moment."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorleaf]:
    folder: Path = tmp_path_factory.mktemp("memory") / "data"
    running = start_doorleaf(folder, command=[sys.executable, "-c", COMMAND])
    yield running
    running.stop()


def ask(server: Doorleaf, count: int, action: str, **fields: object) -> None:
    """The same request ``count`` times on one connection, twenty at once."""
    body = json.dumps({"database": "d", "collection": "c", **fields}).encode()
    head = f"POST /action/{action} HTTP/1.1\r\nHost: x\r\napiKey: {server.key}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        answers = connection.makefile("rb")
        for _ in range(count // 20):
            connection.sendall((head.encode() + body) * 20)
            for _ in range(20):
                assert answers.readline() in (b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 400 Bad Request\r\n")
                length = 0
                while (line := answers.readline()) != b"\r\n":
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                assert len(answers.read(length)) == length


def test_an_answered_request_leaves_nothing_that_only_a_collection_finds(server: Doorleaf) -> None:
    ask(server, 200, "findOne", filter={"_id": 1})
    server.call("GET", "/collect")
    ask(server, 400, "findOne", filter={"_id": 1})
    assert int(server.call("GET", "/collect").body) < 200


def test_connections_leave_nothing_that_only_a_collection_finds(server: Doorleaf) -> None:
    def come_and_go(count: int) -> None:
        for _ in range(count):
            ask(server, 20, "findOne", filter={"_id": 1})

    come_and_go(5)
    server.call("GET", "/collect")
    come_and_go(40)
    assert int(server.call("GET", "/collect").body) < 200


def test_clients_who_leave_before_their_answer_leave_nothing_either(server: Doorleaf) -> None:
    server.ok("insertMany", documents=[{"text": "x" * 50} for _ in range(3_000)], collection="many")
    body = json.dumps({"database": "d", "collection": "many", "filter": {"text": {"$regex": "y+z$"}}}).encode()
    head = f"POST /action/find HTTP/1.1\r\nHost: x\r\napiKey: {server.key}\r\nContent-Length: {len(body)}\r\n\r\n"

    key = {"apiKey": server.key}

    def leave(count: int) -> bool:
        for _ in range(count):
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
                connection.sendall(head.encode() + body)
                time.sleep(0.005)
        until(lambda: b"\ndoorleaf_requests_in_flight 1.0\n" in server.call("GET", "/metrics", headers=key).body)
        return False

    leave(5)
    server.call("GET", "/collect")
    left = server.output().count("ClientGone")
    until(lambda: leave(20) or server.output().count("ClientGone") >= left + 40)
    assert int(server.call("GET", "/collect").body) < 500


def test_free_memory_is_given_back_when_nobody_asks_for_anything(server: Doorleaf) -> None:
    if native is None or platform.libc_ver()[0] != "glibc":
        pytest.skip("takes the native part, and the library of GNU")
    process = psutil.Process(server.pid)
    most = int(server.call("GET", "/hoard").body)
    ask(server, 400, "findOne", filter={"_id": 1})
    until(lambda: process.memory_info().rss < most - 50_000_000)


def test_memory_is_flat(server: Doorleaf) -> None:
    process = psutil.Process(server.pid)
    server.ok("insertMany", documents=[{"_id": n, "text": "x" * 200} for n in range(50)])

    def load() -> int:
        ask(server, REQUESTS, "find", filter={})
        ask(server, REQUESTS, "findOne", filter={"_id": {"$no": 1}})  # refused
        used: int = process.memory_info().rss
        return used

    load()
    before = load()
    assert load() - before < 3_000_000
