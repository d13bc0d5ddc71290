"""Workers that do not end by themselves are killed, and how others ended is known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import harmful
import pytest
from opened import C, Run, fill, find

from doorleaf.errors import DataError, StoreTimeout, StoreUnavailable
from doorleaf.mql.context import Context
from doorleaf.operations import FindOne, InsertOne
from doorleaf.stores.embedded.processes.forking import FORKS
from doorleaf.stores.embedded.store import EmbeddedStore

LATE = 15.0
"""Seconds past a limit that a loaded machine may take."""


@pytest.fixture(autouse=True)
def workers_that_know_harm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    FORKS.stop()
    yield
    FORKS.stop()


async def ready(store: EmbeddedStore) -> None:
    """A worker is there, so that no time is measured in which one is made."""
    await store.read(harmful.answer, context=Context(time.monotonic() + 60))


@pytest.mark.parametrize("work", [harmful.hold_the_interpreter, harmful.listen_to_nobody])
def test_what_never_looks_at_the_clock_is_killed_at_its_deadline(run: Run, work: Any) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        await ready(store)
        began = time.monotonic()
        evil = asyncio.create_task(store.read(work, context=Context(began + 0.4)))
        while not evil.done():
            assert (await store.execute(FindOne(namespace=C, filter={"_id": 1}))).document is not None
            await asyncio.sleep(0.01)
        with pytest.raises(StoreTimeout):
            await evil
        assert 0.4 <= time.monotonic() - began < 0.4 + LATE
        assert store.workers().killed == 1
        assert store.workers().lost == 0
        assert await store.read(harmful.answer, context=Context(time.monotonic() + 60)) == "answer"

    run(scenario)


def test_who_holds_the_lock_too_long_ends_and_others_write(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        await ready(store)
        evil = asyncio.create_task(store.work(harmful.hold_the_lock, context=Context(time.monotonic() + 60)))
        with pytest.raises(StoreTimeout, match="kept others from writing"):
            await evil
        await store.execute(InsertOne(namespace=C, document={"_id": 2}))
        assert len(await find(store)) == 2
        assert "SIGPROF" in caplog.text or "SIGALRM" in caplog.text
        assert store.workers().lost == 1, "it is not carried out again"

    run(scenario)


def test_a_long_step_of_a_write_is_waited_for(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        await ready(store)
        assert await store.work(harmful.take_a_long_step, context=Context(time.monotonic() + 60)) == "done"
        assert store.workers().lost == store.workers().killed == 0

    run(scenario)


@pytest.mark.parametrize(
    ("work", "changed"),
    [(harmful.go_on_for_ever, "nothing changed"), (harmful.go_on_behind_others, "what was written before stays")],
)
def test_a_write_that_is_ended_says_whether_something_changed(run: Run, work: Any, changed: str) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        with pytest.raises(StoreTimeout, match=f"the write was ended, and {changed}: it would have kept others"):
            await store.work(work, context=Context(time.monotonic() + 60))

    run(scenario)


@pytest.mark.parametrize("failure", [MemoryError, apsw.NoMemError])
def test_an_insert_that_lacks_memory_says_what_stays(run: Run, failure: type[Exception]) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": -1})
        await ready(store)
        work = partial(harmful.insert_without_memory, failure=failure)
        with pytest.raises(DataError, match="more than 128 MiB") as raised:
            await store.work(work, context=Context(time.monotonic() + 60))
        stored = len(await find(store))
        assert raised.value.fields == {"insertedCount": stored - 1}
        assert 1 < stored < 40_001

    run(scenario)


def test_a_document_that_takes_too_much_memory_is_refused(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        with pytest.raises(DataError, match="more than 128 MiB of memory"):
            await store.read(harmful.decode_too_much, context=Context(time.monotonic() + 60))

    run(scenario)


@pytest.mark.parametrize(
    ("work", "words"),
    [(harmful.leave, "exit code 7"), (harmful.crash, "SIGSEGV"), (harmful.raise_outside, "exit code 1")],
)
def test_how_a_worker_ended_is_logged(run: Run, caplog: pytest.LogCaptureFixture, work: Any, words: str) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        with pytest.raises(StoreUnavailable, match="the process that carried out the operation ended; nothing was"):
            await store.read(work, context=Context(time.monotonic() + 60))
        assert caplog.text.count(words) == store.workers().lost == 2
        assert "MiB at most" in caplog.text
        assert await store.read(harmful.answer, context=Context(time.monotonic() + 60)) == "answer"

    run(scenario)


@pytest.mark.parametrize("work", [harmful.crash_full, harmful.have_no_memory_outside])
def test_who_ends_for_lack_of_memory_is_told_so(run: Run, caplog: pytest.LogCaptureFixture, work: Any) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        with pytest.raises(DataError, match="more than 128 MiB of memory") as raised:
            await store.read(work, context=Context(time.monotonic() + 60))
        assert raised.value.number == 146
        assert store.workers().lost == 1, "it is not carried out again"

    run(scenario)
