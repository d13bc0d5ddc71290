"""Indexes that are built beside the writes of others: right whatever changes meanwhile, or not there at all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import psutil
import pytest
from opened import C, Run, alter, command, fill, find, run_in
from test_workers import processes

from doorleaf.documents import Document
from doorleaf.errors import DataError, DuplicateKey, StoreTimeout, StoreUnavailable, WriteOutcomeUnknown
from doorleaf.mql.context import Context
from doorleaf.operations import (
    CreateIndex,
    DeleteMany,
    DeleteOne,
    DropCollection,
    DropIndex,
    InsertMany,
    InsertOne,
    ListIndexes,
    Namespace,
    ReplaceOne,
    RunCommand,
    UpdateMany,
    UpdateOne,
)
from doorleaf.stores.embedded.indexes import specification
from doorleaf.stores.embedded.store import EmbeddedStore
from doorleaf.stores.embedded.writing import building
from doorleaf.stores.embedded.writing.planned import Writing

KILLS = int(os.environ.get("DOORLEAF_KILLS", "6"))
LONG = 600_000
"""Milliseconds that a machine with much to do takes less than, whatever is killed."""

MANY = 6_000
OTHER = Namespace("db", "other")
WANTED: list[tuple[Document, Document]] = [
    ({"n": 1}, {}),
    ({"l": -1}, {"sparse": True}),
    ({"n": -1, "_id": 1}, {"unique": True}),
    ({"k": 1}, {"partialFilterExpression": {"n": {"$gt": 40}}}),
    ({"k": "hashed"}, {}),
]


def document(number: int) -> Document:
    return {"_id": number, "n": number % 100, "k": number, "l": [number % 7, -1]}


async def names(store: EmbeddedStore) -> list[str]:
    return [item["name"] for item in (await store.execute(ListIndexes(namespace=C))).indexes]


def tables(folder: Path) -> list[str]:
    """What there is in the file of builds."""
    found = alter(folder, "SELECT json_group_array(name) FROM sqlite_schema WHERE name GLOB 'b[0-9]*'")
    return [name for name in found.strip("[]").split(",") if name]


async def require_right(store: EmbeddedStore, *wanted: str) -> None:
    """The indexes are there, and each has all documents."""
    assert await names(store) == ["_id_", *wanted]
    validated = await command(store, validate="c")
    assert (validated["valid"], validated["errors"]) == (True, [])


class Stepwise:
    """A build whose steps are taken one by one."""

    def __init__(self, store: EmbeddedStore, *wanted: tuple[Document, Document]) -> None:
        storage = store._storage
        self.writing = Writing(storage.session(), storage.session(busy=0.0, writing=True), lambda: None)
        context = Context(time.monotonic() + 60)
        found = building._begun(self.writing, C, [specification(*each) for each in wanted], context)
        assert found is not None
        self.build = found

    async def take(self, step: Callable[[], Any]) -> Any:
        return await asyncio.to_thread(step)

    def close(self) -> None:
        self.build.release()
        self.writing.session.close()
        self.writing._writer.close()


async def change_at_random(store: EmbeddedStore, chosen: random.Random, times: int) -> None:
    """Change, take out and put in documents, of which the last rows are used again."""
    for _ in range(times):
        number = chosen.randrange(MANY)
        operation: Any = chosen.choice(
            (
                UpdateOne(namespace=C, filter={"_id": number}, update={"$inc": {"n": 1}, "$push": {"l": number}}),
                UpdateMany(
                    namespace=C, filter={"_id": {"$gt": number, "$lt": number + 5}}, update={"$unset": {"l": 1}}
                ),
                ReplaceOne(namespace=C, filter={"_id": number}, replacement={"n": -number}, upsert=True),
                DeleteOne(namespace=C, filter={"_id": number}),
                DeleteMany(namespace=C, filter={"_id": {"$gte": MANY}}),
                InsertOne(namespace=C, document=document(MANY + chosen.randrange(10**9))),
            )
        )
        with contextlib.suppress(DuplicateKey):
            await store.execute(operation)


def test_documents_change_between_all_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "KEYS_BYTES", 300_000)
    chosen = random.Random(5)

    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *map(document, range(MANY)))
        steps = Stepwise(store, *WANTED)
        build = steps.build
        read = build._read
        changing = asyncio.get_running_loop()

        def interrupted(*arguments: Any) -> Any:
            found = read(*arguments)
            steps.writing.session.end()  # what was read is from before these changes
            asyncio.run_coroutine_threadsafe(change_at_random(store, chosen, 30), changing).result()
            return found

        monkeypatch.setattr(build, "_read", interrupted)
        await change_at_random(store, chosen, 60)
        await steps.take(build.scan)
        await change_at_random(store, chosen, 60)
        answer = await steps.take(build.finish)
        assert (answer.num_indexes_before, answer.num_indexes_after) == (1, 6)
        steps.close()
        await change_at_random(store, chosen, 60)
        await require_right(store, "n_1", "l_-1", "n_-1__id_1", "k_1", "k_hashed")
        by_index = await find(store, {"n": {"$gte": -MANY}}, hint="n_1", limit=50_000)
        assert by_index == await find(store, {"n": {"$gte": -MANY}}, hint={"$natural": 1}, limit=50_000)
        assert tables(tmp_path) == []

    run_in(tmp_path)(scenario)


def test_a_unique_one_looks_at_what_documents_have_in_the_end(tmp_path: Path) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *map(document, range(MANY)))
        steps = Stepwise(store, ({"k": 1}, {"unique": True}))
        await steps.take(steps.build.scan)
        # Two documents change places, one takes the key of another that has gone, and one comes with a key twice.
        for number, key in ((1, -1), (2, 1), (1, 2)):
            await store.execute(UpdateOne(namespace=C, filter={"_id": number}, update={"$set": {"k": key}}))
        await store.execute(InsertOne(namespace=C, document={"_id": "new", "k": 7}))
        await store.execute(DeleteOne(namespace=C, filter={"_id": 7}))
        await steps.take(steps.build.finish)
        steps.close()
        await require_right(store, "k_1")
        with pytest.raises(DuplicateKey):
            await store.execute(InsertOne(namespace=C, document={"k": 7}))

        steps = Stepwise(store, ({"n": 1, "k": 1}, {"unique": True}), ({"n": 1, "l": 1}, {"unique": True}))
        with pytest.raises(DuplicateKey, match="n_1_l_1 dup key"):
            await steps.take(steps.build.scan)
        steps.build.clear()
        steps.close()
        await require_right(store, "k_1")

        steps = Stepwise(store, ({"_id": -1, "x": 1}, {"unique": True}), ({"k": -1}, {"unique": True}))
        await steps.take(steps.build.scan)
        await store.execute(DropCollection(namespace=C))
        with pytest.raises(DataError, match="was dropped") as raised:
            await steps.take(steps.build.finish)
        assert raised.value.number == 276
        steps.build.clear()
        steps.close()
        assert tables(tmp_path) == []

    run_in(tmp_path)(scenario)


def test_what_is_put_in_twice_meanwhile_ends_the_build(tmp_path: Path) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *map(document, range(MANY)))
        steps = Stepwise(store, ({"k": 1}, {"unique": True}))
        await steps.take(steps.build.scan)
        await store.execute(InsertOne(namespace=C, document={"_id": "twice", "k": 7}))
        with pytest.raises(DuplicateKey, match=r"k_1 dup key: \{ k: 7 \}"):
            await steps.take(steps.build.finish)
        steps.build.clear()
        steps.close()
        await require_right(store)
        assert tables(tmp_path) == []

    run_in(tmp_path)(scenario)


def test_of_one_that_is_there_nothing_is_built(tmp_path: Path) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *map(document, range(MANY)))
        keys = {"n": 1}
        both = await asyncio.gather(*(store.execute(CreateIndex(namespace=C, keys=keys)) for _ in range(2)))
        assert {answer.num_indexes_after for answer in both} == {2}
        again = await command(store, createIndexes="c", indexes=[{"key": keys, "name": "n_1"}])
        assert (again["numIndexesBefore"], again["numIndexesAfter"]) == (2, 2)
        for options, number in (({"unique": True}, 86), ({"name": "other"}, 85)):
            with pytest.raises(DataError) as raised:
                await store.execute(CreateIndex(namespace=C, keys=keys, options=options))
            assert raised.value.number == number
        with pytest.raises(DataError) as raised:
            await store.execute(CreateIndex(namespace=C, keys={"l": "hashed"}))
        assert raised.value.number == 16766
        with pytest.raises(StoreTimeout):
            await store.execute(CreateIndex(namespace=C, keys={"k": 1}, max_time_ms=1))
        await store.sweep()
        await require_right(store, "n_1")
        assert tables(tmp_path) == []

    run_in(tmp_path)(scenario)


@pytest.mark.timeout(300 + 60 * KILLS)
def test_killing_the_process_that_builds_leaves_nothing(tmp_path: Path) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *map(document, range(MANY)))
        round = killed = 0
        built: list[str] = []
        while round < KILLS or not killed:
            build = CreateIndex(namespace=C, keys={"l": 1, f"f{round}": 1}, max_time_ms=LONG)
            task = asyncio.create_task(store.execute(build))
            await asyncio.sleep(random.uniform(0.1, 0.5))
            for _ in range(2):  # the second carries it out again
                for process in processes():
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                        killed += 1
                await asyncio.sleep(random.uniform(0.0, 0.2))
            with contextlib.suppress(StoreUnavailable, WriteOutcomeUnknown):
                await task
                built.append(f"l_1_f{round}_1")
            await store.execute(UpdateOne(namespace=C, filter={"_id": round}, update={"$push": {"l": round}}))
            await store.sweep()
            assert tables(tmp_path) == []
            round += 1
            if round % 10 == 0 or round >= KILLS:
                there = await names(store)
                assert {*built} <= {*there}
                validate = RunCommand(namespace=C, command={"validate": "c"}, max_time_ms=LONG)
                assert (await store.execute(validate)).result["valid"]
                for name in there[1:]:  # there can be no more than 64
                    await store.execute(DropIndex(namespace=C, index=name))
                built.clear()

    run_in(tmp_path)(scenario)


def test_what_a_server_left_is_gone_after_the_next_start(tmp_path: Path) -> None:
    async def begins(store: EmbeddedStore) -> None:
        await fill(store, *map(document, range(MANY)))
        steps = Stepwise(store, ({"n": 1}, {}))
        await steps.take(steps.build.scan)
        steps.close()  # without an end

    async def goes_on(store: EmbeddedStore) -> None:
        for _ in range(1_000):
            if not tables(tmp_path):
                break
            await asyncio.sleep(0.02)
        assert tables(tmp_path) == []
        await require_right(store)
        await store.execute(InsertMany(namespace=C, documents=[{"n": 1}]))
        await store.execute(CreateIndex(namespace=C, keys={"n": 1}))
        await require_right(store, "n_1")

    run_in(tmp_path)(begins)
    assert tables(tmp_path) != []
    with contextlib.closing(apsw.Connection(str(tmp_path / "doorleaf.sqlite3"))) as connection:
        assert connection.execute("SELECT COUNT(*) FROM indexes").get == 1, "the catalog never knew it"
    run_in(tmp_path)(goes_on)


def test_others_write_while_it_is_built(run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *map(document, range(30_000)))
        building = asyncio.create_task(store.execute(CreateIndex(namespace=C, keys={"l": 1})))
        written = 0
        while not building.done():
            await store.execute(InsertOne(namespace=OTHER, document={}))
            written += 1
        await building
        assert written > 10
        await require_right(store, "l_1")

    run(scenario)


def test_one_that_does_not_begin_claims_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def require(*_: Any) -> None:
        raise StoreUnavailable("the disk is full")

    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *map(document, range(10)))
        with monkeypatch.context() as patched:
            patched.setattr(store._storage.room, "require", require)
            with pytest.raises(StoreUnavailable, match="the disk is full"):
                Stepwise(store, ({"n": 1}, {}))
        steps = Stepwise(store, ({"n": 1}, {}))  # which has the same number, and might be in another process
        lock, number = store._storage.sharing._path, steps.build._indexes[0].id
        assert claimed_elsewhere(lock, number)
        steps.close()
        assert not claimed_elsewhere(lock, number)
        with monkeypatch.context() as patched:
            patched.setattr(store._storage.room, "require", require)
            with pytest.raises(StoreUnavailable, match="the disk is full"):
                Stepwise(store, ({"k": 1}, {}))
        assert not claimed_elsewhere(lock, number + 1)

    run_in(tmp_path)(scenario)


def claimed_elsewhere(path: Path, number: int) -> bool:
    """Whether another process finds that somebody builds the index with a number."""
    code = (
        "import sys; from pathlib import Path; from doorleaf.stores.embedded.file.sharing import Sharing\n"
        "sharing = Sharing(Path(sys.argv[1])); sharing.open(); print(sharing.claimed(int(sys.argv[2])))"
    )
    found = subprocess.run([sys.executable, "-c", code, path, str(number)], capture_output=True, check=True)
    return found.stdout.strip() == b"True"
