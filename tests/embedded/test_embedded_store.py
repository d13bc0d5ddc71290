"""The embedded store: durable batches, isolated failures, guards, commands, refusals."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from bson import Regex
from guards import Looks
from opened import DB, C, Run, command, fill, find

from doorleaf.documents import Document
from doorleaf.errors import (
    DataError,
    DoorleafError,
    DuplicateKey,
    PermissionDenied,
    StoreTimeout,
)
from doorleaf.operations import (
    Aggregate,
    BulkWrite,
    CountDocuments,
    CreateIndex,
    DeleteMany,
    DeleteOne,
    Find,
    FindOneAndDelete,
    FindOneAndReplace,
    InsertMany,
    InsertOne,
    ListDatabases,
    Operation,
    RunCommand,
    UpdateMany,
    UpdateOne,
)
from doorleaf.stores.embedded.store import EmbeddedStore

# --- writing in batches ----------------------------------------------------------------------------------------------


def test_one_failure_in_a_batch_disturbs_no_other(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": "taken"})
        writes: list[Any] = []
        for number in range(60):
            identity: Any = "taken" if number % 3 == 0 else number
            writes.append(store.execute(InsertOne(namespace=C, document={"_id": identity, "n": number})))
        answers = await asyncio.gather(*writes, return_exceptions=True)
        for number, answer in enumerate(answers):
            assert isinstance(answer, DuplicateKey) == (number % 3 == 0)
        assert (await store.execute(CountDocuments(namespace=C))).count == 41
        assert len(await find(store)) == 41
        assert (await command(store, validate="c"))["valid"]

    run(scenario)


def test_a_write_whose_caller_went_away_is_carried_out_whole_or_not_at_all(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        documents: list[Document] = [{"_id": 1}, {"_id": 3}]
        task = asyncio.create_task(store.execute(InsertMany(namespace=C, documents=documents)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await store.execute(InsertOne(namespace=C, document={"_id": 2}))
        found = [document["_id"] for document in await find(store)]
        assert sorted(found) in ([1, 2, 3], [2])  # the second when nobody had begun

    run(scenario)


def test_close_carries_out_what_waits(tmp_path: Path) -> None:
    async def whole() -> None:
        store = EmbeddedStore(tmp_path)
        await store.open()
        writes = [asyncio.create_task(store.execute(InsertOne(namespace=C, document={"_id": n}))) for n in range(50)]
        await asyncio.sleep(0)
        await store.close()
        await asyncio.gather(*writes)
        again = EmbeddedStore(tmp_path)
        await again.open()
        assert (await again.execute(CountDocuments(namespace=C))).count == 50
        await again.close()

    asyncio.run(whole())


def test_a_write_that_runs_out_of_time_is_undone(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": n, "a": 0} for n in range(5000)))
        with pytest.raises(StoreTimeout):
            await store.execute(UpdateMany(namespace=C, filter={}, update={"$inc": {"a": 1}}, max_time_ms=5))
        assert (await store.execute(CountDocuments(namespace=C, filter={"a": 0}))).count == 5000
        started = time.monotonic()
        slow = {
            "$expr": {"$gt": [{"$reduce": {"input": {"$range": [0, 5000]}, "initialValue": 0, "in": "$$this"}}, 9e9]}
        }
        with pytest.raises(StoreTimeout):
            await store.execute(Find(namespace=C, filter=slow, max_time_ms=50))
        assert time.monotonic() - started < 20

    run(scenario)


def test_the_event_loop_runs_on_while_a_scan_does(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": n, "a": n} for n in range(20_000)))
        scan = asyncio.create_task(store.execute(CountDocuments(namespace=C, filter={"a": {"$mod": [7, 1]}})))
        turns = 0
        while not scan.done():
            await asyncio.sleep(0)
            turns += 1
        assert (await scan).count == len([n for n in range(20_000) if n % 7 == 1])
        assert turns > 3

    run(scenario)


# --- guards ----------------------------------------------------------------------------------------------------------


def refuse(limit: int) -> tuple[list[tuple[Any, Any]], Looks]:
    """A guard that writes down what it sees and says no after ``limit`` documents."""
    seen: list[tuple[Any, Any]] = []

    def guard(before: Document | None, after: Document | None) -> None:
        seen.append((before, after))
        if len(seen) > limit:
            raise PermissionDenied("not this one")

    return seen, Looks(guard)


@pytest.mark.parametrize("ordered", [True, False])
def test_a_guard_undoes_the_whole_operation(run: Run, ordered: bool) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1, "a": 1}, {"_id": 2, "a": 1})
        before = await find(store)

        def operations(guard: Any) -> list[Any]:
            return [
                InsertMany(namespace=C, documents=[{"_id": 8}, {"_id": 9}], ordered=ordered, guard=guard),
                UpdateMany(namespace=C, filter={"a": 1}, update={"$inc": {"a": 1}}, guard=guard),
                DeleteMany(namespace=C, filter={}, guard=guard),
                BulkWrite(
                    namespace=C,
                    operations=[
                        InsertOne(namespace=C, document={"_id": 7}, guard=guard),
                        DeleteOne(namespace=C, filter={"_id": 1}, guard=guard),
                    ],
                    ordered=ordered,
                ),
            ]

        for index in range(4):
            seen, guard = refuse(1)
            with pytest.raises(PermissionDenied, match="not this one"):
                await store.execute(operations(guard)[index])
            assert len(seen) == 2
            assert await find(store) == before
        assert (await command(store, validate="c"))["valid"]

    run(scenario)


def test_what_a_guard_sees(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        seen, guard = refuse(100)
        await store.execute(InsertOne(namespace=C, document={"a": 1, "_id": 1}, guard=guard))
        await store.execute(UpdateOne(namespace=C, filter={}, update={"$set": {"a": 2}}, guard=guard))
        await store.execute(UpdateOne(namespace=C, filter={}, update={"$set": {"a": 2}}, guard=guard))
        await store.execute(
            UpdateOne(namespace=C, filter={"_id": 5}, update={"$set": {"b": 1}}, upsert=True, guard=guard)
        )
        await store.execute(FindOneAndReplace(namespace=C, filter={"_id": 5}, replacement={"c": 1}, guard=guard))
        await store.execute(FindOneAndDelete(namespace=C, filter={"_id": 5}, guard=guard))
        assert seen == [
            (None, {"_id": 1, "a": 1}),
            ({"_id": 1, "a": 1}, {"_id": 1, "a": 2}),
            ({"_id": 1, "a": 2}, {"_id": 1, "a": 2}),
            (None, {"_id": 5, "b": 1}),
            ({"_id": 5, "b": 1}, {"_id": 5, "c": 1}),
            ({"_id": 5, "c": 1}, None),
        ]

    run(scenario)


# --- commands --------------------------------------------------------------------------------------------------------


def test_commands(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": n, "a": n % 3} for n in range(9)))
        assert await command(store, ping=1) == {"ok": 1}
        assert (await command(store, buildInfo=1))["maxBsonObjectSize"] == 16 * 1024 * 1024
        assert (await command(store, hello=1))["isWritablePrimary"] is True
        assert (await command(store, isMaster=1))["ismaster"] is True
        assert (await command(store, count="c", query={"a": 1}))["n"] == 3
        assert (await command(store, distinct="c", key="a"))["values"] == [0, 1, 2]
        stats = await command(store, dbStats=1)
        assert (stats["collections"], stats["objects"], stats["indexes"]) == (1, 9, 1)
        assert (await command(store, collStats="c"))["count"] == 9
        batch = (await command(store, find="c", filter={"a": 1}, sort={"_id": -1}, limit=2))["cursor"]["firstBatch"]
        assert [document["_id"] for document in batch] == [7, 4]
        batch = (await command(store, aggregate="c", pipeline=[{"$count": "n"}], cursor={}))["cursor"]["firstBatch"]
        assert batch == [{"n": 9}]
        made = await command(store, createIndexes="c", indexes=[{"key": {"a": 1}, "name": "x"}])
        assert (made["numIndexesBefore"], made["numIndexesAfter"]) == (1, 2)
        assert [item["name"] for item in (await command(store, listIndexes="c"))["cursor"]["firstBatch"]] == [
            "_id_",
            "x",
        ]
        assert (await command(store, dropIndexes="c", index={"a": 1}))["nIndexesWas"] == 2
        assert (await command(store, connectionStatus=1))["ok"] == 1
        assert (await command(store, serverStatus=1))["uptime"] >= 0
        assert await command(store, drop="c") == {"ns": "db.c", "ok": 1}
        await command(store, create="c")
        assert await command(store, dropDatabase=1) == {"dropped": "db", "ok": 1}
        assert (await store.execute(ListDatabases(namespace=DB))).databases == []

    run(scenario)


@pytest.mark.parametrize(
    ("asked", "number"),
    [
        ({}, 59),
        ({"nope": 1}, 59),
        ({"PING": 1}, 59),
        ({"ping": 1, "nope": 1}, 40415),
        ({"find": "c", "nope": 1}, 40415),
        ({"find": 5}, 73),
        ({"find": "c", "limit": -1}, 51024),
        ({"find": "c", "filter": []}, 14),
        ({"distinct": "c"}, 40414),
        ({"listIndexes": "nope"}, 26),
        ({"explain": {"nope": "c"}}, 59),
        ({"explain": {"find": "c"}, "verbosity": "nope"}, 2),
        ({"validate": "nope"}, 26),
    ],
)
def test_commands_that_are_refused(run: Run, asked: Document, number: int) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        with pytest.raises(DataError) as caught:
            await store.execute(RunCommand(namespace=DB, command=asked))
        assert caught.value.number == number

    run(scenario)


def test_every_error_is_one_of_ours(run: Run) -> None:
    strange: list[Any] = [
        {"a": {"$in": 5}},
        {"$and": []},
        {"$and": [5]},
        {"a": {"$gt": Regex("x")}},
        {"a": {"$regex": "("}},
        {"a": {"$elemMatch": 5}},
        {"a": {"$type": "nope"}},
        {"_id": {"$gt": {}, "$nope": 1}},
        {"a": {"b": 1, "$gt": 2}},
        {"": 1},
        {"a.": 1},
        {".a": 1},
    ]

    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1, "a": [1, {"b": 2}]})
        await store.execute(CreateIndex(namespace=C, keys={"a": 1}))
        for filter in strange:
            operations: list[Operation[Any]] = [
                Find(namespace=C, filter=filter),
                CountDocuments(namespace=C, filter=filter),
                UpdateMany(namespace=C, filter=filter, update={"$set": {"z": 1}}),
                Aggregate(namespace=C, pipeline=[{"$match": filter}]),
            ]
            answers = await asyncio.gather(*map(store.execute, operations), return_exceptions=True)
            for answer in answers:
                failed = isinstance(answer, BaseException)
                assert not failed or (isinstance(answer, DoorleafError) and answer.status == 400), (filter, answer)

    run(scenario)
