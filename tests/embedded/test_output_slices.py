"""``$out`` and ``$merge`` of much: in short transactions, beside the writes of others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from opened import C, Run, command, fill
from test_slices import beside, count

from doorleaf.documents import Document
from doorleaf.errors import DataError, DuplicateKey
from doorleaf.mql.context import Context
from doorleaf.operations import (
    Aggregate,
    CreateCollection,
    CreateIndex,
    DropCollection,
    Find,
    ListCollections,
    ListIndexes,
    Namespace,
    UpdateOne,
    WatchDatabase,
)
from doorleaf.operations.results import DocumentsResult
from doorleaf.stores.embedded import administration
from doorleaf.stores.embedded.catalog import TEMPORARY
from doorleaf.stores.embedded.store import EmbeddedStore
from doorleaf.stores.embedded.writing.rows import Transaction

MANY = 25_000
TARGET = Namespace("db", "target")


def out(*stages: Document) -> Aggregate:
    return Aggregate(namespace=C, pipeline=[*stages, {"$out": "target"}])


async def names(store: EmbeddedStore) -> list[str]:
    listed = await store.execute(ListCollections(namespace=Namespace("db")))
    return [item["name"] for item in listed.collections]


async def filled(store: EmbeddedStore) -> None:
    await fill(store, *({"_id": number, "n": number % 7, "t": "x" * 50} for number in range(MANY)))
    await store.execute(CreateCollection(namespace=TARGET, options={"validator": {"n": {"$lt": 7}}}))
    await store.execute(CreateIndex(namespace=TARGET, keys={"n": 1}))
    await store.execute(CreateIndex(namespace=TARGET, keys={"u": 1}, options={"unique": True, "sparse": True}))
    await fill(store, {"_id": "before", "n": 1, "_tenantId": "acme"}, namespace=TARGET)


async def until_begun(store: EmbeddedStore, task: asyncio.Task[Any]) -> None:
    """Returns once there is the collection that takes the target's place later."""
    while not any(name.startswith("tmp.agg_out") for name in await names(store)):
        assert not task.done()
        await asyncio.sleep(0.002)


def test_a_collection_takes_the_place_of_another(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await filled(store)
        changes = (await store.execute(WatchDatabase(namespace=Namespace("db")))).changes
        task = asyncio.create_task(beside(store, out({"$set": {"a": [1, 2]}})))
        await until_begun(store, task)
        # What is noted of the target's documents changes meanwhile, and nothing that somebody chose.
        await store.execute(UpdateOne(namespace=TARGET, filter={}, update={"$unset": {"_tenantId": 1}}))
        answer, written = await task
        assert isinstance(answer, DocumentsResult)
        assert written > 5
        assert await count(store, TARGET) == MANY
        assert await count(store, TARGET, _id="before") == 0
        listed = await store.execute(ListIndexes(namespace=TARGET))
        assert [item["name"] for item in listed.indexes] == ["_id_", "n_1", "u_1"]
        described = (await command(store, listCollections=1, filter={"name": "target"}))["cursor"]["firstBatch"]
        assert [item["options"] for item in described] == [{"validator": {"n": {"$lt": 7}}}]
        assert (await command(store, validate="target"))["valid"]
        by_index = Find(namespace=TARGET, filter={"n": 3}, hint="n_1", limit=1)
        assert (await store.execute(by_index)).documents.decode() == [{"_id": 3, "n": 3, "t": "x" * 50, "a": [1, 2]}]
        assert sorted(await names(store)) == ["c", "other", "target"]
        told = []
        while come := await changes.next():
            told += [event for event in come if event["operationType"] not in ("insert", "update")]
            assert not any(event["ns"]["coll"] == "target" for event in come if event["operationType"] == "insert")
        assert [event["operationType"] for event in told] == ["drop", "rename"]
        assert told[0]["ns"] == told[1]["to"] == {"db": "db", "coll": "target"}

    run(scenario)


@pytest.mark.parametrize(
    ("stage", "error"),
    [
        ({"$set": {"u": {"$cond": [{"$gt": ["$_id", MANY - 3]}, 1, "$_id"]}}}, DuplicateKey),
        ({"$set": {"n": 7}}, DataError),
    ],
)
def test_a_document_that_cannot_be_changes_nothing(run: Run, stage: Document, error: Any) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await filled(store)
        with pytest.raises(error):
            await store.execute(out(stage))
        assert await count(store, TARGET) == 1
        assert await names(store) == ["c", "target"]

    run(scenario)


def test_what_is_merged_goes_in_beside_the_writes_of_others(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await filled(store)
        stages: list[Document] = [{"$set": {"m": 1}}, {"$merge": {"into": "target"}}]
        _, written = await beside(store, Aggregate(namespace=C, pipeline=stages))
        assert written > 5
        assert await count(store, TARGET, m=1) == MANY
        assert await count(store, TARGET) == MANY + 1
        stages[0] = {"$set": {"m": 2}}
        await store.execute(Aggregate(namespace=C, pipeline=stages))
        assert await count(store, TARGET, m=2) == MANY
        assert (await command(store, validate="target"))["valid"]

    run(scenario)


def test_a_target_that_changes_meanwhile_is_an_error(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await filled(store)
        task = asyncio.create_task(store.execute(out({"$set": {"a": 1}})))
        await between(store, task, lambda transaction, _: index(transaction))
        with pytest.raises(DataError, match=r"has changed while \$out was carried out"):
            await task
        assert await count(store, TARGET) == 1
        assert await names(store) == ["c", "target"]

    run(scenario)


@pytest.mark.parametrize("again", [False, True])
def test_what_it_writes_is_dropped_by_somebody_meanwhile(run: Run, again: bool) -> None:
    made: list[str] = []

    def drop(transaction: Transaction, namespace: Namespace) -> None:
        made.append(namespace.collection)
        administration.drop_collection(transaction, DropCollection(namespace=namespace), soon())
        if again:
            administration.make_collection(transaction, namespace, {})

    async def scenario(store: EmbeddedStore) -> None:
        await filled(store)
        task = asyncio.create_task(store.execute(out({"$set": {"a": 1}})))
        await between(store, task, drop)
        with pytest.raises(DataError, match=r"the collection that \$out writes was dropped meanwhile"):
            await task
        assert await count(store, TARGET) == 1
        assert await names(store) == ["c", "target", *(made if again else [])], "what somebody made stays"

    run(scenario)


async def between(store: EmbeddedStore, task: asyncio.Task[Any], act: Callable[[Transaction, Namespace], Any]) -> None:
    """Do ``act`` once, in a turn of its own between two transactions of ``task``, with the collection that it fills."""
    done = False

    def attempt(transaction: Transaction) -> None:
        nonlocal done
        for collection in transaction.session.catalog.of("db"):
            if collection.name.startswith("tmp.agg_out") and not done:
                done = True
                act(transaction, Namespace("db", collection.name))

    while not task.done():
        await store.write(attempt, soon())
    assert done


def index(transaction: Transaction) -> None:
    administration.create_index(transaction, CreateIndex(namespace=TARGET, keys={"t": 1}), soon())


def soon() -> Context:
    return Context(time.monotonic() + 60)


def test_what_is_left_of_one_that_was_killed_is_swept(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        now = int(time.time())
        for name, since in (("old", now - 2 * administration.ABANDONED_SECONDS), ("new", now)):
            await store.write(
                lambda transaction, name=name, since=since: administration.make_collection(  # type: ignore[misc]
                    transaction, Namespace("db", name), {TEMPORARY: since}
                ),
                Context(time.monotonic() + 30),
            )
        assert sorted(await names(store)) == ["new", "old"]
        await store.sweep()
        assert await names(store) == ["new"]

    run(scenario)
