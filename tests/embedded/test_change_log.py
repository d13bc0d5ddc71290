"""The log behind change streams: when it is kept, for how long, how large, and in files of older formats."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import apsw
import opened
import pytest
from opened import C, Run, fill
from watching import alter, kinds, logged, watch

from doorleaf.errors import DataError
from doorleaf.operations import (
    Find,
    InsertOne,
    Namespace,
)
from doorleaf.stores.embedded.catalog import SCHEMAS
from doorleaf.stores.embedded.changes import log as change_log
from doorleaf.stores.embedded.file.storage import FILE, FORMAT
from doorleaf.stores.embedded.store import EmbeddedStore


def watched(store: EmbeddedStore) -> set[tuple[str, str]]:
    return store.now(lambda session: set(session.catalog.watched))


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


def test_a_name_that_no_collection_can_have_is_refused(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        with pytest.raises(DataError) as raised:
            await watch(store, Namespace("db", "a$b"))
        assert raised.value.number == 73
        assert watched(store) == set()

    run(scenario)


def test_a_watch_ends_when_nobody_renews_it(tmp_path: Path, run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        stream = await watch(store)
        await fill(store, {"_id": 1})
        alter(tmp_path, "UPDATE state SET tick = 12")
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
        alter(tmp_path, "UPDATE state SET tick = 11")
        monkeypatch.setattr(change_log, "RENEW_SECONDS", 0.5)
        assert await stream.next() == []
        alter(tmp_path, "UPDATE state SET tick = 22")
        await store.sweep()
        assert watched(store) == {("db", "c")}
        alter(tmp_path, "UPDATE state SET tick = 23")
        await store.sweep()
        assert watched(store) == set(), "but not for ever"

    run(scenario)


def test_old_changes_go(tmp_path: Path, run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        behind, current = await watch(store), await watch(store)
        await fill(store, *({"_id": number} for number in range(1500)))
        assert await kinds(current, 1500) == ["insert"] * 1500
        alter(tmp_path, "INSERT INTO ticks VALUES (1, 1401), (2, 1501)")
        alter(tmp_path, "UPDATE state SET tick = 11")
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
        alter(tmp_path, "INSERT INTO ticks VALUES (1, 4)")
        alter(tmp_path, "UPDATE state SET tick = 11")
        await store.sweep()
        assert logged(store) == 0
        await fill(store, {"_id": 3})
        assert await kinds(stream, 1) == ["insert"]

    run(scenario)


@pytest.mark.parametrize("jump", [1200, -1200])
def test_a_wall_clock_that_jumps_ends_nothing(run: Run, monkeypatch: pytest.MonkeyPatch, jump: int) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        stream = await watch(store)
        await fill(store, {"_id": 1})
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + jump)
        for _ in range(3):
            await store.sweep()
        assert watched(store) == {("db", "c")}
        await fill(store, {"_id": 2})
        events = [*(await stream.next() or []), *(await stream.next() or [])]
        assert [event["documentKey"]["_id"] for event in events] == [1, 2]
        first, second = (event["clusterTime"] for event in events)
        assert first < second, "a cluster's time goes forward only"
        monkeypatch.setattr(time, "time", now)
        for _ in range(3):
            await store.sweep()
        await fill(store, {"_id": 3})
        assert await kinds(stream, 1) == ["insert"]

    run(scenario)


def test_ticks_are_counted_by_a_clock_that_only_goes_forward(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several processes that have the file open move them on no faster than one."""

    async def scenario(store: EmbeddedStore) -> None:
        def tick() -> int:
            return store.now(lambda session: session.execute("SELECT tick FROM state").get)  # type: ignore[no-any-return]

        other = EmbeddedStore(tmp_path)
        await other.open()
        try:
            await watch(store)
            clock = float(int(time.monotonic()))  # so that differences are exact
            monkeypatch.setattr(change_log, "time", SimpleNamespace(monotonic=lambda: clock))
            seen = []
            for _ in range(12):
                clock += 30
                for each in (store, other):
                    await each.sweep()
                seen.append(tick())
            assert seen == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
        finally:
            await other.close()

    run(scenario)


def test_the_log_is_bounded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_log, "KEPT_CHANGES", 10)

    async def scenario(store: EmbeddedStore) -> None:
        await watch(store)
        await fill(store, *({"_id": number} for number in range(50)))
        await store.sweep()
        assert logged(store) == 10

    run(scenario)


def test_a_file_of_the_first_format_is_brought_up(tmp_path: Path) -> None:
    with closing(apsw.Connection(str(tmp_path / FILE))) as connection:
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
    assert opened.alter(tmp_path, "PRAGMA user_version") == FORMAT


async def whole_again(folder: Path) -> None:
    store = EmbeddedStore(folder)
    await store.open()
    try:
        assert (await store.execute(Find(namespace=C))).documents.decode() == [{"_id": 1}]
    finally:
        await store.close()
