"""What the server knows about callers has a file of its own, and is moved there from files of earlier formats."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from opened import C, alter, command, fill, find, with_store

from doorleaf.documents import Document
from doorleaf.errors import DuplicateKey, StoreUnavailable, Unsupported
from doorleaf.mql.context import Context
from doorleaf.operations import (
    Aggregate,
    CountDocuments,
    CreateIndex,
    Find,
    FindOne,
    InsertMany,
    InsertOne,
    ListDatabases,
    Namespace,
    RunCommand,
)
from doorleaf.stores.embedded.file import verify
from doorleaf.stores.embedded.file.files import Files, begin_without, there
from doorleaf.stores.embedded.file.sqlite import DamagedDatabase
from doorleaf.stores.embedded.file.storage import FILE, FORMAT, SYSTEM_FILE, Storage
from doorleaf.stores.embedded.store import EmbeddedStore, FileStore

KEYS = Namespace("doorleaf", "keys")
USERS = Namespace("doorleaf", "users")
KNOWN: list[Document] = [
    {"_id": f"key {number}", "hash": f"{number:064}", "tags": [number, "x"]} for number in range(300)
]


def make_format_4(folder: Path) -> None:
    """A folder as earlier versions made it: one file with everything."""
    storage = Storage(folder)
    storage.prepare()

    async def filled() -> None:
        store = FileStore(storage, 60.0)
        store.start()
        await store.execute(CreateIndex(namespace=KEYS, keys={"hash": 1}, options={"unique": True}))
        await store.execute(CreateIndex(namespace=KEYS, keys={"tags": 1}, options={}))
        await store.execute(InsertMany(namespace=KEYS, documents=KNOWN))
        await store.execute(InsertOne(namespace=USERS, document={"_id": "u", "n": 1}))
        await store.execute(InsertMany(namespace=C, documents=[{"_id": number} for number in range(10)]))
        await store.close()

    asyncio.run(filled())
    alter(folder, "ALTER TABLE state DROP COLUMN system")
    alter(folder, "ALTER TABLE counts RENAME COLUMN size TO bytes")
    alter(folder, "PRAGMA user_version = 4")
    assert [path.name for path in there(folder)] == [FILE]


async def known(store: EmbeddedStore) -> list[Document]:
    return (await store.execute(Find(namespace=KEYS, limit=1000))).documents.decode()


async def look(store: EmbeddedStore) -> None:
    """Everything of :func:`make_format_4` is there, once and in its place."""
    assert await known(store) == KNOWN
    assert (await store.execute(CountDocuments(namespace=KEYS))).count == 300
    by_array = Find(namespace=KEYS, filter={"tags": 7}, hint="tags_1", limit=9)
    assert (await store.execute(by_array)).documents.decode() == [KNOWN[7]]
    with pytest.raises(DuplicateKey):
        await store.execute(InsertOne(namespace=KEYS, document={"_id": "other", "hash": KNOWN[5]["hash"]}))
    assert len(await find(store)) == 10
    for namespace in (KEYS, USERS, C):
        report = await store.execute(
            RunCommand(namespace=Namespace(namespace.database), command={"validate": namespace.collection})
        )
        assert report.result["valid"], report.result["errors"]
    listed = await store.execute(ListDatabases(namespace=Namespace("admin")))
    assert [item["name"] for item in listed.databases] == ["db", "doorleaf"]


def is_settled(folder: Path) -> bool:
    for path in there(folder):
        assert verify.file(path) == []
    main, system = Storage(folder), Storage(folder, file=SYSTEM_FILE)
    main.prepare()
    system.prepare()
    try:
        return main.latest.databases() == ["db"] and system.latest.databases() == ["doorleaf"]
    finally:
        main.close()
        system.close()


def test_what_the_server_knows_has_its_own_file(tmp_path: Path) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        await store.execute(InsertOne(namespace=KEYS, document={"_id": "k"}))
        names = [item["name"] for item in (await command(store, listDatabases=1))["databases"]]
        assert names == ["db", "doorleaf"]
        found = await store.execute(FindOne(namespace=KEYS, filter={"_id": "k"}))
        assert found.document is not None

    with_store(tmp_path, scenario)
    assert [path.name for path in there(tmp_path)] == [FILE, SYSTEM_FILE]
    assert is_settled(tmp_path)
    assert Files(tmp_path).inspect() == (FORMAT, [])


def test_a_write_that_takes_long_keeps_no_login_waiting(tmp_path: Path) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        begun, go = threading.Event(), threading.Event()

        def held(transaction: Any) -> None:
            begun.set()
            go.wait(60)

        long = asyncio.create_task(store.write(held, Context(time.monotonic() + 60)))
        try:
            await asyncio.to_thread(begun.wait, 30)
            await asyncio.wait_for(store.execute(InsertOne(namespace=KEYS, document={"_id": "k"})), 20)
            assert not long.done()
        finally:
            go.set()
            await long

    with_store(tmp_path, scenario)


def test_a_file_of_format_4_is_taken_apart(tmp_path: Path) -> None:
    make_format_4(tmp_path)
    assert Files(tmp_path).inspect() == (4, [])
    with_store(tmp_path, look)
    assert is_settled(tmp_path)
    with_store(tmp_path, look)


KILLED = """\
import os, signal, sys
from pathlib import Path
from doorleaf.stores.embedded.file import files

def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

point, folder = sys.argv[1], Path(sys.argv[2])
if point == "before copying":
    files.Files._copy = die
elif point == "in the middle of copying":
    copied = files._copy
    def first(here, transaction, collection):
        copied(here, transaction, collection)
        die()
    files._copy = first
elif point == "when it is copied":
    files.flush_names = die
else:
    dropped = files.drop_database
    def last(transaction, database):
        dropped(transaction, database)
        if transaction.session.storage.path.name == files.FILE:
            die()
    files.drop_database = last
files.Files(folder).prepare()
"""


@pytest.mark.parametrize(
    "point", ["before copying", "in the middle of copying", "when it is copied", "when it is taken out"]
)
def test_it_may_be_killed_meanwhile(tmp_path: Path, point: str) -> None:
    make_format_4(tmp_path)
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", KILLED, point, str(tmp_path)], timeout=60, check=False)
        assert done.returncode == -signal.SIGKILL
    with_store(tmp_path, look)
    assert is_settled(tmp_path)


def test_several_processes_open_it_at_once(tmp_path: Path) -> None:
    make_format_4(tmp_path)
    code = (
        "import sys; from pathlib import Path; from doorleaf.stores.embedded.file.files import Files;"
        " Files(Path(sys.argv[1])).prepare()"
    )
    openers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(3)]
    assert [opener.wait(60) for opener in openers] == [0, 0, 0]
    with_store(tmp_path, look)
    assert is_settled(tmp_path)


def test_what_an_earlier_version_writes_later_replaces_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_format_4(tmp_path)
    with_store(tmp_path, look)

    async def stray() -> None:
        storage = Storage(tmp_path)
        storage.prepare()
        store = FileStore(storage, 60.0)
        store.start()
        await store.execute(InsertOne(namespace=KEYS, document={"_id": "stray"}))
        await store.close()

    asyncio.run(stray())
    with_store(tmp_path, look)
    assert "an earlier version has written them" in caplog.text


def test_another_name_for_the_system_database(tmp_path: Path) -> None:
    make_format_4(tmp_path)
    with_store(tmp_path, look)

    async def renamed(store: EmbeddedStore) -> None:
        assert await known(store) == KNOWN, "it stays where it is"
        assert len(await find(store)) == 10
        await store.execute(InsertOne(namespace=C, document={"_id": "new"}))

    with_store(tmp_path, renamed, system_database="db")
    system = Storage(tmp_path, file=SYSTEM_FILE)
    system.prepare()
    assert system.latest.databases() == ["db", "doorleaf"]
    system.close()

    async def again(store: EmbeddedStore) -> None:
        assert len(await find(store)) == 11
        assert await known(store) == KNOWN

    with_store(tmp_path, again)


def test_nothing_is_written_from_one_file_to_the_other(tmp_path: Path) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        await store.execute(InsertOne(namespace=KEYS, document={"_id": "k"}))
        for source, target in ((C, "doorleaf"), (KEYS, "db")):
            for stage in ({"$out": {"db": target, "coll": "x"}}, {"$merge": {"into": {"db": target, "coll": "x"}}}):
                with pytest.raises(Unsupported):
                    await store.execute(Aggregate(namespace=source, pipeline=[stage]))
        await store.execute(Aggregate(namespace=KEYS, pipeline=[{"$out": "copies"}]))
        await store.execute(Aggregate(namespace=C, pipeline=[{"$out": {"db": "other", "coll": "x"}}]))
        counted = await store.execute(CountDocuments(namespace=Namespace("doorleaf", "copies")))
        assert counted.count == 1

    with_store(tmp_path, scenario)


def test_a_missing_file_is_told_and_can_be_begun_anew(tmp_path: Path) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store, {"_id": 1})
        await store.execute(InsertOne(namespace=KEYS, document={"_id": "k"}))

    with_store(tmp_path, scenario)
    (tmp_path / SYSTEM_FILE).rename(tmp_path / "elsewhere")
    with pytest.raises(DamagedDatabase, match=f"{SYSTEM_FILE} is missing"):
        with_store(tmp_path, known)
    assert not (tmp_path / SYSTEM_FILE).exists()
    assert any("is missing" in problem for problem in Files(tmp_path).inspect()[1])
    assert begin_without(tmp_path)
    assert not begin_without(tmp_path)
    assert with_store(tmp_path, known) == []
    assert with_store(tmp_path, find) == [{"_id": 1}]


def test_a_file_that_is_removed_ends_writing(tmp_path: Path) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await store.execute(InsertOne(namespace=KEYS, document={"_id": "k"}))
        os.rename(tmp_path / SYSTEM_FILE, tmp_path / "elsewhere")
        with pytest.raises(StoreUnavailable, match="removed or replaced"):
            await command(store, ping=1)
        os.rename(tmp_path / "elsewhere", tmp_path / SYSTEM_FILE)

    with_store(tmp_path, scenario)
