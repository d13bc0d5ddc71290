"""Imports point down: every module may import lower rows, never its own row (siblings in its folder apart) or above."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import doorleaf

ROOT = Path(doorleaf.__file__).parent

ROWS: dict[str, int] = {
    "": 0,
    "documents": 0,
    "errors": 0,
    "operations": 0,
    "mql": 1,
    "ejson": 1,
    "settings": 1,
    "observability": 1,
    "metrics": 2,
    "lately": 3,
    "apart": 1,
    "stores": 2,
    "transfer": 2,
    "access": 3,
    "service": 4,
    "dialects": 4,
    "functions": 5,
    "openapi": 5,
    "http": 6,
    "console": 6,
    "app": 7,
    "cli": 8,
    "__main__": 9,
}
"""The row of a module or folder directly under the package; "" is the package itself, which has only its version."""

WITHIN_ROW = {("operations", "documents"), ("operations", "errors")}
"""Arrows inside row 0."""

ONLY_IN: dict[str, tuple[str, ...]] = {
    "pymongo": ("stores.mongo.",),
    "apsw": ("stores.embedded.",),
    "sqlite3": (),
    "tomlkit": ("settings.write",),
    "typer": ("cli",),
    "rich": ("cli",),
    "uvicorn": ("cli", "http.connections", "http.answers", "http.frames", "http.exchange", "http.offers"),
    "websockets": ("http.frames",),
    "jwt": ("access.",),
    "argon2": ("access.",),
    "limits": ("access.limits.shared",),
    "prometheus_client": ("metrics",),
    "pydantic": ("settings", "dialects", "openapi", "cli.openapi"),
    "starlette": (),
    "secantus": (),
}
"""Outside packages and the beginnings of the modules that may import them."""

MQL_MAY = {"", "documents", "errors"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module by its name inside the package, ``stores.embedded.keys`` for instance."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        yield ("" if name == "__init__" else name), ast.parse(path.read_text(), str(path))


MODULES = dict(modules())


def imported(name: str, tree: ast.Module) -> Iterator[str]:
    """The full names that a module imports, wherever in it."""
    is_package = (ROOT / Path(*name.split(".")) / "__init__.py").exists() if name else True
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = ["doorleaf", *name.split(".")]
                parents = parents[: len(parents) - node.level + (1 if is_package else 0)]
                base = ".".join([*parents, *([base] if base else [])])
            for alias in node.names:
                yield f"{base}.{alias.name}"


def inside(target: str) -> str:
    """The module of the package that ``target`` (a full name, perhaps of something in a module) lies in."""
    parts = target.split(".")[1:]
    for end in range(len(parts), 1, -1):
        if ".".join(parts[:end]) in MODULES:
            return ".".join(parts[:end])
    return parts[0] if parts and parts[0] in ROWS else ""


def top(name: str) -> str:
    return name.split(".")[0]


RAW = {"dialects.actions", "operations", "ejson", "service"}
"""Modules of the way of an action, which no pydantic is on."""


def test_actions_stay_raw() -> None:
    for name in MODULES:
        if name in RAW or top(name) in RAW:
            assert not any(target.startswith("pydantic") for target in imported(name, MODULES[name])), name


def violations(name: str, tree: ast.Module) -> Iterator[str]:
    """What ``name`` imports and must not."""
    for target in imported(name, tree):
        outside = top(target)
        if outside != "doorleaf":
            allowed = ONLY_IN.get(outside)
            if allowed is not None and not any(name == start or name.startswith(start) for start in allowed):
                yield f"{name} imports {outside}"
            continue
        other = inside(target)
        if top(other) == top(name):
            continue
        if ROWS[top(other)] >= ROWS[top(name)] and (top(name), other) not in WITHIN_ROW and other:
            yield f"{name} imports {other}, which is not below it"
        if top(name) == "mql" and top(other) not in MQL_MAY:
            yield f"{name} imports {other}: the query language knows only documents and errors"
        if top(name) == "dialects":
            if top(other) == "stores":
                yield f"{name} imports {other}: a dialect knows no store"
            if top(other) == "access" and target.rpartition(".")[2] not in ("Caller", "Credentials"):
                yield f"{name} imports {target}: a dialect takes only Caller and Credentials from access"


def test_the_documentation_has_the_rows() -> None:
    page = (ROOT.parents[1] / "docs/architecture.md").read_text(encoding="utf-8")
    told = {
        name: int(row)
        for row, names in re.findall(r"^\| (\d) \| (.*) \|$", page, re.M)
        for name in re.findall(r"`(.*?)`", names)
    }
    assert told == {name: row for name, row in ROWS.items() if name}


# --- circles and rooms -------------------------------------------------------------------------------------------


def arrows() -> dict[str, set[str]]:
    """The modules that each module imports, wherever it does: in a function and for types alone as well."""
    found = {}
    for name, tree in MODULES.items():
        targets = {nearest(target) for target in imported(name, tree) if top(target) == "doorleaf"}
        found[name] = targets - {name, ""}
    return found


def nearest(target: str) -> str:
    """The module that ``target`` is, or that it is something in."""
    parts = target.split(".")[1:]
    while parts and ".".join(parts) not in MODULES:
        parts.pop()
    return ".".join(parts)


def circle(graph: dict[str, set[str]]) -> list[str]:
    """A way that leads back to where it began; empty where there is none."""
    done: set[str] = set()
    way: list[str] = []

    def walk(name: str) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        way.append(name)
        for other in sorted(graph.get(name, ())):
            if found := walk(other):
                return found
        way.pop()
        done.add(name)
        return []

    for name in graph:
        if found := walk(name):
            return found
    return []


def test_no_circle() -> None:
    assert circle(arrows()) == []


CONSOLE = ROOT.parents[1] / "console/src"


def console_arrows() -> dict[str, set[str]]:
    """The modules that each module of the console imports: late and for types alone as well."""
    found: dict[str, set[str]] = {}
    for path in CONSOLE.rglob("*.ts*"):
        named = re.findall(r"""(?:from |import |import\()"(\.[^"]*)\"""", path.read_text(encoding="utf-8"))
        found[str(path.with_suffix(""))] = {os.path.normpath(path.parent / target) for target in named}
    return found


def test_no_circle_in_the_console() -> None:
    found = console_arrows()
    assert len(set.union(*found.values()) & found.keys()) > 50
    assert circle(found) == []


def test_circles_are_seen() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def folder(name: str) -> str:
    return name if (ROOT / Path(*name.split("."))).is_dir() else name.rpartition(".")[0]


MAY: dict[str, set[str]] = {
    "access": {"access.guards", "access.identity", "access.limits", "access.rules", "access.workspaces"},
    "access.app_services": {"access.rules"},
    "access.datacube": {"access", "access.guards"},
    "access.identity.providers": {"access", "access.identity"},
    "access.identity": {
        *("access.identity.providers", "access", "access.datacube", "access.guards", "access.limits"),
        "access.workspaces",
    },
    "access.limits": {"access", "access.identity"},
    "access.rules": {"access", "access.app_services"},
    "access.workspaces": {"access", "access.identity", "access.rules"},
    "dialects.admin": {"dialects"},
    "dialects.client": {"dialects"},
    "dialects.connectome": {"dialects"},
    "dialects.workspaces": {"dialects"},
    "dialects.datacube": {"dialects"},
    "functions": {"functions.sandbox", "functions.triggers"},
    "functions.triggers": {"functions"},
    "mql": {"mql.updates"},
    "mql.accumulators": {"mql", "mql.expressions"},
    "mql.expressions": {"mql", "mql.expressions.dates", "mql.regular"},
    "mql.expressions.dates": {"mql", "mql.expressions"},
    "mql.filters": {"mql", "mql.expressions", "mql.regular", "mql.updates"},
    "mql.projections": {"mql", "mql.expressions", "mql.filters"},
    "mql.regular": {"mql"},
    "mql.stages": {"mql", "mql.accumulators", "mql.expressions", "mql.filters", "mql.projections"},
    "mql.updates": {"mql", "mql.filters", "mql.stages"},
    "stores": {"stores.embedded", "stores.embedded.file", "stores.mongo"},
    "stores.embedded": {
        "stores.embedded.changes",
        "stores.embedded.file",
        "stores.embedded.processes",
        "stores.embedded.reading",
        "stores.embedded.writing",
    },
    "stores.embedded.changes": {"stores.embedded", "stores.embedded.file", "stores.embedded.reading"},
    "stores.embedded.file": {"stores.embedded", "stores.embedded.writing"},
    "stores.embedded.processes": {
        "stores",
        "stores.embedded",
        "stores.embedded.file",
        "stores.embedded.reading",
        "stores.embedded.writing",
    },
    "stores.embedded.reading": {"stores", "stores.embedded", "stores.embedded.file"},
    "stores.embedded.writing": {
        "stores",
        "stores.embedded",
        "stores.embedded.changes",
        "stores.embedded.file",
        "stores.embedded.processes",
        "stores.embedded.reading",
    },
    "stores.mongo": {"stores", "stores.mongo.lanes"},
    "stores.mongo.lanes": {"stores.mongo"},
}
"""For each folder inside a room, the folders of the same room that its modules import; the room itself among them."""


def test_folders_of_a_room_import_what_they_may() -> None:
    found: dict[str, set[str]] = {}
    for name, targets in arrows().items():
        here = folder(name)
        for other in map(folder, targets):
            if other != here and top(other) == top(here) and here:
                found.setdefault(here, set()).add(other)
    assert found == MAY


# --- sizes -------------------------------------------------------------------------------------------------------

MOST_LINES = 500
LONGEST_FUNCTION = 50


def long_functions(name: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            if node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION:
                yield f"{name}: {node.name}"


def test_no_function_is_long() -> None:
    assert [long for name, tree in MODULES.items() for long in long_functions(name, tree)] == []


def test_no_file_is_long() -> None:
    for path in (*ROOT.rglob("*.py"), *Path(__file__).parent.rglob("*.py")):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= MOST_LINES, path


def test_long_functions_are_seen() -> None:
    code = "def f():\n" + "    x = 1\n" * LONGEST_FUNCTION
    assert list(long_functions("m", ast.parse(code))) == ["m: f"]
    assert list(long_functions("m", ast.parse(code.replace("    x = 1\n", "", 1)))) == []


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_down(name: str) -> None:
    assert top(name) in ROWS, f"{name} has no row"
    assert list(violations(name, MODULES[name])) == []


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("errors", "from doorleaf.service import DataService"),
        ("service", "import doorleaf.http"),
        ("service", "from doorleaf import dialects"),
        ("http", "from doorleaf import console"),
        ("mql.match", "from doorleaf.operations import Find"),
        ("dialects.actions", "from doorleaf.access.identity.authenticator import Identity"),
        ("dialects.actions", "def late():\n    from doorleaf.stores.base import Store"),
        ("service", "from pymongo import AsyncMongoClient"),
        ("stores.router", "import apsw"),
        ("stores.embedded.storage", "import sqlite3"),
        ("http", "from starlette.requests import Request"),
        ("access.keys", "from ..service import DataService"),
    ],
)
def test_wrong_arrows_are_seen(name: str, code: str) -> None:
    assert list(violations(name, ast.parse(code)))
