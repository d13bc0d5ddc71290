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
from servers import doorleaf, free_port, run_doorleaf, start_doorleaf

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
    place = content.index(b"something that can be recognised")
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
        assert server.ok("countDocuments") == {"count": len(acknowledged)}
        found = server.ok("find", sort={"_id": 1}, projection={"_id": 1})["documents"]
        assert [document["_id"] for document in found] == acknowledged
        assert server.call("GET", "/readyz").status == 200
        server.kill()
        again = start_doorleaf(small_disk / "data", key=server.key)
        stack.callback(again.stop)
        assert again.ok("countDocuments") == {"count": len(acknowledged)}
