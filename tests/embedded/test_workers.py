"""Worker processes: what they carry out ends in time and memory, alone, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from machine import NICE, can_be_nicer
from opened import C, Run, fill

from doorleaf.documents import Document
from doorleaf.errors import DataError, RequestError, StoreTimeout, StoreUnavailable
from doorleaf.operations import (
    Aggregate,
    CountDocuments,
    DeleteMany,
    Distinct,
    Find,
    FindOne,
    RunCommand,
    UpdateOne,
)
from doorleaf.stores.embedded.processes import forking, pool
from doorleaf.stores.embedded.processes.answers import HELD_BYTES
from doorleaf.stores.embedded.processes.forking import FORKS
from doorleaf.stores.embedded.reading import small
from doorleaf.stores.embedded.store import EmbeddedStore

LATE = 15.0
"""Seconds past a limit that a loaded machine may take."""

EVIL = {"$expr": {"$regexMatch": {"input": "a" * 60 + "!", "regex": "(a|aa)+$"}}}
NESTED: dict[str, Any] = {"$range": [0, 100]}
for _ in range(30):
    NESTED = {"$map": {"input": {"$range": [0, 100]}, "in": NESTED}}
"""Takes longer than anybody lives."""

SET: Document = {"$set": {"b": {"$let": {"vars": {"two": 2}, "in": "$$two"}}}}
"""Short, and nothing that is computed on the event loop."""

BUSY: list[Document] = [{"$match": EVIL}]


def processes() -> list[psutil.Process]:
    """The workers that are there."""
    if FORKS.pid is None:
        return []
    return [process for process in psutil.Process(FORKS.pid).children() if _lives(process)]


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def is_nice(process: psutil.Process) -> bool:
    try:
        return bool(process.nice() > NICE)
    except psutil.NoSuchProcess:
        return False


def busy(but: list[psutil.Process]) -> list[psutil.Process]:
    """The workers that work."""
    return [process for process in processes() if process not in but and process.cpu_times().user > 0.2]


async def until(condition: Any) -> None:
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not come to pass in a minute")


async def aggregate(store: EmbeddedStore, *stages: Document, **options: Any) -> list[Document]:
    operation = Aggregate(namespace=C, pipeline=[*stages], **options)
    return (await store.execute(operation)).documents.decode()


def test_every_kind_of_read_comes_back_from_a_worker_as_it_is(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        documents: list[Document] = [{"_id": number, "n": number % 7, "t": "x" * 2000} for number in range(2000)]
        await fill(store, *documents)
        started = store.workers().started
        assert await aggregate(store, {"$set": {"m": "$n"}}) == [{**item, "m": item["n"]} for item in documents]
        found = await store.execute(Find(namespace=C, filter={"t": {"$regex": "^x"}}, limit=1500))
        assert found.documents.decode() == documents[:1500]
        first = await store.execute(FindOne(namespace=C, filter={"n": {"$mod": [7, 6]}}))
        assert (await store.execute(FindOne(namespace=C, filter={"n": {"$mod": [70, 8]}}))).document is None
        assert first.document is not None
        assert (await store.execute(CountDocuments(namespace=C, filter={"n": {"$mod": [7, 1]}}))).count == 286
        assert (await store.execute(Distinct(namespace=C, key="_id"))).values == list(range(2000))
        answer = await store.execute(RunCommand(namespace=C, command={"collStats": "c"}))
        assert answer.result["count"] == 2000
        assert store.workers().started > started

    run(scenario)


GROUPS: list[list[Document]] = [
    [{"$group": {"_id": "$a"}}, {"$group": {"_id": "$_id"}}],
    [{"$sortByCount": "$a"}, {"$sortByCount": "$_id"}],
    [{"$group": {"_id": {"$range": [0, 9]}}}],
    [{"$group": {"_id": "$$ROOT"}}],
    [{"$group": {"_id": 1, "all": {"$push": "$a"}}}],
    [{"$group": {"_id": None, "n": {"$first": "$$ROOT"}}}],
    [{"$group": {"_id": None, "n": {"$sum": {"$size": {"$range": [0, "$a"]}}}}}],
    [{"$group": {"_id": None, "n": {"$sum": 1, "$avg": "$a"}}}],
    [{"$group": {"_id": None, **{f"n{number}": {"$first": "$a"} for number in range(9)}}}],
    [{"$group": {"n": {"$sum": 1}}}],
    [{"$group": 5}],
    [{"$sortByCount": {"$add": [1, 1]}}],
]


@pytest.mark.parametrize("stages", GROUPS, ids=str)
def test_groups_that_are_not_small(stages: list[Document]) -> None:
    assert small.pipeline(Aggregate(namespace=C, pipeline=stages)) is None


def test_what_is_small_needs_none(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1, "n": 2})
        assert await aggregate(store, {"$match": {"_id": 1}}, {"$project": {"n": 1}}) == [{"_id": 1, "n": 2}]
        assert (await store.execute(CountDocuments(namespace=C, filter={"_id": {"$in": [1, 2]}}))).count == 1
        group = {"$group": {"_id": "$n", "count": {"$sum": 1}, "most": {"$max": "$_id"}, "all": {"$count": {}}}}
        grouped = {"_id": 2, "count": 1, "most": 1, "all": 1}
        assert await aggregate(store, {"$match": {"_id": 1}}, group, {"$sort": {"_id": 1}}) == [grouped]
        assert await aggregate(store, {"$sortByCount": "$n"}, {"$limit": 5}) == [{"_id": 2, "count": 1}]
        assert store.workers().started == 0

    run(scenario)


@pytest.mark.parametrize(
    "operation",
    [
        Find(namespace=C, filter=EVIL),
        Find(namespace=C, filter={"nowhere": {"$regex": "x"}}, let={"a": EVIL["$expr"]}),
        FindOne(namespace=C, projection={"x": EVIL["$expr"]}),
        CountDocuments(namespace=C, filter=EVIL),
        Distinct(namespace=C, key="a", filter=EVIL),
        Aggregate(namespace=C, pipeline=BUSY),
        Aggregate(namespace=C, pipeline=[{"$project": {"x": NESTED}}]),
        RunCommand(namespace=C, command={"explain": {"find": "c", "filter": EVIL}, "verbosity": "executionStats"}),
        RunCommand(namespace=C, command={"listCollections": 1, "filter": EVIL}),
    ],
    ids=lambda operation: operation.name,
)
def test_it_ends_at_its_limit_whatever_it_does_and_others_go_on(run: Run, operation: Any) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1, "a": 1})
        operation.max_time_ms = 400
        began = time.monotonic()
        evil = asyncio.create_task(store.execute(operation))
        slowest = 0.0
        while not evil.done():
            asked = time.process_time()  # what is evil runs in another process
            assert (await store.execute(FindOne(namespace=C, filter={"_id": 1}))).document is not None
            slowest = max(slowest, time.process_time() - asked)
            await asyncio.sleep(0.01)
        with pytest.raises(StoreTimeout):
            await evil
        assert time.monotonic() - began < 0.4 + LATE
        assert slowest < 0.35
        await until(lambda: len(processes()) <= 3)
        assert await aggregate(store, SET) == [{"_id": 1, "a": 1, "b": 2}]

    run(scenario)


def test_memory_has_an_end(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": number, "t": "x" * 100_000} for number in range(20)))
        stages: list[Document] = [{"$set": {f"t{number}": {"$concat": ["$t", str(number)]}}} for number in range(30)]
        doubled = {"$concatArrays": ["$a", "$a", "$a", "$a"]}
        grown: list[Document] = [{"$set": {"a": {"$range": [0, 1000]}}}, *({"$set": {"a": doubled}},) * 12]
        with pytest.raises(DataError) as raised:
            await aggregate(store, *grown, {"$count": "n"})
        assert raised.value.number in (146, 292, 17419, 10334) or "memory" in raised.value.message
        assert len(await aggregate(store, *stages, {"$project": {"t1": 1}}, {"$limit": 2})) == 2

    run(scenario)


def test_an_answer_has_a_bound_that_is_kept_while_it_grows(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": number, "t": "x" * 10_000} for number in range(100)))
        stages: list[Document] = [{"$set": {"a": {"$range": [0, 1000]}}}, {"$unwind": "$a"}]
        began = time.monotonic()
        with pytest.raises(RequestError) as raised:
            await aggregate(store, *stages, max_bytes=2_000_000, cap=1_000_000)
        assert raised.value.code == "ReadSizeLimitExceeded"
        assert time.monotonic() - began < 20, "all of it is two gigabytes"
        await until(lambda: store.workers().held_bytes == 0)

    run(scenario)


def test_all_answers_together_have_a_bound(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": number, "t": "x" * 100_000} for number in range(300)))
        operations = [
            store.execute(Find(namespace=C, filter={"t": {"$regex": "x"}}, limit=300, max_bytes=50_000_000))
            for _ in range(8)
        ]
        held, done = 0, 0
        for answered in asyncio.as_completed(operations):
            found = await answered
            held = max(held, store.workers().held_bytes)
            assert len(found.documents) == 300
            done += 1
            del found, answered
        assert done == 8
        assert 30_000_000 < held <= HELD_BYTES
        await until(lambda: store.workers().held_bytes == 0)

    run(scenario)


def test_a_caller_who_leaves_ends_what_it_asked(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        task = asyncio.create_task(aggregate(store, *BUSY))
        await until(lambda: store.workers().running == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert store.workers().running == 0
        assert store.workers().killed == 1

    run(scenario)


def test_a_worker_that_is_killed_costs_its_operation_a_second_start(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        task = asyncio.create_task(aggregate(store, *BUSY, max_time_ms=20_000))
        killed: list[psutil.Process] = []
        for lost in (1, 2):
            await until(lambda: [*busy(killed)])
            for process in busy(killed):
                killed.append(process)
                process.kill()
            await until(lambda lost=lost: store.workers().lost == lost)
        with pytest.raises(StoreUnavailable, match=r"the process that carried out the operation ended"):
            await task
        assert await aggregate(store, SET) == [{"_id": 1, "b": 2}]

    run(scenario)


def test_the_template_is_started_again(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        for _ in range(2):
            assert await aggregate(store, SET) == [{"_id": 1, "b": 2}]
            assert FORKS.pid is not None
            workers = processes()
            assert workers
            os.kill(FORKS.pid, signal.SIGKILL)
            await until(lambda workers=workers: not any(process.is_running() for process in workers))

    run(scenario)


def test_a_template_that_does_not_answer_is_replaced(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(forking, "STUCK_SECONDS", 0.0)

    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        assert await aggregate(store, SET) == [{"_id": 1, "b": 2}]
        stuck = FORKS.pid
        assert stuck is not None
        os.kill(stuck, signal.SIGSTOP)
        began = time.monotonic()
        orders = 0
        while FORKS.pid == stuck and orders < 100_000:
            FORKS.kill(2**32 - 1)
            orders += 1
        assert time.monotonic() - began < 10
        assert FORKS.pid is None
        assert "does not answer" in caplog.text
        assert await aggregate(store, SET) == [{"_id": 1, "b": 2}]

    run(scenario)


def test_a_template_that_loads_is_given_time(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forking, "STUCK_SECONDS", 3600.0)

    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        assert await aggregate(store, SET) == [{"_id": 1, "b": 2}]
        asleep = FORKS.pid
        assert asleep is not None
        os.kill(asleep, signal.SIGSTOP)
        began = time.monotonic()
        for _ in range(5_000):
            FORKS.kill(2**32 - 1)
        assert time.monotonic() - began < 10
        with pytest.raises(StoreUnavailable, match="cannot be started"):
            FORKS.fork()
        os.kill(asleep, signal.SIGCONT)
        assert FORKS.pid == asleep
        assert await aggregate(store, SET) == [{"_id": 1, "b": 2}]

    run(scenario)


def test_a_template_that_does_not_end_is_killed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forking, "STOP_SECONDS", 1.0)

    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        assert await aggregate(store, SET) == [{"_id": 1, "b": 2}]
        assert FORKS.pid is not None
        template = psutil.Process(FORKS.pid)
        os.kill(template.pid, signal.SIGSTOP)
        FORKS.stop(patience=0.1)
        assert not template.is_running()
        assert FORKS.pid is None
        assert await aggregate(store, SET) == [{"_id": 1, "b": 2}]

    run(scenario)


def test_quick_operations_do_not_wait_for_long_ones(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        long = [asyncio.create_task(aggregate(store, *BUSY, max_time_ms=60_000, turn="greedy")) for _ in range(12)]
        await until(lambda: store.workers().restarted > 3)
        times = []
        for _ in range(20):
            began = time.monotonic()
            assert await aggregate(store, SET, turn="modest") == [{"_id": 1, "b": 2}]
            times.append(time.monotonic() - began)
        assert sorted(times)[10] < 0.5
        for task in long:
            task.cancel()
        await asyncio.gather(*long, return_exceptions=True)
        assert store.workers().running == store.workers().waiting == 0

    run(scenario)


def test_long_operations_take_turns(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing is done so soon that it would not have to go on in the long lane.
    monkeypatch.setattr(pool, "SLICE", 0.0)
    monkeypatch.setattr(pool, "CROWDED_SLICE", 0.0)
    monkeypatch.setattr(pool, "PATIENT_SLICE", 0.0)

    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        greedy = [
            asyncio.create_task(aggregate(store, *BUSY, max_time_ms=60_000, turn=turn))
            for turn in ("one", "other", "third")
            for _ in range(4)
        ]
        evil = DeleteMany(namespace=C, filter=EVIL, max_time_ms=60_000, turn="writing")
        writes = [asyncio.create_task(store.execute(evil)) for _ in range(4)]
        await until(lambda: store.workers().restarted > 6)
        for number in range(3):
            found = await aggregate(store, SET, max_time_ms=30_000, turn=f"modest {number}")
            assert found == [{"_id": 1, "b": 2}]
        assert not any(task.done() for task in (*greedy, *writes)), "they go on all the while"
        for task in (*greedy, *writes):
            task.cancel()
        await asyncio.gather(*greedy, *writes, return_exceptions=True)
        assert store.workers().running == store.workers().waiting == 0

    run(scenario)


def test_what_could_not_end_if_it_began_anew_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "SLICE", 0.0)
    monkeypatch.setattr(pool, "CROWDED_SLICE", 0.0)
    monkeypatch.setattr(pool, "PATIENT_SLICE", 0.0)
    monkeypatch.setattr(pool, "LONG_SLICE", 0.3)
    monkeypatch.setattr(pool, "LONG_LOOK", 0.05)

    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        turns = [*"aaaa", *"bcdefghi"]
        tasks = [asyncio.create_task(aggregate(store, *BUSY, max_time_ms=850, turn=turn)) for turn in turns]
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(error) for error in ended] == [StoreTimeout] * len(turns)
        assert store.workers().restarted <= len(turns), "each went to the long lane once at most"

    run(scenario)


def test_a_write_that_makes_room_in_its_commit_is_answered(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    # So short that many are told to make room just when they commit.
    monkeypatch.setattr(pool, "SLICE", 0.006)
    monkeypatch.setattr(pool, "CROWDED_SLICE", 0.006)

    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": number, "n": 0} for number in range(5)))
        writes = [
            UpdateOne(namespace=C, filter={"_id": number % 5, "n": {"$mod": [1, 0]}}, update={"$inc": {"n": 1}})
            for number in range(200)
        ]
        answers = await asyncio.gather(*(store.execute(write) for write in writes))
        assert [answer.modified_count for answer in answers] == [1] * 200
        assert await aggregate(store, {"$group": {"_id": None, "n": {"$sum": "$n"}}}) == [{"_id": None, "n": 200}]
        assert store.workers().restarted > 0
        assert store.workers().lost == 0

    run(scenario)


@can_be_nicer
def test_a_worker_that_left_the_processor_to_others_serves_nobody_else(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "PATIENT_SLICE", 0.0)

    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        long: Any = 1
        for _ in range(4):
            long = {"$sum": {"$map": {"input": {"$range": [0, 25]}, "in": long}}}
        seen = False
        while not seen:  # it may have its answer before anybody has looked
            answer = asyncio.create_task(aggregate(store, {"$project": {"n": long}}, max_time_ms=60_000))
            while not answer.done():
                seen = seen or any(map(is_nice, processes()))
                await asyncio.sleep(0.01)
            assert await answer == [{"_id": 1, "n": 25**4}]
        await until(lambda: not any(map(is_nice, processes())))

    run(scenario)


def test_a_closed_store_leaves_no_worker(tmp_path: Path) -> None:
    async def scenario() -> None:
        first, second = EmbeddedStore(tmp_path / "a"), EmbeddedStore(tmp_path / "b")
        await first.open()
        await second.open()
        for store in (first, second):
            await fill(store, {"_id": 1})
            await asyncio.gather(*(aggregate(store, SET) for _ in range(5)))
        await first.close()
        assert await aggregate(second, SET) == [{"_id": 1, "b": 2}]
        await second.close()
        await until(lambda: not processes())

    asyncio.run(scenario())
