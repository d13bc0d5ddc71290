"""``kill -9`` of the processes that read, again and again: reads begin anew or say so, and writes notice nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random

import bson
import psutil
import pytest
from opened import C, Run, fill
from test_workers import processes, until

from doorleaf.documents import Document
from doorleaf.errors import StoreUnavailable
from doorleaf.operations import Aggregate, CountDocuments, FindOne, InsertOne, UpdateOne
from doorleaf.stores.embedded.store import EmbeddedStore

KILLS = int(os.environ.get("DOORLEAF_KILLS", "10"))


@pytest.mark.timeout(300 + 10 * KILLS)
def test_killing_the_processes_that_read_takes_no_write_along(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": "counter", "n": 0})
        tried, written, read, ended, over = 0, 0, 0, 0, False
        counting: list[Document] = [
            {"$match": {"$expr": {"$gt": [{"$size": {"$range": [0, 50]}}, 1]}}},
            {"$count": "n"},
        ]

        async def write(writer: int) -> None:
            nonlocal tried, written
            number = 0
            while not over:
                tried += 1
                await store.execute(InsertOne(namespace=C, document={"_id": f"{writer} {number}", "text": "x" * 200}))
                await store.execute(UpdateOne(namespace=C, filter={"_id": "counter"}, update={"$inc": {"n": 1}}))
                written, number = written + 1, number + 1
                await asyncio.sleep(0.002)

        async def count() -> None:
            nonlocal read, ended
            while not over:
                before = written
                try:
                    found = (await store.execute(Aggregate(namespace=C, pipeline=counting))).documents.decode()
                except StoreUnavailable:
                    ended += 1  # it was killed, and so was the one that began anew
                    continue
                read += 1
                assert before < found[0]["n"] <= tried + 1

        tasks = [asyncio.create_task(work) for work in (*map(write, range(8)), count(), count(), count())]
        killed = 0
        while killed < KILLS:
            await asyncio.sleep(random.uniform(0.02, 0.1))
            for process in processes():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
                    killed += 1
        await until(lambda: read > 0)  # the kills may have left time for none
        over = True
        await asyncio.gather(*tasks)
        assert tried == written
        assert (await store.execute(CountDocuments(namespace=C, filter={}))).count == written + 1
        counter = (await store.execute(FindOne(namespace=C, filter={"_id": "counter"}))).document
        assert isinstance(counter, bytes)
        assert bson.decode(counter)["n"] == written
        print(f"{killed} killed, {written} documents written, {read} reads answered, {ended} ended")

    run(scenario)
