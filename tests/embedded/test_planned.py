"""Writes that take long: computed beside those of others, put in shortly, ended like everything else."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import apsw
import psutil
import pytest
from opened import C, Run, command, fill, find, run_in
from test_workers import EVIL, processes, until

from doorleaf.documents import Document
from doorleaf.errors import DataError, DuplicateKey, StoreTimeout, StoreUnavailable, WriteFailed, WriteOutcomeUnknown
from doorleaf.mql.context import Context
from doorleaf.operations import (
    Aggregate,
    BulkWrite,
    CreateCollection,
    CreateIndex,
    DeleteMany,
    FindOne,
    FindOneAndDelete,
    FindOneAndUpdate,
    InsertMany,
    InsertOne,
    UpdateMany,
    UpdateOne,
)
from doorleaf.stores.embedded.file.storage import FILE
from doorleaf.stores.embedded.store import EmbeddedStore
from doorleaf.stores.embedded.writing import slices
from doorleaf.stores.embedded.writing.planned import Writing

MATCHING = {"n": {"$mod": [2, 0]}}
"""A filter that is not small."""

ODD = {"n": {"$mod": [2, 1]}}

KILLS = int(os.environ.get("DOORLEAF_KILLS", "20"))

GROWN: list[Document] = [{"$set": {"n": {"$add": ["$n", 1]}}}]


def test_every_kind_is_carried_out_as_ever(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": number, "n": number} for number in range(6)))
        await store.execute(CreateIndex(namespace=C, keys={"n": 1}))
        answer = await store.execute(UpdateMany(namespace=C, filter=MATCHING, update=GROWN))
        assert (answer.matched_count, answer.modified_count) == (3, 3)
        assert [item["n"] for item in await find(store)] == [1, 1, 3, 3, 5, 5]
        assert len(await find(store, {"n": 5})) == 2  # by the index
        before = await store.execute(
            FindOneAndUpdate(namespace=C, filter={"_id": 0}, update=GROWN, return_new_document=False)
        )
        assert before.document is not None
        assert (await find(store, {"_id": 0}))[0]["n"] == 2
        taken = await store.execute(FindOneAndDelete(namespace=C, filter=MATCHING, sort={"_id": 1}))
        assert taken.document is not None
        assert (await store.execute(DeleteMany(namespace=C, filter={"n": {"$mod": [5, 0]}}))).deleted_count == 2
        assert [item["_id"] for item in await find(store)] == [1, 2, 3]
        none = {"n": {"$mod": [1000, 999]}}
        put = await store.execute(UpdateOne(namespace=C, filter=none, update={"$set": {"_id": 9}}, upsert=True))
        assert put.upserted_id == 9
        with pytest.raises(DuplicateKey):
            await store.execute(UpdateOne(namespace=C, filter=none, update={"$set": {"_id": 9}}, upsert=True))
        many = [{"_id": number, "n": number, "t": "x" * 20} for number in range(100, 9000)]
        assert len((await store.execute(InsertMany(namespace=C, documents=many))).inserted_ids) == 8900
        with pytest.raises(WriteFailed) as raised:
            await store.execute(InsertMany(namespace=C, documents=[*many, {"_id": 9001}], ordered=False))
        assert raised.value.fields["insertedCount"] == 1
        assert len(await find(store, {"_id": {"$gte": 9}}, limit=9999)) == 8902
        await store.execute(Aggregate(namespace=C, pipeline=[{"$match": MATCHING}, {"$out": "other"}]))
        parts: list[Any] = [UpdateMany(namespace=C, filter={"n": {"$mod": [2, 1]}}, update=GROWN)]
        bulk = await store.execute(BulkWrite(namespace=C, operations=parts))
        assert bulk.modified_count == 4450 + 3
        assert store.workers().started > 0

    run(scenario)


@pytest.mark.parametrize(
    "operation",
    [
        UpdateMany(namespace=C, filter=EVIL, update={"$set": {"x": 1}}),
        UpdateOne(namespace=C, filter={}, update=[{"$set": {"x": EVIL["$expr"]}}]),
        FindOneAndUpdate(namespace=C, filter={"_id": 1}, update=[{"$set": {"x": EVIL["$expr"]}}]),
        DeleteMany(namespace=C, filter=EVIL),
        BulkWrite(namespace=C, operations=[DeleteMany(namespace=C, filter=EVIL)]),
        CreateCollection(namespace=C, options={"validator": {"$expr": {"$eq": [1, EVIL["$expr"]]}}}),
        Aggregate(namespace=C, pipeline=[{"$match": EVIL}, {"$out": "other"}]),
    ],
    ids=lambda operation: operation.name,
)
def test_one_that_never_ends_is_ended_and_changes_nothing(run: Run, operation: Any) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1, "a": 1})
        operation.max_time_ms = 500
        evil = asyncio.create_task(store.execute(operation))
        await asyncio.sleep(0)
        slowest, written = 0.0, 0
        while not evil.done():
            began = time.monotonic()
            await store.execute(InsertOne(namespace=C, document={"_id": f"other {written}"}))
            slowest, written = max(slowest, time.monotonic() - began), written + 1
        with pytest.raises((StoreTimeout, DataError)) as raised:
            await evil
        assert "time limit" in str(raised.value) or operation.name == "createCollection"
        assert len(await find(store)) == written + 1
        assert (await find(store, {"_id": 1})) == [{"_id": 1, "a": 1}]
        assert slowest < 0.4

    run(scenario)


def test_what_changes_meanwhile_is_computed_anew(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1, "n": 0}, {"_id": 2, "n": 0})

        async def grow(update: Any, times: int) -> None:
            for _ in range(times):
                await store.execute(UpdateOne(namespace=C, filter={"_id": 1}, update=update))

        await asyncio.gather(*(grow(GROWN, 15) for _ in range(4)), *(grow({"$inc": {"n": 1}}, 60) for _ in range(2)))
        assert (await find(store, {"_id": 1}))[0]["n"] == 4 * 15 + 2 * 60

    run(scenario)


def test_a_write_that_waits_answers_at_its_deadline(tmp_path: Path) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        other = apsw.Connection(str(tmp_path / FILE))
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(StoreTimeout):
            await store.execute(InsertOne(namespace=C, document={"_id": 2}, max_time_ms=300))
        assert time.monotonic() - began < 10, "other programs may keep the file for ever"
        other.execute("ROLLBACK")
        other.close()
        assert await find(store) == [{"_id": 1}]

    run_in(tmp_path)(scenario)


def test_a_document_of_many_values_is_changed_in_the_memory_of_one(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await store.execute(CreateIndex(namespace=C, keys={"n": 1}))
        await fill(store, {"_id": 1, "n": 1, "a": [*range(1_000_000)]})
        answer = await store.execute(UpdateOne(namespace=C, filter=ODD, update=GROWN))
        assert (answer.matched_count, answer.modified_count) == (1, 1)
        assert await find(store, {"n": 2}, projection={"n": 1}) == [{"_id": 1, "n": 2}]
        assert await find(store, {"n": 1}, projection={"n": 1}) == []
        assert (await store.execute(DeleteMany(namespace=C, filter=MATCHING))).deleted_count == 1
        assert (await command(store, validate="c"))["valid"]

    run(scenario)


def test_an_index_that_comes_meanwhile_has_what_is_written(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": number, "n": number, "l": number} for number in range(300)))
        update = [{"$set": {"n": {"$add": ["$n", {"$size": {"$range": [0, 400]}}]}, "l": ["$n", 1]}}]
        for number in range(6):
            growing = asyncio.create_task(store.execute(UpdateMany(namespace=C, filter={}, update=update)))
            await asyncio.sleep(0.01 * number)
            await store.execute(CreateIndex(namespace=C, keys={"l": 1, f"f{number}": 1}))
            await store.execute(CreateIndex(namespace=C, keys={"n": 1, f"f{number}": 1}))
            assert (await growing).modified_count == 300
        assert (await command(store, validate="c"))["valid"]

    run(scenario)


@pytest.mark.timeout(300 + 10 * KILLS)
def test_killing_the_process_that_writes_loses_and_doubles_nothing(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": number, "n": 0} for number in range(8)))
        acknowledged, doubtful, over = [0] * 8, [0] * 8, False

        async def write(number: int) -> None:
            while not over:
                try:
                    grown = UpdateOne(namespace=C, filter={"_id": number}, update=GROWN, max_time_ms=300_000)
                    await store.execute(grown)
                    acknowledged[number] += 1
                except WriteOutcomeUnknown:
                    doubtful[number] += 1
                except StoreUnavailable:
                    continue  # it says that nothing was changed

        tasks = [asyncio.create_task(write(number)) for number in range(8)]
        for _ in range(KILLS):
            await asyncio.sleep(0.1)
            for process in processes():
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
        await until(lambda: sum(acknowledged) > 10)  # the kills may have left time for none
        over = True
        await asyncio.gather(*tasks)
        for item in await find(store):
            number = item["_id"]
            assert acknowledged[number] <= item["n"] <= acknowledged[number] + doubtful[number]

    run(scenario)


def test_small_writes_need_no_worker(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await store.execute(InsertOne(namespace=C, document={"_id": 1, "n": 1, "l": [1, 2]}))
        update = {"$set": {"a": 1}, "$push": {"l": 3}, "$pull": {"m": 1}, "$inc": {"n": 1}}
        await store.execute(UpdateOne(namespace=C, filter={"n": 1}, update=update))
        assert (await store.execute(FindOne(namespace=C, filter={"_id": 1}))).document is not None
        assert store.workers().started == 0

    run(scenario)


def test_an_index_is_built_beside_the_writes_of_others(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        documents: list[Document] = [{"_id": number, "n": number % 100, "l": [number, -1]} for number in range(12_000)]
        await fill(store, *documents)
        building = [
            asyncio.create_task(store.execute(CreateIndex(namespace=C, keys=keys, options=options)))
            for keys, options in (({"n": 1}, {}), ({"l": -1}, {}), ({"n": -1, "_id": 1}, {"unique": True}))
        ]
        changed = 0
        while not all(task.done() for task in building):
            await store.execute(UpdateOne(namespace=C, filter={"_id": changed}, update={"$set": {"n": 1000, "l": 7}}))
            await store.execute(InsertOne(namespace=C, document={"_id": 20_000 + changed, "n": 1000, "l": []}))
            await store.execute(DeleteMany(namespace=C, filter={"_id": 11_999 - changed}))
            changed += 1
        await asyncio.gather(*building)
        assert changed > 0
        for name in ("n_1", "l_-1", "n_-1__id_1"):
            path = name.partition("_")[0]
            by_index = await find(store, {path: {"$gte": -5}}, hint=name, limit=50_000)
            assert by_index == await find(store, {path: {"$gte": -5}}, hint={"$natural": 1}, limit=50_000)
        assert len(await find(store, {"n": 1000}, limit=50_000)) == 2 * changed
        assert (await command(store, validate="c"))["valid"]
        with pytest.raises(DuplicateKey):
            await store.execute(CreateIndex(namespace=C, keys={"n": -1}, options={"unique": True}))

    run(scenario)


def test_a_long_upsert_ends_whatever_others_write(tmp_path: Path) -> None:
    looked = 0

    class Busy(Writing):
        """Others write each time that somebody looks."""

        def version(self) -> int:
            nonlocal looked
            looked += 1
            return looked

    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        storage = store._storage
        writing = Busy(storage.session(), storage.session(busy=0.0, writing=True), lambda: None)
        writing.sliced = True
        context = Context(time.monotonic() + 60)
        missing = UpdateMany(namespace=C, filter={"a": 1}, update={"$set": {"b": 1}}, upsert=True)
        assert slices.write(writing, missing, context).upserted_id is not None
        assert looked > 2
        there = UpdateMany(namespace=C, filter={"a": 1}, update={"$set": {"b": 2}}, upsert=True)
        assert slices.write(writing, there, context).modified_count == 1
        assert [(one.get("a"), one.get("b")) for one in await find(store)] == [(None, None), (1, 2)]
        writing.session.close()
        writing._writer.close()

    run_in(tmp_path)(scenario)
