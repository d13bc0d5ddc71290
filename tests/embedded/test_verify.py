"""Damage to a filled file: it does not matter, or it is refused, or the check finds it. None is silently wrong."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from damage import asked, filled, flipped
from opened import C, alter, command, find, run_in

from doorleaf.errors import StoreUnavailable
from doorleaf.operations import FindOne
from doorleaf.stores.embedded.file import verify
from doorleaf.stores.embedded.file.storage import FILE, SYSTEM_FILE
from doorleaf.stores.embedded.store import EmbeddedStore

FLIPS = int(os.environ.get("DOORLEAF_FLIPS", "250"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    filled(folder)
    return folder


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Path:
    for name in (FILE, SYSTEM_FILE):
        (tmp_path / name).write_bytes((sound / name).read_bytes())
    return tmp_path


def test_a_sound_file_has_no_problems(copy: Path) -> None:
    assert verify.file(copy / FILE) == []
    right = asked(copy)
    assert isinstance(right, list)
    assert len(right[3]) == 280
    assert verify.file(copy / FILE) == []


def test_no_damage_is_silently_wrong(sound: Path, tmp_path: Path) -> None:
    content = (sound / FILE).read_bytes()
    (tmp_path / "right").mkdir()
    (tmp_path / "right" / FILE).write_bytes(content)
    right = asked(tmp_path / "right")
    source = random.Random(20)
    told: Counter[str] = Counter()
    for number in range(FLIPS):
        folder = tmp_path / str(number)
        folder.mkdir()
        damaged = flipped(content, source)
        (folder / FILE).write_bytes(damaged)
        got = asked(folder)
        if got == right:
            told["harmless"] += 1
        elif isinstance(got, str):
            told["refused"] += 1
        else:
            (folder / FILE).write_bytes(damaged)
            assert verify.file(folder / FILE) != [], f"flip {number} is silently wrong"
            told["found"] += 1
    assert told["refused"] > FLIPS / 5, told
    assert told["harmless"] > 0, told


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE d1 SET sum = sum + 1 WHERE id = 5", "db.c: the document in row 5 is not as it was written"),
        ("DELETE FROM i2 WHERE row = 5", "db.c: index a_1 lacks the document in row 5"),
        ("UPDATE i2 SET row = 6 WHERE row = 5 AND length(key) < 100", "db.c: index a_1 lacks the document in row 5"),
        ("INSERT INTO i2 VALUES (x'00', 5)", "db.c: index a_1 has 281 entries, and its documents 280"),
        ("INSERT INTO i2 VALUES (x'00', 999)", "db.c: index a_1 has 281 entries, and its documents 280"),
        ("UPDATE counts SET documents = documents + 1 WHERE collection = 1", "and not as many as is kept"),
        ("UPDATE counts SET size = size + 1 WHERE collection = 1", "and not as many as is kept"),
        ("UPDATE indexes SET arrays = 0 WHERE id = 4", "its catalog is not as it was written"),
        ("UPDATE collections SET name = 'd' WHERE id = 1", "its catalog is not as it was written"),
        ("CREATE TABLE d77 (x)", "table d77 belongs to no collection"),
        ("DROP TABLE i2", "table i2 is missing"),
        ("DELETE FROM counts WHERE collection = 1", "counts are kept of other collections than there are"),
    ],
)
def test_what_the_check_finds(copy: Path, statement: str, problem: str) -> None:
    alter(copy, statement)
    problems = verify.file(copy / FILE)
    assert any(problem in each for each in problems), problems


@pytest.mark.parametrize("statement", ["DELETE FROM i2 WHERE row = 5", "INSERT INTO i2 VALUES (x'00', 999)"])
def test_validate_finds_it_too(copy: Path, statement: str) -> None:
    alter(copy, statement)

    async def scenario(store: EmbeddedStore) -> None:
        report = await command(store, validate="c", full=True)
        assert not report["valid"]
        assert any("index a_1" in error for error in report["errors"])

    run_in(copy)(scenario)


@pytest.mark.parametrize(
    "question",
    [
        lambda store: store.execute(FindOne(namespace=C, filter={"u": "unique 4"})),
        lambda store: find(store, hint="u_-1", sort={"u": 1}),
    ],
)
def test_an_index_entry_without_a_document_is_damage_when_it_is_read(copy: Path, question: Any) -> None:
    alter(copy, "UPDATE i3 SET row = 999 WHERE row = 5")

    async def scenario(store: EmbeddedStore) -> None:
        with pytest.raises(StoreUnavailable, match="damaged"):
            await question(store)

    run_in(copy)(scenario)
