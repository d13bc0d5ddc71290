"""``doorleaf repair``: all that can be proven is saved, what cannot is told, and the damaged file stays."""

from __future__ import annotations

import base64
import json
import os
import random
from pathlib import Path
from typing import Any

import bson
import pytest
from damage import asked, filled, flipped
from opened import alter, run_in
from servers import run_doorleaf as doorleaf

from doorleaf.errors import StoreUnavailable
from doorleaf.stores.embedded.file import verify
from doorleaf.stores.embedded.file.repair import repair
from doorleaf.stores.embedded.file.storage import FILE, SYSTEM_FILE, Storage
from doorleaf.stores.embedded.store import EmbeddedStore

REPAIRS = int(os.environ.get("DOORLEAF_FLIPS", "40"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    filled(folder)
    return folder


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "doorleaf-data"
    folder.mkdir()
    for name in (FILE, SYSTEM_FILE):
        (folder / name).write_bytes((sound / name).read_bytes())
    return folder


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM i2 WHERE row % 3 = 0",
        "UPDATE i1 SET row = 999 WHERE row = 5",
        "UPDATE counts SET documents = 7, size = 1",
        "DROP TABLE i4",
        "CREATE TABLE i99 (key, row)",
    ],
)
def test_indexes_and_counts_are_made_anew(sound: Path, copy: Path, statement: str) -> None:
    right = asked(sound)
    alter(copy, statement)
    before = (copy / FILE).read_bytes()
    assert verify.file(copy / FILE) != []
    outcome = repair(copy / FILE)
    assert (outcome.documents, outcome.doubtful, outcome.lost) == (330, 0, [])
    assert verify.file(copy / FILE) == []
    assert asked(copy) == right
    assert outcome.kept is not None
    assert outcome.kept.read_bytes() == before
    assert sorted(path.name for path in copy.iterdir() if path.name.startswith(".")) == []


def test_a_document_that_has_changed_is_in_the_report(copy: Path) -> None:
    changed = bson.encode({"_id": 4, "a": 4, "changed": True})
    alter(copy, "UPDATE d1 SET document = ? WHERE id = 5", changed)
    outcome = repair(copy / FILE)
    assert (outcome.documents, outcome.doubtful) == (329, 1)
    assert outcome.lost == ["1 of 280 documents of db.c"]
    assert outcome.report is not None
    lines: list[Any] = [json.loads(line) for line in outcome.report.read_text().splitlines()]
    [line] = [line for line in lines if "bson" in line]
    assert (line["collection"], line["row"]) == ("db.c", 5)
    assert base64.b64decode(line["bson"]) == changed
    assert verify.file(copy / FILE) == []


def test_a_collection_without_its_name_is_kept_under_another(copy: Path) -> None:
    alter(copy, "UPDATE collections SET name = 'd' WHERE id = 1")
    outcome = repair(copy / FILE)
    assert outcome.documents == 330
    assert any("recovered.d1" in problem for problem in outcome.lost)
    assert verify.file(copy / FILE) == []


def test_a_page_that_is_written_over_costs_only_its_documents(copy: Path) -> None:
    page = alter(
        copy, "SELECT pageno FROM dbstat WHERE name = 'd1' AND pagetype = 'leaf' ORDER BY pageno LIMIT 1 OFFSET 3"
    )
    content = bytearray((copy / FILE).read_bytes())
    content[(page - 1) * 4096 : page * 4096] = random.Random(1).randbytes(4096)
    (copy / FILE).write_bytes(content)
    assert isinstance(asked(copy), str)
    outcome = repair(copy / FILE)
    assert 330 - 60 < outcome.documents < 330
    [problem] = [problem for problem in outcome.lost if "of 280 documents of db.c" in problem]
    assert problem.startswith(f"{330 - outcome.documents} ")
    assert verify.file(copy / FILE) == []
    assert isinstance(asked(copy), list)


def test_a_header_that_is_gone_is_known(sound: Path, copy: Path) -> None:
    content = bytearray((copy / FILE).read_bytes())
    content[:32] = bytes(byte ^ 0xFF for byte in content[:32])
    content[56:100] = random.Random(1).randbytes(44)
    (copy / FILE).write_bytes(content)
    outcome = repair(copy / FILE)
    assert (outcome.documents, outcome.doubtful, outcome.lost) == (330, 0, [])
    assert asked(copy) == asked(sound)


def test_of_rubbish_nothing_is_made(copy: Path) -> None:
    (copy / FILE).write_bytes(random.Random(1).randbytes(100_000))
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    with pytest.raises(StoreUnavailable, match="nothing can be read"):
        repair(copy / FILE)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def test_random_damage_is_repaired_and_nothing_invented(sound: Path, tmp_path: Path) -> None:
    content = (sound / FILE).read_bytes()
    right = asked(sound)
    documents = {*right[3], *right[4]}
    source = random.Random(7)
    whole = 0
    for number in range(REPAIRS):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / FILE).write_bytes(flipped(content, source))
        outcome = repair(folder / FILE)
        assert verify.file(folder / FILE) == [], number
        saved = documents_of(folder)
        assert len(saved) == len(set(saved)) == outcome.documents
        assert set(saved) <= documents, f"repair {number} has made documents up"
        assert len(saved) == 330 or outcome.lost, f"repair {number} does not tell what is lost"
        whole += len(saved) == 330
    assert whole > REPAIRS / 2


def documents_of(folder: Path) -> list[Any]:
    storage = Storage(folder)
    storage.prepare()
    session = storage.session()
    try:
        return [
            document
            for collection in storage.latest.collections.values()
            for (document,) in session.execute(f"SELECT document FROM {collection.table}")
        ]
    finally:
        session.close()
        storage.close()


def test_nobody_may_have_it_open(copy: Path) -> None:
    async def scenario(store: EmbeddedStore) -> None:
        done = doorleaf(copy.parent, "repair")
        assert done.returncode == 0, "a sound one is left alone"
        assert "the file doorleaf.sqlite3 is sound, nothing was done" in done.stdout
        alter(copy, "UPDATE counts SET documents = 7")
        done = doorleaf(copy.parent, "repair")
        assert (done.returncode, done.stdout) == (1, "")
        assert "is open in another process: stop the server first" in done.stderr

    run_in(copy)(scenario)


def test_the_command(copy: Path) -> None:
    alter(copy, "UPDATE counts SET documents = 7")
    assert "doorleaf repair" in doorleaf(copy.parent, "check").stderr
    done = doorleaf(copy.parent, "repair")
    assert done.returncode == 0, done.stderr
    assert "330 documents are in a sound file" in done.stdout
    assert "nothing was lost" in done.stdout
    assert "the file doorleaf-system.sqlite3 is sound" in done.stdout
    (copy / SYSTEM_FILE).unlink()
    assert "doorleaf-system.sqlite3 is missing" in doorleaf(copy.parent, "check").stderr
    assert "lost: all keys, users and accounts" in doorleaf(copy.parent, "repair").stdout
    assert doorleaf(copy.parent, "check").returncode == 0
    assert verify.file(copy / FILE) == []


def test_what_is_not_there_cannot_be_repaired(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot repair"):
        repair(tmp_path / FILE)
    assert list(tmp_path.iterdir()) == []
