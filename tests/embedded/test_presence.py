"""A file that goes away while it is open: nothing more is acknowledged, nothing made in its place, nothing harmed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from opened import C, command, fill, find, run_in

from doorleaf.errors import StoreUnavailable
from doorleaf.operations import InsertOne
from doorleaf.stores.embedded.file.sqlite import DamagedDatabase
from doorleaf.stores.embedded.file.storage import FILE, Storage
from doorleaf.stores.embedded.store import EmbeddedStore

GONE = "removed or replaced while it was open: nothing is written any more"


def removed(folder: Path) -> None:
    (folder / FILE).unlink()


def all_removed(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def folder_removed(folder: Path) -> None:
    shutil.rmtree(folder)


def log_removed(folder: Path) -> None:
    (folder / f"{FILE}-wal").unlink()


def replaced(folder: Path) -> None:
    shutil.copy(folder / FILE, folder / "copy")
    (folder / "copy").rename(folder / FILE)


def all_replaced(folder: Path) -> None:
    all_removed(folder)
    (folder / f"{FILE}-wal").write_bytes(b"somebody's")
    (folder / FILE).write_bytes(b"somebody's")


@pytest.mark.parametrize("change", [removed, all_removed, folder_removed, log_removed, replaced, all_replaced])
def test_writes_are_refused_and_nothing_is_made(tmp_path: Path, change: Callable[[Path], None]) -> None:
    folder = tmp_path / "data"

    async def whole() -> dict[str, bytes]:
        store = EmbeddedStore(folder)
        await store.open()
        try:
            await fill(store, {"_id": 1})
            assert (await command(store, ping=1)) == {"ok": 1}
            change(folder)
            left = tree(folder)
            with pytest.raises(StoreUnavailable, match=GONE):
                await command(store, ping=1)
            for _ in range(3):
                with pytest.raises(StoreUnavailable, match=GONE) as raised:
                    await store.execute(InsertOne(namespace=C, document={"_id": 2}))
                assert str(folder) not in raised.value.message
            assert [document["_id"] for document in await find(store)] == [1]
            return left
        finally:
            await store.close()

    left = asyncio.run(whole())
    assert tree(folder) == left


def tree(folder: Path) -> dict[str, bytes]:
    """What is in the folder, apart from what only an open database needs, and from the other database."""
    if not folder.exists():
        return {}
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if not path.name.endswith(("-shm", ".lock", ".reserve")) and not path.name.startswith("doorleaf-system.")
    }


def test_what_was_put_in_its_place_opens(tmp_path: Path) -> None:
    run, other = run_in(tmp_path / "one"), run_in(tmp_path / "two")
    other(lambda store: fill(store, {"_id": "other"}))

    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": "mine"})
        await asyncio.to_thread(shutil.copy, tmp_path / "two" / FILE, tmp_path / "one" / "new")
        (tmp_path / "one" / "new").rename(tmp_path / "one" / FILE)
        (tmp_path / "one" / f"{FILE}-wal").unlink()
        (tmp_path / "one" / f"{FILE}-shm").unlink()
        with pytest.raises(StoreUnavailable, match=GONE):
            await fill(store, {"_id": "lost"})

    async def look(store: EmbeddedStore) -> None:
        assert await find(store) == [{"_id": "other"}]
        assert (await command(store, validate="c"))["valid"]

    run(scenario)
    run(look)


def test_a_log_without_its_database_is_not_written_into_a_new_one(tmp_path: Path) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        (tmp_path / FILE).unlink()
        with pytest.raises(StoreUnavailable):
            await fill(store, {"_id": 2})

    run_in(tmp_path)(scenario)
    before = tree(tmp_path)
    assert len(before) == 1
    with pytest.raises(DamagedDatabase, match="is missing, but its log"):
        run_in(tmp_path)(find)  # type: ignore[arg-type]
    assert tree(tmp_path) == before


def test_a_reader_makes_no_file(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.prepare()
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(Exception, match="unable to open database file"):
        storage.session()
    assert not (tmp_path / FILE).exists()
    storage.close()
    assert not (tmp_path / FILE).exists()
