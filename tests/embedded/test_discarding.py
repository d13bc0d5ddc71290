"""Large collections and indexes that are dropped: gone at once, and taken away while others write."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
from opened import C, alter, command, fill, find, with_store

from doorleaf.documents import Document
from doorleaf.mql.context import Context
from doorleaf.operations import (
    CountDocuments,
    CreateIndex,
    DropCollection,
    DropIndex,
    InsertMany,
    InsertOne,
    ListIndexes,
    Namespace,
    RenameCollection,
)
from doorleaf.stores.embedded import discarding, sweeping
from doorleaf.stores.embedded.file import compacting
from doorleaf.stores.embedded.file.storage import FILE, Storage
from doorleaf.stores.embedded.file.verify import file as problems
from doorleaf.stores.embedded.store import EmbeddedStore

MANY = discarding.LARGE_ROWS + 5_000
TABLES = "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE name GLOB 'gone_*' ORDER BY name)"


def aside(folder: Path) -> list[str]:
    return [name for name in (alter(folder, TABLES) or "").split(",") if name]


async def filled(store: EmbeddedStore) -> None:
    await store.execute(CreateIndex(namespace=C, keys={"n": 1}))
    await store.execute(InsertMany(namespace=C, documents=[{"_id": n, "n": n % 7} for n in range(MANY)]))


def test_a_large_collection_is_gone_at_once_and_its_space_later(tmp_path: Path) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await filled(store)
        pages = "PRAGMA freelist_count"
        await store.execute(DropCollection(namespace=C))
        assert await find(store) == []
        assert len(aside(tmp_path)) == 3, "its documents, and two indexes"
        assert problems(tmp_path / FILE) == []
        before = alter(tmp_path, pages)
        await fill(store, {"_id": 1, "n": 5})  # the name is free
        sweeping = asyncio.create_task(store.sweep())
        written = 0
        while not sweeping.done():
            await store.execute(InsertOne(namespace=Namespace("db", "other"), document={}))
            written += 1
        await sweeping
        assert aside(tmp_path) == []
        assert written > 3, "others wrote in between"
        another = partial(discarding.take_away, table="gone_d1")  # of another process, which came later
        assert await store.write(another, Context(time.monotonic() + 30))
        assert await find(store) == [{"_id": 1, "n": 5}]
        assert alter(tmp_path, pages) > before or (tmp_path / FILE).stat().st_size < 4096 * 100
        assert (await command(store, validate="c"))["valid"]
        assert problems(tmp_path / FILE) == []

    with_store(tmp_path, scenario)


def test_a_large_index_is_put_aside_and_can_be_made_again(tmp_path: Path) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await filled(store)
        await store.execute(DropIndex(namespace=C, index="n_1"))
        assert [name[:6] for name in aside(tmp_path)] == ["gone_i"]
        await store.execute(CreateIndex(namespace=C, keys={"n": 1}))
        await store.sweep()
        assert aside(tmp_path) == []
        names = [item["name"] for item in (await store.execute(ListIndexes(namespace=C))).indexes]
        assert names == ["_id_", "n_1"]
        assert (await store.execute(CountDocuments(namespace=C, filter={"n": 3}))).count == len(range(3, MANY, 7))
        assert problems(tmp_path / FILE) == []

    with_store(tmp_path, scenario)


def test_documents_expire_though_much_is_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await filled(store)
        await store.execute(DropCollection(namespace=C))
        await store.execute(CreateIndex(namespace=C, keys={"t": 1}, options={"expireAfterSeconds": 1}))
        await fill(store, {"_id": "old", "t": datetime(2020, 1, 1)}, {"_id": "new"})
        monkeypatch.setattr(sweeping, "TAKING_SECONDS", 0.0)
        assert await store.sweep() == 1
        assert await find(store) == [{"_id": "new"}]
        assert len(aside(tmp_path)) == 3
        monkeypatch.undo()
        assert await store.sweep() == 0
        assert aside(tmp_path) == []

    with_store(tmp_path, scenario)


@pytest.mark.parametrize("how", ["rename", "database", "documents"])
def test_what_else_drops_collections_puts_them_aside(tmp_path: Path, how: str) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        if how == "documents":  # few, of much
            large: list[Document] = [{"_id": n, "text": "x" * 1_000_000} for n in range(10)]
            await store.execute(InsertMany(namespace=C, documents=large))
            await store.execute(DropCollection(namespace=C))
            assert len(aside(tmp_path)) == 1
        else:
            await filled(store)
        if how == "rename":
            other = Namespace("db", "other")
            await store.execute(InsertOne(namespace=other, document={"_id": 1}))
            await store.execute(RenameCollection(namespace=other, to="c", drop_target=True))
            assert await find(store) == [{"_id": 1}]
        elif how == "database":
            assert (await command(store, dropDatabase=1))["ok"] == 1
        assert aside(tmp_path) != []
        await store.sweep()
        assert aside(tmp_path) == []
        assert problems(tmp_path / FILE) == []

    with_store(tmp_path, scenario)


def test_what_is_small_or_has_to_go_is_dropped_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, *({"_id": n} for n in range(100)))
        await store.execute(DropCollection(namespace=C))
        assert aside(tmp_path) == []
        await filled(store)
        await store.execute(DropCollection(namespace=C))

    with_store(tmp_path, scenario)
    assert len(aside(tmp_path)) == 3, "a server that ended leaves it to the next one"
    before, after = compacting.compact(Storage(tmp_path))
    assert (aside(tmp_path), after < before) == ([], True)
    assert problems(tmp_path / FILE) == []
