"""Imports point down: every module may import lower rows, never its own row (siblings in its folder apart) or above."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import doorleaf

ROOT = Path(doorleaf.__file__).parent

ROWS: dict[str, int] = {
    "": 0,
    "documents": 0,
    "errors": 0,
    "results": 0,
    "parameters": 0,
    "mql": 1,
    "settings_providers": 0,
    "operations": 1,
    "ejson": 1,
    "settings": 1,
    "loading": 2,
    "observability": 1,
    "stores": 2,
    "access": 3,
    "service": 4,
    "dialects": 4,
    "functions": 5,
    "openapi": 5,
    "realtime": 5,
    "http": 6,
    "console": 6,
    "app": 7,
    "connections": 7,
    "cli_access": 7,
    "cli_shared": 8,
    "cli_keys": 8,
    "cli_users": 8,
    "cli": 8,
    "__main__": 9,
}
"""The row of a module or folder directly under the package; "" is the package itself, which has only its version."""

WITHIN_ROW = {("results", "documents"), ("parameters", "results"), ("parameters", "documents")} | {
    ("cli", "cli_shared"),
    ("cli", "cli_keys"),
    ("cli", "cli_users"),
    ("cli_keys", "cli_shared"),
    ("cli_users", "cli_shared"),
}
"""Arrows inside row 0, and from the command to its parts."""

ONLY_IN: dict[str, tuple[str, ...]] = {
    "pymongo": ("stores.mongo.",),
    "sqlite3": ("stores.embedded.",),
    "typer": ("cli",),
    "rich": ("cli",),
    "uvicorn": ("cli", "connections"),
    "jwt": ("access.",),
    "argon2": ("access.",),
    "limits": ("access.",),
    "prometheus_client": ("observability",),
    "pydantic": ("settings", "settings_providers", "loading"),
    "pydantic_settings": ("settings", "loading"),
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
        if ROWS[top(other)] >= ROWS[top(name)] and (name, other) not in WITHIN_ROW and other:
            yield f"{name} imports {other}, which is not below it"
        if top(name) == "mql" and top(other) not in MQL_MAY:
            yield f"{name} imports {other}: the query language knows only documents and errors"
        if top(name) == "dialects":
            if top(other) == "stores":
                yield f"{name} imports {other}: a dialect knows no store"
            if top(other) == "access" and target.rpartition(".")[2] != "Credentials":
                yield f"{name} imports {target}: a dialect takes only Credentials from access"


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
        ("dialects.actions", "from doorleaf.access.identity import Identity"),
        ("dialects.actions", "def late():\n    from doorleaf.stores.base import Store"),
        ("service", "from pymongo import AsyncMongoClient"),
        ("stores.router", "import sqlite3"),
        ("http", "from starlette.requests import Request"),
        ("access.keys", "from ..service import DataService"),
    ],
)
def test_wrong_arrows_are_seen(name: str, code: str) -> None:
    assert list(violations(name, ast.parse(code)))
