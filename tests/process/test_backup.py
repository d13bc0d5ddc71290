"""``doorleaf backup`` under writers, and ``doorleaf restore`` of what is sound and what is not."""

from __future__ import annotations

import io
import json
import sys
import tarfile
import threading
from pathlib import Path

import forked
import pytest
from servers import Doorleaf, _clean_environment, doorleaf

from doorleaf.errors import StoreUnavailable
from doorleaf.stores.embedded.file import backup as backups

COMMAND = str(Path(sys.executable).parent / "doorleaf")
FILE = "doorleaf.sqlite3"


def run(folder: Path, *args: str, code: int = 0, given: bytes | None = None) -> tuple[bytes, str]:
    """What a command writes to standard output, and says on standard error."""
    done = forked.run(args, folder=folder, env=_clean_environment({"COLUMNS": "200"}), given=given or b"")
    said = done.stderr.decode()
    assert done.returncode == code, said
    assert "Traceback" not in said
    return done.stdout, said


def refused(folder: Path, *args: str, given: bytes | None = None) -> str:
    return run(folder, *args, code=1, given=given)[1]


class Writer(threading.Thread):
    """Inserts 0, 1, 2 … one after another until it is told to stop; ``done`` are acknowledged."""

    def __init__(self, server: Doorleaf) -> None:
        super().__init__()
        self.server = server
        self.done = 0
        self.over = False

    def run(self) -> None:
        connection = self.server.connection()
        while not self.over:
            document = {"_id": self.done, "text": "x" * 500}
            assert self.server.act("insertOne", document=document, on=connection).status == 201
            self.done += 1
        connection.close()


def test_a_backup_is_of_one_moment_and_has_keys_too(tmp_path: Path) -> None:
    data = tmp_path / "data"
    key = run(tmp_path, "keys", "create", "kept", "--admin", "--data-dir", "data")[0].decode().strip()
    with doorleaf(data) as server:
        server.ok("createIndex", keys={"text": 1})
        writer = Writer(server)
        writer.start()
        try:
            while writer.done < 200:
                assert writer.is_alive()
            before = writer.done
            told = json.loads(run(tmp_path, "backup", "copy.tar.zst", "--data-dir", "data", "--json")[0])
            during = writer.done - before
        finally:
            writer.over = True
            writer.join()
        assert during > 0
        assert FILE in told["files"]
    assert {path.name for path in tmp_path.iterdir() if path.suffix != ".log"} == {"data", "copy.tar.zst"}
    assert (tmp_path / "copy.tar.zst").read_bytes()[:4] == b"\x28\xb5\x2f\xfd"
    said = run(tmp_path, "restore", "copy.tar.zst", "--data-dir", "again")[0].decode()
    assert "all of it checked" in said
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == sorted(told["files"])
    with doorleaf(tmp_path / "again") as restored:
        restored.key = key
        documents = restored.ok("find", sort={"_id": 1}, projection={"_id": 1}, limit=50_000)["documents"]
        assert [document["_id"] for document in documents] == [*range(len(documents))]
        assert before <= len(documents) <= writer.done
        assert [index["name"] for index in restored.ok("listIndexes")["indexes"]] == ["_id_", "text_1"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a document in it."""
    run(tmp_path, "import", "-", "d.c", "--data-dir", "data", given=b'{"_id":1}')
    return tmp_path / "data"


def test_a_folder_that_is_in_use_or_has_a_database_is_left_alone(tmp_path: Path, data: Path) -> None:
    run(tmp_path, "backup", "copy.tar", "--data-dir", "data")
    before = (data / FILE).read_bytes()
    assert "there is a database in data: restore into another folder, or with --replace" in refused(
        tmp_path, "restore", "copy.tar", "--data-dir", "data"
    )
    assert (data / FILE).read_bytes() == before
    with doorleaf(data) as server:
        for more in ((), ("--replace",)):
            assert "is open in another process" in refused(tmp_path, "restore", "copy.tar", "--data-dir", "data", *more)
        server.ok("insertOne", document={"_id": 2})
    out, _ = run(
        tmp_path, "restore", "-", "--data-dir", "data", "--replace", given=(tmp_path / "copy.tar").read_bytes()
    )
    assert b"is restored into data" in out
    kept = [path.name for path in data.iterdir() if path.name.startswith(f"{FILE}.before-")]
    assert len(kept) == 1
    with doorleaf(data) as server:
        assert server.ok("find")["documents"] == [{"_id": 1}]


def _without_file(whole: bytes) -> bytes:
    """A backup that ends behind its list of files."""
    made = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(whole)) as old, tarfile.open(fileobj=made, mode="w") as new:
        first = old.next()
        assert first is not None
        new.addfile(first, old.extractfile(first))
    return made.getvalue()


def test_a_damaged_backup_is_refused_and_changes_nothing(tmp_path: Path, data: Path) -> None:
    run(tmp_path, "backup", "copy.tar", "--data-dir", "data")
    whole = (tmp_path / "copy.tar").read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    outside = io.BytesIO()
    with tarfile.open(fileobj=outside, mode="w") as archive:
        entry = tarfile.TarInfo("../escaped")
        archive.addfile(entry, io.BytesIO())
    for damaged, said in (
        (bytes(flipped), "is not as it was written"),
        (whole[: len(whole) // 2], "the backup is not sound"),
        (_without_file(whole), "is not as it was written"),
        (outside.getvalue(), "this is no backup"),
        (b"nonsense" * 1000, "the backup is not sound, or is none"),
        (whole.replace(b'"format"', b'"farmat"'), "its list of files is not as it was written"),
    ):
        assert damaged != whole
        with pytest.raises(StoreUnavailable, match=said):
            backups.restore(io.BytesIO(damaged).read, tmp_path / "new", lambda done, total: None)
        assert list((tmp_path / "new").iterdir()) == []
    assert not (tmp_path / "escaped").exists()


def test_what_is_no_sound_database_is_not_backed_up(tmp_path: Path, data: Path) -> None:
    assert "there is no database in" in refused(tmp_path, "backup", "copy.tar", "--data-dir", "nowhere")
    path = data / FILE
    content = path.read_bytes()
    page = content.rindex(b"\x10_id\0\1\0\0\0")  # the document itself
    path.write_bytes(content[: page + 5] + b"\7" + content[page + 6 :])
    said = refused(tmp_path, "backup", "copy.tar", "--data-dir", "data")
    assert "is damaged: d.c: the document in row 1 is not as it was written" in said
    assert not (tmp_path / "copy.tar").exists()
    assert "is a MongoDB" in refused(tmp_path, "backup", "copy.tar", "--config", str(_mongodb(tmp_path)))


def _mongodb(folder: Path) -> Path:
    path = folder / "doorleaf.toml"
    path.write_text('uri = "mongodb://127.0.0.1:1"\n')
    return path
