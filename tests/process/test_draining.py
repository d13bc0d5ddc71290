"""SIGTERM: what was accepted is finished, answered and durable; nothing new is accepted; then it ends with 0."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from servers import Answer, Doorleaf, doorleaf, until, works

BOUND = 30.0
"""Seconds after which a server that was told to end has ended."""

BUSY = {"$size": {"$map": {"input": {"$range": [0, 1500]}, "in": {"$map": {"input": {"$range": [0, 600]}, "in": 1}}}}}
"""An expression that takes a good part of a second."""


def refuses(port: int) -> bool:
    """Whether nobody takes connections."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return False
    except OSError:
        return True


class Writing:
    """A slow write that goes on in a thread."""

    def __init__(self, server: Doorleaf, action: str, fields: dict[str, Any]) -> None:
        self.answer: Answer | None = None

        def run() -> None:
            self.answer = server.act(action, **fields)

        self.thread = threading.Thread(target=run)
        self.thread.start()


@pytest.mark.parametrize("args", [(), ("--workers", "2")])
def test_accepted_writes_are_finished(tmp_path: Path, args: tuple[str, ...]) -> None:
    with doorleaf(tmp_path / "data", *args) as server:
        server.ok("insertMany", documents=[{"_id": number, "n": 1} for number in range(10)])
        server.ok("findOne")
        idle = server.connection()
        assert server.call("GET", "/livez", on=idle).status == 200
        half = socket.create_connection(("127.0.0.1", server.port), timeout=BOUND)
        body = json.dumps({"database": "d", "collection": "c", "document": {"_id": "half"}}).encode()
        head = (
            f"POST /action/insertOne HTTP/1.1\r\nHost: x\r\napiKey: {server.key}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        half.sendall(head.encode() + body[:10])
        slow = Writing(server, "updateMany", {"filter": {"n": 1}, "update": [{"$set": {"size": BUSY}}]})
        more = [Writing(server, "insertOne", {"document": {"_id": f"more {number}"}}) for number in range(5)]
        until(lambda: works(server))
        time.sleep(0.3)  # for the others to be accepted
        server.process.terminate()
        half.sendall(body[10:])
        until(lambda: refuses(server.port))
        assert slow.thread.is_alive(), "this was while a write was going on"
        for writing in (slow, *more):
            writing.thread.join(BOUND)
            assert writing.answer is not None
        assert slow.answer is not None
        assert (slow.answer.status, slow.answer.json) == (200, {"matchedCount": 10, "modifiedCount": 10})
        assert [writing.answer.status for writing in more if writing.answer] == [201] * 5
        received = b""
        while came := half.recv(10_000):
            received += came
        assert received.startswith(b"HTTP/1.1 201 ")
        assert received.endswith(b'{"insertedId":"half"}')
        with pytest.raises((http.client.HTTPException, OSError)):
            server.call("GET", "/livez", on=idle)
        assert server.process.wait(BOUND) == 0
        half.close()
        idle.close()
        assert "Traceback" not in server.output()
    assert not list((tmp_path / "data").glob("*-wal"))
    with doorleaf(tmp_path / "data") as again:
        assert again.ok("countDocuments", filter={"size": 1500}) == {"count": 10}
        assert again.ok("countDocuments", filter={"_id": {"$type": "string"}}) == {"count": 6}


def test_accepted_writes_reach_the_mongodb(tmp_path: Path, mongodb_uri: str) -> None:
    place = {"database": "drained", "collection": "things"}
    with doorleaf(tmp_path / "data", "--uri", mongodb_uri) as server:
        server.ok("dropCollection", **place)
        documents = [{"_id": number, "text": "t" * 200} for number in range(20_000)]
        slow = Writing(server, "insertMany", {"documents": documents, **place})
        time.sleep(0.4)
        server.process.terminate()
        slow.thread.join(BOUND)
        assert server.process.wait(BOUND) == 0
    assert slow.answer is not None
    assert slow.answer.status == 201
    assert len(slow.answer.json["insertedIds"]) == 20_000
    assert "Traceback" not in server.output()
    with doorleaf(tmp_path / "data", "--uri", mongodb_uri) as again:
        assert again.ok("countDocuments", **place) == {"count": 20_000}
        again.ok("dropCollection", **place)


def test_who_does_not_let_go_does_not_keep_it_alive(tmp_path: Path) -> None:
    """Idle connections and half a head do not hold the end up."""
    with doorleaf(tmp_path / "data") as server:
        held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
        for connection in held[:10]:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        held[10].sendall(b"GET /livez HT")
        time.sleep(0.2)
        started = time.monotonic()
        server.process.terminate()
        assert server.process.wait(BOUND) == 0
        assert time.monotonic() - started < 20, "not the grace"
        for connection in held:
            connection.close()
