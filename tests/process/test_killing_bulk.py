"""``kill -9`` in the middle of bulk writes of a workspace, again and again: each is there as a whole, or not at all."""

from __future__ import annotations

import http.client
import json
import os
import random
import threading
from collections import Counter
from pathlib import Path

import pytest
from servers import Doorleaf, start_doorleaf

KILLS = int(os.environ.get("DOORLEAF_KILLS", "3"))
KILLS_EACH = 5
"""After so many other writers write into another collection: what is compared stays small."""

WRITERS = 4
PARTS = 40
KEY = "bulk_" + "k" * 40
PLACE = "/v1/mongo/bulk/collections"


class Writer:
    """One writer: which bulk writes it has begun, and which were acknowledged."""

    def __init__(self, number: int, place: str) -> None:
        self.number = number
        self.place = place
        self.begun = 0
        self.acknowledged: set[int] = set()

    def write(self, server: Doorleaf, headers: dict[str, str], acknowledged: threading.Event) -> None:
        """Write until the server is gone."""
        connection = server.connection()
        try:
            while True:
                bulk, self.begun = self.begun, self.begun + 1
                document = {"writer": self.number, "bulk": bulk, "text": "x" * 300}
                operations: list[object] = [{"insertOne": {"document": document}} for _ in range(PARTS)]
                counter = {"filter": {"_id": f"counter {self.number}"}, "update": {"$inc": {"n": 1}}, "upsert": True}
                operations.insert(PARTS // 2, {"updateOne": counter})
                answer = server.call("POST", f"{self.place}/bulk", {"operations": operations}, headers, on=connection)
                assert answer.status == 200, answer.body
                self.acknowledged.add(bulk)
                acknowledged.set()
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            return  # the server was killed
        finally:
            connection.close()


def prepared(server: Doorleaf) -> dict[str, str]:
    """What callers of a new workspace show."""
    admin = {"apiKey": server.key}
    for path, body in (("tenants", {"name": "Acme", "id": "acme"}), ("workspaces", {"tenant": "acme", "id": "bulk"})):
        assert server.call("POST", f"/api/admin/v1/{path}", body, admin).status == 201
    scopes = {"name": "writer", "scopes": ["mongo:read", "mongo:write"]}
    return {"apiKey": server.call("POST", "/api/admin/v1/workspaces/bulk/keys", scopes, admin).json["key"]}


def compare(server: Doorleaf, headers: dict[str, str], writers: list[Writer]) -> None:
    group = {"$group": {"_id": {"writer": "$writer", "bulk": "$bulk"}, "parts": {"$sum": 1}}}
    for writer in writers:
        one = {"$match": {"writer": writer.number}}
        answer = server.call("POST", f"{writer.place}/aggregate", {"pipeline": [one, group, {"$limit": 1000}]}, headers)
        found = Counter({each["_id"]["bulk"]: each["parts"] for each in answer.json["data"]})
        assert set(found.values()) <= {PARTS}, "a part of a bulk write is there"
        assert writer.acknowledged <= found.keys(), "an acknowledged bulk write is lost"
        assert found.keys() <= set(range(writer.begun))
        counter = server.call("GET", f"{writer.place}/documents/counter%20{writer.number}", None, headers)
        assert (counter.json["data"]["n"] if counter.status == 200 else 0) == len(found)


@pytest.mark.timeout(120 + 60 * KILLS)
def test_a_bulk_write_is_there_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    everyone: list[Writer] = []
    server = start_doorleaf(tmp_path, key=KEY)
    try:
        headers = prepared(server)
        for kill in range(KILLS):
            if kill % KILLS_EACH == 0:
                everyone += [Writer(number, f"{PLACE}/things{kill}") for number in range(WRITERS)]
            writers = everyone[-WRITERS:]
            acknowledged = threading.Event()
            threads = [
                threading.Thread(target=writer.write, args=(server, headers, acknowledged)) for writer in writers
            ]
            for thread in threads:
                thread.start()
            assert acknowledged.wait(60)
            threading.Event().wait(random.uniform(0, 0.15))  # anywhere in the writes
            server.kill()
            for thread in threads:
                thread.join(60)
                assert not thread.is_alive()
            server = start_doorleaf(tmp_path, key=KEY)
            compare(server, headers, writers)
        compare(server, headers, everyone)
        assert sum(len(writer.acknowledged) for writer in everyone) >= KILLS
    finally:
        server.kill()
