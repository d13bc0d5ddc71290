"""``kill -9`` under sixteen writers, again and again: what was acknowledged is there, and nothing else is."""

from __future__ import annotations

import http.client
import json
import os
import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from servers import Doorleaf, free_port, run_doorleaf, start_doorleaf, until

WRITERS = 16
WRITING_SECONDS = 0.7
KILLS = int(os.environ.get("DOORLEAF_KILLS", "5"))
"""How often the server over the embedded database is killed."""

MANY = 15_000
"""Documents after which an empty collection takes over."""

KEY = "killed_" + "k" * 40
PLACE = {"database": "kill", "collection": "things"}


@dataclass
class Memory:
    """What one writer has tried and what was acknowledged."""

    number: int
    tried: dict[str, str] = field(default_factory=dict)  # _id → u
    acknowledged: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    counted: int = 0
    counting: int = 0
    surprises: list[str] = field(default_factory=list)


def write(server: Doorleaf, memory: Memory, round_number: int, stop: threading.Event) -> None:
    """Insert and count until the server is gone. Two neighbours fight for every value of the unique field ``u``."""
    connection = server.connection()
    try:
        for number in range(100_000):
            if stop.is_set():
                return
            name = f"{round_number}-{memory.number}-{number}"
            unique = f"{round_number}-{memory.number // 2}-{number}"
            memory.tried[name] = unique
            document = {"_id": name, "u": unique, "text": name * 20}
            answer = server.act("insertOne", document=document, on=connection, **PLACE)
            if answer.status == 201:
                memory.acknowledged.add(name)
            elif answer.status == 409:
                memory.refused.add(name)
            else:
                memory.surprises.append(f"{answer.status} {answer.body!r}")
            memory.counting += 1
            update = {"$inc": {"n": 1}, "$setOnInsert": {"u": f"counter {memory.number}"}}
            fields = {"filter": {"_id": f"counter {memory.number}"}, "update": update, "upsert": True}
            answer = server.act("updateOne", on=connection, **fields, **PLACE)
            if answer.status == 200:
                memory.counted += 1
            else:
                memory.surprises.append(f"{answer.status} {answer.body!r}")
    except (OSError, http.client.HTTPException, json.JSONDecodeError):
        return  # the server was killed
    finally:
        connection.close()


def written_until_killed(server: Doorleaf, memories: list[Memory], round_number: int) -> None:
    stop = threading.Event()
    threads = [threading.Thread(target=write, args=(server, memory, round_number, stop)) for memory in memories]
    before = sum(len(memory.acknowledged) for memory in memories)
    for thread in threads:
        thread.start()
    until(lambda: sum(len(memory.acknowledged) for memory in memories) > before)
    time.sleep(WRITING_SECONDS + random.uniform(0, 0.2))
    server.kill()
    stop.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def pages(server: Doorleaf) -> dict[Any, dict[str, Any]]:
    """Everything in the collection."""
    found = server.ok("find", limit=50_000, **PLACE)["documents"]
    by_id = {document["_id"]: document for document in found}
    assert len(by_id) == len(found)
    assert server.ok("countDocuments", **PLACE) == {"count": len(found)}
    return by_id


def compare(server: Doorleaf, memories: list[Memory]) -> None:
    """What is stored against what the writers remember."""
    stored = pages(server)
    tried = {name: unique for memory in memories for name, unique in memory.tried.items()}
    acknowledged = {name for memory in memories for name in memory.acknowledged}
    refused = {name for memory in memories for name in memory.refused}
    counters = {f"counter {memory.number}": memory for memory in memories}
    assert acknowledged - stored.keys() == set(), "nothing acknowledged is lost"
    assert stored.keys() - tried.keys() - counters.keys() == set(), "nothing is invented"
    assert refused & stored.keys() == set(), "nothing refused is stored"
    for name, document in stored.items():
        if name in counters:
            memory = counters[name]
            assert memory.counted <= document["n"] <= memory.counting, "an acknowledged count is there, once"
        else:
            assert document == {"_id": name, "u": tried[name], "text": name * 20}
    uniques = [document["u"] for document in stored.values()]
    assert len(set(uniques)) == len(uniques), "the unique index let nothing through"
    indexed = server.ok("find", hint="u_1", sort={"u": 1}, projection={"u": 1}, limit=50_000, **PLACE)["documents"]
    assert [document["u"] for document in indexed] == sorted(uniques), "the index has every document, and no other"
    for memory in memories:
        assert memory.surprises == []


def still_unique(server: Doorleaf) -> None:
    some = server.ok("findOne", **PLACE)["document"]
    again = server.act("insertOne", document={"_id": "again", "u": some["u"]}, **PLACE)
    assert (again.status, again.json["error_code"]) == (409, "DuplicateKey")


def kill_in_a_loop(folder: Path, rounds: list[list[str]]) -> None:
    memories = [Memory(number) for number in range(WRITERS)]
    server = start_doorleaf(folder, *rounds[0], key=KEY)
    try:
        begin(server)
        for round_number in range(len(rounds)):
            written_until_killed(server, memories, round_number)
            server = start_doorleaf(folder, *rounds[(round_number + 1) % len(rounds)], key=KEY)
            assert server.call("GET", "/readyz").status == 200, "it opens again at once"
            compare(server, memories)
            still_unique(server)
            settle(server, memories)
            if sum(len(memory.tried) for memory in memories) > MANY:
                begin(server)
                memories = [Memory(number) for number in range(WRITERS)]
        assert server.stop() == 0
        assert "Traceback" not in server.output()
    finally:
        server.kill()


def begin(server: Doorleaf) -> None:
    """An empty collection."""
    server.ok("dropCollection", **PLACE)
    server.ok("createIndex", keys={"u": 1}, options={"unique": True}, **PLACE)


def settle(server: Doorleaf, memories: list[Memory]) -> None:
    """Remember which of the writes under way at the kill have happened."""
    stored = pages(server)
    for memory in memories:
        memory.acknowledged = {name for name in memory.tried if name in stored}
        memory.refused = set(memory.tried) - memory.acknowledged
        counter = stored.get(f"counter {memory.number}")
        memory.counted = memory.counting = counter["n"] if counter else 0


@pytest.mark.timeout(120 + 60 * KILLS)
def test_the_embedded_database(tmp_path: Path) -> None:
    options: list[list[str]] = [[], [], ["--workers", "2"], ["--workers", "2"], []]
    kill_in_a_loop(tmp_path / "data", [options[number % len(options)] for number in range(KILLS)])
    (tmp_path / "doorleaf.toml").write_text(f"port = {free_port()}\n")
    done = run_doorleaf(tmp_path, "check", "--data-dir", "data")
    assert done.returncode == 0, done.stderr


def test_a_mongodb(tmp_path: Path, mongodb_uri: str) -> None:
    kill_in_a_loop(tmp_path / "data", [["--uri", mongodb_uri]] * 3)
