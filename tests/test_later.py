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


@pytest.mark.parametrize("package", LATER)
def test_nothing_keeps_what_stands_for_a_name(package: str) -> None:
    said = ran(
        f"""
import gc
from doorleaf.cli.later import _Absent, _Name
import {package}
print(*(repr(found) for found in gc.get_objects() if isinstance(found, (_Absent, _Name))), "none")
"""
    )
    assert said == ["none"]


@pytest.mark.parametrize("part", ["pymongo.common", "prometheus_client.metrics", "uvicorn.config"])
def test_a_library_that_needs_a_part_is_imported_as_everywhere(part: str) -> None:
    package = part.partition(".")[0]
    shown = f"""
import {package}
from importlib import import_module
kept = [f"{{name}}:{{getattr(value, '__module__', '')}}" for name, value in sorted(vars({package}).items())]
print(import_module({part!r}) is sys.modules[{part!r}], *kept)
"""
    postponing = f"""
from doorleaf.cli.later import Postponed
sys.meta_path.insert(0, Postponed({{{package!r}: ({part!r},)}}))
"""
    plain = subprocess.run(
        [sys.executable, "-c", f"import sys{shown}"], capture_output=True, text=True, timeout=60, check=True
    ).stdout.split()
    assert ran(postponing + shown) == plain


NEEDING = {
    "a base class": ("from needing.part import Kind\nclass Own(Kind): ...", "", "package.Own.__base__"),
    "a base class, in an attempt": (
        "from needing.part import Kind\ntry:\n    class Own(Kind): ...\nexcept Exception:\n    Own = None",
        "",
        "package.Own.__base__",
    ),
    "a base class of a submodule": (
        "import needing.other",
        "from .part import Kind\nclass Own(Kind): ...",
        "other.Own.__base__",
    ),
    "a name of a submodule": ("import needing.other", "from needing.part import Kind", "other.Kind"),
    "a name by the package": ("from .part import Kind\nimport needing.other", "from needing import Kind", "other.Kind"),
    "a module of a submodule": ("import needing.other", "import needing.part as kept", "other.kept.Kind"),
    "a module by the package": ("import needing.other", "from needing import part", "other.part.Kind"),
    "a tuple": ("from .part import Kind\nKINDS = (int, Kind)", "", "package.KINDS[1]"),
    "a default": ("from .part import Kind\ndef made(kind=Kind): return kind", "", "package.made()"),
    "an annotation": ("from .part import Kind\ndef made(kind: Kind): ...", "", "package.made.__annotations__['kind']"),
    "an attribute": ("from .part import Kind\nclass Own:\n    kind = Kind", "", "package.Own.kind"),
    "a function's own name": ("from .part import Kind\ndef made(): return Kind", "", "package.made()"),
    "a lambda's own name": ("from .part import Kind\nmade = [lambda: Kind]", "", "package.made[0]()"),
    "a look at it": (
        "from .part import Kind\nfound = Kind if hasattr(Kind, 'LIMIT') else None",
        "",
        "package.found",
    ),
    "a call": ("from .part import Kind\nmade = Kind()", "", "type(package.made)"),
}
"""The sources of a package and a submodule that do more with a part than hand on its names, and where its class is."""


@pytest.mark.parametrize("case", NEEDING)
def test_a_package_that_needs_a_part_is_imported_as_everywhere(case: str, tmp_path: Path) -> None:
    source, other, place = NEEDING[case]
    folder = tmp_path / "needing"
    folder.mkdir()
    (folder / "part.py").write_text("class Kind(Exception):\n    LIMIT = 1\n")
    (folder / "other.py").write_text(f"{other}\n")
    (folder / "__init__.py").write_text(f"{source}\n")
    said = ran(
        f"""
from doorleaf.cli.later import Postponed
sys.path.insert(0, "")
sys.meta_path.insert(0, Postponed({{"needing": ("needing.part",)}}))
import needing as package
from needing import other
from needing.part import Kind
found = {place}
print(found is Kind, package is sys.modules["needing"], other is sys.modules["needing.other"])
try:
    raise Kind
except found as error:
    print(isinstance(error, found), package.part is sys.modules["needing.part"])
print(package.__spec__.loader is package.__loader__)
""",
        tmp_path,
    )
    assert said == ["True"] * 6


@pytest.mark.parametrize("attempt", [False, True])
def test_a_package_does_without_a_part_if_it_can(attempt: bool, tmp_path: Path) -> None:
    folder = tmp_path / "lacking"
    folder.mkdir()
    (folder / "part.py").write_text("NAME = 1\n")
    attempted = "try:\n    from lacking.part import NAME\nexcept ImportError:\n    NAME = 2\n"
    (folder / "__init__.py").write_text(attempted if attempt else "from lacking.part import NAME\n")
    said = ran(
        """
from doorleaf.cli.later import Postponed
sys.path.insert(0, "")
sys.meta_path.insert(0, Postponed({}, {"lacking": ("lacking.part",)}))
import lacking
print(lacking.NAME, "lacking.part" in sys.modules)
from lacking.part import NAME
print(NAME)
""",
        tmp_path,
    )
    assert said == (["2", "False", "1"] if attempt else ["1", "True", "1"])


def test_what_watches_files_is_not_imported_with_the_workers() -> None:
    said = ran(
        """
import doorleaf.cli.workers, uvicorn.supervisors
print("uvicorn.supervisors.watchfilesreload" in sys.modules, uvicorn.supervisors.ChangeReload.__module__)
import uvicorn.supervisors.watchfilesreload as part
print(part.WatchFilesReload.__name__)
"""
    )
    assert said == ["False", "uvicorn.supervisors.statreload", "WatchFilesReload"]


def test_a_package_that_hands_on_names_in_a_way_of_its_own_still_does(tmp_path: Path) -> None:
    (tmp_path / "handing").mkdir()
    (tmp_path / "handing" / "part.py").write_text("NAME = 1\n")
    (tmp_path / "handing" / "__init__.py").write_text(
        "from handing.part import NAME\ndef __getattr__(name):\n    return f'own_{name}'\n"
    )
    said = ran(
        """
from doorleaf.cli.later import Postponed
sys.path.insert(0, "")
sys.meta_path.insert(0, Postponed({"handing": ("handing.part",)}))
import handing
print("handing.part" in sys.modules, handing.old, handing.NAME)
""",
        tmp_path,
    )
    assert said == ["True", "own_old", "1"]


def test_a_package_that_fails_leaves_what_it_leaves_everywhere(tmp_path: Path) -> None:
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
except ValueError as error:
    print(error.__context__, *[name for name in sys.modules if name.startswith("failing")])
print(sys.modules["failing.part"].NAME)
""",
        tmp_path,
    )
    assert said == ["None", "failing.part", "1"]
