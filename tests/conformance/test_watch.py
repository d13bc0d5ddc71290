"""Change streams, on every engine alike."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from bson import ObjectId, Timestamp
from scenarios import NS, Engine, unique_database

from doorleaf.documents import Document
from doorleaf.errors import DoorleafError
from doorleaf.operations import (
    BulkWrite,
    DeleteMany,
    DeleteOne,
    DropCollection,
    FindOneAndDelete,
    FindOneAndReplace,
    InsertMany,
    InsertOne,
    Namespace,
    RenameCollection,
    ReplaceOne,
    UpdateMany,
    UpdateOne,
    Watch,
    WatchDatabase,
    WatchServer,
)
from doorleaf.operations.results import ChangeStream, Event
from doorleaf.stores.base import Store

PATIENCE = 30.0

Body = Callable[[Store, Namespace, ChangeStream], Awaitable[None]]


async def events(changes: ChangeStream, count: int) -> list[Document]:
    """The next ``count`` events, and no more than those."""
    found: list[Document] = []
    until = time.monotonic() + PATIENCE
    while len(found) < count:
        assert time.monotonic() < until, f"only {len(found)} of {count} events came: {found}"
        come = await changes.next()
        assert come is not None, "the stream ended"
        found += come
    assert len(found) == count, found
    return found


async def silence(changes: ChangeStream) -> None:
    """Nothing comes."""
    assert await changes.next() == []


def watching(engine: Engine, body: Body, **options: Any) -> None:
    """Run ``body`` with a stream on an empty collection."""

    async def whole(store: Store) -> None:
        namespace = Namespace(unique_database(), NS.collection)
        changes = (await store.execute(Watch(namespace=namespace, **options))).changes
        try:
            await body(store, namespace, changes)
        finally:
            await changes.close()

    engine.run(whole)


def told(event: Document) -> Document:
    """An event without what differs from run to run, whose types are looked at."""
    assert isinstance(event["_id"]["_data"], str)
    assert isinstance(event["clusterTime"], Timestamp)
    kept = {name: value for name, value in event.items() if name not in ("_id", "clusterTime", "wallTime", "ns")}
    description = kept.get("updateDescription")
    if description is not None:
        kept["updateDescription"] = {name: value for name, value in description.items() if value}
    return kept


def test_inserts(engine: Engine) -> None:
    async def body(store: Store, namespace: Namespace, changes: ChangeStream) -> None:
        await silence(changes)
        await store.execute(InsertOne(namespace=namespace, document={"_id": 1, "a": {"b": [1, None]}}))
        await store.execute(InsertMany(namespace=namespace, documents=[{"_id": 2}, {"_id": 3}]))
        found = await events(changes, 3)
        assert [told(event) for event in found] == [
            {
                "operationType": "insert",
                "fullDocument": {"_id": 1, "a": {"b": [1, None]}},
                "documentKey": {"_id": 1},
            },
            {"operationType": "insert", "fullDocument": {"_id": 2}, "documentKey": {"_id": 2}},
            {"operationType": "insert", "fullDocument": {"_id": 3}, "documentKey": {"_id": 3}},
        ]
        assert all(event["ns"] == {"db": namespace.database, "coll": NS.collection} for event in found)
        tokens = [event["_id"]["_data"] for event in found]
        assert sorted(set(tokens)) == tokens
        await silence(changes)

    watching(engine, body)


def test_what_was_there_before_does_not_come(engine: Engine) -> None:
    async def whole(store: Store) -> None:
        namespace = Namespace(unique_database(), NS.collection)
        await store.execute(InsertOne(namespace=namespace, document={"_id": 1}))
        first = (await store.execute(Watch(namespace=namespace))).changes
        await store.execute(InsertOne(namespace=namespace, document={"_id": 2}))
        second = (await store.execute(Watch(namespace=namespace))).changes
        await store.execute(InsertOne(namespace=namespace, document={"_id": 3}))
        assert [event["documentKey"] for event in await events(first, 2)] == [{"_id": 2}, {"_id": 3}]
        assert [event["documentKey"] for event in await events(second, 1)] == [{"_id": 3}]
        await first.close()
        await second.close()

    engine.run(whole)


def test_updates_and_replacements(engine: Engine) -> None:
    async def body(store: Store, namespace: Namespace, changes: ChangeStream) -> None:
        await store.execute(InsertOne(namespace=namespace, document={"_id": 1, "a": 1, "b": {"c": 1}, "d": [1, 2]}))
        update = {"$set": {"a": 2, "b.c": 5}, "$unset": {"d": 1}}
        await store.execute(UpdateOne(namespace=namespace, filter={"_id": 1}, update=update))
        await events(changes, 2)
        await store.execute(UpdateOne(namespace=namespace, filter={"_id": 1}, update={"$set": {"a": 2}}))
        await store.execute(UpdateOne(namespace=namespace, filter={"_id": 9}, update={"$set": {"a": 2}}))
        await store.execute(ReplaceOne(namespace=namespace, filter={"_id": 1}, replacement={"x": 1}))
        await store.execute(FindOneAndReplace(namespace=namespace, filter={"_id": 1}, replacement={"x": 2}))
        assert [(told(event)["operationType"]) for event in await events(changes, 2)] == ["replace", "replace"]
        await store.execute(UpdateOne(namespace=namespace, filter={"_id": 2}, update={"$set": {"y": 1}}, upsert=True))
        (event,) = await events(changes, 1)
        assert told(event) == {
            "operationType": "insert",
            "fullDocument": {"_id": 2, "y": 1},
            "documentKey": {"_id": 2},
        }
        await silence(changes)

    watching(engine, body)


def test_an_update_says_what_changed(engine: Engine) -> None:
    async def body(store: Store, namespace: Namespace, changes: ChangeStream) -> None:
        await store.execute(InsertOne(namespace=namespace, document={"_id": 1, "a": 1, "b": {"c": 1}, "d": 1}))
        update = {"$set": {"a": 2, "b.c": 5}, "$unset": {"d": 1}}
        await store.execute(UpdateMany(namespace=namespace, filter={}, update=update))
        event = (await events(changes, 2))[1]
        assert told(event) == {
            "operationType": "update",
            "fullDocument": {"_id": 1, "a": 2, "b": {"c": 5}},
            "documentKey": {"_id": 1},
            "updateDescription": {"updatedFields": {"a": 2, "b.c": 5}, "removedFields": ["d"]},
        }

    watching(engine, body)


def test_deletions(engine: Engine) -> None:
    async def body(store: Store, namespace: Namespace, changes: ChangeStream) -> None:
        await store.execute(InsertMany(namespace=namespace, documents=[{"_id": n, "n": n} for n in range(5)]))
        await events(changes, 5)
        await store.execute(DeleteOne(namespace=namespace, filter={"_id": 0}))
        await store.execute(FindOneAndDelete(namespace=namespace, filter={"_id": 1}))
        await store.execute(DeleteOne(namespace=namespace, filter={"_id": 99}))
        await store.execute(DeleteMany(namespace=namespace, filter={"n": {"$gte": 3}}))
        found = [told(event) for event in await events(changes, 4)]
        assert found[:2] == [
            {"operationType": "delete", "documentKey": {"_id": 0}},
            {"operationType": "delete", "documentKey": {"_id": 1}},
        ]
        assert sorted(event["documentKey"]["_id"] for event in found[2:]) == [3, 4]
        await silence(changes)

    watching(engine, body)


def test_a_bulk_write(engine: Engine) -> None:
    async def body(store: Store, namespace: Namespace, changes: ChangeStream) -> None:
        writes: Any = [
            InsertOne(namespace=namespace, document={"_id": 1, "n": 1}),
            UpdateOne(namespace=namespace, filter={"_id": 1}, update={"$inc": {"n": 1}}),
            DeleteOne(namespace=namespace, filter={"_id": 1}),
        ]
        await store.execute(BulkWrite(namespace=namespace, operations=writes))
        found = await events(changes, 3)
        assert [event["operationType"] for event in found] == ["insert", "update", "delete"]

    watching(engine, body)


def test_what_failed_does_not_come(engine: Engine) -> None:
    async def body(store: Store, namespace: Namespace, changes: ChangeStream) -> None:
        await store.execute(InsertOne(namespace=namespace, document={"_id": 1}))
        with pytest.raises(DoorleafError):
            await store.execute(InsertOne(namespace=namespace, document={"_id": 1, "second": True}))
        with pytest.raises(DoorleafError):
            await store.execute(InsertMany(namespace=namespace, documents=[{"_id": 2}, {"_id": 1}, {"_id": 3}]))
        found = await events(changes, 2)
        assert [event["fullDocument"] for event in found] == [{"_id": 1}, {"_id": 2}]
        await silence(changes)

    watching(engine, body)


@pytest.mark.parametrize(
    ("wanted", "come"),
    [
        ({"operationType": "delete"}, ["delete 1"]),
        ({"operationType": {"$in": ["insert", "update"]}}, ["insert 1", "insert 2", "update 1"]),
        ({"documentKey._id": {"$in": [2, "x"]}}, ["insert 2"]),
        ({"fullDocument.n": {"$gt": 1}}, ["insert 2", "update 1"]),
        ({"$and": [{"documentKey._id": 1}, {"fullDocument.n": 7}]}, ["update 1"]),
        ({"updateDescription.updatedFields.n": 7}, ["update 1"]),
        ({"ns.coll": "elsewhere"}, []),
    ],
)
def test_a_filter_is_over_events(engine: Engine, wanted: Document, come: list[str]) -> None:
    async def body(store: Store, namespace: Namespace, changes: ChangeStream) -> None:
        await store.execute(InsertMany(namespace=namespace, documents=[{"_id": 1, "n": 1}, {"_id": 2, "n": 2}]))
        await store.execute(UpdateOne(namespace=namespace, filter={"_id": 1}, update={"$set": {"n": 7}}))
        # The document may be asked for when the event is read, so it has to be there until then.
        found = await events(changes, len([name for name in come if not name.startswith("delete")]))
        await store.execute(DeleteOne(namespace=namespace, filter={"_id": 1}))
        found += await events(changes, len(come) - len(found))
        assert [f"{event['operationType']} {event['documentKey']['_id']}" for event in found] == come
        await silence(changes)

    watching(engine, body, filter=wanted)


def test_a_bad_filter_is_refused(engine: Engine) -> None:
    async def whole(store: Store) -> None:
        namespace = Namespace(unique_database(), NS.collection)
        with pytest.raises(DoorleafError) as raised:
            await store.execute(Watch(namespace=namespace, filter={"$who": 1}))
        assert raised.value.status == 400
        assert "$who" in raised.value.message

    engine.run(whole)


def test_a_dropped_collection_ends_the_stream(engine: Engine) -> None:
    async def body(store: Store, namespace: Namespace, changes: ChangeStream) -> None:
        await store.execute(InsertOne(namespace=namespace, document={"_id": 1}))
        await store.execute(DropCollection(namespace=namespace))
        found = await events(changes, 3)
        assert [event["operationType"] for event in found] == ["insert", "drop", "invalidate"]
        assert "ns" not in found[2]
        await store.execute(InsertOne(namespace=namespace, document={"_id": 2}))
        assert await changes.next() is None
        assert await changes.next() is None

    watching(engine, body)


def test_a_renamed_collection_ends_the_stream(engine: Engine) -> None:
    async def body(store: Store, namespace: Namespace, changes: ChangeStream) -> None:
        whole = await opened(store, WatchDatabase(namespace=Namespace(namespace.database)))
        await store.execute(InsertOne(namespace=namespace, document={"_id": 1}))
        await store.execute(RenameCollection(namespace=namespace, to="new"))
        found = await events(changes, 3)
        assert [event["operationType"] for event in found] == ["insert", "rename", "invalidate"]
        names = {"db": namespace.database, "coll": namespace.collection}
        assert (found[1]["ns"], found[1]["to"]) == (names, names | {"coll": "new"})
        assert await changes.next() is None
        await store.execute(InsertOne(namespace=replace(namespace, collection="new"), document={"_id": 2}))
        told = [event["operationType"] for event in await events(whole, 3)]
        assert told == ["insert", "rename", "insert"]
        await whole.close()

    watching(engine, body)


def test_ids_keep_their_types(engine: Engine) -> None:
    identity = {"who": ObjectId(), "n": 1.0}

    async def body(store: Store, namespace: Namespace, changes: ChangeStream) -> None:
        await store.execute(InsertOne(namespace=namespace, document={"_id": identity, "big": 2**40}))
        (event,) = await events(changes, 1)
        assert event["documentKey"] == {"_id": identity}
        assert event["fullDocument"] == {"_id": identity, "big": 2**40}
        assert isinstance(event["fullDocument"]["_id"]["n"], float)

    watching(engine, body)


def test_many_changes_come_once_and_in_order(engine: Engine) -> None:
    async def body(store: Store, namespace: Namespace, changes: ChangeStream) -> None:
        async def write(start: int) -> None:
            for number in range(start, start + 100):
                await store.execute(InsertOne(namespace=namespace, document={"_id": number}))

        writers = [asyncio.create_task(write(start)) for start in (0, 100, 200)]
        found = [event["documentKey"]["_id"] for event in await events(changes, 300)]
        await asyncio.gather(*writers)
        assert sorted(found) == list(range(300))
        for start in (0, 100, 200):
            mine = [number for number in found if start <= number < start + 100]
            assert mine == sorted(mine)

    watching(engine, body)


def test_a_closed_stream_says_nothing_more(engine: Engine) -> None:
    async def body(store: Store, namespace: Namespace, changes: ChangeStream) -> None:
        await changes.close()
        await store.execute(InsertOne(namespace=namespace, document={"_id": 1}))
        assert await changes.next() is None

    watching(engine, body)


async def opened(store: Store, operation: Watch) -> ChangeStream:
    return (await store.execute(operation)).changes


def test_a_stream_goes_on_behind_a_token(engine: Engine) -> None:
    async def body(store: Store, namespace: Namespace, changes: ChangeStream) -> None:
        await store.execute(InsertMany(namespace=namespace, documents=[{"_id": n} for n in range(6)]))
        tokens = [event["_id"] for event in await events(changes, 6)]
        assert changes.token == tokens[5]
        for name in ("resume_after", "start_after"):
            again: Any = {name: tokens[2]}
            stream = await opened(store, Watch(namespace=namespace, **again))
            assert [event["documentKey"]["_id"] for event in await events(stream, 3)] == [3, 4, 5]
            await stream.close()
        await store.execute(InsertOne(namespace=namespace, document={"_id": 6}))
        stream = await opened(store, Watch(namespace=namespace, start_after=tokens[5]))
        assert [event["documentKey"]["_id"] for event in await events(stream, 1)] == [6]
        await stream.close()

    watching(engine, body)


def test_a_token_that_is_none_is_refused(engine: Engine) -> None:
    async def body(store: Store, namespace: Namespace, changes: ChangeStream) -> None:
        for token in ({"_data": "nonsense"}, {"_data": ""}):
            with pytest.raises(DoorleafError) as raised:
                await opened(store, Watch(namespace=namespace, resume_after=token))
            assert raised.value.status == 400, token

    watching(engine, body)


def test_a_stream_of_a_database_and_one_of_everything(engine: Engine) -> None:
    async def whole(store: Store) -> None:
        here, there = unique_database(), unique_database()
        streams = [
            await opened(store, WatchDatabase(namespace=Namespace(here))),
            await opened(store, WatchServer(namespace=Namespace("admin"))),
        ]
        for database, collection in ((here, "a"), (there, "b"), (here, "c")):
            await store.execute(InsertOne(namespace=Namespace(database, collection), document={"_id": 1}))
        await store.execute(DropCollection(namespace=Namespace(here, "a")))
        await store.execute(InsertOne(namespace=Namespace(here, "c"), document={"_id": 2}))
        found = [[], []]  # type: ignore[var-annotated]
        for number, stream in enumerate(streams):
            while not (found[number] and found[number][-1].endswith("c insert 2")):
                come = await stream.next()
                assert come is not None, "a dropped collection ends neither"
                for event in come:
                    assert isinstance(event, Event), "it was decoded with its size, a large one not on the event loop"
                    place = event["ns"]
                    if place["db"] in (here, there) and event["operationType"] in ("insert", "drop"):
                        key = event.get("documentKey", {}).get("_id", "")
                        found[number].append(f"{place['coll']} {event['operationType']} {key}")
            await stream.close()
        assert found[0] == ["a insert 1", "c insert 1", "a drop ", "c insert 2"]
        assert found[1] == ["a insert 1", "b insert 1", "c insert 1", "a drop ", "c insert 2"]

    engine.run(whole)


def test_updates_without_their_document(engine: Engine) -> None:
    async def body(store: Store, namespace: Namespace, changes: ChangeStream) -> None:
        await store.execute(InsertOne(namespace=namespace, document={"_id": 1, "a": 1}))
        await store.execute(UpdateOne(namespace=namespace, filter={"_id": 1}, update={"$set": {"a": 2}}))
        await store.execute(ReplaceOne(namespace=namespace, filter={"_id": 1}, replacement={"b": 1}))
        found = await events(changes, 3)
        assert ["fullDocument" in event for event in found] == [True, False, True]
        assert found[1]["updateDescription"]["updatedFields"] == {"a": 2}

    watching(engine, body, full_document="default")


def test_a_stream_that_begins_at_a_time(engine: Engine) -> None:
    async def body(store: Store, namespace: Namespace, changes: ChangeStream) -> None:
        await store.execute(InsertMany(namespace=namespace, documents=[{"_id": n} for n in range(4)]))
        found = await events(changes, 4)
        stream = await opened(store, Watch(namespace=namespace, start_at_operation_time=found[2]["clusterTime"]))
        assert [event["documentKey"]["_id"] for event in await events(stream, 2)] == [2, 3]
        await stream.close()

    watching(engine, body)
