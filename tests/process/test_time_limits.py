"""No request freezes the process: what takes too long ends with 504 at its limit, and others are answered meanwhile."""

from __future__ import annotations

import json
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from servers import Answer, Doorleaf, start_doorleaf

LIMIT_MS = 700
FAR_TOO_LONG = 20.0
"""Seconds; on a busy machine a limit is kept less exactly, but kept."""

EVIL = {"s": {"$regex": "(a+)+$"}}
CROSS = [{"$lookup": {"from": "many", "pipeline": [], "as": "x"}}, {"$unwind": "$x"}, {"$count": "n"}]
INNER = {"$sum": {"$map": {"input": {"$range": [0, 9000]}, "in": 1}}}
NESTED = {"$map": {"input": {"$range": [0, 9000]}, "in": INNER}}

SLOW: list[tuple[str, dict[str, Any]]] = [
    ("findOne", {"filter": EVIL}),
    ("find", {"filter": {"$or": [{"s": {"$regex": "(a|aa)+$"}}] * 50}}),
    ("find", {"filter": {"s": {"$regex": "(?:a{0,1000}){0,1000}$"}}, "collection": "few"}),
    ("find", {"filter": {}, "projection": {"m": {"$size": NESTED}}}),
    ("countDocuments", {"filter": EVIL}),
    ("distinct", {"key": "n", "filter": {"s": {"$not": {"$regex": "(a+)+$"}}}}),
    ("aggregate", {"pipeline": CROSS}),
    ("aggregate", {"pipeline": [{"$group": {"_id": "$n", "m": {"$push": {"$size": NESTED}}}}]}),
    ("updateMany", {"filter": EVIL, "update": {"$set": {"touched": True}}}),
    ("updateMany", {"filter": {}, "update": [{"$set": {"touched": {"$size": NESTED}}}]}),
    ("findOneAndDelete", {"filter": EVIL}),
    ("deleteMany", {"filter": EVIL}),
    ("bulkWrite", {"operations": [{"deleteMany": {"filter": EVIL}}]}),
    ("runCommand", {"command": {"count": "many", "query": EVIL}}),
    ("runCommand", {"command": {"explain": {"find": "many", "filter": EVIL}, "verbosity": "executionStats"}}),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorleaf]:
    running = start_doorleaf(tmp_path_factory.mktemp("slow") / "data")
    documents = [{"_id": number, "n": number, "s": "a" * 60 + "!"} for number in range(4000)]
    running.ok("insertMany", collection="many", documents=documents)
    running.ok("insertMany", collection="few", documents=documents[:3])
    running.ok("insertOne", collection="other", document={"_id": 1})
    yield running
    assert running.stop() == 0
    output = running.output()
    assert "Traceback" not in output
    assert "(a+)+" not in output


class Running:
    """An action that goes on in a thread."""

    def __init__(self, server: Doorleaf, action: str, fields: dict[str, Any]) -> None:
        self.answer: Answer | None = None
        self.seconds = 0.0

        def run() -> None:
            started = time.monotonic()
            self.answer = server.act(action, maxTimeMS=LIMIT_MS, **{"collection": "many", **fields})
            self.seconds = time.monotonic() - started

        self.thread = threading.Thread(target=run)
        self.thread.start()


@pytest.mark.parametrize(("action", "fields"), SLOW)
def test_it_ends_at_its_limit_while_others_are_answered(server: Doorleaf, action: str, fields: dict[str, Any]) -> None:
    running = Running(server, action, fields)
    waited: list[float] = []
    connection = server.connection()
    while running.thread.is_alive():
        started = time.monotonic()
        assert server.call("GET", "/livez", on=connection).status == 200
        found = server.act("findOne", collection="other", on=connection)
        assert found.json == {"document": {"_id": 1}}
        waited.append(time.monotonic() - started)
        time.sleep(0.02)
    connection.close()
    answer = running.answer
    assert answer is not None
    assert (answer.status, answer.json["error_code"]) == (504, "ExecutionTimeLimitExceeded")
    assert LIMIT_MS / 1000 * 0.5 < running.seconds < FAR_TOO_LONG
    assert len(waited) >= 5
    assert statistics.median(waited) < 0.5
    assert max(waited) < 3
    untouched = {"$and": [{"touched": {"$exists": False}}]}
    assert server.ok("countDocuments", collection="many", filter=untouched) == {"count": 4000}


def test_many_slow_ones_at_once_do_not_stop_writes_and_reads(server: Doorleaf) -> None:
    """More of them than there are threads for reading; what waits in vain ends at its limit too."""
    slow = [Running(server, "aggregate", {"pipeline": CROSS}) for _ in range(12)]
    time.sleep(0.1)
    waited = []
    number = 0
    while any(item.thread.is_alive() for item in slow):
        started = time.monotonic()
        assert server.act("findOne", collection="other").status == 200
        assert server.act("insertOne", collection="written", document={"_id": number}).status == 201
        waited.append(time.monotonic() - started)
        number += 1
    for item in slow:
        assert item.answer is not None
        assert item.answer.status == 504
        assert item.seconds < FAR_TOO_LONG
    assert number >= 3
    assert statistics.median(waited) < 1
    for more in range(number, number + 20):  # none of the threads is left in the past
        server.ok("insertOne", collection="written", document={"_id": more})
        found = server.ok("aggregate", collection="written", pipeline=[{"$count": "n"}])
        assert found == {"documents": [{"n": more + 1}]}
    assert server.ok("dropCollection", collection="written") == {"ok": 1}


def test_who_leaves_does_not_leave_a_query_running(server: Doorleaf) -> None:
    process = psutil.Process(server.pid)
    body = {"database": "d", "collection": "many", "pipeline": CROSS, "maxTimeMS": LIMIT_MS}
    content = json.dumps(body).encode()
    head = (
        f"POST /action/aggregate HTTP/1.1\r\nHost: x\r\napiKey: {server.key}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(head.encode() + content)
            time.sleep(0.1)
    until = time.monotonic() + FAR_TOO_LONG
    busy = 1.0
    while busy > 0.3 and time.monotonic() < until:
        before = process.cpu_times()
        time.sleep(0.5)
        after = process.cpu_times()
        busy = (after.user + after.system - before.user - before.system) / 0.5
    assert busy <= 0.3, "the queries of clients that left are still running"


def test_the_limit_is_kept_by_a_mongodb_too(tmp_path: Path, mongodb_uri: str) -> None:
    server = start_doorleaf(tmp_path / "data", "--uri", mongodb_uri)
    place = {"database": "slow", "collection": "many"}
    try:
        server.ok("dropCollection", **place)
        server.ok("insertMany", documents=[{"_id": number} for number in range(1500)], **place)
        enormous = [*CROSS[:2], {"$lookup": {"from": "many", "pipeline": [], "as": "y"}}, {"$unwind": "$y"}]
        started = time.monotonic()
        answer = server.act("aggregate", pipeline=[*enormous, {"$count": "n"}], maxTimeMS=LIMIT_MS, **place)
        assert (answer.status, answer.json["error_code"]) == (504, "ExecutionTimeLimitExceeded")
        assert time.monotonic() - started < FAR_TOO_LONG
        assert server.act("findOne", **place).status == 200
        assert server.act("findOne", maxTimeMS=300_001, **place).status == 400
    finally:
        server.ok("dropCollection", **place)
        assert server.stop() == 0
