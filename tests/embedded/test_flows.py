"""Documents of the embedded database that are read as they are taken: one snapshot, a worker, and how they end."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import psutil
import pytest
from machine import can_be_nicer
from opened import C, Run, fill
from test_workers import is_nice, processes

from doorleaf.documents import Document
from doorleaf.errors import DataError, StoreTimeout, StoreUnavailable
from doorleaf.operations import OWN_TURN, Aggregate, DeleteMany, Find, InsertOne, Scan
from doorleaf.operations.results import DocumentStream
from doorleaf.stores.embedded.processes import flows, pool
from doorleaf.stores.embedded.store import EmbeddedStore

MANY = 20_000


def large(count: int = MANY) -> list[Document]:
    """More than is read ahead, sockets included."""
    return [{"_id": number, "t": "x" * 200} for number in range(count)]


async def scan(store: EmbeddedStore, turn: str = "", **options: Any) -> DocumentStream:
    operation = Scan.of(Find(namespace=C, **options))
    operation.turn = turn
    return (await store.execute(operation)).documents


async def rest(stream: DocumentStream) -> list[Document]:
    found: list[Document] = []
    while (batch := await stream.next()) is not None:
        found += batch.decode()
    await stream.close()
    return found


async def until(condition: Any) -> None:
    """Wait for what a worker does that leaves the processor to others."""
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not come to pass in a minute")


async def gave_way(stream: DocumentStream) -> bool:
    """Whether a stream was ended for others; all of it is there when it was not."""
    try:
        assert await rest(stream) == large()
    except DataError as error:
        return error.code == "CursorKilled" and "too slowly" in error.message
    return False


def flowing(store: EmbeddedStore) -> int:
    assert store._workers is not None
    return store._workers._flows.room - store._workers._flows.free


@pytest.mark.parametrize("turn", ["somebody", OWN_TURN])
def test_a_scan_reads_one_snapshot(run: Run, turn: str) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *large())
        stream = await scan(store, turn)
        first = await stream.next()
        assert first is not None
        await store.execute(DeleteMany(namespace=C, filter={"_id": {"$gte": 5}}))
        await store.execute(InsertOne(namespace=C, document={"_id": -1}))
        assert first.decode() + await rest(stream) == large()
        assert [item["_id"] for item in await rest(await scan(store, turn))] == [0, 1, 2, 3, 4, -1]

    run(scenario)


def test_a_worker_waits_for_who_reads_and_no_longer_than_it_must(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *large())
        small = await scan(store, limit=2_000)
        await until(lambda: flowing(store) == 0)  # all of it is here, and nobody has read any
        held = await scan(store)
        assert flowing(store) == 1
        assert await rest(small) == large(2_000)
        assert await rest(held) == large()
        await until(lambda: flowing(store) == 0)

    run(scenario)


def test_who_leaves_ends_the_worker(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *large())
        stream = await scan(store)
        killed = store.workers().killed
        await stream.close()
        assert (flowing(store), store.workers().killed) == (0, killed + 1)
        with pytest.raises(StoreUnavailable, match="not read any more"):
            await stream.next()
        assert await rest(await scan(store)) == large()

    run(scenario)


@can_be_nicer
def test_a_worker_that_is_killed_is_an_error(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *large())
        before = {process.pid for process in processes() if is_nice(process)}
        stream = await scan(store)
        waiting: list[psutil.Process] = []

        def found() -> bool:
            waiting[:] = [process for process in processes() if is_nice(process) and process.pid not in before]
            return bool(waiting)

        await until(found)
        waiting[0].kill()
        with pytest.raises(StoreUnavailable, match="ended"):
            await rest(stream)
        assert flowing(store) == 0
        assert await rest(await scan(store)) == large()

    run(scenario)


def test_one_that_nobody_reads_gives_way(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *large())
        streams = [await scan(store, f"caller {number // pool.FLOWS_EACH}") for number in range(pool.FLOWS)]
        await until(lambda: all(flow.standing >= 0 for flow in streams))  # type: ignore[attr-defined]
        with monkeypatch.context() as patched:
            patched.setattr(pool, "STANDING_SECONDS", 0.0)
            late = await scan(store, "caller 9")
        assert (await asyncio.gather(*map(gave_way, streams))).count(True) == 1
        assert await rest(late) == large()

    run(scenario)


def test_a_caller_makes_no_way_at_the_cost_of_others(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *large())
        others = await scan(store, "another")
        mine = [await scan(store, "me") for _ in range(pool.FLOWS_EACH)]
        await until(lambda: all(flow.standing >= 0 for flow in (others, *mine)))  # type: ignore[attr-defined]
        with monkeypatch.context() as patched:
            patched.setattr(pool, "STANDING_SECONDS", 0.0)
            one_more = await scan(store, "me")
        assert (await asyncio.gather(*map(gave_way, mine))).count(True) == 1
        for stream in (others, one_more):
            assert await rest(stream) == large()

    run(scenario)


def test_waiting_for_a_place_ends_in_time(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *large())
        streams = [await scan(store, "me") for _ in range(pool.FLOWS_EACH)]
        operation = Scan.of(Find(namespace=C, max_time_ms=200))
        operation.turn = "me"
        began = time.monotonic()
        with pytest.raises(StoreTimeout):
            await store.execute(operation)
        assert time.monotonic() - began < 20
        for stream in streams:
            await stream.close()

    run(scenario)


def test_a_snapshot_is_not_kept_for_ever(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "SECONDS", 0.5)

    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *large())
        stream = await scan(store)
        await until(lambda: flowing(store) == 0)
        with pytest.raises(DataError) as raised:
            await rest(stream)
        assert raised.value.code == "SnapshotTooOld"

    run(scenario)


def test_memory_is_bounded_as_in_any_operation(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *large(3_000))
        stages: list[Document] = [{"$set": {"l": {"$range": [0, 2_000]}}}, {"$sort": {"t": 1, "l": 1}}]
        with pytest.raises(DataError) as raised:
            await store.execute(Scan.of(Aggregate(namespace=C, pipeline=stages)))
        assert raised.value.number in (146, 292)

    run(scenario)


def test_a_store_that_closes_ends_its_scans(run: Run) -> None:
    streams: list[DocumentStream] = []

    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *large())
        streams.append(await scan(store))
        await store.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            await rest(streams[0])
        await store.open()

    run(scenario)
