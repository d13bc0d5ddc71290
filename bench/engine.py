#!/usr/bin/env python3
"""What the embedded engine does a second, in process: scans, groups and changes, without HTTP.

    python bench/engine.py [--documents 100000] [--rounds 3]

The best and the worst round are shown, with what is to be reached.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from doorleaf.operations import Aggregate, CountDocuments, InsertMany, Namespace, UpdateOne
from doorleaf.stores.embedded.store import EmbeddedStore

C = Namespace("bench", "items")
GROUPS = 1_000
CHANGES = 5_000
PATIENCE = 600_000


async def filled(store: EmbeddedStore, size: int) -> None:
    for start in range(0, size, 5_000):
        documents = [
            {
                "_id": number,
                "group": number % GROUPS,
                "price": number * 0.25,
                "name": f"item {number}",
                "home": {"town": "Trondheim", "code": "7010"},
                "labels": ["early", "newsletter", 12],
                "note": "a note that is as long as notes are",
            }
            for number in range(start, min(start + 5_000, size))
        ]
        await store.execute(InsertMany(namespace=C, documents=documents, max_time_ms=PATIENCE))


async def seconds(work: Callable[[], Awaitable[Any]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def measure(size: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddedStore(Path(folder), synchronous="NORMAL")
        await store.open()
        try:
            await filled(store, size)

            async def scan() -> None:
                found = await store.execute(
                    CountDocuments(namespace=C, filter={"price": {"$lt": 0}}, max_time_ms=PATIENCE)
                )
                assert found.count == 0

            async def group() -> None:
                stage = {"$group": {"_id": "$group", "sum": {"$sum": "$price"}, "count": {"$sum": 1}}}
                operation = Aggregate(namespace=C, pipeline=[stage], cap=2 * GROUPS, max_time_ms=PATIENCE)
                found = await store.execute(operation)
                assert len(found.documents) == min(GROUPS, size)

            async def change() -> None:
                for number in range(CHANGES):
                    operation = UpdateOne(namespace=C, filter={"_id": number % size}, update={"$inc": {"price": 1}})
                    assert (await store.execute(operation)).matched_count == 1

            scans = [size / await seconds(scan) for _ in range(rounds)]
            groups = [await seconds(group) for _ in range(rounds)]
            changes = [CHANGES / await seconds(change) for _ in range(rounds)]
        finally:
            await store.close()
    print(f"scan without an index      {max(scans):9.0f} documents/s  (worst {min(scans):.0f}; wanted 300000)")
    print(f"$group into {GROUPS}           {min(groups):9.2f} s            (worst {max(groups):.2f}; wanted 0.4)")
    print(f"updateOne by _id, no fsync {max(changes):9.0f} /s           (worst {min(changes):.0f}; wanted 5000)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    asyncio.run(measure(options.documents, options.rounds))
