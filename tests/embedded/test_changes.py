"""Change streams of the embedded database: what they tell, across processes, and where they are resumed."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from bson.timestamp import Timestamp
from opened import C, Run, fill
from watching import alter, kinds, watch

from doorleaf.documents import Document
from doorleaf.ejson import parts
from doorleaf.errors import DataError, StoreTimeout, StoreUnavailable
from doorleaf.operations import (
    Aggregate,
    CreateCollection,
    CreateIndex,
    DeleteOne,
    DropCollection,
    Find,
    FindOne,
    InsertOne,
    Namespace,
    RunCommand,
    UpdateOne,
    Watch,
    WatchDatabase,
    WatchServer,
)
from doorleaf.operations.results import ChangeStream
from doorleaf.stores.embedded.changes import stream as change_stream
from doorleaf.stores.embedded.store import EmbeddedStore


def test_another_process_is_heard(tmp_path: Path) -> None:
    """Two stores on one folder stand for two processes: they share nothing but the file."""

    async def whole() -> None:
        here, there = EmbeddedStore(tmp_path), EmbeddedStore(tmp_path)
        await here.open()
        await there.open()
        try:
            await fill(there, {"_id": 0})
            stream = await watch(here)
            await fill(there, {"_id": 1})
            assert await kinds(stream, 1) == ["insert"]
            other = await watch(there)
            await fill(here, {"_id": 2})
            assert await kinds(other, 1) == ["insert"]
            assert await kinds(stream, 1) == ["insert"]
            await there.execute(DropCollection(namespace=C))
            assert await kinds(stream, 3) == ["drop", "invalidate"]
            assert await kinds(other, 3) == ["drop", "invalidate"]
        finally:
            await there.close()
            await here.close()

    asyncio.run(whole())


def test_a_place_that_is_not_there_yet_can_be_watched(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        stream = await watch(store)
        assert (await store.execute(Find(namespace=C))).documents.decode() == []
        await store.execute(CreateCollection(namespace=C))
        await store.execute(CreateIndex(namespace=C, keys={"a": 1}))
        await fill(store, {"_id": 1})
        assert await kinds(stream, 1) == ["insert"]

    run(scenario)


def test_documents_before_a_deletion(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1, "n": 1}, {"_id": 2})
        plain, full = await watch(store), await watch(store, full_document_before_change="whenAvailable")
        await store.execute(UpdateOne(namespace=C, filter={"_id": 1}, update={"$set": {"n": 2}}))
        await store.execute(DeleteOne(namespace=C, filter={"_id": 1}))
        update, deletion = await _events(full, 2)
        assert update["fullDocumentBeforeChange"] == {"_id": 1, "n": 1}
        assert deletion["fullDocumentBeforeChange"] == {"_id": 1, "n": 2}
        assert all("fullDocumentBeforeChange" not in event for event in await _events(plain, 2))

    run(scenario)


async def _events(stream: ChangeStream, count: int) -> list[Document]:
    found: list[Document] = []
    while len(found) < count:
        found += await stream.next() or []
    return found


def test_documents_that_expire(tmp_path: Path) -> None:
    async def whole() -> None:
        store = EmbeddedStore(tmp_path)
        await store.open()
        try:
            await store.execute(CreateIndex(namespace=C, keys={"at": 1}, options={"expireAfterSeconds": 0}))
            stream = await watch(store)
            await fill(store, {"_id": 1, "at": datetime(2020, 1, 1)}, {"_id": 2})
            assert await store.sweep() == 1
            assert await kinds(stream, 3) == ["insert", "insert", "delete"]
        finally:
            await store.close()

    asyncio.run(whole())


async def tokens(stream: ChangeStream, count: int) -> list[Document]:
    return [event["_id"] for event in await _events(stream, count)]


def refusal(number: int) -> Any:
    return pytest.raises(DataError, check=lambda error: error.number == number)


def test_what_was_not_logged_all_the_time_cannot_be_resumed(tmp_path: Path, run: Run) -> None:
    """A gap is an error, also where nothing was logged between, and where somebody else has begun to watch since."""

    async def scenario(store: EmbeddedStore) -> None:
        stream = await watch(store)
        await fill(store, {"_id": 1})
        (token,) = await tokens(stream, 1)
        assert stream.token == token
        again = await watch(store, resume_after=token)
        await fill(store, {"_id": 2})
        assert await kinds(again, 1) == ["insert"]
        alter(tmp_path, "UPDATE state SET tick = 12")
        await store.sweep()
        await fill(store, {"_id": "not logged"})
        with refusal(286):
            await watch(store, resume_after=token)
        await watch(store)
        with refusal(286):
            await watch(store, resume_after=token)

    run(scenario)


def test_another_collection_was_not_logged_either(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        stream = await watch(store)
        await fill(store, {"_id": 1}, namespace=Namespace("db", "other"))
        await fill(store, {"_id": 1})
        (token,) = await tokens(stream, 1)
        for operation in (
            Watch(namespace=Namespace("db", "other"), start_after=token),
            WatchDatabase(namespace=Namespace("db"), start_after=token),
            WatchServer(namespace=Namespace("admin"), start_after=token),
            Watch(namespace=Namespace("db", "other"), start_at_operation_time=Timestamp(1, 1)),
        ):
            with refusal(286):
                await store.execute(operation)
        # Who watches a whole database watches each of its collections.
        whole = (await store.execute(WatchDatabase(namespace=Namespace("db")))).changes
        await fill(store, {"_id": 2}, {"_id": 3}, namespace=Namespace("db", "other"))
        first, _ = await _events(whole, 2)
        resumed = await watch(store, Namespace("db", "other"), resume_after=first["_id"])
        assert [event["documentKey"]["_id"] for event in await _events(resumed, 1)] == [3]

    run(scenario)


def test_tokens_that_are_over_or_of_another_database(tmp_path: Path, run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        stream = await watch(store)
        await fill(store, *({"_id": number} for number in range(20)))
        found = await tokens(stream, 20)
        change, rest = int(found[3]["_data"][:16], 16), found[3]["_data"][16:]
        for foreign in (f"{change:016X}{1:012X}00", f"{change + 500:016X}{rest}"):
            with refusal(280):
                await watch(store, resume_after={"_data": foreign})
        for bad in ("", "zz", found[3]["_data"].lower() + "0", found[3]["_data"][:-2] + "07"):
            with refusal(260):
                await watch(store, resume_after={"_data": bad})
        alter(tmp_path, f"INSERT INTO ticks VALUES (1, {change}), (2, {change + 1})")
        alter(tmp_path, "UPDATE state SET tick = 11")
        await store.sweep()
        assert len(await tokens(await watch(store, resume_after=found[3]), 16)) == 16
        with refusal(286):
            await watch(store, resume_after=found[2])

    run(scenario)


def test_the_end_of_a_stream_can_be_gone_behind(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        stream, whole = await watch(store), (await store.execute(WatchDatabase(namespace=Namespace("db")))).changes
        await store.execute(DropCollection(namespace=C))
        drop, end = await tokens(stream, 2)
        assert await kinds(await watch(store, resume_after=drop), 2) == ["invalidate"]
        with refusal(260):
            await watch(store, resume_after=end)
        await fill(store, {"_id": 2})
        assert await kinds(await watch(store, start_after=end), 1) == ["insert"]
        assert await kinds(whole, 2) == ["drop", "insert"]
        await store.execute(RunCommand(namespace=Namespace("db"), command={"dropDatabase": 1}))
        assert await kinds(whole, 4) == ["drop", "dropDatabase", "invalidate"]
        assert await whole.next() is None

    run(scenario)


def test_a_database_among_many_changes_of_others(run: Run) -> None:
    """Rows of others are passed over a thousand at a time."""

    async def scenario(store: EmbeddedStore) -> None:
        stream = (await store.execute(WatchDatabase(namespace=Namespace("db")))).changes
        await watch(store, Namespace("elsewhere", "c"))
        await fill(store, *({"_id": number} for number in range(2500)), namespace=Namespace("elsewhere", "c"))
        await fill(store, {"_id": "mine"})
        (event,) = await _events(stream, 1)
        assert event["documentKey"] == {"_id": "mine"}
        assert await stream.next() == []

    run(scenario)


def test_out_ends_a_stream_and_merge_does_not(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        source = Namespace("db", "source")
        await fill(store, {"_id": 1, "n": 1}, {"_id": 2, "n": 2}, namespace=source)
        await fill(store, {"_id": 1, "n": 0, "kept": 1})
        stream = await watch(store)
        await store.execute(Aggregate(namespace=source, pipeline=[{"$merge": {"into": "c"}}]))
        replace = {"into": "c", "whenMatched": "replace"}
        await store.execute(Aggregate(namespace=source, pipeline=[{"$match": {"_id": 1}}, {"$merge": replace}]))
        assert await kinds(stream, 3) == ["update", "insert", "replace"]
        await store.execute(Aggregate(namespace=source, pipeline=[{"$out": "c"}]))
        assert await kinds(stream, 3) == ["drop", "invalidate"]
        assert await stream.next() is None

    run(scenario)


def test_a_dropped_database(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        stream = await watch(store)
        await store.execute(RunCommand(namespace=Namespace("db"), command={"dropDatabase": 1}))
        assert await kinds(stream, 3) == ["drop", "invalidate"]

    run(scenario)


def test_a_large_backlog_comes_in_pages(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        stream = await watch(store)
        await fill(store, *({"_id": number, "text": "x" * 100_000} for number in range(10)))
        first = await stream.next()
        assert first is not None
        assert 1 <= len(first) < 10
        assert await kinds(stream, 10 - len(first)) == ["insert"] * (10 - len(first))

    run(scenario)


def test_large_events_are_decoded_beside_the_event_loop(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    where: dict[bool, set[str]] = {True: set(), False: set()}

    def looking(document: bytes) -> Document:
        where[len(document) > 300_000].add(threading.current_thread().name.partition("_")[0])
        return parts.decode(document)

    monkeypatch.setattr(change_stream, "decode", looking)
    large = {"_id": 2, "parts": [{"n": n, "text": "x" * 90} for n in range(4_000)]}

    async def scenario(store: EmbeddedStore) -> None:
        stream = await watch(store)
        await fill(store, {"_id": 1})
        [small] = await stream.next() or []
        await fill(store, large)
        [event] = await stream.next() or []
        assert (small["fullDocument"], event["fullDocument"]) == ({"_id": 1}, large)
        assert where == {True: {"doorleaf-coding"}, False: {threading.current_thread().name}}

    run(scenario)


def test_a_closed_store_is_told(tmp_path: Path) -> None:
    async def whole() -> None:
        store = EmbeddedStore(tmp_path)
        await store.open()
        stream = await watch(store)
        await store.close()
        with pytest.raises(StoreUnavailable):
            await stream.next()

    asyncio.run(whole())


def test_a_filter_that_never_ends_holds_up_nobody(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        evil = {"$expr": {"$regexMatch": {"input": {"$toString": "$fullDocument.t"}, "regex": "(a|aa)+$"}}}
        streams = [(await store.execute(Watch(namespace=C, filter=evil))).changes for _ in range(5)]
        await store.execute(InsertOne(namespace=C, document={"_id": 1, "t": "a" * 60 + "!"}))
        waiting = [asyncio.create_task(stream.next()) for stream in streams]
        slowest = 0.0
        while not all(task.done() for task in waiting):
            began = time.process_time()  # the filters are judged in other processes
            assert (await store.execute(FindOne(namespace=C, filter={"_id": 1}))).document is not None
            slowest = max(slowest, time.process_time() - began)
            await asyncio.sleep(0.01)
        assert slowest < 0.35
        assert all(isinstance(error, StoreTimeout) for error in await asyncio.gather(*waiting, return_exceptions=True))
        assert store.workers().started > 0

    run(scenario)
