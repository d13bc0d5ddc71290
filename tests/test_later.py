"""Parts of libraries that are imported when somebody asks for them, and are there then."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from doorleaf.cli.later import LATER

WITHOUT = """
import sys
import doorleaf.cli
"""


def ran(code: str, folder: Path | None = None) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT + code], capture_output=True, text=True, timeout=60, check=True, cwd=folder
    )
    return done.stdout.split()


@pytest.mark.parametrize("package", LATER)
def test_a_part_is_not_imported_with_its_package(package: str) -> None:
    imported = ran(f"import {package}; print(*sys.modules)")
    assert package in imported
    assert set(imported) & set(LATER[package]) == set()


@pytest.mark.parametrize("package", LATER)
def test_every_name_is_what_it_is_otherwise(package: str) -> None:
    shown = f"""
import {package} as package
names = sorted(NAMES)
print(*(f"{{name}}:{{getattr(package, name)!r}}".replace(" ", "").partition("at0x")[0] for name in names))
"""
    plain = f"import {package}; NAMES = [name for name in vars({package}) if not name.startswith('__')]\n"
    asked = [
        *subprocess.run(
            [sys.executable, "-c", f"{plain}print(*NAMES)"], capture_output=True, text=True, timeout=60, check=True
        ).stdout.split()
    ]
    expected = subprocess.run(
        [sys.executable, "-c", f"NAMES = {asked!r}{shown}"], capture_output=True, text=True, timeout=60, check=True
    ).stdout.split()
    assert ran(f"NAMES = {asked!r}{shown}") == expected


def test_every_way_to_import_works() -> None:
    said = ran(
        """
from pymongo import MongoClient, collection, ASCENDING
import pymongo.database
from pymongo.synchronous.mongo_client import MongoClient as same
import uvicorn
from prometheus_client import *
try:
    pymongo.nothing
except AttributeError as error:
    print(str(error).replace(" ", "_"))
print(MongoClient is same, collection.Collection.__name__, pymongo.database.Database.__name__)
print(uvicorn.run.__module__, generate_latest.__module__, uvicorn.__loader__ is uvicorn.__spec__.loader)
"""
    )
    assert said == [
        "module_'pymongo'_has_no_attribute_'nothing'",
        *("True", "Collection", "Database"),
        *("uvicorn.main", "prometheus_client.exposition", "True"),
    ]


def test_a_package_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "failing").mkdir()
    (tmp_path / "failing" / "part.py").write_text("NAME = 1\n")
    (tmp_path / "failing" / "__init__.py").write_text("from failing.part import NAME\nraise ValueError\n")
    said = ran(
        """
from doorleaf.cli.later import Postponed
sys.path.insert(0, "")
sys.meta_path.insert(0, Postponed({"failing": ("failing.part",)}))
try:
    import failing
except ValueError:
    print(*[name for name in sys.modules if name.startswith("failing")], "none")
""",
        tmp_path,
    )
    assert said == ["none"]
