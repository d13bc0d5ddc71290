"""The file becomes smaller after much was deleted, by itself and by command, and holds what it held."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import closing
from pathlib import Path

import apsw
from opened import C, Run, alter, command, fill, find, run_in
from servers import run_doorleaf as doorleaf

from doorleaf.operations import DeleteMany, DropCollection, Namespace
from doorleaf.stores.embedded.file.storage import FILE
from doorleaf.stores.embedded.store import EmbeddedStore


async def fill_and_delete(store: EmbeddedStore) -> None:
    for start in range(0, 2000, 500):
        await fill(store, *({"_id": number, "text": "x" * 2000} for number in range(start, start + 500)))
    await fill(store, *({"text": "y" * 2000} for _ in range(500)), namespace=Namespace("db", "gone"))
    await store.execute(DeleteMany(namespace=C, filter={"_id": {"$gte": 100}}))
    await store.execute(DropCollection(namespace=Namespace("db", "gone")))


async def sound(store: EmbeddedStore) -> None:
    assert [document["_id"] for document in await find(store)] == list(range(100))
    assert (await command(store, validate="c"))["valid"]


def size(folder: Path) -> int:
    return os.path.getsize(folder / FILE)


def test_the_sweep_gives_space_back(tmp_path: Path, run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill_and_delete(store)

    async def later(store: EmbeddedStore) -> None:
        await store.sweep()
        await sound(store)

    run(scenario)
    large = size(tmp_path)
    run(later)
    assert size(tmp_path) < large / 5
    assert alter(tmp_path, "PRAGMA integrity_check") == "ok"


def test_little_unused_space_stays_for_what_comes(tmp_path: Path, run: Run) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": number, "text": "x" * 2000} for number in range(500)))
        await store.execute(DeleteMany(namespace=C, filter={"_id": {"$gte": 450}}))
        await store.sweep()
        assert store.now(lambda session: session.execute("PRAGMA freelist_count").get) > 10

    run(scenario)


def test_the_command_writes_a_file_of_any_kind_anew(tmp_path: Path) -> None:
    folder = tmp_path / "doorleaf-data"
    run = run_in(folder)
    run(fill_and_delete)
    with closing(apsw.Connection(str(folder / FILE))) as old:
        old.execute("PRAGMA journal_mode = DELETE")
        old.execute("PRAGMA auto_vacuum = NONE")
        old.execute("VACUUM")
    run(fill_and_delete_again)
    large = size(folder)
    done = doorleaf(tmp_path, "compact", "--json")
    assert done.returncode == 0, done.stderr
    told, other = json.loads(done.stdout)
    assert other["file"].endswith("doorleaf-system.sqlite3")
    assert (told["data_source"], told["before"], told["after"]) == ("default", large, size(folder))
    assert size(folder) < large / 5
    assert alter(folder, "PRAGMA auto_vacuum") == 2
    run(sound)


async def fill_and_delete_again(store: EmbeddedStore) -> None:
    await fill(store, *({"_id": number, "text": "x" * 2000} for number in range(100, 2000)))
    await store.execute(DeleteMany(namespace=C, filter={"_id": {"$gte": 100}}))


def test_the_command_beside_a_server_that_writes(tmp_path: Path) -> None:
    folder = tmp_path / "doorleaf-data"

    async def scenario(store: EmbeddedStore) -> None:
        await fill_and_delete(store)
        done = asyncio.create_task(asyncio.to_thread(doorleaf, tmp_path, "compact"))
        number = 0
        while not done.done():
            await fill(store, {"_id": f"beside {number}"})
            number += 1
        assert (await done).returncode == 0, (await done).stderr
        found = await find(store, {"_id": {"$type": "string"}})
        assert len(found) == number
        assert (await command(store, validate="c"))["valid"]

    run_in(folder)(scenario)


def test_no_database_is_no_compacting(tmp_path: Path) -> None:
    done = doorleaf(tmp_path, "compact")
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no embedded database in" in done.stderr
    assert list(tmp_path.iterdir()) == []
