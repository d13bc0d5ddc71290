"""The file: made, reopened, shared, damaged, full."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest
from opened import alter, with_store

from doorleaf.documents import Document
from doorleaf.errors import StoreUnavailable
from doorleaf.operations import (
    CountDocuments,
    CreateIndex,
    DropCollection,
    Find,
    FindOne,
    InsertMany,
    InsertOne,
    ListIndexes,
    Namespace,
    Operation,
    RunCommand,
)
from doorleaf.stores.embedded.file.sqlite import DamagedDatabase, require_current, version
from doorleaf.stores.embedded.file.storage import FILE, FORMAT, Storage
from doorleaf.stores.embedded.store import EmbeddedStore

C = Namespace("db", "c")


async def fill(store: EmbeddedStore, number: int = 300) -> None:
    documents: list[Document] = [{"_id": n, "a": n % 7, "text": "x" * 200} for n in range(number)]
    await store.execute(InsertMany(namespace=C, documents=documents))
    await store.execute(CreateIndex(namespace=C, keys={"a": 1}))


async def nothing(store: EmbeddedStore) -> None:
    pass


async def found(store: EmbeddedStore) -> list[Document]:
    return (await store.execute(Find(namespace=C, sort={"_id": 1}))).documents.decode()


def test_documents_indexes_and_counts_survive_a_reopening(tmp_path: Path) -> None:
    with_store(tmp_path / "new" / "folder", fill)

    async def look(store: EmbeddedStore) -> None:
        assert len(await found(store)) == 300
        assert (await store.execute(CountDocuments(namespace=C))).count == 300
        assert (await store.execute(CountDocuments(namespace=C, filter={"a": 3}))).count == 43
        assert [index["name"] for index in (await store.execute(ListIndexes(namespace=C))).indexes] == ["_id_", "a_1"]
        report = await store.execute(RunCommand(namespace=Namespace("db"), command={"validate": "c"}))
        assert report.result["valid"]

    with_store(tmp_path / "new" / "folder", look)


def test_the_log_is_folded_in_at_close_and_the_file_is_private(tmp_path: Path) -> None:
    with_store(tmp_path, fill)
    log = tmp_path / (FILE + "-wal")
    assert not log.exists() or log.stat().st_size == 0
    assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == []
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_an_operation_before_open_or_after_close_is_unavailable(tmp_path: Path) -> None:
    async def run() -> None:
        store = EmbeddedStore(tmp_path)
        operations: list[Operation[Any]] = [
            *(FindOne(namespace=C), InsertOne(namespace=C, document={}), CountDocuments(namespace=C))
        ]
        for operation in operations:
            with pytest.raises(StoreUnavailable):
                await store.execute(operation)
        await store.open()
        await store.close()
        with pytest.raises(StoreUnavailable):
            await store.execute(FindOne(namespace=C))
        await store.close()

    asyncio.run(run())


def test_a_sqlite_that_can_lose_commits_is_refused() -> None:
    require_current(version())
    require_current("3.51.3")
    require_current("4.0.0")
    for old in ("3.51.2", "3.40.1", "3.7.0", "2.99.99"):
        with pytest.raises(StoreUnavailable, match=f"SQLite {old} can lose committed writes"):
            require_current(old)


def test_a_connection_that_cannot_be_set_up_is_closed(tmp_path: Path) -> None:
    """Nothing holds a file that is no database once it is refused."""
    (tmp_path / FILE).write_bytes(b"not a database at all" * 300)
    for _ in range(3):
        _damaged(tmp_path)
    assert [os.readlink(f"/proc/self/fd/{number}") for number in _open_files(tmp_path)] == []


def _open_files(folder: Path) -> list[str]:
    if not Path("/proc/self/fd").exists():
        pytest.skip("only Linux lists a process's open files")
    numbers = [number for number in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{number}")]
    return [number for number in numbers if os.readlink(f"/proc/self/fd/{number}").startswith(str(folder))]


# --- damage ----------------------------------------------------------------------------------------------------------


def _damaged(folder: Path) -> str:
    with pytest.raises(DamagedDatabase) as caught:
        with_store(folder, nothing)
    assert str(folder / FILE) in caught.value.message
    assert "damaged" in caught.value.message or "no database of Doorleaf" in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("content", [b"x", b"not a database at all" * 300, b""])
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    _damaged(tmp_path)
    assert (tmp_path / FILE).read_bytes() == content


def test_a_database_of_another_program(tmp_path: Path) -> None:
    with closing(apsw.Connection(str(tmp_path / FILE))) as other:
        other.execute("CREATE TABLE t (x)")
    assert "no database of Doorleaf" in _damaged(tmp_path)


@pytest.mark.parametrize("part", [0.05, 0.3, 0.5, 0.9])
def test_a_truncated_file(tmp_path: Path, part: float) -> None:
    with_store(tmp_path, fill)
    size = (tmp_path / FILE).stat().st_size
    os.truncate(tmp_path / FILE, int(size * part))
    _damaged(tmp_path)


@pytest.mark.parametrize("part", [0.2, 0.4, 0.6, 0.8])
def test_an_overwritten_page(tmp_path: Path, part: float) -> None:
    with_store(tmp_path, fill)
    size = (tmp_path / FILE).stat().st_size
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(int(size * part) // 4096 * 4096)
        file.write(os.urandom(4096))
    _damaged(tmp_path)


def test_one_flipped_bit_in_a_document(tmp_path: Path) -> None:
    with_store(tmp_path, fill)
    content = bytearray((tmp_path / FILE).read_bytes())
    place = content.rindex(b"xxxxxxxxxx")
    content[place] ^= 1
    (tmp_path / FILE).write_bytes(content)
    assert "db.c" in _damaged(tmp_path)


def test_damage_that_is_met_while_running_is_no_answer(tmp_path: Path) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store)
        table = alter(tmp_path, "SELECT 'd' || id FROM collections")
        alter(tmp_path, f"UPDATE {table} SET sum = sum + 1 WHERE id = 6")
        operations: list[Operation[Any]] = [
            *(FindOne(namespace=C, filter={"_id": 5}), Find(namespace=C), Find(namespace=C, sort={"a": 1}))
        ]
        for operation in operations:
            with pytest.raises(StoreUnavailable, match="damaged") as caught:
                await store.execute(operation)
            assert str(tmp_path) not in caught.value.message
        assert (await store.execute(FindOne(namespace=C, filter={"_id": 6}))).document is not None

    with_store(tmp_path, scenario)


def test_a_newer_format_is_left_alone(tmp_path: Path) -> None:
    with_store(tmp_path, fill)
    alter(tmp_path, f"PRAGMA user_version = {FORMAT + 1}")
    with pytest.raises(StoreUnavailable, match=f"format {FORMAT + 1}") as caught:
        with_store(tmp_path, nothing)
    assert not isinstance(caught.value, DamagedDatabase)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="cannot open the database file"):
        with_store(tmp_path / "file" / "data", nothing)


def test_a_full_disk_acknowledges_nothing(tmp_path: Path) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        await fill(store)
        writer = store._writer
        assert writer is not None
        execute = writer._session.execute
        pages = execute("PRAGMA page_count").get
        execute(f"PRAGMA max_page_count = {pages + 5}")
        large: list[Document] = [{"_id": f"big{n}", "data": "y" * 10_000} for n in range(20)]
        answers = await asyncio.gather(
            *(store.execute(InsertOne(namespace=C, document=document)) for document in large), return_exceptions=True
        )
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        assert failures
        assert all(isinstance(answer, StoreUnavailable) and "disk full" in answer.message for answer in failures)
        stored = {document["_id"] for document in await found(store)}
        for document, answer in zip(large, answers, strict=True):
            assert (document["_id"] in stored) == (not isinstance(answer, BaseException))
        execute("PRAGMA max_page_count = 1000000")
        await store.execute(InsertOne(namespace=C, document={"_id": "after"}))
        report = await store.execute(RunCommand(namespace=Namespace("db"), command={"validate": "c"}))
        assert report.result["valid"], report.result

    with_store(tmp_path, scenario)


# --- sharing ---------------------------------------------------------------------------------------------------------


def test_two_stores_on_one_folder_see_each_other_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        first, second = EmbeddedStore(tmp_path), EmbeddedStore(tmp_path)
        await first.open()
        await second.open()
        await first.execute(InsertOne(namespace=C, document={"_id": 1, "a": 1}))
        assert len(await found(second)) == 1
        # An index that one makes is kept up by the other's very next write, and enforced by it.
        await first.execute(CreateIndex(namespace=C, keys={"a": 1}, options={"unique": True}))
        with pytest.raises(Exception, match="E11000"):
            await second.execute(InsertOne(namespace=C, document={"_id": 2, "a": 1}))
        await second.execute(InsertOne(namespace=C, document={"_id": 3, "a": [5, 6]}))
        hit = (await first.execute(Find(namespace=C, filter={"a": {"$gt": 5, "$lt": 6}}))).documents.decode()
        assert [document["_id"] for document in hit] == [3]
        await second.execute(DropCollection(namespace=C))
        assert await found(first) == []
        await first.execute(InsertOne(namespace=C, document={"_id": 1, "b": 1}))
        assert await found(second) == [{"_id": 1, "b": 1}]
        await first.close()
        assert await found(second) == [{"_id": 1, "b": 1}]
        await second.close()

    asyncio.run(run())


_WRITER = """
import asyncio, sys
from pathlib import Path
from doorleaf.operations import InsertOne, Namespace
from doorleaf.stores.embedded.store import EmbeddedStore

async def main():
    store = EmbeddedStore(Path(sys.argv[1]))
    await store.open()
    name = sys.argv[2]
    async def write(part):
        for number in range(40):
            document = {"_id": f"{name}-{part}-{number}", "by": name, "n": number}
            await store.execute(InsertOne(namespace=Namespace("db", "c"), document=document))
    await asyncio.gather(*(write(part) for part in range(4)))
    await store.close()

asyncio.run(main())
"""


def test_several_processes_write_one_folder(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path), name], stderr=subprocess.PIPE)
        for name in ("one", "two", "three")
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=120)
        assert writer.returncode == 0, errors.decode()

    async def look(store: EmbeddedStore) -> None:
        for name in ("one", "two", "three"):
            assert (await store.execute(CountDocuments(namespace=C, filter={"by": name}))).count == 160
        assert (await store.execute(CountDocuments(namespace=C))).count == 480
        report = await store.execute(RunCommand(namespace=Namespace("db"), command={"validate": "c"}))
        assert report.result["valid"]

    with_store(tmp_path, look)


ANOTHER_PROCESS = """\
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)  # what SQLite locks to be alone
"""


def test_a_second_opening_in_the_process_takes_no_lock_from_the_first(tmp_path: Path) -> None:
    """Whoever opens and closes the file by other means than SQLite's drops the locks of the whole process, and another
    process takes itself for the only one."""
    first, second = Storage(tmp_path), Storage(tmp_path)
    first.prepare()
    command = [sys.executable, "-c", ANOTHER_PROCESS, str(tmp_path / FILE)]
    with closing(first.session(writing=True).connection) as connection:
        connection.execute("UPDATE state SET catalog = catalog + 1 WHERE id = 1")
        second.prepare()
        second.inspect()
        alone = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "BlockingIOError" in alone.stderr or "PermissionError" in alone.stderr
    subprocess.run(command, check=True)


@pytest.mark.parametrize("moment", ["FROM watched", "FROM d1"])
def test_what_others_drop_while_a_file_is_opened_is_no_damage(tmp_path: Path, moment: str) -> None:
    async def filled(store: EmbeddedStore) -> None:
        for name in ("c", "dropped"):
            await store.execute(InsertOne(namespace=Namespace("db", name), document={}))

    with_store(tmp_path, filled)
    drops = ["DROP TABLE d2", "DELETE FROM collections WHERE id = 2", "DELETE FROM counts WHERE collection = 2"]
    drops.append("UPDATE state SET catalog = catalog + 1")

    def traced(cursor: apsw.Cursor, statement: str, values: Any) -> bool:
        while moment in statement and drops:
            alter(tmp_path, drops.pop(0))
        return True

    def hook(connection: apsw.Connection) -> None:
        connection.exec_trace = traced

    storage = Storage(tmp_path, "OFF")
    apsw.connection_hooks.append(hook)
    try:
        storage.prepare()
    finally:
        apsw.connection_hooks.remove(hook)
    assert not drops
    storage.inspect()
    with closing(storage.session()) as session:
        session.begin()
        assert [*session.catalog.collections] == [("db", "c")]
        session.end()
    storage.close()
