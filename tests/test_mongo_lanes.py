"""The short way for reads: it is taken, it gives way, and nothing but speed depends on it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import re
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Int64
from guards import Looks
from pymongo.errors import OperationFailure
from servers import mortal_mongodb

from doorleaf.documents import CODEC, Document
from doorleaf.errors import DataError, DoorleafError, StoreTimeout, StoreUnavailable
from doorleaf.operations import (
    Aggregate,
    CountDocuments,
    DeleteMany,
    Distinct,
    EstimatedDocumentCount,
    Find,
    FindOne,
    FindOneAndUpdate,
    InsertMany,
    InsertOne,
    Namespace,
    Operation,
    RunCommand,
    UpdateOne,
    Watch,
    WatchServer,
)
from doorleaf.operations.results import DocumentResult, UpdateResult
from doorleaf.stores.mongo import MongoStore
from doorleaf.stores.mongo.lanes import connections as lane_versions
from doorleaf.stores.mongo.lanes import wire
from doorleaf.stores.mongo.lanes.commands import encoded
from doorleaf.stores.mongo.lanes.connections import Lanes
from doorleaf.stores.mongo.lanes.replies import batch, carried_out, cursor_id, is_error, members

NS = Namespace("mongo_lanes", "things")
TEN = [{"_id": number} for number in range(10)]


def run(uri: str, body: Callable[[MongoStore, Lanes], Awaitable[Any]], **options: Any) -> Any:
    async def whole() -> Any:
        store = MongoStore(uri, **options)
        await store.open()
        try:
            return await body(store, store._lanes)
        finally:
            await store.close()

    return asyncio.run(whole())


async def fill(store: MongoStore) -> None:
    await store.execute(DeleteMany(namespace=NS, filter={}))
    await store.execute(InsertMany(namespace=NS, documents=list(TEN)))


def test_reads_take_a_lane_and_use_it_again(mongodb_uri: str) -> None:
    async def body(store: MongoStore, lanes: Lanes) -> None:
        await fill(store)
        for number in range(10):
            found = await store.execute(FindOne(namespace=NS, filter={"_id": number}))
            assert found.document == bson.encode({"_id": number})
        await asyncio.gather(*[store.execute(Find(namespace=NS, limit=5)) for _ in range(4)])
        assert lanes._usable
        assert 1 <= lanes._held <= 5
        for _ in range(300):  # a lane that was being made while its reader took another comes back by itself
            if len(lanes._free) == lanes._held:
                break
            await asyncio.sleep(0.01)
        assert len(lanes._free) == lanes._held

    run(mongodb_uri, body)


def test_errors_of_the_server_do_not_cost_a_lane(mongodb_uri: str) -> None:
    async def body(store: MongoStore, lanes: Lanes) -> None:
        for _ in range(3):
            with pytest.raises(DataError) as raised:
                await store.execute(FindOne(namespace=NS, filter={"a": {"$nope": 1}}))
            assert raised.value.number == 2
        assert (lanes._usable, lanes._held, len(lanes._free)) == (True, 1, 1)

    run(mongodb_uri, body)


def test_the_pool_is_shared_with_everything_else(mongodb_uri: str) -> None:
    """More reads at once than connections, and writes among them: lanes hold no more than their part."""

    async def body(store: MongoStore, lanes: Lanes) -> None:
        await fill(store)
        reads: list[Awaitable[Any]] = [
            store.execute(FindOne(namespace=NS, filter={"_id": number % 10})) for number in range(60)
        ]
        writes: list[Awaitable[Any]] = [
            store.execute(InsertOne(namespace=NS, document={"_id": f"w{number}"})) for number in range(20)
        ]
        answers: list[Any] = await asyncio.gather(*reads, *writes)
        assert all(answer.document for answer in answers[:60])
        assert lanes._held <= 3

    separator = "&" if "?" in mongodb_uri else "?"
    uri = mongodb_uri.replace("&maxPoolSize=16", "") + f"{separator}maxPoolSize=4"
    run(uri, body)


def test_who_finds_every_lane_busy_waits_for_one_that_comes_back(
    mongodb_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind nobody's many if it has few. Where none does, it goes the driver's own way; who left is not counted."""
    monkeypatch.setattr(lane_versions, "PATIENCE_SECONDS", 60.0)

    async def body(store: MongoStore, lanes: Lanes) -> None:
        await fill(store)

        async def once() -> bool:
            lane = await lanes.take("")
            if lane is None:
                return False
            await asyncio.sleep(0)
            lanes.give(lane)
            return True

        for lane in [await lanes.take("") for _ in range(4)]:
            assert lane is not None
            lanes.give(lane)
        assert all(await asyncio.gather(*(once() for _ in range(200))))
        assert lanes.pool() == {"used": 0, "idle": 4, "waiting": 0}

        held = [lane for lane in [await lanes.take("") for _ in range(4)] if lane is not None]
        assert lanes._places.enter("many")
        leaves, *many = [asyncio.create_task(lanes.take("many", patient=True)) for _ in range(3)]
        await asyncio.sleep(0)
        few = asyncio.create_task(lanes.take("few"))
        await asyncio.sleep(0)
        assert lanes.pool() == {"used": 4, "idle": 0, "waiting": 4}
        leaves.cancel()
        await asyncio.wait({leaves})
        assert lanes.pool()["waiting"] == 3
        for lane, first in zip(held, (few, *many), strict=False):
            lanes.give(lane)
            assert await first is lane

        monkeypatch.setattr(lane_versions, "PATIENCE_SECONDS", 0.001)
        assert await lanes.take("") is None, "those who hold them go on for long"
        assert lanes.pool()["waiting"] == 0
        found = await store.execute(FindOne(namespace=NS, filter={"_id": 7}))
        assert found.document == bson.encode({"_id": 7})
        for lane in held:
            lanes.give(lane)
        assert lanes.pool() == {"used": 0, "idle": 4, "waiting": 0}

    separator = "&" if "?" in mongodb_uri else "?"
    run(mongodb_uri.replace("&maxPoolSize=16", "") + f"{separator}maxPoolSize=4", body)


def test_a_read_that_is_cancelled_gives_its_connection_up(mongodb_uri: str) -> None:
    """The rest of an answer nobody waits for must never be the answer to another."""

    async def body(store: MongoStore, lanes: Lanes) -> None:
        await fill(store)
        await store.execute(FindOne(namespace=NS))
        for _ in range(5):
            task = asyncio.create_task(store.execute(Find(namespace=NS, limit=10)))
            await asyncio.sleep(0.0005)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            found = await store.execute(FindOne(namespace=NS, filter={"_id": 7}))
            assert found.document == bson.encode({"_id": 7})
        await asyncio.gather(*lanes._tasks)
        assert lanes._held == len(lanes._free)

    run(mongodb_uri, body)


def test_a_change_of_the_deployment_hands_the_lanes_back(mongodb_uri: str) -> None:
    async def body(store: MongoStore, lanes: Lanes) -> None:
        await store.execute(FindOne(namespace=NS))
        assert lanes._held == 1
        lanes.renew()
        await asyncio.gather(*lanes._tasks)
        assert lanes._held == 0
        await store.execute(FindOne(namespace=NS))
        assert lanes._held == 1

    run(mongodb_uri, body)


def test_who_is_cancelled_while_lanes_are_handed_back_leaves_none_of_an_old_deployment(mongodb_uri: str) -> None:
    async def body(store: MongoStore, lanes: Lanes) -> None:
        for lane in [await lanes.take("") for _ in range(3)]:
            lanes.give(lane)  # type: ignore[arg-type]  # there is room for three
        (server,) = store._client._topology._servers.values()  # type: ignore[union-attr]
        for lane in lanes._free:
            lane.picture = lanes._picture = object()  # as if the deployment had changed
        async with server.pool.lock:  # which whoever gives a connection back waits for
            taking = asyncio.create_task(lanes.take(""))
            while lanes._picture is not lanes.topology._description:  # noqa: ASYNC110  # nobody tells of it
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            taking.cancel()
        await asyncio.wait({taking})
        assert taking.cancelled()
        assert all(lane.picture is lanes._picture for lane in lanes._free)
        await asyncio.gather(*lanes._tasks)
        assert server.pool.active_sockets == lanes._held == len(lanes._free)

    run(mongodb_uri, body)


def test_a_server_that_dies_and_comes_back(tmp_path: Path) -> None:
    with mortal_mongodb(tmp_path / "db") as server:

        async def body(store: MongoStore, lanes: Lanes) -> None:
            await fill(store)
            await asyncio.gather(*[store.execute(Find(namespace=NS, limit=5)) for _ in range(5)])
            server.kill()
            with pytest.raises((StoreUnavailable, StoreTimeout)):
                await store.execute(FindOne(namespace=NS))
            await asyncio.to_thread(server.start)
            for _ in range(20):
                try:
                    found = await store.execute(FindOne(namespace=NS, filter={"_id": 3}))
                    break
                except StoreUnavailable:
                    await asyncio.sleep(0.1)
            assert found.document == bson.encode({"_id": 3})
            assert lanes._held == len(lanes._free)

        run(server.uri, body, server_selection_timeout=1)


@pytest.mark.parametrize("broken", ["_select_server", "_checkout"])
def test_an_unknown_pymongo_is_used_its_own_way(
    mongodb_uri: str, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(store: MongoStore, lanes: Lanes) -> None:
        await fill(store)
        lanes.renew()
        setattr(lanes._client, broken, None)
        try:
            with caplog.at_level(logging.WARNING):
                command = encoded(NS.database, {"find": NS.collection, "filter": {}})
                assert await store._way.documents(command, NS.database, math.inf, None, "") is None
        finally:
            delattr(lanes._client, broken)
        assert not lanes._usable
        assert lanes._held == 0
        assert "PyMongo" in caplog.text
        found = await store.execute(FindOne(namespace=NS, filter={"_id": 3}))
        assert found.document == bson.encode({"_id": 3})
        assert len((await store.execute(Find(namespace=NS))).documents) == 10

    run(mongodb_uri, body)


@pytest.mark.parametrize("option", ["readPreference=secondaryPreferred", "readConcernLevel=majority"])
def test_what_the_uri_asks_for_is_kept(mongodb_uri: str, option: str) -> None:
    async def body(store: MongoStore, lanes: Lanes) -> None:
        await fill(store)
        assert (await store.execute(FindOne(namespace=NS, filter={"_id": 3}))).document == bson.encode({"_id": 3})
        assert lanes._held == 0
        seen: list[Any] = []
        change = UpdateOne(
            namespace=NS,
            filter={"_id": 3},
            update={"$set": {"a": 1}},
            guard=Looks(lambda before, after: seen.append((before, after))),
        )
        assert await store.execute(change) == UpdateResult(1, 1)
        assert seen == [({"_id": 3}, {"_id": 3, "a": 1})]

    run(f"{mongodb_uri}{'&' if '?' in mongodb_uri else '?'}{option}", body)


def test_lanes_can_be_turned_off(mongodb_uri: str) -> None:
    async def body(store: MongoStore, lanes: Lanes) -> None:
        await fill(store)
        assert (await store.execute(FindOne(namespace=NS, filter={"_id": 3}))).document == bson.encode({"_id": 3})
        assert (lanes.usable, lanes._held) == (False, 0)

    run(mongodb_uri, body, lanes=False)


def test_other_versions_have_no_lanes(
    mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lane_versions, "TESTED", ((3, 12),))
    caplog.set_level(logging.INFO)

    async def body(store: MongoStore, lanes: Lanes) -> None:
        assert (await store.execute(RunCommand(namespace=NS, command={"ping": 1}))).result["ok"] == 1
        await fill(store)
        assert (await store.execute(FindOne(namespace=NS, filter={"_id": 3}))).document == bson.encode({"_id": 3})
        assert (lanes._usable, lanes._held) == (False, 0)
        assert "go PyMongo's own way: PyMongo" in caplog.text

    run(mongodb_uri, body)


def test_in_other_versions_events_of_changes_are_taken_one_by_one(
    mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(watched: Watch, store: MongoStore, lanes: Lanes) -> list[int]:
        changes = (await store.execute(watched)).changes
        try:
            assert await changes.next() == []
            await store.execute(InsertMany(namespace=NS, documents=[{"_id": at} for at in range(900, 905)]))
            taken: list[int] = []
            while sum(taken) < 5:
                come = await changes.next()
                assert come is not None
                taken += [len(come)] if come else []
            return taken
        finally:
            await changes.close()
            await store.execute(DeleteMany(namespace=NS, filter={"_id": {"$gte": 900}}))

    both = Watch(namespace=NS), WatchServer(namespace=Namespace("", ""), filter={"ns.db": NS.database})
    for watched in both:
        assert run(mongodb_uri, partial(body, watched))[-1] > 1, "they come together"
    told = "events of changes in MongoDB are taken one by one: PyMongo"
    assert told not in caplog.text
    monkeypatch.setattr(lane_versions, "TESTED", ((3, 12),))
    caplog.set_level(logging.INFO)
    for watched in both:
        assert run(mongodb_uri, partial(body, watched)) == [1] * 5
    assert told in caplog.text

    async def way(store: MongoStore, lanes: Lanes) -> str:
        return store.way()

    unknown = r"PyMongo \S+ is not known"
    assert re.fullmatch(f"driver: {unknown}; events of changes one by one: {unknown}", run(mongodb_uri, way))


def test_ten_thousand_cancelled_operations_leave_no_connection(mongodb_uri: str) -> None:
    """Cancelled while they wait for a lane, before they send, while they wait for an answer, and when it is there."""

    async def body(store: MongoStore, lanes: Lanes) -> None:
        await fill(store)
        pool = store._client._topology._servers  # type: ignore[union-attr]
        for round in range(100):
            change = UpdateOne(namespace=NS, filter={"_id": 3}, update={"$set": {"a": round}})
            tasks: list[asyncio.Task[Any]] = []
            for number in range(50):
                find = FindOne(namespace=NS, filter={"_id": number % 10})
                tasks += (asyncio.create_task(store.execute(find)), asyncio.create_task(store.execute(change)))
            await asyncio.sleep(0.0003 * (round % 7))
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(outcome).__name__ for outcome in outcomes} <= {
                "CancelledError", "DocumentResult", "UpdateResult"
            }  # fmt: skip
        for _ in range(200):
            if not lanes._tasks and len(lanes._free) == lanes._held:
                break
            await asyncio.sleep(0.05)
        assert len(lanes._free) == lanes._held <= 3
        assert not lanes._waiting
        # What the driver's pool thinks is in use is what lanes hold.
        for server in pool.values():
            assert server.pool.active_sockets == lanes._held
            assert server.pool.operation_count == lanes._held
        found = await store.execute(FindOne(namespace=NS, filter={"_id": 7}))
        assert found.document == bson.encode({"_id": 7})

    separator = "&" if "?" in mongodb_uri else "?"
    run(mongodb_uri.replace("&maxPoolSize=16", "") + f"{separator}maxPoolSize=4", body)


@pytest.mark.parametrize(
    ("words", "way"),
    [
        ("", "lanes"),
        ("readPreference=secondaryPreferred", "driver: the URI has a read preference"),
        ("off", "driver: they are turned off"),
    ],
)
def test_the_way_is_told(mongodb_uri: str, words: str, way: str) -> None:
    async def body(store: MongoStore, lanes: Lanes) -> None:
        assert store.way() == way

    off = words == "off"
    separator = "&" if "?" in mongodb_uri else "?"
    run(mongodb_uri + ("" if off or not words else separator + words), body, lanes=not off)


OPERATIONS: list[Operation[Any]] = [
    InsertOne(namespace=NS, document={"_id": "a"}),
    InsertOne(namespace=NS, document={"_id": "a"}),
    FindOne(namespace=NS, filter={"_id": 3}),
    FindOne(namespace=NS, filter={"_id": "nobody"}),
    FindOne(namespace=NS, filter={"a": {"$nope": 1}}),
    Find(namespace=NS, filter={"_id": {"$lt": 9}}, limit=5),
    Find(namespace=NS, filter={"_id": "nobody"}, limit=5),
    Find(namespace=NS, filter={}, limit=5, max_bytes=20),
    Aggregate(namespace=NS, pipeline=[{"$match": {"_id": {"$gt": 7}}}], cap=100),
    Aggregate(namespace=NS, pipeline=[{"$match": {}}], cap=3),
    CountDocuments(namespace=NS, filter={"_id": {"$gt": 2}}),
    EstimatedDocumentCount(namespace=NS),
    Distinct(namespace=NS, key="_id", filter={"_id": {"$lt": 3}}),
    UpdateOne(namespace=NS, filter={"_id": 1}, update={"$set": {"b": 1}}),
    UpdateOne(namespace=NS, filter={"_id": 1}, update={"$set": {"b": 1}}),
    UpdateOne(namespace=NS, filter={"_id": 77}, update={"$set": {"b": 1}}, upsert=True),
    FindOneAndUpdate(namespace=NS, filter={"_id": 1}, update={"$set": {"b": 2}}),
    DeleteMany(namespace=NS, filter={"_id": {"$gt": 6}}),
]


def test_replies_are_read_alike_natively_and_in_python(mongodb_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(store: MongoStore, lanes: Lanes) -> list[Any]:
        await fill(store)
        results: list[Any] = []
        for operation in OPERATIONS:
            try:
                result = await store.execute(operation)
            except DoorleafError as error:
                results.append((type(error), error.message, error.fields))
            else:
                documents = getattr(result, "documents", None)
                results.append(result if documents is None else documents.batches)
        assert lanes._held == len(lanes._free) == 1
        return results

    first = run(mongodb_uri, body)
    monkeypatch.setattr(wire, "_content", wire._unread)
    assert run(mongodb_uri, body) == first
    assert first[2] == DocumentResult(bson.encode({"_id": 3}))
    assert first[5] == [b"".join(bson.encode({"_id": number}) for number in range(5))]


def encode(document: Document) -> bytes:
    return bson.encode(document, codec_options=CODEC)


DOCUMENTS = [{"_id": number, "a": ["\x00", {}]} for number in range(120)]


@pytest.mark.parametrize("count", [0, 1, 2, 10, 11, 99, 100, 101, 120])
@pytest.mark.parametrize("name", ["firstBatch", "nextBatch"])
def test_batches_are_cut_out(count: int, name: str) -> None:
    wanted = b"".join(encode(document) for document in DOCUMENTS[:count])
    usual = {"cursor": {name: DOCUMENTS[:count], "id": Int64(77), "ns": "a.b"}, "ok": 1.0}
    turned = {"ok": 1, "cursor": {"ns": "a.b", "id": Int64(77), name: DOCUMENTS[:count]}}
    for reply in (usual, turned):
        assert batch(encode(reply)) == wanted
        assert cursor_id(encode(reply)) == 77
    array = encode(dict(zip(map(str, range(count)), DOCUMENTS, strict=False)))
    assert members(array) == wanted
    assert not is_error(encode(usual))


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ({"n": 1, "ok": 1.0}, (1, 0)),
        ({"n": 0, "nModified": 0, "ok": 1.0, "$clusterTime": {"x": 1}}, (0, 0)),
        (
            {"n": 2, "electionId": b"x", "opTime": {"t": 1}, "nModified": 1, "ok": 1.0},
            (2, 1),
        ),
        ({"n": 1, "ok": 0.0}, None),
        ({"n": 1.0, "ok": 1.0}, None),
        ({"ok": 1.0, "n": 1}, None),
        ({"n": 1, "upserted": [{"index": 0, "_id": 1}], "ok": 1.0}, None),
        ({"n": 0, "writeErrors": [{"index": 0, "code": 11000}], "ok": 1.0}, None),
        ({"n": 1, "writeConcernError": {"code": 64}, "ok": 1.0}, None),
        ({"n": 1, "ok": 1.0, "nModified": 1}, None),
        ({"ok": 0.0, "errmsg": "n"}, None),
    ],
)
def test_replies_to_writes_are_read_without_decoding_them(reply: Document, told: tuple[int, int] | None) -> None:
    assert carried_out(encode(reply)) == told


def test_replies_that_are_errors() -> None:
    reply = encode({"ok": 0.0, "errmsg": "no", "code": 2, "codeName": "BadValue"})
    assert is_error(reply)
    assert cursor_id(reply) == 0
    with pytest.raises(OperationFailure) as raised:
        batch(reply)
    assert raised.value.code == 2
    assert raised.value.details is not None
    assert raised.value.details["codeName"] == "BadValue"
