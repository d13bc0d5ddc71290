"""Writes of much: in short transactions, each document by itself, beside the writes of others."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest
from asgi import KEY, application
from opened import C, Run, fill, find
from test_workers import EVIL, processes, until

from doorleaf.documents import Document
from doorleaf.errors import StoreTimeout, StoreUnavailable, WriteFailed, WriteOutcomeUnknown
from doorleaf.mql.context import Context
from doorleaf.operations import (
    BulkWrite,
    CountDocuments,
    CreateIndex,
    DeleteMany,
    DeleteOne,
    InsertMany,
    InsertOne,
    Namespace,
    RunCommand,
    UpdateMany,
    UpdateOne,
)
from doorleaf.stores.embedded.processes import pool
from doorleaf.stores.embedded.store import EmbeddedStore
from doorleaf.stores.embedded.writing.rows import Transaction

KILLS = int(os.environ.get("DOORLEAF_KILLS", "12"))
LONG = 600_000
"""Milliseconds that a machine with much to do takes less than, whatever is killed."""

OTHER = Namespace("db", "other")
COSTLY: list[Document] = [{"$set": {"m": {"$size": {"$range": [0, "$n"]}}}}]
"""An update that takes long enough for a few thousand documents."""


GREEDY: list[Document] = [{"$set": {"n": {"$add": ["$n", 1]}, "m": {"$add": [{"$size": {"$range": [0, "$n"]}}, 1]}}}]
"""The same, which changes each document once more if it comes to it again."""

GROWN: list[Document] = [
    {"$set": {"n": {"$add": ["$n", {"$size": {"$range": [0, 1]}}]}, "m": {"$size": {"$range": [0, 300]}}}}
]
"""The same, and each document tells how often."""


async def beside(store: EmbeddedStore, operation: Any) -> tuple[Any, int]:
    """What ``operation`` answers or raises, and how many others wrote meanwhile, each within a moment."""
    task = asyncio.create_task(store.execute(operation))
    slow, written = 0, 0
    while not task.done():
        began = time.monotonic()
        await store.execute(InsertOne(namespace=OTHER, document={}))
        slow += time.monotonic() - began > 0.5
        written += 1
    assert slow <= 1 + written // 4, "a machine may be held up, and nobody is by others again and again"
    return task.exception() or task.result(), written


async def count(store: EmbeddedStore, namespace: Namespace = C, **filter: Any) -> int:
    return (await store.execute(CountDocuments(namespace=namespace, filter=filter))).count


def test_many_documents_go_in_beside_the_writes_of_others(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        answer, written = await beside(store, InsertMany(namespace=C, documents=[{"n": n} for n in range(60_000)]))
        assert len({*answer.inserted_ids}) == 60_000
        assert written > 5
        assert (await count(store), await count(store, OTHER)) == (60_000, written)
        assert [item["n"] for item in await find(store, sort={"$natural": 1}, limit=3)] == [0, 1, 2]

    run(scenario)


@pytest.mark.parametrize("ordered", [True, False])
def test_failures_among_many_documents_have_their_places(run: Run, ordered: bool) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 9_000})
        many = [{"_id": number} for number in range(10_000)]
        with pytest.raises(WriteFailed) as raised:
            await store.execute(InsertMany(namespace=C, documents=many, ordered=ordered))
        fields = raised.value.fields
        assert [(item["index"], item["code"]) for item in fields["writeErrors"]] == [(9_000, 11000)]
        assert fields["insertedCount"] == len(fields["insertedIds"]) == (9_000 if ordered else 9_999)
        assert fields["insertedIds"][:2] == [0, 1]
        assert await count(store) == (9_001 if ordered else 10_000)

    run(scenario)


def test_rules_see_all_of_it_before(tmp_path: Path) -> None:
    write = {"n": {"%lte": 20_000}}
    rules = {"main": {"d.c": {"roles": [{"name": "some", "apply_when": {}, "read": True, "write": write}]}}}
    with application(tmp_path, rules=rules) as app:
        made = app.call("POST", "/api/admin/v1/keys", orjson.dumps({"name": "limited"}), {"apiKey": KEY})
        headers = {"apiKey": made.json["key"]}

        def act(action: str, **fields: Any) -> Any:
            body = {"database": "d", "collection": "c", **fields}
            return app.call("POST", f"/data/v1/action/{action}", orjson.dumps(body), headers)

        many: list[Document] = [{"_id": number, "n": number} for number in range(15_000)]
        assert act("insertMany", documents=[*many, {"n": 30_000}]).status == 403
        assert act("countDocuments", filter={}).json["count"] == 0
        answer = act("insertMany", documents=many)
        assert len({*answer.json["insertedIds"]}) == 15_000
        assert act("countDocuments", filter={}).json["count"] == 15_000
        changed = act("updateMany", filter={}, update={"$inc": {"n": 1}})
        assert (changed.json["matchedCount"], changed.json["modifiedCount"]) == (15_000, 15_000)
        assert act("updateMany", filter={}, update={"$inc": {"n": 5_001}}).status == 403
        assert act("countDocuments", filter={"n": {"$gt": 15_000}}).json["count"] == 0, "one is refused, and so all are"
        parts: list[Any] = [{"insertOne": {"document": {"_id": -1, "n": 1}}}, {"deleteMany": {"filter": EVIL}}]
        assert act("bulkWrite", operations=parts, maxTimeMS=1_500).status == 504
        assert act("countDocuments", filter={}).json["count"] == 15_000
        parts = [{"updateOne": {"filter": {"_id": n}, "update": {"$inc": {"n": 1}}}} for n in range(6_000)]
        refused = {"updateOne": {"filter": {"_id": 9_000}, "update": {"$set": {"n": 20_001}}}}
        assert act("bulkWrite", operations=[*parts, refused]).status == 403
        assert act("countDocuments", filter={"n": {"$gt": 15_000}}).json["count"] == 0
        assert act("countDocuments", filter={"_id": 10, "n": 11}).json["count"] == 1, "nothing of it was written"
        assert act("bulkWrite", operations=parts).json["modifiedCount"] == 6_000
        # What is only forbidden by what the same request has changed before is refused in its turn.
        builds: list[Any] = [
            *parts,
            {"updateOne": {"filter": {"_id": 1}, "update": {"$set": {"n": 20_000}}}},
            {"updateOne": {"filter": {"_id": 1}, "update": {"$inc": {"n": 1}}}},
            {"deleteMany": {"filter": {}}},
        ]
        answer = act("bulkWrite", operations=builds)
        assert (answer.status, answer.json["modifiedCount"], answer.json["deletedCount"]) == (403, 6_001, 0)
        assert act("findOne", filter={"_id": 1}).json["document"] == {"_id": 1, "n": 20_000}
        # Few of them, of which one needs a worker, have the same outcome in one transaction.
        none = {"deleteMany": {"filter": {"n": {"$regex": "(a|aa)+$"}}}}
        few = [
            {"updateOne": {"filter": {"_id": 2}, "update": {"$set": {"n": 20_000}}}},
            {"updateOne": {"filter": {"_id": 2}, "update": {"$inc": {"n": 1}}}},
        ]
        answer = act("bulkWrite", operations=[none, *few, *few])
        assert (answer.status, answer.json["modifiedCount"], answer.json["matchedCount"]) == (403, 1, 1)
        assert act("findOne", filter={"_id": 2}).json["document"] == {"_id": 2, "n": 20_000}
        refused = {"updateOne": {"filter": {"_id": 3}, "update": {"$set": {"n": 20_001}}}}
        answer = act("bulkWrite", operations=[none, few[0], refused])
        assert (answer.status, "modifiedCount" in answer.json) == (403, False)
        # What this database lacks is known before the first is written.
        lacking = {"deleteOne": {"filter": {"_id": 1}, "collation": {"locale": "de"}}}
        for several in ([none], [none, *few[:1] * 3_000]):
            assert act("bulkWrite", operations=[{"insertOne": {"document": {"n": 1}}}, *several, lacking]).status == 400
        assert act("countDocuments", filter={}).json["count"] == 15_000


def test_several_writes_keep_nobody_from_writing(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": number, "n": 500} for number in range(3_000)))
        parts: list[Any] = [
            InsertOne(namespace=C, document={"_id": "first", "n": 1}),
            *(UpdateOne(namespace=C, filter={"q": number}, update={"$inc": {"n": 1}}) for number in range(50)),
            UpdateMany(namespace=C, filter={}, update=COSTLY),
            InsertOne(namespace=C, document={"_id": "first"}),
            UpdateOne(namespace=C, filter={"n": {"$mod": [7, 9]}}, update={"$set": {"x": 1}}, upsert=True),
            DeleteOne(namespace=C, filter={"_id": 7}),
        ]
        error, written = await beside(store, BulkWrite(namespace=C, operations=parts, ordered=False))
        assert isinstance(error, WriteFailed)
        assert [(item["index"], item["code"]) for item in error.fields["writeErrors"]] == [(52, 11000)]
        assert (error.fields["insertedCount"], error.fields["modifiedCount"]) == (1, 3_001)
        assert (error.fields["deletedCount"], [*error.fields["upsertedIds"]]) == (1, ["53"])
        assert await count(store, m=500) == 2_999
        assert written > 1

    run(scenario)


@pytest.mark.parametrize("quick", [True, False])
def test_what_went_before_stays_where_a_bulk_runs_out_of_time(
    run: Run, monkeypatch: pytest.MonkeyPatch, quick: bool
) -> None:
    monkeypatch.setattr(pool, "HASTE", 60.0 if quick else 0.0)

    async def scenario(store: EmbeddedStore) -> None:
        parts: list[Any] = [
            InsertOne(namespace=C, document={"_id": 1, "n": 1}),
            DeleteMany(namespace=C, filter=EVIL),
            InsertOne(namespace=C, document={"_id": 2}),
        ]
        error, written = await beside(store, BulkWrite(namespace=C, operations=parts, max_time_ms=4_000))
        assert isinstance(error, StoreTimeout)
        assert [item["_id"] for item in await find(store)] == [1]
        assert written > 5
        assert store.workers().restarted == (0 if quick else 1), "in the lane that it began in, or in the other"

    run(scenario)


async def out_of_time(store: EmbeddedStore, operation: Any, changes: Callable[[], Awaitable[int]]) -> Mapping[str, Any]:
    """What the error of ``operation`` says that stays, which ``changes`` counts.

    It says so where that is known. On a machine with much to do the process may be ended before it can tell, or before
    it has changed anything: then it is asked once more, and in the latter case with more time.
    """
    fields: Mapping[str, Any] = {}
    seconds = 3
    for _ in range(10):
        await store.execute(DeleteOne(namespace=C, filter={"_id": "first"}))
        before = await changes()
        with pytest.raises(StoreTimeout) as raised:
            await store.execute(replace(operation, max_time_ms=1_000 * seconds))
        fields, changed = raised.value.fields, await changes() - before
        if fields:
            assert fields["modifiedCount"] == changed
        if fields and changed:
            break
        seconds *= 1 if changed else 2
    return fields


def test_writes_that_run_out_of_time_say_what_stays(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": number, "n": 100_000, "t": "x" * 2_000} for number in range(6_000)))
        parts: list[Any] = [
            InsertOne(namespace=C, document={"_id": "first", "n": 1}),
            UpdateMany(namespace=C, filter={}, update=COSTLY),
            InsertOne(namespace=C, document={"_id": "last"}),
        ]

        async def sized() -> int:
            return await count(store, m=100_000)

        async def added() -> int:
            return sum(item["n"] - 100_000 for item in await find(store, projection={"n": 1}))

        fields = await out_of_time(store, BulkWrite(namespace=C, operations=parts), sized)
        assert (fields["insertedCount"], await count(store, _id="first")) == (1, 1)
        assert 0 < fields["modifiedCount"] <= await sized() < 6_000
        fields = await out_of_time(store, UpdateMany(namespace=C, filter={}, update=GREEDY), added)
        assert fields["matchedCount"] == fields["modifiedCount"] > 0
        assert await count(store, _id="last") == 0

    run(scenario)


def test_many_documents_are_changed_once_each(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": number, "n": 300, "t": "x" * 500} for number in range(12_000)))
        update = [{"$set": {"n": {"$add": [{"$size": {"$range": [0, "$n"]}}, 1]}}}]
        answer, written = await beside(store, UpdateMany(namespace=C, filter={"n": {"$gte": 300}}, update=update))
        assert (answer.matched_count, answer.modified_count) == (12_000, 12_000)
        assert await count(store, n=301) == 12_000
        assert written > 1
        taken, _ = await beside(store, DeleteMany(namespace=C, filter={"t": {"$regex": "^x(x|y)*$"}}))
        assert taken.deleted_count == 12_000
        assert await count(store) == 0

    run(scenario)


def test_long_writes_of_several_callers_take_turns(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "LONG_SLICE", 0.1)
    monkeypatch.setattr(pool, "LONG_LOOK", 0.05)
    greedy = [Namespace("db", f"greedy{number}") for number in range(3)]

    async def scenario(store: EmbeddedStore) -> None:
        for namespace in greedy:
            await fill(store, *({"_id": number, "n": 1_000} for number in range(8_000)), namespace=namespace)
        await fill(store, *({"_id": number, "n": 200} for number in range(3_000)))
        more: Document = {"max_time_ms": 120_000}
        long = [
            asyncio.create_task(
                store.execute(
                    UpdateMany(namespace=namespace, filter={}, update=GREEDY, turn=namespace.collection, **more)
                )
            )
            for namespace in greedy
        ]
        await until(lambda: store.workers().running >= 2 and store.workers().restarted >= 3)
        modest = await store.execute(UpdateMany(namespace=C, filter={}, update=COSTLY, turn="modest", **more))
        assert (modest.matched_count, modest.modified_count) == (3_000, 3_000)
        assert [task.done() for task in long] == [False] * 3, "it did not wait until one of them was through"
        for task, namespace in zip(long, greedy, strict=True):
            assert ((await task).matched_count, task.result().modified_count) == (8_000, 8_000)
            assert await count(store, namespace, m=1_001, n=1_001) == 8_000, "each was changed once"
        assert await count(store, m=200) == 3_000
        assert store.workers().running == store.workers().waiting == 0
        assert (await store.execute(InsertOne(namespace=C, document={"_id": "after"}))).inserted_id == "after"

    run(scenario)


def test_a_long_write_that_has_written_nothing_begins_anew_in_its_turn(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "LONG_SLICE", 0.1)
    monkeypatch.setattr(pool, "LONG_LOOK", 0.05)

    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": number, "n": 200} for number in range(3_000)))
        evil = [
            asyncio.create_task(store.execute(DeleteMany(namespace=C, filter=EVIL, max_time_ms=120_000, turn=turn)))
            for turn in ("one", "other", "third")
        ]
        await until(lambda: store.workers().restarted >= 3)
        answer = await store.execute(
            UpdateMany(namespace=C, filter={}, update=COSTLY, turn="modest", max_time_ms=60_000)
        )
        assert answer.modified_count == 3_000
        assert [task.done() for task in evil] == [False] * 3
        for task in evil:
            task.cancel()
        await asyncio.gather(*evil, return_exceptions=True)
        assert await count(store) == 3_000
        assert store.workers().running == store.workers().waiting == 0

    run(scenario)


def test_one_document_with_very_many_keys_keeps_nobody_from_writing_for_long(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        for number in range(60):
            await store.execute(CreateIndex(namespace=C, keys={"a": 1, f"f{number}": 1}))
        document = {"_id": 1, "a": [*range(19_000)]}
        error, written = await beside(store, InsertOne(namespace=C, document=document, max_time_ms=20_000))
        assert isinstance(error, StoreTimeout)
        assert "send it in smaller parts" in error.message
        assert await count(store) == 0
        assert await count(store, OTHER) == written > 1
        assert (await store.execute(InsertOne(namespace=C, document={"_id": 1, "a": [1, 2]}))).inserted_id == 1

    run(scenario)


def test_documents_that_take_long_to_put_in_are_changed_fewer_at_a_time(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        for number in range(40):
            await store.execute(CreateIndex(namespace=C, keys={"a": 1, f"f{number}": 1}))
        await fill(store, *({"_id": number, "a": [*range(150)]} for number in range(24)))
        update = [{"$set": {"a": {"$map": {"input": "$a", "in": {"$add": ["$$this", 1_000]}}}}}]
        changing = asyncio.create_task(store.execute(UpdateMany(namespace=C, filter={}, update=update)))
        written = 0
        while not changing.done():
            await store.execute(InsertOne(namespace=OTHER, document={}))
            written += 1
        assert ((await changing).matched_count, changing.result().modified_count) == (24, 24)
        assert await count(store, a=1_149) == 24
        assert await count(store, a=149) == 0
        assert written > 3

    run(scenario)


def test_what_undoes_a_batch_undoes_nothing_of_the_others(run: Run) -> None:
    def endless(transaction: Transaction) -> None:
        transaction.session.execute("CREATE TABLE numbers (n)")
        transaction.session.execute(
            "INSERT INTO numbers WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c"
        )

    async def scenario(store: EmbeddedStore) -> None:
        answers = await asyncio.gather(
            *(store.execute(InsertOne(namespace=C, document={"_id": number})) for number in range(20)),
            store.write(endless, Context(time.monotonic() + 0.5)),
            *(store.execute(InsertOne(namespace=C, document={"_id": number})) for number in range(20, 40)),
            return_exceptions=True,
        )
        assert [type(answer) for answer in answers if isinstance(answer, Exception)] == [StoreTimeout]
        assert await count(store) == 40

    run(scenario)


@pytest.mark.timeout(300 + 30 * KILLS)
def test_killing_the_process_that_writes_in_slices_loses_and_doubles_nothing(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": number, "n": 0, "t": "x" * 300} for number in range(4_000)))
        await store.execute(CreateIndex(namespace=OTHER, keys={"by": 1}))
        acknowledged, doubtful, late, over = 0, 0, 0, False
        put: dict[str, bool] = {}

        async def change() -> None:
            nonlocal acknowledged, doubtful, late
            while not over:
                try:
                    change_all = UpdateMany(namespace=C, filter={}, update=GROWN, max_time_ms=LONG)
                    answer = await store.execute(change_all)
                    assert answer.modified_count == 4_000
                    acknowledged += 1
                except WriteOutcomeUnknown:
                    doubtful += 1
                except StoreTimeout:
                    late += 1  # a part of it had too little of the processor
                except StoreUnavailable:
                    continue  # it says that nothing was changed

        async def insert() -> None:
            while not over:
                name = f"{len(put)}"
                put[name] = False
                many: list[Document] = [{"_id": f"{name} {number}", "by": name} for number in range(3_000)]
                with contextlib.suppress(WriteOutcomeUnknown, StoreTimeout, StoreUnavailable):
                    await store.execute(InsertMany(namespace=OTHER, documents=many, max_time_ms=LONG))
                    put[name] = True

        tasks = [asyncio.create_task(change()), asyncio.create_task(insert())]
        rounds = 0
        while rounds < KILLS or not doubtful:  # one in the middle of a write at least
            await asyncio.sleep(random.uniform(0.1, 0.6))
            assert not any(task.done() for task in tasks)
            for process in processes():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            rounds += 1
        over = True
        await asyncio.gather(*tasks)
        for item in await find(store):
            assert acknowledged <= item["n"] <= acknowledged + doubtful + late
        for name, answered in put.items():
            found = await count(store, OTHER, by=name)
            assert found == 3_000 if answered else found <= 3_000
        for name in ("c", OTHER.collection):
            validate = RunCommand(namespace=C, command={"validate": name}, max_time_ms=LONG)
            assert (await store.execute(validate)).result["valid"]

    run(scenario)
