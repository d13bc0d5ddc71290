"""The catalog is read again when another process has changed it, and only what has changed is made anew."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from opened import C, command, fill

from doorleaf.errors import DataError
from doorleaf.operations import (
    CreateCollection,
    CreateIndex,
    DropCollection,
    DropIndex,
    FindOne,
    ListCollections,
    Namespace,
    RenameCollection,
    Watch,
)
from doorleaf.stores.embedded import store as opening
from doorleaf.stores.embedded.catalog import Catalog, load
from doorleaf.stores.embedded.file.storage import FILE, Storage
from doorleaf.stores.embedded.store import EmbeddedStore


def told(catalog: Catalog) -> list[Any]:
    """All that is in a catalog, as plain values."""
    return [
        (key, found.id, found.options, [(index.id, index.specification, index.arrays) for index in found.indexes])
        for key, found in catalog.collections.items()
    ]


def test_what_has_not_changed_is_not_made_anew(tmp_path: Path) -> None:
    known: list[Catalog] = []

    def read(storage: Storage) -> Catalog:
        with closing(storage.session()) as session:
            again = load(session.connection, known[-1] if known else None)
            fresh = load(session.connection)
        assert told(again) == told(fresh)
        known.append(again)
        return again

    async def scenario() -> None:
        store, beside = EmbeddedStore(tmp_path), Storage(tmp_path)
        await store.open()
        for name in ("a", "b", "c"):
            await fill(store, {"_id": 1}, namespace=Namespace("db", name))
        before = read(beside)
        await store.execute(CreateIndex(namespace=C, keys={"x": 1}))
        after = read(beside)
        assert after.get(Namespace("db", "a")) is before.get(Namespace("db", "a"))
        assert after.get(C) is not before.get(C)
        await fill(store, {"_id": 2, "x": [1, 2]})
        arrays = read(beside).get(C)
        assert arrays is not None
        assert [index.arrays for index in arrays.indexes] == [0, 1]
        await store.execute(DropIndex(namespace=C, index="x_1"))
        assert [index.name for index in read(beside).collections["db", "c"].indexes] == ["_id_"]
        await store.execute(DropCollection(namespace=Namespace("db", "b")))
        await store.execute(CreateCollection(namespace=Namespace("db", "b"), options={"validator": {"x": 1}}))
        latest = read(beside)
        assert latest.collections["db", "b"].options == {"validator": {"x": 1}}
        assert latest.collections["db", "a"] is before.collections["db", "a"]
        assert len(latest.rows) == 6, "nothing is kept of what is gone"
        await store.close()

    asyncio.run(scenario())
    assert (tmp_path / FILE).exists()


def test_a_renamed_collection_is_the_same_to_all_and_after_a_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, other = EmbeddedStore(tmp_path), EmbeddedStore(tmp_path)
        await store.open()
        await other.open()
        old, new = Namespace("db", "old"), Namespace("db", "new")
        await store.execute(CreateCollection(namespace=old, options={"validator": {"x": {"$gt": 0}}}))
        await store.execute(CreateIndex(namespace=old, keys={"x": 1}))
        await fill(store, *({"_id": number, "x": number + 1, "same": 1} for number in range(50)), namespace=old)
        watched, taken = [(await other.execute(Watch(namespace=at))).changes for at in (old, new)]
        await fill(store, {"_id": "gone"}, namespace=new)
        await store.execute(RenameCollection(namespace=old, to="new", drop_target=True))
        ended = await watched.next() or []
        assert [event["operationType"] for event in ended] == ["rename", "invalidate"]
        resumed = (await other.execute(Watch(namespace=old, resume_after=ended[0]["_id"]))).changes
        assert [event["operationType"] for event in await resumed.next() or ()] == ["invalidate"]
        assert [event["operationType"] for event in await taken.next() or ()] == ["insert", "drop", "invalidate"]
        for one in (store, other):
            await one.execute(FindOne(namespace=new, filter={"x": 7}, hint={"x": 1}))
            with pytest.raises(DataError, match="validation"):
                await fill(one, {"x": 0}, namespace=new)
        await store.close()
        await other.close()
        await store.open()
        assert (await command(store, validate="new"))["valid"]
        assert (await command(store, count="new"))["n"] == 50
        assert [item["name"] for item in (await command(store, listCollections=1))["cursor"]["firstBatch"]] == ["new"]
        await store.close()

    asyncio.run(scenario())


def test_many_collections_are_listed_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "INLINE_COLLECTIONS", 3)
    monkeypatch.setattr(opening, "WARM_SECONDS", 3600.0)

    async def scenario() -> None:
        store = EmbeddedStore(tmp_path)
        await store.open()
        names = [f"c{number}" for number in range(6)]
        for number, name in enumerate(names):
            await fill(store, {"_id": 1}, namespace=Namespace("db", name))
            listed = await store.execute(ListCollections(namespace=Namespace("db")))
            assert [item["name"] for item in listed.collections] == names[: number + 1]
            assert (store.workers().started > 0) is (number >= 3)
        await store.close()

    asyncio.run(scenario())
