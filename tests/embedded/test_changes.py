"""The log behind change streams: when it is kept, for how long, and across processes and formats of the file."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from opened import C, Run, fill

from doorleaf.documents import Document
from doorleaf.errors import DataError, StoreUnavailable
from doorleaf.operations import (
    Aggregate,
    CreateCollection,
    CreateIndex,
    DeleteOne,
    DropCollection,
    Find,
    InsertOne,
    Namespace,
    RunCommand,
    UpdateOne,
    Watch,
)
from doorleaf.results import ChangeStream
from doorleaf.stores.embedded import change_log
from doorleaf.stores.embedded.catalog import SCHEMAS
from doorleaf.stores.embedded.storage import FILE, FORMAT
from doorleaf.stores.embedded.store import EmbeddedStore


async def watch(store: EmbeddedStore, namespace: Namespace = C, **options: Any) -> ChangeStream:
    return (await store.execute(Watch(namespace=namespace, **options))).changes


async def kinds(stream: ChangeStream, count: int) -> list[str]:
    """The kinds of the next ``count`` events."""
    found: list[Document] = []
    until = time.monotonic() + 20
    while len(found) < count and time.monotonic() < until:
        come = await stream.next()
        if come is None:
            break
        found += come
    return [event["operationType"] for event in found]


def logged(store: EmbeddedStore) -> int:
    return store.now(lambda session: session.execute("SELECT COUNT(*) FROM changes").fetchone()[0])  # type: ignore[no-any-return]


def watched(store: EmbeddedStore) -> set[tuple[str, str]]:
    return store.now(lambda session: set(session.catalog.watched))


def alter(folder: Path, statement: str, *values: Any) -> None:
    """Change the file as time would."""
    with closing(sqlite3.connect(folder / FILE)) as connection, connection:
        connection.execute(statement, values)
        connection.execute("UPDATE state SET catalog = catalog + 1")


def test_what_nobody_watches_is_not_logged(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        assert logged(store) == 0
        stream = await watch(store)
        await fill(store, {"_id": 2})
        await fill(store, {"_id": 1}, namespace=Namespace("db", "other"))
        await fill(store, {"_id": 1}, namespace=Namespace("elsewhere", "c"))
        assert logged(store) == 1
        assert await kinds(stream, 1) == ["insert"]

    run(scenario)


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
            assert watched(here) == set()
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


def test_a_name_that_no_collection_can_have_is_refused(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        with pytest.raises(DataError) as raised:
            await watch(store, Namespace("db", "a$b"))
        assert raised.value.number == 73
        assert watched(store) == set()

    run(scenario)


def test_documents_before_a_deletion(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1, "n": 1}, {"_id": 2})
        plain, full = await watch(store), await watch(store, before=True)
        await store.execute(UpdateOne(namespace=C, filter={"_id": 1}, update={"$set": {"n": 2}}))
        await store.execute(DeleteOne(namespace=C, filter={"_id": 1}))
        update, deletion = await _events(full, 2)
        assert "fullDocumentBeforeChange" not in update
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


def test_a_watch_ends_when_nobody_renews_it(tmp_path: Path, run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        stream = await watch(store)
        await fill(store, {"_id": 1})
        alter(tmp_path, "UPDATE watched SET until = ?", int(time.time()) - 1)
        await store.sweep()
        assert watched(store) == set()
        await fill(store, {"_id": 2})
        assert logged(store) == 1
        # What was logged is still told; that more may be missing is too.
        assert await kinds(stream, 1) == ["insert"]
        with pytest.raises(DataError) as raised:
            await stream.next()
        assert raised.value.number == 286
        assert raised.value.code == "ChangeStreamHistoryLost"
        # Somebody else who watches does not hide it.
        await watch(store)
        with pytest.raises(DataError):
            await stream.next()

    run(scenario)


def test_readers_renew_their_watch(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        stream = await watch(store)
        alter(tmp_path, "UPDATE watched SET until = ?", int(time.time()) + 5)
        monkeypatch.setattr(change_log, "LEASE_SECONDS", 2.4)
        assert await stream.next() == []
        monkeypatch.setattr(change_log, "LEASE_SECONDS", 600)
        until = store.now(lambda session: session.execute("SELECT until FROM watched").fetchone()[0])
        assert until < time.time() + 4, "it was written anew"
        await store.sweep()
        assert watched(store) == {("db", "c")}

    run(scenario)


def test_old_changes_go(tmp_path: Path, run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        behind, current = await watch(store), await watch(store)
        await fill(store, *({"_id": number} for number in range(1500)))
        assert await kinds(current, 1500) == ["insert"] * 1500
        alter(tmp_path, "UPDATE changes SET time = ? WHERE id <= 1400", int((time.time() - 3600) * 1000))
        await store.sweep()
        assert logged(store) == 100
        with pytest.raises(DataError) as raised:
            await behind.next()
        assert raised.value.number == 286
        await fill(store, {"_id": "last"})
        assert await kinds(current, 1) == ["insert"]

    run(scenario)


def test_changes_of_others_that_go_do_not_matter(tmp_path: Path, run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        other = Namespace("db", "other")
        stream = await watch(store)
        await watch(store, other)
        await fill(store, {"_id": 1}, {"_id": 2}, namespace=other)
        assert await stream.next() == []
        alter(tmp_path, "UPDATE changes SET time = 0")
        await store.sweep()
        assert logged(store) == 0
        await fill(store, {"_id": 3})
        assert await kinds(stream, 1) == ["insert"]

    run(scenario)


def test_the_log_is_bounded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_log, "KEPT_CHANGES", 10)

    async def scenario(store: EmbeddedStore) -> None:
        await watch(store)
        await fill(store, *({"_id": number} for number in range(50)))
        await store.sweep()
        assert logged(store) == 10

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


def test_a_closed_store_is_told(tmp_path: Path) -> None:
    async def whole() -> None:
        store = EmbeddedStore(tmp_path)
        await store.open()
        stream = await watch(store)
        await store.close()
        with pytest.raises(StoreUnavailable):
            await stream.next()

    asyncio.run(whole())


def test_a_file_of_the_first_format_is_brought_up(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as connection:
        for statement in SCHEMAS[0]:
            connection.execute(statement)
        connection.execute("PRAGMA application_id = 0x446F6F72")
        connection.execute("PRAGMA user_version = 1")

    async def whole() -> None:
        store = EmbeddedStore(tmp_path)
        await store.open()
        try:
            stream = await watch(store)
            await store.execute(InsertOne(namespace=C, document={"_id": 1}))
            assert await kinds(stream, 1) == ["insert"]
        finally:
            await store.close()

    asyncio.run(whole())
    asyncio.run(whole_again(tmp_path))
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (FORMAT,)


async def whole_again(folder: Path) -> None:
    store = EmbeddedStore(folder)
    await store.open()
    try:
        assert (await store.execute(Find(namespace=C))).documents.decode() == [{"_id": 1}]
    finally:
        await store.close()
