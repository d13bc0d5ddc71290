#!/usr/bin/env python3
"""What a page of a workspace's documents costs at the first row and at the millionth, over the embedded database.

    python bench/pages.py [--rows 1000000]

The pages are asked for by cursor, in turns, of one server. ``read`` is how many documents the database looks at for a
page of 20, ``cpu`` the server's processor time of a request.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from processes import Server, Servers, need
from workspaces import asked

from doorleaf.dialects.workspaces.cursors import following
from doorleaf.operations import CreateIndex, InsertMany, Namespace, RunCommand
from doorleaf.stores.embedded.store import EmbeddedStore

PLACE = Namespace("bench", "people")
OWN = {"_tenantId": "bench", "_workspaceId": "bench"}
SORTS = {"_id": {"_id": 1}, "number": {"number": 1, "_id": 1}, "-pair": {"pair": -1, "_id": 1}}
"""By what is asked for, what it means; there are indexes on ``number`` and ``pair``."""
LIMIT, STEP, ROUNDS, TIMES = 20, 1000, 5, 300
PATIENCE = 300_000


def document(number: int) -> dict[str, Any]:
    return {"_id": number, "number": number * 3, "pair": number // 2, "name": "Zoë Hansen-Okafor", "text": "x" * 100}


async def filled(folder: Path, rows: int) -> dict[str, list[int]]:
    """Fill a data folder; what is read for the first page and for the last, by sort."""
    store = EmbeddedStore(folder, synchronous="OFF")
    await store.open()
    try:
        for keys in ({"number": 1}, {"pair": 1}):
            await store.execute(CreateIndex(namespace=PLACE, keys=keys, options={}, max_time_ms=PATIENCE))
        for start in range(0, rows, 5000):
            some = [{**document(number), **OWN} for number in range(start, min(start + 5000, rows))]
            await store.execute(InsertMany(namespace=PLACE, documents=some, max_time_ms=PATIENCE))
        return {name: [await examined(store, sort, end) for end in (0, rows)] for name, sort in SORTS.items()}
    finally:
        await store.close()


async def examined(store: EmbeddedStore, sort: dict[str, int], rows: int) -> int:
    """How many documents are looked at for the first page, or for the one that ends ``rows``."""
    filters: list[dict[str, Any]] = [{}]
    if rows:
        number = rows - LIMIT - 3 if next(iter(sort.values())) > 0 else LIMIT + 2
        filters = [*following(sort, [document(number)[path] for path in sort])]
    found = read = 0
    for filter in filters:
        find = {"find": "people", "filter": {**OWN, **filter}, "sort": sort, "limit": LIMIT + 1 - found}
        command = {"explain": find, "verbosity": "executionStats"}
        told = await store.execute(RunCommand(namespace=Namespace("bench"), command=command))
        stats = told.result["executionStats"]
        found, read = found + stats["nReturned"], read + stats["totalDocsExamined"]
        if found > LIMIT:
            break
    return read


class Reader:
    """Reads pages as somebody with a key of the workspace, over one connection."""

    def __init__(self, server: Server) -> None:
        asked(server, "/api/admin/v1/tenants", {"name": "bench", "id": "bench"})
        asked(server, "/api/admin/v1/workspaces", {"tenant": "bench", "id": "bench"})
        made = asked(server, "/api/admin/v1/workspaces/bench/keys", {"name": "k", "scopes": ["mongo:read"]})
        self._headers = {"apiKey": made["key"]}
        place = urlsplit(server.url)
        self._connection = http.client.HTTPConnection(place.hostname or "", place.port)

    def page(self, **query: Any) -> bytes:
        """The answer to a query."""
        path = f"/v1/mongo/bench/collections/people/documents?{urlencode({**query, 'count': 'none'})}"
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        reply = answer.read()
        if answer.status != 200:
            sys.exit(f"bench: {answer.status} {reply.decode()}")
        return reply

    def behind(self, **query: Any) -> str:
        """The cursor behind a page."""
        reply = self.page(**query)
        found: str = json.loads(reply[reply.rindex(b'"pagination":') + 13 : -1])["nextCursor"]
        return found

    def cursors(self, sort: str, rows: int) -> dict[int, str]:
        """Those of the first page, of one in the middle and of the last one that is whole, by the first row of each."""
        found, last = {1: ""}, ""
        for row in range(0, rows - STEP, STEP):
            last = self.behind(sort=sort, limit=STEP, cursor=last)
            if row + STEP == rows // 2 // STEP * STEP:
                found[row + STEP + 1] = last
        return {**found, rows - LIMIT - 1: self.behind(sort=sort, limit=STEP - LIMIT - 2, cursor=last)}


def measure(server: Server, reader: Reader, rows: int, read: dict[str, list[int]]) -> None:
    for name in SORTS:
        cursors = reader.cursors(name, rows)
        times: dict[int, list[float]] = {}
        for _ in range(ROUNDS):
            for row, cursor in cursors.items():
                began = server.cpu_seconds()
                for _ in range(TIMES):
                    reader.page(sort=name, limit=LIMIT, cursor=cursor)
                times.setdefault(row, []).append((server.cpu_seconds() - began) / TIMES * 1e6)
        ends = {1: read[name][0], rows - LIMIT - 1: read[name][1]}
        base = statistics.median(times[1])
        for row, found in times.items():
            cpu = statistics.median(found)
            told = f"read {ends[row]:3}" if row in ends else " " * 8
            print(f"sort={name:7} row {row:9,}  {told}  cpu {cpu:6.0f} us  x {cpu / base:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    given = parser.parse_args()
    need("taskset")
    with tempfile.TemporaryDirectory(prefix="doorleaf-bench-") as folder:
        read = asyncio.run(filled(Path(folder) / "doorleaf-data", given.rows))
        servers = Servers(Path(folder), "0", "1")
        try:
            server = servers.doorleaf()
            measure(server, Reader(server), given.rows, read)
        finally:
            servers.stop()


if __name__ == "__main__":
    main()
