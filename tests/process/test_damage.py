"""A database file that is damaged, and a disk that is full: said clearly, nothing touched, nothing invented."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import Doorleaf, doorleaf, free_port, run_doorleaf, start_doorleaf

FILE = "doorleaf.sqlite3"


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def without_end(content: bytes) -> bytes:
    return content[:-100]


def flipped_header(content: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in content[:32]) + content[32:]


def zero_page(content: bytes) -> bytes:
    return content[:8192] + b"\x00" * 4096 + content[12288:]


def flipped_bit(content: bytes) -> bytes:
    # In a document, whose fields have names: the index has the same text. Only the check looks into every index.
    place = content.index(b"something that can be recognised", content.index(b"\x02text\x00"))
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def empty(content: bytes) -> bytes:
    return b""


def other(content: bytes) -> bytes:
    return b"this is a letter to my grandmother\n" * 1000


DAMAGES: list[Callable[[bytes], bytes]] = [truncated, without_end, flipped_header, zero_page, flipped_bit, empty, other]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with some documents, its server ended in order."""
    folder = tmp_path_factory.mktemp("sound") / "data"
    with doorleaf(folder) as server:
        documents = [{"_id": n, "text": f"something that can be recognised {n} " * 20} for n in range(200)]
        server.ok("insertMany", documents=documents)
        server.ok("createIndex", keys={"text": 1})
    return folder


def tree(folder: Path) -> dict[str, tuple[bytes, float]]:
    """Every file with its content and when it was changed."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime) for path in folder.iterdir()}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_said_and_left_alone(sound: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    folder = tmp_path / "data"
    shutil.copytree(sound, folder)
    path = folder / FILE
    path.write_bytes(damage(path.read_bytes()))
    before = tree(folder)
    done = run_doorleaf(tmp_path, "serve", "--port", str(free_port()), "--data-dir", "data")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "something that can" not in done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("doorleaf: ")]
    assert re.search(r"data/doorleaf\.sqlite3", line)
    assert re.search(r"damaged|no database of Doorleaf", line)
    assert ("doorleaf repair" in line) is ("is damaged" in line), "what is damaged can be repaired, and nothing else"
    assert done.stdout == "", "no key for a database that cannot be opened"
    assert {name: tree(folder)[name] for name in before} == before, "nothing is repaired, moved or written"
    if damage in (truncated, other):
        checked = run_doorleaf(tmp_path, "check", "--data-dir", "data")
        assert checked.returncode == 1
        assert "doorleaf.sqlite3" in checked.stderr
        assert tree(folder)[FILE] == before[FILE]


def test_the_sound_file_opens(sound: Path, tmp_path: Path) -> None:
    """The copies above would, too."""
    shutil.copytree(sound, tmp_path / "data")
    with doorleaf(tmp_path / "data") as server:
        assert server.ok("countDocuments") == {"count": 200}
        found = server.ok("find", filter={"text": {"$gte": "something"}}, sort={"text": 1}, hint="text_1")
        assert len(found["documents"]) == 200


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with few megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root may make a small file system")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("this root may not make a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], capture_output=True, check=False)


def test_a_full_disk(small_disk: Path) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(doorleaf(small_disk / "data"))
        acknowledged = []
        for number in range(400):
            answer = server.act("insertOne", document={"_id": number, "text": "x" * 50_000})
            if answer.status != 201:
                assert answer.status == 503
                assert answer.headers["content-type"] == "application/json"
                assert answer.json == {"error": "disk full: nothing was written", "error_code": "StoreUnavailable"}
                break
            acknowledged.append(number)
        assert 10 < len(acknowledged) < 400
        for _ in range(5):
            assert server.act("insertOne", document={"text": "x" * 50_000}).status == 503
        assert server.act("insertMany", documents=[{"text": "x" * 50_000}] * 5).status == 503
        assert server.ok("countDocuments") == {"count": len(acknowledged)}
        found = server.ok("find", sort={"_id": 1}, projection={"_id": 1})["documents"]
        assert [document["_id"] for document in found] == acknowledged
        ready = server.call("GET", "/readyz")
        assert (ready.status, ready.json["status"]) == (200, "ready"), "reads and deletes are served"
        assert "disk full" in ready.json["note"]
        assert "disk full" in server.output()
        server.kill()
        again = start_doorleaf(small_disk / "data", key=server.key)
        stack.callback(again.stop)
        assert again.ok("countDocuments") == {"count": len(acknowledged)}
        empty_and_fill_again(again, acknowledged, small_disk)


def test_what_a_full_disk_leaves_of_a_long_write_is_told(small_disk: Path) -> None:
    """A write in several transactions keeps those before the one that found no room, and does not say otherwise."""
    with doorleaf(small_disk / "data") as server:
        answer = server.act("insertMany", documents=[{"_id": n, "text": "x" * 700} for n in range(12_000)])
        assert answer.status == 503, answer.body
        count = server.ok("countDocuments")["count"]
        assert count < 12_000
        told = "a part was written before, and stays" if count else "nothing was written"
        assert answer.json["error"] == f"disk full: {told}"


def empty_and_fill_again(server: Doorleaf, acknowledged: list[int], disk: Path) -> None:
    """Deletes and drops work on the full disk, even where others have taken the last byte; then there is room again."""
    with contextlib.suppress(OSError), (disk / "somebody else's").open("wb", buffering=0) as other:
        while other.write(b"x" * 4096) == 4096:
            pass
    assert "disk full" in server.call("GET", "/readyz").json["note"]
    assert server.act("insertOne", document={"text": "x" * 50_000}).status == 503
    for number in acknowledged[:5]:
        assert server.ok("deleteOne", filter={"_id": number}) == {"deletedCount": 1}
    gone = {"filter": {"_id": {"$lt": acknowledged[-1] // 2}}}
    assert server.ok("deleteMany", **gone)["deletedCount"] > 0
    left = server.ok("find", projection={"_id": 1}, sort={"_id": 1})["documents"]
    assert [document["_id"] for document in left] == [n for n in acknowledged if n >= acknowledged[-1] // 2]
    # What they gave back may be used, though the disk is as full as before.
    assert server.act("insertOne", document={"_id": "again", "text": "x" * 50_000}).status == 201
    assert server.ok("dropCollection") is not None
    (disk / "somebody else's").unlink()
    for number in range(20):
        assert server.act("insertOne", document={"_id": number, "text": "x" * 50_000}).status == 201
    assert server.ok("countDocuments") == {"count": 20}
    assert server.call("GET", "/readyz").json == {"status": "ready"}
